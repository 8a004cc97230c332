"""What a profile promises, and how that is watched: at most so many of the large model's right answers are lost
(docs/method.md, A promise).
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import ClassVar

from pydantic import Field

from tandem.method.conversation import Kind
from tandem.method.section import Probability, Section

MOST_LOST = 0.5
"""No larger share is a promise."""


class PromiseData(Section):
    """A file of `tandem collect` that the promise was shown on."""

    dataset: str
    questions: int = Field(gt=0)
    file_sha256: str
    questions_sha256: str


class PromiseMade(Section):
    """`lost` of `n` questions were, so that at most the share `bound` is, with `confidence`.

    It holds for the `evidence` alone that Profile.evidence names.
    """

    task: Kind
    lose_at_most: Probability
    confidence: Probability
    bound: Probability
    lost: int = Field(ge=0)
    n: int = Field(gt=0)
    evidence: str
    data: tuple[PromiseData, ...]
    differ_at_most: Probability | None = Field(
        default=None,
        description="share of the requests on which the large model may answer otherwise, where that was more than "
        "lose_at_most and labels showed most of it to be no loss: what shadows without a judge are watched against",
    )

    def watched_share(self, *, is_judged: bool) -> float:
        """What a shadow counts against: of losses where a judge tells them, else of differences."""
        return self.lose_at_most if is_judged or self.differ_at_most is None else self.differ_at_most

    @cached_property
    def fingerprint(self) -> str:
        """Of what was shown, on what: outcomes are counted for one promise, until another calibration makes a new
        one.
        """
        return hashlib.sha256(self.model_dump_json(exclude_none=True).encode()).hexdigest()[:12]


class Promise(Section):
    """Of each kind of requests at most this share is lost: the large model would have been right, and what is served
    is wrong. Live traffic shows which answers of the cheap models may be served (docs/promise.md).
    """

    lose_at_most: float | None = Field(
        default=None, gt=0, le=MOST_LOST, description="share of the requests of a kind; none: nothing is learned"
    )
    learn: Probability = Field(
        default=0.05, description="share of the spend that learning and watching may take, after a credit at the start"
    )
    confidence: float = Field(default=0.95, ge=0.5, le=0.999, description="of all kinds together")


class Shadow(Section):
    """The large model answers a share of the requests alone too, beside them, so that savings are measured."""

    removed: ClassVar = {
        "small": "delete the line; [promise] lose_at_most asks small models beside the large one, and learns from it"
    }

    share: Probability = 0.0
    judge: str = Field(
        default="",
        description="profile whose large model says whether two answers mean the same, where nothing else can; it is "
        "paid for",
    )
