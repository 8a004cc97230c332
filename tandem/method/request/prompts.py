"""The prompts of both models. `answer_prompt` is the ONE text that is scored and answered from (docs/method.md,
Hand-off).

A prompt is a conversation. A model behind an API is sent its messages; one that reads tokens, the chat template's text
of them. There question and insight are encoded as plain text, so a special token in them is only its letters and cannot
end a turn; and they are encoded apart from the template, so that the prompt of a longer insight begins with the shorter
one's. The same holds for the messages of a conversation, and a later turn's prompt begins with the earlier turns.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from tandem.method.conversation import Message
from tandem.method.evidence.checks import Repair
from tandem.method.request.prompt_data import PromptData, hole, split_holes
from tandem.method.request.request import SolveRequest
from tandem.method.tools import ToolUse

if TYPE_CHECKING:  # a client need not load pydantic
    from tandem.method.profile.profile import Profile

Turn = Mapping[str, Any]
"""As a chat template knows it: `role` and `content`, `tool_calls` of the assistant's, `tool_call_id` of a tool's; or a
tool.
"""
_HELD = "An answer that calls no tool is one JSON value that follows this JSON schema, and nothing else:\n"
"""Said to the system: an agent's conversation goes on behind it, where a question's prompt would be said once."""


class PromptTokenizer(Protocol):
    """What a prompt needs of a tokenizer (services.models.engine.api.Tokenizer has it)."""

    def encode(self, text: str, *, plain: bool = False) -> list[int]: ...

    def render_chat(self, messages: Sequence[Turn], tools: Sequence[Turn] = ()) -> str: ...


@dataclass(frozen=True, slots=True)
class Prompt:
    """`ids` is what the model reads; `span_start` the index of the question's first token, where scoring begins.

    The first `num_shared` ids are of the system message and the tools: every conversation with the same ones begins so.
    """

    ids: tuple[int, ...]
    span_start: int
    num_shared: int = 0


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a model is asked, for any model. Texts of callers are holes in turns and tools, which `data` fills."""

    turns: tuple[Turn, ...]
    tools: tuple[Turn, ...]
    begun: str  # how the model's own turn begins
    data: PromptData
    shared: frozenset[str]  # holes in the system message and the tools

    @property
    def begun_text(self) -> str:
        return str(self.data.filled(self.begun))

    @property
    def has_calls(self) -> bool:
        """Whether only a model that knows tools can take it."""
        return bool(self.tools) or any(turn.keys() & {"tool_calls", "tool_call_id"} for turn in self.turns)

    def encoded(self, tokenizer: PromptTokenizer) -> Prompt:
        """The chat template's text, with what fills the holes as plain text. Raises what `render_chat` raises."""
        ids: list[int] = []
        span_start, num_shared = 0, None
        for index, piece in enumerate(split_holes(tokenizer.render_chat(self.turns, self.tools) + self.begun)):
            if index % 2 == 0:
                ids += tokenizer.encode(piece)
            else:
                if piece == "question":
                    span_start = len(ids)
                if num_shared is None and self.data.name_of(piece) not in self.shared:
                    num_shared = len(ids)
                ids += tokenizer.encode(self.data.text_of(piece), plain=True)
        return Prompt(tuple(ids), span_start, num_shared or 0)

    def messages(self, written: str = "") -> list[dict[str, Any]]:
        """The turns as values: `role`, `content`, and `tool_calls` or `tool_call_id` where a turn has them.

        The last is what is begun and was `written` after it. A protocol's own blocks, as content, stay as they are.
        """
        turns = [self.data.filled(turn) for turn in self.turns]
        turns.append({"role": "assistant", "content": self.begun_text + written})
        return [turn for turn in turns if turn["role"] != "assistant" or turn["content"] or "tool_calls" in turn]


def insight_prompt(profile: Profile, request: SolveRequest) -> Conversation:
    """What the large model writes its insight after."""
    template = profile.prompts.brief if profile.handoff == "brief" else _plain(profile, request)
    return _asked(profile, request, template, begun=profile.prompts.llm_prefix)


def llm_alone_prompt(profile: Profile, request: SolveRequest) -> Conversation:
    """What the large model would read if it answered by itself."""
    return _asked(profile, request, _plain(profile, request))


def answer_prompt(profile: Profile, request: SolveRequest, insight: str = "") -> Conversation:
    """What the small model answers from, and what the scorer reads. An empty insight is stage 0."""
    plain, values = _plain(profile, request), {"insight": insight}
    if profile.handoff == "continuation":
        return _asked(profile, request, plain, values, "{insight}")
    return _asked(profile, request, profile.prompts.briefed(request.task) if insight else plain, values)


def repair_prompt(profile: Profile, request: SolveRequest, repair: Repair) -> Conversation:
    """What the small model corrects an answer from that failed its check: it reads question, answer and failure as a
    dialogue.
    """
    plain = _plain(profile, replace(request, tools=ToolUse()))
    turns = [("user", plain), ("assistant", "{answer}"), ("user", profile.prompts.repair)]
    values = {"answer": repair.answer, "failure": repair.failure}
    return _conversation(profile, replace(request, tools=ToolUse()), turns, values)


def _plain(profile: Profile, request: SolveRequest) -> str:
    if request.json_schema and profile.prompts.structured and not request.tools.tools:
        return profile.prompts.structured
    return profile.prompts.plain(request.task)


def _asked(
    profile: Profile,
    request: SolveRequest,
    user: str,
    values: Mapping[str, str] = {},
    begun: str = "",
) -> Conversation:
    """Where a tool's result is answered, the last of the history, nothing is asked behind it."""
    asked = [] if request.answers_tool else [("user", user)]
    return _conversation(profile, request, asked, values, begun)


def _conversation(
    profile: Profile,
    request: SolveRequest,
    asked: Sequence[tuple[str, str]],
    more: Mapping[str, str],
    begun: str = "",
) -> Conversation:
    """The history and what is `asked` now, in templates that name the question, the schema and `more`.

    The system prompt is the conversation's own where it begins with one, else the profile's. Where tools are offered it
    says what schema an answer follows.
    """
    history, tools = request.history, request.tools.tools
    values = {"question": request.question, "schema": request.json_schema, **more}
    data = PromptData(values)
    num_system = int(bool(history) and history[0].speaker == "system")
    offered = tuple(data.guarded(tool.as_data()) for tool in tools)
    system = [_hole(data, history[0].text) if num_system else profile.prompts.system]
    system += [_HELD + data.add(values["schema"])] if values["schema"] and offered else []
    said = "\n\n".join(filter(None, system))
    turns = [_said("system", said)] if said or num_system else []
    shared = data.names - values.keys()
    turns += [_turn(message, data) for message in history[num_system:]]
    turns += [_said(role, _with_holes(text)) for role, text in asked]
    return Conversation(tuple(turns), offered, _with_holes(begun), data, shared)


def _said(role: str, content: str) -> Turn:
    return {"role": role, "content": content}


def _turn(message: Message, data: PromptData) -> Turn:
    content = _hole(data, message.text)
    if message.calls:
        functions = [{"name": c.name, "arguments": data.guarded(c.values())} for c in message.calls]
        calls = [
            {"id": data.guarded(call.id), "type": "function", "function": function}
            for call, function in zip(message.calls, functions, strict=True)
        ]
        return {"role": "assistant", "content": content, "tool_calls": calls}
    if message.speaker == "tool":
        return {"role": "tool", "content": content, "tool_call_id": data.guarded(message.call_id)}
    return _said(message.speaker, content)


def _hole(data: PromptData, text: str) -> str:
    return data.add(text) if text else ""


def _with_holes(template: str) -> str:
    return re.sub(r"\{(question|schema|insight|answer|failure)\}", lambda found: hole(found.group(1)), template)
