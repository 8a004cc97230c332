"""A conversation as a test says it."""

from __future__ import annotations

from tandem.method.request.prompt_data import PromptData
from tandem.method.request.prompts import Conversation


def conversation(*turns: tuple[str, str], begun: str = "") -> Conversation:
    said = tuple({"role": role, "content": content} for role, content in turns)
    return Conversation(said, (), begun, PromptData(), frozenset())
