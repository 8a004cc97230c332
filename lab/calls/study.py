"""The folder of a study of calls: `train` writes scorer and scores, `calibrate` adds the policy, `eval` reads both and
records when.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from lab.calls import tasks
from lab.calls.answers import CallTable, load_answers
from lab.calls.methods import CallPolicy, Scores
from lab.calls.training import Source, Trained
from lab.training.errors import StoreError, StudyError
from lab.training.study import text_of
from tandem.method.evidence.call_scorer import FILE, Regression, TrainedCalls
from tandem.method.problems import problems
from tandem.method.profile.profile import Profile

_SCORES, _ROUTER, _POLICY = "scores.json", "router.json", "policy.json"
JUDGED = tasks.FOLDER / "judged.json"


@dataclass(frozen=True)
class Answers:
    """A collected file with its tasks."""

    tasks: tasks.CallTasks
    table: CallTable
    source: Source


def load(file: Path, profile: Profile, given: tasks.CallTasks | None = None) -> Answers:
    """The tasks are those that the file was collected from: `given`, or train or test. Raises StoreError,
    DatasetError.
    """
    origin = _origin(file)
    if origin["pair"] != profile.name:
        raise StoreError(f"{file} has answers of the pair {origin['pair']}, not of {profile.name}")
    named = [given] if given else [tasks.load(name) for name in ("train", "test")]
    found = next((each for each in named if each.sha256 == origin["tasks_sha256"]), None)
    if found is None:
        raise StoreError(f"{file} was collected from other tasks than {', '.join(str(each.path) for each in named)}")
    source = Source(found.sha256, profile.call_fingerprint(), origin["engine"])
    return Answers(found, load_answers(found, file), source)


def _origin(file: Path) -> Mapping[str, Any]:
    path = file.with_suffix(".origin.json")
    try:
        found: Mapping[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}, which says what {file} was made with, cannot be read: {error}") from error
    return found


class CallStudy:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, trained: Trained, table: CallTable) -> None:
        trained.scorer.save(self.folder)
        scores = {"ids": table.ids.tolist(), "ours": _listed(trained.scores), "router": _listed(trained.routed)}
        (self.folder / _SCORES).write_text(json.dumps(scores) + "\n")
        if trained.router:
            (self.folder / _ROUTER).write_text(trained.router.model_dump_json() + "\n")

    def scorer(self) -> TrainedCalls:
        try:
            return TrainedCalls.model_validate_json(text_of(self.folder, FILE, "tandem train"))
        except ValidationError as error:
            raise StudyError(f"{self.folder / FILE} cannot be used, train again: {problems(error)}") from error

    def router(self) -> Regression | None:
        path = self.folder / _ROUTER
        return Regression.model_validate_json(path.read_text()) if path.is_file() else None

    def scores(self, table: CallTable) -> Scores:
        """Out of fold. Raises StudyError where one of the tasks was not trained on."""
        found = json.loads(text_of(self.folder, _SCORES, "tandem train"))
        rows = {name: row for row, name in enumerate(found["ids"])}
        if missing := [name for name in table.ids if name not in rows]:
            raise StudyError(
                f"{len(missing)} tasks ({missing[0]}, ...) are not in the training set: run `tandem train`"
            )
        order = [rows[name] for name in table.ids]
        return Scores(*(np.array(found[name], float)[order] for name in ("ours", "router")))

    def trained_ids(self) -> set[str]:
        return set(json.loads(text_of(self.folder, _SCORES, "tandem train"))["ids"])

    def save_policy(self, policy: CallPolicy, goal: str, mixes: Sequence[float] = ()) -> None:
        now = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
        fixed = {"goal": goal, "mixes": list(mixes), "fixed_on": now, **asdict(policy)}
        (self.folder / _POLICY).write_text(json.dumps(fixed, indent=1) + "\n")

    def policy(self) -> CallPolicy:
        found = self._fixed()
        return CallPolicy(**{name: found[name] for name in CallPolicy.__dataclass_fields__})

    def mixes(self) -> list[float]:
        """For which the policy was found; none: for the tasks as they were collected."""
        return list(self._fixed().get("mixes", []))

    def fixed_on(self) -> str:
        return str(self._fixed()["fixed_on"])

    def _fixed(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(text_of(self.folder, _POLICY, "tandem calibrate"))
        return found

    @property
    def sha256(self) -> str:
        """Of what decides: scorer and policy."""
        texts = text_of(self.folder, FILE, "tandem train"), text_of(self.folder, _POLICY, "tandem calibrate")
        return hashlib.sha256("".join(texts).encode()).hexdigest()


def _listed(scores: np.ndarray[Any, np.dtype[np.float64]]) -> list[float | None]:
    return [None if np.isnan(score) else round(float(score), 6) for score in scores]


def judge(answers: Answers, study: CallStudy, *, again: bool, record: Path | None = None) -> list[dict[str, Any]]:
    """Record that the held-out tasks are judged now, by which policy, fixed when. Returns all such records.

    The policy that judged them last may compute its figures again. Raises StudyError where another one did and it is
    not said that they are judged `again`, or where answers are missing.
    """
    if answers.tasks.sha256 != tasks.load("test").sha256:
        return []
    record = record or JUDGED
    before: list[dict[str, Any]] = json.loads(record.read_text()) if record.exists() else []
    if len(answers.table) < len(answers.tasks.items):
        raise StudyError(
            f"{len(answers.table)} of {len(answers.tasks.items)} held-out tasks are collected: they are judged once, "
            "and whole"
        )
    if before and before[-1]["policy_sha256"] == study.sha256:
        return before
    if before and not again:
        raise StudyError(
            f"the held-out tasks were judged on {before[-1]['judged_on']}, by the policy of {before[-1]['fixed_on']}; "
            "--again judges them once more, and records that"
        )
    now = {
        "judged_on": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "fixed_on": study.fixed_on(),
        "policy_sha256": study.sha256,
        "is_first": not before,
    }
    record.write_text(json.dumps([*before, now], indent=1) + "\n")
    return [*before, now]
