"""What the engine changes in a scoring pass, and in a scorer that was trained on another engine's passes.

`python -m lab.bench.scoring`: the small model reads the collected questions of GSM8K with the large model's insight, at every stage, on
each engine. Log-probabilities and entropies are compared token by token with transformers in float32; a scorer that was fitted on the
collected training questions (int8 in transformers) then scores the features of each engine.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from lab.bench.common import Figures, collected_runs, default_profile, local_engine, report
from lab.training.collect import Run
from lab.training.estimators import ESTIMATORS, Examples
from lab.training.fitting import examples_of
from lab.training.metrics import Interval, auroc, bootstrap
from lab.training.table import make_table
from services.engine.api import Engine, Tokenizer
from services.engine.file_tokenizer import FileTokenizer
from services.sufficiency_scorer.scorer_inputs import ScorerInputs, ScorerInputsBatch
from tandem.method.profile import Profile
from tandem.method.prompts import Prompt, answer_prompt
from tandem.paths import models_folder

_TRAINED_ON = ("math_train", "word_problems")
_EXACT = "float32"
_ENGINES: dict[str, dict[str, Any]] = {
    _EXACT: {"spec": "transformers", "quantization": "none", "dtype": "float32"},
    "int8": {"spec": "transformers", "quantization": "int8"},
    "llamacpp": {"spec": "llamacpp"},
}
_KINDS = ("mlp", "logistic")  # they read the features of the pass
_SEED = 0


@dataclass(frozen=True, slots=True)
class _Pass:
    """One scoring pass that was collected. `question` is an index."""

    question: int
    stage: int
    asked: str
    prompt: Prompt
    right: bool


@dataclass(frozen=True, slots=True)
class _Scored:
    """Of every token from the question's first one on, float32[n] in nats; and what a scorer reads."""

    logprobs: NDArray[np.float32]
    entropies: NDArray[np.float32]
    inputs: ScorerInputs


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--questions", type=int, default=100)
    options = arguments.parse_args()
    report("scoring", asyncio.run(_measure(default_profile(), options.questions)))


async def _measure(profile: Profile, questions: int) -> Figures:
    tokenizer = FileTokenizer.load(models_folder() / profile.slm.name)
    passes = list(_passes(profile, tokenizer, collected_runs(profile, "gsm8k"), questions))
    scored: dict[str, list[_Scored]] = {}
    for name, settings in _ENGINES.items():
        with local_engine(profile.slm, compiled=False, generates=False, **settings) as engine:
            scored[name] = [await _score(engine, each) for each in track(passes, description=name)]
    train = examples_of(
        make_table([r for data in _TRAINED_ON for r in collected_runs(profile, data)], len(profile.stages)), "right"
    )
    return {
        "model": profile.slm.name,
        "questions": questions,
        "passes": len(passes),
        "tokens": sum(len(each.logprobs) for each in scored[_EXACT]),
        "less_float32": {name: _differences(scored[name], scored[_EXACT]) for name in _ENGINES if name != _EXACT},
        "auroc": {kind: _aurocs(kind, train, passes, scored) for kind in _KINDS},
    }


def _passes(profile: Profile, tokenizer: Tokenizer, runs: Sequence[Run], questions: int) -> Iterator[_Pass]:
    """Every pass over the first questions, with the insight as it was then."""
    large = {run.question: run for run in runs if run.name == "llm"}
    chosen = {question: index for index, question in enumerate(list(large)[:questions])}
    for run in runs:
        if run.name == "slm" and run.question in chosen:
            whole = large[run.question]
            ids = tokenizer.encode(whole.text)[: run.insight_tokens]
            prompt = answer_prompt(profile, tokenizer, whole.asked, tokenizer.decode(ids))
            yield _Pass(chosen[run.question], run.stage, whole.asked, prompt, run.right)


async def _score(engine: Engine, each: _Pass) -> _Scored:
    scores = await engine.score(f"{each.question}", each.prompt.ids)
    begin = max(0, each.prompt.span_start - 1)
    inputs = ScorerInputs.of(scores, each.prompt, each.stage, each.asked)
    return _Scored(scores.logprobs[begin:], scores.entropies[begin:], inputs)


def _differences(ours: Sequence[_Scored], exact: Sequence[_Scored]) -> Figures:
    """In nats: a token's absolute difference, mean and 99th percentile; and the difference of a pass's means."""
    found: Figures = {}
    for name in ("logprobs", "entropies"):
        pairs = [(getattr(a, name), getattr(b, name)) for a, b in zip(ours, exact, strict=True)]
        by_token = np.abs(np.concatenate([a - b for a, b in pairs]))
        by_pass = [float(a.mean() - b.mean()) for a, b in pairs]
        found[name] = {
            "mean_absolute": float(by_token.mean()),
            "p99_absolute": float(np.percentile(by_token, 99)),
            "of_a_pass_mean": float(np.mean(by_pass)),
            "of_a_pass_largest": float(np.abs(by_pass).max()),
        }
    return found


def _aurocs(
    kind: str, train: Examples, passes: Sequence[_Pass], scored: Mapping[str, Sequence[_Scored]]
) -> dict[str, Figures]:
    """By engine, with the paired difference to float32; intervals are over questions."""
    fitted = ESTIMATORS[kind](train, _SEED)
    right = np.array([each.right for each in passes])
    of_question = np.array([each.question for each in passes])
    rows = [np.flatnonzero(of_question == question) for question in np.unique(of_question)]
    logits = {name: fitted.logits(_batch(found)) for name, found in scored.items()}

    def area(name: str, questions: NDArray[np.intp]) -> float:
        chosen = np.concatenate([rows[question] for question in questions])
        return float(auroc(logits[name][chosen], right[chosen]) or np.nan)

    def interval(name: str) -> Interval:
        return bootstrap(lambda questions: area(name, questions), len(rows))

    def difference(name: str) -> Interval:
        return bootstrap(lambda questions: area(name, questions) - area(_EXACT, questions), len(rows))

    return {name: {"auroc": vars(interval(name)), "less_float32": vars(difference(name))} for name in scored}


def _batch(scored: Sequence[_Scored]) -> ScorerInputsBatch:
    singles = [ScorerInputsBatch.single(replace(each.inputs, states=np.empty(0, np.float32))) for each in scored]
    return reduce(ScorerInputsBatch.concat, singles)


if __name__ == "__main__":
    main()
