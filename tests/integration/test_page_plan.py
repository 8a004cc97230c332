"""The page's planner asks the functions of `tandem plan`, and its sliders are reached by the keyboard."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Route, expect

from tandem.planning.payoff import CheckFigures, Pair, Score, correlation_of, least, payoff
from tests.browser import Visit, needs_browser
from tests.integration.conftest import System
from tests.integration.tabs import own_tab

pytestmark = pytest.mark.asyncio(loop_scope="session")
SHIPPED = {"small": 0.51, "large": 0.67, "both": 0.41, "ratio": 8.0, "check": 0.7, "auroc": 0.73}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def tab(system: System) -> AsyncIterator[Visit]:
    async with own_tab(system.client.address) as visiting:
        yield visiting


def pair(ratio: float, auroc: float) -> Pair:
    small, large = SHIPPED["small"], SHIPPED["large"]
    check = CheckFigures(SHIPPED["check"])
    return Pair(small, large, 1 / ratio, correlation_of(small, large, SHIPPED["both"]), Score(auroc), check=check)


async def test_the_endpoint_answers_as_tandem_plan(http: httpx.AsyncClient) -> None:
    found = (await http.get("/api/plan", params=SHIPPED)).json()
    expected = payoff(pair(8, 0.73))
    assert list(found["policies"]) == ["cascade", "check", "check_all"]
    assert found["policies"]["check"] == {"cost": expected["check"].cost, "accuracy": expected["check"].accuracy}
    assert found["saving"] == 1 - least(pair(8, 0.73))
    assert [set(effect) for effect in found["effects"]] == [{"lever", "change", "saving"}] * 4


async def test_the_map_holds_the_saving_of_each_place(http: httpx.AsyncClient) -> None:
    figures = {name: SHIPPED[name] for name in ("small", "large", "both", "check")}
    found = (await http.get("/api/plan/map", params=figures)).json()
    assert (len(found["savings"]), len(found["savings"][0])) == (len(found["aurocs"]), len(found["ratios"])) == (11, 17)
    assert (found["ratios"][8], found["aurocs"][4]) == (10, 0.7)
    assert found["savings"][4][8] == pytest.approx(1 - least(pair(10, 0.7)), abs=1e-4)


@pytest.mark.parametrize("wrong", [{"small": 1.5}, {"ratio": 0}, {"auroc": "high"}, {"colour": 1}])
async def test_a_figure_that_makes_no_sense_is_refused_by_name(http: httpx.AsyncClient, wrong: dict[str, Any]) -> None:
    refused = await http.get("/api/plan", params=SHIPPED | wrong)
    assert refused.status_code == 400
    assert next(iter(wrong)) in refused.text


@needs_browser
async def test_a_planner_that_is_not_answered_says_so_and_shows_no_old_figures(tab: Visit) -> None:
    await tab.open("#/plan?check=0.5")
    verdict = tab.page.get_by_role("status")
    await expect(verdict).to_be_visible()

    async def refuse(route: Route) -> None:
        await route.abort()

    await tab.page.route("**/api/plan?*", refuse)
    await tab.page.get_by_label("Tasks with a check").press("Home")
    await expect(tab.page.get_by_role("alert")).to_contain_text("does not answer")
    await expect(verdict).to_have_count(0)
    await tab.page.unroute("**/api/plan?*")
    await tab.page.get_by_label("Tasks with a check").press("End")
    await expect(verdict).to_be_visible()
    await expect(tab.page.get_by_role("alert")).to_have_count(0)


@needs_browser
async def test_figures_of_a_pair_that_nothing_was_measured_of_are_called_an_example(tab: Visit) -> None:
    """As of any pair of endpoints."""
    await tab.open("#/plan")
    await expect(tab.page.get_by_role("status")).to_be_visible()
    await expect(tab.page.locator("main > .note").first).to_contain_text("Nothing was measured of scripted")
    await expect(tab.page.locator("main")).not_to_contain_text("this pair")


@needs_browser
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


@needs_browser
async def test_both_right_stays_possible_when_an_accuracy_moves(tab: Visit) -> None:
    await tab.open("#/plan?small=0.5&large=0.8&both=0.49&ratio=8&check=0.5&auroc=0.7")
    await expect(tab.page.get_by_label("Both right")).to_have_attribute("aria-valuetext", "49 %")
    await tab.page.get_by_label("Small model right").focus()
    await tab.page.keyboard.press("Home")
    await expect(tab.page.get_by_label("Both right")).to_have_attribute("aria-valuetext", "1 %")
    figures: dict[str, Any] = await tab.page.evaluate(
        "Object.fromEntries(new URLSearchParams(location.hash.split('?')[1]))"
    )
    assert float(figures["both"]) <= float(figures["small"])
