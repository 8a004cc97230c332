"""The page's planner says what `tandem plan` says, and its sliders are reached by the keyboard."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from playwright.async_api import expect

from lab.training.forecast import forecast
from lab.training.payoff import Check, Pair, Score, correlation_of
from tests.browser import Visit, needs_browser
from tests.integration.conftest import System
from tests.integration.tabs import own_tab

pytestmark = [pytest.mark.asyncio(loop_scope="session"), needs_browser]
COMPUTED = """async (pairs) => {
  const { payoff, effects } = await import("/assets/payoff.js");
  return pairs.map((pair) => ({ points: payoff(pair), effects: Object.fromEntries(effects(pair).map(([name, _, saving]) => [name, saving])) }));
}"""
Figures = dict[str, float]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def tab(system: System) -> AsyncIterator[Visit]:
    async with own_tab(system.client.address) as visiting:
        yield visiting


def pairs(count: int) -> list[Figures]:
    """Drawn ones, and corners."""
    generator = np.random.default_rng(7)
    found = [
        {"small": 0.51, "large": 0.67, "both": 0.41, "ratio": 8.0, "check": 0.7, "auroc": 0.73},
        {"small": 0.9, "large": 0.3, "both": 0.25, "ratio": 1.0, "check": 1.0, "auroc": 0.5},
        {"small": 0.25, "large": 0.66, "both": 0.23, "ratio": 8.8, "check": 0.0, "auroc": 1.0},
    ]
    while len(found) < count:
        small, large, share = generator.uniform(0.05, 0.95), generator.uniform(0.05, 0.95), generator.uniform(0.1, 0.9)
        low, high = max(0.0, small + large - 1), min(small, large)
        check = float(generator.choice([0.0, generator.uniform()]))
        rest = {"ratio": 10 ** generator.uniform(0, 2), "check": check, "auroc": generator.uniform(0.5, 1)}
        found.append({"small": small, "large": large, "both": low + share * (high - low), **rest})
    return found


def python_pair(figures: Figures) -> Pair:
    small, large = figures["small"], figures["large"]
    return Pair(
        small,
        large,
        1 / figures["ratio"],
        correlation_of(small, large, figures["both"]),
        score=Score(figures["auroc"]),
        check=Check(figures["check"]),
    )


async def test_the_page_computes_what_tandem_plan_does(tab: Visit) -> None:
    await tab.open("#/plan")
    asked = pairs(40)
    for figures, computed in zip(asked, await tab.page.evaluate(COMPUTED, asked), strict=True):
        expected = forecast(python_pair(figures), goal=0.05)
        # The router has no score before the answer, and so is the large model alone.
        policies = {p.name: [p.cost.value, p.accuracy] for p in expected.policies if p.name != "router"}
        points = {name: [point["cost"], point["accuracy"]] for name, point in computed["points"].items()}
        assert points == {name: pytest.approx(values, abs=1e-4) for name, values in policies.items()}, figures
        effects = {effect.lever: effect.saving for effect in expected.effects}
        assert computed["effects"] == pytest.approx(effects, abs=2e-4), figures


async def test_a_slider_changes_the_verdict_the_command_and_the_address(tab: Visit) -> None:
    await tab.open("#/plan?small=0.5&large=0.8&both=0.45&ratio=8&check=0&auroc=0.5")
    verdict = tab.page.get_by_role("status")
    await expect(verdict).to_contain_text("It does not pay")
    slider = tab.page.get_by_label("Tasks with a check")
    await slider.focus()
    await tab.page.keyboard.press("End")
    await expect(verdict).to_contain_text("It pays")
    await expect(slider).to_have_attribute("aria-valuetext", "100 %")
    await expect(slider).to_be_focused()
    await expect(tab.page.locator(".command")).to_contain_text("--check-share 1 --auroc 0.5")
    shown = await verdict.inner_text()
    await tab.page.reload()
    await expect(tab.page).to_have_url(re.compile("check=1&"))
    await expect(verdict).to_have_text(re.compile(re.escape(shown.split("\n")[1])))


async def test_both_right_stays_possible_when_an_accuracy_moves(tab: Visit) -> None:
    await tab.open("#/plan?small=0.5&large=0.8&both=0.49&ratio=8&check=0.5&auroc=0.7")
    await tab.page.get_by_label("Small model right").focus()
    await tab.page.keyboard.press("Home")
    await expect(tab.page.get_by_label("Both right")).to_have_attribute("aria-valuetext", "1 %")
    figures: dict[str, Any] = await tab.page.evaluate(
        "Object.fromEntries(new URLSearchParams(location.hash.split('?')[1]))"
    )
    assert float(figures["both"]) <= float(figures["small"])
