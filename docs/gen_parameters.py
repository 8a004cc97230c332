"""The tables of docs/openai-parameters.md: the parameters that bodies read, and what is refused and what to do instead
(the PARAMETERS of each protocol's file in tandem.openai). `make tables` writes them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from tandem.openai.body import ApiBody
from tandem.openai.chat_request import ChatCompletionRequest
from tandem.openai.messages_request import MessagesRequest
from tandem.openai.responses_request import ResponsesRequest

PAGE = Path(__file__).with_name("openai-parameters.md")
BODIES: dict[str, type[ApiBody]] = {
    "chat": ChatCompletionRequest,
    "responses": ResponsesRequest,
    "messages": MessagesRequest,
}


def render(page: str) -> str:
    """The page with its tables written again."""
    used = [f"| {api} | {_names(body.model_fields)} |" for api, body in BODIES.items()]
    refused = [f"| {api} | {row} |" for api, body in BODIES.items() for row in _refused(body)]
    tables = {
        "used": ["| API | parameters |", "|---|---|", *used],
        "refused": ["| API | parameters | instead, or why |", "|---|---|---|", *refused],
    }
    for mark, lines in tables.items():
        before, _, rest = page.partition(f"<!-- {mark} -->\n")
        page = "\n".join([f"{before}<!-- {mark} -->", *lines, f"<!-- end -->{rest.partition('<!-- end -->')[2]}"])
    return page


def _refused(body: type[ApiBody]) -> Iterator[str]:
    """A row for what has the same reason."""
    found: dict[str, list[str]] = {}
    for name, known in body.parameters.items():
        if known.is_refused:
            nothing = ", ".join(f"`{json.dumps(value)}`" for value in known.nothing)
            passed = " (passes)" if body.allows(name) else ""
            found.setdefault(known.about, []).append(f"`{name}`{passed}{f' but {nothing}' if nothing else ''}")
    return (f"{', '.join(names)} | {about}" for about, names in found.items())


def _names(names: dict[str, object]) -> str:
    return ", ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text()))
