"""The sections of a profile that say what tokens cost and how long they take."""

from __future__ import annotations

from math import inf
from typing import Any

from pydantic import Field, create_model, model_validator

from tandem.method.profile.prices import UNKNOWN, Prices, Rates, RolePrices, RoleRates
from tandem.method.roles import BILL_ROLES, LLM, SCORER, SLM
from tandem.method.section import Section


class TokenRate(Section):
    """Tokens a second that the pool of one role was measured to read, to read out of its cache, and to write."""

    input: float = Field(gt=0)
    cached_input: float = Field(default=inf, gt=0, description="inf: a cached token takes no time")
    output: float = Field(gt=0)

    def as_rates(self) -> RoleRates:
        return RoleRates(self.input, self.cached_input, self.output)


class GpuPrices(Section):
    """USD per GPU-second. A GPU's second is shared by all the requests of a batch, so a request is billed by its
    tokens, at the cost of a token at the GPUs' measured rate; idle time is not billed.
    """

    usd_per_gpu_second: float = Field(ge=0)
    gpus: int = Field(default=1, gt=0)
    tokens_per_second: TokenRate

    def per_million_tokens(self) -> dict[str, float]:
        million = self.usd_per_gpu_second * self.gpus * 1e6
        return {kind: million / rate for kind, rate in self.tokens_per_second.model_dump().items()}


class RolePricesSection(Section):
    """USD per million tokens; a profile may give USD per GPU-second and the rate of the GPUs instead (GpuPrices)."""

    input: float = Field(ge=0)
    cached_input: float = Field(ge=0)
    output: float = Field(ge=0)
    cache_write: float | None = Field(default=None, ge=0)
    cache_write_hour: float | None = Field(default=None, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _from_gpu_seconds(cls, given: Any) -> Any:
        if isinstance(given, dict) and "usd_per_gpu_second" in given:
            return GpuPrices.model_validate(given).per_million_tokens()
        return given

    def as_prices(self) -> RolePrices:
        return RolePrices(**self.model_dump())


_PricesSection = create_model(
    "_PricesSection",
    __base__=Section,
    version=(str, ...),
    **dict.fromkeys(BILL_ROLES, (RolePricesSection | None, None)),  # type: ignore[call-overload]
)
_RatesSection = create_model(
    "_RatesSection",
    __base__=Section,
    version=(str, ...),
    **{role: (TokenRate, ...) if role in (LLM, SLM, SCORER) else (TokenRate | None, None) for role in BILL_ROLES},  # type: ignore[call-overload]
)


def parse_prices(given: Any) -> Any:
    """A role that is left out has a model whose price is not known: what it costs is not said, and no budget in USD is
    taken. The scorer runs the small model: left out, it has that one's prices.
    """
    if isinstance(given, Prices):
        return given
    sections = dict(_PricesSection.model_validate(given))
    version = sections.pop("version")
    found = {role: section.as_prices() for role, section in sections.items() if section}
    small = found.get(SLM, UNKNOWN)
    return Prices(version, {LLM: UNKNOWN, SLM: small, SCORER: small} | found)


def parse_rates(given: Any) -> Any:
    if given is None or isinstance(given, Rates):
        return given
    sections = dict(_RatesSection.model_validate(given))
    version = sections.pop("version")
    return Rates(version, {role: section.as_rates() for role, section in sections.items() if section})
