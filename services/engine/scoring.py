"""The scoring pass: exact log-probabilities and entropies of a prompt, read incrementally.

METHOD: one forward pass over question + insight. A later stage's prompt begins with the earlier one's, so only its
new tokens are run; where it does not (a retried attempt wrote other text), the common prefix is kept and the rest read
again. Entropy is over the full vocabulary, in float32, in nats.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers.cache_utils import DynamicCache

from services.engine.api import Scoring, Usage

STATE_DEPTH = 2 / 3  # of the layers: whose output `Scoring.states` is
_ROWS = 64  # positions of the output head at once
_COLUMNS = 8192  # vocabulary entries at once; _ROWS x _COLUMNS float32 stays in a CPU's L2 cache


@dataclass(slots=True)
class _Prefix:
    """What is kept for one key: the tokens read so far, their keys and values, the last hidden state, the results."""

    ids: list[int] = field(default_factory=list)
    cache: Any = field(default_factory=DynamicCache)
    last_hidden: Tensor | None = None
    states: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))
    logprobs: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    entropies: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))

    def num_bytes(self) -> int:
        return sum(t.nbytes for layer in self.cache.layers if layer.is_initialized for t in (layer.keys, layer.values))


class PromptReader:
    """Reads prompts with one model, keeping the most recently used prefixes within `max_bytes` of keys and values."""

    def __init__(self, model: Any, head: Tensor, max_bytes: int) -> None:
        """`head` is the output head, float[vocabulary, d]; the model's own may be rounded."""
        self._model, self._head = model, head
        self._max_bytes = max_bytes
        self._state_layer = round(STATE_DEPTH * model.config.num_hidden_layers)
        self._prefixes: OrderedDict[str, _Prefix] = OrderedDict()

    def read(self, key: str, ids: Sequence[int]) -> Scoring:
        """Log-probabilities and entropies of `ids[1:]`. `usage` says how many tokens were computed and how many kept."""
        prefix = self._prefixes.pop(key, None) or _Prefix()
        kept = self._rewind(prefix, ids)
        new = list(ids[kept:])
        if new:
            self._extend(prefix, new)
        self._prefixes[key] = prefix
        self._evict()
        return Scoring(prefix.logprobs, prefix.entropies, prefix.states, Usage(len(new), kept, 0))

    def num_bytes(self) -> int:
        return sum(prefix.num_bytes() for prefix in self._prefixes.values())

    def _rewind(self, prefix: _Prefix, ids: Sequence[int]) -> int:
        """Cut the prefix back to what `ids` shares with it; returns how many tokens are kept.

        The last shared token is read again, because the hidden state that predicts its successor was not kept; what
        predicted the token itself is known.
        """
        shared = common_prefix(prefix.ids, ids)
        if shared == len(prefix.ids):
            return shared
        kept = max(0, shared - 1)
        if kept:
            prefix.cache.crop(kept - len(prefix.ids))
        else:
            prefix.cache = DynamicCache()
        prefix.last_hidden = None
        del prefix.ids[kept:]
        prefix.logprobs, prefix.entropies = prefix.logprobs[:kept], prefix.entropies[:kept]
        prefix.states = prefix.states[:kept]
        return kept

    def _extend(self, prefix: _Prefix, new: list[int]) -> None:
        tokens = torch.tensor([new], device=self._model.device)
        output = self._model.get_decoder()(
            input_ids=tokens, cache=prefix.cache, use_cache=True, output_hidden_states=True
        )
        hidden: Tensor = output.last_hidden_state[0]
        states = output.hidden_states[self._state_layer][0].float().cpu().numpy()
        prefix.states = np.concatenate([prefix.states, states]) if len(prefix.states) else states
        # Hidden state i predicts token i + 1: the prefix's last one stands first, the new last one waits.
        if prefix.last_hidden is None:
            predictors, targets = hidden[:-1], tokens[0, 1:]
        else:
            predictors, targets = torch.cat([prefix.last_hidden[None], hidden[:-1]]), tokens[0]
        logprobs, entropies = head_statistics(predictors, self._head, targets)
        prefix.logprobs = np.append(prefix.logprobs, logprobs.cpu().numpy())
        prefix.entropies = np.append(prefix.entropies, entropies.cpu().numpy())
        prefix.last_hidden = hidden[-1]
        prefix.ids.extend(new)

    def _evict(self) -> None:
        while len(self._prefixes) > 1 and self.num_bytes() > self._max_bytes:
            self._prefixes.popitem(last=False)


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


def common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """How many ids both begin with."""
    for index, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return index
    return min(len(a), len(b))
