"""A profile: two models, how insight is handed over, when it suffices, and what tokens cost. Read from profile.toml."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, ValidationError, ValidationInfo, field_validator, model_validator

from tandem.method.conversation import Kind, Task
from tandem.method.errors import PROFILE_MISMATCH, FailedPrecondition, InvalidArgument, NotFound
from tandem.method.problems import problems
from tandem.method.profile.endpoint import Api
from tandem.method.profile.llm_alone import LlmAlone
from tandem.method.profile.price_sections import parse_prices, parse_rates
from tandem.method.profile.prices import Prices, Rates
from tandem.method.profile.profile_sections import (
    Agreement,
    Checks,
    DefaultTask,
    Execution,
    StopPolicy,
    TrialSection,
)
from tandem.method.profile.promise import Promise, PromiseMade, Shadow
from tandem.method.profile.templates import Prompts
from tandem.method.promise.arms import LEARNED, LearnedKind, arms
from tandem.method.roles import LLM, SLM, SMALL_ROLES, title
from tandem.method.section import Probability, Section

NOTHING_TAKEN = "none: the large model answers"
_FAMILIES = {"qwen": "qwen|qwq", "llama": "llama", "gpt": r"gpt|^o\d", "mistral": "[a-z][sx]tral"}
"""What names say of a family besides their first letters, as deepseek-r1-distill-qwen-7b and codestral do."""


class Model(Section):
    """A model of the catalogue (deploy/models.toml) and how it is run, or one behind an API."""

    name: str
    parameters: float = Field(
        ge=0, description="N of the TFLOPs formulas; 0: not known, its computing is left out of them"
    )
    api: Api | None = Field(default=None, description="others run it: no weights are here, and no engine of ours")
    dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16"
    quantization: Literal["auto", "none", "int8"] = Field(
        default="auto", description="on a CPU; auto is int8 where the processor has it. GPUs run dtype"
    )
    family: str = Field(
        default="",
        description="models of one family err alike; empty: as the name says, qwen or gpt",
    )

    @property
    def kin(self) -> str:
        """Its family: a known one that the name has, else the letters that it begins with."""
        name = self.name.rpartition("/")[2].casefold()
        known = (family for family, sign in _FAMILIES.items() if re.search(sign, name))
        return self.family or next(known, re.match(r"[a-z]*", name)[0])  # type: ignore[index]


class Stage(Section):
    name: str
    max_tokens: int = Field(gt=0, description="cumulative cap of the large model's tokens")
    threshold: Probability
    ends_before: str = Field(default="", description="brief: a line that begins with this ends the stage")


class Profile(Section):
    removed: ClassVar = {
        "tools": "delete the table; the large model writes calls, or with kinds = ['tools'] in [agreement] those are "
        "taken that two or three small models write alike"
    }

    name: str
    description: str
    handoff: Literal["continuation", "brief"]
    max_question_tokens: int = Field(gt=0)
    max_conversation_tokens: int = Field(
        default=0, ge=0, description="of a chat, or a question with what was said before it; 0: as max_question_tokens"
    )
    max_session_usd: float | None = Field(
        default=None, ge=0, description="a turn begins only while its session has cost less; none: no limit"
    )
    llm: Model
    small: tuple[Model, ...] = Field(
        alias="slm",
        min_length=1,
        description="[[slm]], in order: the first is scored and continues; trials may ask the others as well",
    )
    stages: tuple[Stage, ...] = Field(min_length=1)
    prompts: Prompts
    stop: StopPolicy
    execution: Execution
    prices: Annotated[Prices, BeforeValidator(parse_prices)]
    llm_alone: LlmAlone
    default_task: DefaultTask = DefaultTask()
    checks: Checks = Checks()
    trial: TrialSection = TrialSection()
    agreement: Agreement = Agreement()
    rates: Annotated[Rates | None, BeforeValidator(parse_rates)] = None
    shadow: Shadow = Shadow()
    promises: tuple[PromiseMade, ...] = ()
    promise: Promise = Promise()
    folder: Path = Field(exclude=True, description="where the profile's files are")

    @field_validator("small")
    @classmethod
    def _each_has_a_role(cls, small: tuple[Model, ...]) -> tuple[Model, ...]:
        if len(small) > len(SMALL_ROLES):
            raise ValueError(f"{len(small)} small models, and a profile has {len(SMALL_ROLES)} at most")
        return small

    @field_validator("prices")
    @classmethod
    def _all_are_priced(cls, prices: Prices, info: ValidationInfo) -> Prices:
        """A further small model without prices has unknown ones, as every role."""
        if "small" not in info.data:  # refused already
            return prices
        more = SMALL_ROLES[1 : len(info.data["small"])]
        if absent := [role for role in prices.by_role if role in SMALL_ROLES[1:] and role not in more]:
            raise ValueError(f"{absent[0]}: the profile names no {title(absent[0])} model")
        return replace(prices, by_role=prices.by_role | {role: prices.of(role) for role in more})

    @model_validator(mode="after")
    def _check(self) -> Profile:
        caps = [stage.max_tokens for stage in self.stages]
        if caps != sorted(set(caps)):
            raise ValueError("stages: max_tokens must ascend")
        if any(stage > len(self.stages) for stage in self.trial.stages):
            raise ValueError(f"trial.stages: there are stages 0 to {len(self.stages)}")
        if list(self.trial.stages) != sorted(set(self.trial.stages)):
            raise ValueError("trial.stages must ascend")
        if len(set(self.trial.order)) != len(self.trial.order):
            raise ValueError("trial.order names a model twice")
        if absent := [role for role in self.trial.order if role not in self.small_roles]:
            raise ValueError(f"trial.order: the profile names no {absent[0]}")
        if not {"answer", "code", "json"} <= set(self.stop.tasks) and self.stop.otherwise != "llm_finishes":
            raise ValueError("stop.tasks: a task that is not scored needs stop.otherwise = 'llm_finishes'")
        if self.agreement.kinds and len(self.small) < self.agreement.size:
            raise ValueError(f"agreement.rule {self.agreement.rule!r} needs {self.agreement.size} small models")
        if self.trial.repairs and not self.prompts.repair:
            raise ValueError("trial.repairs needs prompts.repair")
        if self.stop.is_off and (self.stop.otherwise != "llm_finishes" or any(t < 1 for t in _thresholds(self))):
            raise ValueError(
                "stop.scorer = 'off' needs stop.otherwise = 'llm_finishes' and thresholds of 1: nothing is scored"
            )
        if self.promise.lose_at_most is not None and (why := self.cannot_learn):
            raise ValueError(f"promise.lose_at_most {why}")
        self.prompts.check_holes(self.handoff)
        if self.handoff == "brief":
            if self.stop.otherwise == "llm_finishes":
                raise ValueError("stop.otherwise = 'llm_finishes' needs handoff = 'continuation': a brief is no answer")
        elif any(stage.ends_before for stage in self.stages):
            raise ValueError("stages: ends_before needs handoff = 'brief'")
        return self

    @property
    def cannot_learn(self) -> str:
        """Why no promise can be learned; empty: one can."""
        if not self.stop.is_off:
            return "needs stop.scorer = 'off': what the large model writes to its end is what answers are compared with"
        if not self.prices.of(LLM).is_known:
            return "needs the large model's price: what learning may cost is a share of it"
        return "" if self.learned else "needs a second [[slm]], or a prompt for programs: nothing else is evidence"

    @property
    def learned(self) -> tuple[LearnedKind, ...]:
        """Kinds of requests that a promise can learn: those that nothing in the profile answers by a cheap model."""
        prompts: dict[LearnedKind, str] = {"code": self.prompts.code, "json": self.prompts.structured}
        return tuple(
            kind
            for kind in LEARNED
            if arms(kind, len(self.small))
            and (kind not in prompts or prompts[kind])
            and not self._is_fixed("tools" if kind == "no_call" else kind)
        )

    def _is_fixed(self, kind: Kind) -> bool:
        """The profile itself says by what a cheap model's answer is taken."""
        final: Kind = "answer" if kind == "option" else kind
        task: Task = final if final in ("code", "chat") else "answer"
        is_tried = self.trial.stages and final in self.trial.tasks and self.checks.of(task)
        return kind in self.agreement.kinds or bool(is_tried) or (final in self.stop.tasks and not self.stop.is_off)

    @property
    def slm(self) -> Model:
        """The first small model."""
        return self.small[0]

    @property
    def small_roles(self) -> tuple[str, ...]:
        return SMALL_ROLES[: len(self.small)]

    @property
    def models(self) -> dict[str, Model]:
        """By role: llm, slm, and the further small ones."""
        return {LLM: self.llm, **dict(zip(self.small_roles, self.small, strict=True))}

    @property
    def trial_order(self) -> tuple[str, ...]:
        return self.trial.order or self.small_roles

    def prompt_fingerprint(self) -> dict[str, Any]:
        """Everything that decides which texts the models read, and so which scores they get: a scorer is trained for
        it.
        """
        return {
            "handoff": self.handoff,
            "llm": self.llm.name,
            "slm": self.slm.name,
            "prompts": self.prompts.scored(),
            "stages": [{"max_tokens": s.max_tokens, "ends_before": s.ends_before} for s in self.stages],
        }

    @cached_property
    def digest(self) -> str:
        """Identifies prompts, models, stages and scorer; thresholds and prices travel in the plan and are not part of
        it.
        """
        parts = {**self.prompt_fingerprint(), "scorer": self.stop.scorer, "prompts": self.prompts.model_dump()}
        parts |= {role: self.models[role].name for role in self.small_roles[1:]}
        if artefact := _artefact_in(self.folder):
            parts["artefact"] = artefact
        identity = json.dumps(parts, sort_keys=True)
        return hashlib.sha256(identity.encode()).hexdigest()[:16]

    def check_digest(self, given: str) -> None:
        """Raises FailedPrecondition where `given`, a plan's digest, is of another profile; empty is not checked."""
        if given and given != self.digest:
            raise FailedPrecondition(
                f"this process serves profile {self.name!r} with digest {self.digest}, the request was planned with "
                f"{given}: "
                "restart the processes that hold the older profile",
                reason=PROFILE_MISMATCH,
            )

    def takes(self, task: Task) -> bool:
        """Whether there is a prompt for it."""
        needed = {"code": self.prompts.code, "chat": self.handoff == "continuation" or self.prompts.brief_chat}
        return bool(needed.get(task, True))

    def evidence(self, kind: Kind) -> str:
        """By what an answer of the small model is accepted, in one line: checks of trials, and thresholds of scores."""
        parts = []
        if kind in self.agreement.kinds:
            return self.agreement.says(kind, [model.name for model in self.small])
        kind = "answer" if kind == "option" else kind
        if self.trial.stages and kind in self.trial.tasks:
            task: Task = kind if kind in ("code", "chat") else "answer"
            checks, stages = map(str, self.checks.of(task)), map(str, self.trial.stages)
            order = f" by {', '.join(self.trial_order)}" if self.trial_order != (SLM,) else ""
            parts.append(f"checks {', '.join(checks)} at stages {', '.join(stages)}{order}")
        if kind in self.stop.tasks and not self.stop.is_off:
            parts.append(f"scores of {self.stop.scorer} from {', '.join(f'{each:g}' for each in _thresholds(self))}")
        return "; ".join(parts) or NOTHING_TAKEN

    def accepts(self, kind: Kind) -> bool:
        """Whether any answer of the small model is."""
        return kind in self.agreement.kinds or self.evidence(kind) != NOTHING_TAKEN

    def keeps(self, promise: PromiseMade) -> bool:
        """Whether answers are still accepted by what the promise was shown for."""
        return promise.evidence == self.evidence(promise.task)

    @cached_property
    def section_ends(self) -> tuple[str, ...]:
        """The label that ends each stage; empty where only the token cap does."""
        return tuple(stage.ends_before for stage in self.stages)


def promising(profile: Profile, lose_at_most: float) -> Profile:
    """The same with this number as its promise, also for programs that it takes by their examples. Raises
    InvalidArgument where nothing of it can be learned.
    """
    tasks = tuple(task for task in profile.trial.tasks if task != "code")
    changes: dict[str, Section] = {
        "trial": profile.trial.model_copy(update={"tasks": tasks}),
        "promise": profile.promise.model_copy(update={"lose_at_most": lose_at_most}),
    }
    changed = profile.model_copy(update=changes)
    if why := changed.cannot_learn:
        raise InvalidArgument(f"profile {profile.folder.name}: a promise {why}", field="profile")
    return changed


def _thresholds(profile: Profile) -> list[float]:
    return [profile.stop.stage_zero_threshold, *(stage.threshold for stage in profile.stages)]


def _artefact_in(folder: Path) -> str:
    """SHA-256 of the files beside profile.toml, which an operator can change without a new image: a trained scorer's.
    Empty where there are none, as in the profiles of the image, whose scorers are in folders.
    """
    files = sorted(file for file in folder.glob("[!.]*") if file.is_file() and file.name != "profile.toml")
    whole = hashlib.sha256()
    for file in files:
        whole.update(file.name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return whole.hexdigest() if files else ""


def load_profile(name: str, folders: tuple[Path, ...]) -> Profile:
    """The profile `name` from the first of `folders` that has it.

    Raises NotFound when none has it, InvalidArgument when its file breaks a rule.
    """
    for folder in folders:
        file = folder / name / "profile.toml"
        if file.is_file():
            return profile_of(_text(file), file)
    known = ", ".join(sorted({p.parent.name for folder in folders for p in folder.glob("*/profile.toml")}))
    raise NotFound(f"there is no profile {name!r}; there are: {known or 'none'}", reason="UNKNOWN_PROFILE")


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"{file} is no valid TOML: {error}", field="profile") from error


def profile_of(text: str, file: Path) -> Profile:
    """The profile whose `file` has this text. Raises InvalidArgument."""
    try:
        return Profile(**_in_order(tomllib.loads(text)), folder=file.parent)
    except tomllib.TOMLDecodeError as error:
        raise InvalidArgument(f"{file} is no valid TOML: {error}", field="profile") from error
    except ValidationError as error:
        raise InvalidArgument(f"{file}: {problems(error)}", field="profile") from error


def _in_order(document: dict[str, Any]) -> dict[str, Any]:
    """[slm] and [second_slm], as profiles of 0.1.0 name their small models, are [[slm]] of one and of two. [measured],
    which profiles of 0.2.0 may have, is read by nothing.
    """
    document.pop("measured", None)
    if not isinstance(document.get("slm"), dict):
        return document
    second = document.pop("second_slm", None)
    return document | {"slm": [document["slm"], *([second] if second else [])]}
