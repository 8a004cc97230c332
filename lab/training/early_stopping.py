"""Training of a network that ends where questions that it does not learn from gain no more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

_HELD_OUT = 5  # one question in so many


@dataclass(frozen=True, slots=True)
class Split:
    """Indices of examples, int64: those to learn from, and those of the questions that are held out."""

    learned: torch.Tensor
    held_out: torch.Tensor


@dataclass(frozen=True, slots=True)
class Schedule:
    """`batch` examples a step; the end is after `patience` epochs without a gain, or `epochs` in all."""

    batch: int
    epochs: int
    patience: int


def split_by_question(questions: NDArray[np.intp], seed: int) -> Split:
    """`questions` int[n] has each example's question."""
    names = np.unique(questions)
    np.random.default_rng(seed).shuffle(names)
    is_held_out = torch.from_numpy(np.isin(questions, names[: len(names) // _HELD_OUT]))
    return Split(torch.nonzero(~is_held_out)[:, 0], torch.nonzero(is_held_out)[:, 0])


def train(
    network: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: Callable[[torch.Tensor], torch.Tensor],
    split: Split,
    schedule: Schedule,
) -> None:
    """Leave `network` with the weights of the least loss on the questions that are held out. `loss` is that of the
    examples of an index.
    """
    least, since, best = float("inf"), 0, _copy_of_state(network)
    for _ in range(schedule.epochs):
        network.train()
        for picked in torch.split(split.learned[torch.randperm(len(split.learned))], schedule.batch):
            optimizer.zero_grad()
            loss(picked).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        network.eval()
        with torch.inference_mode():
            now = float(loss(split.held_out))
        since += 1
        if now < least:
            least, since, best = now, 0, _copy_of_state(network)
        if since == schedule.patience:
            break
    network.load_state_dict(best)
    network.eval()


def _copy_of_state(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}
