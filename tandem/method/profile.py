"""A profile: two models, how insight is handed over, when it suffices, and what tokens cost. Read from profile.toml."""

from __future__ import annotations

import hashlib
import json
import tomllib
from functools import cached_property
from math import inf
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tandem.method.errors import FailedPrecondition, InvalidArgument, NotFound

TRAINED_SCORERS = "mlp", "logistic", "probe", "combined", "words"
Probability = Annotated[float, Field(ge=0, le=1)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Model(_Part):
    """A model of the catalogue (deploy/models.toml) and how it is run."""

    name: str
    parameters: float = Field(gt=0, description="N of the TFLOPs formulas")
    dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16"
    quantization: Literal["auto", "none", "int8"] = Field(
        default="auto", description="on a CPU; auto is int8 where the processor has it. GPUs run dtype"
    )


class Stage(_Part):
    name: str
    max_tokens: int = Field(gt=0, description="cumulative cap of the large model's tokens")
    threshold: Probability
    ends_before: str = Field(default="", description="brief: a line that begins with this ends the stage")


class Prompts(_Part):
    """Templates; {question} and {insight} are replaced. An empty system prompt is left out."""

    system: str = ""
    question: str = Field(description="user turn of the plain question, used where there is no brief")
    code: str = Field(default="", description="user turn of a programming task; the question's where it is empty")
    brief: str = Field(default="", description="brief: user turn that asks the large model for an insight")
    brief_answer: str = Field(default="", description="brief: user turn with question and insight for the small model")
    llm_prefix: str = Field(default="", description="what the large model's turn begins with")


class Stop(_Part):
    scorer: str = Field(description="services.sufficiency_scorer.scorers.make_scorer")
    stage_zero: bool = Field(default=True, description="score the bare question before asking the large model")
    stage_zero_threshold: Probability = 1.0
    otherwise: Literal["best_stage", "llm_finishes"] = Field(
        default="best_stage",
        description="where no stage suffices; the large model can only finish in continuation mode",
    )

    @property
    def is_trained(self) -> bool:
        return self.scorer.partition(":")[0] in TRAINED_SCORERS


class Execution(_Part):
    max_tokens: int = Field(gt=0, description="cap of the small model's answer")
    answer_format: Literal["boxed", "text"] = "boxed"
    reads_ahead: bool = Field(
        default=True,
        description="read each stage that does not suffice while the large model goes on, so that the answer begins at once",
    )
    away_seconds: float = Field(
        default=120,
        gt=0,
        le=540,
        description="a small model that is away, as while its pod is replaced, is waited for so long",
    )


class TokenRate(_Part):
    """Tokens a second that the pool of one role was measured to read, to read out of its cache, and to write."""

    input: float = Field(gt=0)
    cached_input: float = Field(default=inf, gt=0, description="inf: a cached token takes no time")
    output: float = Field(gt=0)


class GpuPrices(_Part):
    """USD per GPU-second. A GPU's second is shared by all the requests of a batch, so a request is billed by its tokens,
    at what a token costs where the GPUs run at the measured rate; idle time is nobody's.
    """

    usd_per_gpu_second: float = Field(ge=0)
    gpus: int = Field(default=1, gt=0)
    tokens_per_second: TokenRate

    def per_million_tokens(self) -> dict[str, float]:
        million = self.usd_per_gpu_second * self.gpus * 1e6
        return {kind: million / rate for kind, rate in self.tokens_per_second.model_dump().items()}


class RolePrices(_Part):
    """USD per million tokens; a profile may give USD per GPU-second and the rate of the GPUs instead (GpuPrices)."""

    input: float = Field(ge=0)
    cached_input: float = Field(ge=0)
    output: float = Field(ge=0)

    @model_validator(mode="before")
    @classmethod
    def _of_gpu_seconds(cls, given: Any) -> Any:
        if isinstance(given, dict) and "usd_per_gpu_second" in given:
            return GpuPrices.model_validate(given).per_million_tokens()
        return given


class Prices(_Part):
    version: str
    llm: RolePrices
    slm: RolePrices
    scorer: RolePrices


class LlmAlone(_Part):
    """What the calibration found the large model to need by itself; the base of every `llm_alone` estimate."""

    output_tokens: float = Field(gt=0, description="mean tokens of its answer")


class Shadow(_Part):
    """The large model answers a share of the requests alone too, beside them, so that savings are measured."""

    share: Probability = 0.0


class Profile(_Part):
    name: str
    description: str
    handoff: Literal["continuation", "brief"]
    max_question_tokens: int = Field(gt=0)
    llm: Model
    slm: Model
    stages: tuple[Stage, ...] = Field(min_length=1)
    prompts: Prompts
    stop: Stop
    execution: Execution
    prices: Prices
    llm_alone: LlmAlone
    shadow: Shadow = Shadow()
    folder: Path = Field(exclude=True, description="where the profile's files are")

    @model_validator(mode="after")
    def _check(self) -> Profile:
        caps = [stage.max_tokens for stage in self.stages]
        if caps != sorted(set(caps)):
            raise ValueError("stages: max_tokens must ascend")
        if "{question}" not in self.prompts.question:
            raise ValueError("prompts.question: {question} is missing")
        if self.prompts.code and "{question}" not in self.prompts.code:
            raise ValueError("prompts.code: {question} is missing")
        if self.handoff == "brief":
            if "{question}" not in self.prompts.brief:
                raise ValueError("prompts.brief: {question} is missing")
            if "{question}" not in self.prompts.brief_answer or "{insight}" not in self.prompts.brief_answer:
                raise ValueError("prompts.brief_answer: {question} and {insight} are both needed")
            if self.stop.otherwise == "llm_finishes":
                raise ValueError("stop.otherwise = 'llm_finishes' needs handoff = 'continuation': a brief is no answer")
        elif any(stage.ends_before for stage in self.stages):
            raise ValueError("stages: ends_before needs handoff = 'brief'")
        return self

    def prompt_fingerprint(self) -> dict[str, Any]:
        """What decides which texts the models read and so which scores they get: a scorer belongs to it."""
        return {
            "handoff": self.handoff,
            "llm": self.llm.name,
            "slm": self.slm.name,
            "prompts": self.prompts.model_dump(),
            "stages": [{"max_tokens": s.max_tokens, "ends_before": s.ends_before} for s in self.stages],
        }

    @cached_property
    def section_ends(self) -> tuple[str, ...]:
        """The label that ends each stage; empty where only the token cap does."""
        return tuple(stage.ends_before for stage in self.stages)


def check_digest(profile: Profile, given: str) -> None:
    """Raises FailedPrecondition (PROFILE_MISMATCH) if `given`, the caller's profile digest, is not `profile`'s; "" passes."""
    contents = json.dumps({"prompts": profile.prompt_fingerprint(), "scorer": profile.stop.scorer}, sort_keys=True)
    digest = hashlib.sha256(contents.encode()).hexdigest()[:16]
    if given and given != digest:
        raise FailedPrecondition(
            f"profile {profile.name} is served with digest {digest}, the request was planned with {given}",
            reason="PROFILE_MISMATCH",
        )


def load_profile(name: str, folders: tuple[Path, ...]) -> Profile:
    """The profile `name` from the first of `folders` that has it.

    Raises NotFound when none has it, InvalidArgument when its file breaks a rule.
    """
    for folder in folders:
        file = folder / name / "profile.toml"
        if file.is_file():
            return _read(file)
    known = ", ".join(sorted({p.parent.name for folder in folders for p in folder.glob("*/profile.toml")}))
    raise NotFound(f"there is no profile {name!r}; there are: {known or 'none'}", reason="UNKNOWN_PROFILE")


def _read(file: Path) -> Profile:
    try:
        return Profile(**tomllib.loads(file.read_text()), folder=file.parent)
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise InvalidArgument(f"{file}: {error}", field="profile") from error
