"""What an evaluation is about to ask: said before it begins, and agreed to where it is much."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from tandem.cli.output import console_note
from tandem.method.profile.prices import total
from tandem.method.profile.profile import Profile
from tandem.method.request.plan import Plan, make_plan
from tandem.method.roles import LLM, SLM
from tandem.method.tokens import TokenCounts

if TYPE_CHECKING:
    from lab.training.datasets import Item

_UNASKED = 100
"""So many questions at most are asked without anybody having said so."""
_CHARACTERS_PER_TOKEN = 4  # of English


def agree_to(about: str, number: int, *, is_wanted: bool) -> None:
    """Say what is asked. Beyond _UNASKED questions, unless `is_wanted`: ask on a terminal, else raise BadParameter."""
    if not number:
        return
    console_note(about)
    if is_wanted or number <= _UNASKED:
        return
    if sys.stdin is None or not sys.stdin.isatty():
        raise typer.BadParameter(
            f"it would ask {number:,} questions: give --n NUMBER, or --yes for all", param_hint="--data"
        )
    typer.confirm(f"Ask {number:,} questions?", abort=True, err=True)


def described(profile: Profile, items: Sequence[Item]) -> str:
    """Of questions that are collected: how many answers of which models, and roughly what they take, where prices and
    rates are known.
    """
    stages, further = len(profile.stages), profile.small_roles[1:]
    extras = 1 + (stages if profile.handoff != "brief" else 0)  # a concise answer, and one forced after each stage
    answers = {LLM: 1 + extras, SLM: stages + 1, **dict.fromkeys(further, 1)}
    plan = make_plan(profile)
    names = ", ".join(f"{profile.models[role].name} {number}" for role, number in answers.items())
    usd = total(*(_each(profile, plan, item, answers)[0] for item in items))
    seconds = total(*(_each(profile, plan, item, answers)[1] for item in items))
    facts = [f"asks {len(items):,} questions; answers to each, at most: {names}"]
    facts += [f"roughly ${usd:,.2f} at the profile's prices"] if usd is not None else []
    facts += [f"roughly {_hours(seconds)} at its measured rates"] if seconds else []
    return "; ".join(facts)


def _each(profile: Profile, plan: Plan, item: Item, answers: dict[str, int]) -> tuple[float | None, float | None]:
    """USD and device seconds of one question's answers; None: a price or a rate is not known."""
    read, written = len(item.question) // _CHARACTERS_PER_TOKEN, round(profile.llm_alone.tokens(item.task))
    usd, seconds = list[float | None](), list[float | None]()
    for role, number in answers.items():
        model = plan.models[role]
        usd.append(model.prices.usd(TokenCounts(prompt=number * read, completion=number * written)))
        seconds.append(model.rates.seconds(number * read, 0, number * written) if model.rates else None)
    return total(*usd), total(*seconds)


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{max(1, round(seconds / 60))} min"
