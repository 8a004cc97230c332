"""One line of a batch's input: a request of OpenAI's batch format, or a plain one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator, model_validator

from tandem.client.contract import MOST_COUNT, Count, Seed
from tandem.client.request import SolveOptions, solve_request
from tandem.errors import RequestError
from tandem.method.conversation import Task
from tandem.method.json_text import read_json_text
from tandem.openai.chat_request import ChatCompletionRequest
from tandem.openai.json_body import find_fault
from tandem.openai.parameters import RefusedParameter
from tandem.v1 import tandem_pb2

ENDPOINT = "/v1/chat/completions"
OPENAI, PLAIN = "openai", "plain"
MOST_BYTES = 1024 * 1024
"""Of a line without its end. The shipped profiles admit at most 131,072 characters (4096 tokens of 32 characters), of
which JSON makes six bytes each where it escapes them: 768 KiB, and the rest is for the names, options and metadata
around them.
"""
Id = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class BadLine(Exception):
    """The message says what is wrong with the line."""


@dataclass(frozen=True, slots=True)
class Line:
    """`form` is OPENAI or PLAIN. An empty `custom_id`: the line has none."""

    custom_id: str
    form: str
    request: tandem_pb2.SolveRequest
    metadata: Mapping[str, str] = field(default_factory=dict)


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _OpenAILine(_Strict):
    custom_id: Id
    method: Literal["POST"]
    url: Literal["/v1/chat/completions"]
    body: ChatCompletionRequest

    @field_validator("body")
    @classmethod
    def _is_whole(cls, body: ChatCompletionRequest) -> ChatCompletionRequest:
        if body.stream:
            raise ValueError("stream is not supported in a batch")
        return body


class _Message(_Strict):
    role: Literal["system", "user", "assistant"]
    content: str


class _PlainLine(_Strict):
    """Options as in tandem.request.SolveOptions."""

    id: Id | None = None
    question: str = ""
    messages: list[_Message] = Field(default_factory=list)
    profile: str = ""
    task: Task | None = None
    threshold: float | None = None
    thresholds: dict[Count, float] | None = None
    max_stage: Count | None = None
    max_cost_usd: float | None = None
    max_llm_tokens: Count | None = None
    max_answer_tokens: int | None = Field(default=None, gt=0, le=MOST_COUNT)
    temperature: float | None = None
    top_p: float | None = None
    seed: Seed | None = None
    stop: str | list[str] | None = None
    checks: list[str] = Field(default_factory=list)
    json_schema: dict[str, Any] | None = None
    tenant: str = ""
    metadata: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _asks_one_thing(self) -> _PlainLine:
        if bool(self.question.strip()) == bool(self.messages):
            raise ValueError("a line has a question or messages")
        return self

    def as_solve_request(self) -> tandem_pb2.SolveRequest:
        options = SolveOptions(
            profile=self.profile,
            threshold=self.threshold,
            thresholds=self.thresholds,
            max_stage=self.max_stage,
            max_cost_usd=self.max_cost_usd,
            max_llm_tokens=self.max_llm_tokens,
            max_answer_tokens=self.max_answer_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            seed=self.seed,
            stop=self.stop,
            checks=self.checks,
            json_schema=json.dumps(self.json_schema) if self.json_schema else "",
            tenant=self.tenant,
        )
        if self.task is not None:
            options["task"] = self.task
        said = [message.model_dump() for message in self.messages]
        return solve_request(said or self.question, **options)


def parse(text: bytes) -> Line:
    """Raises BadLine."""
    if len(text.removesuffix(b"\n")) > MOST_BYTES:  # while JSON is read, no other thread runs
        raise BadLine(f"a line has at most {MOST_BYTES} bytes")
    try:
        given = read_json_text(text)
        if not isinstance(given, dict):
            raise BadLine("a line is a JSON object")
        if fault := find_fault(given):
            raise BadLine(" ".join(fault))
        if "body" in given or "custom_id" in given:
            line = _OpenAILine.model_validate(given)
            line.body.refuse_hints()
            return Line(line.custom_id, OPENAI, line.body.as_solve_request(""), line.body.metadata)
        plain = _PlainLine.model_validate(given)
        return Line(plain.id or "", PLAIN, plain.as_solve_request(), plain.metadata)
    except ValidationError as error:
        raise BadLine(_said(error)) from error
    except RequestError as error:
        raise BadLine(str(error)) from error
    except RefusedParameter as error:
        raise BadLine(f"body.{error.param}: {error}") from error
    except UnicodeDecodeError as error:
        raise BadLine(f"not UTF-8: {error}") from error
    except ValueError as error:
        raise BadLine(f"no JSON: {error}") from error
    except RecursionError as error:
        raise BadLine("its JSON is nested too deeply") from error


def _said(error: ValidationError) -> str:
    problem = max(error.errors(), key=lambda found: len(found["loc"]))
    place = ".".join(str(part) for part in problem["loc"])
    return f"{place}: {problem['msg']}" if place else problem["msg"]
