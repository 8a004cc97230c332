"""The prompts of both models. `answer_prompt` is the ONE text that is scored and answered from (docs/method.md, Hand-off).

Question and insight are encoded as plain text, so a special token in them is only its letters and cannot end a turn;
and they are encoded apart from the template, so that the prompt of a longer insight begins with the shorter one's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from tandem.method.checks import Repair

if TYPE_CHECKING:  # a client that names a task need not load pydantic
    from tandem.method.profile import Profile

Task = Literal["answer", "code"]
_HOLE = re.compile(r"⟦(question|schema|insight|answer|failure)⟧")


class PromptTokenizer(Protocol):
    """What a prompt needs of a tokenizer (services.engine.api.Tokenizer has it)."""

    def encode(self, text: str, *, plain: bool = False) -> list[int]: ...

    def render_chat(self, messages: Sequence[tuple[str, str]]) -> str: ...


@dataclass(frozen=True, slots=True)
class Prompt:
    """`ids` is what the model reads; `span_start` the index of the question's first token, where scoring begins."""

    ids: tuple[int, ...]
    span_start: int


def insight_prompt(
    profile: Profile, tokenizer: PromptTokenizer, question: str, task: Task = "answer", json_schema: str = ""
) -> Prompt:
    """What the large model writes its insight after."""
    template = profile.prompts.brief if profile.handoff == "brief" else _plain(profile, task, json_schema)
    values = {"question": question, "schema": json_schema}
    return _fill(profile, tokenizer, template, profile.prompts.llm_prefix, values)


def llm_alone_prompt(
    profile: Profile, tokenizer: PromptTokenizer, question: str, task: Task = "answer", json_schema: str = ""
) -> Prompt:
    """What the large model would read if it answered by itself."""
    values = {"question": question, "schema": json_schema}
    return _fill(profile, tokenizer, _plain(profile, task, json_schema), "", values)


def answer_prompt(
    profile: Profile,
    tokenizer: PromptTokenizer,
    question: str,
    insight: str,
    task: Task = "answer",
    json_schema: str = "",
) -> Prompt:
    """What the small model answers from, and what the scorer reads. An empty insight is stage 0."""
    template = _plain(profile, task, json_schema)
    values = {"question": question, "schema": json_schema, "insight": insight}
    if profile.handoff == "continuation":
        return _fill(profile, tokenizer, template, "{insight}", values)
    return _fill(profile, tokenizer, profile.prompts.brief_answer if insight else template, "", values)


def repair_prompt(
    profile: Profile,
    tokenizer: PromptTokenizer,
    question: str,
    repair: Repair,
    task: Task = "answer",
    json_schema: str = "",
) -> Prompt:
    """What the small model corrects an answer from that failed its check: it reads question, answer and failure as a dialogue."""
    plain = _plain(profile, task, json_schema)
    turns = [("user", plain), ("assistant", "{answer}"), ("user", profile.prompts.repair)]
    values = {"question": question, "schema": json_schema, "answer": repair.answer, "failure": repair.failure}
    return _encode(tokenizer, _rendered(profile, tokenizer, turns), values)


def _plain(profile: Profile, task: Task, json_schema: str) -> str:
    if json_schema and profile.prompts.structured:
        return profile.prompts.structured
    return (task == "code" and profile.prompts.code) or profile.prompts.question


def _fill(profile: Profile, tokenizer: PromptTokenizer, user: str, assistant: str, values: Mapping[str, str]) -> Prompt:
    rendered = _rendered(profile, tokenizer, [("user", user)]) + _with_holes(assistant)
    return _encode(tokenizer, rendered, values)


def _rendered(profile: Profile, tokenizer: PromptTokenizer, turns: Sequence[tuple[str, str]]) -> str:
    """The turns in the model's chat template, up to where its own turn begins."""
    system = [("system", profile.prompts.system)] if profile.prompts.system else []
    return tokenizer.render_chat([*system, *((role, _with_holes(text)) for role, text in turns)])


def _encode(tokenizer: PromptTokenizer, rendered: str, values: Mapping[str, str]) -> Prompt:
    ids: list[int] = []
    span_start = 0
    # re.split with one group alternates: text, name of a hole, text, ...
    for index, piece in enumerate(_HOLE.split(rendered)):
        if index % 2 == 0:
            ids += tokenizer.encode(piece)
        else:
            if piece == "question":
                span_start = len(ids)
            ids += tokenizer.encode(values[piece], plain=True)
    return Prompt(tuple(ids), span_start)


def _with_holes(template: str) -> str:
    return re.sub(r"\{(question|schema|insight|answer|failure)\}", r"⟦\1⟧", template)
