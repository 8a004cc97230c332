"""Collected runs in one Parquet file for each (pair, dataset, split), with what made them in its metadata."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training.collect import Run

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
    ]
)


class StoreError(Exception):
    """The file belongs to another profile, dataset or model; the message says which."""


@dataclasses.dataclass(frozen=True, slots=True)
class Origin:
    """What made the runs. Files of different origin are never mixed.

    `profile` holds what decides the texts: models, hand-off, stages, prompts, answer cap. `order_seed` is that of the
    order in which questions were drawn, `tokenizer_sha256` the small model's. `only_question`: no stage but 0
    was collected.
    """

    pair: str
    profile: dict[str, Any]
    dataset: str
    dataset_sha256: str
    order_seed: int
    models: dict[str, str]
    tokenizer_sha256: str
    versions: dict[str, str]
    command: str
    only_question: bool = False

    def differs(self, other: Origin) -> list[str]:
        """Names of the fields in which the runs would come out differently."""
        told = ("profile", "dataset", "dataset_sha256", "order_seed", "models", "only_question")
        return [name for name in told if getattr(self, name) != getattr(other, name)]


def write(path: Path, origin: Origin, runs: Sequence[Run]) -> None:
    """Replace `path` by one rename, so that a broken-off collection leaves the last whole file."""
    rows = [_row(run) for run in runs]
    table = pa.Table.from_pylist(rows, schema=_SCHEMA)
    table = table.replace_schema_metadata({_KEY: json.dumps(dataclasses.asdict(origin))})
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    pq.write_table(table, partial, compression="zstd", compression_level=9)
    os.replace(partial, path)


def read(path: Path) -> tuple[Origin, list[Run]]:
    """Raises StoreError where `path` is no such file."""
    try:
        table = pq.read_table(path)
        origin = Origin(**json.loads(table.schema.metadata[_KEY]))
    except (OSError, KeyError, TypeError, pa.ArrowInvalid) as error:
        raise StoreError(f"{path} is not a file of `tandem collect`: {error}") from error
    return origin, [_run(row) for row in table.to_pylist()]


def _row(run: Run) -> dict[str, Any]:
    row = {field.name: getattr(run, field.name) for field in dataclasses.fields(run)}
    row["states"] = None if run.states is None else run.states.tobytes()
    return row


def _run(row: dict[str, Any]) -> Run:
    for name in ("features", "answer_features"):
        row[name] = None if row[name] is None else np.array(row[name], np.float32)
    row["states"] = None if row["states"] is None else np.frombuffer(row["states"], np.float16)
    return Run(**row)
