"""`tandem plan`: figures from typed numbers and from files, their intervals, and the command."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("matplotlib")

from typer.testing import CliRunner

from lab.training.collected import load_collected
from lab.training.forecast import Estimate, answer, forecast, redrawing
from lab.training.pair_sample import drawn, of_table
from lab.training.payoff_plot import savings
from tandem.cli import app
from tandem.method.profile.prices import Prices, RolePrices
from tandem.method.profile.profile import Profile, load_profile
from tandem.planning.payoff import CheckFigures, Pair, Score, StageFigures, payoff
from tests.unit.synthetic import store, synthetic_runs

ROOT = Path(__file__).parents[2]
COLLECTED = ROOT / "lab/training/collected/qwen2.5-coder-1.5b-0.5b"
TYPED = ("--small", "0.6", "--large", "0.7", "--price-ratio", "10", "--auroc", "0.8")
PAIR = Pair(
    0.6, 0.7, 0.1, 0.5, Score(0.75, 0.55), Score(0.65, 0.6), CheckFigures(0.4, 0.9, 0.1), 0.02,
    stages=(StageFigures(0.2, 0.65, 0.1), StageFigures(0.4, 0.72, 0.1)),
)  # fmt: skip


@pytest.fixture
def profile(request: pytest.FixtureRequest) -> Profile:
    return load_profile("scripted", (ROOT / "tests/profiles",))


def run(*words: str) -> str:
    result = CliRunner().invoke(app, ["plan", *words])
    assert result.exit_code == 0, result.output
    return result.output


def test_a_large_sample_has_the_figures_that_it_was_drawn_with() -> None:
    found = drawn(PAIR, 40_000, np.random.default_rng(1)).measured()
    assert found.figures == pytest.approx(PAIR.figures, abs=0.02)
    assert [stage.right for stage in found.stages] == pytest.approx([0.65, 0.72], abs=0.02)
    lossless = replace(PAIR, score=Score(0.8, label="nothing_lost"))
    found = drawn(lossless, 40_000, np.random.default_rng(1)).measured("nothing_lost")
    assert found.score.auroc == pytest.approx(0.8, abs=0.02)


@pytest.fixture(autouse=True)
def fewer_resamples(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no figure of a page is compared: most of a forecast's time is a search for each resample."""
    if "docs" not in request.node.name:
        monkeypatch.setattr("lab.training.forecast._RESAMPLES", 40)


def test_an_interval_holds_its_figure_and_narrows_with_more_questions() -> None:
    def width(n: int) -> float:
        estimate = forecast(PAIR, 0.05, n, redrawing(PAIR, n, lambda pair: pair)).figures["small"]
        assert estimate.interval is not None
        low, high = estimate.interval
        assert low < estimate.value < high
        return high - low

    few = width(50)
    assert few == pytest.approx(2 * 1.96 * np.sqrt(0.24 / 50), rel=0.25)
    assert width(800) == pytest.approx(few / 4, rel=0.25)


def test_no_sample_makes_a_model_infallible() -> None:
    perfect = drawn(Pair(0.999, 0.999, 0.1), 10, np.random.default_rng(0)).measured()
    assert (perfect.small, perfect.large) == (0.95, 0.95)


@pytest.mark.parametrize(
    ("cost", "interval", "expected"),
    [
        (0.8, None, "yes"), (0.97, None, "no"), (0.8, (0.7, 0.9), "yes"), (0.8, (0.6, 1.0), "unclear"),
        (1.0, (0.9, 1.0), "unclear"), (1.0, (0.99, 1.0), "no"),
    ],
)  # fmt: skip
def test_it_pays_only_if_the_whole_interval_saves(
    cost: float, interval: tuple[float, float] | None, expected: str
) -> None:
    assert answer(Estimate(cost, interval), goal=0.05) == expected


def test_a_files_figures_are_counted_from_its_answers(profile: Profile, tmp_path: Path) -> None:
    runs = synthetic_runs(120, 7)
    table = load_collected([store(profile, tmp_path / "some.parquet", runs)], profile).table
    prices = Prices("", {"llm": RolePrices(output=4), "slm": RolePrices(output=1), "scorer": RolePrices(input=1)})
    found = of_table(table, prices).measured()
    small = [run.right for run in runs if (run.name, run.stage) == ("slm", 0)]
    large = [run.right for run in runs if run.name == "llm"]
    assert found.small == pytest.approx(np.mean(small))
    assert found.both == pytest.approx(np.mean(np.array(small) & np.array(large)), abs=1e-3)
    assert found.answer == pytest.approx(50 / (4 * 240))
    assert found.scoring == pytest.approx(30 / (4 * 240))
    assert [stage.insight for stage in found.stages] == pytest.approx([16 / 240, 32 / 240, 48 / 240])
    assert found.check.share == 0


def test_a_files_verdicts_are_the_figures_of_its_check() -> None:
    shipped = load_profile("qwen2.5-coder-1.5b-0.5b", (ROOT / "deploy/profiles",))
    table = load_collected([COLLECTED / "humaneval.parquet"], shipped).table
    check = of_table(table, shipped.prices).measured().check
    checked, right = table.is_checked, table.slm.right[:, 0]
    assert check.share == pytest.approx(checked.mean())
    assert check.pass_right == pytest.approx(table.slm.passed[checked & right, 0].mean(), abs=0.01)
    assert check.pass_wrong == pytest.approx(table.slm.passed[checked & ~right, 0].mean(), abs=0.01)


def test_the_forecast_is_near_the_best_threshold_on_the_same_real_questions() -> None:
    """At 10:1 on HumanEval, where a score that is taken to know nothing of the large model promises 15 points too
    much.
    """
    shipped = load_profile("qwen2.5-coder-1.5b-0.5b", (ROOT / "deploy/profiles",))
    sample = of_table(load_collected([COLLECTED / "humaneval.parquet"], shipped).table, shipped.prices)
    pair = replace(sample.measured(), answer=0.1)
    order = np.argsort(-sample.score)
    gain = np.cumsum(sample.small[order, 0].astype(int) - sample.large[order])
    best = 1.1 - (np.flatnonzero(gain >= 0).max() + 1) / len(sample)
    assert payoff(pair)["cascade"].cost == pytest.approx(best, abs=0.07)
    naive = replace(pair, score=replace(pair.score, large_auroc=0.5))
    assert payoff(naive)["cascade"].cost < best - 0.1


def test_json_has_stable_keys_and_the_picture_is_reproducible(tmp_path: Path) -> None:
    picture = tmp_path / "plan.svg"
    found = json.loads(run(*TYPED, "--n", "60", "--check-share", "0.5", "--json", "--out", str(picture)))
    assert set(found) == {"n", "goal", "figures", "policies", "best", "pays", "effects", "needs", "promises", "picture"}
    assert set(found["figures"]) == set(PAIR.figures)
    assert [policy["name"] for policy in found["policies"]] == ["cascade", "router", "check", "check_all"]
    assert set(found["policies"][0]) == {"name", "cost", "accuracy"}
    assert set(found["policies"][0]["cost"]) == {"value", "interval"}
    assert set(found["effects"][0]) == {"lever", "change", "saving"}
    first = picture.read_bytes()
    assert b"this pair" in first
    run(*TYPED, "--check-share", "0.5", "--out", str(picture))
    assert picture.read_bytes() == first


def test_the_map_shows_the_saving_of_the_pair_at_its_own_place() -> None:
    pair = Pair(0.6, 0.7, 0.1, score=Score(0.8))
    found = savings(pair, np.array([1.0, 10.0]), np.array([0.5, 0.8]))
    assert found[1, 1] == pytest.approx(100 * (1 - payoff(pair)["cascade"].cost))
    assert found[0].max() == 0
    assert found[1, 0] == 0


def test_a_pair_that_does_not_pay_is_told_what_would_have_to_change() -> None:
    text = run("--small", "0.28", "--large", "0.66", "--price-ratio", "3", "--auroc", "0.8")
    assert "It does not pay" in text
    assert "to save 5%, one of" in text
    assert "not by this alone" in text


def test_usd_prices_count_what_is_read() -> None:
    usd = ("--llm-usd", "2/12", "--slm-usd", "0.25/1.5", "--tokens", "300/600")
    found = json.loads(run("--small", "0.6", "--large", "0.7", *usd, "--length", "0.5", "--json"))["figures"]
    alone = 300 * 2 + 600 * 12
    assert found["answer_cost"]["value"] == pytest.approx((300 * 0.25 + 300 * 1.5) / alone)
    assert found["scoring_cost"]["value"] == pytest.approx(300 * 0.25 / alone)


def test_figures_of_a_file_have_intervals_and_options_replace_them(
    profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TANDEM_PROFILES_PATH", str(profile.folder.parent))
    file = str(store(profile, tmp_path / "mine.parquet", synthetic_runs(60, 8)))
    words = (file, "--profile", "scripted", "--price-ratio", "8", "--check-share", "0.3", "--json")
    found = json.loads(run(*words))
    assert found["n"] == 60
    low, high = found["figures"]["small"]["interval"]
    assert low < found["figures"]["small"]["value"] < high
    assert found["figures"]["check_share"] == {"value": 0.3, "interval": [0.3, 0.3]}
    assert "staged" in [policy["name"] for policy in found["policies"]]


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (("--large", "0.7"), "--small"),
        (("--small", "77", "--large", "0.7"), "--small"),
        (("--small", "0.6", "--large", "0.7"), "--price-ratio"),
        ((*TYPED, "--both", "0.65"), "--both"),
        ((*TYPED, "--both", "0.5", "--correlation", "0.5"), "--both"),
        ((*TYPED, "--llm-usd", "2/12"), "--llm-usd"),
        ((*TYPED, "--llm-usd", "2/12", "--slm-usd", "1/2"), "--price-ratio"),
        ((*TYPED[:4], "--llm-usd", "2/12", "--slm-usd", "1/2"), "--tokens"),
        ((*TYPED[:4], "--llm-usd", "2:12", "--slm-usd", "1/2"), "--llm-usd"),
        ((*TYPED, "--auroc-of", "left"), "--auroc-of"),
        ((*TYPED, "--stage", "0.5/0.7", "--stage", "0.2/0.6"), "--stage"),
        ((str(COLLECTED / "humaneval.parquet"), "--small", "0.5"), "--small"),
        ((str(COLLECTED / "humaneval.parquet"), "--n", "50"), "--n"),
    ],
)  # fmt: skip
def test_an_error_names_the_option(words: tuple[str, ...], option: str) -> None:
    result = CliRunner().invoke(app, ["plan", *words])
    assert result.exit_code == 2
    assert option in result.output


def sessions() -> list[tuple[str, str]]:
    """(command, output) of the page's sessions."""
    text = (ROOT / "docs/plan.md").read_text()
    return re.findall(r"```console\n\$ tandem (plan [^\n]+)\n(.*?)```", text, re.DOTALL)


# A file's questions are resampled 300 times with all their stages: 10 to 20 seconds.
@pytest.mark.parametrize(
    ("command", "output"),
    [pytest.param(*each, marks=pytest.mark.nightly) if ".parquet" in each[0] else each for each in sessions()],
)
def test_the_sessions_in_the_docs_are_what_the_command_prints(
    command: str, output: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(ROOT)
    words = command.replace("docs/plan.svg", str(tmp_path / "plan.svg")).split()
    printed = CliRunner().invoke(app, words).output.replace(str(tmp_path), "docs")

    def plain(text: str) -> list[str]:
        return text.split()  # the documents wrap lines as a terminal does

    assert plain(printed) == plain(output)


def test_the_page_has_a_session_with_figures_and_one_with_a_file() -> None:
    commands = [command for command, _ in sessions()]
    assert any("--small" in command for command in commands)
    assert any(".parquet" in command for command in commands)


def test_what_the_profile_was_measured_to_be_is_what_its_report_and_its_answers_say() -> None:
    shipped = load_profile("qwen2.5-coder-1.5b-0.5b", (ROOT / "deploy/profiles",))
    measured = shipped.measured
    assert measured is not None
    report = json.loads((ROOT / "deploy/profiles/qwen2.5-coder-1.5b-0.5b/report/humaneval.json").read_text())
    tandem = next(each for each in report["comparisons"] if each["a"] == "tandem")
    assert (measured.n, measured.right) == (report["data"]["n"], round(report["methods"]["tandem"]["accuracy"], 3))
    assert [measured.cost, measured.cost_low, measured.cost_high] == [
        round(each, 3) for each in tandem["cost_ratios"]["usd"]
    ]
    table = load_collected([COLLECTED / "humaneval.parquet"], shipped).table
    pair = of_table(table, shipped.prices).measured()
    shown = [measured.small, measured.large, measured.both, measured.ratio, measured.check, measured.auroc]
    assert shown == pytest.approx(
        [pair.small, pair.large, pair.both, 1 / pair.answer, pair.check.share, pair.score.auroc], abs=0.006
    )
