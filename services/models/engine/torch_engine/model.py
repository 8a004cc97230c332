"""A decoder-only transformers model as the engine runs it: its configuration and its layers, in int8 where that
applies.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

from services.models.engine.torch_engine.int8 import is_supported, quantize
from services.models.engine.torch_engine.varlen import ATTENTION


class Checkpoint:
    """The model in `path`, on `device` ("auto": a GPU where there is one). Its weights are loaded when first needed.

    `quantization` is "none", or "auto" or "int8": int8 on a CPU that has it.
    """

    def __init__(self, path: Path, dtype: str, device: str, quantization: str) -> None:
        """Raises OSError where `path` holds no model."""
        self._path, self._dtype = path, dtype
        if not (path / "config.json").is_file():
            raise OSError(
                f"there is no model for transformers in {path}: run `tandem models pull --engine transformers`"
            )
        self._config = AutoConfig.from_pretrained(path)
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(device)
        self.is_int8 = quantization in ("auto", "int8") and self.device.type == "cpu" and is_supported()
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
            generation = GenerationConfig.from_pretrained(self._path)
        except OSError:
            generation = GenerationConfig.from_model_config(self._config)
        eos = generation.eos_token_id
        return frozenset() if eos is None else frozenset([eos] if isinstance(eos, int) else eos)

    def logits_model(self) -> LogitsModel:
        return LogitsModel(self._load()[0])

    def hidden_states_model(self) -> tuple[HiddenStatesModel, Tensor]:
        """The layers, and the output head as it was before quantization, float[vocabulary, d]."""
        model, head = self._load()
        return HiddenStatesModel(model), head

    def _load(self) -> tuple[Any, Tensor]:
        if self._loaded is None:
            dtype = getattr(torch, self._dtype)
            model = AutoModelForCausalLM.from_pretrained(self._path, dtype=dtype, attn_implementation=ATTENTION)
            model = model.to(self.device).eval()
            head = model.get_output_embeddings().weight.detach()
            if self.is_int8:
                quantize(model)
            self._loaded = model, head
        return self._loaded


class LogitsModel(nn.Module):
    """The logits at some tokens of a pass. services.models.engine.torch_engine.varlen.forward_varlen calls it."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.decoder, self.head = model.get_decoder(), model.get_output_embeddings()

    def forward(self, ids: Tensor, positions: Tensor, ends: Tensor) -> Tensor:
        """int64[1, tokens] twice and int64[n], indices into the tokens -> float[n, vocabulary], of the model's
        dtype.
        """
        hidden = self.decoder(input_ids=ids, position_ids=positions, use_cache=False).last_hidden_state
        logits: Tensor = self.head(hidden[0, ends])
        return logits


class HiddenStatesModel(nn.Module):
    """The hidden states of a pass. services.models.engine.torch_engine.varlen.forward_varlen calls it."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.decoder = model.get_decoder()

    def forward(self, ids: Tensor, positions: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """int64[1, tokens] twice -> the output of the last layer and of the one numbered `layer` (0: the embedding),
        float[tokens, d] each."""
        output = self.decoder(input_ids=ids, position_ids=positions, use_cache=False, output_hidden_states=True)
        return output.last_hidden_state[0], output.hidden_states[layer][0]
