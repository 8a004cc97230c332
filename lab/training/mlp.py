"""The paper's network, learned with torch, which no other kind of scorer needs.

Its training ends where questions that it does not learn from gain no more.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from lab.training.table import Bools
from services.sufficiency_scorer.network import Shape

_LEARNING_RATE, _BATCH, _EPOCHS = 1e-4, 64, 300
_PATIENCE = 20  # epochs without a gain
_HELD_OUT = 5  # one question in so many
_Loss = Callable[[torch.Tensor], torch.Tensor]
"""Of the examples of an index."""


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

    _train(layers, optimizer, loss, *_split(question, seed))
    return {name: value.numpy() for name, value in layers.state_dict().items()}


def _layers(shape: Shape) -> torch.nn.Sequential:
    """The linear ones have the numbers of Shape.layers."""
    layers: list[torch.nn.Module] = []
    width = shape.width
    for hidden in shape.hidden:
        layers += [torch.nn.Linear(width, hidden), torch.nn.ReLU(), torch.nn.Dropout(shape.dropout)]
        width = hidden
    return torch.nn.Sequential(*layers, torch.nn.Linear(width, 1))


def _split(questions: NDArray[np.intp], seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices of examples, int64: those to learn from, and those of the questions that are held out."""
    names = np.unique(questions)
    np.random.default_rng(seed).shuffle(names)
    is_held_out = torch.from_numpy(np.isin(questions, names[: len(names) // _HELD_OUT]))
    return torch.nonzero(~is_held_out)[:, 0], torch.nonzero(is_held_out)[:, 0]


def _train(
    network: torch.nn.Module, optimizer: torch.optim.Optimizer, loss: _Loss, learned: torch.Tensor, held: torch.Tensor
) -> None:
    """Leave `network` with the weights of the least loss on the questions that are held out."""
    least, since, best = float("inf"), 0, _copy_of_state(network)
    for _ in range(_EPOCHS):
        network.train()
        for picked in torch.split(learned[torch.randperm(len(learned))], _BATCH):
            optimizer.zero_grad()
            loss(picked).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        network.eval()
        with torch.inference_mode():
            now = float(loss(held))
        since += 1
        if now < least:
            least, since, best = now, 0, _copy_of_state(network)
        if since == _PATIENCE:
            break
    network.load_state_dict(best)
    network.eval()


def _copy_of_state(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}
