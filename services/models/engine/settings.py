"""How an engine runs one model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import TypeAdapter

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


S = TypeVar("S", bound="DataclassInstance")


def from_arguments(kind: type[S], arguments: Mapping[str, Any]) -> S:
    """An engine's settings, a dataclass, from the registry's arguments, of which other engines take others.
    `engine_args` are more of its fields, and override. Raises ValueError for one that is none, or of another type.
    """
    known, more = {field.name for field in fields(kind)}, arguments.get("engine_args", {})
    if unknown := sorted(more.keys() - known):
        raise ValueError(f"no engine_args: {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    return TypeAdapter(kind).validate_python({name: arguments[name] for name in known & arguments.keys()} | dict(more))


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Of an engine whose passes are computed here. `path` is a folder in Hugging Face layout.

    `max_batch` sequences run at once and `max_waiting` wait; a step prefills at most `prefill_chunk` tokens.
    `quantization` is "none", or "auto" or "int8" for int8 on a CPU that has it. The four caches hold keys and values of
    scored prompts, of prompts that were prefilled ahead, of conversations that may go on, and of tools, with which
    other conversations begin. With `saved_prefixes`, a folder, tools are kept in files there instead, at most
    `saved_bytes`, and a later process finds them (llama.cpp). An engine that does not `generates` only scores, and
    makes nothing ready for the rest.

    llama.cpp runs `path`, or the file in it, as it is quantized; `dtype` and `quantization` do not apply. Its
    sequences have at most `kv_cache_tokens` tokens together, for which it takes memory as they come. With `repack` it
    copies weights into a faster layout, and an answer may depend on the other sequences of its batch.
    """

    path: Path
    name: str
    revision: str = ""
    dtype: str = "bfloat16"
    device: str = "auto"
    threads: int = 2
    max_batch: int = 16
    max_waiting: int = 64
    prefill_chunk: int = 256
    score_cache_bytes: int = 1 << 30
    prefix_cache_bytes: int = 1 << 28
    conversation_cache_bytes: int = 1 << 28
    beginnings_bytes: int = 1 << 28
    saved_prefixes: Path | None = None
    saved_bytes: int = 1 << 30
    quantization: str = "none"
    generates: bool = True
    kv_cache_tokens: int = 1 << 15
    repack: bool = False
