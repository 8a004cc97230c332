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
    # Names the price list on every bill.
    version: str
    by_role: dict[str, RolePrices]

    def of(self, role: str) -> RolePrices:
        return self.by_role.get(role, UNKNOWN)

    @property
    def unknown(self) -> list[str]:
        """The roles whose price is not known."""
        return [role for role, prices in self.by_role.items() if not prices.is_known]

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
    """Tokens a second that a role's device reads, reads out of its cache, and writes (measured by `tandem bench
    rates`).
    """

    input: float
    cached_input: float
    output: float

    def seconds(self, prompt: float, cached: float, generated: float) -> float:
        """Device time of so many tokens that are prefilled, read from a cache, and generated."""
        return prompt / self.input + cached / self.cached_input + generated / self.output


@dataclass(frozen=True)
class Rates:
    # Names the measurement, and with it the device.
    version: str
    # A role that is missing was not measured.
    by_role: dict[str, RoleRates]
