"""One forward pass over some tokens of each of several rows, one after the other: no padding, no order among the rows.

Everything but attention sees the tokens one by one, so a pass is a single sequence to the model. Attention is split
into blocks: the rows that read one token each are one, with a mask up to the longest; a row that reads more is its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

ATTENTION = "tandem_ragged"
"""What a model must be loaded with as its `attn_implementation`."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Tokens `start` to `start + length` of the text in `row`; those before them are in the cache."""

    row: int
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive rows that read `each` tokens; `mask` is bool[rows, 1, each, longest], None where plain causality does."""

    rows: slice
    tokens: slice
    positions: Tensor
    each: int
    longest: int
    mask: Tensor | None

    @property
    def is_single(self) -> bool:
        return self.rows.stop - self.rows.start == 1


def blocks_of(pieces: Sequence[Piece], device: torch.device) -> list[Block]:
    """The blocks of a pass over `pieces`, whose tokens follow one another in their order; their rows are consecutive."""
    blocks, token = [], 0
    for _, group in groupby(enumerate(pieces), lambda at: -1 if at[1].length == 1 else at[0]):
        members = [piece for _, piece in group]
        block = _block(members, token, device)
        token = block.tokens.stop
        blocks.append(block)
    return blocks


def _block(members: Sequence[Piece], token: int, device: torch.device) -> Block:
    each = members[0].length
    positions = torch.tensor([piece.start for piece in members])[:, None] + torch.arange(each)
    longest = max(piece.start for piece in members) + each
    is_causal = len(members) == 1 and each in (1, longest)
    mask = None if is_causal else (torch.arange(longest) <= positions[:, :, None])[:, None].to(device)
    rows = slice(members[0].row, members[0].row + len(members))
    return Block(rows, slice(token, token + each * len(members)), positions.to(device), each, longest, mask)


def attend(
    module: nn.Module,
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    attention_mask: Tensor | None,
    *,
    blocks: Sequence[Block],
    scaling: float,
    **_: Any,
) -> tuple[Tensor, None]:
    """transformers' attention interface: `query` is float[1, heads, tokens, d], `keys` and `values` all the cache has,
    float[rows, key heads, length, d]; returns float[1, tokens, heads, d]."""
    outputs = [
        _attend(
            query[0, :, block.tokens].unflatten(1, (-1, block.each)).transpose(0, 1),
            keys[block.rows, :, : block.longest],
            values[block.rows, :, : block.longest],
            block.mask,
            scaling,
        )
        for block in blocks
    ]
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1), None


def _attend(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, scaling: float) -> Tensor:
    """`query` float[rows, heads, each, d] -> float[1, rows x each, heads, d]."""
    rows, heads, each, _ = query.shape
    if each == 1:  # the heads that share keys stand as so many tokens: a CPU computes that ten times as fast
        packed = query.reshape(rows, keys.shape[1], -1, query.shape[-1])
        output = scaled_dot_product_attention(packed, keys, values, attn_mask=mask, scale=scaling)
        return output.reshape(1, rows, heads, -1)
    output = scaled_dot_product_attention(
        query, keys, values, attn_mask=mask, is_causal=mask is None, scale=scaling, enable_gqa=True
    )
    return output.transpose(1, 2).reshape(1, rows * each, heads, -1)


AttentionInterface.register(ATTENTION, attend)


def read(model: Any, cache: Any, pieces: Sequence[Piece], tokens: Sequence[int], **options: Any) -> Any:
    """The decoder's output for `tokens`, those of `pieces` one after the other; hidden states are float[1, tokens, d].

    `cache` is a SlotCache, and has the pieces' keys and values afterwards; `options` go to the decoder.
    """
    device = model.device
    blocks = blocks_of(pieces, device)
    cache.blocks = blocks
    return model.get_decoder()(
        input_ids=torch.tensor([tokens], device=device),
        position_ids=torch.cat([block.positions.reshape(-1) for block in blocks])[None],
        cache=cache,
        use_cache=True,
        blocks=blocks,
        **options,
    )
