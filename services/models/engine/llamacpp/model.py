"""A GGUF file that llama.cpp has mapped into memory: several processes that run one file share its pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from services.models.engine.llamacpp import vocabulary
from services.models.engine.llamacpp.context import LlamaContext, LlamaInterrupt
from services.models.engine.llamacpp.library import open_library
from services.models.engine.llamacpp.vocabulary import Vocabulary

_ALL_LAYERS = -1
_NO_FLASH_ATTENTION = 0  # it divides a row's keys by what other rows have, and adds in float16
_NAME_BYTES = 128
_FLOAT32, _FLOAT16 = 0, 1  # of ggml's types


class LlamaModel:
    """The model in `path`, a GGUF file or a folder with one. `device` "cpu" uses no GPU that the library can use.

    On a CPU a row's result does not depend on the other rows of a pass, bit by bit. With `repack` it does, because
    llama.cpp then copies weights into layouts with one kernel for a row and another for several, which are faster.
    """

    def __init__(self, path: Path, device: str, max_tokens: int, *, repack: bool) -> None:
        """Raises OSError where there is no such file, or llama.cpp cannot read it."""
        file = gguf_file(path)
        self._interface, self._library = open_library()
        params = self._library.llama_model_default_params()
        params.n_gpu_layers = 0 if device == "cpu" else _ALL_LAYERS
        params.use_extra_bufts = repack
        known = vocabulary.read(file)
        given = self._interface.from_buffer(vocabulary.overrides(known)) if known else self._interface.NULL
        params.kv_overrides = self._interface.cast("void *", given)
        self._model = self._library.llama_model_load_from_file(str(file).encode(), params)
        if self._model == self._interface.NULL:
            raise OSError(f"llama.cpp cannot read {file}")
        self._known = known or self._read_vocabulary(file)
        self._contexts: list[LlamaContext] = []
        uses_gpu = device != "cpu" and self._library.llama_supports_gpu_offload()
        self.device = "gpu" if uses_gpu else "cpu"
        self.context_length = min(max_tokens, int(self._library.llama_model_n_ctx_train(self._model)))
        self.vocabulary_size = self._known.size
        self.quantization = str(
            self._text(self._library.llama_ftype_name(self._library.llama_model_ftype(self._model)))
        )

    def eos_ids(self) -> frozenset[int]:
        """Every token after which llama.cpp's own server ends."""
        return frozenset(self._known.ends)

    def num_parameters(self) -> int:
        return int(self._library.llama_model_n_params(self._model))

    def context(
        self,
        max_tokens: int,
        interrupt: LlamaInterrupt | None = None,
        *,
        max_rows: int,
        max_step: int,
        max_outputs: int,
        threads: int,
        is_exact: bool = False,
    ) -> LlamaContext:
        """Room for `max_tokens` in `max_rows` rows; a pass has `max_step` tokens, and logits of `max_outputs`.

        `interrupt` ends its passes; None: one of its own. `is_exact`: keys and values are float32, not float16. Raises
        OSError where llama.cpp cannot make it.
        """
        params = self._library.llama_context_default_params()
        params.n_ctx, params.n_seq_max, params.kv_unified = max_tokens, max_rows, True
        params.n_batch = params.n_ubatch = max_step
        params.n_outputs_max = max_outputs
        params.flash_attn_type = _NO_FLASH_ATTENTION
        params.type_k = params.type_v = _FLOAT32 if is_exact else _FLOAT16
        params.n_threads = params.n_threads_batch = threads
        interrupt = interrupt or LlamaInterrupt(self._interface, self._library)
        params.abort_callback, params.abort_callback_data = interrupt.function, interrupt.argument
        pointer = self._library.llama_init_from_model(self._model, params)
        if pointer == self._interface.NULL:
            raise OSError(f"llama.cpp cannot make a context for {max_tokens} tokens in {max_rows} sequences")
        made = LlamaContext(self._interface, self._library, pointer, interrupt, max_step, self.vocabulary_size)
        self._contexts.append(made)
        return made

    def close(self) -> None:
        """Free the model and its contexts, which cannot be used any more."""
        for each in self._contexts:
            each.close()
        self._library.llama_model_free(self._model)

    def _read_vocabulary(self, file: Path) -> Vocabulary:
        """And write it beside the file, for the next start."""
        pointer = self._library.llama_model_get_vocab(self._model)
        tokens = range(self._library.llama_vocab_n_tokens(pointer))
        ends = [token for token in tokens if self._library.llama_vocab_is_eog(pointer, token)]
        name = self._interface.new("char[]", _NAME_BYTES)
        self._library.llama_model_meta_val_str(self._model, b"general.architecture", name, _NAME_BYTES)
        found = Vocabulary(self._text(name), len(tokens), ends)
        vocabulary.write(file, found)
        return found

    def _text(self, pointer: Any) -> str:
        return str(self._interface.string(pointer).decode())


def gguf_file(path: Path) -> Path:
    """`path` itself, or the (first) GGUF file in the folder `path`. Raises OSError where there is none."""
    found = [path] if path.is_file() else sorted(path.glob("*.gguf"))
    if not found:
        raise OSError(f"there is no GGUF file in {path}: run `tandem models pull`")
    return found[0]


def folder_of(path: Path) -> Path:
    """Of a model's other files, its tokenizer's among them."""
    return path.parent if path.is_file() else path
