"""llama.cpp's C functions, from the shared library in the wheel of xllamacpp.

The wheel's own classes wrap llama.cpp's server, which hides what an Engine promises: token ids, what an aborted request
has computed, and the logits of a prompt. Its library exports the functions of llama.h as well, and cffi calls them
without a compiler. The declarations below are those of llama.h at BUILD, with enums as integers. A struct that grows in
another build would be read wrongly, so no other build is opened, and the defaults are compared with the ones of BUILD.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

BUILD = "2026.10.11549"
"""Of xllamacpp; the last number is llama.cpp's."""

_DECLARATIONS = """
typedef struct { int32_t n_tokens; int32_t * token; float * embd; int32_t * pos; int32_t * n_seq_id; int32_t ** seq_id;
    int8_t * logits; } llama_batch;
typedef struct { void * devices; void * tensor_buft_overrides; int32_t n_gpu_layers, split_mode, load_mode, lazy_mode, main_gpu;
    float * tensor_split; void * progress_callback; void * progress_callback_user_data; void * kv_overrides;
    bool vocab_only, check_tensors, use_extra_bufts, no_host, no_alloc, load_mtp; } llama_model_params;
typedef struct { uint32_t n_ctx, n_batch, n_ubatch, n_seq_max, n_rs_seq, n_outputs_max, n_outputs_max_per_seq;
    int32_t n_threads, n_threads_batch, ctx_type, rope_scaling_type, pooling_type, attention_type, flash_attn_type;
    float rope_freq_base, rope_freq_scale, yarn_ext_factor, yarn_attn_factor, yarn_beta_fast, yarn_beta_slow;
    uint32_t yarn_orig_ctx; float defrag_thold; void * cb_eval; void * cb_eval_user_data; int32_t type_k, type_v;
    size_t moe_cache_size; void * abort_callback; void * abort_callback_data;
    bool embeddings, offload_kqv, no_perf, op_offload, swa_full, kv_unified;
    void * samplers; size_t n_samplers; void * ctx_other; } llama_context_params;
void llama_backend_init(void);
void llama_log_set(void (*log)(int level, const char * text, void * data), void * data);
bool llama_supports_gpu_offload(void);
llama_model_params llama_model_default_params(void);
llama_context_params llama_context_default_params(void);
void * llama_model_load_from_file(const char * path, llama_model_params params);
void llama_model_free(void * model);
int32_t llama_model_meta_val_str(void * model, const char * key, char * value, size_t size);
int32_t llama_model_n_ctx_train(void * model);
uint64_t llama_model_n_params(void * model);
int32_t llama_model_ftype(void * model);
const char * llama_ftype_name(int32_t ftype);
void * llama_model_get_vocab(void * model);
int32_t llama_vocab_n_tokens(void * vocab);
bool llama_vocab_is_eog(void * vocab, int32_t token);
void * llama_init_from_model(void * model, llama_context_params params);
void llama_free(void * context);
void * llama_get_memory(void * context);
bool llama_memory_seq_rm(void * memory, int32_t sequence, int32_t first, int32_t end);
void llama_memory_seq_cp(void * memory, int32_t source, int32_t target, int32_t first, int32_t end);
bool ggml_is_empty(const void * tensor);
int32_t llama_decode(void * context, llama_batch batch);
float * llama_get_logits(void * context);
size_t llama_state_seq_get_size(void * context, int32_t sequence);
size_t llama_state_seq_get_data(void * context, uint8_t * target, size_t size, int32_t sequence);
size_t llama_state_seq_set_data(void * context, uint8_t * source, size_t size, int32_t sequence);
"""  # noqa: E501
_MODEL_DEFAULTS = {"n_gpu_layers": -1, "split_mode": 1, "load_mode": -1, "lazy_mode": 1, "use_extra_bufts": True}
_CONTEXT_DEFAULTS = {
    "n_ctx": 512, "n_batch": 2048, "n_ubatch": 512, "n_seq_max": 1, "rope_scaling_type": -1, "flash_attn_type": -1,
    "yarn_ext_factor": -1.0, "defrag_thold": -1.0, "type_k": 1, "type_v": 1, "offload_kqv": True, "no_perf": True,
    "op_offload": True, "swa_full": True, "kv_unified": False,
}  # fmt: skip
_LEVELS = {3: logging.INFO, 4: logging.ERROR}
"""llama.cpp's warnings and errors; the former are about the file, at each start."""

logger = logging.getLogger(__name__)
_thread = threading.local()


def is_installed() -> bool:
    try:
        open_library()
    except OSError:
        return False
    return True


@cache
def open_library() -> tuple[Any, Any]:
    """cffi's interface for the declarations, and the library.

    Raises OSError, with what to do, where this machine has no library of the right build.
    """
    try:
        found = version("xllamacpp")
    except PackageNotFoundError as error:
        raise OSError("llama.cpp is not installed: install tandem-insights[llamacpp]") from error
    if found != BUILD:
        raise OSError(
            f"xllamacpp {found} is installed, but this engine needs {BUILD}: install tandem-insights[llamacpp]"
        )
    try:
        import xllamacpp.xllamacpp
        from cffi import FFI
    except ImportError as error:
        raise OSError(f"llama.cpp cannot be loaded ({error}): it needs the OpenMP library libgomp1") from error
    interface = FFI()
    interface.cdef(_DECLARATIONS)
    library = interface.dlopen(xllamacpp.xllamacpp.__file__)
    _check(library.llama_model_default_params(), _MODEL_DEFAULTS)
    _check(library.llama_context_default_params(), _CONTEXT_DEFAULTS)
    library.llama_log_set(_log_function(interface), interface.NULL)
    library.llama_backend_init()
    return interface, library


@contextmanager
def in_pass() -> Iterator[None]:
    """llama.cpp's messages are for debugging: a pass that fails says so by its code, and one that was interrupted has
    not failed.
    """
    _thread.is_in_pass = True
    try:
        yield
    finally:
        _thread.is_in_pass = False


def _check(params: Any, defaults: Mapping[str, float]) -> None:
    found = {name: getattr(params, name) for name in defaults}
    if found != defaults:
        raise OSError(f"this build of llama.cpp has other parameters than {BUILD}: {found}")


@cache
def _log_function(interface: Any) -> Any:
    """Kept for as long as the process runs: the library has a pointer to it."""

    def log(level: int, text: Any, _data: Any) -> None:
        if level in _LEVELS:
            shown = logging.DEBUG if getattr(_thread, "is_in_pass", False) else _LEVELS[level]
            logger.log(shown, interface.string(text).decode(errors="replace").rstrip())

    return interface.callback("void(int, const char *, void *)", log)
