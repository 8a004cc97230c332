"""tandem calibrate --lose-at-most."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from lab.verbs.offline import any_study, explained, find_profile, known_unit, new_study, working
from tandem.cli.output import console, console_error, print_json
from tandem.cli.tables import print_table

if TYPE_CHECKING:
    from lab.training.promised import Shown


def keep_promise(
    files: list[Path], name: str, study: Path | None, lose_at_most: float, confidence: float, cost: str, *, write: bool,
    json: bool,
) -> None:  # fmt: skip
    """Exits with code 1 where a question was trained on, and with `write` where no policy keeps the promise."""
    with explained():
        from lab.training.collected import load_collected
        from lab.training.looks import Looks
        from lab.training.promise import Promise
        from lab.training.promise_files import REPORT, ship_promise, write_report
        from lab.training.promised import show_promise

        profile = find_profile(name)
        collected = load_collected(files, profile, only_question=True)
        _refuse_trained(collected.table.questions, study or any_study(name))
        with working(json) as progress:
            unit = known_unit(cost, collected.plan)
            looks = Looks(study or new_study(name))
            found = show_promise(collected, profile, Promise(lose_at_most, confidence), unit, progress, looks)
        report = write_report(found, study or new_study(name))
        missing = [shown.task for shown in found if shown.chosen is None]
        if write and not missing:
            for shown in found:
                ship_promise(find_profile(name), shown)
            write_report(found, profile.folder / "report")
    if json:
        print_json({"report": str(report), "promises": [shown.as_plain() for shown in found]})
    else:
        for shown in found:
            _show(shown)
        console.print(f"in {profile.folder}, report/{REPORT}" if write and not missing else f"in {report}")
    if write and missing:
        console_error(f"nothing was written: no policy keeps the promise for {' and '.join(missing)}")
        sys.exit(1)


def _refuse_trained(questions: Sequence[str], folder: Path) -> None:
    """End the command where the scorer or its thresholds were chosen on one of the questions; without a study none
    was.
    """
    from lab.training.names import TRAINING

    if not (folder / TRAINING).is_file():
        return
    from lab.training.study import Study

    training = Study(folder).training()
    if same := set(questions) & {*training.questions, *training.more_questions}:
        console_error(
            f"{len(same)} of the questions are in the training set: a promise needs questions that chose nothing"
        )
        sys.exit(1)


def _show(shown: Shown) -> None:
    console.print(f"{shown.task}: n = {shown.n}, look {shown.look}, tested in this order until one fails")
    rows = Table("accepted by", "lost", "at most", "less the LLM", "cost", "", box=None)
    for each in shown.tested:
        difference, cost = each.difference, each.cost
        rows.add_row(
            each.evidence,
            str(each.lost),
            f"{each.bound:.1%}",
            f"{100 * difference.mean:+.1f} [{100 * difference.low:.1f}, {100 * difference.high:.1f}]",
            f"{cost.mean:.0%} [{100 * cost.low:.0f}, {100 * cost.high:.0f}]",
            "accepted" if each.is_accepted else "fails",
            style="bold" if each is shown.chosen else "",
        )
    print_table(rows)
    console.print(verdict(shown), style="bold")


def verdict(shown: Shown) -> str:
    promised = f"{shown.promise.lose_at_most:.1%} with {shown.promise.confidence:.0%} confidence"
    if shown.chosen:
        return (
            f"kept: at most {promised} are lost. {shown.chosen.lost} of {shown.n} were, so at most "
            f"{shown.chosen.bound:.1%}"
        )
    if shown.needed:
        return (
            f"not shown: no policy is accepted on {shown.n} questions; in the next look {shown.needed} would be "
            f"needed for at most {promised}"
        )
    return (
        f"not kept: the strictest policy itself lost {shown.tested[0].lost} of {shown.n}; no number of questions "
        f"shows {promised}"
    )
