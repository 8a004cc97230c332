"""Answers of models behind APIs, collected for a calibration: both small models and the large one, by recorded
conversations.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

pytest.importorskip("pyarrow")
pytest.importorskip("math_verify")

from lab.disputes.asked import compare_all, read_asked
from lab.training import machine
from lab.training.collect import Run
from lab.training.collected import load_collected
from lab.training.datasets import load
from lab.training.errors import StoreError
from lab.training.machine import Machine
from lab.training.session import Scope, collect
from lab.training.store import read, read_origin
from tandem.cli import app
from tandem.method.profile.endpoint import Api
from tandem.method.profile.profile import Profile, load_profile
from tests.recorded_api import Answer, openai_call, openai_chunks, openai_usage, recorded_api

PROMPT = 'def double(x):\n    """Twice x.\n\n    >>> double(3)\n    6\n    """\n'
TASKS = [
    {"task_id": str(i), "prompt": PROMPT, "test": "def check(f):\n    assert f(5) == 10\n", "entry_point": "double"}
    for i in range(2)
]  # fmt: skip
OTHER = PROMPT.replace("Twice x", "The double")
PROGRAMS = {
    "scripted-llm": "2 * x",
    "scripted-slm": "x + x",
    "scripted-second": "x << 1",
    "scripted-third": "x * 2",
    "another-third": "sum([x, x])",
}
MODELS = Answer({"object": "list", "data": [{"id": name, "object": "model"} for name in PROGRAMS]})


@pytest.fixture
def profile(profiles_folder: Path) -> Profile:
    return load_profile("scripted-agreeing", (profiles_folder,))


def behind(profile: Profile, url: str) -> Profile:
    api = Api(url=f"{url}/v1")
    return profile.model_copy(
        update={
            "llm": profile.llm.model_copy(update={"api": api}),
            "small": tuple(model.model_copy(update={"api": api}) for model in profile.small),
        }
    )


def collected(profile: Profile, tmp_path: Path, *, only_question: bool = True) -> list[Run]:
    file = tmp_path / "tasks.jsonl"
    file.write_text("".join(json.dumps(task) + "\n" for task in TASKS))
    scope = Scope(only_question=only_question)
    work = collect(
        profile, load(file), None, 0, scope, tmp_path / "out.parquet", tmp_path, Machine(width=2), lambda *_: None
    )
    return asyncio.run(work).runs


def programs(path: str, body: dict[str, Any]) -> Answer:
    if path.endswith("/models"):
        return MODELS
    text = f"```python\ndef double(x):\n    return {PROGRAMS[body['model']]}\n```"
    return Answer(events=openai_chunks([text], openai_usage(33, 12)))


def test_all_three_models_answer_bare_questions_and_both_programs_are_compared(
    profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API is busy once; nothing is asked twice when the command is given again."""
    monkeypatch.setattr(machine, "_MOST_WAIT_SECONDS", 5.0)
    busy = [Answer({"error": {"message": "slow down"}}, status=429, headers={"retry-after": "0.01"})]

    def answer(path: str, body: dict[str, Any]) -> Answer:
        return busy.pop() if busy and not path.endswith("/models") else programs(path, body)

    with recorded_api(answer) as api:
        pair = behind(profile, api.url)
        runs = collected(pair, tmp_path)
        asked = len(api.asked)
        again = collected(pair, tmp_path)
    assert asked == 3 * len(TASKS) + 1
    assert len(api.asked) == asked
    assert sorted(run.name for run in again) == sorted(run.name for run in runs)
    by_name = {run.name: run for run in runs}
    assert {name: run.verdict for name, run in by_name.items()} == {
        "llm": "pass", "slm": "pass", "second_slm": "pass", "agreement": "pass"
    }  # fmt: skip
    assert (by_name["second_slm"].prompt_tokens, by_name["second_slm"].output_tokens) == (33, 12)  # as the API counts
    assert read_origin(tmp_path / "out.parquet").computed_by == "openai"
    table = load_collected([tmp_path / "out.parquet"], pair, only_question=True).table
    assert table.further["second_slm"].passed.tolist() == [True, True]
    assert table.agreements["slm", "second_slm"].passed.tolist() == [True, True]


def test_a_third_small_model_is_collected_and_one_that_changes_loses_its_own_runs_alone(
    profiles_folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "out.parquet"
    with recorded_api(programs) as api:
        three = behind(load_profile("scripted-third", (profiles_folder,)), api.url)
        checks = three.checks.model_copy(update={"code": ("python_examples", "python_agreement")})
        three = three.model_copy(update={"checks": checks})
        *first_two, third = three.small
        pair = three.model_copy(update={"small": tuple(first_two)})
        changed = three.model_copy(update={"small": (*first_two, third.model_copy(update={"name": "another-third"}))})
        calls, found = [], []
        for profile in (pair, three, three, changed, pair):
            found.append({(run.name, run.question): run.text for run in collected(profile, tmp_path)})
            calls.append([body["model"] for _, body in api.asked])
            api.asked.clear()
        with pytest.raises(StoreError, match=r"another-third, and .* names scripted-third as its third small model"):
            load_collected([file], three, only_question=True)
    assert [len(each) for each in calls] == [3 * len(TASKS), len(TASKS), 0, len(TASKS), 0]
    assert set(calls[1] + calls[3]) == {"scripted-third", "another-third"}
    of_two, of_three, again, of_changed, after = found
    pairs = {"agreement", "agreement:slm+third_slm", "agreement:second_slm+third_slm"}
    assert {name for name, _ in of_three} - {name for name, _ in of_two} == {"third_slm", *(pairs - {"agreement"})}
    assert of_three == of_two | again  # what two models wrote is not written again
    assert {key for key in of_three if of_three[key] != of_changed[key]} == {("third_slm", "0"), ("third_slm", "1")}
    assert after == of_changed  # nobody asks the third one now, and nothing is lost
    table = load_collected([file], changed, only_question=True).table
    assert {name: each.passed.tolist() for name, each in table.further.items()} == {
        "second_slm": [True, True],
        "third_slm": [True, True],
    }
    assert [each.passed.all() for each in table.agreements.values()] == [True] * 3
    assert [*load_collected([file], pair, only_question=True).table.further] == ["second_slm"]


def test_an_api_that_refuses_is_named_and_insights_are_not_collected_from_one(profile: Profile, tmp_path: Path) -> None:
    refusal = Answer({"error": {"message": "no credit"}}, status=402)
    with recorded_api(lambda path, _: MODELS if path.endswith("/models") else refusal) as api:
        with pytest.raises(StoreError, match=r"no request was answered, 2 are refused: scripted-\w+: .*no credit"):
            collected(behind(profile, api.url), tmp_path)
        with pytest.raises(StoreError, match="--only-question"):
            collected(behind(profile, api.url), tmp_path, only_question=False)


TOOL = {
    "type": "function",
    "function": {"name": "get", "parameters": {"type": "object", "properties": {"n": {"type": "integer"}}}},
}


def behind_three(profiles_folder: Path, folder: Path, url: str, rule: str) -> Profile:
    """A profile of three small models and a large one, as files, at an API."""
    text = (profiles_folder / "scripted-together" / "profile.toml").read_text()
    text = text.replace('dtype = "float32"', f'api = {{ url = "{url}/v1", can = {{ tools = true }} }}').replace(
        'rule = "both"', f'rule = "{rule}"'
    )
    target = folder / "profiles" / "mine" / "profile.toml"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(
        text.replace('name = "scripted-together"', 'name = "mine"').replace(
            'kinds = ["tools", "answer", "json", "option"]', "kinds = []"
        )
    )
    return load_profile("mine", (folder / "profiles",))


def bodies(number: int) -> list[dict[str, Any]]:
    """Requests in the three forms that are read: with tools, a final answer, free text."""

    def said(text: str) -> list[dict[str, str]]:
        return [{"role": "user", "content": text}]

    calls = [
        {"id": f"c{n}", "request": {"messages": said(f"call {n}"), "tools": [TOOL]}, "tenant": "acme"}
        for n in range(number)
    ]
    maths = {"custom_id": "m", "body": {"model": "any", "messages": said("sum 1"), "tandem": {"task": "answer"}}}
    return [
        *calls,
        maths,
        {"messages": said("a poem 1")},
        {"id": "refused", "request": {"messages": said("call refused"), "tools": [TOOL]}},
    ]


@pytest.mark.parametrize(
    ("rule", "roles"), [("both", ["slm", "second_slm"]), ("two of three", ["slm", "second_slm", "third_slm"])]
)
def test_ones_own_requests_are_asked_of_all_models_and_a_promise_needs_labels_for_disputes_alone(
    rule: str, roles: list[str], tmp_path: Path, profiles_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second small model differs on odd calls, the third never; the large one disputes call 2."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TANDEM_PROFILES_PATH", str(tmp_path / "profiles"))

    def answer(path: str, body: dict[str, Any]) -> Answer:
        if path.endswith("/models"):
            return Answer(
                {
                    "object": "list",
                    "data": [{"id": f"scripted-{n}", "object": "model"} for n in ("llm", "slm", "second", "third")],
                }
            )
        model, said = body["model"], str(body["messages"][-1]["content"]).split()[-1]
        if said == "refused":
            return Answer({"error": {"message": "not this one"}}, status=400)
        if "tools" not in body:
            return Answer(events=openai_chunks([r"\boxed{7}"], openai_usage(20, 5)))
        number = (
            -1 if (model.endswith("second") and int(said) % 2) or (model.endswith("llm") and said == "2") else int(said)
        )
        called = openai_call(0, "get", [json.dumps({"n": number})])
        return Answer(events=openai_chunks([], openai_usage(50, 10), finish="tool_calls", deltas=called))

    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(each) + "\n" for each in bodies(40)))
    with recorded_api(answer) as api:
        behind_three(profiles_folder, tmp_path, api.url, rule)
        told = command("collect", "mine.jsonl", "--profile", "mine", "--json")
        asked = len(api.asked)
        again = command("collect", "mine.jsonl", "--profile", "mine", "--json")
    assert asked == 41 * (len(roles) + 1) + 1  # the first model refuses one
    assert len(api.asked) == asked + 1  # which is tried again
    assert json.loads(again) == json.loads(told)
    out, left_out = json.loads(told)["file"], json.loads(told)["left_out"]
    assert set(left_out) == {"line42", "refused"}
    found = {each.id: each for each in read_asked(tmp_path / out)}
    assert found["m"].task == "answer"
    assert found["c3"].answers["slm"].calls == (("get", '{"n": 3}'),)
    assert (found["c3"].answers["llm"].tokens, found["c3"].tenant, list(found["c3"].small)) == ((50, 10), "acme", roles)

    promises = json.loads(command("calibrate", out, "--profile", "mine", "--lose-at-most", "0.1", "--json", code=1))[
        "promises"
    ]
    calls = next(each for each in promises if each["about"] == "calls")
    taken = 40 if len(roles) == 3 else 20
    assert calls["tested"][0]["counted"] == {"n": 40, "taken": taken, "disputes": 1, "labelled": 0, "lost": 0}
    [dispute] = json.loads(command("disputes", out, "--json"))["disputes"]
    assert (dispute["left"], dispute["right"]) == ('get({"n": 2})', 'get({"n": -1})')
    command(
        "calibrate", out, "--profile", "mine", "--lose-at-most", "0.2", "--write", code=1
    )  # one final answer shows nothing
    served = load_profile("mine", (tmp_path / "profiles",))
    assert (served.agreement.kinds, served.agreement.rule) == (("tools",), rule)


def test_a_promise_for_models_at_endpoints_needs_no_torch(tmp_path: Path, profiles_folder: Path) -> None:
    """Requests, and questions with their answers: collected, disputed and calibrated where torch is not installed."""

    def answer(path: str, body: dict[str, Any]) -> Answer:
        if path.endswith("/models"):
            return MODELS
        return programs(path, body) if "def double" in json.dumps(body) else said

    said = Answer(events=openai_chunks([r"\boxed{7}"], openai_usage(20, 5)))
    asked = [
        {"id": f"s{n}", "task": "answer", "request": {"messages": [{"role": "user", "content": f"sum {n}"}]}}
        for n in range(60)
    ]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(each) + "\n" for each in asked))
    (tmp_path / "tasks.jsonl").write_text("".join(json.dumps(task) + "\n" for task in TASKS))
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[1] / "lean"),
        "TANDEM_TESTS_MISSING": "torch,transformers",
        "TANDEM_PROFILES_PATH": str(tmp_path / "profiles"),
    }
    with recorded_api(answer) as api:
        behind_three(profiles_folder, tmp_path, api.url, "both")
        for words, code in (
            ("collect mine.jsonl --profile mine", 0),
            ("disputes collected/mine/mine.jsonl --json", 0),
            ("calibrate collected/mine/mine.jsonl --profile mine --lose-at-most 0.1 --write", 0),
            ("collect tasks.jsonl --profile mine --only-question", 0),
            ("calibrate collected/mine/tasks.parquet --profile mine --lose-at-most 0.1", 0),
        ):
            run = subprocess.run(
                [str(Path(sys.executable).with_name("tandem")), *words.split()],
                cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600,
            )  # fmt: skip
            assert run.returncode == code, f"{words}: {run.stdout}{run.stderr}"
            assert "Traceback" not in run.stderr
    served = load_profile("mine", (tmp_path / "profiles",))
    assert served.agreement.kinds == ("answer",)


@pytest.mark.parametrize("place", [0, 3, 5], ids=["head", "middle", "end"])
@pytest.mark.parametrize("status", [400, 403, 413, 422])
def test_a_refused_request_is_one_line_left_out_wherever_it_stands(
    place: int, status: int, tmp_path: Path, profiles_folder: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TANDEM_PROFILES_PATH", str(tmp_path / "profiles"))

    def answer(path: str, body: dict[str, Any]) -> Answer:
        if path.endswith("/models"):
            return Answer({"object": "list", "data": [{"id": f"scripted-{n}"} for n in ("llm", "slm", "second")]})
        if "refused" in str(body["messages"][-1]["content"]):
            return Answer({"error": {"message": "not this one"}}, status=status)
        return Answer(events=openai_chunks([r"\boxed{7}"], openai_usage(20, 5)))

    def asked(name: str) -> dict[str, Any]:
        body = {"messages": [{"role": "user", "content": name}], "tandem": {"task": "answer"}}
        return {"id": name, "request": body}

    names = [f"sum {n}" for n in range(5)]
    names.insert(place, "refused")
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(asked(name)) + "\n" for name in names))
    with recorded_api(answer) as api:
        behind_three(profiles_folder, tmp_path, api.url, "both")
        told = command("collect", "mine.jsonl", "--profile", "mine")
        first = len(api.asked)
        again = command("collect", "mine.jsonl", "--profile", "mine")
    for each in (told, again):
        assert "1 left out (refused): " in each
        assert "not this one" in each
    assert len((tmp_path / "collected" / "mine" / "mine.jsonl").read_text().splitlines()) == 5
    assert len(api.asked) == first + 1  # the same command asks again for what is left out alone
    gc.collect()
    assert not caplog.records  # asyncio logs an error that nobody reads as a traceback


@pytest.mark.parametrize("refusing", ["scripted-llm", "scripted-slm", "scripted-second"])
def test_a_question_that_one_model_refuses_is_left_out_of_the_file_and_the_others_stay(
    refusing: str, profile: Profile, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def answer(path: str, body: dict[str, Any]) -> Answer:
        first = "Twice x" in json.dumps(body) and body.get("model") == refusing
        return Answer({"error": {"message": "not this one"}}, status=400) if first else programs(path, body)

    tasks = [TASKS[0], *({**TASKS[0], "task_id": f"other{n}", "prompt": OTHER} for n in range(3))]
    file, out = tmp_path / "tasks.jsonl", tmp_path / "out.parquet"
    file.write_text("".join(json.dumps(task) + "\n" for task in tasks))
    with recorded_api(answer) as api:
        pair, scope = behind(profile, api.url), Scope(only_question=True)
        work = collect(pair, load(file), None, 0, scope, out, tmp_path, Machine(width=4), lambda *_: None)
        found = asyncio.run(work)
    assert list(found.left_out) == ["0"]
    assert "not this one" in found.left_out["0"]
    assert {run.question for run in found.runs} == {run.question for run in read(out)[1]} == {
        "other0", "other1", "other2"
    }  # fmt: skip
    gc.collect()
    assert not caplog.records


def test_an_api_that_refuses_every_question_ends_the_collection(profile: Profile, tmp_path: Path) -> None:
    tasks = [{**TASKS[0], "task_id": str(n)} for n in range(60)]
    (tmp_path / "many.jsonl").write_text("".join(json.dumps(task) + "\n" for task in tasks))
    for status, asked, said in (
        (401, 24, "the first 2[0-3] requests are refused: "),
        (400, 60, "no request was answered"),
    ):
        refusal = Answer({"error": {"message": "nobody is answered"}}, status=status)
        with recorded_api(lambda path, _, no=refusal: MODELS if path.endswith("/models") else no) as api:
            work = collect(
                behind(profile, api.url), load(tmp_path / "many.jsonl"), None, 0, Scope(only_question=True),
                tmp_path / f"{status}.parquet", tmp_path, Machine(width=4), lambda *_: None,
            )  # fmt: skip
            with pytest.raises(StoreError, match=said):
                asyncio.run(work)
        assert len(api.asked) <= asked + 1  # the list of models


def command(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == code, result.output
    return result.output


def test_a_collection_that_no_endpoint_answers_ends_and_one_small_model_is_told_to_take_a_second(
    tmp_path: Path, profiles_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TANDEM_PROFILES_PATH", f"{tmp_path / 'profiles'}:{profiles_folder}")
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(each) + "\n" for each in bodies(3)))
    with recorded_api(lambda path, body: Answer({"error": {"message": "no such key"}}, status=401)) as api:
        behind_three(profiles_folder, tmp_path, api.url, "both")
        assert "no such key" in command("collect", "mine.jsonl", "--profile", "mine", "--json", code=1)
    (tmp_path / "odd.jsonl").write_text(json.dumps(bodies(1)[0]) + '\n{"messages": []}\n')
    assert "odd.jsonl:2" in command("collect", "odd.jsonl", "--profile", "mine", code=1)
    assert "has one small model" in command(
        "collect", "mine.jsonl", "--profile", "scripted", "--engine", "llamacpp", code=1
    )


def test_an_answer_that_was_cut_agrees_with_none(tmp_path: Path) -> None:
    reply = {"text": "", "calls": [["get", '{"n": 1}']], "tokens": [1, 1]}
    request = {"messages": [{"role": "user", "content": "?"}], "tools": [TOOL]}
    cut = {
        "id": "a",
        "request": request,
        "answers": {"slm": reply, "second_slm": reply | {"is_cut": True}, "llm": reply},
    }
    (tmp_path / "mine.jsonl").write_text(json.dumps(cut) + "\n")
    [found] = asyncio.run(compare_all(read_asked(tmp_path / "mine.jsonl")))
    assert found.taken == ""
