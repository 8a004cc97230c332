"""int8 is computed only where the processor multiplies it exactly and fast."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from services.models.engine.torch_engine.int8 import is_supported
from services.models.engine.torch_engine.model import Checkpoint
from tests.tiny_model import write_tiny_model


@pytest.fixture
def without_vnni(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_vnni": False})


@pytest.mark.usefixtures("without_vnni")
@pytest.mark.parametrize("quantization", ["auto", "int8"])
def test_a_model_is_not_quantized_on_a_processor_without_vnni(tmp_path: Path, quantization: str) -> None:
    write_tiny_model(tmp_path)
    assert not is_supported()
    assert not Checkpoint(tmp_path, "bfloat16", "cpu", quantization).is_int8


def test_a_processor_of_another_make_has_no_int8(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"architecture": "aarch64", "neon": True})
    assert not is_supported()
