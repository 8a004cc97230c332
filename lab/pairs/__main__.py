"""`make pairs`: write the tables and the picture of docs/pairs.md from the facts, in seconds.

python -m lab.pairs [--json FILE]
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from lab.pages import points, put, share, signed, table
from lab.pairs.facts import PAIRS, PairFacts, RealPair, facts_of
from lab.pairs.picture import draw
from lab.pairs.rules import LADDER, FixedRule, Promised, accepted_weight, fixed_rule, promised, ruled
from lab.training.promise import Promise
from tandem.paths import REPOSITORY

PAGE, PICTURE = REPOSITORY / "docs" / "pairs.md", REPOSITORY / "docs" / "pairs.svg"
PROMISES = tuple(Promise(percent / 100) for percent in (2, 3, 5, 8, 10))
_DRAWN = tuple(Promise(percent / 100) for percent in range(2, 16))
_BENCHMARKS = {"humaneval": "HumanEval", "livecodebench_leetcode": "LiveCodeBench, LeetCode's part"}


def tables(pairs: list[PairFacts]) -> dict[str, str]:
    """By the names of their places in the page."""
    found = [promised(facts, PROMISES) for facts in pairs]
    return {
        "fixed": table(
            "tasks | small with large | small, large right | accepted | less the large model, points | lost | cost"
            " | with `weight=2`: points, cost",
            [_fixed_row(facts) for facts in pairs],
        ),
        "promised": table(
            f"tasks | small with large | {' | '.join(f'{p.lose_at_most:.0%}' for p in PROMISES)} | broken",
            [_promised_row(facts.pair, each) for facts, each in zip(pairs, found, strict=True)],
        ),
        "accepted": table(
            f"tasks | small with large | n | {' | '.join(f'{p.lose_at_most:.0%}' for p in PROMISES)}",
            [_accepted_row(facts) for facts in pairs],
        ),
    }


def _fixed_row(facts: PairFacts) -> str:
    one, two = fixed_rule(facts, 1), fixed_rule(facts, 2)
    runs = f", {one.runs} runs" if one.runs > 1 else ""
    bound = f", at most {one.bound:.1%}" if one.bound is not None else ""
    return (
        f"{_BENCHMARKS[facts.pair.data]}, n = {one.n}{runs} | {facts.pair.name} | {100 * one.small:.0f}, {100 * one.large:.0f} %"
        f" | {one.accepted:.0%} | {_points(one)} | {one.lost / one.n:.1%}{bound}"
        f" | {share(one.cost)} of {facts.pair.unit}"
        f" | {signed(100 * two.difference.mean)}, {two.cost.mean:.0%}"
    )


def _points(rule: FixedRule) -> str:
    """Bold where the interval leaves out 0."""
    text = points(rule.difference)
    return f"**{text}**" if rule.difference.high < 0 or rule.difference.low > 0 else text


def _promised_row(pair: RealPair, found: list[Promised]) -> str:
    cells = [f"{each.cost:.0%}, {each.lost:.1%} lost" if each.cost < 0.9995 else "none" for each in found]
    broken, above = max(each.broken for each in found), max(each.above for each in found)
    return f"{_BENCHMARKS[pair.data]} | {pair.name} | {' | '.join(cells)} | {broken:.1%} ({above:.1%})"


def _accepted_row(facts: PairFacts) -> str:
    cells = []
    for promise in PROMISES:
        weight = accepted_weight(facts, promise)
        cells.append("none" if weight is None else f"`weight={weight}`, {_cost(facts, weight):.0%}")
    return f"{_BENCHMARKS[facts.pair.data]} | {facts.pair.name} | {facts.n} | {' | '.join(cells)}"


def _cost(facts: PairFacts, weight: int) -> float:
    return float(ruled(facts, weight).cost.sum() / facts.large_cost.sum())


def results(pairs: list[PairFacts]) -> list[dict[str, object]]:
    """Every figure, unrounded."""
    return [
        {
            "pair": facts.pair.name,
            "data": facts.pair.data,
            "fixed": {weight: asdict(fixed_rule(facts, weight)) for weight in (1, 2)},
            "promised": [asdict(each) for each in promised(facts, PROMISES)],
            "rules": {w: {"lost": int(ruled(facts, w).lost.sum()), "cost": _cost(facts, w)} for w in LADDER},
        }
        for facts in pairs
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    pairs = [facts_of(pair) for pair in PAIRS]
    text = PAGE.read_text()
    for name, written in tables(pairs).items():
        print(written)
        text = put(text, name, written)
    PAGE.write_text(text)
    draw([(facts.pair, promised(facts, _DRAWN)) for facts in pairs], PICTURE)
    if given.json:
        given.json.write_text(json.dumps(results(pairs), indent=1, default=_plain) + "\n")
    print(f"in {PAGE.relative_to(REPOSITORY)} and {PICTURE.relative_to(REPOSITORY)}")


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(type(value))


if __name__ == "__main__":
    main()
