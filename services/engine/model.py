"""A decoder-only transformers model as the engine runs it: what its folder says of it, its layers, in int8 or compiled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

from services.engine.int8 import is_supported, quantize
from services.engine.ragged import ATTENTION

Logits = Callable[[Tensor, Tensor, Tensor], Tensor]
"""As Writer.forward."""


class Model:
    """The model in `path`, on `device` ("auto": a GPU where there is one). Its weights are loaded when they are needed.

    `quantization` is "none", or "auto" and "int8": in int8 on a CPU that has it.
    """

    def __init__(self, path: Path, dtype: str, device: str, quantization: str) -> None:
        """Raises OSError where `path` holds no model."""
        self._path, self._dtype = path, dtype
        self._config = AutoConfig.from_pretrained(path)
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(device)
        self._is_rounded = quantization in ("auto", "int8") and self.device.type == "cpu" and is_supported()
        self._loaded: tuple[Any, Tensor] | None = None

    @property
    def context_length(self) -> int:
        return int(self._config.max_position_embeddings)

    @property
    def num_layers(self) -> int:
        return int(self._config.num_hidden_layers)

    def num_parameters(self) -> int:
        with torch.device("meta"):
            return int(AutoModelForCausalLM.from_config(self._config).num_parameters())

    def eos_ids(self) -> frozenset[int]:
        try:
            told = GenerationConfig.from_pretrained(self._path)
        except OSError:
            told = GenerationConfig.from_model_config(self._config)
        eos = told.eos_token_id
        return frozenset() if eos is None else frozenset([eos] if isinstance(eos, int) else eos)

    def writer(self, compiled: bool, threads: int) -> Logits:
        """What gives the logits of a pass: the layers, or where `compiled` asks for it the code compiled of them."""
        if compiled and self._is_rounded:
            from services.engine.compiled import load_compiled  # which compiles Writer

            if found := load_compiled(self._path, self._dtype, threads):
                return found
        return Writer(self._load()[0])

    def reader(self) -> tuple[Reader, Tensor]:
        """What gives the hidden states of a pass, and the output head as it was before rounding, float[vocabulary, d]."""
        model, head = self._load()
        return Reader(model), head

    def _load(self) -> tuple[Any, Tensor]:
        if self._loaded is None:
            model = load(self._path, self._dtype, self.device)
            head = model.get_output_embeddings().weight.detach()
            if self._is_rounded:
                quantize(model)
            self._loaded = model, head
        return self._loaded


def load(path: Path, dtype: str, device: torch.device) -> Any:
    """The transformers model in `path`, with ragged attention. Raises OSError where there is none."""
    model = AutoModelForCausalLM.from_pretrained(path, dtype=getattr(torch, dtype), attn_implementation=ATTENTION)
    return model.to(device).eval()


class Writer(nn.Module):
    """The logits at some tokens of a pass. services.engine.ragged.run calls it."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.decoder, self.head = model.get_decoder(), model.get_output_embeddings()

    def forward(self, ids: Tensor, positions: Tensor, ends: Tensor) -> Tensor:
        """int64[1, tokens] twice and int64[n], indices into the tokens -> float[n, vocabulary], of the model's dtype."""
        hidden = self.decoder(input_ids=ids, position_ids=positions, use_cache=False).last_hidden_state
        logits: Tensor = self.head(hidden[0, ends])
        return logits


class Reader(nn.Module):
    """What the layers make of a pass. services.engine.ragged.run calls it."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.decoder = model.get_decoder()

    def forward(self, ids: Tensor, positions: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """int64[1, tokens] twice -> the last layer's output and that of the one numbered `layer` (0: the embedding),
        float[tokens, d] each."""
        output = self.decoder(input_ids=ids, position_ids=positions, use_cache=False, output_hidden_states=True)
        return output.last_hidden_state[0], output.hidden_states[layer][0]
