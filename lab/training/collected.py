"""Several collected files of one pair as one table."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from lab.training.checking import is_checked
from lab.training.collect import Run
from lab.training.errors import StoreError
from lab.training.further import without
from lab.training.store import Origin, read
from lab.training.table import Table, make_table
from services.sufficiency_scorer.artefact import TrainingSource
from tandem.method.profile.profile import Profile
from tandem.method.request.plan import Plan, make_plan
from tandem.method.roles import SMALL_ROLES, title


@dataclass(frozen=True)
class Collected:
    """`runs` and `table` of all files; a question is named `dataset/id`. `plan` is the profile's, for costs."""

    origins: tuple[Origin, ...]
    files: tuple[Path, ...]
    runs: tuple[Run, ...]
    table: Table
    plan: Plan

    def without(self, questions: Iterable[str]) -> Collected:
        excluded = set(questions)
        table = self.table.take(np.array([q not in excluded for q in self.table.questions], bool))
        return replace(self, runs=tuple(run for run in self.runs if run.question not in excluded), table=table)

    def unscored(self, questions: Iterable[str]) -> Collected:
        """With `questions` as tasks that a policy may leave unscored."""
        named = set(questions)
        special = self.table.is_special | np.array([q in named for q in self.table.questions], bool)
        return replace(self, table=replace(self.table, is_special=special))

    @cached_property
    def sources(self) -> list[TrainingSource]:
        """One per file."""
        return [self._source(origin, file) for origin, file in zip(self.origins, self.files, strict=True)]

    def _source(self, origin: Origin, file: Path) -> TrainingSource:
        ids = sorted({run.question for run in self.runs if _dataset(run) == origin.dataset})
        return TrainingSource(
            dataset=origin.dataset,
            dataset_sha256=origin.dataset_sha256,
            questions=len(ids),
            questions_sha256=hashlib.sha256("\n".join(ids).encode()).hexdigest(),
            file=file.name,
            file_sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
            command=origin.command,
        )

    @property
    def datasets(self) -> str:
        return ", ".join(origin.dataset for origin in self.origins)


def load_collected(files: Sequence[Path], profile: Profile, *, only_question: bool = False) -> Collected:
    """`only_question`: accept files of `collect --only-question` too.

    Raises StoreError if a file is not of `tandem collect`, was collected with other prompts or models, or lacks stages.
    Small models that the profile does not name are left out.
    """
    origins, runs = [], []
    for file in files:
        origin, found = read(file)
        _check(file, origin, found, profile, only_question)
        found = without(found, SMALL_ROLES[len(profile.small) :])
        origins.append(origin)
        runs += [replace(run, question=f"{origin.dataset}/{run.question}") for run in found]
    return Collected(
        tuple(origins),
        tuple(files),
        tuple(runs),
        make_table(runs, len(profile.stages), lambda run: is_checked(run, profile)),
        make_plan(profile),
    )


def _check(file: Path, origin: Origin, runs: Iterable[Run], profile: Profile, only_question: bool) -> None:
    expected, collected_with = profile.prompt_fingerprint(), origin.profile.prompt_fingerprint()
    if different := [name for name, value in expected.items() if collected_with[name] != value]:
        raise StoreError(f"{file} was collected with another {', '.join(different)} than {profile.name} has now")
    if origin.only_question and not only_question:
        raise StoreError(
            f"{file} was collected with --only-question: it can only be used for `train --also` and `calibrate "
            "--lose-at-most`"
        )
    if any(run.name == "repair" for run in runs) and origin.repair != profile.prompts.repair:
        raise StoreError(
            f"{file} holds repairs by another prompts.repair than {profile.name} has now: collect it again"
        )
    for role, model in origin.further.items():
        if (named := profile.models.get(role)) and model.name != named.name:
            raise StoreError(
                f"{file} holds answers of {model.name}, and {profile.name} names {named.name} as its {title(role)} "
                "model: collect it again"
            )
    if any(run.name == "llm" and not run.asked for run in runs):
        raise StoreError(f"{file} lacks the questions' texts: run `tandem collect` on it again, which adds them")


def _dataset(run: Run) -> str:
    return run.question.partition("/")[0]
