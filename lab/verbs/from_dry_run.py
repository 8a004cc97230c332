"""tandem calibrate --from-dry-run"""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

from lab.verbs.disputes import tell_promises
from lab.verbs.offline import explained, find_profile, new_study
from tandem.cli.output import console_error, console_note
from tandem.client.clients import Client
from tandem.client.spending import first_day, listed

_NEXT_STEP = (
    "a dry run keeps no text where labels are taken: write such requests into a file for `tandem collect`, whose "
    "disputes `tandem disputes` shows"
)


def promise_by_dry_runs(
    name: str,
    study: Path | None,
    since: datetime | None,
    lose_at_most: float,
    confidence: float,
    *,
    write: bool,
    json: bool,
) -> None:
    """Exits with code 1 where no rule keeps the promise for some kind of answers, or there are too few dry runs."""
    with explained():
        from lab.disputes.dry_runs import digest, read_dry_runs, requests_lacking
        from lab.disputes.promised import groups_of, shown
        from lab.disputes.served import ship_agreement
        from lab.training.looks import Looks
        from lab.training.promise import Promise

        profile, promise, looks = find_profile(name), Promise(lose_at_most, confidence), Looks(study or new_study(name))
        with Client() as client:
            found = read_dry_runs(listed(client, first_day(since), dry_runs=True), profile)
        for reason, number in found.left_out.most_common():
            console_note(f"{number} left out: {reason}")
        told, no_call = [], profile.agreement.no_call
        groups = groups_of(found.seen)
        for about, seen in groups.items():
            if needed := requests_lacking(about, seen, promise, looks, no_call):
                console_note(f"{about}: {len(seen)} different requests; with less than {needed} nothing is tested")
            else:
                told.append(shown(about, seen, promise, looks, no_call))
        if not told:
            console_error(f"no promise of {profile.name} can be tested on {len(found.seen)} dry runs")
            sys.exit(1)
        rule = profile.agreement.rule
        written = ship_agreement(profile, told, rule, "dry-run", digest(found.seen)) if write else None
    tell_promises(told, _NEXT_STEP, profile, written, json=json)
