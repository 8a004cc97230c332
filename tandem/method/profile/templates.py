"""A profile's prompts, as templates with holes: tandem.method.request.prompts fills them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from tandem.method.conversation import Task


class Prompts(BaseModel):
    """Templates; {question} and {insight} are replaced. An empty system prompt is left out.

    `structured` is the file's key `json`, a name that pydantic takes for a method.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    system: str = ""
    question: str = Field(description="user turn of the plain question, used where there is no brief")
    code: str = Field(default="", description="user turn of a programming task; the question's where it is empty")
    structured: str = Field(
        default="",
        alias="json",
        description="user turn of a request with a JSON schema, {schema}; empty: none is taken",
    )
    brief: str = Field(default="", description="brief: user turn that asks the large model for an insight")
    brief_answer: str = Field(default="", description="brief: user turn with question and insight for the small model")
    brief_chat: str = Field(
        default="", description="brief: the same for free text, as in a chat; empty: none is written"
    )
    llm_prefix: str = Field(default="", description="what the large model's turn begins with")
    repair: str = Field(
        default="", description="user turn that follows an answer that failed its check; {failure} says why"
    )

    def plain(self, task: Task) -> str:
        """The user's turn without an insight; a chat is the bare question."""
        if task == "chat":
            return "{question}"
        return (task == "code" and self.code) or self.question

    def briefed(self, task: Task) -> str:
        """brief: the user's turn with an insight."""
        return self.brief_chat if task == "chat" else self.brief_answer

    def scored(self) -> dict[str, str]:
        """The templates of the texts that scorers are trained on."""
        return self.model_dump(exclude={"repair", "structured", "brief_chat"})

    def check_holes(self, handoff: str) -> None:
        """Raises ValueError where a template lacks what is to be replaced in it."""
        _check("question", self.question, "{question}")
        if self.code:
            _check("code", self.code, "{question}")
        if self.structured:
            _check("json", self.structured, "{question}", "{schema}")
        if handoff == "brief":
            _check("brief", self.brief, "{question}")
            _check("brief_answer", self.brief_answer, "{question}", "{insight}")
            if self.brief_chat:
                _check("brief_chat", self.brief_chat, "{question}", "{insight}")


def _check(name: str, template: str, *holes: str) -> None:
    missing = [hole for hole in holes if hole not in template]
    if missing:
        raise ValueError(f"prompts.{name}: {missing[0]} is missing")
