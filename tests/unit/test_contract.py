"""Values of a caller that no field of the contract can hold are refused by the field's name, before anything is
sent.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from services.gateway.batches.lines import BadLine, parse
from services.shared.process.status import to_status
from tandem import Client, RequestError
from tandem.client.batches import new_batch
from tandem.client.contract import lone_surrogate, readable, to_message
from tandem.client.request import solve_request
from tandem.method.errors import InvalidArgument
from tandem.openai.json_body import find_fault
from tandem.v1 import tandem_pb2

LONE, NOWHERE = "a\ud800b", "127.0.0.1:1"
BEYOND: list[tuple[str, Callable[[], object]]] = [
    ("max_answer_tokens", lambda: solve_request("q", max_answer_tokens=2**32)),
    ("budget.max_llm_tokens", lambda: solve_request("q", max_llm_tokens=2**64)),
    ("budget.max_llm_tokens", lambda: solve_request("q", max_llm_tokens=-1)),
    ("budget.max_cost_usd", lambda: solve_request("q", max_cost_usd=10**400)),
    ("stop.max_stage", lambda: solve_request("q", max_stage=10**40)),
    ("stop.thresholds", lambda: solve_request("q", thresholds={2**32: 0.5})),
    ("sampling.seed", lambda: solve_request("q", seed=2**64)),
    ("concurrency", lambda: new_batch("file-x", concurrency=2**32)),
    ("window_seconds", lambda: new_batch("file-x", window_seconds=2**53)),
    ("limit", lambda: Client(NOWHERE).list(limit=2**32)),
    ("limit", lambda: Client(NOWHERE).batches.list(limit=2**63)),
]
NO_UNICODE: list[tuple[str, Callable[[], object]]] = [
    ("question", lambda: solve_request(LONE)),
    ("messages.text", lambda: solve_request([{"role": "user", "content": LONE}])),
    ("profile", lambda: solve_request("q", profile=LONE)),
    ("tenant", lambda: solve_request("q", tenant=LONE)),
    ("request_id", lambda: solve_request("q", request_id=LONE)),
    ("stop_strings", lambda: solve_request("q", stop=["x", LONE])),
    ("json_schema", lambda: solve_request("q", json_schema=LONE)),
    ("checks.argument", lambda: solve_request("q", checks=[f"regex:{LONE}"])),
    ("metadata", lambda: new_batch("file-x", metadata={"a": LONE})),
    ("metadata", lambda: new_batch("file-x", metadata={LONE: "a"})),
    ("request_id", lambda: Client(NOWHERE).get(LONE)),
    ("where", lambda: Client(NOWHERE).list(LONE)),
    ("batch_id", lambda: Client(NOWHERE).batches.get(LONE)),
]


@pytest.mark.parametrize(("field", "made"), BEYOND + NO_UNICODE)
def test_what_no_field_can_hold_is_refused_by_the_fields_name(field: str, made: Callable[[], object]) -> None:
    with pytest.raises(RequestError) as refused:
        made()
    assert (refused.value.code, refused.value.field) == (grpc.StatusCode.INVALID_ARGUMENT, field)
    assert str(refused.value).startswith(f"{field} ")
    str(refused.value).encode()


@pytest.mark.parametrize(("field", "made"), NO_UNICODE)
def test_text_that_is_no_unicode_is_refused_with_its_place(field: str, made: Callable[[], object]) -> None:
    with pytest.raises(RequestError, match=r"U\+D800 at character \d"):
        made()


def test_a_value_of_another_type_remains_the_programs_mistake() -> None:
    with pytest.raises(TypeError):
        to_message(tandem_pb2.SolveRequest, question=7)  # type: ignore[arg-type]


def test_a_surrogate_pair_is_text_and_half_of_one_is_shown_as_an_escape() -> None:
    assert lone_surrogate(json.loads(r'"\ud83d\ude00"')) == ""
    assert readable(LONE) == r"a\ud800b"


@pytest.mark.parametrize("credential", ["ké", "key\n", "a\tb", "\x00", "\udcff"])
def test_a_credential_that_no_header_can_hold_is_refused(credential: str) -> None:
    with pytest.raises(RequestError, match=r"U\+") as refused:
        Client(NOWHERE, credential).profiles()
    assert refused.value.code is grpc.StatusCode.UNAUTHENTICATED


def test_a_refusal_that_quotes_half_a_surrogate_pair_can_be_sent() -> None:
    status = to_status(InvalidArgument(f"no profile {LONE}", field="profile"))
    assert status.message == r"no profile a\ud800b"
    details = error_details_pb2.BadRequest()
    assert status.details[1].Unpack(details)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"a": [1, {"b": LONE}]}, "a[1].b"), ({"a": {LONE: 1}}, r"a.a\ud800b"), (LONE, ""), ([float("nan")], "[0]"),
        ({"x": {"y": float("-inf")}}, "x.y"), (json.loads("[" * 500 + "1e400" + "]" * 500), "[0]" * 500),
    ],
)  # fmt: skip
def test_what_json_cannot_say_is_found_by_its_path(value: Any, path: str) -> None:
    found = find_fault(value)
    assert found
    assert found[0] == path


def test_what_json_can_say_has_no_fault() -> None:
    assert find_fault({"a": [1, -0.0, 2**64, 1e308, "é\U0001f600", None, True]}) is None


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"question": LONE}, "question holds"),
        ({"question": "q", "metadata": {"a": LONE}}, r"metadata\.a holds"),
        ({"question": "q", "max_answer_tokens": 2**32}, "max_answer_tokens: "),
        ({"question": "q", "thresholds": {str(2**32): 0.5}}, r"thresholds\.4294967296"),
        ({"question": "q", "threshold": float("nan")}, "threshold is no finite number"),
        ({"custom_id": LONE, "method": "POST", "url": "/v1/chat/completions", "body": {}}, "custom_id holds"),
    ],
)  # fmt: skip
def test_a_line_of_a_batch_is_refused_by_the_same_rules(line: dict[str, Any], said: str) -> None:
    with pytest.raises(BadLine, match=said):
        parse(json.dumps(line).encode())
