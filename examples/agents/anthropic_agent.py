"""Anthropic's SDK with its tool runner: `python examples/agents/anthropic_agent.py`."""

from __future__ import annotations

from anthropic import Anthropic, beta_tool

from examples.agents.workshop import Workshop, main


def run(address: str, model: str, task: str, workshop: Workshop) -> str:
    client = Anthropic(base_url=address, api_key="none")
    tools = [beta_tool(tool) for tool in workshop.tools]
    runner = client.beta.messages.tool_runner(
        model=model, max_tokens=256, tools=tools, messages=[{"role": "user", "content": task}]
    )
    last = runner.until_done()
    return "".join(block.text for block in last.content if block.type == "text")


if __name__ == "__main__":
    main(run)
