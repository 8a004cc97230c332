"""What tokens cost. One definition: the workflow's bill and the cost on every inference span come from here."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tandem.method.errors import InvalidArgument
from tandem.method.tokens import TokenCounts

_MILLION = 1e6


@dataclass(frozen=True)
class RolePrices:
    """USD per million tokens. Not `is_known`: nobody has said what the model costs, and its amounts mean nothing.

    `cache_write`, `cache_write_hour`: what is computed and also put into the vendor's cache, for its usual time or for
    an hour; None: nobody has said, and the input's price stands in. `fees`: USD for each use of a tool that the vendor
    runs, by the tool's name: those that the request may use.
    """

    input: float = 0.0
    cached_input: float = 0.0
    output: float = 0.0
    is_known: bool = True
    cache_write: float | None = None
    cache_write_hour: float | None = None
    fees: Mapping[str, float] = field(default_factory=dict)

    def usd(self, counts: TokenCounts) -> float | None:
        """USD for tokens that were prefilled, cached and generated, and for tools that the vendor ran; every generated
        token is paid, whatever its state.

        None where the price is not known; no tokens cost nothing at any price.
        """
        if not self.is_known and (counts.read or counts.generated):
            return None
        plain = counts.prompt - counts.written - counts.written_hour
        write, hour = (self.input if price is None else price for price in (self.cache_write, self.cache_write_hour))
        read = plain * self.input + counts.written * write + counts.written_hour * hour
        tokens = (read + counts.cached * self.cached_input + counts.generated * self.output) / _MILLION
        return tokens + sum(fee * counts.tool_uses.get(tool, 0) for tool, fee in self.fees.items())

    @property
    def most_input(self) -> float:
        """What a token of a prompt costs at most, whether it is put into a cache or not."""
        return max(self.input, self.cache_write or 0.0, self.cache_write_hour or 0.0)

    def dearest(self, prompt_tokens: int) -> TokenCounts:
        """A prompt that was read at `most_input`."""
        if self.most_input == self.input:
            return TokenCounts(prompt_tokens)
        if self.most_input == self.cache_write_hour:
            return TokenCounts(prompt_tokens, written_hour=prompt_tokens)
        return TokenCounts(prompt_tokens, written=prompt_tokens)

    def unpriced_writes(self, counts: TokenCounts) -> int:
        """Tokens that were put into a cache, of which nobody has said what that costs."""
        short = counts.written if self.cache_write is None else 0
        return short + (counts.written_hour if self.cache_write_hour is None else 0)


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
    """Tokens a second that a role's device reads, reads out of its cache, and writes (`make bench-rates`)."""

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
