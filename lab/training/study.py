"""The folder of a study: `train` writes it, `calibrate` adds the policies, `eval` reads it.

It holds `training.json`, `scores.safetensors` (out of fold, by kind), one artefact folder per kind, `policy.json`, and
`hints.safetensors`, what LLM Shepherding predicts by.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from safetensors.numpy import load_file, save_file

from lab.training.errors import StudyError
from lab.training.names import TRAINING
from lab.training.policy import Policy
from lab.training.shepherd import HintPredictor, Shepherd
from lab.training.table import Floats, Table
from services.sufficiency_scorer.artefact import Artefact, Label, ScorerMetrics, TrainingSource
from tandem.method.evidence.checks import TrialPlan

SCORES, POLICY, HINTS = "scores.safetensors", "policy.json", "hints.safetensors"
CASCADE = "cascade"
PAPER = "paper"  # the paper's MLP on the paper's label


class Training(BaseModel):
    """`questions` are in the order of the rows of all scores; `more_questions` were used for fitting only.

    `kinds` are metrics by kind, `asked` the requested kind, `chosen` the best of them; `calibrate` decides what is
    served.
    """

    model_config = ConfigDict(frozen=True)
    profile: str
    asked: str
    chosen: str
    label: Label
    questions: list[str]
    more_questions: list[str]
    folds: int
    seed: int
    sources: list[TrainingSource]
    kinds: dict[str, ScorerMetrics]


@dataclass(frozen=True)
class Policies:
    """`served` is the profile's policy. The others are compared with it and were found on the same questions.

    `paper` never stops at stage 0, `paper_from_zero` may. `cascade` and `route` are thresholds; `accuracy` and `cost`
    are those of `served` on training questions, out of fold. The two without trials are `never_finishing` and
    `finishing`; `trial` is the bare question's, and `trial_of_shortest` spares the large model the longest of its
    failures.
    """

    served: Policy
    never_finishing: Policy
    finishing: Policy
    paper: Policy
    paper_from_zero: Policy
    cascade: float
    route: float
    shepherd: Shepherd
    shepherd_reactive: Shepherd
    objective: str
    accuracy: float
    cost: float
    trial: TrialPlan = field(default_factory=TrialPlan)
    trial_of_shortest: TrialPlan = field(default_factory=TrialPlan)


_POLICIES = TypeAdapter(Policies)


class Study:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save_training(self, training: Training, scores: dict[str, Floats], artefacts: dict[str, Artefact]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / TRAINING).write_text(training.model_dump_json(indent=1) + "\n")
        save_file({name: grid.astype(np.float32) for name, grid in scores.items()}, self.folder / SCORES)
        for kind, artefact in artefacts.items():
            artefact.save(self.folder / kind)

    def training(self) -> Training:
        text = text_of(self.folder, TRAINING, "tandem train")
        try:
            return Training.model_validate_json(text)
        except ValidationError as error:
            raise StudyError(f"{self.folder / TRAINING} is of another version: run `tandem train` again") from error

    def scores(self, kind: str, table: Table) -> Floats:
        """Out-of-fold scores float64[n, K + 1] of the questions of `table`. Raises StudyError if one is no training
        question.
        """
        rows = {question: i for i, question in enumerate(self.training().questions)}
        missing = [q for q in table.questions if q not in rows]
        if missing:
            raise StudyError(
                f"{len(missing)} questions ({missing[0]}, ...) are not in the training set: run `tandem train`"
            )
        grid = load_file(self.folder / SCORES)[kind].astype(np.float64)
        return grid[[rows[q] for q in table.questions]]

    def artefact(self, kind: str) -> Artefact:
        try:
            return Artefact.load(self.folder / kind)
        except ValueError as error:
            raise StudyError(f"{error}; run `tandem train`") from error

    def save_policies(self, policies: Policies) -> None:
        (self.folder / POLICY).write_bytes(_POLICIES.dump_json(policies, indent=1) + b"\n")

    def policies(self) -> Policies:
        text = text_of(self.folder, POLICY, "tandem calibrate")
        try:
            return _POLICIES.validate_json(text)
        except ValidationError as error:
            raise StudyError(f"{self.folder / POLICY} is of another version: run `tandem calibrate` again") from error

    def save_hints(self, hints: HintPredictor) -> None:
        hints.save(self.folder / HINTS)

    def hints(self) -> HintPredictor:
        try:
            return HintPredictor.load(self.folder / HINTS)
        except OSError as error:
            raise StudyError(f"{self.folder} has no {HINTS}: run `tandem calibrate` first") from error


def text_of(folder: Path, name: str, command: str) -> str:
    """Of a file that `command` writes. Raises StudyError where a study's folder has none."""
    try:
        return (folder / name).read_text()
    except OSError as error:
        raise StudyError(f"{folder} has no {name}: run `{command}` first") from error
