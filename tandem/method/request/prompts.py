"""The prompts of both models. `answer_prompt` is the ONE text that is scored and answered from (docs/method.md, Hand-off).

Question and insight are encoded as plain text, so a special token in them is only its letters and cannot end a turn;
and they are encoded apart from the template, so that the prompt of a longer insight begins with the shorter one's. The same
holds for the messages of a conversation, and a later turn's prompt begins with the earlier turns.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from tandem.method.conversation import Message, Task
from tandem.method.evidence.checks import Repair
from tandem.method.request.prompt_data import PromptData, hole, split_holes
from tandem.method.tools import ToolUse

if TYPE_CHECKING:  # a client that names a task need not load pydantic
    from tandem.method.profile.profile import Profile

Turn = Mapping[str, Any]
"""As a chat template knows it: `role` and `content`, `tool_calls` of the assistant's, `tool_call_id` of a tool's; or a tool."""
_NO_TOOLS = ToolUse()
_HELD = "An answer that calls no tool is one JSON value that follows this JSON schema, and nothing else:\n"
"""Said to the system: an agent's conversation goes on behind it, where a question's prompt would be said once."""


class PromptTokenizer(Protocol):
    """What a prompt needs of a tokenizer (services.models.engine.api.Tokenizer has it)."""

    def encode(self, text: str, *, plain: bool = False) -> list[int]: ...

    def render_chat(self, messages: Sequence[tuple[str, str] | Turn], tools: Sequence[Turn] = ()) -> str: ...


@dataclass(frozen=True, slots=True)
class Prompt:
    """`ids` is what the model reads; `span_start` the index of the question's first token, where scoring begins.

    The first `num_shared` ids are of the system message and the tools: every conversation with the same ones begins so.
    """

    ids: tuple[int, ...]
    span_start: int
    num_shared: int = 0


def insight_prompt(
    profile: Profile,
    tokenizer: PromptTokenizer,
    question: str,
    task: Task = "answer",
    json_schema: str = "",
    history: Sequence[Message] = (),
    tools: ToolUse = _NO_TOOLS,
) -> Prompt:
    """What the large model writes its insight after. `history` is what was said before the question, here and below; where that is
    empty, a tool's result is answered, the last of the history. `tools`: what may be called.
    """
    template = profile.prompts.brief if profile.handoff == "brief" else _plain(profile, task, json_schema, tools)
    values = {"question": question, "schema": json_schema}
    conversation = _Conversation(profile, tokenizer, history, tools, json_schema)
    return conversation.prompt(template, profile.prompts.llm_prefix, values)


def llm_alone_prompt(
    profile: Profile,
    tokenizer: PromptTokenizer,
    question: str,
    task: Task = "answer",
    json_schema: str = "",
    history: Sequence[Message] = (),
    tools: ToolUse = _NO_TOOLS,
) -> Prompt:
    """What the large model would read if it answered by itself."""
    values = {"question": question, "schema": json_schema}
    conversation = _Conversation(profile, tokenizer, history, tools, json_schema)
    return conversation.prompt(_plain(profile, task, json_schema, tools), "", values)


def answer_prompt(
    profile: Profile,
    tokenizer: PromptTokenizer,
    question: str,
    insight: str,
    task: Task = "answer",
    json_schema: str = "",
    history: Sequence[Message] = (),
    tools: ToolUse = _NO_TOOLS,
) -> Prompt:
    """What the small model answers from, and what the scorer reads. An empty insight is stage 0."""
    template = _plain(profile, task, json_schema, tools)
    conversation = _Conversation(profile, tokenizer, history, tools, json_schema)
    values = {"question": question, "schema": json_schema, "insight": insight}
    if profile.handoff == "continuation":
        return conversation.prompt(template, "{insight}", values)
    return conversation.prompt(profile.prompts.briefed(task) if insight else template, "", values)


def repair_prompt(
    profile: Profile,
    tokenizer: PromptTokenizer,
    question: str,
    repair: Repair,
    task: Task = "answer",
    json_schema: str = "",
    history: Sequence[Message] = (),
) -> Prompt:
    """What the small model corrects an answer from that failed its check: it reads question, answer and failure as a dialogue."""
    plain = _plain(profile, task, json_schema)
    turns = [("user", plain), ("assistant", "{answer}"), ("user", profile.prompts.repair)]
    values = {"question": question, "schema": json_schema, "answer": repair.answer, "failure": repair.failure}
    conversation = _Conversation(profile, tokenizer, history)
    return conversation.encode(conversation.rendered(turns), values)


def _plain(profile: Profile, task: Task, json_schema: str, tools: ToolUse = _NO_TOOLS) -> str:
    if json_schema and profile.prompts.structured and not tools.tools:
        return profile.prompts.structured
    return profile.prompts.plain(task)


class _Conversation:
    """The turns before the question, and how what follows them is rendered and encoded.

    The system prompt is the conversation's own where it begins with one, else the profile's. Where tools are offered it says what
    `json_schema` an answer follows.
    """

    def __init__(
        self,
        profile: Profile,
        tokenizer: PromptTokenizer,
        history: Sequence[Message],
        tools: ToolUse = _NO_TOOLS,
        json_schema: str = "",
    ) -> None:
        self._tokenizer, self._data = tokenizer, PromptData()
        num_system = int(bool(history) and history[0].speaker == "system")
        self._tools: list[Turn] = [self._data.guarded(tool.as_data()) for tool in tools.tools]
        system = [self._hole(history[0].text) if num_system else profile.prompts.system]
        system += [_HELD + self._data.add(json_schema)] if json_schema and self._tools else []
        said = "\n\n".join(filter(None, system))
        self._turns: list[tuple[str, str] | Turn] = [("system", said)] if said or num_system else []
        self._shared_names = self._data.names
        self._turns += [self._turn(message) for message in history[num_system:]]
        self._has_question = not history or history[-1].speaker != "tool"

    def _hole(self, text: str) -> str:
        return self._data.add(text) if text else ""

    def _turn(self, message: Message) -> tuple[str, str] | Turn:
        content = self._hole(message.text)
        if message.calls:
            functions = [{"name": c.name, "arguments": self._data.guarded(c.values())} for c in message.calls]
            calls = [
                {"id": self._data.guarded(call.id), "type": "function", "function": function}
                for call, function in zip(message.calls, functions, strict=True)
            ]
            return {"role": "assistant", "content": content, "tool_calls": calls}
        if message.speaker == "tool":
            return {"role": "tool", "content": content, "tool_call_id": self._data.guarded(message.call_id)}
        return message.speaker, content

    def prompt(self, user: str, assistant: str, values: Mapping[str, str]) -> Prompt:
        turns = [("user", user)] if self._has_question or values["question"] else []
        return self.encode(self.rendered(turns) + _with_holes(assistant), values)

    def rendered(self, turns: Sequence[tuple[str, str]]) -> str:
        """The turns in the model's chat template, up to where its own turn begins."""
        said = [*self._turns, *((role, _with_holes(text)) for role, text in turns)]
        return self._tokenizer.render_chat(said, self._tools) if self._tools else self._tokenizer.render_chat(said)

    def encode(self, rendered: str, values: Mapping[str, str]) -> Prompt:
        ids: list[int] = []
        span_start, num_shared = 0, None
        data = self._data.with_texts(values)
        for index, piece in enumerate(split_holes(rendered)):
            if index % 2 == 0:
                ids += self._tokenizer.encode(piece)
            else:
                if piece == "question":
                    span_start = len(ids)
                if num_shared is None and data.name_of(piece) not in self._shared_names:
                    num_shared = len(ids)
                ids += self._tokenizer.encode(data.text_of(piece), plain=True)
        return Prompt(tuple(ids), span_start, num_shared or 0)


def _with_holes(template: str) -> str:
    return re.sub(r"\{(question|schema|insight|answer|failure)\}", lambda found: hole(found.group(1)), template)
