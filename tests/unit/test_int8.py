"""int8 on a CPU: close to the model that it replaces, and no token depends on the rest of its batch.

What is promised, and where: for bfloat16 layers as wide as those that are served, a row of a batch equals the same row
alone bit for bit, on every processor. For small float32 layers oneDNN may choose another kernel by the number of rows
(it does with AMX), and its last bit may differ.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from services.models.engine.loop.runner import Chunk
from services.models.engine.torch_engine.int8 import Int8Linear, is_supported, quantize
from services.models.engine.torch_engine.kv_cache import KVCache
from services.models.engine.torch_engine.model import Checkpoint
from services.models.engine.torch_engine.varlen import forward_varlen
from tests.tiny_model import write_tiny_model

pytestmark = pytest.mark.skipif(not is_supported(), reason="int8 needs an x86 processor with AVX-512 VNNI")
# (inputs, outputs) of the layers of the default pair: attention and feed-forward of the 0.5 B and of the 1.5 B model.
SERVED = [(896, 896), (896, 4864), (4864, 896), (1536, 1536), (1536, 8960), (8960, 1536)]
LAST_BIT = {"rtol": 1e-6, "atol": 1e-6}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_layer_is_close_to_the_one_it_replaces(dtype: torch.dtype, bias: bool) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(256, 96, bias=bias).to(dtype)
    x = torch.randn(3, 5, 256).to(dtype)
    with torch.inference_mode():
        exact, quantized = linear(x), Int8Linear(linear)(x)
    assert quantized.shape == exact.shape
    assert quantized.dtype == dtype
    assert (quantized - exact).float().norm() / exact.float().norm() < 0.02


@pytest.mark.parametrize(("inputs", "outputs"), SERVED)
def test_a_row_of_a_served_batch_equals_the_row_alone_bit_for_bit(inputs: int, outputs: int) -> None:
    torch.manual_seed(0)
    layer = Int8Linear(nn.Linear(inputs, outputs, dtype=torch.bfloat16))
    x = torch.randn(33, inputs).to(torch.bfloat16)
    x[3] *= 1000  # an outlier in another row
    with torch.inference_mode():
        alone = torch.cat([layer(x[row : row + 1]) for row in range(33)])
        for rows in (2, 9, 16, 33):
            assert torch.equal(layer(x[:rows]), alone[:rows]), f"{rows} rows"


def test_a_row_of_a_small_float32_batch_equals_the_row_alone_up_to_the_last_bit() -> None:
    torch.manual_seed(0)
    layer = Int8Linear(nn.Linear(64, 32))
    x = torch.randn(9, 64)
    x[3] *= 1000
    with torch.inference_mode():
        torch.testing.assert_close(layer(x)[:1], layer(x[:1]), **LAST_BIT)


def test_a_model_computes_nearly_the_same_logits_in_int8(tmp_path: Path) -> None:
    write_tiny_model(tmp_path)
    ids, chunks = list(range(40)), [Chunk(0, 0, 15), Chunk(1, 0, 25)]
    with torch.inference_mode():
        exact, quantized = (
            forward_varlen(model.logits_model(), KVCache(), chunks, ids, model.device, torch.arange(len(ids)))
            for model in (Checkpoint(tmp_path, "float32", "cpu", kind) for kind in ("none", "int8"))
        )
    assert (quantized - exact).norm() / exact.norm() < 0.1


def test_every_linear_layer_is_replaced() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Sequential(nn.ReLU(), nn.Linear(8, 4)))
    quantize(model)
    assert not [m for m in model.modules() if isinstance(m, nn.Linear)]
    assert sum(isinstance(m, Int8Linear) for m in model.modules()) == 2


def test_fused_layers_are_one_product_with_the_outputs_of_each() -> None:
    torch.manual_seed(0)
    attention = nn.ModuleDict(
        {"q_proj": nn.Linear(64, 32), "k_proj": nn.Linear(64, 8, bias=False), "v_proj": nn.Linear(64, 8)}
    )
    separate = [Int8Linear(layer) for layer in attention.values()]
    quantize(attention)
    with torch.inference_mode():
        for rows in (1, 5):
            x = torch.randn(2, rows, 64)
            for layer, own in zip(attention.values(), separate, strict=True):
                torch.testing.assert_close(layer(x), own(x), **LAST_BIT)
    assert len({id(layer.product) for layer in attention.values()}) == 1


def test_fused_layers_that_a_pass_left_incomplete_use_the_next_input() -> None:
    torch.manual_seed(0)
    mlp = nn.ModuleDict({"gate_proj": nn.Linear(16, 8), "up_proj": nn.Linear(16, 8)})
    own = Int8Linear(mlp["up_proj"])
    quantize(mlp)
    first, second = torch.randn(2, 1, 16)
    with torch.inference_mode():
        mlp["gate_proj"](first)
        mlp["gate_proj"](second)
        torch.testing.assert_close(mlp["up_proj"](second), own(second), **LAST_BIT)
