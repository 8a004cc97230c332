"""A caller who asks one question as a batch, and waits for its end."""

from __future__ import annotations

import json
import time

import grpc

from tandem import RequestError
from tandem.cli.batch_progress import is_over
from tandem.client.batches import Batches, new_batch
from tandem.method.names import batched_id

_POLL_SECONDS = 0.5


def request_id(batch_id: str) -> str:
    """Of its only question."""
    return batched_id(batch_id, 1)


def follow(batches: Batches, request_id: str, question: str) -> None:
    """Begin it, or join it where it has begun, and return when it is over. Raises RequestError."""
    batch_id = request_id.removesuffix(batched_id("", 1))
    batch = batches.create(new_batch(_file_of(batches, batch_id, question), batch_id))
    while not is_over(batch):
        time.sleep(_POLL_SECONDS)
        batch = batches.get(batch.batch_id)


def _file_of(batches: Batches, batch_id: str, question: str) -> str:
    try:
        return batches.get(batch_id).input_file_id
    except RequestError as error:
        if error.code is not grpc.StatusCode.NOT_FOUND:
            raise
    line = json.dumps({"id": "only", "question": question}).encode()
    return batches.upload("question.jsonl", [line]).file_id
