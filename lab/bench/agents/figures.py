"""What an agent's run says: a row of the table for each agent and protocol."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from lab.bench.agents.tee import Exchange
from lab.bench.agents.trial import Ended
from lab.bench.agents.vendor import Turn
from lab.bench.common import Figures

_ALWAYS = {"model", "messages", "input", "stream", "tools", "system", "stream_options"}
_NAMED = re.compile(r"^'?([a-zA-Z_][\w.\[\]]*)'?(?=[: ])")


@dataclass(frozen=True)
class Ran:
    """One task: what the agent, the way to the vendor, and the vendor say."""

    ended: Ended
    exchanges: Sequence[Exchange]
    turns: Sequence[Turn]

    def figures(self) -> Figures:
        prompt = sum(turn.counted.prompt for turn in self.turns)
        bills = [exchange.usd for exchange in self.exchanges if exchange.usd is not None]
        return {
            "finished": self.ended.finished,
            "requests": len(self.exchanges),
            "turns": len(self.turns),
            "prompt_tokens": prompt,
            "cached_share": round(sum(turn.counted.cached for turn in self.turns) / prompt, 4) if prompt else 0,
            "marks": sum(turn.marks for turn in self.turns),
            "usd": round(sum(turn.usd for turn in self.turns), 8),
            **({"usd_billed": round(sum(bills), 8)} if bills else {}),
            "median_ms": round(1000 * median([e.seconds for e in self.exchanges]), 1) if self.exchanges else None,
            "prefix_kept": all(turn.is_appended for turn in self.turns if turn.has_tools),
            "faults": sorted({fault for turn in self.turns for fault in turn.faults}),
            "refused": sorted({_refusal(exchange) for exchange in self.exchanges if exchange.error}),
            **({} if self.ended.finished else {"code": self.ended.code, "said": self.ended.said[-600:]}),
        }


def row(direct: Ran, tandem: Ran) -> Figures:
    """Both ways side by side, with what became of the parameters."""
    given = frozenset[str]().union(*(exchange.fields for exchange in tandem.exchanges)) - _ALWAYS
    arrived = frozenset[str]().union(*(turn.fields for turn in tandem.turns))
    dropped = frozenset[str]().union(*(exchange.dropped for exchange in tandem.exchanges))
    both = [each.figures() for each in (direct, tandem)]
    added = None
    if None not in (both[0]["median_ms"], both[1]["median_ms"]):
        added = round(both[1]["median_ms"] - both[0]["median_ms"], 1)
    return {
        "direct": both[0],
        "tandem": both[1],
        "passed": sorted(given & arrived),
        "dropped": sorted(dropped),
        "translated": sorted(given - arrived - dropped),
        "added_ms": added,
        "usd_ratio": round(both[1]["usd"] / both[0]["usd"], 4) if both[0]["usd"] and both[1]["turns"] else None,
    }


def _refusal(exchange: Exchange) -> str:
    """The parameter, where the error names it; else how it begins."""
    try:
        error: Any = json.loads(exchange.error)["error"]
        named = error.get("param") or _NAMED.match(error["message"])
        return str(named if isinstance(named, str) else named[1] if named else error["message"][:120])
    except (ValueError, KeyError, TypeError):
        return f"{exchange.status}: {exchange.error[:120]}"
