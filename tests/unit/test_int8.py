"""int8 on a CPU: near the model that it stands for, and no token depends on its neighbours."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from services.engine.int8 import Int8Linear, is_supported, quantize

pytestmark = pytest.mark.skipif(not is_supported(), reason="oneDNN's int8 products need an x86 processor")


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_layer_is_near_the_one_it_stands_for(dtype: torch.dtype, bias: bool) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(256, 96, bias=bias).to(dtype)
    x = torch.randn(3, 5, 256).to(dtype)
    with torch.inference_mode():
        exact, rounded = linear(x), Int8Linear(linear)(x)
    assert rounded.shape == exact.shape
    assert rounded.dtype == dtype
    assert (rounded - exact).float().norm() / exact.float().norm() < 0.02


def test_a_token_does_not_depend_on_its_neighbours() -> None:
    torch.manual_seed(0)
    layer = Int8Linear(nn.Linear(64, 32))
    x = torch.randn(9, 64)
    x[3] *= 1000  # an outlier beside it
    with torch.inference_mode():
        assert torch.equal(layer(x)[:1], layer(x[:1]))


def test_every_linear_layer_is_replaced() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Sequential(nn.ReLU(), nn.Linear(8, 4)))
    quantize(model)
    assert not [m for m in model.modules() if isinstance(m, nn.Linear)]
    assert sum(isinstance(m, Int8Linear) for m in model.modules()) == 2


def test_siblings_are_one_product_with_the_same_outputs() -> None:
    torch.manual_seed(0)
    attention = nn.ModuleDict(
        {"q_proj": nn.Linear(64, 32), "k_proj": nn.Linear(64, 8, bias=False), "v_proj": nn.Linear(64, 8)}
    )
    alone = [Int8Linear(layer) for layer in attention.values()]
    quantize(attention)
    with torch.inference_mode():
        for rows in (1, 5):
            x = torch.randn(2, rows, 64)
            for layer, own in zip(attention.values(), alone, strict=True):
                assert torch.equal(layer(x), own(x))
    assert len({id(layer.product) for layer in attention.values()}) == 1


def test_siblings_that_a_pass_left_half_taken_answer_the_next_input() -> None:
    torch.manual_seed(0)
    mlp = nn.ModuleDict({"gate_proj": nn.Linear(16, 8), "up_proj": nn.Linear(16, 8)})
    own = Int8Linear(mlp["up_proj"])
    quantize(mlp)
    first, second = torch.randn(2, 1, 16)
    with torch.inference_mode():
        mlp["gate_proj"](first)
        mlp["gate_proj"](second)
        assert torch.equal(mlp["up_proj"](second), own(second))
