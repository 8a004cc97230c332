"""From collected runs to a shipped stop rule, on synthetic questions whose answers depend on their difficulty."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("sklearn")

from typer.testing import CliRunner

from lab.training.calibrate import Calibration, calibrate
from lab.training.collected import Collected, load_collected
from lab.training.errors import StoreError, StudyError, TooFew
from lab.training.evaluate import UnknownMethod, evaluate, headroom, scores_of
from lab.training.metrics import quality
from lab.training.names import LLM_ALONE, OURS, TRAINING, WORDS
from lab.training.outcomes import fixed, llm_alone, oracle
from lab.training.policy import Objective
from lab.training.store import read, write
from lab.training.study import PAPER, POLICY, Study
from lab.training.train import TrainingOptions, train
from services.sufficiency_scorer.artefact import TRANSFORMERS, Artefact, TrainedScorer
from services.sufficiency_scorer.scorer_inputs import COUNTS, ScorerInputs
from services.sufficiency_scorer.scorers import make_scorer
from services.sufficiency_scorer.stage_scorer import DriftMonitor
from tandem.cli import app
from tandem.method.profile.profile import Profile, load_profile
from tandem.method.request.plan import make_plan
from tests.unit.synthetic import ignore, quick_arithmetic, store, synthetic_runs  # noqa: F401

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("quick_arithmetic")]
QUESTIONS = 120
KINDS = ("mlp", "logistic", "boosting", "probe", "combined")


@pytest.fixture(scope="module")
def profile(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """A copy that a test may write to."""
    folder = tmp_path_factory.mktemp("profiles")
    shutil.copytree(request.getfixturevalue("profiles_folder") / "scripted", folder / "scripted")
    return load_profile("scripted", (folder,))


@pytest.fixture(scope="module")
def collected(profile: Profile, tmp_path_factory: pytest.TempPathFactory) -> Collected:
    file = store(profile, tmp_path_factory.mktemp("collected") / "made-up.parquet", synthetic_runs(QUESTIONS, 0))
    return load_collected([file], profile)


@pytest.fixture(scope="module")
def unseen(profile: Profile, tmp_path_factory: pytest.TempPathFactory) -> Collected:
    file = tmp_path_factory.mktemp("collected") / "unseen.parquet"
    return load_collected([store(profile, file, synthetic_runs(90, 1), "unseen")], profile)


@pytest.fixture(scope="module")
def study(profile: Profile, collected: Collected, tmp_path_factory: pytest.TempPathFactory) -> Study:
    made = Study(tmp_path_factory.mktemp("study"))
    train(collected, profile, made, TrainingOptions(KINDS, "auto", "right", 4), ignore)
    return made


@pytest.fixture(scope="module")
def calibration(profile: Profile, collected: Collected, study: Study) -> Calibration:
    objective = Objective("full", below=0.02)
    return calibrate(collected.table, make_plan(profile), study, objective, "test", True, True, ignore)


def test_every_kind_beats_chance_where_the_inputs_are_informative(study: Study) -> None:
    for kind, found in study.training().kinds.items():
        # The words are uninformative; the stage alone remains.
        least, most = (0.8, 1.0) if kind != WORDS else (0.65, 0.8)
        assert least < found.overall.auroc < most, kind
        assert found.overall.ece < 0.1, kind


def test_the_label_nothing_lost_saves_the_questions_that_the_large_model_cannot_answer(
    profile: Profile, tmp_path: Path
) -> None:
    runs = synthetic_runs(100, 6, has_hopeless=True)
    some = load_collected([store(profile, tmp_path / "hopeless.parquet", runs)], profile)
    objective, cost = Objective("full", below=0.02), {}
    for label in ("right", "nothing_lost"):
        study = Study(tmp_path / label)
        train(some, profile, study, TrainingOptions(("logistic",), "logistic", label, 4), ignore)
        assert study.artefact("logistic").description.label == label
        assert study.artefact(PAPER).description.label == "right"
        found = calibrate(some.table, make_plan(profile), study, objective, "test", True, True, ignore)
        assert found.policies.accuracy >= found.llm_accuracy - 0.02
        cost[label] = found.policies.cost
    assert cost["nothing_lost"] < cost["right"]


def test_extra_questions_are_used_for_fitting_only(profile: Profile, collected: Collected, tmp_path: Path) -> None:
    # Ten of them have out-of-fold scores too: they are left out of the extra questions.
    runs = [
        *synthetic_runs(60, 5),
        *(replace(run, question=f"0-{i}") for i in range(10) for run in synthetic_runs(1, 7)),
    ]
    alone = [run for run in runs if run.stage == 0 and run.name in ("llm", "slm")]
    origin = read(store(profile, tmp_path / "alone.parquet", alone, "made-up"))[0]
    write(tmp_path / "alone.parquet", origin.model_copy(update={"only_question": True}), alone)
    with pytest.raises(StoreError, match="--also"):
        load_collected([tmp_path / "alone.parquet"], profile)
    more = load_collected([tmp_path / "alone.parquet"], profile, only_question=True)
    options = TrainingOptions(("logistic",), "logistic", "nothing_lost", 4)
    made = train(collected, profile, Study(tmp_path), options, ignore, more)
    assert (len(made.questions), len(made.more_questions)) == (QUESTIONS, 60)
    assert [source.dataset for source in made.sources] == ["made-up", "made-up"]


def test_out_of_fold_scores_of_uninformative_inputs_are_at_chance(profile: Profile, tmp_path: Path) -> None:
    runs = synthetic_runs(QUESTIONS, 2, is_blind=True)
    blind = load_collected([store(profile, tmp_path / "blind.parquet", runs)], profile)
    options = TrainingOptions(("boosting", "probe"), "probe", "right", 4)
    made = train(blind, profile, Study(tmp_path / "study"), options, ignore)
    table = blind.table
    for kind in ("boosting", "probe"):  # within a stage: across stages the base rates are informative
        scores = Study(tmp_path / "study").scores(kind, table)
        aurocs = [quality(scores[:, k], table.slm.right[:, k]).auroc for k in range(table.stages)]
        assert all(auroc is not None and 0.33 < auroc < 0.67 for auroc in aurocs), (kind, aurocs)
    assert made.chosen == "probe"


def test_serving_and_evaluation_compute_the_same_score(study: Study, unseen: Collected) -> None:
    table = unseen.table
    for kind in ("mlp", "logistic", "probe", "combined"):
        artefact = Artefact.load(study.folder / kind)
        grid = scores_of(artefact, table)
        scorer = TrainedScorer(artefact)
        for row, stage in ((0, 0), (5, 2), (9, 3)):
            inputs = ScorerInputs(
                stage, int(table.slm.prompt[row, stage]), table.features[row, stage], table.states[row, stage],
                table.words[row],
            )  # fmt: skip
            assert scorer.score(inputs) == pytest.approx(grid[row, stage], abs=1e-6)


@pytest.mark.parametrize(
    ("file", "command", "read"), [(TRAINING, "train", "training"), (POLICY, "calibrate", "policies")]
)
def test_a_study_of_another_version_says_which_command_makes_it_anew(
    tmp_path: Path, file: str, command: str, read: str
) -> None:
    (tmp_path / file).write_text('{"version": 0}')
    with pytest.raises(StudyError, match=f"{file} is of another version: run `tandem {command}` again$"):
        getattr(Study(tmp_path), read)()


def test_a_scorer_of_another_pair_is_refused(study: Study, profile: Profile) -> None:
    scorer = TrainedScorer(study.artefact("mlp"))
    scorer.check_compatible(profile, "1" * 64, TRANSFORMERS)
    other = profile.model_copy(update={"handoff": "brief"})
    with pytest.raises(ValueError, match=r"handoff, the small model's tokenizer differ"):
        scorer.check_compatible(other, "2" * 64, TRANSFORMERS)
    with pytest.raises(ValueError, match=r"trained on transformers, here llamacpp Q4_K - Medium"):
        scorer.check_compatible(profile, "1" * 64, "llamacpp Q4_K - Medium")
    words = TrainedScorer(study.artefact("words"))
    words.check_compatible(profile, "1" * 64, "llamacpp Q4_K - Medium")


def test_drift_is_detected_in_the_features(study: Study, collected: Collected) -> None:
    table = collected.table
    for shift, low, high in ((0.0, 0.0, 0.2), (3.0, 1.0, 10.0)):
        drift = DriftMonitor(TrainedScorer(study.artefact("mlp")), first_stage=0)
        for row in range(100):
            drift.observe(
                ScorerInputs(0, 30, table.features[row, 0] - np.float32(shift), table.states[row, 0], table.words[row])
            )
            drift.observe(
                ScorerInputs(1, 30, table.features[row, 1] + np.float32(100), table.states[row, 1], table.words[row])
            )
        assert drift.requests == 100
        assert low <= np.abs(drift.shift()).mean() <= high


def test_a_scorer_without_a_pass_detects_drift_in_the_question_counts(study: Study) -> None:
    scorer = TrainedScorer(study.artefact("words"))
    seen, shifted = DriftMonitor(scorer, first_stage=0), DriftMonitor(scorer, first_stage=0)
    for number in range(QUESTIONS):
        seen.observe(ScorerInputs.without_pass(f"Question 0-{number}", 0))
    for _ in range(20):
        shifted.observe(ScorerInputs.without_pass("def f(x: int) -> int:\n    return x / 2 / 3 / 4  # % %" * 9, 0))
    assert seen.monitored == tuple(COUNTS)
    assert np.abs(shifted.shift()).max() > 3 > np.abs(seen.shift()).max()


def test_a_higher_auroc_lowers_the_cost_of_the_large_models_accuracy(profile: Profile, collected: Collected) -> None:
    costs = [each.cost for each in headroom(collected.table, make_plan(profile))]
    assert costs == sorted(costs, reverse=True)
    assert costs[0] > costs[-1] + 0.1
    best = oracle(collected.table, make_plan(profile), llm_finishes=True)
    assert costs[-1] >= best.full.sum() / llm_alone(collected.table, make_plan(profile)).full.sum()


def test_the_chosen_policy_meets_the_objective_and_costs_less_than_any_fixed_stage_that_does(
    profile: Profile, collected: Collected, calibration: Calibration
) -> None:
    plan, table = make_plan(profile), collected.table
    alone = llm_alone(table, plan)
    assert calibration.policies.accuracy >= alone.right.mean() - 0.02
    for stage in range(table.stages):
        way = fixed(table, plan, stage)
        if way.right.mean() >= alone.right.mean() - 0.02:
            assert calibration.policies.cost < way.full.mean() / alone.full.mean()
    assert calibration.policies.cost >= oracle(table, plan, True).full.mean() / alone.full.mean() - 1e-9


def test_the_frontier_is_strictly_increasing(calibration: Calibration) -> None:
    found = calibration.frontier
    assert len(found) > 3
    for cheap, expensive in pairwise(found):
        assert cheap.cost.mean < expensive.cost.mean
        assert cheap.accuracy.mean < expensive.accuracy.mean
        assert cheap.cost.low <= cheap.cost.mean <= cheap.cost.high


def test_our_policy_beats_random_stops_and_not_the_oracle(
    profile: Profile, study: Study, unseen: Collected, calibration: Calibration
) -> None:
    found = evaluate("unseen", unseen.table, make_plan(profile), study)
    ours, best = found.row(OURS), found.row("oracle:llm-finishes")
    assert found.n == 90
    assert ours.accuracy.mean <= best.accuracy.mean + 1e-9
    assert ours.accuracy.mean > found.random_same_stops.high
    assert ours.relative["full"].mean < 1
    assert found.row(LLM_ALONE).difference.mean == 0
    assert found.gap_closed is not None
    assert found.gap_closed.low <= found.gap_closed.mean <= found.gap_closed.high
    assert sum(ours.stops.values()) == 90
    assert {"cascade", "router", "paper", "concise", "forced:2", "fixed:3", "random"} <= {
        row.name for row in found.rows
    }
    with pytest.raises(UnknownMethod, match="oracle"):
        evaluate("unseen", unseen.table, make_plan(profile), study, ["magic"])


def test_errors_for_too_few_questions_and_a_missing_step_name_the_remedy(profile: Profile, tmp_path: Path) -> None:
    few = load_collected([store(profile, tmp_path / "few.parquet", synthetic_runs(12, 3))], profile)
    with pytest.raises(TooFew, match="collect 40"):
        train(few, profile, Study(tmp_path), TrainingOptions(KINDS, "auto", "right", 4), ignore)
    with pytest.raises(StudyError, match="tandem train"):
        Study(tmp_path / "nothing").training()


def test_from_files_to_a_profile_by_commands(profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_PROFILES_PATH", str(profile.folder.parent))
    monkeypatch.chdir(tmp_path)
    seen = str(store(profile, tmp_path / "seen.parquet", synthetic_runs(90, 4), "seen"))
    new = str(store(profile, tmp_path / "new.parquet", synthetic_runs(60, 5), "new"))

    def run(*words: str, fails: bool = False) -> str:
        result = CliRunner().invoke(app, [*words, "--profile", "scripted"])
        assert (result.exit_code != 0) == fails, result.output
        return result.output

    trained = json.loads(run("train", seen, "--kind", "combined", "--folds", "3", "--json"))
    assert (trained["chosen"], trained["sources"][0]["questions"]) == ("combined", 90)
    assert "chosen for" in run("calibrate", seen, "--below", "0.02", "--llm-finishes", "--write")
    questions = tmp_path / "new.jsonl"
    questions.write_text('{"id": "5-0", "question": "?", "answer": "1"}\n')
    judge = ("eval", "--data", str(questions), "--no-ask", "--collected")
    assert "\nnew: 60 questions\n" in run(*judge, new)
    report = run(*judge, new, "--report")
    assert all(f"\n## {title}\n" in report for title in ("Stages of the answers", "Headroom of a better scorer"))
    run(*judge, new, "--report", "--methods", "tandem", fails=True)
    run(*judge, new, "--methods", "tandem,llm,fixed:2", "--json", str(tmp_path / "figures.json"))
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert set(figures) == {
        "profile", "data", "methods", "comparisons", "auroc_by_stage", "headroom", "computed_by", "left_out",
    }  # fmt: skip
    assert set(figures["methods"]) == {"tandem", "llm", "fixed:2"}
    assert set(figures["methods"]["llm"]) == {
        "accuracy",
        "ci95",
        "n",
        "truncated",
        "llm_tokens",
        "slm_tokens",
        "overrun_tokens",
        "tflops_paper",
        "tflops_full",
        "usd",
        "seconds",
        "latency",
        "stop_stages",
    }
    assert set(figures["comparisons"][0]) == {
        "a", "b", "accuracy_difference", "ci95", "p_value", "cost_ratio_paper", "cost_ratio_full", "cost_ratios"
    }  # fmt: skip
    assert figures["methods"]["llm"]["stop_stages"]["llm"] == 60
    run(*judge, seen, fails=True)  # was trained on
    run("calibrate", seen, "--below", "0.02", "--price", "1", fails=True)
    shipped = load_profile("scripted", (profile.folder.parent,))
    assert (shipped.stop.scorer, shipped.stop.otherwise) == ("combined:scorer", "llm_finishes")
    assert make_scorer(shipped.stop.scorer, shipped.folder).trained
    policy = json.loads((tmp_path / "studies/scripted/policy.json").read_text())["served"]["thresholds"]
    assert [s.threshold for s in shipped.stages] == pytest.approx(policy[1:], abs=1e-4)
    assert shipped.llm_alone.output_tokens == 240
