"""One line of a batch's input, in both forms."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.batches.lines import parse


def openai(stop: Any) -> dict[str, Any]:
    body = {"model": "p", "messages": [{"role": "user", "content": "why?"}], "stop": stop}
    return {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body}


def plain(stop: Any) -> dict[str, Any]:
    return {"question": "why?", "stop": stop}


@pytest.mark.parametrize("form", [openai, plain])
@pytest.mark.parametrize(("stop", "strings"), [("###", ["###"]), (["a", "b"], ["a", "b"]), ([], [])])
def test_a_lines_stop_reaches_the_request(form: Any, stop: Any, strings: list[str]) -> None:
    assert list(parse(json.dumps(form(stop)).encode()).request.stop_strings) == strings
