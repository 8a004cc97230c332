"""What a model of Anthropic's API can do. The protocol scores no prompt, and reports usage at the begin and the end of
a stream.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tandem.endpoints.requests import QUESTION, SCHEMA, EndpointError, Refused, Requests
from tandem.method.profile.endpoint import ANTHROPIC_VERSION, Capabilities


def headers(key: str) -> dict[str, str]:
    return {"anthropic-version": ANTHROPIC_VERSION, **({"x-api-key": key} if key else {})}


class Probe:
    def __init__(self, requests: Requests) -> None:
        self._requests, self._model = requests, requests.api.model
        self._url = requests.api.url.removesuffix("/v1")

    def require_model(self) -> Mapping[str, Any]:
        """Return what the API says of the model; empty where it says nothing. Raises EndpointError where it has none
        of this name.
        """
        try:
            found = self._requests.get(f"{self._url}/v1/models/{self._model}")
        except Refused as refused:
            if "model" in refused.said.lower():
                raise EndpointError(
                    f"{self._requests.api.url} has no model {self._model!r}: {refused.said}"
                ) from refused
            return {}
        return found if isinstance(found, dict) else {}

    def capabilities(self) -> Capabilities:
        """Raises EndpointError where the model does not answer at all."""
        takes_temperature = self._takes_temperature()
        extra = {"temperature": 0} if takes_temperature else {}
        begun = [*QUESTION, {"role": "assistant", "content": "1, 2,"}]
        return Capabilities(
            continues="last_message" if self._takes(messages=begun, **extra) else "no",
            tokenizes=self._counts(),
            json_schema=self._takes(16, output_config={"format": {"type": "json_schema", "schema": SCHEMA}}, **extra),
            tools=self._takes(
                64, tools=[{"name": "add", "description": "Add to a sum.", "input_schema": SCHEMA}], **extra
            ),
            takes_temperature=takes_temperature,
        )

    def _takes_temperature(self) -> bool:
        if self._takes(temperature=0):
            return True
        try:
            self._ask()
        except Refused as refused:
            raise EndpointError(f"{self._requests.api.url} refuses {self._model}: {refused.said}") from refused
        return False

    def _takes(self, most: int = 4, **fields: Any) -> bool:
        try:
            return bool(self._ask(most, **fields).get("usage"))
        except Refused:
            return False

    def _counts(self) -> bool:
        try:
            body = {"model": self._model, "messages": QUESTION}
            return bool(self._requests.post(f"{self._url}/v1/messages/count_tokens", body)["input_tokens"])
        except (Refused, KeyError, TypeError):
            return False

    def _ask(self, most: int = 4, **fields: Any) -> dict[str, Any]:
        body = {"model": self._model, "max_tokens": most, "messages": QUESTION, **fields}
        reply = self._requests.post(f"{self._url}/v1/messages", body)
        if not isinstance(reply, dict):
            raise Refused("its reply is no object")
        return reply
