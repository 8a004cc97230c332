"""What a profile promises: at most so many of the large model's right answers are lost (docs/method.md, A promise)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tandem.method.conversation import Kind
from tandem.method.price_sections import Section

Share = Annotated[float, Field(ge=0, le=1)]


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
    lose_at_most: Share
    confidence: Share
    bound: Share
    lost: int = Field(ge=0)
    n: int = Field(gt=0)
    evidence: str
    data: tuple[PromiseData, ...]
