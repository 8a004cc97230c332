from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from services.sufficiency_scorer.artefact import Artefact, Description
from services.sufficiency_scorer.evidence import Evidence, EvidenceBatch
from services.sufficiency_scorer.features import NAMES, features
from services.sufficiency_scorer.network import Shape, SufficiencyNetwork
from services.sufficiency_scorer.scorers import make_scorer
from services.sufficiency_scorer.words import COUNTS, HASHED, WIDTH, words
from tandem.paths import DEFAULT_PROFILE, REPOSITORY


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


def test_features_of_the_shortest_and_the_most_surprising_text_are_finite() -> None:
    assert np.isfinite(features(np.array([-1e9], np.float32), np.array([0], np.float32))).all()
    with pytest.raises(ValueError, match="at least one"):
        features(np.empty(0, np.float32), np.empty(0, np.float32))


MLP = Shape(("features",), stages=4, hidden=(64, 32), dropout=0.3)


def seen(values: np.ndarray, stage: int = 0) -> Evidence:
    return Evidence(stage, 40, values.astype(np.float32), np.empty(0, np.float32), words("How many?"))


def artefact(network: SufficiencyNetwork, kind: str = "mlp", **changes: object) -> Artefact:
    described = {
        "kind": kind, "features": list(NAMES), "shape": network.shape.as_dict(), "pair": {}, "tokenizer_sha256": "",
        "spread_by_stage": [], "trained_on": [], "metrics": {}, "versions": {}, "command": "", "seed": 0, **changes,
    }  # fmt: skip
    return Artefact(network, Description.model_validate(described))


def test_the_registry_has_the_baselines_and_says_which_are_trained(tmp_path: Path) -> None:
    artefact(SufficiencyNetwork(MLP)).save(tmp_path)
    some = seen(np.ones(16))
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
    sure, unsure = (seen(features(np.full(9, -1, np.float32), np.full(9, h, np.float32))) for h in (0.1, 2.0))
    assert scorer.score(sure) == pytest.approx(math.exp(-0.1), rel=1e-5)
    assert scorer.score(unsure) < scorer.score(sure)


def test_an_artefact_scores_as_the_network_that_was_saved(tmp_path: Path) -> None:
    torch.manual_seed(3)
    network = SufficiencyNetwork(MLP).eval()
    network.mean.fill_(0.5)
    network.slope.fill_(0.7)
    artefact(network).save(tmp_path)
    # A service that runs as another user reads both.
    assert len({file.stat().st_mode for file in tmp_path.iterdir()}) == 1
    evidence = seen(np.linspace(0, 1e8, 16))
    expected = network.probabilities(EvidenceBatch.single(evidence))[0]
    assert make_scorer("mlp", tmp_path).score(evidence) == pytest.approx(expected)


def test_an_artefact_that_is_missing_broken_or_foreign_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="train one"):
        make_scorer("mlp", tmp_path)
    artefact(SufficiencyNetwork(MLP), features=["other"]).save(tmp_path)
    with pytest.raises(ValueError, match="other features"):
        make_scorer("mlp", tmp_path)
    artefact(SufficiencyNetwork(MLP), shape=Shape(("features",), 4).as_dict()).save(tmp_path)
    with pytest.raises(ValueError, match="cannot be used"):
        make_scorer("mlp", tmp_path)


def test_a_questions_words_are_seen_without_a_model_and_numbers_by_their_length_alone() -> None:
    one, other = words("Tom has 12 apples."), words("tom has 57 apples.")
    np.testing.assert_array_equal(one[:HASHED], other[:HASHED])
    assert one[HASHED:][COUNTS.index("largest_number")] < other[HASHED:][COUNTS.index("largest_number")]
    assert not np.array_equal(one[:HASHED], words("Ann has 12 pears.")[:HASHED])
    assert np.isfinite(words("")).all()
    assert len(words("$\\frac{1}{2}$" * 500)) == WIDTH
