"""vLLM as a back end, for GPU pools: its scheduler batches, its prefix cache holds what was prefilled ahead.

An optional extra (`tandem-insights[vllm]`), because it needs a torch version of its own. It has no scoring pass: vLLM
returns log-probabilities of a prompt, but not the entropy over the whole vocabulary, so the scorer stays on
transformers.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from math import prod
from pathlib import Path
from typing import Any

from safetensors import safe_open

from services.models.engine.api import (
    EngineError,
    EngineStopped,
    Finished,
    FinishReason,
    GenerationRequest,
    ModelInfo,
    PromptTooLong,
    SchemaNotSupported,
    Token,
)
from services.models.engine.call_format import Grammar
from services.models.engine.remote.admission_queue import AdmissionQueue, QueuedModel, unless_aborted
from services.models.engine.text import Detokenizer
from services.models.engine.tokenizer import ChatTokenizer
from tandem.method.tokens import TokenCounts

_CLOSE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class VllmSettings:
    """`path` is a folder in Hugging Face layout, `arguments` more fields of vllm.AsyncEngineArgs, which override
    ours.
    """

    path: Path
    name: str
    revision: str = ""
    dtype: str = "bfloat16"
    max_batch: int = 16
    max_waiting: int = 64
    arguments: dict[str, Any] = field(default_factory=dict)


class VllmEngine(QueuedModel):
    """`Engine`; it scores no prompt.

    vLLM ends an aborted stream before its scheduler has ended the steps under way, and does not report what they
    compute: the usage of an aborted stream is marked as an estimate. After the first token the prompt is exact, and at
    most two tokens are
    missing: vLLM has two steps under way at most. Before it, the whole prompt is reported, of which the scheduler has
    computed what its chunks reached (tests/integration/test_vllm_engine.py counts at the scheduler).
    """

    continues_json = False

    def __init__(self, settings: VllmSettings) -> None:
        super().__init__(AdmissionQueue(settings.max_batch, settings.max_waiting, "vLLM"))
        self._settings = settings
        self._llm: Any = None

    @property
    def info(self) -> ModelInfo:
        config = self._llm.model_config
        return ModelInfo(
            name=self._settings.name,
            revision=self._settings.revision,
            dtype=str(config.dtype).removeprefix("torch."),
            device=str(self._llm.vllm_config.device_config.device_type),
            parameters=_num_parameters(self._settings.path),
            context_length=config.max_model_len,
            engine="vllm",
            engine_version=version(_distribution()),
        )

    @property
    def tokenizer(self) -> ChatTokenizer:
        return self._tokenizer

    @property
    def is_alive(self) -> bool:
        return super().is_alive and not self._llm.errored

    def start(self) -> None:
        """Load and warm up, in a process of vLLM's own. Raises OSError where the folder holds no model."""
        settings = self._settings
        if not (settings.path / "config.json").is_file():
            raise OSError(f"there is no model in {settings.path}: run `tandem models pull`")
        # A fork of a process in which gRPC runs threads may hang. vLLM spawns by itself only where CUDA is initialized.
        os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")
        from vllm import AsyncEngineArgs
        from vllm.config import StructuredOutputsConfig
        from vllm.v1.engine.async_llm import AsyncLLM

        arguments: dict[str, Any] = {
            "model": str(settings.path),
            "dtype": settings.dtype,
            "max_num_seqs": settings.max_batch,
            "enable_prefix_caching": True,
            "disable_log_stats": False,  # its own metrics, of the KV cache and preemptions, are read with ours
            # vLLM's own choice, xgrammar 0.2, lets control characters into strings of a `maxLength`: no JSON.
            "structured_outputs_config": StructuredOutputsConfig(backend="guidance"),
            **settings.arguments,
        }
        self._tokenizer = ChatTokenizer.load(settings.path)
        self._llm = AsyncLLM.from_engine_args(AsyncEngineArgs(**arguments))
        self._queue.is_open = True

    def stop(self) -> None:
        if self._llm is not None:
            self._queue.close(_CLOSE_SECONDS, self._shut_down)

    async def _shut_down(self) -> None:
        """After the streams have ended: an abort needs vLLM's process."""
        await asyncio.to_thread(self._llm.shutdown)

    def generate(self, generation: GenerationRequest) -> AsyncGenerator[Token | Finished, None]:
        if isinstance(generation.held_to, Grammar):
            raise SchemaNotSupported("vLLM within this process calls no tools yet: name its server as an endpoint")
        total = len(generation.prompt_ids) + generation.max_new_tokens
        context_length = self._llm.model_config.max_model_len
        if total > context_length:
            raise PromptTooLong(f"prompt and answer of {total} tokens exceed the context length of {context_length}")
        is_begun = generation.num_written > 0
        return self._queue.run(
            generation.request_id,
            partial(self._stream, generation),
            generation.stops,
            generation.held_to,
            is_begun=is_begun,
        )

    async def _stream(
        self, generation: GenerationRequest, aborted: asyncio.Event
    ) -> AsyncGenerator[Token | Finished, None]:
        prompt, is_prefill_only = generation.prompt_ids, not generation.max_new_tokens
        detokenizer = Detokenizer(self._tokenizer, prompt, is_resumed=generation.num_written > 0)
        with _translated():
            sampling = _sampling(generation)
        outputs = self._llm.generate(tokens_prompt(generation), sampling, generation.request_id)
        completion = cached = 0
        reason = None
        while reason is None:
            step = asyncio.ensure_future(_next(outputs))
            if not await unless_aborted(step, aborted) or (output := step.result()) is None:
                reason = FinishReason.ABORTED
                break
            cached = output.num_cached_tokens or 0
            [new] = output.outputs
            reason = _REASONS[new.finish_reason]
            # vLLM generates a token even where the prompt is all that is wanted.
            ids = [] if is_prefill_only else list(new.token_ids)
            for index, token in enumerate(ids):
                completion += 1
                is_stop_token = reason is FinishReason.EOS and index == len(ids) - 1
                text = "" if is_stop_token else detokenizer.push(token)
                yield Token(token, text, time.time(), len(prompt) - cached if completion == 1 else None)
        is_cut = reason is FinishReason.ABORTED
        usage = TokenCounts(len(prompt) - cached, cached, completion, is_estimated=is_cut)
        yield self._counted(Finished(reason, usage, detokenizer.flush(), time.time()))


async def _next(outputs: AsyncGenerator[Any, None]) -> Any:
    """None after the last. Raises as `_translated`."""
    with _translated():
        return await anext(outputs, None)


@contextmanager
def _translated() -> Iterator[None]:
    """Raises EngineStopped where vLLM's process has died, EngineError where it refuses the request."""
    from vllm.exceptions import VLLMError
    from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

    try:
        yield
    except EngineDeadError as error:
        raise EngineStopped(f"vLLM has died: {error}") from error
    except (EngineGenerateError, VLLMError, ValueError) as error:
        raise EngineError(f"vLLM refuses the request: {error}") from error


_REASONS = {
    None: None,
    "stop": FinishReason.EOS,
    "length": FinishReason.LENGTH,
    "abort": FinishReason.ABORTED,
}


def tokens_prompt(generation: GenerationRequest) -> dict[str, Any]:
    """A vllm.inputs.engine.TokensInput: without its type it would be a raw prompt, which vLLM is about to refuse.

    The cache shares a prefix among prompts of one salt: the owner, and none where that is empty.
    """
    prompt: dict[str, Any] = {"type": "token", "prompt_token_ids": list(generation.prompt_ids)}
    owner = generation.cache.owner
    return prompt | {"cache_salt": owner} if owner else prompt


def _sampling(generation: GenerationRequest) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

    sampling, schema = generation.sampling, generation.held_to
    return SamplingParams(
        max_tokens=max(1, generation.max_new_tokens),
        temperature=sampling.temperature or 0.0,
        top_p=sampling.top_p if sampling.temperature and sampling.top_p is not None else 1.0,
        seed=(sampling.seed or 0) if sampling.temperature else None,
        structured_outputs=StructuredOutputsParams(json=schema) if schema else None,
        detokenize=False,
        output_kind=RequestOutputKind.DELTA,
    )


def _num_parameters(folder: Path) -> int:
    """From the headers of the weight files."""
    total = 0
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "numpy") as tensors:
            total += sum(prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())  # noqa: SIM118
    return total


def _distribution() -> str:
    """Of vLLM or of its build for CPUs."""
    from importlib.metadata import packages_distributions

    return packages_distributions()["vllm"][0]


def make(arguments: dict[str, Any]) -> VllmEngine:
    """From the arguments of services.models.engine.registry."""
    known = ("path", "name", "dtype", "max_batch", "max_waiting")
    return VllmEngine(VllmSettings(**{name: arguments[name] for name in known}, arguments=arguments["engine_args"]))
