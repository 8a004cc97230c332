"""OpenAI's agents SDK, which asks /v1/responses by default: `python examples/agents/openai_agents_agent.py`."""

from __future__ import annotations

from agents import Agent, Runner, function_tool, set_default_openai_client, set_tracing_disabled
from openai import AsyncOpenAI

from examples.agents.workshop import Workshop, main


def run(address: str, model: str, task: str, workshop: Workshop) -> str:
    set_tracing_disabled(True)  # its traces go to OpenAI
    set_default_openai_client(AsyncOpenAI(base_url=f"{address}/v1", api_key="none"))
    tools = [function_tool(tool) for tool in workshop.tools]
    agent = Agent(name="clerk", instructions="Use the tools.", model=model, tools=list(tools))
    return str(Runner.run_sync(agent, task).final_output)


if __name__ == "__main__":
    main(run)
