"""`make paper`: write the tables and the picture of docs/paper.md from the collected answers, in minutes.

python -m lab.paper [TABLE ...]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from lab.pages import points, put, share, table
from lab.paper import ablation, family, passes, samples
from lab.paper.answers import FILES, TESTS, TRAINING, judged
from lab.paper.errors import errors
from lab.paper.groups import SHOWN, groups
from lab.paper.latency import METHODS, OVERLAPPED, latencies
from lab.paper.picture import draw
from lab.paper.scorers import FITS, KINDS, SERVED, Quality, of_passes, of_study, out_of_fold, transfers
from lab.paper.sequences import OF_PASSES
from lab.training.methods import display_name
from lab.training.metrics import difference_of_means, ratio_of_means
from lab.training.names import LLM_ALONE
from lab.training.pricing import PricedCourse
from lab.training.store import read
from tandem.paths import REPOSITORY

PAGE, PICTURE = REPOSITORY / "docs" / "paper.md", REPOSITORY / "docs" / "paper.svg"
COMPARED = (
    LLM_ALONE,
    "concise",
    "slm",
    *samples.LABELS,
    "fixed:1",
    "fixed:2",
    "fixed:3",
    "forced:3",
    "forced:paper",
    "random",
    "paper",
    "paper:zero",
    "shepherd",
    "shepherd:predicted",
    "shepherd:reactive",
    "cascade",
    "router",
    "trial",
    "llm-first",
    "tandem",
    "oracle",
    "oracle:llm-finishes",
)
_SOURCES = {"math": "mathematics", "code": "MBPP"}


def tables() -> dict[str, Callable[[], str]]:
    """By the names of their places in the page."""
    return {
        "methods": lambda: _methods("full"),
        "prices": lambda: _methods("usd_37"),
        "groups": _groups,
        "latency": _latency,
        "scorers, right": _right,
        "scorers, nothing lost": _nothing_lost,
        "errors": _errors,
        "transfer": _transfer,
        "ablation": _ablation,
        "family": _family,
        "files": _files,
    }


def _methods(unit: str) -> str:
    """Accuracy less the large model's in points, and cost in the unit relative to it; its own row has the
    accuracies.
    """
    heads = [f"{title}, n = {len(judged(test).outcomes[LLM_ALONE].right)}" for test, title in TESTS.items()]
    rows = [f"{_name(name)} | {' | '.join(_cell(test, name, unit) for test in TESTS)}" for name in COMPARED]
    return table(" | ".join(["method", *heads]), rows)


def _name(method: str) -> str:
    return samples.LABELS.get(method) or display_name(method)


@cache
def _outcomes(test: str) -> Mapping[str, PricedCourse]:
    whole = judged(test)
    return {**whole.outcomes, **samples.outcomes(test, whole.found.table, whole.found.plan)}


def _cell(test: str, name: str, unit: str) -> str:
    outcomes = _outcomes(test)
    if name not in outcomes:
        return ""
    found, alone = outcomes[name], outcomes[LLM_ALONE]
    if name == LLM_ALONE:
        return f"{100 * alone.right.mean():.1f} % right"
    cost = ratio_of_means(getattr(found, unit), getattr(alone, unit))
    return f"{points(difference_of_means(found.right, alone.right))} at {share(cost)}"


_SCORERS = "label: {} | scorer | AUROC at stage 0 | 1 | 2 | 3 | all stages | F1"


def _right() -> str:
    found = [
        (kind, fit, quality(kind, fit))
        for kind in KINDS
        for fits, quality in ((FITS, out_of_fold), (OF_PASSES, of_passes))
        for fit in fits
        if fits is FITS or passes.is_kept(KINDS[kind])
    ]
    rows = (f"{kind}, n = {each.n} | {fit} | {_quality(each)}" for kind, fit, each in found)
    return table(_SCORERS.format("the small model is right"), rows)


def _nothing_lost() -> str:
    kinds = [kind for kind, file in KINDS.items() if file in TRAINING["math"]]
    found = ((kind, shown, of_study(kind, scorer)) for kind in kinds for scorer, shown in SERVED.items())
    rows = (f"{kind}, n = {each.n} | {shown} | {_quality(each)}" for kind, shown, each in found)
    return table(_SCORERS.format("nothing is lost"), rows)


def _quality(found: Quality) -> str:
    stages = " | ".join("–" if auroc is None else f"{auroc:.2f}" for auroc in found.by_stage)
    over = found.overall
    return f"{stages} | {over.mean:.2f} [{over.low:.2f}, {over.high:.2f}] | {found.f1:.2f}"


def _errors() -> str:
    head = (
        "questions | n | with an oracle stage | the rule stops before it | at it | behind it | "
        "the large model answers | stopped behind it, and wrong"
    )
    rows = (
        f"{TESTS[each.test]} | {each.n} | {each.known} | {each.early} | {each.exact} | {each.late} | {each.large} | "
        f"{each.lost}"
        for each in errors()
    )
    return table(head, rows)


def _transfer() -> str:
    head = (
        "trained on | asked about | scorer | AUROC at stage 0 | 1 | 2 | 3 | all stages | F1 | the paper's rule "
        "from stage 0: points"
    )
    rows = [
        f"{_SOURCES[each.source]} | {TESTS[each.test]} | {each.fit} | {_quality(each.found)} | "
        f"{points(each.accuracy)} at {share(each.cost)}"
        for each in transfers()
    ]
    return table(head, rows)


def _groups() -> str:
    heads = ["questions", "n", *(display_name(name) for name in SHOWN), "tandem less LLM, points"]
    rows = [
        f"{each.name} | {each.n} | "
        + " | ".join(f"{100 * each.right[name]:.0f} at {each.cost[name]:.0%}" for name in SHOWN)
        + f" | {points(each.difference)}"
        for each in groups()
    ]
    return table(" | ".join(heads), rows)


def _latency() -> str:
    found = list(latencies())
    rows = [
        f"{_timed(name)} | " + " | ".join(share(each.ratios[name]) if name in each.ratios else "" for each in found)
        for name in (*METHODS, OVERLAPPED)
        if name != LLM_ALONE
    ]
    alone = f"{display_name(LLM_ALONE)}, seconds | {' | '.join(f'{each.alone:.1f}' for each in found)}"
    return table(" | ".join(["time to the whole answer", *(TESTS[each.test] for each in found)]), [alone, *rows])


def _ablation() -> str:
    head = (
        "questions | insight | n | right | less all four parts, points | insight, tokens | of them at the cap | "
        "answer, tokens | TFLOPs, paper"
    )
    return table(head, list(ablation.rows()) or ["not collected" + " | " * 8])


def _family() -> str:
    head = "questions | small model | insight | n | right | less the shipped one, points | answer, tokens"
    return table(head, list(family.rows()) or ["not collected" + " | " * 6])


def _files() -> str:
    head = "file | questions | answers | collected | engine | data's SHA-256"
    return table(head, (_file(path) for path in sorted(FILES.rglob("*.parquet"))))


def _file(path: Path) -> str:
    origin, runs = read(path)
    what = "stage 0 alone" if origin.only_question else "all stages"
    n = len({run.question for run in runs})
    return (
        f"`{path.relative_to(FILES)}` | {n} | {len(runs)} | {what} | {origin.computed_by} | "
        f"`{origin.dataset_sha256[:12]}`"
    )


def _timed(name: str) -> str:
    return "tandem, both models begin at once" if name == OVERLAPPED else display_name(name)


def main() -> None:
    known = tables()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "names", nargs="*", choices=[[], *known, "picture"], help="of tables; none: all, and the picture"
    )
    names = parser.parse_args().names or [*known, "picture"]
    for name in names:
        if name == "picture":
            draw(PICTURE)
            continue
        written = known[name]()
        print(written, flush=True)
        PAGE.write_text(put(PAGE.read_text(), name, written))


if __name__ == "__main__":
    main()
