"""The sufficiency network of METHOD 1: 16 features -> 64 -> 32 -> 1, ReLU, dropout 0.3. One definition.

An artefact is two files: `scorer.safetensors` (weights, and the mean and spread of the features) and `scorer.json`
(what made it). Never a pickle.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from numpy import float32
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from services.sufficiency_scorer.features import NAMES

WEIGHTS, DESCRIPTION = "scorer.safetensors", "scorer.json"


class SufficiencyNetwork(nn.Module):
    """Logit of sufficiency, float32[n], from raw features, float32[n, 16]."""

    mean: Tensor
    spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(len(NAMES)))
        self.register_buffer("spread", torch.ones(len(NAMES)))
        self.layers = nn.Sequential(
            nn.Linear(len(NAMES), 64), nn.ReLU(), nn.Dropout(0.3),
            nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.3),
            nn.Linear(32, 1),
        )  # fmt: skip

    def forward(self, raw: Tensor) -> Tensor:
        logits: Tensor = self.layers((compress(raw) - self.mean) / self.spread)
        return logits[:, 0]


def compress(raw: Tensor) -> Tensor:
    """Signed log of the features: perplexities span eight orders of magnitude."""
    return raw.sign() * raw.abs().log1p()


def save_network(network: SufficiencyNetwork, folder: Path, description: dict[str, Any]) -> None:
    save_file(network.state_dict(), folder / WEIGHTS)
    (folder / DESCRIPTION).write_text(json.dumps({"features": NAMES, **description}, indent=2) + "\n")


class MlpScorer:
    """The trained network of a profile. Raises ValueError when the artefact is missing or for other features."""

    name, trained = "mlp", True

    def __init__(self, folder: Path) -> None:
        if not (folder / WEIGHTS).is_file() or not (folder / DESCRIPTION).is_file():
            raise ValueError(f"{folder} has no {WEIGHTS} and {DESCRIPTION}: train one, or choose another scorer")
        description = json.loads((folder / DESCRIPTION).read_text())
        if tuple(description["features"]) != NAMES:
            raise ValueError(f"{folder / DESCRIPTION} was made for other features than {NAMES}")
        self._network = SufficiencyNetwork().eval()
        self._network.load_state_dict(load_file(folder / WEIGHTS))

    def score(self, features: NDArray[float32]) -> float:
        with torch.inference_mode():
            return float(torch.sigmoid(self._network(torch.from_numpy(features)[None]))[0])
