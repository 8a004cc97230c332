"""The collected answers of the shipped pair, with what every method makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from lab.training.collected import Collected, load_collected
from lab.training.evaluate import scores_of
from lab.training.methods import run_methods
from lab.training.pricing import PricedCourse
from lab.training.study import Study
from tandem.method.profile.profile import Profile, load_profile
from tandem.method.request.plan import Plan
from tandem.paths import DEFAULT_PROFILE, REPOSITORY

TRAINING = {"math": ("math_train", "word_problems"), "code": ("mbpp_train",)}
STUDY = Study(REPOSITORY / "lab" / "training" / "studies" / DEFAULT_PROFILE)
FILES = REPOSITORY / "lab" / "training" / "collected" / DEFAULT_PROFILE


@cache
def profile(name: str = DEFAULT_PROFILE) -> Profile:
    return load_profile(name, (REPOSITORY / "deploy" / "profiles",))


@cache
def collected(*names: str) -> Collected:
    return load_collected([FILES / f"{name}.parquet" for name in names], profile())


@dataclass(frozen=True)
class Judged:
    """A test set. `outcomes` of every method that its answers allow, by name, in the order of a report."""

    found: Collected
    outcomes: Mapping[str, PricedCourse]


@cache
def judged(name: str) -> Judged:
    """With the thresholds of the study, at the profile's rates."""
    return judged_at(name, collected(name).plan)


def judged_at(name: str, plan: Plan) -> Judged:
    """The same at the rates of `plan`."""
    found, policies = collected(name), STUDY.policies()
    scores_by = cache(lambda kind: scores_of(STUDY.artefact(kind), found.table))
    passes = found.origins[0].computed_by
    return Judged(found, run_methods(found.table, plan, STUDY, policies, scores_by, passes).outcomes)
