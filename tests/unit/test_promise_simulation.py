"""The simulation of a promise that learns: what its streams lose, and what the product's rule makes of them."""

from __future__ import annotations

import json
from random import Random

import pytest

pytest.importorskip("scipy")
pytest.importorskip("pyarrow")

from lab.pairs.triple_models import BENCHMARKS
from lab.pairs.triples import triples
from lab.promise import simulate
from lab.promise.drifts import drifts
from lab.promise.false_promises import false_promises
from lab.promise.loop import Loop, run
from lab.promise.spending import AT, one_run
from lab.promise.streams import SYNTHETIC, Rates, Stream, of_triple, stream_of
from tandem.method.promise.rule import Terms

GOOD = stream_of("good", 0.1, Rates(0.7, 0.05, 0.004, 0.1))
BAD = stream_of("bad", 0.1, Rates(0.7, 0.2, 0.1, 0.1))
TERMS = Terms(0.03)


def answered(stream: Stream, number: int = 5000) -> Loop:
    return run(Loop(stream.num_arms, TERMS, Random(1)), stream.draw(number, Random(2)))


def test_a_pool_has_exactly_the_rates_that_it_is_given() -> None:
    first, second = Rates(0.3, 0.05, 0.01, 0.1), Rates(0.6, 0.12, 0.02, 0.1)
    pool = stream_of("two arms", 0.1, first, second).pool
    for place, rates in enumerate((first, second)):
        for what in ("taken", "disputed", "lost"):
            found = sum(getattr(request.arms[place], what) for request in pool) / len(pool)
            assert found == pytest.approx(getattr(rates, what), abs=2e-4)


@pytest.mark.parametrize("stream", SYNTHETIC, ids=lambda stream: stream.name)
def test_what_a_strict_arm_takes_each_laxer_one_takes_with_the_same_label(stream: Stream) -> None:
    for request in stream.pool:
        takes = [arm for arm in request.arms if arm.taken]
        assert request.arms[len(request.arms) - len(takes) :] == tuple(takes)
        assert len({(arm.disputed, arm.lost) for arm in takes}) <= 1
        assert all(arm.taken >= arm.disputed >= arm.lost for arm in request.arms)


def test_a_published_triple_loses_in_the_stream_what_it_loses_on_the_page() -> None:
    triple = triples(BENCHMARKS[3])[0]
    lost = int((triple.same & ~triple.first_right & triple.large_right).sum())
    assert sum(request.arms[0].lost for request in of_triple(triple).pool) == lost


def test_an_arm_that_keeps_the_promise_serves_and_saves() -> None:
    loop = answered(GOOD)
    assert loop.serving == 0
    assert loop.spent < 0.6 * loop.alone
    assert 0 < loop.lost < 0.01 * loop.requests
    assert 0 < loop.labels < 0.05 * loop.counts.sampled + 20


def test_an_arm_that_breaks_the_promise_never_serves_and_learning_it_costs_little() -> None:
    loop = answered(BAD)
    assert (loop.serving, loop.lost) == (None, 0)
    assert loop.alone < loop.spent < 1.06 * loop.alone


def test_a_labeller_who_calls_all_lost_shows_nothing() -> None:
    loop = Loop(1, TERMS, Random(1), labeller=lambda is_lost: True)
    assert run(loop, BAD.draw(3000, Random(2))).serving is None


def test_the_first_arm_is_shown_after_the_least_sampled_and_all_moments_are_measured() -> None:
    found = one_run(GOOD, Random(3), (500, 2000))
    assert found.first
    assert 50 <= found.first.sampled <= found.first.requests
    assert len(found.spend) == len(found.lost) == 2


def test_a_false_promise_is_rare_but_for_sessions_of_turns_alike() -> None:
    found = false_promises(150, seed=0, sampled=1500)
    assert found["one kind"]["low"] < 0.05
    assert found["four kinds, one 95 %"]["low"] < 0.05
    assert found["turns of a session alike, one of a session counted"]["low"] < 0.05
    assert found["turns of a session alike, all counted"]["low"] > 0.1


def test_the_free_alarm_sees_less_agreement_and_labels_alone_see_a_large_loss() -> None:
    found = drifts(2, seed=0, after=3000)
    assert found["4.2 % lost, agreement 67 -> 47 %"]["with the free alarm"]["closed"]["share"] == 1
    assert set(found["none"]) == {"with the free alarm", "by labels alone"}


def test_the_kept_figures_name_their_command_seed_runs_and_versions() -> None:
    kept = json.loads(simulate.RESULTS.read_text())
    assert {"command", "seed", "runs", "versions"} <= set(kept)
    assert set(kept["kinds"]) == {"terms", *(stream.name for stream in SYNTHETIC)}
    assert {str(number) for number in AT} == set(kept["kinds"][SYNTHETIC[0].name]["spend"])
    assert simulate.tables(kept)
