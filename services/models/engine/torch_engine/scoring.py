"""The scoring pass: exact log-probabilities and entropies of prompts, computed incrementally and several at once.

One forward pass over question and insight gives the features (docs/method.md, Features). Entropy is over the full
vocabulary, in float32, in nats.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from services.models.engine.loop.incremental_scorer import IncrementalScorer, ScoredText
from services.models.engine.loop.runner import Chunk
from services.models.engine.torch_engine.kv_cache import KVCache
from services.models.engine.torch_engine.model import HiddenStatesModel
from services.models.engine.torch_engine.varlen import forward_varlen

STATE_DEPTH = 2 / 3  # of the layers: the one whose output is `PromptScores.states`
_ROWS = 512  # positions of the output head at once: each tile of it is widened to float32 for all of them
_COLUMNS = 2048  # vocabulary entries at once; _ROWS x _COLUMNS float32 are 4 MiB


class PromptScorer(IncrementalScorer):
    """Scores prompts with one model of transformers."""

    def __init__(self, layers: HiddenStatesModel, head: Tensor, num_layers: int, max_bytes: int) -> None:
        """`head` is the output head, float[vocabulary, d]; the one in the model may be quantized."""
        super().__init__(max_bytes)
        self._layers, self._head = layers, head
        self._state_layer = round(STATE_DEPTH * num_layers)
        self._rows = KVCache()

    def _extend(self, texts: Sequence[ScoredText], new: Sequence[list[int]]) -> None:
        lengths = [len(tokens) for tokens in new]
        hidden, states = (output.split(lengths) for output in self._forward(texts, new))
        for row, (text, tokens) in enumerate(zip(texts, new, strict=True)):
            self._add_scores(text, hidden[row], tokens)
            own = states[row].float().cpu().numpy()
            text.states = np.concatenate([text.states, own]) if len(text.states) else own
            text.ids.extend(tokens)
            text.keys_values = self._rows.extract(row, len(text.ids))

    def _forward(self, texts: Sequence[ScoredText], new: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
        """The output of the last layer and of the one for `states`, float[n, d] each, for the jobs' new tokens
        concatenated.
        """
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

    def _add_scores(self, text: ScoredText, hidden: Tensor, tokens: list[int]) -> None:
        """Hidden state i predicts token i + 1: the last one of the text so far comes first, the new last one is
        stored.
        """
        targets = torch.tensor(tokens, device=hidden.device)
        if text.last is None:
            predictors, targets = hidden[:-1], targets[1:]
        else:
            predictors = torch.cat([text.last[None], hidden[:-1]])
        logprobs, entropies = head_statistics(predictors, self._head, targets)
        text.logprobs = np.append(text.logprobs, logprobs.cpu().numpy())
        text.entropies = np.append(text.entropies, entropies.cpu().numpy())
        text.last = hidden[-1].clone()


def head_statistics(hidden: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probability of each target and entropy of its distribution, float32[n] each, in nats.

    `hidden` is [n, d], `weight` the output head [vocabulary, d], `targets` int64[n]. The head is processed in tiles
    with a running maximum m, so the n x vocabulary logits never exist: log p = z_target - log Z and H = log Z - E[z],
    with Z exp(-m) = `total` and the sum of (z - m) exp(z - m) = `weighted` carried from tile to tile.
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
