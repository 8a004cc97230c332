"""The paper's network, learned with torch, which no other kind of scorer needs."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from lab.training.early_stopping import Schedule, split_by_question, train
from lab.training.table import Bools
from services.sufficiency_scorer.network import Shape

_LEARNING_RATE, _SCHEDULE = 1e-4, Schedule(batch=64, epochs=300, patience=20)


def learned_layers(
    shape: Shape, columns: NDArray[np.float32], targets: Bools, question: NDArray[np.intp], seed: int
) -> dict[str, NDArray[np.float32]]:
    """Weights and biases of n examples with standardised `columns` [n, width], by their names in Shape.layers;
    `question` int[n] has each example's question.
    """
    torch.manual_seed(seed)
    layers = _layers(shape)
    read, wanted = torch.from_numpy(columns), torch.from_numpy(targets).float()
    optimizer = torch.optim.Adam(layers.parameters(), lr=_LEARNING_RATE, fused=True)

    def loss(rows: torch.Tensor) -> torch.Tensor:
        logits = layers(read[rows])[:, 0]
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted[rows])

    train(layers, optimizer, loss, split_by_question(question, seed), _SCHEDULE)
    return {name: value.numpy() for name, value in layers.state_dict().items()}


def _layers(shape: Shape) -> torch.nn.Sequential:
    """The linear ones have the numbers of Shape.layers."""
    layers: list[torch.nn.Module] = []
    width = shape.width
    for hidden in shape.hidden:
        layers += [torch.nn.Linear(width, hidden), torch.nn.ReLU(), torch.nn.Dropout(shape.dropout)]
        width = hidden
    return torch.nn.Sequential(*layers, torch.nn.Linear(width, 1))
