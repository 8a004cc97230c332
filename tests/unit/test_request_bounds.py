"""What a request may hold is counted before it is looked at."""

from __future__ import annotations

import pytest

from services.gateway.bounds import check_bounds, check_where
from tandem.method.errors import InvalidArgument
from tandem.v1 import tandem_pb2

MESSAGE = tandem_pb2.Message(text="x")
CHECK = tandem_pb2.Check(name="text")


def test_a_usual_request_is_within_all_bounds() -> None:
    check_bounds(tandem_pb2.SolveRequest(question="why?", checks=[CHECK] * 16, stop_strings=["a"] * 4))
    check_where("cost > 0.01")


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (tandem_pb2.SolveRequest(messages=[MESSAGE] * 1025), "messages"),
        (tandem_pb2.SolveRequest(checks=[CHECK] * 17), "checks"),
        (tandem_pb2.SolveRequest(checks=[tandem_pb2.Check(name="text", argument="x" * 65537)]), "checks"),
        (tandem_pb2.SolveRequest(stop_strings=["a"] * 5), "stop_strings"),
        (
            tandem_pb2.SolveRequest(stop=tandem_pb2.StopOverrides(thresholds=dict.fromkeys(range(65), 0.5))),
            "stop.thresholds",
        ),
        (tandem_pb2.SolveRequest(json_schema=" " * 262145), "json_schema"),
        (tandem_pb2.SolveRequest(tools=[tandem_pb2.Tool(name="f")] * 129), "tools"),
        (tandem_pb2.SolveRequest(tools=[tandem_pb2.Tool(name="f", parameters=" " * 65537)]), "tools.parameters"),
        (
            tandem_pb2.SolveRequest(messages=[tandem_pb2.Message(tool_calls=[tandem_pb2.ToolCall()] * 129)]),
            "messages.tool_calls",
        ),
    ],
)
def test_more_than_a_bound_is_refused_by_its_fields_name(request_: tandem_pb2.SolveRequest, field: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        check_bounds(request_)
    assert refused.value.field == field


def test_a_long_condition_is_not_parsed() -> None:
    with pytest.raises(InvalidArgument, match="at most 4096"):
        check_where("cost > 1 and " * 400)
