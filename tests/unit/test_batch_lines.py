"""One line of a batch's input, in both forms."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from services.gateway.batches import lines
from services.gateway.batches.admitted import BatchAdmission, Start
from services.gateway.batches.lines import MOST_BYTES, BadLine, parse
from services.shared.identity.caller import Caller, Owned
from tandem.method.errors import InvalidArgument

ROOT = Path(__file__).parents[2]
_CHARACTERS_PER_TOKEN = 5  # a token of English has 4 on average


def openai(stop: Any) -> dict[str, Any]:
    body = {"model": "p", "messages": [{"role": "user", "content": "why?"}], "stop": stop}
    return {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body}


def plain(stop: Any) -> dict[str, Any]:
    return {"question": "why?", "stop": stop}


@pytest.mark.parametrize("form", [openai, plain])
@pytest.mark.parametrize(("stop", "strings"), [("###", ["###"]), (["a", "b"], ["a", "b"]), ([], [])])
def test_a_lines_stop_reaches_the_request(form: Any, stop: Any, strings: list[str]) -> None:
    assert list(parse(json.dumps(form(stop)).encode()).request.stop_strings) == strings


def of_length(length: int) -> bytes:
    """A line of so many bytes, its end left out."""
    line = json.dumps({"question": ""}).encode()
    return line.replace(b'""', b'"%s"' % (b"x" * (length - len(line)))) + b"\n"


def test_a_line_of_a_mebibyte_is_read_and_a_longer_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(parse(of_length(MOST_BYTES)).request.question) == MOST_BYTES - len('{"question": ""}')
    monkeypatch.setattr(lines, "json", None)
    for line in (of_length(MOST_BYTES + 1), of_length(MOST_BYTES + 1)[:-1]):
        with pytest.raises(BadLine, match=f"at most {MOST_BYTES} bytes"):
            parse(line)


def test_the_longest_chat_that_a_shipped_profile_admits_fits_into_a_line() -> None:
    longest = max(_most_tokens(path) for path in (ROOT / "deploy" / "profiles").glob("*/profile.toml"))
    characters = longest * _CHARACTERS_PER_TOKEN
    escaped = json.dumps({"question": "é" * characters}).encode()
    assert len(escaped) > characters * 6
    assert len(parse(escaped).request.question) == characters


def _most_tokens(profile: Path) -> int:
    limits = tomllib.loads(profile.read_text())
    return max(limits["max_question_tokens"], limits.get("max_conversation_tokens", 0))


def test_a_line_that_is_too_long_is_named_with_the_limit() -> None:
    def admit(*_: Any) -> Start:
        raise InvalidArgument("refused", field="profile")

    admission = BatchAdmission(admit, Caller(), Owned("", "b"))
    assert list(admission.lines([b'{"question": "why?"}\n', of_length(MOST_BYTES + 1)])) == []
    with pytest.raises(InvalidArgument) as refused:
        admission.admitted()
    assert str(refused.value).splitlines()[1:] == [
        "line 1: profile: refused",
        f"line 2: a line has at most {MOST_BYTES} bytes",
    ]


def test_a_line_with_an_integer_of_thousands_of_digits_is_a_bad_line() -> None:
    with pytest.raises(BadLine, match="4000 digits"):
        parse(b'{"question": "why?", "seed": ' + b"9" * 4000 + b"}")


@pytest.mark.parametrize("text", [b"[" * 100_000, b'{"question": "why?", "json_schema": ' + b'{"a":' * 100_000])
def test_a_line_that_is_nested_too_deeply_is_a_bad_line(text: bytes) -> None:
    with pytest.raises(BadLine, match="nested too deeply"):
        parse(text)
