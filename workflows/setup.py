"""Prepare Temporal for this build, once its workers run: `python -m workflows.setup`. Run again, it changes nothing.

Adds the search attributes that `tandem request list` finds requests by, lets new requests start on this build, and sets
the namespace's retention where TANDEM_RETENTION names one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, UpdateNamespaceRequest
from temporalio.client import Client
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError

from services.shared.process.search_attributes import KEYS
from services.shared.process.settings import read_settings
from services.shared.process.start import run
from services.shared.process.temporal import connect
from workflows.versioning import Version, promote
from workflows.worker import WorkerSettings

_PATIENCE = timedelta(minutes=10)


async def add_search_attributes(client: Client, keys: Sequence[SearchAttributeKey[Any]] = KEYS) -> list[str]:
    """Those that the namespace lacks. Returns their names. Raises RPCError where it may not be changed."""
    service = client.operator_service
    known = await service.list_search_attributes(ListSearchAttributesRequest(namespace=client.namespace))
    missing = [key for key in keys if key.name not in known.custom_attributes]
    if missing:
        types = {key.name: IndexedValueType.ValueType(key.indexed_value_type) for key in missing}
        await service.add_search_attributes(
            AddSearchAttributesRequest(namespace=client.namespace, search_attributes=types)
        )
    return [key.name for key in missing]


async def set_retention(client: Client, kept: timedelta) -> timedelta | None:
    """Keep workflows for this long after their end. Returns what it was before, None where it was the same.

    Raises RPCError where it may not be changed.
    """
    service = client.workflow_service
    found = await service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))
    before = found.config.workflow_execution_retention_ttl.ToTimedelta()
    if before == kept:
        return None
    wanted = Duration()
    wanted.FromTimedelta(kept)
    config = NamespaceConfig(workflow_execution_retention_ttl=wanted)
    await service.update_namespace(UpdateNamespaceRequest(namespace=client.namespace, config=config))
    return before


async def _set_retention(client: Client, kept: timedelta) -> None:
    try:
        before = await set_retention(client, kept)
    except RPCError as error:  # not to be overlooked: text would be kept for longer than the operator has said
        sys.exit(f"the retention of the namespace {client.namespace!r} was not set to {kept}: {error.message}")
    print(f"retention: {kept}" + (f", {before} before" if before else ", as before"))


async def _promote(client: Client, version: Version) -> None:
    try:
        await promote(client, version, _PATIENCE)
    except RPCError as error:
        sys.exit(f"no worker of {version} has come: {error.message}")
    print(f"new requests start on {version}")


async def main() -> None:
    settings = read_settings(WorkerSettings)
    client = await connect()
    try:
        added = await add_search_attributes(client)
        print(f"search attributes added: {', '.join(added) or 'none, they are there'}")
    except RPCError as error:  # a cloud's namespace is changed by its own tools
        print(f"search attributes were not added, requests cannot be listed: {error.message}", file=sys.stderr)
    if settings.version:
        await _promote(client, settings.version)
    if settings.retention:  # last: requests run also where it is refused
        await _set_retention(client, settings.retention)


if __name__ == "__main__":
    run(main)
    sys.stdout.flush()
    os._exit(0)  # temporalio's core may abort a process that ends in the usual way (sdk-python#300)
