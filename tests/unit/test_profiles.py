from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from services.sufficiency_scorer.artefact import TrainedScorer
from services.sufficiency_scorer.scorer_inputs import ScorerInputs, bag_of_words
from services.sufficiency_scorer.scorers import make_scorer
from tandem.cli.profile import kinships
from tandem.local.models import catalogue
from tandem.method.errors import InvalidArgument, NotFound
from tandem.method.profile.price_sections import RolePricesSection
from tandem.method.profile.profile import Model, Profile, load_profile
from tandem.method.profile.profile_sections import Agreement
from tandem.method.request.plan import make_plan
from tandem.paths import REPOSITORY

SHIPPED = REPOSITORY / "deploy" / "profiles"
NAMES = sorted(p.parent.name for p in SHIPPED.glob("*/profile.toml"))


@pytest.fixture(params=NAMES)
def profile(request: pytest.FixtureRequest) -> Profile:
    return load_profile(request.param, (SHIPPED,))


def test_both_pairs_are_shipped() -> None:
    assert {"qwen2.5-coder-1.5b-0.5b", "deepseek-r1-32b-7b"} <= set(NAMES)


def test_a_shipped_profile_is_whole(profile: Profile) -> None:
    assert profile.name == profile.folder.name
    assert {profile.llm.name, profile.slm.name} <= set(catalogue())
    scorer = make_scorer(profile.stop.scorer, profile.folder)
    states = 0
    if isinstance(scorer, TrainedScorer):
        states = scorer.artefact.network.shape.states
        description = scorer.artefact.description
        scorer.check_compatible(profile, description.tokenizer_sha256, description.computed_by)
    inputs = ScorerInputs(0, 40, np.ones(16, np.float32), np.zeros(states, np.float32), bag_of_words("How many?"))
    assert 0 <= scorer.score(inputs) <= 1
    assert make_plan(profile).stages[-1].max_tokens == profile.stages[-1].max_tokens


def test_the_papers_profile_has_the_papers_budgets_and_sizes() -> None:
    profile = load_profile("deepseek-r1-32b-7b", (SHIPPED,))
    assert [stage.max_tokens for stage in profile.stages] == [100, 500, 1000]
    assert (profile.llm.parameters, profile.slm.parameters) == (32e9, 7e9)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("max_tokens = 16", "max_tokens = 99", "ascend"),
        ('question = "{question}"', 'question = "nothing"', "question"),
        ("[stop]", "[stop]\nbeans = 1", "beans"),
        ('handoff = "continuation"', 'handoff = "brief"', "brief"),
        ("[stop]", "[stop", "profile.toml"),
    ],
)
def test_a_broken_profile_says_where(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = (Path(__file__).parents[1] / "profiles" / "scripted" / "profile.toml").read_text()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "profile.toml").write_text(text.replace(old, new, 1))
    with pytest.raises(InvalidArgument, match=message):
        load_profile("broken", (tmp_path,))


def test_a_profile_of_0_2_0_that_has_measured_figures_is_loaded_as_one_without_them(tmp_path: Path) -> None:
    text = (SHIPPED / "deepseek-r1-32b-7b" / "profile.toml").read_text()
    (tmp_path / "mine").mkdir()
    file = tmp_path / "mine" / "profile.toml"
    file.write_text(text)
    without = load_profile("mine", (tmp_path,))
    file.write_text(f'{text}\n[measured]\ndata = "HumanEval"\nn = 164\n')
    assert load_profile("mine", (tmp_path,)) == without


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("", "[tools]\nthreshold = 0.8\n", "tools is removed: delete the table; .* in \\[agreement\\]"),
        (
            "",
            '[agreement]\nrule = "first alone if certain"\n',
            "agreement.rule: Input should be 'all of three', 'both', 'ladder' or 'two of three'",
        ),
        (
            "[llm]",
            '[llm.api]\nurl = "http://h/v1"\ncan = {logprobs = true}\n[llm]',
            "logprobs is removed: delete the line",
        ),
    ],
)
def test_a_key_of_0_2_0_that_is_removed_is_refused_with_what_to_write(
    tmp_path: Path, old: str, new: str, says: str
) -> None:
    text = (SHIPPED / "deepseek-r1-32b-7b" / "profile.toml").read_text()
    file = tmp_path / "mine" / "profile.toml"
    file.parent.mkdir()
    file.write_text(text.replace(old, new, 1) if old else f"{text}\n{new}")
    with pytest.raises(InvalidArgument, match=says):
        load_profile("mine", (tmp_path,))


def test_an_unknown_profile_names_the_known_ones() -> None:
    with pytest.raises(NotFound, match=r"qwen2\.5-coder-1\.5b-0\.5b"):
        load_profile("nobody", (SHIPPED,))


def test_gpu_seconds_are_billed_as_the_tokens_that_they_make() -> None:
    rate = {"input": 10_000, "output": 500}
    prices = RolePricesSection.model_validate({"usd_per_gpu_second": 0.001, "gpus": 2, "tokens_per_second": rate})
    assert (prices.input, prices.cached_input, prices.output) == pytest.approx((0.2, 0.0, 4.0))


def test_a_price_is_by_token_or_by_gpu_second_and_not_both() -> None:
    with pytest.raises(ValueError, match="input"):
        RolePricesSection.model_validate(
            {"usd_per_gpu_second": 0.001, "tokens_per_second": {"output": 5}, "input": 1.0}
        )


def test_a_task_that_is_not_scored_has_no_threshold_that_a_score_reaches() -> None:
    profile = load_profile("qwen2.5-coder-1.5b-0.5b", (SHIPPED,))
    assert "code" not in profile.stop.tasks
    plan = make_plan(profile, "code")
    assert [plan.stage_zero_threshold, *(stage.threshold for stage in plan.stages)] == [1.0] * 4
    assert make_plan(profile).stage_zero_threshold < 1


def test_a_schema_that_every_answer_follows_starts_no_trial() -> None:
    profile = load_profile("qwen2.5-coder-1.5b-0.5b", (SHIPPED,))
    plan = make_plan(profile, "answer", '{"type": "object"}')
    assert [plan.stage_zero_threshold, *(stage.threshold for stage in plan.stages)] == [1.0] * 4
    assert plan.trial.stages == []
    assert make_plan(profile, "code").trial.stages == [0]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('otherwise = "llm_finishes"', 'otherwise = "best_stage"', "a task that is not scored needs"),
        ("stages = [0]", "stages = [4]", "there are stages 0 to 3"),
        ("stages = [0]", "stages = [1, 0]", "must ascend"),
        ("repairs = 0", "repairs = 1", "needs prompts.repair"),
    ],
)
def test_a_profile_whose_trials_or_tasks_contradict_each_other_is_refused(
    tmp_path: Path, old: str, new: str, problem: str
) -> None:
    text = (SHIPPED / "qwen2.5-coder-1.5b-0.5b" / "profile.toml").read_text()
    assert old in text
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "profile.toml").write_text(text.replace(old, new))
    with pytest.raises(InvalidArgument, match=problem):
        load_profile("broken", (tmp_path,))


@pytest.mark.parametrize(
    ("kind", "next_step"),
    [("code", "python_agreement in checks.code"), ("chat", "the large model answers")],
)
def test_a_kind_that_agreement_does_not_compare_is_refused_with_the_next_step(kind: str, next_step: str) -> None:
    with pytest.raises(ValueError, match=next_step):
        Agreement(kinds=[kind])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "family", "kin"),
    [
        ("meta-llama/Llama-3.1-8B", "", "llama"),
        ("gpt-4o-mini", "", "gpt"),
        ("qwen2.5-coder-0.5b-instruct", "", "qwen"),
        ("ToolACE-2-8B", "llama", "llama"),
        ("deepseek-r1-distill-qwen-7b", "", "qwen"),
        ("chatgpt-4o-latest", "", "gpt"),
        ("o4-mini", "", "gpt"),
        ("codestral-22b", "", "mistral"),
        ("Mixtral-8x7B-Instruct-v0.1", "", "mistral"),
        ("gemini-1.5-flash", "", "gemini"),
        ("olmo-2-7b", "", "olmo"),
    ],
)
def test_models_are_of_one_family_by_their_names_or_as_the_profile_says(name: str, family: str, kin: str) -> None:
    assert Model(name=name, parameters=0, family=family).kin == kin


def test_who_shares_a_family_with_another_small_model_is_told_what_that_loses() -> None:
    small = [Model(name=name, parameters=0) for name in ("qwen3-8b", "gpt-4o-mini", "deepseek-r1-distill-qwen-7b")]
    assert not kinships(small[1], small[:1])
    [told] = kinships(small[2], small[:2])
    assert told.startswith("qwen3-8b is of the family qwen as well")
    assert "4.6 %" in told


def test_every_model_of_the_catalogue_has_a_family_and_a_profile_that_names_another_is_believed() -> None:
    assert all(entry.family for entry in catalogue().values())
    mine = Model(name="deepseek-r1-distill-qwen-7b", parameters=0, family="deepseek")
    assert not kinships(Model(name="qwen2.5-coder-0.5b-instruct", parameters=0), [mine])
