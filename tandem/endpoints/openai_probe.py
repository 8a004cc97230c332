"""What an endpoint of OpenAI's protocol can do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tandem.endpoints.requests import QUESTION, SCHEMA, EndpointError, Refused, Requests
from tandem.method.profile.endpoint import USAGE_FIELDS, Capabilities, Usage

_TOOL = {"type": "function", "function": {"name": "add", "description": "Add to a sum.", "parameters": SCHEMA}}
# One begun character is at most two tokens; a turn that is closed, and another that is opened, are more.
_BEGUN, _MOST_BEGUN_TOKENS = "1", 2
_SHOWN = 100  # characters of a model's name
_UNLIKELY = "Here they come, one by one:"  # no reply begins so by itself


def headers(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"} if key else {}


class Probe:
    def __init__(self, requests: Requests) -> None:
        self._requests, self._model = requests, requests.api.model
        self._limit_name, self._takes_temperature = "max_tokens", True

    def require_model(self) -> Mapping[str, Any]:
        """Return what the endpoint lists of the model; empty where it lists none. Raises EndpointError where it lists
        others alone.
        """
        try:
            given = self._requests.get(f"{self._requests.api.url}/models")
        except Refused:
            return {}
        listed = given.get("data") if isinstance(given, dict) else None
        entries = [model for model in listed if isinstance(model, dict)] if isinstance(listed, list) else []
        models = {str(model.get("id"))[:_SHOWN]: model for model in entries}
        if models and self._model not in models:
            shown = ", ".join(sorted(models)[:20])
            raise EndpointError(f"{self._requests.api.url} has no model {self._model!r}; it has: {shown}")
        return models.get(self._model, {})

    def capabilities(self) -> Capabilities:
        """Raises EndpointError where the model does not answer at all."""
        plain = self._first()
        return Capabilities.model_validate(
            {
                "continues": self._continues(_prompt_tokens(plain)),
                "prompt_scores": self._has(self._prompt_scores),
                "tokenizes": self._has(self._tokenizes),
                "json_schema": self._has(self._json_schema),
                "tools": self._has(lambda: self._tools(_prompt_tokens(plain))),
                "usage": self._usage(),
                "limit_name": self._limit_name,
                "takes_temperature": self._takes_temperature,
            }
        )

    def _first(self) -> dict[str, Any]:
        """A plain request; some models know the cap by another name, or take no temperature."""
        for _ in range(3):
            try:
                return self._ask()
            except Refused as refused:
                if "max_completion_tokens" in refused.said and self._limit_name == "max_tokens":
                    self._limit_name = "max_completion_tokens"
                elif "temperature" in refused.said and self._takes_temperature:
                    self._takes_temperature = False
                else:
                    raise EndpointError(f"{self._requests.api.url} refuses {self._model}: {refused.said}") from refused
        raise EndpointError(f"{self._requests.api.url} refuses every request to {self._model}")

    def _has(self, finds: Any) -> bool:
        try:
            return bool(finds())
        except (Refused, KeyError, IndexError, TypeError, AttributeError):
            return False

    def _continues(self, plain: int) -> str:
        """Found by counting: a turn that goes on is followed by no tokens of a template."""
        begun = [*QUESTION, {"role": "assistant", "content": _BEGUN}]
        for kind, extra in (
            ("flag", {"continue_final_message": True, "add_generation_prompt": False}),
            ("last_message", {}),
        ):
            try:
                more = _prompt_tokens(self._ask(messages=begun, **extra)) - plain
            except Refused:
                continue
            if plain and 0 <= more <= _MOST_BEGUN_TOKENS:
                return kind if self._is_needed(kind, begun, plain) else "last_message"
        return _continues_a_prefix(self._ask, plain)

    def _is_needed(self, kind: str, begun: list[dict[str, str]], plain: int) -> bool:
        """A server that ignores an unknown flag may continue the last message anyway."""
        if kind != "flag":
            return True
        try:
            more = _prompt_tokens(self._ask(messages=begun)) - plain
        except Refused:
            return True
        return not 0 <= more <= _MOST_BEGUN_TOKENS

    def _json_schema(self) -> bool:
        schema = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}}
        text = str(self._ask(64, response_format=schema)["choices"][0]["message"]["content"] or "")
        return bool(text) and text.lstrip()[:1] in ("", "{")  # a grammar may let white space come first

    def _tools(self, plain: int) -> Any:
        """It takes some that it need not call (vLLM only with its --enable-auto-tool-choice), and calls one that it
        must call, or reads of them and is cut before its call is whole.
        """
        self._ask(tools=[_TOOL], tool_choice="auto")
        reply = self._ask(64, tools=[_TOOL], tool_choice="required")
        return reply["choices"][0]["message"].get("tool_calls") or (plain and _prompt_tokens(reply) > plain)

    def _prompt_scores(self) -> Any:
        body = {"model": self._model, "prompt": "1 2 3", "max_tokens": 1, "prompt_logprobs": 1}
        return self._requests.post(f"{self._requests.api.url}/completions", body)["choices"][0]["prompt_logprobs"]

    def _tokenizes(self) -> Any:
        """vLLM reads `prompt`, llama-server `content`."""
        body = {"model": self._model, "prompt": "1 2 3", "content": "1 2 3"}
        return self._requests.post(f"{self._requests.root}/tokenize", body)["tokens"]

    def _usage(self) -> Usage:
        """Return the finest usage reports that are asked for at once; some servers refuse a field that they do not
        know.
        """
        every = {**USAGE_FIELDS["timings"], **USAGE_FIELDS["continuous"]}
        for fields in (every, *USAGE_FIELDS.values()):
            try:
                chunks = list(
                    self._requests.events(f"{self._requests.api.url}/chat/completions", self._body(4, **fields))
                )
            except Refused:
                continue
            if (found := _reported(chunks)) != "none":
                return found
        return "none"

    def _ask(self, most: int = 2, **fields: Any) -> dict[str, Any]:
        reply = self._requests.post(f"{self._requests.api.url}/chat/completions", self._body(most, **fields))
        if not isinstance(reply, dict) or not reply.get("choices"):
            raise Refused("its reply has no choices")
        return reply

    def _body(self, most: int, **fields: Any) -> dict[str, Any]:
        temperature = {"temperature": 0} if self._takes_temperature else {}
        # A model that thinks may refuse, or fill with thoughts, a cap of a few tokens; such models have the newer name.
        cap = most if self._limit_name == "max_tokens" else max(most, 16)
        return {"model": self._model, "messages": QUESTION, self._limit_name: cap, **temperature, **fields}


def _continues_a_prefix(ask: Callable[..., dict[str, Any]], plain: int) -> str:
    """DeepSeek sends what follows, Mistral the whole message."""

    def asked(begun: str) -> dict[str, Any]:
        return ask(8, messages=[*QUESTION, {"role": "assistant", "content": begun, "prefix": True}])

    try:
        if not plain or not 0 <= _prompt_tokens(asked(_BEGUN)) - plain <= _MOST_BEGUN_TOKENS:
            return "no"
        text = str(asked(_UNLIKELY)["choices"][0]["message"]["content"] or "")
    except (Refused, KeyError, IndexError, TypeError):
        return "no"
    return "prefix_echoed" if text.startswith(_UNLIKELY[: len(text) or 1]) else "prefix"


def _reported(chunks: list[dict[str, Any]]) -> Usage:
    """Return how a stream has reported its tokens."""
    if any(chunk.get("timings") for chunk in chunks[:-2]):
        return "timings"
    counted = [chunk for chunk in chunks if chunk.get("usage")]
    if any(chunk.get("choices") for chunk in counted[:-1]):
        return "continuous"
    return "at_end" if counted else "none"


def _prompt_tokens(reply: Mapping[str, Any]) -> int:
    usage = reply.get("usage")
    told = usage.get("prompt_tokens") if isinstance(usage, dict) else 0
    return told if isinstance(told, int) else 0
