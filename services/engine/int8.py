"""Weights and activations in int8 on a CPU: half of bfloat16's bytes to read and twice its arithmetic.

Every linear layer's weight is rounded once, with one scale for each output row; activations are rounded at each pass
with one scale for each token, so that a token's result does not depend on which others share its batch. The products
are oneDNN's (VNNI where the processor has it), accumulated in int32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

_LARGEST = 127
_ZERO = 128  # activations are unsigned to the kernel
_FUSED_ROWS = 8  # below, starting the fused loops' threads costs more than they save


def _round_rows(rows: Tensor) -> tuple[Tensor, Tensor]:
    """uint8[n, d] around _ZERO, and the largest magnitude of each row, float32[n, 1]."""
    largest = rows.abs().amax(dim=-1, keepdim=True).float().clamp_min(1e-12)
    # Converting to an integer cuts off, which rounds what is half a step higher.
    return (rows.float() * (_LARGEST / largest) + (_ZERO + 0.5)).to(torch.uint8), largest


def _rescale(product: Tensor, largest: Tensor, bias: Tensor | None) -> Tensor:
    scaled = product.float() * largest
    return (scaled if bias is None else scaled + bias).to(product.dtype)


_round_rows_fused = torch.compile(_round_rows, dynamic=True)
_rescale_fused = torch.compile(_rescale, dynamic=True)


class Int8Linear(nn.Module):
    """Stands for an nn.Linear, bfloat16 or float32 in and out; its weight is not kept.

    `fuse` compiles what surrounds the product into single loops; it needs a C++ compiler.
    """

    def __init__(self, linear: nn.Linear, fuse: bool) -> None:
        super().__init__()
        weight = linear.weight.detach().float()
        self.in_features, self.out_features, self.fuse = linear.in_features, linear.out_features, fuse
        self.scale = weight.abs().amax(dim=1).clamp_min(1e-12) / _LARGEST
        self.zero = torch.zeros(linear.out_features, dtype=torch.int64)
        rounded = (weight / self.scale[:, None]).round_().to(torch.int8)
        self.packed = torch.ops.onednn.qlinear_prepack(rounded, None)
        self.bias = None if linear.bias is None else linear.bias.detach()

    def forward(self, x: Tensor) -> Tensor:
        """float[..., in_features] -> float[..., out_features], of x's dtype."""
        rows = x.reshape(-1, self.in_features)
        fuse = self.fuse and len(rows) >= _FUSED_ROWS
        rounded, largest = (_round_rows_fused if fuse else _round_rows)(rows)
        product: Tensor = torch.ops.onednn.qlinear_pointwise(
            rounded, 1 / _LARGEST, _ZERO, self.packed, self.scale, self.zero, None, 1.0, 0, x.dtype, "none", [], ""
        )
        scaled = (_rescale_fused if fuse else _rescale)(product, largest, self.bias)
        return scaled.reshape(*x.shape[:-1], self.out_features)


def is_supported() -> bool:
    """oneDNN's int8 products exist on x86 alone."""
    return "onednn" in torch.backends.quantized.supported_engines


def quantize(model: Any, fuse: bool) -> None:
    """Put an Int8Linear in the place of every linear layer of a transformers model on a CPU, its output head included."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear):
                setattr(parent, name, Int8Linear(child, fuse))
