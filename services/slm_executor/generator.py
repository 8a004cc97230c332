"""The answer of one request: the small model writes it after the prompt that was scored."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from services.engine.api import Engine
from services.engine.schema_findings import num_continued
from services.generation.attempt_log import WholeSplitter
from services.generation.role_generator import GenerationEvent, RoleGenerator, RoleWork
from services.process.served_profiles import Reread, ServedProfiles
from services.request_log.connection import Role
from services.request_log.log import RequestLog
from services.slm_executor.prefill import Prefiller
from tandem.method.profile import Profile
from tandem.method.prompts import answer_prompt, repair_prompt
from tandem.method.tasks import ModelTask


class AnswerGenerator:
    def __init__(self, engine: Engine, log: RequestLog, *profiles: Profile, reread: Reread | None = None) -> None:
        self._engine, self._log, self._profiles = engine, log, ServedProfiles(*profiles, reread=reread)
        self._generator = RoleGenerator(engine, log, Role.ANSWER, keep="token")
        self.prefiller = Prefiller(engine, log, self._profiles)
        self.running = self._generator.running

    async def generate(self, task: ModelTask) -> AsyncGenerator[GenerationEvent, None]:
        """Take the request's answer over, resume after its last logged token, end with the outcome.

        Raises FailedPrecondition (the log has no such stage, or another profile), Fenced, Unavailable and EngineError.
        Closing the generator aborts the engine.
        """
        profile = await self._profiles.of(task.profile_digest)
        self.prefiller.abort(task.request_id)
        insight = await self._log.streams.insight(task.request_id, task.stage)
        # Without insight the answer needs nothing from the log: if the log is unavailable, only streaming is lost.
        own = await self._generator.begin(task, may_run_unlogged=task.stage == 0)
        work = await self._work(profile, task, insight)
        async with aclosing(self._generator.run(task, own, work)) as events:
            async for event in events:
                yield event

    async def _work(self, profile: Profile, task: ModelTask, insight: str) -> RoleWork:
        tokenizer, schema = self._engine.tokenizer, task.json_schema
        if task.repair is not None:
            prompt = repair_prompt(profile, tokenizer, task.question, task.repair, task.task, schema, task.history)
            return RoleWork(prompt.ids, WholeSplitter(), json_schema=schema, stop_strings=task.stop_strings)
        prompt = answer_prompt(profile, tokenizer, task.question, insight, task.task, schema, task.history)
        continued = insight if profile.handoff == "continuation" else ""
        begun = await num_continued(self._engine, schema, continued) if schema else 0
        return RoleWork(
            prompt.ids, WholeSplitter(), continued if begun or not schema else "", schema, begun, task.stop_strings
        )
