"""The intern: the small model answering one request from the prompt that was scored."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass, field

from services.engine.api import Engine, GenerationRequest
from services.engine.batch import generate
from services.observability.tracing import Inference, describe_reading_ahead, tell_lost, tracer
from services.request_log.generation import (
    Attempt,
    LoggedGeneration,
    RunningAttempts,
    UnloggedWriter,
    WholeSplitter,
    finished_before,
)
from services.request_log.log import Reading, RequestLog, Resumption, Role, Writer
from services.request_log.transcript import Transcript
from tandem.method.errors import Unavailable
from tandem.method.prices import RolePrices
from tandem.method.profile import Profile
from tandem.method.prompts import Task, answer_prompt
from tandem.method.sampling import Sampling


@dataclass(frozen=True, slots=True)
class AnswerTask:
    """Answer `question` with the insight up to `stage` (0: none) in at most `max_tokens` tokens, under `epoch`."""

    request_id: str
    epoch: int
    question: str
    stage: int
    max_tokens: int
    sampling: Sampling = field(default_factory=Sampling)
    prices: RolePrices = field(default_factory=RolePrices)
    task: Task = "answer"


@dataclass(frozen=True, slots=True)
class AheadTask:
    """Read what an answer to `question` with the insight up to `stage` would begin with."""

    request_id: str
    question: str
    stage: int
    prices: RolePrices = field(default_factory=RolePrices)
    task: Task = "answer"


@dataclass(frozen=True, slots=True)
class Ahead:
    """Tokens computed, and found computed: of one pass, and of all the request's where the log could count them."""

    computed: int = 0
    cached: int = 0
    request_computed: int = 0
    request_cached: int = 0


@dataclass(frozen=True, slots=True)
class AnswerStarted:
    """Work began from where the log says that an earlier attempt was. Not `is_logged`: the log does not answer."""

    at: Resumption
    is_logged: bool


@dataclass(frozen=True, slots=True)
class AnswerDone:
    """`continued` is the insight that the text goes on from, in continuation mode."""

    text: str
    tokens: int
    attempt: Attempt
    continued: str = ""


AnswerEvent = AnswerStarted | AnswerDone


class Intern:
    def __init__(self, engine: Engine, log: RequestLog, profile: Profile) -> None:
        self._engine, self._log, self._profile = engine, log, profile
        self.running = RunningAttempts()
        self._ahead: dict[str, str] = {}  # request -> what is read ahead for it, as the engine knows it

    async def answer(self, task: AnswerTask) -> AsyncGenerator[AnswerEvent, None]:
        """Take the request's answer over, go on from its last logged token, end with AnswerDone.

        Raises Fenced, Unavailable, FailedPrecondition (the log has no such stage) and EngineError. Closing the
        generator halts the engine.
        """
        self.stop_ahead(task.request_id)
        insight = await self._log.insight(task.request_id, task.stage)
        continued = insight if self._profile.handoff == "continuation" else ""
        writer = await self._begin(task)
        self._tell_lost(task, writer.resumption)
        yield AnswerStarted(writer.resumption, isinstance(writer, Writer))
        before = await self._log.read(task.request_id, Role.ANSWER) if writer.resumption.tokens else Transcript()
        if before.is_complete or before.tokens >= task.max_tokens:
            yield AnswerDone(before.text, before.tokens, finished_before(before, writer), continued)
            return
        generation = self._start(task, writer, insight, before.ids)
        with self.running.track(task.request_id, task.epoch, generation):
            async with aclosing(generation.stages()) as stages:
                async for _ in stages:
                    pass
        assert generation.attempt is not None
        made = generation.attempt.output_tokens
        yield AnswerDone(before.text + generation.text, made, generation.attempt, continued)

    async def read_ahead(self, task: AheadTask) -> Ahead:
        """Read the prompt while the engine has nothing else to read; the answer then goes on from there.

        What was read is counted before anyone hears of it. Raises Unavailable, FailedPrecondition and EngineError.
        """
        insight = await self._log.insight(task.request_id, task.stage)
        prompt = answer_prompt(self._profile, self._engine.tokenizer, task.question, insight, task.task)
        self.stop_ahead(task.request_id)  # an earlier stage's, which this one goes on from
        key = self._ahead[task.request_id] = f"{task.request_id}/ahead/{task.stage}"
        inference = Inference(self._engine.info.name, "slm", task.request_id, 1, task.prices)
        with tracer.start_as_current_span(f"read_ahead {inference.model}") as span:
            try:
                usage = (await generate(self._engine, GenerationRequest(key, prompt.ids, 0))).usage
            finally:
                if self._ahead.get(task.request_id) == key:
                    del self._ahead[task.request_id]
            describe_reading_ahead(span, inference, task.stage, usage.prompt, usage.cached)
        read = usage.prompt, usage.cached
        with suppress(Unavailable):
            return Ahead(*read, *await self._log.count_read(task.request_id, Reading.AHEAD, *read))
        return Ahead(*read)

    def stop_ahead(self, request_id: str) -> bool:
        """Halt what is read ahead for the request; what has been read is kept. False: nothing is."""
        key = self._ahead.get(request_id)
        return key is not None and self._engine.abort(key)

    async def _begin(self, task: AnswerTask) -> Writer | UnloggedWriter:
        """Without insight the answer needs nothing from the log, so a dead one costs the stream, not the answer."""
        try:
            return await self._log.begin(task.request_id, Role.ANSWER, task.epoch, keep="token")
        except Unavailable:
            if task.stage:
                raise
            return UnloggedWriter()

    def _start(
        self, task: AnswerTask, writer: Writer | UnloggedWriter, insight: str, written: tuple[int, ...]
    ) -> LoggedGeneration:
        prompt = answer_prompt(self._profile, self._engine.tokenizer, task.question, insight, task.task)
        ids = prompt.ids + written
        room = task.max_tokens - len(written)
        key = f"{task.request_id}/answer/{task.epoch}"
        return LoggedGeneration(
            begin=lambda: self._begin(task),
            writer=writer,
            stream=self._engine.generate(GenerationRequest(key, ids, room, task.sampling)),
            abort=lambda: self._engine.abort(key),
            prompt_tokens=len(ids),
            splitter=WholeSplitter(),
            inference=self._inference(task, task.epoch),
        )

    def _inference(self, task: AnswerTask, epoch: int) -> Inference:
        return Inference(self._engine.info.name, "slm", task.request_id, epoch, task.prices)

    def _tell_lost(self, task: AnswerTask, resumed: Resumption) -> None:
        inference = self._inference(task, resumed.previous_epoch)
        tell_lost(inference, resumed.untold_input_tokens, resumed.untold_made_tokens)
