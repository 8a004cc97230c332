"""`tandem ask` prints the answer, and on a terminal one line under it; `-v` shows the models at work, each text once
and whole words.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

import pytest

from tandem.cli.answer_view import AnswerView
from tandem.cli.bill import print_result
from tandem.cli.output import Screen
from tandem.cli.view import LiveView
from tandem.client.events import (
    Accepted,
    AnswerDelta,
    Completed,
    Event,
    InsightDelta,
    LlmStopped,
    Scored,
    StageCompleted,
)
from tandem.method.request.events import AnswerText
from tandem.v1 import tandem_pb2

CODE = "def double(x):\n    return 2 * x"
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def screen(*, terminal: bool) -> Screen:
    return Screen(file=io.StringIO(), width=200, force_terminal=terminal)


def text(console: Screen) -> str:
    return _COLOURS.sub("", console.file.getvalue())  # type: ignore[attr-defined]


def result(answer: str, **fields: object) -> tandem_pb2.SolveResult:
    given = {
        "complete": True,
        "answered_by": tandem_pb2.ROLE_SLM,
        "stop": {"reason": tandem_pb2.STOP_REASON_SUFFICIENT, "stage": 1, "score": 0.9, "threshold": 0.8},
        "stages": [{"stage": 1, "tokens": 16, "score": 0.9, "threshold": 0.8, "scorer": "words", "trained": True}],
        "cost": {"usd": 0.000123, "usd_llm_alone": 0.001, "saved_ratio": 0.877},
    }
    return tandem_pb2.SolveResult(answer=answer, **{**given, **fields})  # type: ignore[arg-type]


def asked(events: Sequence[Event], *, terminal: bool, quiet: bool = False, final: bool = False) -> str:
    console = screen(terminal=terminal)
    with AnswerView(console, quiet=quiet, final=final) as view:
        for event in events:
            view.show(event)
    return text(console)


def accepted(source: AnswerText = AnswerText.UNSPECIFIED) -> Accepted:
    return Accepted("request", "trace", "profile", 3, source)


SHORT = (
    accepted(),
    InsightDelta("12 times 17", 3),
    Scored(1, 0.9, 0.8, True, "words", True),
    AnswerDelta("204", 1),
    Completed(result("204")),
)


def test_a_terminal_gets_the_answer_and_one_line_under_it() -> None:
    answer, line = asked(SHORT, terminal=True).splitlines()
    assert answer == "204"
    assert line == (
        "the small model answered from 16 tokens of the large model · $0.000123 · 88 % saved (estimate)"
    )  # fmt: skip


def test_a_pipe_gets_the_answer_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert asked(SHORT, terminal=False) == "204\n"
    assert capsys.readouterr().err == ""


REMOVED = "It is gone for good, and known to be. So it is \\boxed{410}."
VALUED = (
    accepted(AnswerText.CONTINUATION),
    InsightDelta("It is gone for good, ", 6),
    StageCompleted(1, "one", 6),
    Scored(1, 0.9, 0.8, True, "words", True),
    AnswerDelta("and known to be. So it is \\boxed{410}.", 20),
    Completed(result("410", text=REMOVED)),
)


def test_what_was_written_is_printed_and_on_a_terminal_its_final_value_beside_it() -> None:
    assert asked(VALUED, terminal=False) == f"{REMOVED}\n"
    assert asked(VALUED, terminal=True, quiet=True) == f"{REMOVED}\n"
    written, value, line = asked(VALUED, terminal=True).splitlines()
    assert (written, value) == (REMOVED, "answer: 410")
    assert line.startswith("the small model answered from 16 tokens")


def test_the_final_value_alone_is_an_option() -> None:
    assert asked(VALUED, terminal=False, final=True) == "410\n"
    assert asked(VALUED, terminal=True, final=True).splitlines()[0] == "410"
    assert asked(SHORT, terminal=False, final=True) == "204\n"


def test_a_gateway_of_an_earlier_version_reports_no_text_and_its_answer_is_printed() -> None:
    assert asked((accepted(), Completed(result("410"))), terminal=False) == "410\n"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"complete": False}, "cut at its limit"),
        ({"stop": {"reason": tandem_pb2.STOP_REASON_UNVERIFIED_BEST}}, "no answer passed the checks"),
        ({"stop": {"reason": tandem_pb2.STOP_REASON_LLM_UNAVAILABLE}}, "because the large model failed"),
    ],
)
@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "quiet"])
def test_where_no_line_is_printed_standard_error_says_what_an_answer_lacks(
    fields: dict[str, Any], said: str, terminal: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    events = (accepted(), Completed(result("20", **fields)))
    assert asked(events, terminal=terminal, quiet=True) == "20\n"
    assert said in capsys.readouterr().err


def test_quiet_prints_nothing_but_the_answer_on_a_terminal_too() -> None:
    assert asked(SHORT, terminal=True, quiet=True) == "204\n"


def test_a_text_that_streams_is_shown_once_and_as_it_comes() -> None:
    console = screen(terminal=False)
    with AnswerView(console) as view:
        view.show(accepted(AnswerText.INSIGHT))
        view.show(InsightDelta("Good ", 1))
        assert text(console) == "Good"
        view.show(InsightDelta("day.", 2))
        view.show(Completed(result("Good day.")))
    assert text(console) == "Good day.\n"


def test_a_text_whose_beginning_was_lost_is_shown_anew_and_whole() -> None:
    events = (accepted(AnswerText.INSIGHT), InsightDelta("Good", 1), Completed(result("Bad day.")))
    assert asked(events, terminal=False).splitlines()[-1] == "Bad day."


def test_calls_of_tools_are_printed_where_no_text_is() -> None:
    calls = [tandem_pb2.ToolCall(id="1", name="weather", arguments='{"city": "Paris"}')]
    shown = asked((accepted(), Completed(result("", tool_calls=calls))), terminal=False)
    assert shown == 'weather {"city": "Paris"}\n'


def line(**fields: object) -> str:
    return asked((accepted(), Completed(result("x", **fields))), terminal=True).splitlines()[1]


def test_the_line_says_who_answered() -> None:
    reasons = tandem_pb2.StopReason
    finished = line(stop={"reason": reasons.STOP_REASON_LLM_FINISHED}, answered_by=tandem_pb2.ROLE_LLM)
    assert finished.startswith("the large model answered by itself · ")
    alone = line(stop={"reason": reasons.STOP_REASON_SUFFICIENT, "stage": 0})
    assert alone.startswith("the small model answered by itself · ")
    checked = line(stop={"reason": reasons.STOP_REASON_VERIFIED, "stage": 0})
    assert checked.startswith("the small model answered by itself, and its checks pass · ")
    failed = line(stop={"reason": reasons.STOP_REASON_UNVERIFIED_BEST}, answered_by=tandem_pb2.ROLE_LLM)
    assert failed.startswith("the large model answered by itself, but no answer passed the checks · ")


def test_the_line_claims_no_saving_that_is_none() -> None:
    exact = {"usd": 0.001, "usd_llm_alone": 0.001, "saved_ratio": 0.0, "llm_alone_is_exact": True}
    assert line(cost=exact).endswith(" · nothing saved")
    assert line(cost={"usd": 0.002, "saved_ratio": -0.5}).endswith(" · 50 % more spent (estimate)")
    assert line(complete=False).endswith(" · the answer was cut at its limit, so no saving is counted")
    limited = line(stop={"reason": tandem_pb2.STOP_REASON_BUDGET}, cost={"usd": 0.0001, "usd_llm_alone": 0.0004})
    assert limited.endswith(" · a limit ended the large model's text, so no saving is counted")


def test_without_a_price_the_line_does_not_say_that_nothing_was_saved() -> None:
    assert line(cost={}).endswith("what is saved is unknown")


def test_notes_of_the_request_are_told_on_the_line() -> None:
    assert "2 notes: -v shows them" in line(notes=["a", "b"])


def test_a_policy_that_outcomes_have_made_stricter_is_told_on_the_line_and_in_full() -> None:
    assert "stricter" not in line()
    assert "policy 2 steps stricter" in line(policy_step=2)
    assert "policy 1 step stricter" in line(policy_step=1)
    found = text_of_result(policy_step=2)
    assert "policy   2 steps stricter than calibrated: outcomes say that more was lost than promised" in found
    assert "policy   " not in text_of_result()


def test_a_result_shown_later_has_the_whole_text_and_its_final_value() -> None:
    shown = text_of_result(text="Two and two are \\boxed{Four.}")
    assert "text     Two and two are \\boxed{Four.}\nanswer   Four.\n" in shown
    assert "text     " not in text_of_result()


def text_of_result(**fields: object) -> str:
    console = screen(terminal=True)
    print_result(console, result("Four.", **fields))
    return text(console)


def verbose(events: Sequence[Event]) -> str:
    console = screen(terminal=False)
    view = LiveView(console)
    for event in events:
        view.show(event)
    return text(console)


def test_no_line_of_a_stage_stands_in_the_middle_of_a_word() -> None:
    shown = verbose([
        InsightDelta("the exam", 2), StageCompleted(1, "outline", 2), Scored(1, 0.1, 0.8, False, "words", True),
        InsightDelta("ple is", 3), StageCompleted(2, "steps", 3), InsightDelta(" short", 4),
        LlmStopped("sufficient", 1.0, 0),
    ])  # fmt: skip
    assert "the example\n  stage 1 (outline) generated" in shown
    assert "is\n  stage 2 (steps) generated" in shown
    assert "short\n  large model stopped" in shown


def test_lines_that_wait_for_the_end_of_a_word_are_shown_where_the_text_ends() -> None:
    events = [InsightDelta("exam", 2), StageCompleted(1, "outline", 2), AnswerDelta("4", 1), Completed(result("4"))]
    shown = verbose(events)
    assert "exam\n  stage 1 (outline) generated: 2 tokens\nsmall model:\n4" in shown


def test_code_is_shown_once() -> None:
    shown = verbose([AnswerDelta(f"```python\n{CODE}\n```", 20), Completed(result(CODE))])
    assert shown.count("return 2 * x") == 1
    assert "answer   as above" in shown


def test_an_answer_taken_out_of_a_text_is_shown_beside_it() -> None:
    shown = verbose([AnswerDelta("So it is \\boxed{4}.", 9), Completed(result("4"))])
    assert "answer   4\n" in shown
