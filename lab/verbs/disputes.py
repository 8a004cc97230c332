"""tandem disputes, and `tandem calibrate --lose-at-most` by the agreement of two small models."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from lab.verbs.offline import explained, find_profile, new_study
from tandem.cli.output import JsonFlag, console, print_json
from tandem.cli.tables import print_table
from tandem.method.profile.profile import Profile

if TYPE_CHECKING:
    from lab.disputes.asked import Compared
    from lab.disputes.labels import Label
    from lab.disputes.promised import Shown

_KEYS = {"l": "left", "r": "right", "b": "both", "n": "neither", "s": "", "q": ""}
_ASKS = "[l]eft, [r]ight, [b]oth, [n]either, [s]kip, [q]uit"
FileOfRequests = Annotated[
    Path,
    typer.Argument(
        help="Requests with the answers of two small models and the large one, as JSONL.", exists=True, dir_okay=False
    ),
]


def are_requests(files: Sequence[Path]) -> bool:
    from lab.disputes.asked import are_asked

    return len(files) == 1 and files[0].suffix == ".jsonl" and are_asked(files[0])


def disputes(
    file: FileOfRequests,
    take: Annotated[
        list[str] | None,
        typer.Option(
            help="Label a dispute without being asked: ID=left, right, both or neither. Several times for several."
        ),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Show each request where two small models agree and the large one says otherwise, and take who is right.

    Labels go into a file beside the requests. What has one is not asked again, so that the command goes on where it was
    left.
    """
    with explained():
        from lab.disputes.asked import compare_all, read_asked
        from lab.disputes.labels import Labels, disputes_of

        found = disputes_of(asyncio.run(compare_all(read_asked(file))))
        kept = Labels(file)
        _take(take or (), found, kept)
        labels = kept.read()
        if json:
            print_json({"file": str(kept.path), "disputes": [_plain(each, labels.get(each.digest)) for each in found]})
            return
        missing = [each for each in found if each.digest not in labels]
        if not take:
            _ask_each(missing, len(found), kept)
            labels = kept.read()
    told = sum(each.digest in labels for each in found)
    console.print(
        f"{told} of {len(found)} disputes have a label, in {kept.path}. Next: `tandem calibrate {file} "
        "--lose-at-most 0.03`"
    )


def _take(words: Sequence[str], found: Sequence[Compared], kept: Any) -> None:
    """Raises BadParameter before any label is written."""
    from lab.disputes.labels import LABELS

    by_id = {each.asked.id: each for each in found}
    taken = []
    for word in words:
        name, _, said = word.rpartition("=")
        if name not in by_id or said not in LABELS:
            raise typer.BadParameter(f"{word!r}: a label is ID={'|'.join(LABELS)}, of a dispute", param_hint="--take")
        taken.append((by_id[name], said))
    for dispute, said in taken:
        kept.add(dispute, said)


def _ask_each(missing: Sequence[Compared], total: int, kept: Any) -> None:
    for number, each in enumerate(missing, total - len(missing) + 1):
        console.rule(f"{number} of {total}: {each.asked.id}")
        console.print(each.asked.question)
        for side, role, who in (("left", each.taken, "the two small models"), ("right", "llm", "the large model")):
            console.print(f"\n{side}, {who}:", style="bold")
            console.print(each.asked.shown(role))
        key = _key()
        if key == "q":
            return
        if _KEYS[key]:
            kept.add(each, _KEYS[key])


def _key() -> str:
    while True:
        try:
            said = typer.prompt(f"\nwho is right? {_ASKS}").strip().casefold()[:1]
        except (EOFError, typer.Abort):
            return "q"
        if said in _KEYS:
            return str(said)


def _plain(dispute: Compared, label: Label | None) -> dict[str, object]:
    asked = dispute.asked
    return {
        "id": asked.id,
        "kind": asked.kind.form,
        "question": asked.question,
        "left": asked.shown(dispute.taken),
        "right": asked.shown("llm"),
        "label": label,
    }


def promise_by_agreement(
    file: Path, name: str, study: Path | None, lose_at_most: float, confidence: float, *, write: bool, json: bool
) -> None:
    """Exits with code 1 where no rule keeps the promise for some kind of answers."""
    with explained():
        from lab.disputes.asked import compare_all, read_asked
        from lab.disputes.labels import Labels
        from lab.disputes.promised import show
        from lab.disputes.served import ship_agreement
        from lab.training.errors import TooFew
        from lab.training.looks import Looks
        from lab.training.promise import Promise
        from tandem.method.request.plan import make_plan

        profile = find_profile(name)
        prices = make_plan(profile, "chat").prices
        compared = asyncio.run(compare_all(read_asked(file)))
        looks = Looks(study or new_study(name))
        found = show(compared, Labels(file).read(), prices, Promise(lose_at_most, confidence), looks)
        if not found:
            raise TooFew(
                f"{file}: agreement is evidence for none of these {len(compared)} requests: they are free text"
            )
        rule = "two of three" if len(compared[0].asked.small) > 2 else "both"  # which is what the disputes are of
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        written = ship_agreement(profile, found, rule, file.stem, digest) if write else None
    tell_promises(found, f"`tandem disputes {file}`", profile, written, json=json)


def tell_promises(
    found: Sequence[Shown], next_step: str, profile: Profile, written: Sequence[str] | None, *, json: bool
) -> None:
    """Exits with code 1 where no rule keeps the promise for some kind of answers."""
    if json:
        print_json({"promises": [{**asdict(each), "chosen": each.chosen and each.chosen.evidence} for each in found]})
    else:
        for each in found:
            _show(each, next_step)
        if written is not None:
            console.print(f"{profile.folder / 'profile.toml'} takes so now: {', '.join(written) or 'nothing'}")
    if not all(each.chosen for each in found):
        sys.exit(1)


def _show(shown: Shown, next_step: str) -> None:
    n = shown.tested[0].counted.n
    console.print(f"{shown.about}: n = {n} different requests, look {shown.look}; bounds of {shown.confidence:.2%}")
    rows = Table("taken", "share", "disputes", "labelled", "lost", "lost at most", "cost", "", box=None)
    for each in shown.tested:
        counted = each.counted
        rows.add_row(
            each.evidence,
            f"{counted.taken / n:.0%}",
            str(counted.disputes),
            str(counted.labelled),
            str(counted.lost),
            f"{each.bound:.1%}",
            "" if each.cost is None else f"{each.cost:.0%}",
            "accepted" if each.is_accepted else "fails",
        )
    print_table(rows)
    console.print(_verdict(shown, next_step), style="bold")


def _verdict(shown: Shown, next_step: str) -> str:
    promised = f"{shown.promise.lose_at_most:.1%} with {shown.promise.confidence:.0%} confidence over all looks"
    if shown.chosen:
        return f"kept by {shown.chosen.evidence}: at most {promised} are lost"
    if shown.labels_needed:
        return f"not shown yet: {shown.labels_needed} more disputes must be found not to be lost: {next_step}"
    if shown.requests_needed:
        return f"not shown: in the next look {shown.requests_needed} requests would be needed for at most {promised}"
    return f"not kept: no number of requests shows {promised}; the large model answers"
