"""A promise from one's own requests: what is lost is bounded by the disputes, and only these are to be labelled."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("pyarrow")
pytest.importorskip("math_verify")

from lab.disputes.asked import compare_all, read_asked
from lab.disputes.labels import Labels
from lab.training.errors import StoreError
from lab.training.promise import upper_bound
from tandem.cli import app
from tandem.method.profile.profile import load_profile
from tandem.method.profile.watched_promise import Watched
from tandem.method.request.plan import make_plan
from tandem.method.rule.strictness import by_steps
from tests.promise_course import Courses

TOOL = {
    "type": "function",
    "function": {"name": "get", "parameters": {"type": "object", "properties": {"n": {"type": "integer"}}}},
}
Said = int | str | None
"""The argument of a call, a text, or nothing called."""


def line(number: int, slm: Said, second: Said, llm: Said, **more: Any) -> dict[str, Any]:
    def reply(said: Said) -> dict[str, Any]:
        called = [["get", json.dumps({"n": said})]] if isinstance(said, int) else []
        return {"text": "" if isinstance(said, int) else said or "no tool fits", "calls": called, "tokens": [100, 10]}

    body = {"model": "mine", "messages": [{"role": "user", "content": f"question {number}"}], "tools": [TOOL]}
    answers = {"slm": reply(slm), "second_slm": reply(second), "llm": reply(llm)}
    return {"id": f"r{number}", "request": body, "answers": answers} | more


def as_text(given: dict[str, Any], task: str) -> dict[str, Any]:
    return given | {
        "task": task,
        "request": {name: value for name, value in given["request"].items() if name != "tools"},
    }


@pytest.fixture
def answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, profiles_folder: Path) -> Path:
    """200 requests with tools: on 100 both small models make the same call, which the large one disputes on 6; on 20
    nobody calls; on 80 they differ. Five more repeat one of the others.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TANDEM_PROFILES_PATH", str(profiles_folder))
    lines = [line(n, n, n, -n if 0 < n <= 6 else n) for n in range(100)]
    lines += [line(n, None, None, None) for n in range(100, 120)]
    lines += [line(n, n, -n, n) for n in range(120, 200)]
    lines += [lines[1] | {"id": f"again{n}"} for n in range(5)]
    file = tmp_path / "mine.jsonl"
    file.write_text("".join(json.dumps(each) + "\n" for each in lines))
    return file


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, profiles_folder: Path) -> Path:
    """A folder with one profile, which may be written."""
    folder = tmp_path / "profiles"
    shutil.copytree(profiles_folder / "scripted-second", folder / "scripted-second")
    monkeypatch.setenv("TANDEM_PROFILES_PATH", str(folder))
    return folder


def run(*words: object, code: int = 0, said: str = "") -> str:
    result = CliRunner().invoke(app, [str(word) for word in words], input=said)
    assert result.exit_code == code, result.output
    return result.output


def calibrated(file: Path, promise: float, code: int = 0) -> dict[str, Any]:
    told = json.loads(run("calibrate", file, "--profile", "scripted", "--lose-at-most", promise, "--json", code=code))
    [shown] = told["promises"]
    found: dict[str, Any] = shown
    return found


def test_disputes_bound_what_is_lost_without_a_label_and_repeated_requests_are_one(answered: Path) -> None:
    shown = calibrated(answered, 0.08)
    call, either = shown["tested"]
    assert call["counted"] == {"n": 200, "taken": 100, "disputes": 6, "labelled": 0, "lost": 0}
    assert either["counted"]["taken"] == 120
    assert call["bound"] == pytest.approx(upper_bound(6, 200, 1 - 0.05 * 0.75))
    assert shown["chosen"] == "the same call, or none by both"


def test_of_two_rules_with_the_same_gain_the_stricter_one_is_written(tmp_path: Path, own: Path) -> None:
    """No request shows what comes of a text that both small models write in the place of a call."""
    calls = [line(n, n, n, n) for n in range(200)]
    for name, lines, no_call in (
        ("calls alone", calls, False),
        ("one text is called by a model", [*calls, line(200, None, 200, 200)], False),
        ("one text of both", [*calls, line(200, None, None, None)], True),
    ):
        file = tmp_path / f"{no_call}{len(lines)}.jsonl"
        file.write_text("".join(json.dumps(each) + "\n" for each in lines))
        told = json.loads(
            run(
                *("calibrate", file, "--profile", "scripted-second", "--lose-at-most", 0.1, "--write", "--json"),
                *("--study", tmp_path / name),
            )
        )
        [shown] = told["promises"]
        assert [each["is_accepted"] for each in shown["tested"]] == [True, True], name
        assert (shown["chosen"] == "the same call") is not no_call, name
        assert load_profile("scripted-second", (own,)).agreement.no_call is no_call, name


def test_labels_are_asked_for_disputes_alone_and_more_of_them_are_no_other_look(answered: Path) -> None:
    before = calibrated(answered, 0.03, code=1)
    assert (before["look"], before["labels_needed"], before["chosen"]) == (1, 5, None)  # one lost of 200 shows 3 %
    run("disputes", answered, said="l\nb\nq\n")
    after = calibrated(answered, 0.03, code=1)
    assert (after["look"], after["labels_needed"], after["tested"][0]["counted"]["labelled"]) == (1, 3, 2)
    told = run("disputes", answered, said="l\nl\nl\nr\n")
    assert "6 of 6 disputes have a label" in " ".join(told.split())
    kept = calibrated(answered, 0.03)
    assert kept["tested"][0]["counted"] == {"n": 200, "taken": 100, "disputes": 6, "labelled": 6, "lost": 1}
    assert (kept["look"], kept["chosen"]) == (1, "the same call, or none by both")
    assert "who is right" not in run("disputes", answered)


def test_other_questions_are_another_look_at_a_higher_confidence(answered: Path) -> None:
    first = calibrated(answered, 0.03, code=1)
    with answered.open("a") as file:
        file.write(json.dumps(line(300, 1, 1, 1)) + "\n")
    second = calibrated(answered, 0.03, code=1)
    assert (first["look"], second["look"]) == (1, 2)
    assert second["confidence"] > first["confidence"]


def test_a_promise_that_is_kept_is_written_into_the_profile_which_then_serves_by_agreement(
    answered: Path, own: Path
) -> None:
    wanted = ("calibrate", answered, "--profile", "scripted-second", "--write", "--lose-at-most")
    run(*wanted, "0.01", code=1)
    assert load_profile("scripted-second", (own,)).agreement.kinds == ()
    assert "takes so now: tools" in run(*wanted, "0.1")
    served = load_profile("scripted-second", (own,))
    assert served.evidence("tools") == "agreement, both: scripted-slm, scripted-second"
    [made] = served.promises
    assert (made.task, made.n, made.lost, served.keeps(made)) == ("tools", 200, 6, True)
    assert make_plan(served, "chat", may_call=True).trial.agree == 2
    assert made.differ_at_most is None  # each difference counts as lost in the promise, too


def test_a_promise_of_labelled_disputes_is_watched_by_differences_against_the_share_that_differed(
    answered: Path, own: Path
) -> None:
    run("disputes", answered, said="l\nl\nb\nb\nn\nr\n")
    run("calibrate", answered, "--profile", "scripted-second", "--write", "--lose-at-most", "0.03")
    [made] = load_profile("scripted-second", (own,)).promises
    assert (made.lost, made.differ_at_most) == (1, pytest.approx(upper_bound(6, 200, 1 - 0.05 * 0.75), abs=1e-6))
    assert [made.watched_share(is_judged=judged) for judged in (True, False)] == [0.03, made.differ_at_most]

    def is_broken(share: float) -> bool:
        """5 % differ, as may be by the calibration, in which a sixth of the differences was lost."""
        generator, course = random.Random(3), Courses()
        watched = Watched("tools", "agreement", "made", share, 0.95, steps=1)
        return any(course.count(generator.random() < 0.05, watched).any() for _ in range(3000))

    assert is_broken(made.lose_at_most)
    assert not is_broken(made.watched_share(is_judged=False))


def test_disputes_are_shown_and_labelled_without_a_terminal(answered: Path) -> None:
    [first, *others] = json.loads(run("disputes", answered, "--json"))["disputes"]
    assert len(others) == 5
    assert (first["kind"], first["label"]) == ("calls", None)
    assert first["left"] != first["right"]
    run("disputes", answered, "--take", f"{first['id']}=neither")
    assert json.loads(run("disputes", answered, "--json"))["disputes"][0]["label"] == "neither"
    run("disputes", answered, "--take", f"{first['id']}=perhaps", code=2)
    run("disputes", answered, "--take", "r150=left", code=2)  # no dispute: they differ
    assert len(Labels(answered).read()) == 1


def test_a_label_is_of_the_answers_that_it_was_given_for(answered: Path) -> None:
    run("disputes", answered, "--take", "r1=left")
    text = answered.read_text().replace('{\\"n\\": -1}', '{\\"n\\": -100}')
    answered.write_text(text)
    assert [each["label"] for each in json.loads(run("disputes", answered, "--json"))["disputes"]] == [None] * 6


def test_free_text_gets_no_promise_and_final_answers_are_compared_by_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, profiles_folder: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TANDEM_PROFILES_PATH", str(profiles_folder))
    poems = [as_text(line(n, "a poem", "a poem", "a poem"), "chat") for n in range(3)]
    file = tmp_path / "texts.jsonl"
    file.write_text("".join(json.dumps(each) + "\n" for each in poems))
    assert "free text" in run("calibrate", file, "--profile", "scripted", "--lose-at-most", "0.5", code=1)
    answers = [as_text(line(n, "\\boxed{1/2}", "so \\boxed{0.5}", "\\boxed{3}"), "answer") for n in range(3, 9)]
    file.write_text("".join(json.dumps(each) + "\n" for each in poems + answers))
    [shown] = json.loads(run("calibrate", file, "--profile", "scripted", "--lose-at-most", "0.5", "--json", code=1))[
        "promises"
    ]
    assert shown["about"] == "answer"
    assert shown["tested"][0]["counted"] == {"n": 6, "taken": 6, "disputes": 6, "labelled": 0, "lost": 0}


def test_options_have_a_promise_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, profiles_folder: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(profiles_folder / "scripted-second", tmp_path / "own" / "scripted-second")
    monkeypatch.setenv("TANDEM_PROFILES_PATH", str(tmp_path / "own"))
    maths = [as_text(line(n, "\\boxed{1/2}", "\\boxed{0.5}", "\\boxed{0.5}"), "answer") for n in range(40)]
    listed = [as_text(line(n, "\\boxed{B) Rome}", "\\boxed{(B)}", "A"), "answer") for n in range(40, 80)]
    for each in listed:
        each["request"]["messages"][0]["content"] += "\nA) Paris\nB) Rome"
    file = tmp_path / "mine.jsonl"
    file.write_text("".join(json.dumps(each) + "\n" for each in maths + listed))
    wanted = ("calibrate", file, "--profile", "scripted-second", "--lose-at-most", "0.2", "--write", "--json")
    shown = {each["about"]: each for each in json.loads(run(*wanted, code=1))["promises"]}
    assert shown["option"]["tested"][0]["counted"]["disputes"] == 40
    assert (shown["answer"]["chosen"], shown["option"]["chosen"]) == ("the same answer", None)
    served = load_profile("scripted-second", (tmp_path / "own",))
    options = "Which?\n(A) Paris\n(B) Rome"
    assert make_plan(served, question="1/2 + 0?").trial.agree == 2
    assert make_plan(served, question=options).trial.agree == 0
    assert (served.agreement.kind_of("answer", "", may_call=False, question=options), served.accepts("option")) == (
        "option",
        True,
    )
    file.write_text(file.read_text().replace('"text": "A"', '"text": "B"'))
    run(*wanted)
    served = load_profile("scripted-second", (tmp_path / "own",))
    assert [make_plan(served, question=each).trial.agree for each in ("1/2 + 0?", options)] == [2, 2]
    *_, last = by_steps(served, "option")
    assert make_plan(last, question=options).trial.agree == 0
    assert not last.accepts("option")


def test_programs_that_compute_the_same_are_no_dispute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_ALLOW_WEAK_SANDBOX", "true")
    asked = "def f(x):\n    '''\n    >>> f(2)\n    4\n    >>> f(5)\n    25\n    >>> f(7)\n    49\n    '''\n"
    texts = [f"```python\n{asked}    return {body}\n```" for body in ("x * x", "x ** 2", "pow(x, 2)", "x + x")]
    lines = [line(1, *texts[:3]), line(2, texts[0], texts[1], texts[3]), line(3, texts[0], texts[3], texts[1])]
    for each in lines:
        each["request"]["messages"][0]["content"] = f"# {each['id']}\n{asked}"
    file = tmp_path / "programs.jsonl"
    file.write_text("".join(json.dumps(as_text(each, "code")) + "\n" for each in lines))
    found = json.loads(run("disputes", file, "--json"))["disputes"]
    assert [each["id"] for each in found] == ["r2"]


def test_too_few_requests_for_any_promise_spend_no_look(answered: Path) -> None:
    lines = answered.read_text().splitlines(keepends=True)
    answered.write_text("".join(lines[20:84]))  # 65 show 5 % where none is lost
    few = calibrated(answered, 0.05, code=1)
    assert (few["look"], few["requests_needed"], few["chosen"]) == (1, 65, None)
    answered.write_text("".join(lines[20:85]))
    enough = calibrated(answered, 0.05)
    assert (enough["look"], enough["chosen"]) == (1, "the same call")


def test_what_a_service_doubts_is_not_taken_in_a_file_either(tmp_path: Path) -> None:
    as_text, again = line(1, '{"name": "get"}', '{"name": "get"}', 1), line(2, 7, 7, 7)
    call = {"id": "c1", "type": "function", "function": {"name": "get", "arguments": '{"n": 7}'}}
    before = [{"role": "assistant", "tool_calls": [call]}, {"role": "tool", "content": "7", "tool_call_id": "c1"}]
    again["request"]["messages"] += before
    other = line(3, 8, 8, 8)
    other["request"]["messages"] += before
    file = tmp_path / "doubted.jsonl"
    file.write_text("".join(json.dumps(each) + "\n" for each in (as_text, again, other)))
    assert [each.taken for each in asyncio.run(compare_all(read_asked(file)))] == ["", "", "slm"]


def test_a_tenant_has_a_promise_of_its_own(answered: Path) -> None:
    lines = [json.loads(each) for each in answered.read_text().splitlines()]
    answered.write_text(
        "".join(json.dumps(each | {"tenant": "acme" if n % 2 else "beta"}) + "\n" for n, each in enumerate(lines))
    )
    told = run("calibrate", answered, "--profile", "scripted", "--lose-at-most", "0.2", "--json")
    counted = {each["about"]: each["tested"][0]["counted"]["n"] for each in json.loads(told)["promises"]}
    assert counted == {"calls": 200, "calls of acme": 100, "calls of beta": 100}


@pytest.mark.parametrize("fault", ["answer", "id", "text"])
def test_a_file_that_is_not_whole_is_refused(tmp_path: Path, fault: str) -> None:
    lines = [line(1, 1, 1, 1), line(2, 2, 2, 2)]
    if fault == "answer":
        del lines[1]["answers"]["llm"]
    if fault == "id":
        lines[1]["id"] = "r1"
    text = "".join(json.dumps(each) + "\n" for each in lines) + ("{\n" if fault == "text" else "")
    (tmp_path / "mine.jsonl").write_text(text)
    with pytest.raises(StoreError, match=r"mine.jsonl:[23]"):
        read_asked(tmp_path / "mine.jsonl")


def test_a_true_loss_above_the_promise_is_accepted_in_at_most_one_file_of_twenty(answered: Path) -> None:
    """Disputes that are labelled in any order and number, a look after each: what has no label counts as lost."""
    from lab.disputes.promised import Counted
    from lab.training.looks import at_look
    from lab.training.promise import Promise

    look, generator, broken, runs = at_look(Promise(0.03), 1), np.random.default_rng(5), 0, 2000

    @cache
    def is_kept(disputes: int, labelled: int, lost: int) -> bool:
        return Counted(400, 300, disputes, labelled, lost).is_kept(look)

    for disputes in generator.binomial(400, 0.0755, runs).tolist():  # 3.02 % lost
        lost = np.concatenate([[0], (generator.random(disputes) < 0.4).cumsum()]).tolist()
        broken += any(is_kept(disputes, labelled, lost[labelled]) for labelled in range(disputes + 1))
    assert 0 < broken / runs <= 0.05


def test_a_line_that_is_no_request_is_told_by_its_place_and_message_alone(answered: Path) -> None:
    given = line(999, 1, 1, 1)
    given["answers"]["slm"]["tokens"] = ["a text of the user's"]
    answered.write_text(answered.read_text() + json.dumps(given) + "\n")
    told = CliRunner().invoke(app, ["disputes", str(answered)])
    assert told.exit_code != 0
    assert f"{answered.name}:206: no request with its answers: answers.slm.tokens" in told.output.replace("\n", " ")
    for leaked in ("pydantic", "input_value", "a text of the user"):
        assert leaked not in told.output
