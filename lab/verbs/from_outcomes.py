"""tandem calibrate --from-outcomes"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from lab.verbs.offline import explained, find_profile, new_study
from tandem.cli.output import console, console_error, print_json
from tandem.cli.tables import print_table
from tandem.client.clients import Client
from tandem.method.conversation import Kind
from tandem.method.profile.profile import Profile
from tandem.v1 import tandem_pb2

if TYPE_CHECKING:
    from lab.training.from_outcomes import Judged, ReportedOutcome


def calibrate_from_outcomes(
    name: str,
    study: Path | None,
    tenants: Sequence[str],
    lose_at_most: float,
    confidence: float,
    *,
    write: bool,
    json: bool,
) -> None:
    """For the programs of a profile, beside the promise that it makes now. Exits with code 1 where nothing is to be
    written.
    """
    with explained():
        from lab.training.from_outcomes import judge_by_outcomes, made_by_outcomes
        from lab.training.looks import Looks, at_look
        from lab.training.promise import Promise
        from lab.training.promise_files import ship_made

        profile, promise = find_profile(name), Promise(lose_at_most, confidence)
        task: Kind = "code" if profile.trial.stages and "code" in profile.trial.tasks else "answer"
        outcomes = _kept(name, task, tenants or ("",))
        look = Looks(study or new_study(name)).number(
            f"{task}, outcomes", map(repr, outcomes), [profile.evidence(task)]
        )
        judged = judge_by_outcomes(profile, task, outcomes, at_look(promise, look))
        chosen = next((each for each in reversed(judged) if each.is_accepted), None)
        if write and chosen:
            ship_made(profile, chosen.profile, made_by_outcomes(task, chosen, outcomes, promise))
    if json:
        rows = [{**asdict(each), "profile": name} for each in judged]
        print_json({"task": task, "outcomes": len(outcomes), "judged": rows})
    else:
        _show(profile, judged, chosen)
    if write and chosen is None:
        console_error("nothing was written: the outcomes show the promise for no policy")
        sys.exit(1)


def _kept(name: str, task: str, tenants: Sequence[str]) -> list[ReportedOutcome]:
    """Of all tenants, in the order in which they were told; each tenant's are of its own promise's steps."""
    from lab.training.from_outcomes import ReportedOutcome

    found = list[tandem_pb2.KeptOutcome]()
    with Client() as client:
        for tenant in tenants:
            policies = client.promises(tenant, with_outcomes=True).policies
            found += [kept for each in policies if (each.profile, each.task) == (name, task) for kept in each.kept]
    found.sort(key=lambda kept: kept.at_unix_ms)
    return [ReportedOutcome(k.lost, k.step, k.strength, k.score if k.HasField("score") else None) for k in found]


def _show(profile: Profile, judged: Sequence[Judged], chosen: Judged | None) -> None:
    rows = Table("accepted by", "lost", "of", "at most", "", box=None)
    for each in judged:
        says = "accepted" if each.is_accepted else "fails"
        now = ", served now" if each.step == 0 else ""
        rows.add_row(each.evidence, str(each.lost), str(each.n), f"{each.bound:.1%}", says + now)
    print_table(rows)
    for made in profile.promises:
        console.print(
            f"promised now for {made.task}: {made.evidence}; {made.lost} of {made.n} were lost, at most "
            f"{made.bound:.1%}"
        )
    says = f"the outcomes show it for: {chosen.evidence}" if chosen else "the outcomes show it for no policy"
    console.print(says, style="bold")
