"""What a person sees of checks and trials in the terminal."""

from __future__ import annotations

import io
from typing import Any

import pytest

from tandem.cli.bill import print_result
from tandem.cli.output import Screen
from tandem.cli.view import LiveView
from tandem.client.events import Checked
from tandem.method.evidence.checks import Verdict
from tandem.v1 import tandem_pb2


def shown(event: Checked) -> str:
    console = Screen(file=io.StringIO(), width=200)
    LiveView(console).show(event)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_a_check_says_whose_answer_it_judged_and_why() -> None:
    failed = shown(Checked("python_examples", 0, "slm", Verdict.FAIL, "f(1) is 3, not 2", 0.5, 0.031, 1))
    assert "python_examples: the small model's try 1 fails: f(1) is 3, not 2 (31 ms)" in failed
    assert "the large model's answer passes" in shown(Checked("regex", 3, "llm", Verdict.PASS, "", 1.0, 0.0, 0))


def test_a_cancelled_request_saved_nothing() -> None:
    console = Screen(file=io.StringIO(), width=200)
    cost = {"usd": 0.01, "usd_llm_alone": 0.06}
    print_result(console, tandem_pb2.SolveResult(stop={"reason": tandem_pb2.STOP_REASON_CANCELLED}, cost=cost))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "it was cancelled, so no saving is counted" in text
    assert "truncated" not in text
    assert "%" not in text


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"complete": False}, "the answer was cut at its limit"),
        ({"complete": True, "stop": {"reason": tandem_pb2.STOP_REASON_BUDGET}}, "a limit ended the large model's text"),
    ],
)
def test_a_bill_that_is_not_compared_says_why_beside_the_large_models_cost(fields: dict[str, Any], why: str) -> None:
    """`$0.0000969, large model alone ≈ $0.000429: nothing saved` contradicts itself."""
    console = Screen(file=io.StringIO(), width=200)
    cost = {"usd": 0.0000969, "usd_llm_alone": 0.000429}
    stages = [{"stage": 0, "tokens": 0, "scorer": "words"}]
    print_result(console, tandem_pb2.SolveResult(answer="2", cost=cost, stages=stages, **fields))
    [bill] = [line for line in console.file.getvalue().splitlines() if line.startswith("bill")]  # type: ignore[attr-defined]
    assert f"{why}, so no saving is counted" in bill
    assert "nothing saved" not in bill


def test_a_bill_without_a_price_does_not_say_that_nothing_was_saved() -> None:
    console = Screen(file=io.StringIO(), width=200)
    print_result(console, tandem_pb2.SolveResult(complete=True, answer="42"))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "unknown price" in text
    assert "what is saved is unknown" in text
    assert "nothing saved" not in text


def test_a_bill_with_an_estimated_count_says_so_at_the_count_and_at_the_sum() -> None:
    usage = {"llm": {}, "slm": {"model": "s", "input_tokens": 7, "output_tokens": 5, "is_estimated": True}}
    console = Screen(file=io.StringIO(), width=200)
    print_result(console, tandem_pb2.SolveResult(complete=True, usage=usage, cost={"usd": 0.01}))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "small    ≈ 7 prompt tokens, 5 generated" in text
    assert "large    0 prompt tokens" in text
    assert "$0.01000000 (estimated)" in text


def test_each_trial_is_a_line_of_the_bill() -> None:
    usage = tandem_pb2.TokenUsage(model="S", input_tokens=10, output_tokens=5)
    trial = tandem_pb2.Trial(number=1, verdict=tandem_pb2.VERDICT_PASS, usage=usage, usd=0.00000123, check_seconds=0.02)
    result = tandem_pb2.SolveResult(
        answer="42", complete=True, stop={"reason": tandem_pb2.STOP_REASON_VERIFIED}, trials=[trial]
    )
    console = Screen(file=io.StringIO(), width=200)
    print_result(console, result)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "verified: its checks pass (stage 0)" in text
    assert "10 prompt tokens, 5 generated   $0.00000123   passes, 20 ms of checks" in text


def test_calls_of_tools_are_shown_and_no_answer_where_there_is_none() -> None:
    call = tandem_pb2.ToolCall(id="call_1", name="weather", arguments='{"city": "Pa\x1bris"}')
    result = tandem_pb2.SolveResult(
        complete=True, stop={"reason": tandem_pb2.STOP_REASON_LLM_FINISHED}, tool_calls=[call]
    )
    console = Screen(file=io.StringIO(), width=200)
    print_result(console, result)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert 'call     weather {"city": "Pa\x1bris"}' in text  # a file gets every text as it is
    assert "answer" not in text.replace("finished its answer", "")
