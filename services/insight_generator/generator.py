"""The insight of one request: the large model writes stage by stage until it ends, reaches its cap, or is stopped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from services.models.engine.api import RunningModel, Token
from services.models.generation.attempt_log import AttemptLog, Delta, UnloggedAttempt
from services.models.generation.journal import Journal
from services.models.generation.role_generator import RoleGenerator, RoleWork, writing_of
from services.models.model_process import ModelGenerator
from services.shared.process.served_profiles import Reread, ServedProfiles
from services.shared.request_log.connection import Role
from services.shared.request_log.log import RequestLog
from services.shared.request_log.streams import Resumption
from tandem.method.profile.profile import Profile
from tandem.method.request.job import Step
from tandem.method.request.prompts import insight_prompt, llm_alone_prompt
from tandem.method.request.request import SolveRequest


class InsightGenerator(ModelGenerator):
    """A new attempt keeps the finished stages of an earlier one."""

    def __init__(
        self,
        engine: RunningModel,
        log: RequestLog,
        *profiles: Profile,
        reread: Reread | None = None,
        journal: Journal | None = None,
    ) -> None:
        generator = RoleGenerator(engine, log, Role.INSIGHT, keep="stage", journal=journal)
        self._log = log
        super().__init__(engine, ServedProfiles(*profiles, reread=reread), generator)

    async def _begin(
        self, profile: Profile, request: SolveRequest, step: Step
    ) -> tuple[AttemptLog | UnloggedAttempt, RoleWork]:
        own, passed = await self._generator.begin(step), request.native
        native = json.loads(await self._log.bodies.read(step.request_id, passed.digest)) if passed else None
        work = self._work(profile, request, step, own.resumption)
        return own, replace(work, writing=replace(work.writing, native=native))

    def _work(self, profile: Profile, request: SolveRequest, step: Step, resumed: Resumption) -> RoleWork:
        writing = writing_of(request, step, (llm_alone_prompt if step.is_alone else insight_prompt)(profile, request))
        is_brief = profile.handoff == "brief" and not step.is_alone
        labels = profile.section_ends if is_brief else ()
        splitter = StageSplitter(step.max_tokens, labels, resumed.stage, resumed.tokens)
        if not is_brief:  # which is about the answer, in words; any other insight is the beginning of an answer
            writing = replace(
                writing,
                json_schema=request.json_schema,
                stop_strings=tuple(request.stop_strings),
                may_call=request.tools.may_call and step.is_alone,
            )
        return RoleWork(writing, splitter)


class StageSplitter:
    """Cuts tokens into deltas that end where stages end (docs/method.md, Stages).

    `caps` are cumulative token caps, `section_labels[k]` what a line begins with that ends stage k + 1 ("" for none);
    no labels at all is continuation mode.
    `stage` and `tokens` say how much an earlier attempt had finished. Tokens that may turn out to be the next section's
    label are held back until it is decided, so that a stage never ends in the middle of one.
    """

    def __init__(self, caps: Sequence[int], section_labels: Sequence[str], stage: int = 0, tokens: int = 0) -> None:
        self._caps, self._labels = tuple(caps), tuple(section_labels)
        self._stage, self._count, self._stage_began = stage, tokens, tokens
        self._pending: list[Token] = []
        self._held_from = 0  # index into _pending from where tokens are held back
        self._line = ""  # text since the last line break

    def push(self, tokens: Sequence[Token]) -> list[Delta]:
        deltas: list[Delta] = []
        for token in tokens:
            deltas += self._push(token)
        return deltas + self._take(self._held_from)

    def flush(self, rest: str, reason: str) -> list[Delta]:
        """The end of a brief ends the section under way, and the cap of tokens the stage under way.

        A continuation that ends by itself is an answer and no stage; an aborted stage has not ended.
        """
        is_section = reason == "eos" and bool(self._labels)
        ends = (is_section or reason == "length") and self._count > self._stage_began and self._stage < len(self._caps)
        deltas = self._take(len(self._pending), self._advance() if ends else 0)
        if not rest:
            return deltas
        if not deltas:
            return [Delta(rest, ())]
        return [replace(deltas[0], text=deltas[0].text + rest)]

    def _push(self, token: Token) -> list[Delta]:
        self._pending.append(token)
        self._count += 1
        self._line = (self._line + token.text).rsplit("\n", 1)[-1]
        deltas: list[Delta] = []
        label = self._labels[self._stage] if self._stage < len(self._labels) else ""
        starts_line = "\n" in token.text
        if label and not starts_line and self._line.startswith(label):
            deltas = self._take(self._held_from, self._advance())
            self._held_from = len(self._pending)
        elif not (label and self._line and label.startswith(self._line)) or starts_line:
            self._held_from = len(self._pending)
        if self._stage < len(self._caps) and self._count >= self._caps[self._stage]:
            deltas += self._take(len(self._pending), self._advance())
        return deltas

    def _advance(self) -> int:
        self._stage += 1
        self._stage_began = self._count
        return self._stage

    def _take(self, count: int, stage: int = 0) -> list[Delta]:
        taken, self._pending = self._pending[:count], self._pending[count:]
        self._held_from = max(0, self._held_from - count)
        if not taken and not stage:
            return []
        return [Delta("".join(t.text for t in taken), tuple(t.id for t in taken), stage)]
