"""A trained scorer as files: `scorer.safetensors` (the network) and `scorer.json` (its description). Never a pickle.

The description says how a scorer was made, from which questions, and how good it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from services.models.engine.api import ModelInfo
from services.sufficiency_scorer.network import Shape, SufficiencyNetwork
from services.sufficiency_scorer.scorer_inputs import (
    BUCKETS,
    COUNTS,
    NAMES,
    ScorerInputs,
    ScorerInputsBatch,
    log_compress,
)
from tandem.method.problems import problems
from tandem.method.profile.profile import Profile

TRANSFORMERS = "transformers"
WEIGHTS, DESCRIPTION = "scorer.safetensors", "scorer.json"
Label = Literal["nothing_lost", "right"]
"""The event whose probability a score estimates. `right` (the paper's): the small model, stopped here, answers right.
`nothing_lost`: it does, or the large model alone does not either, so that continuing gains nothing."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


@dataclass(frozen=True)
class Moments:
    """Moments per feature, over the training questions of one stage, after scorer_inputs.log_compress."""

    mean: list[float]
    std: list[float]


@dataclass(frozen=True)
class Quality:
    """Quality of n predicted probabilities; `right` is the share of positive outcomes. `auroc` is None if all are
    equal.
    """

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
    """Stands in place of ScorerMetrics, for a scorer that serves as a baseline only."""

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
    """`pair` is Profile.prompt_fingerprint of the profile, which the scores depend on; `tokenizer_sha256` is that of
    the small model's tokenizer. `computed_by` is what computed the features: TRANSFORMERS, or llama.cpp and the file's
    quantization.
    """

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
    """Return what an engine's features are computed by, as `Description.computed_by` has it."""
    return f"llamacpp {info.dtype}" if info.engine == "llamacpp" else TRANSFORMERS


@dataclass(frozen=True)
class Artefact:
    network: SufficiencyNetwork
    description: Description

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(dict(self.network.arrays), folder / WEIGHTS)
        (folder / DESCRIPTION).write_text(self.description.model_dump_json(indent=1) + "\n")
        # safetensors writes a file that only its owner can read, and a service runs as another user.
        (folder / WEIGHTS).chmod((folder / DESCRIPTION).stat().st_mode)

    @classmethod
    def load(cls, folder: Path) -> Artefact:
        """Raises ValueError if `folder` holds no artefact, or one that this version cannot use."""
        if not (folder / WEIGHTS).is_file() or not (folder / DESCRIPTION).is_file():
            raise ValueError(f"{folder} has no {WEIGHTS} and {DESCRIPTION}: train a scorer, or choose another one")
        try:
            description = Description.model_validate_json((folder / DESCRIPTION).read_text())
            if tuple(description.features) != NAMES:
                raise ValueError(f"it was trained on other features than {', '.join(NAMES)}")
            network = SufficiencyNetwork(description.shape, load_file(folder / WEIGHTS))
        except (ValidationError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise ValueError(f"{folder / DESCRIPTION} cannot be used: {problems(error)}") from error
        return cls(network, description)


class TrainedScorer:
    """The scorer of an artefact."""

    trained = True

    def __init__(self, artefact: Artefact) -> None:
        self.artefact = artefact
        self.name = artefact.description.kind

    @property
    def needs_pass(self) -> bool:
        return self.artefact.network.shape.needs_pass

    def score(self, inputs: ScorerInputs) -> float:
        return float(self.artefact.network.probabilities(ScorerInputsBatch.single(inputs))[0])

    @property
    def needs_states(self) -> bool:
        return self.artefact.network.shape.states > 0

    def check_compatible(self, profile: Profile, tokenizer_sha256: str, computed_by: str) -> None:
        """Raises ValueError naming what differs: scores are valid only for their pair, prompts, stages, and what
        computes them.

        A scorer that needs no pass is the same on every engine.
        """
        description = self.artefact.description
        fingerprint = profile.prompt_fingerprint()
        different = [name for name in fingerprint if fingerprint[name] != description.pair.get(name)]
        if description.tokenizer_sha256 != tokenizer_sha256:
            different.append("the small model's tokenizer")
        if self.needs_pass and computed_by != description.computed_by:
            different.append(f"the engine (trained on {description.computed_by}, here {computed_by})")
        if different:
            raise ValueError(
                f"the scorer was trained for another pair: {', '.join(different)} differ; train one with "
                "`tandem collect` and `tandem train`, or choose another scorer"
            )

    @property
    def monitored(self) -> tuple[str, ...]:
        """Names of the entries of `z_scores`: the features, or the question's counts for a scorer without a pass."""
        return NAMES if self.needs_pass else tuple(COUNTS)

    def z_scores(self, inputs: ScorerInputs) -> NDArray[np.float64] | None:
        """(value - mean) / standard deviation at training, of each monitored input; None for an unknown stage."""
        moments = self.artefact.description.spread_by_stage
        if inputs.stage >= len(moments):
            return None
        if not self.needs_pass:
            return self._z_scores_of_counts(inputs)
        mean, std = np.array(moments[inputs.stage].mean), np.array(moments[inputs.stage].std)
        return (log_compress(inputs.features.astype(np.float64)) - mean) / np.maximum(std, 1e-6)  # type: ignore[no-any-return]

    def _z_scores_of_counts(self, inputs: ScorerInputs) -> NDArray[np.float64]:
        network = self.artefact.network
        columns = network.shape.columns_of("words")
        mean, std = (network.arrays[name][columns][BUCKETS:].astype(np.float64) for name in ("mean", "spread"))
        # A character that is rare in the training questions has almost no spread; one occurrence is no drift.
        return (inputs.words[BUCKETS:] - mean) / np.maximum(std, 0.1)
