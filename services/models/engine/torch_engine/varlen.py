"""One forward pass over some tokens of each of several sequences: a varlen batch, concatenated, without padding.

Except for attention, a model computes each token by itself, so the whole pass is a single sequence to the model.
Attention takes the KV cache and the segments of the pass from `forward_varlen`, further up in the same thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from services.models.engine.loop.runner import Chunk
from services.models.engine.torch_engine.kv_cache import KVCache, Segment, make_segments

ATTENTION = "tandem_varlen"
"""The `attn_implementation` that a model must be loaded with."""

R = TypeVar("R")
_current = threading.local()  # the pass that this thread computes


def forward_varlen(
    model: Callable[..., R],
    cache: KVCache,
    chunks: Sequence[Chunk],
    tokens: Sequence[int],
    device: torch.device,
    *more: Any,
) -> R:
    """`model(ids, positions, *more)`, ids and positions int64[1, tokens], for the concatenated `tokens` of `chunks`.

    The layers attend to the contents of `cache`, which holds the keys and values of the chunks afterwards.
    """
    segments = make_segments(chunks, device)
    _current.cache, _current.segments = cache, segments
    positions = torch.cat([segment.positions.reshape(-1) for segment in segments])[None]
    return model(torch.tensor([tokens], device=device), positions, *more)


def _interface(
    module: nn.Module, query: Tensor, keys: Tensor, values: Tensor, _mask: None, *, scaling: float, **_: Any
) -> tuple[Tensor, None]:
    """transformers' attention interface: float[1, heads, tokens, d] each -> float[1, tokens, heads, d]."""
    segments: list[Segment] = _current.segments
    all_keys, all_values = _current.cache.store(module.layer_idx, segments, keys, values)
    outputs = [
        _attend_segment(
            query[0, :, segment.tokens].unflatten(1, (-1, segment.query_length)).transpose(0, 1),
            all_keys[segment.rows, :, : segment.key_length],
            all_values[segment.rows, :, : segment.key_length],
            segment.mask,
            scaling,
        )
        for segment in segments
    ]
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1), None


def _attend_segment(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, scaling: float) -> Tensor:
    """`query` float[rows, heads, query_length, d] -> float[1, rows x query_length, heads, d]."""
    rows, heads, query_length, dim = query.shape
    if query_length == 1:  # heads that share keys are laid out as tokens: ten times as fast on a CPU
        packed = query.reshape(rows, keys.shape[1], -1, dim)
        output = scaled_dot_product_attention(packed, keys, values, attn_mask=mask, scale=scaling)
        return output.reshape(1, rows, heads, -1).contiguous()
    output = scaled_dot_product_attention(
        query, keys, values, attn_mask=mask, is_causal=mask is None, scale=scaling, enable_gqa=True
    )
    return output.transpose(1, 2).reshape(1, rows * query_length, heads, -1).contiguous()


AttentionInterface.register(ATTENTION, _interface)
