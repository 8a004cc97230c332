"""The three protocols, by the name that a profile gives to an endpoint's, and what of a body is passed on to an API of
its protocol.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json

from tandem.openai.allow_list import Allowance, Sieve
from tandem.openai.body import ApiBody
from tandem.openai.chat_request import ChatCompletionRequest
from tandem.openai.messages_request import MessagesRequest
from tandem.openai.responses_request import ResponsesRequest

AnyBody = ChatCompletionRequest | ResponsesRequest | MessagesRequest
BODIES: Mapping[str, type[ApiBody]] = {
    body.protocol: body for body in (ChatCompletionRequest, ResponsesRequest, MessagesRequest)
}


@dataclass(frozen=True, slots=True)
class PassedBody:
    """What an API is sent of a caller's body, as a value and as `json`. `hosts`: of addresses that have to be public
    ones; `schemas`: what the API may compile; `tools`: what the vendor may run, by name.
    """

    body: dict[str, Any]
    json: bytes
    dropped: tuple[str, ...]
    hosts: frozenset[str]
    schemas: tuple[dict[str, Any], ...]
    tools: frozenset[str]


def pass_on(protocol: str, body: Mapping[str, Any], allowance: Allowance) -> PassedBody:
    """Raises RefusedParameter where a part that may not pass changes what the text means."""
    sieve = Sieve(allowance)
    passed = sieve.passed(body, BODIES[protocol].passed)
    return PassedBody(
        body=passed,
        json=to_json(passed),
        dropped=sieve.dropped,
        hosts=frozenset(sieve.hosts),
        schemas=tuple(sieve.schemas),
        tools=frozenset(sieve.tools),
    )
