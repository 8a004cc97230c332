"""The insight of one request: the large model writes stage by stage until it ends, reaches its cap, or is stopped."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from services.engine.api import Engine
from services.generation.role_generator import GenerationEvent, RoleGenerator, RoleWork
from services.insight_generator.stages import StageSplitter
from services.process.served_profiles import Reread, ServedProfiles
from services.request_log.connection import Role
from services.request_log.log import RequestLog
from services.request_log.streams import Resumption
from tandem.method.profile import Profile
from tandem.method.prompts import insight_prompt, llm_alone_prompt
from tandem.method.tasks import ModelTask


class InsightGenerator:
    def __init__(self, engine: Engine, log: RequestLog, *profiles: Profile, reread: Reread | None = None) -> None:
        self._engine, self._profiles = engine, ServedProfiles(*profiles, reread=reread)
        self._generator = RoleGenerator(engine, log, Role.INSIGHT, keep="stage")
        self.running = self._generator.running

    async def generate(self, task: ModelTask) -> AsyncGenerator[GenerationEvent, None]:
        """Take the request's insight over, resume after its last finished stage, report each stage, end with the outcome.

        Raises FailedPrecondition (another profile), Fenced, Unavailable and EngineError. Closing the generator aborts the
        engine.
        """
        profile = await self._profiles.of(task.profile_digest)
        own = await self._generator.begin(task)
        async with aclosing(self._generator.run(task, own, self._work(profile, task, own.resumption))) as events:
            async for event in events:
                yield event

    def _work(self, profile: Profile, task: ModelTask, resumed: Resumption) -> RoleWork:
        prompt_of = llm_alone_prompt if task.llm_alone else insight_prompt
        prompt = prompt_of(profile, self._engine.tokenizer, task.question, task.task, task.json_schema, task.history)
        is_brief = profile.handoff == "brief" and not task.llm_alone
        labels = profile.section_ends if is_brief else ()
        splitter = StageSplitter(task.max_tokens, labels, resumed.stage, resumed.tokens)
        if is_brief:  # it is about the answer, in words; any other insight is the beginning of an answer
            return RoleWork(prompt.ids, splitter)
        return RoleWork(prompt.ids, splitter, json_schema=task.json_schema, stop_strings=task.stop_strings)
