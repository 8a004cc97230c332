"""What an endpoint of OpenAI's Responses protocol can do. It lists its models as one of chat completions does, goes on
from no turn that is begun, and reports usage at the end of a stream.
"""

from __future__ import annotations

from typing import Any

from tandem.endpoints import openai_probe
from tandem.endpoints.openai_probe import headers as headers
from tandem.endpoints.requests import QUESTION, SCHEMA, EndpointError, Refused
from tandem.method.profile.endpoint import LEAST_OUTPUT_TOKENS, Capabilities

_TOOL = {"type": "function", "name": "add", "description": "Add to a sum.", "parameters": SCHEMA, "strict": True}
_FORMAT = {"type": "json_schema", "name": "answer", "schema": SCHEMA, "strict": True}


class Probe(openai_probe.Probe):
    def capabilities(self) -> Capabilities:
        """Raises EndpointError where the model does not answer at all."""
        takes_temperature = self._takes(temperature=0)
        extra = {"temperature": 0} if takes_temperature else {}
        if not takes_temperature:
            try:
                self._respond()
            except Refused as refused:
                raise EndpointError(f"{self._requests.api.url} refuses {self._model}: {refused.said}") from refused
        return Capabilities(
            json_schema=self._takes(64, text={"format": _FORMAT}, **extra),
            tools=self._takes(64, tools=[_TOOL], **extra),
            takes_temperature=takes_temperature,
        )

    def _takes(self, most: int = LEAST_OUTPUT_TOKENS, **fields: Any) -> bool:
        try:
            return bool(self._respond(most, **fields))
        except Refused:
            return False

    def _respond(self, most: int = LEAST_OUTPUT_TOKENS, **fields: Any) -> dict[str, Any]:
        body = {"model": self._model, "input": QUESTION, "max_output_tokens": most, "store": False, **fields}
        reply = self._requests.post(f"{self._requests.api.url}/responses", body)
        if not isinstance(reply, dict) or not reply.get("output"):
            raise Refused("its reply has no output")
        return reply
