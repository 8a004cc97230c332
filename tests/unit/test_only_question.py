"""Answers of `collect --only-question`: what they are evaluated by, what is left out and why, and the table of
savings.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("matplotlib")

from lab.training.collect import Run
from lab.training.collected import Collected, load_collected
from lab.training.errors import StudyError
from lab.training.evaluate import Evaluation, UnknownMethod, evaluate
from lab.training.figures import as_contract
from lab.training.report import as_text
from lab.training.savings import inserted, summary, table
from lab.training.store import read, write
from lab.training.study import Study
from tandem.method.profile.profile import load_profile
from tandem.paths import DEFAULT_PROFILE, REPOSITORY
from tests.unit.synthetic import store, synthetic_runs

LLAMACPP = "llamacpp Q4_K - Medium"
STUDY = Study(REPOSITORY / "lab" / "training" / "studies" / DEFAULT_PROFILE)
EVALUATION = STUDY.folder / "evaluation"
N = 40


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Collected:
    """Both models alone on llama.cpp, which gives no hidden states."""
    profile = load_profile(DEFAULT_PROFILE, (REPOSITORY / "deploy" / "profiles",))
    kept = [run for run in synthetic_runs(N, 0) if (run.name, run.stage) in {("llm", 0), ("slm", 0)}]
    runs = [
        replace(r, answer_features=None, states=None if r.states is None else np.empty(0, np.float16)) for r in kept
    ]
    file = store(profile, tmp_path_factory.mktemp("alone") / "some.parquet", runs)
    changed = {"only_question": True, "engine": "llamacpp", "computed_by": LLAMACPP}
    write(file, read(file)[0].model_copy(update=changed), runs)
    return load_collected([file], profile, only_question=True)


def evaluated(found: Collected, study: Study = STUDY, methods: list[str] | None = None) -> Evaluation:
    return evaluate("made-up", found.table, found.plan, study, methods, computed_by=found.origins[0].computed_by)


def test_methods_that_need_no_insight_are_compared_and_the_others_named_with_the_reason(
    alone: Collected, tmp_path: Path
) -> None:
    found = evaluated(alone)
    assert [row.name for row in found.rows] == [
        "llm", "slm", "random", "router", "tandem", "tandem:without-trials", "oracle:llm-finishes",
    ]  # fmt: skip
    assert list(found.left_out) == [
        "fixed:1", "fixed:2", "fixed:3", "paper", "paper:zero", "shepherd", "shepherd:predicted", "shepherd:reactive",
        "cascade", "tandem:llm-never-finishes", "oracle",
    ]  # fmt: skip
    assert set(found.left_out.values()) == {"no insight was collected (collect --only-question)"}
    assert list(found.aurocs) == ["words"]  # the only kind that reads no pass of the engine
    report = as_text(found, STUDY)
    assert "Left out, because no insight was collected (collect --only-question): fixed stage 1, " in report
    assert f"The models ran on {LLAMACPP}." in report


def test_a_method_that_was_left_out_is_refused_with_the_reason(alone: Collected) -> None:
    with pytest.raises(UnknownMethod, match="cascade: no insight was collected"):
        evaluated(alone, methods=["llm", "cascade"])


def test_a_policy_that_stops_after_an_insight_is_not_judged_without_one(alone: Collected, tmp_path: Path) -> None:
    shutil.copytree(STUDY.folder, tmp_path / "study")
    study = Study(tmp_path / "study")
    policies = study.policies()
    study.save_policies(replace(policies, served=replace(policies.served, thresholds=(0.7, 0.6, 1.0, 1.0))))
    with pytest.raises(StudyError, match="the answers have no insight"):
        evaluated(alone, study)


def test_a_scorer_of_another_engines_passes_is_not_judged(alone: Collected, tmp_path: Path) -> None:
    shutil.copytree(STUDY.folder, tmp_path / "study")
    study = Study(tmp_path / "study")
    policies = study.policies()
    study.save_policies(replace(policies, served=replace(policies.served, kind="logistic")))
    with pytest.raises(StudyError, match="logistic was not trained on passes of llamacpp"):
        evaluated(alone, study)


def test_the_table_of_savings_has_both_models_alone_the_pair_and_random_routing_at_its_price(alone: Collected) -> None:
    figures = as_contract(evaluated(alone), "pair", "humaneval", "")
    small, ours = ({"accuracy_difference": -0.2, "p_value": 0.01}, {"accuracy_difference": 0.05, "p_value": 0.5})
    for each in figures["comparisons"]:
        if each["a"] in ("slm", "tandem"):
            each |= (small if each["a"] == "slm" else ours) | {"ci95": [-0.3, 0.1]}
            each["cost_ratios"] = {
                key: [0.2 if each["a"] == "slm" else 0.8, 0, 1] for key in ("full", "usd", "seconds")
            }
    lines = table({"humaneval": figures})
    assert [len(line.split("|")) for line in lines] == [8] * 6
    assert lines[2].startswith(f"| functions, most with several examples (HumanEval), n = {N} | large model alone | ")
    assert lines[2].endswith("| 100 % | 100 % | 100 % |")
    assert [line.split("|")[2].strip() for line in lines[3:]] == [
        "small model alone",
        "**Tandem**",
        "random routing at that price",
    ]
    assert lines[4].split("|")[3].strip() == "+5.0 [-30.0, 10.0]; p 0.500"
    assert lines[5] == "|  | random routing at that price | -5.0 | 80 % | 80 % | 80 % |"  # a quarter of the questions
    assert "| -20.0 | -5.0 |" in summary({"humaneval": figures})[2]


def test_the_tables_of_the_docs_have_random_routing_and_the_small_model_alone_for_each_data_set() -> None:
    page = (REPOSITORY / "docs" / "results.md").read_text()
    judged = {"report": "gsm8k math_test humaneval", "savings": "humaneval mbpp_test extraction"}
    for target, names in judged.items():
        folder = EVALUATION if target == "report" else EVALUATION / "llamacpp"
        reports = {name: json.loads((folder / f"{name}.json").read_text()) for name in names.split()}
        assert inserted(page, table(reports, target), target) == page
    readme = (REPOSITORY / "README.md").read_text()
    assert inserted(readme, summary(reports)) == readme  # of the engine that ships


def test_a_table_replaces_the_one_before_and_nothing_else() -> None:
    targets = ("savings", "report")
    page = "before\n" + "".join(f"<!-- begin: make {t} -->\n| {t} |\n<!-- end: make {t} -->\nafter\n" for t in targets)
    for target in targets:
        assert inserted(page, ["| new |"], target) == page.replace(f"| {target} |", "| new |")
        assert inserted(inserted(page, ["| new |"], target), [f"| {target} |"], target) == page
    with pytest.raises(ValueError, match="the page has no"):
        inserted("before", ["| new |"])


@pytest.mark.parametrize(("engine", "right", "more", "cut"), [("", 79, 1.02, 8), ("llamacpp", 85, 1.02, 9)])
def test_training_tasks_tell_no_cap_of_a_trial_from_another(engine: str, right: int, more: float, cut: int) -> None:
    """None of their right answers is longer than 256 tokens; of HumanEval's that pass, `cut` are."""
    folder = REPOSITORY / "lab" / "training" / "collected" / DEFAULT_PROFILE / engine

    def tries(data: str) -> list[Run]:
        return [run for run in read(folder / f"{data}.parquet")[1] if (run.name, run.stage) == ("slm", 0)]

    train = tries("mbpp_train")
    assert [sum(run.right for run in train if run.output_tokens <= cap) for cap in (256, 512)] == [right, right]
    written = [sum(min(run.output_tokens, cap) for run in train) for cap in (256, 512)]
    assert round(written[1] / written[0], 2) == more
    of_test = [run for run in tries("humaneval") if run.right and run.verdict == "pass" and run.output_tokens > 256]
    assert len(of_test) == cut
