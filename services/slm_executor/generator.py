"""The answer of one request: the small model writes it after the prompt that was scored, and prefills ahead what that
may be.
"""

from __future__ import annotations

from dataclasses import replace

from services.models.engine.api import CacheUse, RunningModel
from services.models.engine.batch import whole
from services.models.engine.schema_findings import can_continue
from services.models.engine.token_writer import writer_of
from services.models.engine.writer import Writing
from services.models.generation.attempt_log import AttemptLog, UnloggedAttempt, WholeSplitter
from services.models.generation.journal import Journal
from services.models.generation.late_writes import CountedPasses
from services.models.generation.role_generator import RoleGenerator, RoleWork, cache_use, writing_of
from services.models.model_process import ModelGenerator
from services.shared.observability.spans import Inference, describe_prefill
from services.shared.observability.tracing import tracer
from services.shared.process.served_profiles import Reread, ServedProfiles
from services.shared.request_log.connection import Role
from services.shared.request_log.ledger import Pass
from services.shared.request_log.log import RequestLog
from tandem.method.profile.profile import Profile
from tandem.method.request.job import Step
from tandem.method.request.prompts import Conversation, answer_prompt, repair_prompt
from tandem.method.request.request import SolveRequest
from tandem.method.roles import SLM
from tandem.method.tokens import TokenCounts


class AnswerGenerator(ModelGenerator):
    """A new attempt goes on after the last logged token of an earlier one."""

    def __init__(
        self,
        engine: RunningModel,
        log: RequestLog,
        *profiles: Profile,
        reread: Reread | None = None,
        journal: Journal | None = None,
        role: str = SLM,
    ) -> None:
        served = ServedProfiles(*profiles, reread=reread)
        generator = RoleGenerator(engine, log, Role.ANSWER, keep="token", journal=journal, model_role=role)
        super().__init__(engine, served, generator)
        self._log, self._writer, self.prefiller = log, writer_of(engine), Prefiller(engine, log, served)

    async def _begin(
        self, profile: Profile, request: SolveRequest, step: Step
    ) -> tuple[AttemptLog | UnloggedAttempt, RoleWork]:
        self.prefiller.abort(step.request_id)
        insight = await self._log.streams.insight(step.request_id, step.stage)
        # Without insight the answer needs nothing from the log: if the log is unavailable, only streaming is lost.
        own = await self._generator.begin(step, may_run_unlogged=step.stage == 0)
        return own, await self._work(profile, request, step, insight)

    async def _work(self, profile: Profile, request: SolveRequest, step: Step, insight: str) -> RoleWork:
        asked = (
            repair_prompt(profile, request, step.repair) if step.repair else answer_prompt(profile, request, insight)
        )
        schema = request.json_schema
        writing = replace(
            writing_of(request, step, asked), json_schema=schema, stop_strings=tuple(request.stop_strings)
        )
        if step.repair or request.tools.may_call:
            return RoleWork(replace(writing, may_call=request.tools.may_call and not step.repair), WholeSplitter())
        continued = insight if profile.handoff == "continuation" else ""
        is_begun = bool(schema) and await can_continue(self._writer, schema, continued)
        writing = replace(writing, is_continued=is_begun)
        return RoleWork(writing, WholeSplitter(), continued if is_begun or not schema else "")


class Prefiller:
    """While the large model goes on, the small one prefills what its answer may begin with."""

    def __init__(self, engine: RunningModel, log: RequestLog, profiles: ServedProfiles) -> None:
        self._engine, self._log, self._profiles = engine, log, profiles
        self._writer = writer_of(engine)
        self._passes = CountedPasses(log.ledger, Pass.PREFILL)
        self._running: dict[str, str] = {}  # request -> its prefill's id in the model

    async def prefill(self, request: SolveRequest, step: Step) -> tuple[TokenCounts, TokenCounts]:
        """Prefill the answer's prompt when the engine has nothing else to prefill; the answer starts from its cached
        prefix.

        Returns its counts and those of all the request's prefills: they are in the ledger before, or owed to it. Raises
        Unavailable, FailedPrecondition and EngineError.
        """
        profile = await self._profiles.of(step.profile_digest)
        insight = await self._log.streams.insight(step.request_id, step.stage)
        self.abort(step.request_id)  # an earlier stage's, whose cached prefix this one continues
        counts = await self._run(step, answer_prompt(profile, request, insight), cache_use(request))
        return counts, await self._passes.count(step.request_id, counts, str(step.stage))

    def abort(self, request_id: str) -> bool:
        """Abort the request's prefill; what it computed stays cached. False: none runs."""
        key = self._running.get(request_id)
        return key is not None and self._writer.abort(key)

    def abort_stage(self, request_id: str, stage: int) -> bool:
        """Abort this stage's prefill, also where the model has it only now, and another's is the request's by then."""
        return self._writer.abort(_key(request_id, stage))

    async def _run(self, step: Step, asked: Conversation, cache: CacheUse) -> TokenCounts:
        key = self._running[step.request_id] = _key(step.request_id, step.stage)
        inference = Inference(self._engine.info.name, SLM, step.request_id, 1, step.prices)
        with tracer.start_as_current_span(f"prefill {inference.model}") as span:
            try:
                ahead = Writing(key, asked, max_tokens=0, cache=cache)
                counts = (await whole(self._writer.write(ahead))).usage
            finally:
                if self._running.get(step.request_id) == key:
                    del self._running[step.request_id]
            describe_prefill(span, inference, step.stage, counts)
        return counts


def _key(request_id: str, stage: int) -> str:
    """Of a prefill, in the model."""
    return f"{request_id}/prefill/{stage}"
