"""What was measured of a profile's pair: how much the large model writes by itself."""

from __future__ import annotations

from pydantic import Field

from tandem.method.conversation import Kind
from tandem.method.profile.expected import ByLength
from tandem.method.section import Section


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
