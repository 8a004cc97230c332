"""The intern: the small model answering one request from the prompt that was scored."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field

from services.common.errors import FailedPrecondition, Unavailable
from services.common.logged_generation import (
    Attempt,
    LoggedGeneration,
    RunningAttempts,
    UnloggedWriter,
    WholeSplitter,
    finished_before,
)
from services.common.prices import RolePrices
from services.common.profile import Profile
from services.common.prompts import Task, intern_prompt
from services.common.request_log import RequestLog, Resumption, Role, Transcript, Writer
from services.common.telemetry import Inference, tell_lost
from services.engine.api import Engine, Generation, Sampling


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

    async def answer(self, task: AnswerTask) -> AsyncGenerator[AnswerEvent, None]:
        """Take the request's answer over, go on from its last logged token, end with AnswerDone.

        Raises Fenced, Unavailable, FailedPrecondition (the log has no such stage) and EngineError. Closing the
        generator halts the engine.
        """
        insight = await self._insight(task)
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

    async def _insight(self, task: AnswerTask) -> str:
        if task.stage == 0:
            return ""
        text = (await self._log.read(task.request_id, Role.INSIGHT)).text_to_stage(task.stage)
        if text is None:
            raise FailedPrecondition(
                f"the request log has no stage {task.stage} of request {task.request_id!r}", reason="STAGE_LOST"
            )
        return text

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
        prompt = intern_prompt(self._profile, self._engine.tokenizer, task.question, insight, task.task)
        ids = prompt.ids + written
        room = task.max_tokens - len(written)
        key = f"{task.request_id}/answer/{task.epoch}"
        return LoggedGeneration(
            begin=lambda: self._begin(task),
            writer=writer,
            stream=self._engine.generate(Generation(key, ids, room, task.sampling)),
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
