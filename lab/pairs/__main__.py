"""`make pairs`: write the tables of docs/pairs.md from the facts, in seconds; `python -m lab.pairs triples` prints a
table of every triple.
"""

from __future__ import annotations

import argparse

import numpy as np

from lab.pages import points, put, share, signed, table
from lab.pairs.agreed_promises import AgreedPromise, agreed_promise
from lab.pairs.facts import PAIRS, PairFacts, RealPair, facts_of
from lab.pairs.rules import Promised, fixed_rule, promised
from lab.pairs.triple_models import BENCHMARKS, HOST_PRICE, at_host_price
from lab.pairs.triples import Agreed, Benchmark, Triple, agreed, alone, triples
from lab.training.metrics import Interval
from lab.training.promise import Promise
from tandem.paths import REPOSITORY

PAGE = REPOSITORY / "docs" / "pairs.md"
PROMISES = tuple(Promise(percent / 100) for percent in (2, 3, 5, 8, 10))
_BENCHMARKS = {"humaneval": "HumanEval", "livecodebench_leetcode": "LiveCodeBench, LeetCode's part"}


def tables(pairs: list[PairFacts]) -> dict[str, str]:
    """By the names of their places in the page."""
    found = [promised(facts, PROMISES) for facts in pairs]
    return {
        "fixed": table(
            "tasks | small with large | small, large right | accepted | less the large model, points | McNemar's p | "
            "random routing at this price | lost | cost | small alone: points, cost | with `weight=2`: points, cost",
            [_fixed_row(facts) for facts in pairs],
        ),
        "promised": table(
            f"tasks | small with large | {' | '.join(f'{p.lose_at_most:.0%}' for p in PROMISES)} | broken",
            [_promised_row(facts.pair, each) for facts, each in zip(pairs, found, strict=True)],
        ),
    }


Agreements = list[list[tuple[Triple, Agreed, AgreedPromise]]]


def all_agreements() -> Agreements:
    """Of every triple, by benchmark."""
    return [
        [(triple, agreed(triple), agreed_promise(triple)) for triple in triples(benchmark)] for benchmark in BENCHMARKS
    ]


def agreement_tables(found: Agreements) -> dict[str, str]:
    return {
        "agreed": table(
            "tasks | triples | taken | lost | at most | less the large model, points | cost, % of USD | random routing "
            f"at this price, points | first alone, points | cost with open models at {HOST_PRICE:.2f}, % of USD",
            [_summary_row(benchmark, rows) for benchmark, rows in zip(BENCHMARKS, found, strict=True)],
        ),
        "alone": table(
            "tasks | small model by itself | less the large model, points | cost, % of USD",
            [row for benchmark, rows in zip(BENCHMARKS, found, strict=True) for row in _alone_rows(benchmark, rows)],
        ),
        "agreed_promised": table(
            "tasks | triples | disputes, of all tasks | of these lost | 3 % shown without labels | with disputes "
            "labelled | with all labelled | halves that show it | lost on the other half | broken",
            [_promise_row(benchmark, rows) for benchmark, rows in zip(BENCHMARKS, found, strict=True)],
        ),
    }


def every_triple(found: Agreements) -> str:
    return table(
        "tasks | two small with large | right, % | taken | of these right | less the large model, points | "
        "McNemar's p | random routing at this price | lost | cost, % of USD | first alone: points, cost | disputes | "
        "3 % is shown",
        [_triple_row(*each) for rows in found for each in rows],
    )


def _alone_rows(benchmark: Benchmark, rows: list[tuple[Triple, Agreed, AgreedPromise]]) -> list[str]:
    if not benchmark.shows_alone:
        return []
    found = alone([triple for triple, _, _ in rows])
    return [
        f"{benchmark.title} | {name} | {_signed_span([less for less, _ in figures])} | {_span([c for _, c in figures])}"
        for name, figures in found.items()
    ]


def _promise_row(benchmark: Benchmark, rows: list[tuple[Triple, Agreed, AgreedPromise]]) -> str:
    each, n = [one for _, _, one in rows], len(rows)
    counted = [one.counted for one in each]
    lost = [c.lost / c.disputes for c in counted]
    accepted = [one.lost for one in each if one.accepted]
    return (
        f"{benchmark.title} | {n} | {_span([c.disputes / c.n for c in counted], 1)} % | {_span(lost)} %"
        f" | {sum(one.without_labels for one in each)} of {n} | {sum(one.with_disputes for one in each)} of {n}"
        f" | {sum(one.with_all for one in each)} of {n} | {_span([one.accepted for one in each])} %"
        f" | {f'{_span(accepted, 1)} %' if accepted else 'none'}"
        f" | {max(one.broken for one in each):.1%} ({max(one.above for one in each):.1%})"
    )


def _summary_row(benchmark: Benchmark, rows: list[tuple[Triple, Agreed, AgreedPromise]]) -> str:
    each = [one for _, one, _ in rows]
    first = [one.right[0] - one.right[2] for one in each]
    lots = [one.lot for one in each if one.lot is not None]
    return (
        f"{benchmark.title}, n = {min(e.n for e in each)} to {max(e.n for e in each)} | {len(each)}"
        f" | {_span([e.taken for e in each])} %"
        f" | {_span([e.lost / e.n for e in each], 1)} % | {100 * max(e.bound for e in each):.1f} %"
        f" | {_signed_span([e.difference.mean for e in each])}"
        f" | {_median_span([e.cost.mean for e in each])}"
        f" | {_signed_span(lots)} | {_signed_span(first)}"
        f" | {_median_span([agreed(triple).cost.mean for triple in triples(at_host_price(benchmark))])}"
    )


def _signed_span(shares: list[float]) -> str:
    return f"{signed(100 * min(shares))} to {signed(100 * max(shares))}"


def _median_span(shares: list[float]) -> str:
    return f"{100 * float(np.median(shares)):.0f}; {_span(shares)}"


def _span(shares: list[float], digits: int = 0) -> str:
    return f"{100 * min(shares):.{digits}f} to {100 * max(shares):.{digits}f}"


def _random(value: float | None) -> str:
    return "dearer" if value is None else signed(100 * value)


def _shown(found: AgreedPromise) -> str:
    if found.without_labels:
        return "without labels"
    return f"by {found.counted.disputes} labels" if found.with_disputes else "no"


def _triple_row(triple: Triple, each: Agreed, promise: AgreedPromise) -> str:
    return (
        f"{triple.benchmark.title}, n = {each.n} | {triple.first.name}, {triple.second.name} with {triple.large.name}"
        f" | {', '.join(f'{100 * right:.0f}' for right in each.right)} | {each.taken:.0%} | {each.right_of_taken:.1%}"
        f" | {_bold(each.difference)} | {max(each.p_value, 0.001):.3f} | {_random(each.lot)}"
        f" | {each.lost / each.n:.1%}, at most {each.bound:.1%} | {share(each.cost)}"
        f" | {signed(100 * (each.right[0] - each.right[2]))}, {each.first_alone:.0%}"
        f" | {promise.counted.disputes / each.n:.1%} | {_shown(promise)}"
    )


def _fixed_row(facts: PairFacts) -> str:
    one, two = fixed_rule(facts, 1), fixed_rule(facts, 2)
    runs = f", {one.runs} runs" if one.runs > 1 else ""
    p_value = "" if one.p_value is None else f"{max(one.p_value, 0.001):.3f}"
    bound = f", at most {one.bound:.1%}" if one.bound is not None else ""
    return (
        f"{_BENCHMARKS[facts.pair.data]}, n = {one.n}{runs} | {facts.pair.name} | {100 * one.small:.0f}, "
        f"{100 * one.large:.0f} %"
        f" | {one.accepted:.0%} | {_bold(one.difference)} | {p_value} | {_random(one.lot)}"
        f" | {one.lost / one.n:.1%}{bound}"
        f" | {share(one.cost)} of {facts.pair.unit} | {signed(100 * (one.small - one.large))}, {one.small_cost:.0%}"
        f" | {signed(100 * two.difference.mean)}, {two.cost.mean:.0%}"
    )


def _bold(difference: Interval) -> str:
    """Bold where the interval leaves out 0."""
    text = points(difference)
    return f"**{text}**" if difference.high < 0 or difference.low > 0 else text


def _promised_row(pair: RealPair, found: list[Promised]) -> str:
    cells = [f"{each.cost:.0%}, {each.lost:.1%} lost" if each.cost < 0.9995 else "none" for each in found]
    broken, above = max(each.broken for each in found), max(each.above for each in found)
    return f"{_BENCHMARKS[pair.data]} | {pair.name} | {' | '.join(cells)} | {broken:.1%} ({above:.1%})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", choices=["page", "triples"], default="page")
    agreements = all_agreements()
    if parser.parse_args().what == "triples":
        print(every_triple(agreements))
        return
    text = PAGE.read_text()
    for name, written in {**tables([facts_of(pair) for pair in PAIRS]), **agreement_tables(agreements)}.items():
        print(written)
        text = put(text, name, written)
    PAGE.write_text(text)
    print(f"in {PAGE.relative_to(REPOSITORY)}")


if __name__ == "__main__":
    main()
