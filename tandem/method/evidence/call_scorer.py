"""The scorer of calls: how likely the small model's answer is right where it may call tools, by the evidence about it.

`certainty` is the geometric mean of its tokens' probabilities, of calls alone, and needs no training. A trained one is
a file of the profile's folder: two logistic regressions, one for answers with calls and one for answers without ("no
tool fits").
"""

# No `from __future__ import annotations`: see tandem.method.request.request.
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tandem.method.errors import InvalidArgument
from tandem.method.evidence.call_evidence import CALL_NAMES, TEXT_NAMES, Written, evidence
from tandem.method.problems import problems
from tandem.method.section import Probability, Section
from tandem.method.tools import Tool

CERTAINTY = "certainty"
FILE = "calls.json"


class Tools(Section):
    """When what the small model writes where it may call tools is taken as it is. With both thresholds at 1 it is not
    asked.
    """

    scorer: str = Field(
        default=CERTAINTY,
        pattern=r"^(certainty|calls(:[\w-]+)?)$",
        description="certainty: the geometric mean of a call's tokens' probabilities; calls, with `:subfolder`: a "
        "trained one",
    )
    threshold: Probability = Field(default=1.0, description="score from which calls are taken; 1: none are")
    text_threshold: Probability = Field(
        default=1.0,
        description="score from which a text without a call is taken (no tool fits), of a trained scorer; 1: none is",
    )
    stay_below: Probability = Field(
        default=0.0,
        description="a call that scores less goes to the large model, and so does the rest of its conversation; 0: "
        "each turn is tried",
    )


class CallScorer(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def trained(self) -> bool: ...

    def score(self, written: Written, tools: Sequence[Tool], said: Iterable[str]) -> float | None:
        """In 0..1. None: it has no score for such an answer."""
        ...


class GeometricMean:
    name, trained = CERTAINTY, False

    def score(self, written: Written, tools: Sequence[Tool], said: Iterable[str]) -> float | None:
        """Of an answer with a token."""
        mean = sum(chance for _, chance in written.tokens) / len(written.tokens)
        return math.exp(min(0.0, mean)) if written.calls else None


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Regression(_Part):
    """Probability = logistic(offset + sum of weight * (value - mean) / spread)."""

    names: tuple[str, ...]
    mean: tuple[float, ...]
    spread: tuple[float, ...]
    weight: tuple[float, ...]
    offset: float

    def probability(self, found: Mapping[str, float]) -> float:
        parts = zip(self.names, self.mean, self.spread, self.weight, strict=True)
        logit = self.offset + sum(weight * (found[name] - mean) / spread for name, mean, spread, weight in parts)
        return 1 / (1 + math.exp(-max(-500.0, min(500.0, logit))))


class TrainedOn(_Part):
    """What the file was made from, and how good it is on it, out of fold. `kinds` by `calls` and `texts`."""

    tasks_sha256: str
    tasks: int
    label: str
    folds: int
    seed: int
    kinds: dict[str, dict[str, Any]]
    versions: dict[str, str]
    command: str


class TrainedCalls(_Part):
    """`pair`: what the scores depend on (`Profile.call_fingerprint`). `computed_by`: the engine whose log-probabilities
    they were.
    """

    pair: dict[str, str]
    computed_by: str
    calls: Regression
    texts: Regression | None = None
    trained_on: TrainedOn

    @property
    def name(self) -> str:
        return "calls"

    @property
    def trained(self) -> bool:
        return True

    def score(self, written: Written, tools: Sequence[Tool], said: Iterable[str]) -> float | None:
        by = self.calls if written.calls else self.texts
        return by.probability(evidence(written, tools, said)) if by else None

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FILE).write_text(self.model_dump_json(indent=1) + "\n")


class Unscored:
    """Takes the place of a scorer that cannot be used here: nothing is taken."""

    name, trained = "calls", True

    def score(self, written: Written, tools: Sequence[Tool], said: Iterable[str]) -> float | None:
        return None


def call_scorer(tools: Tools, folder: Path, pair: Mapping[str, str], computed_by: str) -> CallScorer:
    """Of a profile in `folder` (`Profile.call_fingerprint`), for a small model whose engine is `computed_by`.

    Raises InvalidArgument (field "profile") where it names a file that is not there, or one that was trained for
    another pair or engine.
    """
    name, _, subfolder = tools.scorer.partition(":")
    if name == CERTAINTY:
        return GeometricMean()
    found = _read(folder / subfolder / FILE)
    different = [each for each in pair if pair[each] != found.pair.get(each)]
    if found.computed_by != computed_by:
        different.append(f"the engine (trained on {found.computed_by}, here {computed_by})")
    if different:
        raise InvalidArgument(
            f"{folder / subfolder / FILE} was trained for another pair: {', '.join(different)} differ; train one "
            "with `tandem train`",
            field="profile",
        )
    return found


def _read(file: Path) -> TrainedCalls:
    try:
        found = TrainedCalls.model_validate_json(file.read_text())
    except (OSError, ValidationError) as error:
        raise InvalidArgument(f"{file} holds no scorer of calls: {problems(error)}", field="profile") from error
    for regression, names in ((found.calls, CALL_NAMES), (found.texts, TEXT_NAMES)):
        if regression and not set(regression.names) <= set(names):
            raise InvalidArgument(f"{file} was trained on other evidence: train it again", field="profile")
    return found
