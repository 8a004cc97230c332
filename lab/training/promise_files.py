"""A promise that was shown, written down: the report, and the profile that makes it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import AoT

from lab.training.promised import Shown
from tandem.method.profile.profile import Profile
from tandem.method.profile.promise import PromiseMade

REPORT = "promise.json"


def write_report(found: Sequence[Shown], folder: Path) -> Path:
    """What was tested, as JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / REPORT
    file.write_text(json.dumps([each.as_plain() for each in found], indent=1) + "\n")
    return file


def ship_promise(profile: Profile, shown: Shown) -> None:
    """Write what was chosen, and the promise, into the profile's file; comments and the promises of other tasks stay.

    `profile` is what the file says now, `shown` has a choice.
    """
    assert shown.served is not None
    assert shown.made is not None
    ship_made(profile, shown.served, shown.made)


def ship_made(profile: Profile, served: Profile, made: PromiseMade) -> None:
    """As `ship_promise`: `served` is the profile with what was chosen."""
    file = profile.folder / "profile.toml"
    document: Any = tomlkit.parse(file.read_text())
    if made.task == "code":
        document.setdefault("checks", tomlkit.table())["code"] = list(served.checks.code)
        if served.trial.order != profile.trial.order:
            document.setdefault("trial", tomlkit.table())["order"] = list(served.trial.order)
    else:
        document["stop"]["stage_zero_threshold"] = served.stop.stage_zero_threshold
        for section, stage in zip(document["stages"], served.stages, strict=True):
            section["threshold"] = stage.threshold
    promises = [each for each in profile.promises if each.task != made.task] + [made]
    document.pop("promises", None)
    document["promises"] = promise_tables(promises)
    file.write_text(tomlkit.dumps(document))


def promise_tables(promises: Sequence[PromiseMade]) -> AoT:
    found = tomlkit.aot()
    for made in promises:
        plain = made.model_dump(exclude_none=True)
        table = tomlkit.table()
        data = tomlkit.array()
        for each in plain.pop("data"):
            inline = tomlkit.inline_table()
            inline.update(each)
            data.append(inline)
        table.update(plain)
        table.add("data", data)
        found.append(table)
    return found
