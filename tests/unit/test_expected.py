"""How much the large model writes by itself: by the length of what it reads, with an interval that holds what it
wrote.
"""

from __future__ import annotations

from dataclasses import replace
from math import exp, log
from pathlib import Path
from random import Random

import pytest

from tandem.method.cost.cost import cost
from tandem.method.profile.expected import ByLength, fitted
from tandem.method.profile.profile import Profile, load_profile
from tandem.method.request.plan import make_plan
from tandem.method.tokens import TokenCounts
from tests.planned import used

ROOT = Path(__file__).parents[2]
PAIR = "qwen2.5-coder-1.5b-0.5b"
COLLECTED = ROOT / "lab/training/collected" / PAIR


@pytest.fixture
def shipped() -> Profile:
    return load_profile(PAIR, (ROOT / "deploy/profiles",))


def test_a_fit_finds_the_line_that_answers_were_drawn_from() -> None:
    random = Random(3)
    prompts = [exp(random.gauss(4.5, 0.4)) for _ in range(4000)]
    tokens = [exp(log(100) + 0.8 * (log(prompt) - 4.5) + random.gauss(0, 0.3)) for prompt in prompts]
    found = fitted(prompts, tokens)
    assert (found.slope, found.spread, found.width) == pytest.approx((0.8, 0.3, 0.4), rel=0.1)
    assert found.tokens == pytest.approx(100, rel=0.05)


def test_the_interval_of_one_answer_is_wider_far_from_what_was_measured() -> None:
    found = ByLength(n=50, prompt=100, tokens=200, slope=0.5, spread=0.3, width=0.3)

    def width(prompt: int) -> float:
        expected = found.expected(prompt)
        assert expected.low is not None
        assert expected.high is not None
        assert expected.low < expected.tokens < expected.high
        return expected.high / expected.low

    assert width(100) < width(300) < width(1000)


@pytest.mark.parametrize("answers", [[], [5.0, 7.0]])
def test_too_few_answers_are_refused(answers: list[float]) -> None:
    with pytest.raises(ValueError, match="several lengths"):
        fitted([10.0] * len(answers), answers)


def test_a_short_question_is_set_against_a_short_answer_and_the_bill_has_the_interval(shipped: Profile) -> None:
    plan = make_plan(shipped)
    usage = used(slm=TokenCounts(prompt=40, completion=20))
    short, usual = (cost(plan, usage, prompt_tokens=tokens) for tokens in (40, 90))
    assert short.usd_llm_alone is not None
    assert usual.usd_llm_alone is not None
    assert short.usd_llm_alone < usual.usd_llm_alone
    assert short.usd_llm_alone_low is not None
    assert short.usd_llm_alone_high is not None
    assert short.usd_llm_alone_low < short.usd_llm_alone < short.usd_llm_alone_high
    limited = cost(replace(plan, answer_max_tokens=16), usage, prompt_tokens=40)
    assert limited.usd_llm_alone == limited.usd_llm_alone_high == pytest.approx((40 * 0.2 + 16 * 1.5) / 1e6)


def test_where_the_large_model_has_answered_there_is_no_interval(shipped: Profile) -> None:
    answer = TokenCounts(prompt=40, completion=100)
    bill = cost(make_plan(shipped), used(answer), 40, llm_answer=answer)
    assert (bill.usd_llm_alone_low, bill.usd_llm_alone_high) == (None, None)


def test_the_shipped_figures_are_fitted_on_training_answers_and_hold_for_others(shipped: Profile) -> None:
    pytest.importorskip("pyarrow")
    from lab.training.alone import by_length
    from lab.training.collected import load_collected

    def answers(*names: str) -> list[tuple[float, float]]:
        tables = [load_collected([COLLECTED / f"{name}.parquet"], shipped).table for name in names]
        return [pair for t in tables for pair in zip(t.llm.prompt.tolist(), t.llm.tokens.tolist(), strict=True)]

    figures = shipped.llm_alone.by_length
    assert figures["answer"] == by_length(answers("math_train", "word_problems"))
    assert figures["code"] == by_length(answers("mbpp_train"))
    mean = shipped.llm_alone.tokens("code")
    unseen = answers("humaneval", "mbpp_test")
    expected = [(figures["code"].expected(int(prompt)), tokens) for prompt, tokens in unseen]
    assert sum(each.low <= tokens <= each.high for each, tokens in expected) / len(unseen) > 0.85  # type: ignore[operator]
    error = sum(abs(each.tokens - tokens) for each, tokens in expected)
    assert error < 0.75 * sum(abs(mean - tokens) for _, tokens in unseen)
