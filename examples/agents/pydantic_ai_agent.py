"""pydantic-ai: `python examples/agents/pydantic_ai_agent.py`."""

from __future__ import annotations

from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from examples.agents.workshop import Workshop, main


def run(address: str, model: str, task: str, workshop: Workshop) -> str:
    chat = OpenAIChatModel(model, provider=OpenAIProvider(base_url=f"{address}/v1", api_key="none"))
    agent = Agent(chat, tools=workshop.tools)
    return agent.run_sync(task).output


if __name__ == "__main__":
    main(run)
