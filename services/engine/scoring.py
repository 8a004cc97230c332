"""The scoring pass: exact log-probabilities and entropies of prompts, read incrementally and several at once.

METHOD: one forward pass over question + insight. A later stage's prompt begins with the earlier one's, so only its
new tokens are run; where it does not (a retried attempt wrote other text), the common prefix is kept and the rest read
again. Entropy is over the full vocabulary, in float32, in nats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.engine.api import PromptScores
from services.engine.kept import Kept, common_prefix, num_bytes
from services.engine.model import Reader
from services.engine.ragged import Piece, run
from services.engine.slot_cache import KeysValues, SlotCache
from tandem.method.tokens import TokenCounts

STATE_DEPTH = 2 / 3  # of the layers: whose output `PromptScores.states` is
_ROWS = 512  # positions of the output head at once: each tile of it is widened to float32 for all of them
_COLUMNS = 2048  # vocabulary entries at once; _ROWS x _COLUMNS float32 are 4 MiB
_MOST_TOKENS = 512  # of jobs that are read together: beyond, a pass is as fast for each, and the first would wait


@dataclass(slots=True)
class _Prefix:
    """What is kept for one key: the tokens read so far, their keys and values, the last hidden state, the results."""

    ids: list[int] = field(default_factory=list)
    keys_values: KeysValues = field(default_factory=list)
    last_hidden: Tensor | None = None
    states: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))
    logprobs: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    entropies: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))

    def num_bytes(self) -> int:
        return num_bytes(self.keys_values)

    def rewind(self, ids: Sequence[int]) -> int:
        """Cut back to what `ids` shares with this; returns how many tokens are kept.

        The last shared token is read again, because the hidden state that predicts its successor was not kept; what
        predicted the token itself is known.
        """
        shared = common_prefix(self.ids, ids)
        if shared == len(self.ids):
            return shared
        kept = max(0, shared - 1)
        self.last_hidden = None
        del self.ids[kept:]
        self.logprobs, self.entropies = self.logprobs[:kept], self.entropies[:kept]
        self.states = self.states[:kept]
        return kept


class PromptReader:
    """Reads prompts with one model, keeping the most recently used prefixes within `max_bytes` of keys and values."""

    def __init__(self, layers: Reader, head: Tensor, num_layers: int, max_bytes: int) -> None:
        """`head` is the output head, float[vocabulary, d]; the model's own may be rounded."""
        self._layers, self._head = layers, head
        self._state_layer = round(STATE_DEPTH * num_layers)
        self._kept: Kept[_Prefix] = Kept(max_bytes)
        self._rows = SlotCache()

    def read(self, jobs: Sequence[tuple[str, Sequence[int]]]) -> list[PromptScores]:
        """Log-probabilities and entropies of each job's `ids[1:]`, in one pass. No two jobs have the same key.

        `usage` says how many tokens were computed and how many kept.
        """
        prefixes = [self._kept.pop(key) or _Prefix() for key, _ in jobs]
        kept = [prefix.rewind(ids) for prefix, (_, ids) in zip(prefixes, jobs, strict=True)]
        new = [list(ids[k:]) for k, (_, ids) in zip(kept, jobs, strict=True)]
        if growing := [(prefix, tokens) for prefix, tokens in zip(prefixes, new, strict=True) if tokens]:
            self._extend(*zip(*growing, strict=True))
        for prefix, (key, _) in zip(prefixes, jobs, strict=True):
            self._kept.put(key, prefix)
        return [
            PromptScores(prefix.logprobs, prefix.entropies, prefix.states, TokenCounts(len(tokens), k))
            for prefix, tokens, k in zip(prefixes, new, kept, strict=True)
        ]

    def num_together(self, jobs: Sequence[tuple[str, Sequence[int]]]) -> int:
        """How many of the first `jobs` are best read in one pass: not too many new tokens, and no key twice."""
        keys: set[str] = set()
        tokens = 0
        for key, ids in jobs:
            prefix = self._kept.get(key)
            tokens += len(ids) - (common_prefix(prefix.ids, ids) if prefix else 0)
            if keys and (key in keys or tokens > _MOST_TOKENS):
                break
            keys.add(key)
        return len(keys)

    def num_bytes(self) -> int:
        return self._kept.num_bytes()

    def _extend(self, prefixes: Sequence[_Prefix], new: Sequence[list[int]]) -> None:
        lengths = [len(tokens) for tokens in new]
        hidden, states = (output.split(lengths) for output in self._forward(prefixes, new))
        for row, (prefix, tokens) in enumerate(zip(prefixes, new, strict=True)):
            self._judge(prefix, hidden[row], tokens)
            own = states[row].float().cpu().numpy()
            prefix.states = np.concatenate([prefix.states, own]) if len(prefix.states) else own
            prefix.ids.extend(tokens)
            prefix.keys_values = self._rows.take(row, len(prefix.ids))

    def _forward(self, prefixes: Sequence[_Prefix], new: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
        """The last layer's and the probed layer's output for the new tokens, one job's after the other's, float[n, d]."""
        for row, prefix in enumerate(prefixes):
            if prefix.ids:
                self._rows.put(row, prefix.keys_values, len(prefix.ids))
        pieces = [
            Piece(row, len(prefix.ids), len(tokens))
            for row, (prefix, tokens) in enumerate(zip(prefixes, new, strict=True))
        ]
        hidden: tuple[Tensor, Tensor] = run(
            self._layers, self._rows, pieces, list(chain(*new)), self._head.device, self._state_layer
        )
        return hidden

    def _judge(self, prefix: _Prefix, hidden: Tensor, tokens: list[int]) -> None:
        """Hidden state i predicts token i + 1: the prefix's last one stands first, the new last one waits."""
        targets = torch.tensor(tokens, device=hidden.device)
        if prefix.last_hidden is None:
            predictors, targets = hidden[:-1], targets[1:]
        else:
            predictors = torch.cat([prefix.last_hidden[None], hidden[:-1]])
        logprobs, entropies = head_statistics(predictors, self._head, targets)
        prefix.logprobs = np.append(prefix.logprobs, logprobs.cpu().numpy())
        prefix.entropies = np.append(prefix.entropies, entropies.cpu().numpy())
        prefix.last_hidden = hidden[-1].clone()


def head_statistics(hidden: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probability of each target and entropy of its distribution, float32[n] each, in nats.

    `hidden` is [n, d], `weight` the output head [vocabulary, d], `targets` int64[n]. The head is read in tiles with a
    running maximum m, so the n x vocabulary logits never exist: log p = z_target - log Z and H = log Z - E[z], with
    Z exp(-m) = `total` and the sum of (z - m) exp(z - m) = `weighted` carried from tile to tile.
    """
    logprobs, entropies = [], []
    for rows, wanted in zip(hidden.split(_ROWS), targets.split(_ROWS), strict=True):
        rows32 = rows.float()
        maximum = rows32.new_full((len(rows),), torch.finfo(torch.float32).min)
        total, weighted = torch.zeros_like(maximum), torch.zeros_like(maximum)
        for tile in weight.split(_COLUMNS):
            z = rows32 @ tile.float().T
            higher = torch.maximum(maximum, z.amax(dim=1))
            shrink = torch.exp(maximum - higher)
            z -= higher[:, None]
            e = torch.exp(z)
            weighted = shrink * (weighted + total * (maximum - higher)) + torch.einsum("nv,nv->n", e, z)
            total = shrink * total + e.sum(dim=1)
            maximum = higher
        log_z = maximum + torch.log(total)
        target_logits = torch.einsum("nd,nd->n", rows32, weight[wanted].float())
        logprobs.append(target_logits - log_z)
        entropies.append(torch.log(total) - weighted / total)
    if not logprobs:
        return hidden.new_empty(0, dtype=torch.float32), hidden.new_empty(0, dtype=torch.float32)
    return torch.cat(logprobs), torch.cat(entropies)
