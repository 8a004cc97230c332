"""The start of a batch whose id follows from what it asks: the same command again joins it, and pays for nothing
twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

import grpc

from tandem.cli.batch_progress import is_over
from tandem.cli.output import console_note
from tandem.client.batches import Batches, new_batch
from tandem.errors import RequestError
from tandem.v1 import batch_pb2

_CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Terms:
    """What a batch is made with, besides its questions. `max_cost` is in USD; `window` is in seconds, 0: no limit."""

    max_cost: float | None
    concurrency: int
    window: int = 0


def batch_id(file: Path, terms: Terms, *, again: bool) -> str:
    """`again`: an id that no batch has."""
    if again:
        return f"batch_{uuid4().hex}"
    digest = hashlib.sha256(f"{terms.max_cost} {terms.concurrency} {terms.window}".encode())
    digest.update(file.read_bytes())
    return f"batch_{digest.hexdigest()[:32]}"


def started(batches: Batches, file: Path, name: str, terms: Terms) -> batch_pb2.Batch:
    """Return the batch with this id, made from `file` unless there is one. Raises RequestError, which names lines
    that are refused.
    """
    known = _known(batches, name)
    if known is None:
        return _created(batches, file, name, terms)
    if is_over(known):
        return known
    return batches.create(_request(known.input_file_id, name, terms))  # it may be known, and not have begun


def _known(batches: Batches, name: str) -> batch_pb2.Batch | None:
    try:
        batch = batches.get(name)
    except RequestError as error:
        if error.code is grpc.StatusCode.NOT_FOUND:
            return None
        raise
    console_note(f"the same was asked before with the same options: this is batch {name}; --again asks anew")
    return batch


def _created(batches: Batches, file: Path, name: str, terms: Terms) -> batch_pb2.Batch:
    with file.open("rb") as content:
        uploaded = batches.upload(file.name, _pieces(content))
    return batches.create(_request(uploaded.file_id, name, terms))


def _request(file_id: str, name: str, terms: Terms) -> batch_pb2.CreateBatchRequest:
    return new_batch(file_id, name, terms.max_cost, terms.concurrency, terms.window)


def _pieces(content: BinaryIO) -> Iterator[bytes]:
    return iter(lambda: content.read(_CHUNK_BYTES), b"")
