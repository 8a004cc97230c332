"""Collected runs: one Parquet file per (pair, dataset, split), with its origin in the metadata."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from lab.training.collect import Run
from lab.training.errors import StoreError
from services.sufficiency_scorer.artefact import TRANSFORMERS
from tandem.method.problems import problems
from tandem.method.profile.profile import Model, Profile

_KEY = b"tandem"
_SCHEMA = pa.schema(
    [
        ("question", pa.string()),
        ("subject", pa.string()),
        ("name", pa.string()),
        ("stage", pa.int8()),
        ("prompt_tokens", pa.int32()),
        ("insight_tokens", pa.int32()),
        ("output_tokens", pa.int32()),
        ("truncated", pa.bool_()),
        ("text", pa.string()),
        ("answer", pa.string()),
        ("right", pa.bool_()),
        ("features", pa.list_(pa.float32())),
        ("states", pa.binary()),
        ("answer_features", pa.list_(pa.float32())),
        ("asked", pa.string()),
        ("question_tokens", pa.int32()),
        ("verdict", pa.string()),
        ("score", pa.float32()),
        ("failure", pa.string()),
        ("check_seconds", pa.float32()),
    ]
)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class CollectedModel(_Part):
    name: str
    parameters: float
    dtype: str
    quantization: str

    @classmethod
    def of(cls, model: Model) -> CollectedModel:
        return cls.model_validate(model.model_dump())


class CollectedStage(_Part):
    max_tokens: int
    ends_before: str


class CollectedAnswer(_Part):
    max_tokens: int
    answer_format: str


class CollectedProfile(_Part):
    """The part of a profile that determines the texts of the runs."""

    handoff: str
    llm: CollectedModel
    slm: CollectedModel
    prompts: dict[str, str]
    execution: CollectedAnswer
    stages: list[CollectedStage]

    @classmethod
    def of(cls, profile: Profile) -> CollectedProfile:
        return cls(
            handoff=profile.handoff,
            llm=CollectedModel.of(profile.llm),
            slm=CollectedModel.of(profile.slm),
            prompts=profile.prompts.scored(),
            execution=CollectedAnswer.model_validate(profile.execution.model_dump()),
            stages=[CollectedStage.model_validate(stage.model_dump()) for stage in profile.stages],
        )

    def prompt_fingerprint(self) -> dict[str, Any]:
        """As Profile.prompt_fingerprint: what the scores depend on."""
        return {
            "handoff": self.handoff,
            "llm": self.llm.name,
            "slm": self.slm.name,
            "prompts": self.prompts,
            "stages": [stage.model_dump() for stage in self.stages],
        }


class Origin(_Part):
    """How the runs were made. Runs of different origins are never mixed in a file.

    `order_seed` is the seed of the order in which questions were drawn, `tokenizer_sha256` the small model's.
    `only_question`: only stage 0 was collected. `checker` names what gave the verdicts (training.checking), `repair` is
    the prompt of the repairs; both empty where there are none. `further` are the further small models that were asked,
    by role. `computed_by`: as a scorer's Description has it.
    """

    pair: str
    profile: CollectedProfile
    dataset: str
    dataset_sha256: str
    order_seed: int
    models: dict[str, str]
    tokenizer_sha256: str
    versions: dict[str, str]
    command: str
    engine: str = TRANSFORMERS
    computed_by: str = TRANSFORMERS
    only_question: bool = False
    checker: str = ""
    repair: str = ""
    further: dict[str, CollectedModel] = {}

    @model_validator(mode="before")
    @classmethod
    def _of_one_further(cls, document: dict[str, Any]) -> dict[str, Any]:
        """A file of 0.2.0 names one at most, as `second_slm`."""
        second = document.get("second_slm")
        return {"further": {"second_slm": second}, **document} if second else document

    def differences(self, other: Origin) -> list[str]:
        """Names of the fields with which the runs would come out differently; those of further small models aside."""
        names = ("profile", "dataset", "dataset_sha256", "order_seed", "engine", "only_question")
        found = [name for name in names if getattr(self, name) != getattr(other, name)]
        pair = (self.profile.llm.name, self.profile.slm.name)
        return found + ["models"] * any(self.models.get(name) != other.models.get(name) for name in pair)

    def asked(self, role: str) -> tuple[CollectedModel, str] | None:
        """What decides the answers of a further small model; None where it was not asked."""
        model = self.further.get(role)
        return (model, self.models.get(model.name, "")) if model else None


def write(path: Path, origin: Origin, runs: Sequence[Run]) -> None:
    """Replace `path` by one rename, so that an interrupted collection leaves the last complete file."""
    rows = [_row(run) for run in runs]
    table = pa.Table.from_pylist(rows, schema=_SCHEMA)
    table = table.replace_schema_metadata({_KEY: origin.model_dump_json()})
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    pq.write_table(table, partial, compression="zstd", compression_level=9)
    os.replace(partial, path)


def read(path: Path) -> tuple[Origin, list[Run]]:
    """Raises StoreError if `path` is no file of `tandem collect`."""
    return read_origin(path), [_run(row) for row in pq.read_table(path).to_pylist()]


def questions_in(path: Path) -> set[str]:
    """Raises StoreError if `path` is no file of `tandem collect`."""
    read_origin(path)
    return set(pq.read_table(path, columns=["question"])["question"].to_pylist())


def read_origin(path: Path) -> Origin:
    """Without the runs. Raises StoreError if `path` is no file of `tandem collect`."""
    try:
        return Origin.model_validate_json(pq.read_schema(path).metadata[_KEY])
    except (OSError, KeyError, TypeError, ValidationError, pa.ArrowInvalid) as error:
        raise StoreError(f"{path} is not a file of `tandem collect`: {problems(error)}") from error


def _row(run: Run) -> dict[str, Any]:
    row = {field.name: getattr(run, field.name) for field in dataclasses.fields(run)}
    row["states"] = None if run.states is None else run.states.tobytes()
    return row


def _run(row: dict[str, Any]) -> Run:
    for name in ("features", "answer_features"):
        row[name] = None if row[name] is None else np.array(row[name], np.float32)
    row["states"] = None if row["states"] is None else np.frombuffer(row["states"], np.float16)
    return Run(**row)
