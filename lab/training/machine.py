"""How the models of a pair run while their answers are collected: on this machine, or at the APIs that a profile
names.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from lab.training.errors import StoreError
from lab.training.refusals import OF_ONE_REQUEST
from services.models.engine.api import EngineError, PromptScorer, QueueFull, RunningModel
from services.models.engine.batch import Completion, whole
from services.models.engine.registry import choose, make_engine, running_engine
from services.models.engine.token_writer import writer_of
from services.models.engine.tokenizer import ChatTokenizer
from services.models.engine.writer import Writing
from services.sufficiency_scorer.artefact import TRANSFORMERS
from tandem.method.profile.profile import Profile

_TOKENS_A_QUESTION = 2048
_CHARACTERS_PER_TOKEN = 4  # of English
_MAX_TOKENS = 1 << 14  # of llama.cpp's context, for which it takes memory at once; what does not fit waits
_MOST_WAITS, _MOST_WAIT_SECONDS = 5, 300.0
WIDTHS = {TRANSFORMERS: 48, "llamacpp": 4}
"""Questions at a time that suit the engines that score prompts: llama.cpp's eight streams together write less than
one.
"""
API_WIDTH = 4
"""Of an API, which may be a server of one's own."""


@dataclass(frozen=True, slots=True)
class Machine:
    """How the pair runs: `width` questions at a time; each of the two engines has `threads` processor threads.

    `programs` are checked at once. `engine` is one of WIDTHS.
    """

    threads: int = 1
    width: int = WIDTHS[TRANSFORMERS]
    device: str = "auto"
    programs: int = 2
    engine: str = TRANSFORMERS


def serving_engine(profile: Profile, models: Path, device: str) -> str:
    """The engine of WIDTHS that `auto` chooses for both models here; else transformers, which runs all."""
    chosen = {choose({"path": models / m.name, "device": device}) for m in (profile.llm, profile.slm)}
    return chosen.pop() if len(chosen) == 1 and chosen <= WIDTHS.keys() else TRANSFORMERS


class EstimatedTokens:
    """Of an API, which keeps its tokenizer to itself."""

    sha256 = hashlib.sha256(b"tandem messages 1").hexdigest()  # as files of answers have it

    def encode(self, text: str, *, plain: bool = False) -> Sequence[int]:
        return range(-(-len(text) // _CHARACTERS_PER_TOKEN))


def tokenizer_of(profile: Profile, models: Path) -> ChatTokenizer | EstimatedTokens:
    """The small model's."""
    return EstimatedTokens() if profile.slm.api else ChatTokenizer.load(models / profile.slm.name)


@contextmanager
def engine_of(profile: Profile, role: str, models: Path, machine: Machine) -> Iterator[PromptScorer]:
    """Running, until the block ends. One behind an API is a Writer alone.

    Raises StoreError where an API of others does not answer, also within the block, SetupError where its
    key's place is empty, and OSError where the weights of a model of this machine cannot be read.
    """
    model = profile.models[role]
    arguments = {
        "path": models / model.name,
        "name": model.name,
        "dtype": model.dtype,
        "quantization": model.quantization,
        "device": machine.device,
        "threads": machine.threads,
        "max_batch": machine.width,
        "max_waiting": 1 << 20,
        "kv_cache_tokens": min(machine.width * _TOKENS_A_QUESTION, _MAX_TOKENS),
        "api": model.api,
    }
    if model.api is None:
        with running_engine(machine.engine, arguments) as engine:
            yield engine
        return
    where = f"{model.name} at {model.api.url}"
    try:
        engine = cast("PromptScorer", make_engine(model.api.protocol, arguments))
        engine.start()
    except OSError as error:
        raise StoreError(f"{where}: {error}") from error
    try:
        yield engine
    except EngineError as error:
        raise StoreError(f"{where}: {error}; what was collected is kept, and the same command goes on") from error
    finally:
        engine.stop()


async def written(engine: RunningModel, work: Writing) -> Completion:
    """The whole text, anew as often as an API asks to come again within minutes. Raises EngineError; a refusal names
    the model.
    """
    writer = writer_of(engine)
    try:
        for _ in range(_MOST_WAITS):
            try:
                return await whole(writer.write(work))
            except QueueFull as error:
                if error.retry_after_s is None or error.retry_after_s > _MOST_WAIT_SECONDS:
                    raise
                await asyncio.sleep(error.retry_after_s)
        return await whole(writer.write(work))
    except OF_ONE_REQUEST as error:
        raise type(error)(f"{engine.info.name}: {error}") from error
