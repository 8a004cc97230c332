"""Collected runs of synthetic questions, whose answers depend on their difficulty."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lab.training import checking, estimators, metrics, mlp, policy
from lab.training.collect import Run
from lab.training.datasets import Item
from lab.training.store import CollectedProfile, Origin, write
from services.answer_checker.checker import AnswerChecker
from tandem.method.profile.profile import Profile


def synthetic_runs(n: int, seed: int, is_blind: bool = False, has_hopeless: bool = False) -> list[Run]:
    """Question i has a difficulty `level`: the small model needs insight up to that stage, or more than exists.

    The scorer's inputs reveal the level, with noise; if `is_blind`, they are noise. `has_hopeless`: the large model
    answers none of the hardest questions either, and one feature reveals those.
    """
    generator = np.random.default_rng(seed)
    runs = []
    for index in range(n):
        level = int(generator.integers(0, 5))
        name = f"{seed}-{index}"
        is_right = level < 4 or (bool(generator.random() < 0.5) and not has_hopeless)
        asked = f"Question {name}"  # its words are uninformative
        runs.append(Run(name, "", "llm", 0, 30, 0, 240, False, "", "", is_right, asked=asked))
        runs.append(Run(name, "", "concise", 0, 32, 0, 150, False, "", "", level < 3))
        for stage, tokens in enumerate((0, 16, 32, 48)):
            right = stage >= level
            seen = generator.normal(size=16) + (0 if is_blind else 0.3 * (stage - level))
            seen[0] += 4 * (has_hopeless and level == 4)
            states = generator.normal(size=8) + (0 if is_blind else 0.3 * (stage - level))
            own = 50 - tokens // 2
            runs.append(
                Run(
                    name,
                    "",
                    "slm",
                    stage,
                    30 + tokens,
                    tokens,
                    own,
                    False,
                    "",
                    f"{stage}",
                    right,
                    seen.astype(np.float32),
                    states.astype(np.float16),
                    seen.astype(np.float32) if stage == 0 else None,
                )
            )
            if stage:
                runs.append(Run(name, "", "forced", stage, 40 + tokens, tokens, 6, False, "", "", right))
    return runs


@pytest.fixture(scope="module")
def quick_arithmetic() -> Iterator[None]:
    """Faster fits, searches and intervals: these easy questions need neither the small learning rate nor many
    penalties, thresholds, prices or resamples.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mlp, "_LEARNING_RATE", 2e-3)
        patch.setattr(mlp, "_EPOCHS", 40)
        patch.setattr(estimators, "_PENALTIES", [0.01, 1.0])
        patch.setattr(metrics, "_RESAMPLES", 200)
        patch.setattr(policy, "_GRID", np.round(np.arange(0.1, 0.91, 0.1), 1))
        patch.setattr(policy, "_PRICES", np.geomspace(0.01, 3.0, 6))
        yield


@pytest.fixture
def programs_run_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programming tasks that differ by their first line alone, which numbers them, have the verdict of one run."""
    check, known = checking._checked, dict[Any, asyncio.Future[Run]]()

    async def checked(run: Run, item: Item, profile: Profile, checker: AnswerChecker) -> Run:
        key = (item.question.partition("\n")[2], run.text, *checking.code_checks(profile))
        if key not in known:
            known[key] = asyncio.ensure_future(check(run, item, profile, checker))
        found = await known[key]
        return replace(run, verdict=found.verdict, score=found.score, failure=found.failure)

    monkeypatch.setattr(checking, "_checked", checked)


def store(profile: Profile, file: Path, runs: list[Run], dataset: str = "made-up") -> Path:
    origin = Origin(
        pair=profile.name, profile=CollectedProfile.of(profile), dataset=dataset, dataset_sha256="0" * 64, order_seed=0,
        models={}, tokenizer_sha256="1" * 64, versions={}, command="tandem collect",
    )  # fmt: skip
    write(file, origin, runs)
    return file


def ignore(message: str) -> None:
    """Progress that nobody watches."""
