"""How often a promise is shown that is not true: streams that lose just more than promised, every dispute labelled at
once, looked at after each sampled request.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from lab.promise.shares import Figures, share_of
from lab.training.table import Bools
from tandem.method.promise.rule import ArmCounts, KindCounts, Terms, shown

PROMISED, LOSES = 0.03, 0.0301
WRONG_LABELS = 0.1
SAMPLED = 5000
_REPEATS, _TURNS, _COIN = 0.8, 10, 0.5
_KINDS = 4
_MARGIN = 1.1
"""By so much a promise is divided where some labels are wrong."""
_ONE, _FOUR = Terms(PROMISED), Terms(PROMISED, kinds=_KINDS)

Way = Callable[[np.random.Generator, int], bool]
"""Whether one stream of so many sampled requests shows a promise that is false."""


def false_promises(runs: int, seed: int, sampled: int = SAMPLED) -> dict[str, Figures]:
    return {
        name: share_of([way(np.random.default_rng([seed, number, run]), sampled) for run in range(runs)])
        for number, (name, way) in enumerate(_WAYS.items())
    }


@cache
def _most_lost(terms: Terms, sampled: int) -> NDArray[np.int64]:
    """Of 1, 2, ... `sampled` requests, so many may be lost for the promise to be shown; -1: it is not even by none."""
    found, most = [], -1
    for number in range(1, sampled + 1):
        while most < number and shown(KindCounts((ArmCounts(lost=most + 1),), number), terms):
            most += 1
        found.append(most)
    return np.array(found)


def _is_shown(lost: Bools, terms: Terms) -> bool:
    """Whether the promise is shown at any moment."""
    return bool((np.cumsum(lost) <= _most_lost(terms, len(lost))).any())


def _alone(generator: np.random.Generator, sampled: int) -> Bools:
    return generator.random(sampled) < LOSES


def _mislabelled(generator: np.random.Generator, sampled: int) -> Bools:
    """Each dispute is lost, which is the worst case: every wrong label hides a loss."""
    return _alone(generator, sampled) & (generator.random(sampled) >= WRONG_LABELS)


def _sessions(generator: np.random.Generator, number: int) -> Bools:
    """Sessions of `_TURNS` turns [number, turns]; a turn is as the one before with the chance `_REPEATS`."""
    fresh = generator.random((number, _TURNS)) < LOSES
    turn = np.broadcast_to(np.arange(_TURNS), fresh.shape)
    repeats = (generator.random(fresh.shape) < _REPEATS) & (turn > 0)
    drawn_at = np.maximum.accumulate(np.where(repeats, 0, turn), axis=1)
    alike: Bools = np.take_along_axis(fresh, drawn_at, axis=1)
    return alike


def _one_of_a_session(generator: np.random.Generator, sampled: int) -> Bools:
    """A coin chooses the turn that is counted; the last one where it chooses none."""
    heads = generator.random((sampled, _TURNS)) < _COIN
    heads[:, -1] = True
    counted: Bools = _sessions(generator, sampled)[np.arange(sampled), heads.argmax(axis=1)]
    return counted


def _all_turns(generator: np.random.Generator, sampled: int) -> Bools:
    return _sessions(generator, -(-sampled // _TURNS)).ravel()[:sampled]


_WAYS: dict[str, Way] = {
    "one kind": lambda generator, n: _is_shown(_alone(generator, n), _ONE),
    # All kinds lose too much, so that the first one that is shown is false.
    "four kinds, one 95 %": lambda generator, n: any(_is_shown(_alone(generator, n), _FOUR) for _ in range(_KINDS)),
    "turns of a session alike, one of a session counted": lambda generator, n: _is_shown(
        _one_of_a_session(generator, n), _ONE
    ),
    "turns of a session alike, all counted": lambda generator, n: _is_shown(_all_turns(generator, n), _ONE),
    "10 % of the labels wrong": lambda generator, n: _is_shown(_mislabelled(generator, n), _ONE),
    "10 % of the labels wrong, the promise divided by 1.1": lambda generator, n: _is_shown(
        _mislabelled(generator, n), replace(_ONE, lose_at_most=PROMISED / _MARGIN)
    ),
}
