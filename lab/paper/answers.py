"""The collected answers of the shipped pair, with what every method makes of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any

from lab.collecting import in_order_of_chance
from lab.training.collected import Collected, load_collected
from lab.training.datasets import Item, load
from lab.training.evaluate import scores_of
from lab.training.methods import run_methods
from lab.training.pricing import PricedCourse
from lab.training.study import Study
from services.sufficiency_scorer.artefact import TRANSFORMERS
from tandem.method.profile.profile import Profile, load_profile
from tandem.method.request.plan import Plan
from tandem.paths import DEFAULT_PROFILE, REPOSITORY, models_folder

TRAINING = {"math": ("math_train", "word_problems"), "code": ("mbpp_train",)}
TESTS = {"gsm8k": "GSM8K", "math_test": "MATH test", "mbpp_test": "MBPP test", "humaneval": "HumanEval"}
STUDY = Study(REPOSITORY / "lab" / "training" / "studies" / DEFAULT_PROFILE)
FILES = REPOSITORY / "lab" / "training" / "collected" / DEFAULT_PROFILE


@cache
def profile(name: str = DEFAULT_PROFILE) -> Profile:
    return load_profile(name, (REPOSITORY / "deploy" / "profiles",))


@cache
def collected(*names: str) -> Collected:
    return load_collected([FILES / f"{name}.parquet" for name in names], profile())


def questions_of(name: str) -> list[Item]:
    """Those of a collected test set, in an order of chance."""
    known = {question.partition("/")[2] for question in collected(name).table.questions}
    return in_order_of_chance(item for item in load(name).items if item.id in known)


def made_with(
    module: str,
    data: str,
    *,
    pair: Profile | None = None,
    roles: Sequence[str] = ("llm", "slm"),
    engine: str = TRANSFORMERS,
    libraries: Sequence[str] = ("torch", "transformers"),
    **more: Any,
) -> dict[str, Any]:
    """What answers to a test set that a module of this folder collects are made with. `pair`: of profiles, the shipped
    one by default.
    """
    of = pair or profile()
    return {
        "command": f"python -m lab.paper.{module}",
        "dataset_sha256": load(data).sha256,
        "pair": of.name,
        "models": {model.name: _contents(model.name) for model in (of.models[role] for role in roles)},
        "max_tokens": of.execution.max_tokens,
        "engine": engine,
        "versions": {name: version(name) for name in (*libraries, "math-verify")},
        **more,
    }


def _contents(model: str) -> str | None:
    """The SHA-256 that its folder names: the same wherever it was downloaded from."""
    mark = models_folder() / model / "tandem.json"
    return str(json.loads(mark.read_text())["sha256"]) if mark.is_file() else None


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
