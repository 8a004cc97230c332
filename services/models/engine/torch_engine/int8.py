"""Weights and activations in int8 on a CPU: half the memory traffic of bfloat16 and twice its arithmetic.

Every linear layer's weight is quantized once, with one scale for each output row; activations are quantized at each
pass with one scale for each token, so that a token's result does not depend on the rest of its batch. oneDNN computes
the products, with AVX-512 VNNI or AMX, and accumulates in int32. Layers with the same input (query, key and value; gate
and up projection) are fused into one product, and their input is quantized once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

_LARGEST = 127
_ZERO = 128  # the kernel takes unsigned activations
NEEDS = "int8 needs an x86 processor with AVX-512 VNNI: run llama.cpp here, which is the default"
_FUSED = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))  # their names in transformers' Llama family


def _round_rows(rows: Tensor) -> tuple[Tensor, Tensor]:
    """uint8[n, d] around _ZERO, and the largest magnitude of each row, float32[n, 1]."""
    largest = rows.abs().amax(dim=-1, keepdim=True).float().clamp_min(1e-12)
    # The conversion to an integer truncates; adding one half makes it round.
    return torch.mul(rows, _LARGEST / largest).add_(_ZERO + 0.5).to(torch.uint8), largest


def _rescale(product: Tensor, largest: Tensor, bias: Tensor | None) -> Tensor:
    scaled = torch.mul(product, largest)
    return (scaled if bias is None else scaled.add_(bias)).to(product.dtype)


class Int8Linear(nn.Module):
    """Replaces one nn.Linear, or several with the same input, whose outputs it concatenates; bfloat16 or float32 in and
    out.
    """

    scale: Tensor
    zero: Tensor
    weight: Tensor
    bias: Tensor | None

    def __init__(self, *linears: nn.Linear) -> None:
        super().__init__()
        weight = torch.cat([linear.weight.detach().float() for linear in linears])
        self.out_features, self.in_features = weight.shape
        scale = weight.abs().amax(dim=1).clamp_min(1e-12) / _LARGEST
        rounded = (weight / scale[:, None]).round_().to(torch.int8)
        self.register_buffer("scale", scale)
        self.register_buffer("zero", torch.zeros(self.out_features, dtype=torch.int64))
        self.register_buffer("weight", torch.ops.onednn.qlinear_prepack(rounded, None))
        self.register_buffer("bias", _biases(linears))

    def forward(self, x: Tensor) -> Tensor:
        """float[..., in_features] -> float[..., out_features], of x's dtype."""
        rows = x.reshape(-1, self.in_features)
        rounded, largest = _round_rows(rows)
        product: Tensor = torch.ops.onednn.qlinear_pointwise(
            rounded, 1 / _LARGEST, _ZERO, self.weight, self.scale, self.zero, None, 1.0, 0, x.dtype, "none", [], ""
        )
        return _rescale(product, largest, self.bias).reshape(*x.shape[:-1], self.out_features)


def _biases(linears: Sequence[nn.Linear]) -> Tensor | None:
    """float[all outputs], zero where a layer has no bias; None where no layer has one."""
    if all(linear.bias is None for linear in linears):
        return None
    zeros = (torch.zeros(linear.out_features, dtype=linear.weight.dtype) for linear in linears)
    return torch.cat(
        [zero if one.bias is None else one.bias.detach() for one, zero in zip(linears, zeros, strict=True)]
    )


class _FusedProduct:
    """The output of fused layers, from the call of the first of them until the last has taken its part."""

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


class Int8FusedPart(nn.Module):
    """Replaces one of several nn.Linear that are always called with the same tensor, each once, by one thread."""

    def __init__(self, product: _FusedProduct, index: int) -> None:
        super().__init__()
        self.product, self.index = product, index

    def forward(self, x: Tensor) -> Tensor:
        """float[..., in_features] -> float[..., out_features of this one], of x's dtype; a view of the fused output."""
        return self.product.take(self.index, x)


def is_supported() -> bool:
    """Whether oneDNN has exact and fast int8 products here, which takes an x86 processor with AVX-512 VNNI.

    On others its bfloat16 results come from reference code, hundreds of times slower, and those in float32 are wrong by
    a tenth, because sums of two products saturate in int16.
    """
    has_vnni = torch.cpu.get_capabilities().get("avx512_vnni", False)
    return bool(has_vnni) and "onednn" in torch.backends.quantized.supported_engines


def quantize(model: Any) -> None:
    """Replace every linear layer of a transformers model on a CPU, including its output head."""
    for parent in list(model.modules()):
        found = {name: child for name, child in parent.named_children() if isinstance(child, nn.Linear)}
        for names in _FUSED:
            if all(name in found for name in names):
                linears = [found.pop(name) for name in names]
                product = _FusedProduct(Int8Linear(*linears), [linear.out_features for linear in linears])
                for index, name in enumerate(names):
                    setattr(parent, name, Int8FusedPart(product, index))
        for name, linear in found.items():
            setattr(parent, name, Int8Linear(linear))
