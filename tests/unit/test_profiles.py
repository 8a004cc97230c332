from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from services.sufficiency_scorer.artefact import TrainedScorer
from services.sufficiency_scorer.evidence import Evidence
from services.sufficiency_scorer.scorers import make_scorer
from services.sufficiency_scorer.words import words
from tandem.local.catalogue import catalogue
from tandem.method.errors import InvalidArgument, NotFound
from tandem.method.plan import make_plan
from tandem.method.profile import Profile, RolePrices, load_profile
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
        scorer.must_fit(profile, scorer.artefact.description.tokenizer_sha256)
    evidence = Evidence(0, 40, np.ones(16, np.float32), np.zeros(states, np.float32), words("How many?"))
    assert 0 <= scorer.score(evidence) <= 1
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


def test_an_unknown_profile_names_the_known_ones() -> None:
    with pytest.raises(NotFound, match=r"qwen2\.5-coder-1\.5b-0\.5b"):
        load_profile("nobody", (SHIPPED,))


def test_gpu_seconds_are_billed_as_the_tokens_that_they_make() -> None:
    rate = {"input": 10_000, "output": 500}
    prices = RolePrices.model_validate({"usd_per_gpu_second": 0.001, "gpus": 2, "tokens_per_second": rate})
    assert (prices.input, prices.cached_input, prices.output) == pytest.approx((0.2, 0.0, 4.0))


def test_a_price_is_by_token_or_by_gpu_second_and_not_both() -> None:
    with pytest.raises(ValueError, match="input"):
        RolePrices.model_validate({"usd_per_gpu_second": 0.001, "tokens_per_second": {"output": 5}, "input": 1.0})
