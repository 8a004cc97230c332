"""Metrics of the training on cases with known values."""

from __future__ import annotations

import numpy as np
import pytest

from lab.training.metrics import difference_of_means, expected_calibration_error, mcnemar, quality, quality_by_stage


def test_metrics_on_cases_with_known_values() -> None:
    right = np.array([False, True] * 50)
    assert expected_calibration_error(np.full(100, 0.5), right) == pytest.approx(0)
    assert expected_calibration_error(np.full(100, 0.9), right) == pytest.approx(0.4)
    assert quality(right.astype(float), right).auroc == 1
    assert quality(np.zeros(4), np.zeros(4, bool)).auroc is None
    assert mcnemar(right, right) == 1
    assert mcnemar(np.ones(10, bool), np.zeros(10, bool)) == pytest.approx(2 / 2**10)


def test_a_stage_that_no_question_reached_has_no_quality() -> None:
    scores, exists = np.array([[0.2, np.nan], [0.9, np.nan]]), np.array([[True, False], [True, False]])
    first, second = quality_by_stage(scores, exists, exists)
    assert (first.n, second.n, second.auroc) == (2, 0, None)


def test_a_difference_without_an_event_has_exact_bounds_and_no_empty_interval() -> None:
    right = np.arange(123) % 3 > 0
    found = difference_of_means(right, right)
    assert (found.mean, found.low, found.high) == (
        0.0,
        pytest.approx(-0.0241, abs=1e-4),
        pytest.approx(0.0241, abs=1e-4),
    )
