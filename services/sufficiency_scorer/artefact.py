"""A trained scorer as files: `scorer.safetensors` (the network) and `scorer.json` (its description). Never a pickle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from services.sufficiency_scorer.bag_of_words import BUCKETS, COUNTS
from services.sufficiency_scorer.description import Description
from services.sufficiency_scorer.features import NAMES, log_compress
from services.sufficiency_scorer.network import SufficiencyNetwork
from services.sufficiency_scorer.scorer_inputs import ScorerInputs, ScorerInputsBatch
from tandem.method.profile import Profile

WEIGHTS, DESCRIPTION = "scorer.safetensors", "scorer.json"


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
            raise ValueError(f"{folder / DESCRIPTION} cannot be used: {error}") from error
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
        """Raises ValueError naming what differs: scores are valid only for their pair, prompts, stages, and what computes them.

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
        return NAMES if self.needs_pass else COUNTS

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
