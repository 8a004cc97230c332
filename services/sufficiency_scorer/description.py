"""The text half of an artefact, `scorer.json`: how a scorer was made, from which questions, and how good it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue

from services.engine.api import ModelInfo
from services.sufficiency_scorer.shape import Shape

Label = Literal["nothing_lost", "right"]
"""The event whose probability a score estimates. `right` (the paper's): the small model, stopped here, answers right.
`nothing_lost`: it does, or the large model alone does not either, so that continuing gains nothing."""

TRANSFORMERS = "transformers"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


@dataclass(frozen=True)
class Moments:
    """Per feature, over the training questions of one stage, after features.log_compress."""

    mean: list[float]
    std: list[float]


@dataclass(frozen=True)
class Quality:
    """Quality of n predicted probabilities; `right` is the share of positive outcomes. `auroc` is None if all are equal."""

    n: int
    right: float
    auroc: float | None
    ece: float
    brier: float
    log_loss: float


class ScorerMetrics(_Part):
    """Out-of-fold quality. `reliability`: (mean probability, share of positives, n) of ten groups of equal size."""

    overall: Quality
    auroc_interval: tuple[float, float]
    by_stage: list[Quality]
    reliability: list[tuple[float, float, int]]


class NotMeasured(_Part):
    """In place of ScorerMetrics, for a scorer that serves as a baseline only."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TrainingSource(_Part):
    """One collected file: its dataset, the number of questions, and the hashes of dataset, question ids and file."""

    dataset: str
    dataset_sha256: str
    questions: int
    questions_sha256: str
    file: str
    file_sha256: str
    command: str


class Description(_Part):
    """`pair` is Profile.prompt_fingerprint of the profile, which the scores depend on; `tokenizer_sha256` is that of the
    small model's tokenizer. `computed_by` is what computed the features: TRANSFORMERS, or llama.cpp and the file's quantization."""

    kind: str
    label: Label = "right"
    features: list[str]
    shape: Shape
    pair: dict[str, JsonValue]
    computed_by: str = TRANSFORMERS
    tokenizer_sha256: str
    spread_by_stage: list[Moments]
    trained_on: list[TrainingSource]
    metrics: ScorerMetrics | NotMeasured
    versions: dict[str, str]
    command: str
    seed: int


def computed_by(info: ModelInfo) -> str:
    """What an engine's features are computed by, as `Description.computed_by` has it."""
    return f"llamacpp {info.dtype}" if info.engine == "llamacpp" else TRANSFORMERS
