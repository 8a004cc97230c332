"""Kinds of answers whose agreement keeps a promise, written into the profile that serves them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tomlkit

from lab.disputes.promised import CALL, Shown
from lab.training.promise import upper_bound
from lab.training.promise_files import promise_tables
from tandem.method.conversation import Kind
from tandem.method.profile.profile import Profile, load_profile
from tandem.method.profile.promise import PromiseData, PromiseMade

KINDS: Mapping[str, Kind] = {"calls": "tools", "answer": "answer", "json": "json", "option": "option"}
"""By the form of answers; programs are compared by a check, as trials."""


def ship_agreement(profile: Profile, found: Sequence[Shown], rule: str, dataset: str, digest: str) -> list[str]:
    """The kinds that are taken from now on: of those that the file of requests has, the accepted ones; of others as
    before. A tenant's promise is no profile's. `digest`: of the data.
    """
    shown = {KINDS[each.about]: each for each in found if each.about in KINDS}
    accepted = [kind for kind, each in shown.items() if each.chosen]
    kinds = [*(kind for kind in profile.agreement.kinds if kind not in shown), *accepted]
    target = profile.folder / "profile.toml"
    document: Any = tomlkit.parse(target.read_text())
    section = document.setdefault("agreement", tomlkit.table())
    section["kinds"] = kinds
    section["rule"] = rule
    if (calls := shown.get("tools")) and calls.chosen:
        section["no_call"] = calls.chosen.evidence != CALL
    target.write_text(tomlkit.dumps(document))
    served = load_profile(profile.name, (profile.folder.parent,))
    promises = [each for each in profile.promises if each.task not in shown]
    promises += [_made(served, kind, shown[kind], dataset, digest) for kind in accepted]
    document.pop("promises", None)
    if promises:
        document["promises"] = promise_tables(promises)
    target.write_text(tomlkit.dumps(document))
    return list(map(str, kinds))


def _made(served: Profile, kind: Kind, shown: Shown, dataset: str, digest: str) -> PromiseMade:
    chosen = shown.chosen
    assert chosen is not None
    n, lose_at_most = chosen.counted.n, shown.promise.lose_at_most
    differ = round(upper_bound(chosen.counted.disputes, n, shown.confidence), 6)
    return PromiseMade(
        task=kind,
        lose_at_most=lose_at_most,
        confidence=shown.promise.confidence,
        bound=round(chosen.bound, 6),
        lost=chosen.counted.lost_at_most,
        n=n,
        evidence=served.evidence(kind),
        data=(PromiseData(dataset=dataset, questions=n, file_sha256=digest, questions_sha256=digest),),
        differ_at_most=differ if differ > lose_at_most else None,
    )
