"""Requests of one's own with what small models and the large one answered: a JSONL file, a line each
(docs/stop-rule.md).

A line is {"id", "request", "answers"}, with "task" (answer, code or chat; chat where it is left out) and "tenant" where
wanted. `request` is a body of OpenAI's chat API; `answers` has for each model, by its role (llm, slm, second_slm and
maybe third_slm), {"text", "calls": [[name, arguments]], "tokens": [read, written], "is_cut"}.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from lab.training.checking import answer_checker
from lab.training.errors import StoreError
from lab.training.final_answers import is_same_answer
from services.answer_checker.checker import AnswerChecker
from tandem.method.answer import final_answer
from tandem.method.conversation import Message, Speaker, Task, kind_of
from tandem.method.evidence.checks import PROGRAMS_AGREE, CheckSpec, Verdict
from tandem.method.evidence.doubt import doubt
from tandem.method.evidence.same_answer import NO_CALL, Answer, AnswerKind, answer_kind, normal_form, same
from tandem.method.problems import problems
from tandem.method.request.tasks import CheckTask
from tandem.method.roles import LLM, SMALL_ROLES
from tandem.method.tokens import TokenCounts
from tandem.method.tools import Call, Tool, ToolCall, as_lines
from tandem.openai.chat_request import CallBody, ChatMessage, ResponseFormat, ToolBody

_FORMATS = {"answer": "boxed", "option": "boxed", "program": "code", "json": "json"}
_SPEAKERS: Mapping[str, Speaker] = {"assistant": "assistant", "tool": "tool"}
_AT_ONCE = 2


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Reply(_Line):
    """`is_cut`: at its cap of tokens, so that it is no whole answer, which is the same as no other."""

    text: str = ""
    calls: tuple[Call, ...] = ()
    tokens: tuple[int, int] = (0, 0)
    is_cut: bool = False

    @property
    def counts(self) -> TokenCounts:
        return TokenCounts(prompt=self.tokens[0], completion=self.tokens[1])


class _Body(_Line):
    messages: tuple[ChatMessage, ...]
    tools: tuple[ToolBody, ...] = ()
    response_format: ResponseFormat = ResponseFormat(type="text")


class Asked(_Line):
    """One request."""

    id: str
    request: _Body
    answers: dict[str, Reply]
    task: Task = "chat"
    tenant: str = ""

    @property
    def small(self) -> tuple[str, ...]:
        """Roles of the small models, of which two must agree."""
        return tuple(role for role in SMALL_ROLES if role in self.answers)

    @property
    def kind(self) -> AnswerKind:
        tools = [
            Tool(each.name, each.description or "", json.dumps(each.parameters) if each.parameters else "")
            for each in (tool.function for tool in self.request.tools)
        ]
        schema = self.request.response_format.as_text()
        last = self.request.messages[-1].text
        return answer_kind(kind_of(self.task, schema, may_call=bool(tools), question=last), tools, schema)

    @property
    def question(self) -> str:
        return "\n\n".join(f"{said.role}: {said.text}" for said in self.request.messages)

    @property
    def same_request(self) -> str:
        """Equal where a request is the same again."""
        return hashlib.sha256(self.request.model_dump_json(by_alias=True).encode()).hexdigest()

    @property
    def history(self) -> list[Message]:
        """Of it a doubt reads the calls that were made, and the last result."""
        return [
            Message(_SPEAKERS.get(said.role, "user"), said.text, tuple(map(_called, said.tool_calls)))
            for said in self.request.messages
        ]

    def doubt(self, role: str) -> str:
        """Why the model's calls, or none, are not taken for right; empty: they are, or it is no answer with tools."""
        reply, kind = self.answers[role], self.kind
        return doubt(reply.calls, self.history, reply.text, kind.tools) if kind.form == "calls" else ""

    def answer(self, role: str) -> Answer:
        reply, form = self.answers[role], self.kind.form
        return reply.calls if form == "calls" else final_answer(reply.text, _FORMATS.get(form, ""))

    def shown(self, role: str) -> str:
        reply = self.answers[role]
        return "\n".join([as_lines(reply.calls), reply.text]).strip()


@dataclass(frozen=True)
class Compared:
    """`taken`: the role of the first small model whose answer another one gives too, where that is evidence for its
    kind and raises no doubt; empty: none. `calls_nothing`: that is no call. `disputed`: the large model's is another,
    as far as anything tells.
    """

    asked: Asked
    taken: str = ""
    calls_nothing: bool = False
    disputed: bool = False
    digest: str = field(default="", compare=False)


def _called(call: CallBody) -> ToolCall:
    return ToolCall(call.id, call.function.name, call.function.arguments)


def read_asked(file: Path) -> list[Asked]:
    """The first of those that repeat. Raises StoreError for a line that is none, without the answers of two small
    models and the large one, with answers of others than the first line, or whose id is another's.
    """
    found: dict[str, Asked] = {}
    ids: set[str] = set()
    for number, line in enumerate(file.read_text().splitlines(), 1):
        try:
            asked = Asked.model_validate_json(line)
        except ValidationError as error:
            raise StoreError(f"{file}:{number}: no request with its answers: {problems(error)}") from error
        if missing := [role for role in (*SMALL_ROLES[:2], LLM) if role not in asked.answers]:
            raise StoreError(f"{file}:{number}: no answer of {', '.join(missing)}")
        if found and asked.small != (first := next(iter(found.values()))).small:
            raise StoreError(
                f"{file}:{number}: answers of {', '.join(asked.small)}, and before of {', '.join(first.small)}"
            )
        if asked.id in ids:
            raise StoreError(f"{file}:{number}: the id {asked.id} stands there twice")
        ids.add(asked.id)
        found.setdefault(asked.same_request, asked)
    if not found:
        raise StoreError(f"{file} holds no request")
    return list(found.values())


def are_asked(file: Path) -> bool:
    """Whether a file has lines of this form."""
    try:
        with file.open() as lines:
            first = json.loads(lines.readline() or "null")
    except (OSError, ValueError):
        return False
    return isinstance(first, dict) and {"id", "request", "answers"} <= first.keys()


async def compare_all(asked: Sequence[Asked]) -> list[Compared]:
    """Programs whose texts differ are run, where a question has examples (`python_agreement`)."""
    async with AsyncExitStack() as stack:
        programs = any(each.kind.form == "program" for each in asked)
        checker = await stack.enter_async_context(answer_checker(_AT_ONCE)) if programs else None
        return list(await asyncio.gather(*(_compared(each, checker) for each in asked)))


async def _compared(asked: Asked, checker: AnswerChecker | None) -> Compared:
    taken = await _taken(asked, checker) if asked.kind.is_evidence else ""
    if not taken:
        return Compared(asked)
    return Compared(
        asked,
        taken,
        calls_nothing=asked.kind.form == "calls" and normal_form(asked.kind, asked.answer(taken)) == NO_CALL,
        disputed=not await _alike(asked, taken, LLM, checker),
        digest=_digest(asked, taken),
    )


async def _taken(asked: Asked, checker: AnswerChecker | None) -> str:
    for one, other in combinations(asked.small, 2):
        if await _alike(asked, one, other, checker):
            return "" if asked.doubt(one) else one
    return ""


async def _alike(asked: Asked, one: str, other: str, checker: AnswerChecker | None) -> bool:
    if asked.answers[one].is_cut or asked.answers[other].is_cut:
        return False
    first, second = asked.answer(one), asked.answer(other)
    told = same(asked.kind, first, second, is_same_answer)
    if told is not None or asked.kind.form != "program" or checker is None or not (first and second):
        return bool(told)
    spec = CheckSpec(PROGRAMS_AGREE).beside(str(second))
    task = CheckTask(asked.id, asked.request.messages[-1].text, str(first), [spec], "code")
    [result] = await checker.check(task)
    return result.verdict is Verdict.PASS


def _digest(asked: Asked, taken: str) -> str:
    """Of what a label is about."""
    about: Mapping[str, Any] = {"slm": asked.shown(taken), "llm": asked.shown(LLM)}
    return hashlib.sha256(json.dumps([asked.same_request, about], sort_keys=True).encode()).hexdigest()[:16]
