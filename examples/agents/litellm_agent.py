"""LiteLLM as the client: `python examples/agents/litellm_agent.py`."""

from __future__ import annotations

import json
from typing import Any

import litellm

from examples.agents.workshop import Workshop, main

_MOST_TURNS = 8


def run(address: str, model: str, task: str, workshop: Workshop, protocol: str = "openai") -> str:
    """`protocol`: how LiteLLM asks, `openai` or `anthropic`."""
    base = {"openai": f"{address}/v1", "anthropic": address}[protocol]
    called = {tool.__name__: tool for tool in workshop.tools}
    tools = [{"type": "function", "function": _described(tool)} for tool in called.values()]
    said: list[Any] = [{"role": "user", "content": task}]
    for _ in range(_MOST_TURNS):
        reply = litellm.completion(f"{protocol}/{model}", said, api_base=base, api_key="none", tools=tools)
        message = reply.choices[0].message
        if not message.tool_calls:
            return str(message.content)
        said.append(message.model_dump())
        for call in message.tool_calls:
            result = called[call.function.name](**json.loads(call.function.arguments))
            said.append({"role": "tool", "tool_call_id": call.id, "content": result})
    return "too many turns"


def _described(tool: Any) -> dict[str, Any]:
    names = [name for name in tool.__annotations__ if name != "return"]
    parameters = {"type": "object", "properties": {name: {"type": "string"} for name in names}, "required": names}
    return {"name": tool.__name__, "description": tool.__doc__, "parameters": parameters}


if __name__ == "__main__":
    main(run)
