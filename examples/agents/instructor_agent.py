"""instructor, which asks for each step as a call of a function: `python examples/agents/instructor_agent.py`."""

from __future__ import annotations

from typing import Any, Literal

import instructor
from openai import OpenAI
from pydantic import BaseModel

from examples.agents.workshop import Workshop, main

_MOST_STEPS = 8


class Step(BaseModel):
    """The next step: query with `sql`, calculate with `expression`, save with `name` and `text`, or finish with
    `text`.
    """

    action: Literal["query", "calculate", "save", "finish"]
    sql: str = ""
    expression: str = ""
    name: str = ""
    text: str = ""

    def take(self, workshop: Workshop) -> str:
        match self.action:
            case "query":
                return workshop.query(self.sql)
            case "calculate":
                return workshop.calculate(self.expression)
            case "save":
                return workshop.save(self.name, self.text)
        return self.text


def run(address: str, model: str, task: str, workshop: Workshop) -> str:
    client = instructor.from_openai(OpenAI(base_url=f"{address}/v1", api_key="none"))
    said: list[Any] = [{"role": "user", "content": task}]
    for _ in range(_MOST_STEPS):
        step = client.create(model=model, response_model=Step, messages=said)
        result = step.take(workshop)
        if step.action == "finish":
            return result
        said += [
            {"role": "assistant", "content": step.model_dump_json(exclude_defaults=True)},
            {"role": "user", "content": f"The result is: {result}. What is the next step?"},
        ]
    return "too many steps"


if __name__ == "__main__":
    main(run)
