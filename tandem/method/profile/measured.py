"""What was measured of a profile's pair: how much the large model writes by itself, and what the profile came to."""

from __future__ import annotations

from pydantic import Field

from tandem.method.conversation import Kind
from tandem.method.profile.expected import ByLength
from tandem.method.section import Probability, Section


class LlmAlone(Section):
    """What the calibration found the large model to need by itself; the base of every `llm_alone` estimate."""

    output_tokens: float = Field(gt=0, description="mean tokens of its answer")
    code_output_tokens: float = Field(default=0, ge=0, description="the same of a programming task; 0: as of others")
    tools_output_tokens: float = Field(default=0, ge=0, description="the same where it may call tools; 0: as of others")
    by_length: dict[Kind, ByLength] = Field(
        default={},
        description="by task: the same by the length of what it reads, fitted on the answers of the calibration; it "
        "takes the mean's place",
    )

    def tokens(self, kind: str) -> float:
        own = {"code": self.code_output_tokens, "tools": self.tools_output_tokens}
        return own.get(kind) or self.output_tokens


class Measured(Section):
    """What the profile came to on questions that it was not made from: the figures of its pair, and what its policy
    cost.
    """

    data: str
    n: int = Field(gt=0)
    engine: str = Field(description="what computed the answers")
    small: Probability = Field(description="share that the small model alone answers right")
    large: Probability
    both: Probability = Field(description="share that both answer right")
    right: Probability = Field(description="share that the profile's answers are right of")
    ratio: float = Field(gt=0, description="cost of the large model's answer in answers of the small model")
    check: Probability = Field(description="share of the questions that have a check")
    auroc: Probability = Field(description="of the score that `tandem plan` has of a small answer")
    cost: float = Field(
        ge=0, description="USD of its answers by those of the large model alone; 95 % from cost_low to cost_high"
    )
    cost_low: float = Field(ge=0)
    cost_high: float = Field(ge=0)
