"""LangChain's agent: `python examples/agents/langchain_agent.py`."""

from __future__ import annotations

from langchain.agents import create_agent
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from examples.agents.workshop import Workshop, main


def run(address: str, model: str, task: str, workshop: Workshop) -> str:
    chat = ChatOpenAI(model=model, base_url=f"{address}/v1", api_key=SecretStr("none"))
    agent = create_agent(chat, tools=workshop.tools)
    said = agent.invoke({"messages": [{"role": "user", "content": task}]})
    return str(said["messages"][-1].content)


if __name__ == "__main__":
    main(run)
