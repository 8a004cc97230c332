"""An amount that a tenant's account holds or has paid."""

# No `from __future__ import annotations`: see tandem.method.request.request.
import math
from dataclasses import dataclass

_NANO = 1e9
_EXACT_DIGITS = 3  # what a sum of floats adds behind them is no amount: 0.000274 USD can come out as 274000.00000000006
_MAX_USD = 1e6  # sums of such amounts are whole numbers of a double, which Redis's scripts count in


@dataclass(frozen=True)
class Charge:
    """`nano_usd` is USD times 1e9, rounded up; `tokens` are those computed: read anew or written, by all models."""

    nano_usd: int
    tokens: int

    @property
    def usd(self) -> float:
        return self.nano_usd / _NANO


def nano_usd(usd: float | None) -> int:
    """0 for what is not known: whoever limits USD refuses it before it begins."""
    if usd is None:
        return 0
    return math.ceil(round(min(usd, _MAX_USD) * _NANO, _EXACT_DIGITS))
