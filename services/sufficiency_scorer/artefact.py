"""A trained scorer as files: `scorer.safetensors` (the network) and `scorer.json` (what made it). Never a pickle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from services.sufficiency_scorer.evidence import Evidence, EvidenceBatch
from services.sufficiency_scorer.features import NAMES, compress
from services.sufficiency_scorer.network import Shape, SufficiencyNetwork
from services.sufficiency_scorer.words import COUNTS, HASHED
from tandem.method.profile import Profile

Label = Literal["nothing_lost", "right"]
"""What a score is the probability of. `right`: the small model, stopped here, answers right (the paper's). `nothing_lost`:
it does, or the large model alone does not either, so that going on would gain nothing."""
WEIGHTS, DESCRIPTION = "scorer.safetensors", "scorer.json"


class Spread(BaseModel):
    """How one stage's features (see features.compress) were distributed where the scorer was trained."""

    model_config = ConfigDict(frozen=True)
    mean: list[float]
    std: list[float]


class Description(BaseModel):
    """`pair` is what the scores depend on (Profile.prompt_fingerprint), `tokenizer_sha256` that of the small model's tokenizer.

    `trained_on` says for each file its dataset, hashes and how many questions; `metrics` are of questions that the
    model which scored them had not seen.
    """

    model_config = ConfigDict(frozen=True)
    kind: str
    label: Label = "right"
    features: list[str]
    shape: dict[str, Any]
    pair: dict[str, Any]
    tokenizer_sha256: str
    spread_by_stage: list[Spread]
    trained_on: list[dict[str, Any]]
    metrics: dict[str, Any]
    versions: dict[str, str]
    command: str
    seed: int


@dataclass(frozen=True)
class Artefact:
    network: SufficiencyNetwork
    description: Description

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(self.network.state_dict(), folder / WEIGHTS)
        (folder / DESCRIPTION).write_text(self.description.model_dump_json(indent=1) + "\n")
        # safetensors leaves it readable by its owner alone, and a service runs as another user.
        (folder / WEIGHTS).chmod((folder / DESCRIPTION).stat().st_mode)

    @classmethod
    def load(cls, folder: Path) -> Artefact:
        """Raises ValueError where there is none in `folder`, or one that this version cannot read."""
        if not (folder / WEIGHTS).is_file() or not (folder / DESCRIPTION).is_file():
            raise ValueError(f"{folder} has no {WEIGHTS} and {DESCRIPTION}: train one, or choose another scorer")
        try:
            description = Description.model_validate_json((folder / DESCRIPTION).read_text())
            if tuple(description.features) != NAMES:
                raise ValueError(f"made for other features than {', '.join(NAMES)}")
            network = SufficiencyNetwork(Shape.parse(description.shape)).eval()
            network.load_state_dict(load_file(folder / WEIGHTS))
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

    def score(self, evidence: Evidence) -> float:
        return float(self.artefact.network.probabilities(EvidenceBatch.single(evidence))[0])

    def must_fit(self, profile: Profile, tokenizer_sha256: str) -> None:
        """Scores belong to their pair, prompts and stages. Raises ValueError naming what differs."""
        description = self.artefact.description
        used = profile.prompt_fingerprint()
        different = [name for name in used if used[name] != description.pair.get(name)]
        if description.tokenizer_sha256 != tokenizer_sha256:
            different.append("the small model's tokenizer")
        if different:
            raise ValueError(
                f"its scorer was trained for another pair: {', '.join(different)} differ; train one with "
                "`tandem collect` and `tandem train`, or choose another scorer"
            )

    @property
    def watched(self) -> tuple[str, ...]:
        """What `surprise` is of: the features of the pass, or what can be counted in a question where none is made."""
        return NAMES if self.needs_pass else COUNTS

    def surprise(self, evidence: Evidence) -> NDArray[np.float64] | None:
        """How far each that is `watched` lies from its mean at training, in standard deviations; None for a new stage."""
        spreads = self.artefact.description.spread_by_stage
        if evidence.stage >= len(spreads):
            return None
        if not self.needs_pass:
            return self._surprise_of_counts(evidence)
        spread = spreads[evidence.stage]
        compressed = compress(evidence.features.astype(np.float64))
        return (compressed - np.array(spread.mean)) / np.maximum(np.array(spread.std), 1e-6)  # type: ignore[no-any-return]

    def _surprise_of_counts(self, evidence: Evidence) -> NDArray[np.float64]:
        network = self.artefact.network
        columns = network.shape.columns_of("words")
        mean, spread = (each[columns][HASHED:].double().numpy() for each in (network.mean, network.spread))
        # A sign that training hardly had is not a thousand deviations away where one question has it.
        return (evidence.words[HASHED:] - mean) / np.maximum(spread, 0.1)  # type: ignore[no-any-return]
