"""From collected calls to a scorer, its policy and its judgement, on answers whose evidence tells the right ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from lab.calls import methods, study, training
from lab.calls.answers import CallTable
from lab.calls.evaluation import evidence
from lab.calls.methods import CallPolicy, Scores, reach, run_methods
from lab.calls.mixes import mixes_of
from lab.calls.policy import Goal, search
from lab.calls.study import CallStudy, judge
from lab.calls.tasks import load
from lab.calls.training import Trained, train
from lab.training import metrics
from lab.training.errors import StoreError, StudyError, TooFew
from lab.training.names import LLM_ALONE, ORACLE, OURS
from tandem.cli import app
from tandem.method.evidence.call_scorer import call_scorer
from tandem.method.profile.profile import Profile, load_profile
from tandem.method.request.plan import Plan, make_plan
from tandem.method.rule.stop_rule import NEVER

pytest.importorskip("bfcl_eval", reason="a development dependency: make develop")
FUNCTION = {
    "name": "count",
    "description": "Counts.",
    "parameters": {"type": "dict", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
}
N = 160


@pytest.fixture(autouse=True, scope="module")
def quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "_RESAMPLES", 50)
        patch.setattr(training, "_PENALTIES", [0.01, 1.0])
        yield


@pytest.fixture(scope="module")
def profile(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """A copy, since `--write` changes it."""
    folder = tmp_path_factory.mktemp("profiles")
    shutil.copytree(request.getfixturevalue("profiles_folder") / "scripted", folder / "scripted")
    return load_profile("scripted", (folder,))


def written(role: str, sample: int, value: int | None, chance: float) -> dict[str, Any]:
    """A call with `value`, whose token is as likely as `chance` says; None: a text."""
    arguments = json.dumps({"n": value})
    called = [
        ["<call>", -0.1],
        ["count", -0.1],
        [' {"n": ', -0.1],
        [str(value), chance],
        ["}</call>", -0.1],
        ["", -0.1],
    ]
    pieces = [["No", chance], [" tool.", -0.1], ["", -0.1]] if value is None else called
    return {
        "role": role,
        "sample": sample,
        "text": "",
        "calls": [] if value is None else [["count", arguments]],
        "tokens": [text for text, _ in pieces],
        "logprobs": [each for _, each in pieces],
        "prompt_tokens": 200,
        "reason": "eos",
        "error": "",
    }


def collected(folder: Path, name: str, n: int = N, seed: int = 0, pair: str = "scripted") -> tuple[Path, Path]:
    """Files of tasks and of answers: the small model is right where it is sure, and the large one mostly."""
    dice, tasks, lines = np.random.default_rng(seed), [], []
    for number in range(n):
        fits = number % 4 > 0
        right = bool(dice.random() < 0.6)
        sure = float(dice.normal(-0.5 if right else -3.0, 0.7))
        small = (number if right else number + 1) if fits else (None if right else number)
        large = (number if fits else None) if dice.random() < 0.9 else number + 2
        tasks.append(
            {
                "id": f"{name}-{number}",
                "category": "simple_python" if fits else "irrelevance",
                "functions": [FUNCTION],
                "messages": [{"role": "user", "content": f"Count to {number}."}],
                "answer": [{"count": {"n": [number]}}] if fits else [],
            }
        )
        answers = [written("slm", sample, small, min(-0.01, sure)) for sample in range(3)]
        lines.append({"id": f"{name}-{number}", "category": "", "written": [*answers, written("llm", 0, large, -0.1)]})
    task_file, answer_file = folder / f"{name}.jsonl", folder / f"{name}.answers.jsonl"
    task_file.write_text("".join(json.dumps(each) + "\n" for each in tasks))
    answer_file.write_text("".join(json.dumps(each) + "\n" for each in lines))
    origin = {"pair": pair, "tasks_sha256": load(task_file).sha256, "engine": "llamacpp"}
    answer_file.with_suffix(".origin.json").write_text(json.dumps(origin))
    return task_file, answer_file


@pytest.fixture(scope="module")
def answers(profile: Profile, tmp_path_factory: pytest.TempPathFactory) -> study.Answers:
    tasks, file = collected(tmp_path_factory.mktemp("answers"), "seen")
    return study.load(file, profile, load(tasks))


@pytest.fixture(scope="module")
def plan(profile: Profile) -> Plan:
    return make_plan(profile, "chat", may_call=True)


@pytest.fixture(scope="module")
def trained(answers: study.Answers) -> Trained:
    return train(answers.table, answers.source, "right", 4)


@pytest.fixture(scope="module")
def scores(trained: Trained) -> Scores:
    return Scores(trained.scores, trained.routed)


def costs(table: CallTable, plan: Plan, scores: Scores, policy: CallPolicy) -> dict[str, tuple[float, float]]:
    """(accuracy, `full` cost) by method."""
    found = run_methods(table, plan, scores, policy)
    return {name: (float(each.right.mean()), float(each.full.mean())) for name, each in found.items()}


def test_calls_and_texts_have_scores_of_their_own_out_of_fold(answers: study.Answers, scores: Scores) -> None:
    found = {each.name: each for each in evidence(answers.table, scores.ours, scores.router) if each.of == "calls"}
    assert found["numbers, least"].auroc is not None
    assert found["numbers, least"].auroc[0] > 0.9
    ours = found["scorer `calls`, out of fold"]
    assert ours.auroc is not None
    assert ours.auroc[0] > 0.85
    assert ours.n == int(answers.table.slm.calls.sum())
    assert found["follows the schema"].auroc is not None  # all calls do: it tells nothing
    assert found["follows the schema"].auroc[0] == 0.5


def test_the_policy_keeps_the_accuracy_and_no_other_pair_of_thresholds_costs_less(
    answers: study.Answers, plan: Plan, scores: Scores
) -> None:
    table, goal = answers.table, Goal(0.02)
    policy = search(table, plan, scores, goal)
    alone, ours = (costs(table, plan, scores, policy)[name] for name in (LLM_ALONE, OURS))
    assert ours[0] >= alone[0] - 0.02
    assert ours[1] < alone[1]
    for calls in (0.0, 0.2, 0.4, 0.6, 0.8, 0.95, NEVER):
        for texts in (0.0, 0.3, 0.6, 0.9, NEVER):
            right, cost = costs(table, plan, scores, replace(policy, calls=float(calls), texts=float(texts)))[OURS]
            assert right < alone[0] - 0.02 or cost >= ours[1] - 1e-12


def test_the_accuracy_is_kept_in_each_mix_that_is_asked_for(answers: study.Answers, plan: Plan, scores: Scores) -> None:
    table, mixes = answers.table, (0.0, 0.1, 0.6)
    policy = search(table, plan, scores, Goal(0.02, mixes=mixes))
    found = mixes_of(table.none_fits, run_methods(table, plan, scores, policy), mixes)
    assert min(each.ours_more.mean for each in found) >= -0.02
    # As many tasks where no tool fits as a mix says, by leaving the others out.
    right = run_methods(table, plan, scores, policy)
    for mix, rows in ((found[0], ~table.none_fits), (found[2], drawn(table, 0.6))):
        more = right[OURS].right[rows].mean() - right[LLM_ALONE].right[rows].astype(float).mean()
        assert mix.ours_more.mean == pytest.approx(more, abs=1e-9 if mix.share == 0 else 0.1)
    with_one = search(table, plan, scores, Goal(0.02, mixes=(float(table.none_fits.mean()),)))
    assert with_one == search(table, plan, scores, Goal(0.02))


def drawn(table: CallTable, share: float) -> np.ndarray[Any, Any]:
    """Rows of which `share` are tasks where no tool fits: all of these, and the first of the others."""
    none_fit, others = np.flatnonzero(table.none_fits), np.flatnonzero(~table.none_fits)
    return np.concatenate([none_fit, others[: round(len(none_fit) * (1 - share) / share)]])


def test_a_mix_with_tasks_that_were_not_collected_is_refused(answers: study.Answers, plan: Plan) -> None:
    table = answers.table.take(np.flatnonzero(~answers.table.none_fits))
    with pytest.raises(StudyError, match="30% of tasks where no tool fits: the collected ones have 0%"):
        search(table, plan, Scores(np.ones(len(table)), np.ones(len(table))), Goal(mixes=(0.3,)))
    assert mixes_of(table.none_fits, {}, (0.0, 0.3)) == []


def test_texts_that_are_too_few_to_be_told_apart_are_taken_all_or_none(answers: study.Answers, plan: Plan) -> None:
    texts = np.flatnonzero(answers.table.is_text)
    few = answers.table.take(np.concatenate([np.flatnonzero(answers.table.has_calls), texts[:20]]))
    found = train(few, answers.source, "right", 4)
    scores = found.scores[few.is_text]
    assert found.scorer.texts is not None
    assert found.scorer.texts.probability({}) == pytest.approx(scores[0])
    assert set(scores) == {(few.slm.right[few.is_text].sum() + 1) / 22}
    taken = reach(found.scores, search(few, plan, Scores(found.scores, found.routed), Goal(0.02)).texts)
    assert taken[few.is_text].all() or not taken[few.is_text].any()
    none = train(answers.table.take(np.flatnonzero(answers.table.has_calls)), answers.source, "right", 4)
    assert none.scorer.texts is None


def test_where_nothing_is_accepted_the_small_model_is_not_asked(
    answers: study.Answers, plan: Plan, scores: Scores
) -> None:
    never = CallPolicy(NEVER, NEVER, NEVER, NEVER, NEVER)
    found = costs(answers.table, plan, scores, never)
    assert found[OURS] == found[LLM_ALONE] == found["router"] == found["mean-logprob"]
    assert found[ORACLE][0] >= found[LLM_ALONE][0]


def test_samples_are_paid_for_and_read_the_prompt_from_the_cache(answers: study.Answers, plan: Plan) -> None:
    samples = methods._samples(answers.table)
    assert np.all(np.asarray(samples.cached) == 400)
    assert np.all(np.asarray(samples.completion) == 2 * answers.table.slm.tokens)


def test_no_score_and_a_threshold_of_one_accept_nothing() -> None:
    assert reach(np.array([np.nan, 0.4, 1.0]), 0.4).tolist() == [False, True, True]
    assert reach(np.array([np.nan, 0.4, 1.0]), 1.0).tolist() == [False, False, False]


def test_too_few_answers_and_files_of_others_are_refused(profile: Profile, tmp_path: Path) -> None:
    tasks, file = collected(tmp_path, "few", n=20)
    few = study.load(file, profile, load(tasks))
    with pytest.raises(TooFew):
        train(few.table, few.source)
    with pytest.raises(StoreError, match="other tasks than"):
        study.load(file, profile)
    _, other = collected(tmp_path, "other", n=4, pair="another")
    with pytest.raises(StoreError, match="of the pair another"):
        study.load(other, profile)


def test_held_out_tasks_are_judged_once_and_whole(answers: study.Answers, trained: Trained, tmp_path: Path) -> None:
    fixed, record = CallStudy(tmp_path), tmp_path / "judged.json"
    fixed.save(trained, answers.table)
    fixed.save_policy(CallPolicy(0.5, NEVER, 0.5, 0.5, 0.5), "a goal")
    assert judge(answers, fixed, again=False, record=record) == []
    a_copy = replace(answers.tasks, path=tmp_path / "copy.jsonl", sha256=study.tasks.load("test").sha256)
    held_out = replace(answers, tasks=a_copy)
    part = replace(held_out, table=answers.table.take(np.arange(10)))
    with pytest.raises(StudyError, match=f"10 of {N} held-out tasks"):
        judge(part, fixed, again=False, record=record)
    [first] = judge(held_out, fixed, again=False, record=record)
    assert (first["fixed_on"], first["is_first"]) == (fixed.fixed_on(), True)
    assert judge(held_out, fixed, again=False, record=record) == [first]
    fixed.save_policy(CallPolicy(0.6, NEVER, 0.5, 0.5, 0.5), "another goal")
    with pytest.raises(StudyError, match="were judged on"):
        judge(held_out, fixed, again=False, record=record)
    assert [each["is_first"] for each in judge(held_out, fixed, again=True, record=record)] == [True, False]


def test_from_files_to_a_profile_by_commands(profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_PROFILES_PATH", str(profile.folder.parent))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(study.tasks, "FOLDER", tmp_path)
    _, seen = collected(tmp_path, "train")
    new_tasks, new = collected(tmp_path, "test", seed=1)

    def run(*words: str, fails: bool = False) -> str:
        result = CliRunner().invoke(app, [*words, "--profile", "scripted"])
        assert (result.exit_code != 0) == fails, result.output
        return result.output

    assert "numbers, least" in run("train", str(seen))
    mixed = run("calibrate", str(seen), "--below", "0.02", "--no-tool", "0.1", "--no-tool", "0.3", "--write")
    assert "calls are accepted from" in mixed
    assert "| 30% |" in mixed
    judged = ("eval", "--data", str(new_tasks), "--no-ask", "--collected", str(new), "--json")
    monkeypatch.setattr(study, "JUDGED", tmp_path / "judged.json")
    run(*judged, "figures.json")
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert set(figures["methods"]) == set(methods.LABELS)
    assert [each["share"] for each in figures["mixes"]] == [0.1, 0.3]
    assert set(figures["methods"]["llm"]) >= {"accuracy", "ci95", "usd", "tflops_full", "stop_stages"}
    assert set(figures["comparisons"][0]["cost_ratios"]) >= {"full", "usd_8", "usd_37"}
    assert set(figures["categories"]) == {"simple_python", "irrelevance"}
    run("eval", "--data", str(new_tasks), "--no-ask", "--collected", str(seen), fails=True)  # other tasks' answers
    run(*judged, "figures.json", "--cost", "usd", fails=True)
    shipped = load_profile("scripted", (profile.folder.parent,))
    assert shipped.tools.scorer == "calls:calls"
    assert 0 < shipped.tools.threshold < 1
    assert call_scorer(shipped.tools, shipped.folder, shipped.call_fingerprint(), "llamacpp").trained
