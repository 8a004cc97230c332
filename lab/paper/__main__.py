"""`make paper`: write the tables and the picture of docs/paper.md from the collected answers, in minutes.

python -m lab.paper [TABLE ...]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from lab.pages import points, put, share, table
from lab.paper import ablation
from lab.paper.answers import TRAINING
from lab.paper.latency import METHODS, OVERLAPPED, latencies
from lab.paper.methods import TESTS, methods
from lab.paper.picture import draw
from lab.paper.scorers import FITS, KINDS, SERVED, TRANSFERRED, Quality, of_study, out_of_fold, transfers
from lab.training.methods import display_name
from lab.training.names import LLM_ALONE
from tandem.paths import REPOSITORY

PAGE, PICTURE = REPOSITORY / "docs" / "paper.md", REPOSITORY / "docs" / "paper.svg"
_SOURCES = {"math": "mathematics", "code": "MBPP"}


def tables() -> dict[str, Callable[[], str]]:
    """By the names of their places in the page."""
    return {
        "methods": methods,
        "latency": _latency,
        "scorers": _scorers,
        "transfer": _transfer,
        "ablation": _ablation,
    }


def _scorers() -> str:
    """A column for each label and kind of questions; the second label has those that the study was trained on."""
    of_label = [kind for kind, file in KINDS.items() if file in TRAINING["math"]]
    found = {("right", kind, fit): out_of_fold(kind, fit) for kind in KINDS for fit in FITS}
    found |= {
        ("nothing lost", kind, shown): of_study(kind, name) for kind in of_label for name, shown in SERVED.items()
    }
    columns = dict.fromkeys((label, kind) for label, kind, _ in found)
    heads = [f"{label}: {kind}, n = {found[label, kind, next(iter(FITS))].n}" for label, kind in columns]
    rows = [
        " | ".join([shown, *(_quality(found.get((*column, shown))) for column in columns)]) for shown in SERVED.values()
    ]
    return table(" | ".join(["scorer", *heads]), rows)


def _transfer() -> str:
    found = {(each.source, each.test, each.fit): each for each in transfers()}
    heads = ["trained on", "tested on", *TRANSFERRED, "the paper's rule by the second, points at cost"]
    rows = []
    for source, test in dict.fromkeys((source, test) for source, test, _ in found):
        each = [found[source, test, fit] for fit in TRANSFERRED]
        rule = f"{points(each[-1].accuracy)} at {share(each[-1].cost)}"
        rows.append(" | ".join([_SOURCES[source], TESTS[test], *(_auroc(one.found) for one in each), rule]))
    return table(" | ".join(heads), rows)


def _quality(found: Quality | None) -> str:
    return "" if found is None else f"{_auroc(found)}, F1 {found.f1:.2f}"


def _auroc(found: Quality) -> str:
    return f"{found.overall.mean:.2f} [{found.overall.low:.2f}, {found.overall.high:.2f}]"


def _latency() -> str:
    found = list(latencies())
    rows = [
        f"{_timed(name)} | " + " | ".join(share(each.ratios[name]) for each in found)
        for name in (*METHODS, OVERLAPPED)
        if name != LLM_ALONE
    ]
    alone = f"{display_name(LLM_ALONE)}, seconds | {' | '.join(f'{each.alone:.1f}' for each in found)}"
    return table(" | ".join(["time to the whole answer", *(TESTS[each.test] for each in found)]), [alone, *rows])


def _timed(name: str) -> str:
    return "tandem, both models begin at once" if name == OVERLAPPED else display_name(name)


def _ablation() -> str:
    return table("questions | insight | n | right | less all four parts, points | insight, tokens", ablation.rows())


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
