"""The check `call`: what a caller knows of its tools' arguments beyond their types."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.gateway.checks import check_call_checks
from services.shared.checks.calls import schema_in
from services.shared.checks.registry import add_remote, find_check
from tandem.method.errors import InvalidArgument
from tandem.method.evidence.checks import CheckSpec, Verdict
from tandem.method.request.request import SolveRequest
from tandem.method.tools import Tool, ToolCall, ToolUse, calls_as_json

BOOKED = {"at": "2026-11-30", "seats": 3, "guest": {"name": "Ann"}, "tags": ["a", "b"]}


def asked(tools: ToolUse, *checks: str) -> SolveRequest:
    return SolveRequest("id", "?", task="chat", tools=tools, checks=[CheckSpec.parse(check) for check in checks])


def verdict(check: str, *arguments: dict[str, Any], tool: str = "geo.book") -> tuple[Verdict, str]:
    calls = [ToolCall("call_1", tool, json.dumps(each)) for each in arguments]
    spec = CheckSpec.parse(check)
    compare = find_check(spec).compare
    assert compare is not None
    found = compare("", calls_as_json(calls), spec.argument)
    return found.verdict, found.detail


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        (r"call:geo.book/at:regex:\d{4}-\d\d-\d\d", Verdict.PASS),
        (r"call:geo.book/at:regex:\d\d:\d\d", Verdict.FAIL),
        ("call:geo.book/guest/name:choice:Ann\nBob", Verdict.PASS),
        ("call:geo.book/guest/name:choice:Bob", Verdict.FAIL),
        ("call:geo.book/seats:regex:[1-4]", Verdict.PASS),
        ('call:geo.book/seats:json_schema:{"maximum": 2}', Verdict.FAIL),
        ('call:geo.book/tags:json_schema:{"uniqueItems": true}', Verdict.PASS),
        ('call:geo.book:json_schema:{"required": ["at", "until"]}', Verdict.FAIL),
        ('call:geo.book/at:json_schema:{"type": "string"}', Verdict.PASS),
        ("call:geo.book/until:choice:now", Verdict.UNKNOWN),
        ("call:other:json_schema:{}", Verdict.UNKNOWN),
    ],
)
def test_arguments_of_calls_are_checked_by_their_names(check: str, expected: Verdict) -> None:
    assert verdict(check, BOOKED)[0] is expected


def test_one_wrong_call_of_several_fails_and_the_reason_names_the_argument() -> None:
    found, detail = verdict("call:geo.book/seats:regex:[1-4]", BOOKED, {**BOOKED, "seats": 9})
    assert found is Verdict.FAIL
    assert detail == "geo.book/seats: '9' does not match [1-4]"


@pytest.mark.parametrize(
    "argument",
    [
        "",
        "geo.book",
        "geo.book:regex",
        "geo.book:regex:",
        "/at:regex:a",
        "geo.book//at:regex:a",
        "b:agreement:2",
        "b:regex:(",
    ],
)
def test_what_is_no_check_of_calls_is_refused(argument: str) -> None:
    with pytest.raises(InvalidArgument):
        check_call_checks(asked(ToolUse((Tool("b"), Tool("geo.book"))), f"call:{argument}"))


def test_a_schema_in_a_check_is_found_so_that_it_is_tried_within_limits() -> None:
    assert schema_in(CheckSpec.parse('call:b/at:json_schema:{"type": "string"}')) == '{"type": "string"}'
    assert schema_in(CheckSpec.parse("call:b/at:regex:a")) == ""
    assert schema_in(CheckSpec.parse("json_schema:{}")) == "{}"


@pytest.mark.parametrize(
    ("tools", "check", "why"),
    [
        (ToolUse((Tool("book"),)), "regex:a", "takes no check but `call`"),
        (ToolUse((Tool("book"),)), "call:other:regex:a", "no tool that may be called is 'other'"),
        (
            ToolUse((Tool("book"), Tool("see")), allowed=("see",)),
            "call:book:regex:a",
            "no tool that may be called is 'book'",
        ),
        (ToolUse((Tool("book"),), mode="none"), "call:book:regex:a", "there is no tool to be called"),
        (ToolUse(), "call:book:regex:a", "there is no tool to be called"),
    ],
)
def test_checks_and_tools_must_fit(tools: ToolUse, check: str, why: str) -> None:
    with pytest.raises(InvalidArgument, match=why):
        check_call_checks(asked(tools, check))


def test_checks_of_tools_that_may_be_called_are_taken() -> None:
    check_call_checks(
        asked(ToolUse((Tool("book"),)), "call:book/at:regex:a", 'call:book:json_schema:{"minProperties": 1}')
    )


def test_a_checker_of_ones_own_judges_calls_as_it_judges_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.shared.checks.registry._remote", {})
    add_remote(["customers"])
    check_call_checks(asked(ToolUse((Tool("book"),)), "customers:known", "call:book/at:regex:a"))
