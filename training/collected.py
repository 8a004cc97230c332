"""Several collected files of one pair, read as one table."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tandem.method.plan import Plan, make_plan
from tandem.method.profile import Profile
from training.collect import Run
from training.store import Origin, StoreError, read
from training.table import Table, make_table


@dataclass(frozen=True)
class Collected:
    """`runs` and `table` of all files together; a question is named `dataset/id`. `plan` is the profile's, for costs."""

    origins: tuple[Origin, ...]
    files: tuple[Path, ...]
    runs: tuple[Run, ...]
    table: Table
    plan: Plan

    def without(self, questions: Iterable[str]) -> Collected:
        known = set(questions)
        table = self.table.take(np.array([q not in known for q in self.table.questions], bool))
        return replace(self, runs=tuple(run for run in self.runs if run.question not in known), table=table)

    @cached_property
    def sources(self) -> list[dict[str, Any]]:
        """For each file: its dataset, the hashes of the dataset, of the collected questions' ids, and of the file."""
        return [
            {
                "dataset": origin.dataset,
                "dataset_sha256": origin.dataset_sha256,
                "questions": len(ids := sorted({r.question for r in self.runs if _dataset(r) == origin.dataset})),
                "questions_sha256": hashlib.sha256("\n".join(ids).encode()).hexdigest(),
                "file": file.name,
                "file_sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
                "command": origin.command,
            }
            for origin, file in zip(self.origins, self.files, strict=True)
        ]

    @property
    def datasets(self) -> str:
        return ", ".join(origin.dataset for origin in self.origins)


def load_collected(files: Sequence[Path], profile: Profile, *, only_question: bool = False) -> Collected:
    """`only_question`: files of `collect --only-question` may be among them.

    Raises StoreError where a file is none of ours, was made with other texts than the profile's, or lacks the stages.
    """
    origins, runs = [], []
    for file in files:
        origin, found = read(file)
        made_with = pair_of(origin.profile)
        if different := [name for name, value in profile.prompt_fingerprint().items() if made_with[name] != value]:
            raise StoreError(f"{file} was collected with another {', '.join(different)} than {profile.name} has now")
        if origin.only_question and not only_question:
            raise StoreError(f"{file} has the bare questions alone: it can help to train (`train --also`), no more")
        if any(run.name == "llm" and not run.asked for run in found):
            raise StoreError(f"{file} has no questions' texts: run `tandem collect` on it again, which adds them")
        origins.append(origin)
        runs += [replace(run, question=f"{origin.dataset}/{run.question}") for run in found]
    return Collected(
        tuple(origins), tuple(files), tuple(runs), make_table(runs, len(profile.stages)), make_plan(profile)
    )


def pair_of(told: dict[str, Any]) -> dict[str, Any]:
    """What scores depend on (Profile.prompt_fingerprint), out of an origin's `profile`."""
    return {
        "handoff": told["handoff"],
        "llm": told["llm"]["name"],
        "slm": told["slm"]["name"],
        "prompts": told["prompts"],
        "stages": told["stages"],
    }


def _dataset(run: Run) -> str:
    return run.question.partition("/")[0]
