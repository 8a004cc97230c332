"""Weights and activations in int8 on a CPU: half of bfloat16's bytes to read and twice its arithmetic.

Every linear layer's weight is rounded once, with one scale for each output row; activations are rounded at each pass
with one scale for each token, so that a token's result does not depend on which others share its batch. The products
are oneDNN's (VNNI where the processor has it), accumulated in int32. Layers that read the same activations (a query, its
key and value; a gate and what it gates) are one product, and their input is rounded once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

_LARGEST = 127
_ZERO = 128  # activations are unsigned to the kernel
_SIBLINGS = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))  # transformers' names, Llama's family


def _round_rows(rows: Tensor) -> tuple[Tensor, Tensor]:
    """uint8[n, d] around _ZERO, and the largest magnitude of each row, float32[n, 1]."""
    largest = rows.abs().amax(dim=-1, keepdim=True).float().clamp_min(1e-12)
    # Converting to an integer cuts off, which rounds what is half a step higher.
    return torch.mul(rows, _LARGEST / largest).add_(_ZERO + 0.5).to(torch.uint8), largest


def _rescale(product: Tensor, largest: Tensor, bias: Tensor | None) -> Tensor:
    scaled = torch.mul(product, largest)
    return (scaled if bias is None else scaled.add_(bias)).to(product.dtype)


class Int8Linear(nn.Module):
    """Stands for one nn.Linear, or for several that read the same input, one after the other in its output; bfloat16 or
    float32 in and out. Their weights are not kept.

    `packs` puts the weight in oneDNN's own order now; without it that is left to a compiler (services.engine.compiled).
    """

    scale: Tensor
    zero: Tensor
    weight: Tensor
    bias: Tensor | None

    def __init__(self, *linears: nn.Linear, packs: bool = True) -> None:
        super().__init__()
        weight = torch.cat([linear.weight.detach().float() for linear in linears])
        self.out_features, self.in_features = weight.shape
        self.packs = packs
        scale = weight.abs().amax(dim=1).clamp_min(1e-12) / _LARGEST
        rounded = (weight / scale[:, None]).round_().to(torch.int8)
        self.register_buffer("scale", scale)
        self.register_buffer("zero", torch.zeros(self.out_features, dtype=torch.int64))
        self.register_buffer("weight", torch.ops.onednn.qlinear_prepack(rounded, None) if packs else rounded)
        self.register_buffer("bias", _biases(linears))

    def forward(self, x: Tensor) -> Tensor:
        """float[..., in_features] -> float[..., out_features], of x's dtype."""
        rows = x.reshape(-1, self.in_features)
        rounded, largest = _round_rows(rows)
        weight = self.weight if self.packs else torch.ops.onednn.qlinear_prepack(self.weight, None)
        product: Tensor = torch.ops.onednn.qlinear_pointwise(
            rounded, 1 / _LARGEST, _ZERO, weight, self.scale, self.zero, None, 1.0, 0, x.dtype, "none", [], ""
        )
        return _rescale(product, largest, self.bias).reshape(*x.shape[:-1], self.out_features)


def _biases(linears: Sequence[nn.Linear]) -> Tensor | None:
    """float[all outputs], zero where a layer has none; None where no layer has one."""
    if all(linear.bias is None for linear in linears):
        return None
    zeros = (torch.zeros(linear.out_features, dtype=linear.weight.dtype) for linear in linears)
    return torch.cat(
        [zero if one.bias is None else one.bias.detach() for one, zero in zip(linears, zeros, strict=True)]
    )


class _Product:
    """The output of siblings, from when the first of them is called until the last has taken its part."""

    def __init__(self, layer: Int8Linear, widths: Sequence[int]) -> None:
        self.layer, self.widths = layer, list(widths)
        self._input: Tensor | None = None
        self._parts: dict[int, Tensor] = {}

    def take(self, index: int, x: Tensor) -> Tensor:
        if self._input is not x:
            self._input, self._parts = x, dict(enumerate(self.layer(x).split(self.widths, dim=-1)))
        part = self._parts.pop(index)
        if not self._parts:
            self._input = None
        return part


class Int8Sibling(nn.Module):
    """Stands for one of several nn.Linear that are always called with the same tensor, each once, by one thread."""

    def __init__(self, product: _Product, index: int) -> None:
        super().__init__()
        self.product, self.index = product, index

    def forward(self, x: Tensor) -> Tensor:
        """float[..., in_features] -> float[..., out_features of this one], of x's dtype; a view of the siblings' output."""
        return self.product.take(self.index, x)


def is_supported() -> bool:
    """oneDNN's int8 products exist on x86 alone."""
    return "onednn" in torch.backends.quantized.supported_engines


def quantize(model: Any, packs: bool = True) -> None:
    """Put int8 in the place of every linear layer of a transformers model on a CPU, its output head included.

    Without `packs` (see Int8Linear) siblings stay apart: a compiler finds for itself what they have in common.
    """
    for parent in list(model.modules()):
        found = {name: child for name, child in parent.named_children() if isinstance(child, nn.Linear)}
        for names in _SIBLINGS if packs else ():
            if all(name in found for name in names):
                linears = [found.pop(name) for name in names]
                product = _Product(Int8Linear(*linears), [linear.out_features for linear in linears])
                for index, name in enumerate(names):
                    setattr(parent, name, Int8Sibling(product, index))
        for name, linear in found.items():
            setattr(parent, name, Int8Linear(linear, packs=packs))
