"""The mentor: the large model at work on one request, stage by stage, until it ends, is capped, or is stopped."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field

from services.engine.api import Engine, GenerationRequest
from services.insight_generator.stages import StageSplitter
from services.observability.spans import Inference, report_discarded
from services.request_log.generation import Attempt, LoggedGeneration, RunningAttempts, finished_before
from services.request_log.log import RequestLog, Resumption, Role, Writer
from services.request_log.transcript import Transcript
from tandem.method.prices import RolePrices
from tandem.method.profile import Profile
from tandem.method.prompts import Task, insight_prompt, llm_alone_prompt
from tandem.method.sampling import Sampling
from tandem.method.tokens import TokenCounts


@dataclass(frozen=True, slots=True)
class InsightTask:
    """Write insight for `question` in stages that end at `caps` (cumulative tokens) at the latest, under `epoch`.

    `alone`: no insight for another model but the answer itself.
    """

    request_id: str
    epoch: int
    question: str
    caps: tuple[int, ...]
    sampling: Sampling = field(default_factory=Sampling)
    prices: RolePrices = field(default_factory=RolePrices)
    alone: bool = False
    task: Task = "answer"


@dataclass(frozen=True, slots=True)
class Resumed:
    """Work began from where the log says that an earlier attempt was."""

    at: Resumption


@dataclass(frozen=True, slots=True)
class StageDone:
    stage: int
    tokens: int


@dataclass(frozen=True, slots=True)
class InsightDone:
    text: str
    tokens: int
    attempt: Attempt


InsightEvent = Resumed | StageDone | InsightDone


class Mentor:
    def __init__(self, engine: Engine, log: RequestLog, profile: Profile) -> None:
        self._engine, self._log, self._profile = engine, log, profile
        self.running = RunningAttempts()

    async def write(self, task: InsightTask) -> AsyncGenerator[InsightEvent, None]:
        """Take the request's insight over, go on from its last finished stage, report each stage, end with InsightDone.

        Raises Fenced, Unavailable (tandem.method.errors) and EngineError. Closing the generator halts the engine.
        """
        writer = await self._begin(task)
        self._tell_lost(task, writer.resumption)
        yield Resumed(writer.resumption)
        before = await self._log.read(task.request_id, Role.INSIGHT) if writer.resumption.tokens else Transcript()
        if before.is_complete or before.tokens >= task.caps[-1]:
            yield InsightDone(before.text, before.tokens, finished_before(before, writer))
            return
        generation = self._start(task, writer, before.ids)
        with self.running.track(task.request_id, task.epoch, generation):
            async with aclosing(generation.stages()) as stages:
                async for stage in stages:
                    yield StageDone(stage, writer.tokens)
        attempt = generation.attempt
        assert attempt is not None
        tokens = attempt.output_tokens + attempt.overrun_tokens
        yield InsightDone(before.text + generation.text, tokens, attempt)

    async def _begin(self, task: InsightTask) -> Writer:
        return await self._log.begin(task.request_id, Role.INSIGHT, task.epoch, keep="stage")

    def _start(self, task: InsightTask, writer: Writer, written: tuple[int, ...]) -> LoggedGeneration:
        prompt_of = llm_alone_prompt if task.alone else insight_prompt
        prompt = prompt_of(self._profile, self._engine.tokenizer, task.question, task.task)
        ids = prompt.ids + written
        room = task.caps[-1] - writer.resumption.tokens
        key = f"{task.request_id}/insight/{task.epoch}"
        labels = self._profile.section_ends if self._profile.handoff == "brief" and not task.alone else ()
        return LoggedGeneration(
            begin=lambda: self._begin(task),
            writer=writer,
            stream=self._engine.generate(GenerationRequest(key, ids, room, task.sampling)),
            abort=lambda: self._engine.abort(key),
            prompt_tokens=len(ids),
            splitter=StageSplitter(task.caps, labels, writer.resumption.stage, writer.resumption.tokens),
            inference=self._inference(task, task.epoch),
        )

    def _inference(self, task: InsightTask, epoch: int) -> Inference:
        return Inference(self._engine.info.name, "llm", task.request_id, epoch, task.prices)

    def _tell_lost(self, task: InsightTask, resumed: Resumption) -> None:
        inference = self._inference(task, resumed.previous_epoch)
        report_discarded(inference, TokenCounts(resumed.untold_input_tokens, discarded=resumed.untold_made_tokens))
