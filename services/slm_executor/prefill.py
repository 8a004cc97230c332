"""Prefill ahead: while the large model goes on, the small one prefills what its answer may begin with."""

from __future__ import annotations

from services.engine.api import Engine, GenerationRequest
from services.engine.batch import generate
from services.generation.late_writes import CountedPasses
from services.generation.role_generator import owner_of
from services.observability.spans import Inference, describe_prefill
from services.observability.tracing import tracer
from services.process.served_profiles import ServedProfiles
from services.request_log.ledger import Pass
from services.request_log.log import RequestLog
from tandem.method.prompts import answer_prompt
from tandem.method.tasks import ModelTask, PassOutcome
from tandem.method.tokens import TokenCounts


class Prefiller:
    def __init__(self, engine: Engine, log: RequestLog, profiles: ServedProfiles) -> None:
        self._engine, self._log, self._profiles = engine, log, profiles
        self._passes = CountedPasses(log.ledger, Pass.PREFILL)
        self._running: dict[str, str] = {}  # request -> its prefill's id in the engine

    async def prefill(self, task: ModelTask) -> PassOutcome:
        """Prefill the answer's prompt when the engine has nothing else to prefill; the answer starts from its cached prefix.

        Counts are in the ledger before they are returned, or owed to it. Raises Unavailable, FailedPrecondition and EngineError.
        """
        profile = await self._profiles.of(task.profile_digest)
        insight = await self._log.streams.insight(task.request_id, task.stage)
        prompt = answer_prompt(
            profile, self._engine.tokenizer, task.question, insight, task.task, task.json_schema, task.history
        )
        self.abort(task.request_id)  # an earlier stage's, whose cached prefix this one continues
        counts = await self._run(task, prompt.ids)
        return PassOutcome(counts, await self._passes.count(task.request_id, counts, str(task.stage)))

    def abort(self, request_id: str) -> bool:
        """Abort the request's prefill; what it computed stays cached. False: none runs."""
        key = self._running.get(request_id)
        return key is not None and self._engine.abort(key)

    async def _run(self, task: ModelTask, prompt_ids: tuple[int, ...]) -> TokenCounts:
        key = self._running[task.request_id] = f"{task.request_id}/prefill/{task.stage}"
        inference = Inference(self._engine.info.name, "slm", task.request_id, 1, task.prices)
        with tracer.start_as_current_span(f"prefill {inference.model}") as span:
            try:
                ahead = GenerationRequest(key, prompt_ids, 0, owner=owner_of(task), is_kept=task.task == "chat")
                counts = (await generate(self._engine, ahead)).usage
            finally:
                if self._running.get(task.request_id) == key:
                    del self._running[task.request_id]
            describe_prefill(span, inference, task.stage, counts)
        return counts
