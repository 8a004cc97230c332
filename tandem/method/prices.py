"""What tokens cost. One definition: the workflow's bill and the cost on every inference span come from here."""

from dataclasses import dataclass

from tandem.method.errors import InvalidArgument
from tandem.method.tokens import TokenCounts

_MILLION = 1e6


@dataclass(frozen=True)
class RolePrices:
    """USD per million tokens. Not `is_known`: nobody has said what the model costs, and its amounts mean nothing."""

    input: float = 0.0
    cached_input: float = 0.0
    output: float = 0.0
    is_known: bool = True

    def usd(self, counts: TokenCounts) -> float | None:
        """USD for tokens that were prefilled, cached and generated; every generated token is paid, whatever its state.

        None where the price is not known; no tokens cost nothing at any price.
        """
        if not self.is_known and (counts.read or counts.generated):
            return None
        return (
            counts.prompt * self.input + counts.cached * self.cached_input + counts.generated * self.output
        ) / _MILLION


UNKNOWN = RolePrices(is_known=False)


def total(*amounts: float | None) -> float | None:
    """The sum; None where one of the amounts is not known."""
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if len(known) == len(amounts) else None


@dataclass(frozen=True)
class Prices:
    """`version` names the price list on every bill. `second_slm`: None where there is no second small model."""

    version: str
    llm: RolePrices
    slm: RolePrices
    scorer: RolePrices
    second_slm: RolePrices | None = None

    def of(self, role: str) -> RolePrices:
        """Of the role llm, slm, scorer or second_slm."""
        prices: RolePrices | None = getattr(self, role)
        return prices or UNKNOWN

    @property
    def unknown(self) -> list[str]:
        """The roles whose price is not known."""
        roles = ("llm", "slm", "scorer", *(("second_slm",) if self.second_slm else ()))
        return [role for role in roles if not self.of(role).is_known]

    def require_known(self, field: str) -> None:
        """Raises InvalidArgument where an amount of USD, given in `field`, would limit what has no known price."""
        if self.unknown:
            raise InvalidArgument(
                f"nothing in USD can be limited: the profile names no price of its {' and '.join(self.unknown)}",
                field=field,
                reason="PRICE_UNKNOWN",
            )


@dataclass(frozen=True)
class RoleRates:
    """Tokens a second that a role's device reads, reads out of its cache, and writes (measured by `tandem bench rates`)."""

    input: float
    cached_input: float
    output: float

    def seconds(self, prompt: float, cached: float, generated: float) -> float:
        """Device time of so many tokens that are prefilled, read from a cache, and generated."""
        return prompt / self.input + cached / self.cached_input + generated / self.output


@dataclass(frozen=True)
class Rates:
    """`version` names the measurement, and with it the device."""

    version: str
    llm: RoleRates
    slm: RoleRates
    scorer: RoleRates
    second_slm: RoleRates | None = None
