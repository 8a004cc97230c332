"""The scoring pass: exact log-probabilities and entropies of prompts, computed incrementally and several at once.

One forward pass over question and insight gives the features (docs/method.md, Features). A later stage's prompt begins with the
earlier one's, so only its new tokens are computed. Where it does not (a retried attempt generated other text), the common
prefix is reused and the rest computed again. Entropy is over the full vocabulary, in float32, in nats.
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
from services.engine.kv_cache import KeysValues, KVCache
from services.engine.model import HiddenStatesModel
from services.engine.prefix_cache import LRUCache, common_prefix, num_bytes
from services.engine.segments import Chunk
from services.engine.varlen import forward_varlen
from tandem.method.tokens import TokenCounts

STATE_DEPTH = 2 / 3  # of the layers: the one whose output is `PromptScores.states`
_ROWS = 512  # positions of the output head at once: each tile of it is widened to float32 for all of them
_COLUMNS = 2048  # vocabulary entries at once; _ROWS x _COLUMNS float32 are 4 MiB
_MAX_NEW_TOKENS = 512  # of jobs in one pass: a longer pass is no faster per token, and delays the first job


@dataclass(slots=True)
class _ScoredText:
    """What is cached for one key: the tokens so far, their keys and values, the last hidden state, the results."""

    ids: list[int] = field(default_factory=list)
    keys_values: KeysValues = field(default_factory=list)
    last_hidden: Tensor | None = None
    states: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))
    logprobs: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    entropies: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))

    def num_bytes(self) -> int:
        return num_bytes(self.keys_values)

    def rewind(self, ids: Sequence[int]) -> int:
        """Cut back to the common prefix with `ids`; returns how many tokens stay.

        The last common token is computed again, because the hidden state that predicts its successor is not cached; the
        scores of the token itself are.
        """
        shared = common_prefix(self.ids, ids)
        if shared == len(self.ids):
            return shared
        stays = max(0, shared - 1)
        self.last_hidden = None
        del self.ids[stays:]
        self.logprobs, self.entropies = self.logprobs[:stays], self.entropies[:stays]
        self.states = self.states[:stays]
        return stays


class PromptScorer:
    """Scores prompts with one model; caches the most recently scored texts within `max_bytes` of keys and values."""

    def __init__(self, layers: HiddenStatesModel, head: Tensor, num_layers: int, max_bytes: int) -> None:
        """`head` is the output head, float[vocabulary, d]; the one in the model may be quantized."""
        self._layers, self._head = layers, head
        self._state_layer = round(STATE_DEPTH * num_layers)
        self._texts: LRUCache[_ScoredText] = LRUCache(max_bytes)
        self._rows = KVCache()

    def score(self, jobs: Sequence[tuple[str, Sequence[int]]]) -> list[PromptScores]:
        """Log-probabilities and entropies of each job's `ids[1:]`, in one pass. No two jobs have the same key.

        `usage` says how many tokens were computed and how many were cached.
        """
        texts = [self._texts.pop(key) or _ScoredText() for key, _ in jobs]
        cached = [text.rewind(ids) for text, (_, ids) in zip(texts, jobs, strict=True)]
        new = [list(ids[n:]) for n, (_, ids) in zip(cached, jobs, strict=True)]
        if growing := [(text, tokens) for text, tokens in zip(texts, new, strict=True) if tokens]:
            self._extend(*zip(*growing, strict=True))
        for text, (key, _) in zip(texts, jobs, strict=True):
            self._texts.put(key, text)
        return [
            PromptScores(text.logprobs, text.entropies, text.states, TokenCounts(prompt=len(tokens), cached=n))
            for text, tokens, n in zip(texts, new, cached, strict=True)
        ]

    def num_together(self, jobs: Sequence[tuple[str, Sequence[int]]]) -> int:
        """How many of the first `jobs` are best scored in one pass: not too many new tokens, and no key twice."""
        keys: set[str] = set()
        tokens = 0
        for key, ids in jobs:
            text = self._texts.get(key)
            tokens += len(ids) - (common_prefix(text.ids, ids) if text else 0)
            if keys and (key in keys or tokens > _MAX_NEW_TOKENS):
                break
            keys.add(key)
        return len(keys)

    def num_bytes(self) -> int:
        return self._texts.num_bytes()

    def _extend(self, texts: Sequence[_ScoredText], new: Sequence[list[int]]) -> None:
        lengths = [len(tokens) for tokens in new]
        hidden, states = (output.split(lengths) for output in self._forward(texts, new))
        for row, (text, tokens) in enumerate(zip(texts, new, strict=True)):
            self._add_scores(text, hidden[row], tokens)
            own = states[row].float().cpu().numpy()
            text.states = np.concatenate([text.states, own]) if len(text.states) else own
            text.ids.extend(tokens)
            text.keys_values = self._rows.extract(row, len(text.ids))

    def _forward(self, texts: Sequence[_ScoredText], new: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
        """The output of the last layer and of the one for `states`, float[n, d] each, for the jobs' new tokens concatenated."""
        for row, text in enumerate(texts):
            if text.ids:
                self._rows.insert(row, text.keys_values, len(text.ids))
        chunks = [
            Chunk(row, len(text.ids), len(tokens)) for row, (text, tokens) in enumerate(zip(texts, new, strict=True))
        ]
        hidden: tuple[Tensor, Tensor] = forward_varlen(
            self._layers, self._rows, chunks, list(chain(*new)), self._head.device, self._state_layer
        )
        return hidden

    def _add_scores(self, text: _ScoredText, hidden: Tensor, tokens: list[int]) -> None:
        """Hidden state i predicts token i + 1: the last one of the text so far comes first, the new last one is stored."""
        targets = torch.tensor(tokens, device=hidden.device)
        if text.last_hidden is None:
            predictors, targets = hidden[:-1], targets[1:]
        else:
            predictors = torch.cat([text.last_hidden[None], hidden[:-1]])
        logprobs, entropies = head_statistics(predictors, self._head, targets)
        text.logprobs = np.append(text.logprobs, logprobs.cpu().numpy())
        text.entropies = np.append(text.entropies, entropies.cpu().numpy())
        text.last_hidden = hidden[-1].clone()


def head_statistics(hidden: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probability of each target and entropy of its distribution, float32[n] each, in nats.

    `hidden` is [n, d], `weight` the output head [vocabulary, d], `targets` int64[n]. The head is processed in tiles with a
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
