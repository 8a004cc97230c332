"""Tools of a server of MCP, which the client speaks to: `python examples/agents/mcp_agent.py`. Tandem sees tools like
any others.
"""

from __future__ import annotations

import asyncio
import sys

from agents import Agent, Runner, set_default_openai_client, set_tracing_disabled
from agents.mcp import MCPServerStdio
from openai import AsyncOpenAI

from examples.agents.workshop import Workshop, main


def run(address: str, model: str, task: str, workshop: Workshop) -> str:
    return asyncio.run(_run(address, model, task, workshop))


async def _run(address: str, model: str, task: str, workshop: Workshop) -> str:
    set_tracing_disabled(True)
    set_default_openai_client(AsyncOpenAI(base_url=f"{address}/v1", api_key="none"))
    server = ["-m", "examples.agents.mcp_server", str(workshop.folder)]
    async with MCPServerStdio({"command": sys.executable, "args": server}) as tools:
        agent = Agent(name="clerk", instructions="Use the tools.", model=model, mcp_servers=[tools])
        return str((await Runner.run(agent, task)).final_output)


if __name__ == "__main__":
    main(run)
