from __future__ import annotations

import math
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from kserve import InferInput, InferRequest

from services.shared.request_log.log import RequestLog
from services.sufficiency_scorer.artefact import Artefact, Description, TrainedScorer
from services.sufficiency_scorer.network import Shape, SufficiencyNetwork
from services.sufficiency_scorer.scorer_inputs import (
    BUCKETS,
    COUNTS,
    NAMES,
    WIDTH,
    ScorerInputs,
    ScorerInputsBatch,
    bag_of_words,
    features,
)
from services.sufficiency_scorer.scorers import make_scorer
from services.sufficiency_scorer.service import MODEL_NAME, SufficiencyModel
from services.sufficiency_scorer.stage_scorer import StageScorer, StageScorers
from tandem.method.errors import FailedPrecondition
from tandem.method.profile.profile import load_profile
from tandem.paths import DEFAULT_PROFILE, REPOSITORY
from tests.fakes import ScriptedEngine


def test_the_sixteen_features_are_the_papers_statistics() -> None:
    logprobs = np.log(np.linspace(0.1, 0.9, 50)).astype(np.float32)
    entropies = np.linspace(2, 1, 50).astype(np.float32)
    found = dict(zip(NAMES, features(logprobs, entropies), strict=True))
    perplexity = np.exp(-logprobs.astype(float))
    assert found["perplexity_mean"] == pytest.approx(perplexity.mean(), rel=1e-5)
    assert found["perplexity_max"] == pytest.approx(10, rel=1e-4)
    assert found["entropy_median"] == pytest.approx(1.5, rel=1e-5)
    assert found["entropy_p25"] == pytest.approx(np.percentile(entropies, 25), rel=1e-5)
    assert found["entropy_trend"] == pytest.approx(entropies[-20:].mean() - entropies[:20].mean(), rel=1e-4)
    assert len(found) == 16


def test_features_of_the_shortest_and_the_least_likely_text_are_finite() -> None:
    assert np.isfinite(features(np.array([-1e9], np.float32), np.array([0], np.float32))).all()
    with pytest.raises(ValueError, match="at least one"):
        features(np.empty(0, np.float32), np.empty(0, np.float32))


MLP = Shape(("features",), stages=4, hidden=(64, 32), dropout=0.3)


def inputs_of(values: np.ndarray, stage: int = 0) -> ScorerInputs:
    return ScorerInputs(stage, 40, values.astype(np.float32), np.empty(0, np.float32), bag_of_words("How many?"))


def artefact(network: SufficiencyNetwork, kind: str = "mlp", **changes: object) -> Artefact:
    described = {
        "kind": kind, "features": list(NAMES), "shape": asdict(network.shape), "pair": {}, "tokenizer_sha256": "",
        "spread_by_stage": [], "trained_on": [], "metrics": {}, "versions": {}, "command": "", "seed": 0, **changes,
    }  # fmt: skip
    return Artefact(network, Description.model_validate(described))


def test_the_registry_has_the_baselines_and_says_which_are_trained(tmp_path: Path) -> None:
    artefact(SufficiencyNetwork.blank(MLP)).save(tmp_path)
    some = inputs_of(np.ones(16))
    for spec, trained in (("untrained", False), ("constant:0.3", False), ("random:1", False), ("mlp", True)):
        scorer = make_scorer(spec, tmp_path)
        assert 0 <= scorer.score(some) <= 1
        assert scorer.score(some) == scorer.score(some)
        assert scorer.trained is trained
    assert make_scorer("constant:0.3", tmp_path).score(some) == 0.3
    assert make_scorer("random:1", tmp_path).score(some) != make_scorer("random:2", tmp_path).score(some)
    for bad in ("oracle", "constant:2"):
        with pytest.raises(ValueError, match=r"oracle|0\.\.1"):
            make_scorer(bad, tmp_path)
    with pytest.raises(ValueError, match="kind 'mlp', not 'probe'"):
        make_scorer("probe", tmp_path)


def test_a_scorer_is_found_where_only_the_text_of_its_profile_was_replaced(tmp_path: Path) -> None:
    shipped = REPOSITORY / "deploy" / "profiles" / DEFAULT_PROFILE
    assert make_scorer("words:scorer", tmp_path, shipped).trained
    with pytest.raises(ValueError, match=str(tmp_path)):
        make_scorer("words:scorer", tmp_path)


def test_the_untrained_score_falls_with_entropy() -> None:
    scorer = make_scorer("untrained", Path())
    sure, unsure = (inputs_of(features(np.full(9, -1, np.float32), np.full(9, h, np.float32))) for h in (0.1, 2.0))
    assert scorer.score(sure) == pytest.approx(math.exp(-0.1), rel=1e-5)
    assert scorer.score(unsure) < scorer.score(sure)


def test_an_artefact_scores_as_the_network_that_was_saved(tmp_path: Path) -> None:
    dice = np.random.default_rng(3)
    drawn = {name: dice.uniform(-0.1, 0.2, size) for name, size in MLP.arrays.items()}
    network = SufficiencyNetwork.blank(MLP).having({**drawn, "spread": np.full(MLP.width, 8)})
    artefact(network).save(tmp_path)
    # A service that runs as another user reads both.
    assert len({file.stat().st_mode for file in tmp_path.iterdir()}) == 1
    inputs = inputs_of(np.linspace(0, 1e8, 16))
    expected = network.probabilities(ScorerInputsBatch.single(inputs))[0]
    assert 0.01 < expected < 0.99
    assert make_scorer("mlp", tmp_path).score(inputs) == pytest.approx(expected)


def test_an_artefact_that_is_missing_broken_or_has_other_features_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="train a scorer"):
        make_scorer("mlp", tmp_path)
    artefact(SufficiencyNetwork.blank(MLP), features=["other"]).save(tmp_path)
    with pytest.raises(ValueError, match="other features"):
        make_scorer("mlp", tmp_path)
    artefact(SufficiencyNetwork.blank(MLP), shape=asdict(Shape(("features",), 4))).save(tmp_path)
    with pytest.raises(ValueError, match="cannot be used"):
        make_scorer("mlp", tmp_path)


def test_the_bag_of_words_ignores_case_and_the_value_of_numbers() -> None:
    one, other = bag_of_words("Tom has 12 apples."), bag_of_words("tom has 57 apples.")
    np.testing.assert_array_equal(one[:BUCKETS], other[:BUCKETS])
    assert one[BUCKETS:][list(COUNTS).index("largest_number")] < other[BUCKETS:][list(COUNTS).index("largest_number")]
    assert not np.array_equal(one[:BUCKETS], bag_of_words("Ann has 12 pears.")[:BUCKETS])
    assert np.isfinite(bag_of_words("")).all()
    assert len(bag_of_words("$\\frac{1}{2}$" * 500)) == WIDTH


QUESTIONS = (
    "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May. How many in all?",
    "What is $\\frac{1}{2}+\\frac{2}{3}$? Write 5% of $30 as a number.",
    'def add(a, b):\n    """Add."""\n',
)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("words", (0.495843733, 0.743171517, 0.523016658)),
        ("mlp", (0.916686689, 0.917497203, 0.918322867)),
        ("logistic", (0.783444736, 0.752920089, 0.760054955)),
        ("probe", (0.802378795, 0.820543331, 0.844966766)),
        ("combined", (0.678982681, 0.771111438, 0.648424805)),
    ],
)
def test_the_shipped_artefacts_score_as_when_they_were_trained(kind: str, expected: tuple[float, ...]) -> None:
    """Recorded scores; another processor's kernels may round differently, so not to the last bit."""
    scorer = make_scorer(f"{kind}:{kind}", REPOSITORY / "lab" / "training" / "studies" / DEFAULT_PROFILE)
    assert isinstance(scorer, TrainedScorer)
    states = np.sin(np.arange(scorer.artefact.network.shape.states)).astype(np.float32)
    for stage, (question, score) in enumerate(zip(QUESTIONS, expected, strict=True)):
        n = 40 + stage
        logprobs = -np.append(np.geomspace(1e-4, 8 + stage, n), 25).astype(np.float32)
        entropies = np.geomspace(2e-4, 5, n + 1).astype(np.float32)
        inputs = ScorerInputs(stage, n, features(logprobs, entropies), states, bag_of_words(question))
        assert scorer.score(inputs) == pytest.approx(score, abs=1e-6)


async def test_a_request_planned_with_another_profile_is_refused(profiles_folder: Path) -> None:
    profile = load_profile("scripted", (profiles_folder,))
    log = RequestLog("redis://localhost:1", timedelta(minutes=1))  # unused: the request brings its insight
    stage_scorer = StageScorer(ScriptedEngine("scripted-slm"), log, profile, make_scorer("constant:0.5"))
    model = SufficiencyModel(StageScorers(profile, make=lambda _: stage_scorer), "scripted-slm")

    def request(**parameters: str) -> InferRequest:
        question, insight = InferInput("question", [1], "BYTES", ["1+1?"]), InferInput("insight", [1], "BYTES", ["2"])
        return InferRequest(MODEL_NAME, [question, insight], parameters=dict(parameters))

    with pytest.raises(FailedPrecondition, match="was planned with 0123") as refused:
        await model.predict(request(profile_digest="0123"))
    assert refused.value.reason == "PROFILE_MISMATCH"
    reply = await model.predict(request())
    assert reply.outputs[0].data == [0.5]
