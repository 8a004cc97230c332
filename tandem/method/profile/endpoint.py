"""A model that others run: where its API is, and what that API can do. Hand-off, scorer and exactness of a bill follow
from it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, get_args
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from tandem.method.section import Section

FILE = "file:"
ANTHROPIC_VERSION = "2023-06-01"
"""Of the protocol that is spoken here; the SDK would ask for the newest that it knows."""
_BASE = re.compile(r"https?://[^/?#@\s]+(/[^?#@\s]*)?")
ProtocolName = Literal["openai", "responses", "anthropic"]
PROTOCOLS: tuple[ProtocolName, ...] = get_args(ProtocolName)
"""Each has services.models.engine.remote.<name>_writer and tandem.endpoints.<name>_probe."""
Exactness = Literal["exact", "estimated"]
Usage = Literal["none", "at_end", "continuous", "timings"]
_AT_END = {"include_usage": True}
USAGE_FIELDS: Mapping[Usage, dict[str, Any]] = {
    "timings": {"stream_options": _AT_END, "timings_per_token": True},
    "continuous": {"stream_options": {**_AT_END, "continuous_usage_stats": True}},
    "at_end": {"stream_options": _AT_END},
    "none": {},
}
"""What OpenAI's protocol and its dialects are asked for such a report with; the finest first."""
VENDORS_HOSTS = frozenset(
    {
        "api.openai.com",
        "api.anthropic.com",
        "openrouter.ai",
        "api.deepseek.com",
        "api.groq.com",
        "api.mistral.ai",
        "api.together.xyz",
    }
)
"""Of the vendors' own APIs (tandem.endpoints.address)."""
VENDORS_TOOLS = frozenset(
    {"web_search", "web_fetch", "file_search", "code_interpreter", "code_execution", "image_generation", "mcp", "shell"}
)
"""Tools that vendors run and charge for."""
LEAST_OUTPUT_TOKENS = 16
"""The smallest cap of an answer that OpenAI's Responses API takes."""


class Capabilities(Section):
    """Found by probing (`tandem profile new`, `tandem profile check`); the defaults are what any API of the kind can
    do.
    """

    continues: Literal["no", "last_message", "flag", "prefix", "prefix_echoed"] = Field(
        default="no",
        description="goes on from an assistant's turn that is begun: as the last message (llama-server, Anthropic's "
        "prefill), or with "
        "vLLM's flag continue_final_message, or with the message's `prefix` (DeepSeek, Mistral), whose beginning "
        "some repeat (prefix_echoed); "
        "no: it is asked in words to go on",
    )
    prompt_scores: bool = Field(
        default=False, description="returns the log-probabilities of a prompt's tokens (vLLM's prompt_logprobs)"
    )
    tokenizes: bool = Field(default=False, description="counts or returns the tokens of a text")
    json_schema: bool = Field(default=False, description="holds its text to a JSON schema")
    tools: bool = Field(default=False, description="calls tools")
    usage: Usage = Field(
        default="at_end",
        description="when a stream reports its tokens: never, at its end, or with every chunk (vLLM's "
        "continuous_usage_stats, "
        "llama-server's timings_per_token)",
    )
    limit_name: Literal["max_tokens", "max_completion_tokens"] = Field(
        default="max_tokens", description="what the API calls the cap of an answer's tokens"
    )
    takes_temperature: bool = Field(default=True, description="false: the API draws as it likes")

    removed: ClassVar = {"logprobs": "delete the line; no answer is judged by the log-probabilities of its tokens"}

    @property
    def handoff(self) -> Literal["continuation", "brief"]:
        """How an insight can be handed to this model."""
        return "brief" if self.continues == "no" else "continuation"

    @property
    def scorers(self) -> tuple[str, ...]:
        """Kinds of scores of a prompt that are possible; no model reads for `words`."""
        return ("prompt", "words") if self.prompt_scores else ("words",)

    @property
    def cut_bill(self) -> Exactness:
        """What the bill of a stream is that was cut, as a stop cuts it."""
        return "exact" if self.usage in ("continuous", "timings") else "estimated"

    def losses(self) -> list[str]:
        """What is lost with this endpoint, in words."""
        said = (
            (self.continues != "no", "it cannot continue a text: a resumed answer is asked for in words"),
            (self.prompt_scores, "it scores no prompt: a scorer that reads with the model is not possible"),
            (self.json_schema, "it holds no text to a JSON schema: such requests are refused"),
            (self.tools, "it calls no tools: requests that offer some are refused"),
            (
                self.cut_bill == "exact" or self.usage == "none",
                "it reports usage at the end alone: the bill of a stream that is cut is estimated",
            ),
            (self.usage != "none", "it reports no usage while streaming: every bill is estimated"),
            (self.takes_temperature, "it draws its text as it likes: answers are not repeatable"),
        )
        return [text for has, text in said if not has]


class Limits(Section):
    """Of this project's own share, where several use one account; an API's own limits are read from its replies."""

    requests_per_minute: float = Field(default=0, ge=0, description="0: as the API says in its replies")
    tokens_per_minute: float = Field(default=0, ge=0, description="prompts and answers' caps together; 0: as above")


class Api(Section):
    """`key` never is the key itself: a profile is read by many."""

    protocol: ProtocolName = "openai"
    url: str = Field(description="base address, such as http://127.0.0.1:8000/v1")
    model: str = Field(default="", description="the API's name of the model; empty: the model's own")
    key: str = Field(
        default="", description="name of the variable that holds the key, or file:PATH; empty: none is sent"
    )
    can: Capabilities = Capabilities()
    limits: Limits = Limits()
    passes: tuple[str, ...] = Field(
        default=(),
        alias="pass",
        description="what a caller's own body may say to the API beyond the list of what is allowed: names of fields, "
        "of types of tools and content, and of betas",
    )
    fees: dict[str, float] = Field(
        default_factory=dict,
        description="USD for each use of a tool that the API's vendor runs, as in `web_search = 0.01`; a tool in "
        "`pass` without a fee is not passed on",
    )
    cache_marks: bool = Field(
        default=True,
        description="Anthropic's protocol: mark what the API is to cache of a conversation, where its caller marks "
        "nothing",
    )

    @property
    def is_vendors(self) -> bool:
        """Whether it is a vendor's own address, which reads URLs from a network that is not the operator's."""
        return urlsplit(self.url).hostname in VENDORS_HOSTS

    @field_validator("fees")
    @classmethod
    def _are_amounts(cls, fees: dict[str, float]) -> dict[str, float]:
        if wrong := [name for name, usd in fees.items() if not (math.isfinite(usd) and usd >= 0)]:
            raise ValueError(f"the fee of {wrong[0]} is USD for each use, from 0")
        return fees

    @model_validator(mode="after")
    def _have_fees(self) -> Api:
        if missing := [name for name in self.passes if name in VENDORS_TOOLS and name not in self.fees]:
            raise ValueError(
                f"`pass` names {missing[0]}, which the vendor runs: say in `fees` what a use costs in USD, 0 if nothing"
            )
        return self

    @field_validator("url")
    @classmethod
    def _has_no_secret(cls, url: str) -> str:
        if not _BASE.fullmatch(url):
            raise ValueError(
                "a base address is http:// or https://, a host and a path: no user, query or fragment; `key` names "
                "the key"
            )
        return url.rstrip("/")

    @field_validator("key")
    @classmethod
    def _names_a_place(cls, key: str) -> str:
        if key and not key.startswith(FILE) and not key.replace("_", "a").isalnum():
            raise ValueError("is the name of a variable, or file: and a path, never the key itself")
        return key
