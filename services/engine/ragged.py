"""One forward pass over some tokens of each of several rows, one after the other: no padding, no order among the rows.

Everything but attention sees the tokens one by one, so a pass is a single sequence to the model. Attention is an
operator of its own, which no compiler looks into: it takes from `run`, a frame further up in the same thread, where
keys and values are kept and which tokens belong together. The rows that read one token each are one block, with a mask
up to the longest; a row that reads more is a block by itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

if TYPE_CHECKING:
    from services.engine.slot_cache import SlotCache

ATTENTION = "tandem_ragged"
"""What a model must be loaded with as its `attn_implementation`."""

R = TypeVar("R")
_under_way = threading.local()


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
        return bool(self.rows.stop - self.rows.start == 1)


def run(
    model: Callable[..., R],
    cache: SlotCache,
    pieces: Sequence[Piece],
    tokens: Sequence[int],
    device: torch.device,
    *more: Any,
) -> R:
    """`model(ids, positions, *more)` for the `tokens` of `pieces`, one piece's after the other's; ids and positions are
    int64[1, tokens].

    The model's layers attend to what `cache` holds, which has the pieces' keys and values afterwards.
    """
    blocks = _blocks(pieces, device)
    _under_way.cache, _under_way.blocks = cache, blocks
    positions = torch.cat([block.positions.reshape(-1) for block in blocks])[None]
    return model(torch.tensor([tokens], device=device), positions, *more)


def _blocks(pieces: Sequence[Piece], device: torch.device) -> list[Block]:
    blocks: list[Block] = []
    token = 0
    for _, group in groupby(enumerate(pieces), lambda at: -1 if at[1].length == 1 else at[0]):
        block = _block([piece for _, piece in group], token, device)
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


def _interface(
    module: nn.Module, query: Tensor, keys: Tensor, values: Tensor, _mask: None, *, scaling: float, **_: Any
) -> tuple[Tensor, None]:
    """transformers' attention interface: float[1, heads, tokens, d] each -> float[1, tokens, heads, d]."""
    return torch.ops.tandem.attend(query, keys, values, module.layer_idx, scaling), None


def _attend(query: Tensor, keys: Tensor, values: Tensor, layer: int, scaling: float) -> Tensor:
    blocks: list[Block] = _under_way.blocks
    with torch.inference_mode():  # compiled code calls from outside of it
        all_keys, all_values = _under_way.cache.keep(layer, blocks, keys, values)
        outputs = [
            _attend_block(
                query[0, :, block.tokens].unflatten(1, (-1, block.each)).transpose(0, 1),
                all_keys[block.rows, :, : block.longest],
                all_values[block.rows, :, : block.longest],
                block.mask,
                scaling,
            )
            for block in blocks
        ]
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1)


def _attend_block(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, scaling: float) -> Tensor:
    """`query` float[rows, heads, each, d] -> float[1, rows x each, heads, d]."""
    rows, heads, each, dim = query.shape
    if each == 1:  # the heads that share keys stand as so many tokens: a CPU computes that ten times as fast
        packed = query.reshape(rows, keys.shape[1], -1, dim)
        output = scaled_dot_product_attention(packed, keys, values, attn_mask=mask, scale=scaling)
        return output.reshape(1, rows, heads, -1).contiguous()
    output = scaled_dot_product_attention(
        query, keys, values, attn_mask=mask, is_causal=mask is None, scale=scaling, enable_gqa=True
    )
    return output.transpose(1, 2).reshape(1, rows * each, heads, -1).contiguous()


def _attend_shape(query: Tensor, keys: Tensor, values: Tensor, layer: int, scaling: float) -> Tensor:
    return query.new_empty((1, query.shape[2], query.shape[1], values.shape[3]))


torch.library.define("tandem::attend", "(Tensor query, Tensor keys, Tensor values, int layer, float scaling) -> Tensor")
torch.library.impl("tandem::attend", "default", _attend)
torch.library.register_fake("tandem::attend", _attend_shape)
AttentionInterface.register(ATTENTION, _interface)
