"""Start the gateway: `python -m services.gateway`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path
from pydantic import Field
from temporalio.client import Client
from temporalio.contrib.opentelemetry import create_tracer_provider

from services.gateway.admission import Admission
from services.gateway.batched import BatchedRequests
from services.gateway.batches.batches import Batches
from services.gateway.batches.files import MOST_STORED_BYTES, Files
from services.gateway.batches.retention import Retention
from services.gateway.batches.service import BATCHES, FILES, BatchService, FileService
from services.gateway.batches.temporal import BatchWorkflows
from services.gateway.batches.uploads import Uploads
from services.gateway.chores import OverdueHolds, cancel_orphans
from services.gateway.readers import Limits
from services.gateway.service import NAME, TandemService
from services.gateway.temporal import Workflows
from services.gateway.tenancy import Tenancy
from services.gateway.visibility import find_search_attributes
from services.gateway.workers import PATIENCE, Patience
from services.models.without_engine import token_counter
from services.shared.checks.registry import add_remote
from services.shared.file_store.store import FileStore
from services.shared.identity.authentication import Authentication, IdentitySettings
from services.shared.identity.turns import LookUps
from services.shared.observability import availability, metrics, outcome_metrics, promise_metrics, tracing
from services.shared.process.callers import Callers
from services.shared.process.redis import open_request_log
from services.shared.process.server import Server, serve
from services.shared.process.settings import Addresses, Names, ProcessSettings, Seconds, read_settings
from services.shared.process.start import run
from services.shared.process.temporal import connect
from services.shared.process.temporal_renewal import keep_certificate
from services.shared.process.transport import PLAIN, Transport, own_transport
from services.shared.request_log.log import RequestLog
from tandem.access.tenants import TenantFile, Tenants
from tandem.access.watched_file import WatchedFile
from tandem.client.contract import MAX_MESSAGE_BYTES
from tandem.errors import SetupError
from tandem.method.profile.profile import Profile, load_profile, promising
from tandem.method.profile.promise import MOST_LOST
from tandem.v1 import batch_pb2_grpc, tandem_pb2_grpc

# A credential decides about every call, also of the HTTP gateway.
CALLERS = Callers(frozenset({"http-gateway"}), anyone=True)
Chore = Callable[[], Coroutine[Any, Any, None]]


class GatewaySettings(ProcessSettings):
    profiles: Names = Field(
        ("qwen2.5-coder-1.5b-0.5b",),
        min_length=1,
        validation_alias="TANDEM_PROFILES",
        description="served profiles, separated by commas; the first is the default",
    )
    withdrawn: Names = Field(
        (),
        validation_alias="TANDEM_WITHDRAWN_PROFILES",
        description="served profiles that take no new requests, before you remove them",
    )
    models_folder: Path = Field(
        user_cache_path("tandem") / "models", validation_alias="TANDEM_MODELS", description="for the tokenizers"
    )
    files: str = Field(
        "", validation_alias="TANDEM_FILES", description="folder or URL of the batches' files; empty: no batches"
    )
    max_stored_bytes: int = Field(
        MOST_STORED_BYTES,
        gt=0,
        validation_alias="TANDEM_MAX_STORED_BYTES",
        description="bytes of all files of a tenant",
    )
    internal_port: int = Field(
        0,
        ge=0,
        le=65535,
        validation_alias="TANDEM_INTERNAL_PORT",
        description="port for the HTTP gateway, with mutual TLS where there are certificates; 0 opens none",
    )
    checkers: Addresses = Field(
        {},
        validation_alias="TANDEM_CHECKERS",
        description="checks of your own behind gRPC, NAME=HOST:PORT separated by commas; the same as the workers'",
    )
    max_requests: int = Field(256, gt=0, validation_alias="TANDEM_MAX_REQUESTS", description="streams at once")
    max_starting: int = Field(
        4,
        gt=0,
        validation_alias="TANDEM_MAX_STARTING",
        description="requests before their first event at once, with a file of tenants; look-ups at once",
    )
    tenants: Path | None = Field(
        None, validation_alias="TANDEM_TENANTS", description="file of `tandem tenants`: what each tenant may use"
    )
    lose_at_most: float | None = Field(
        None,
        gt=0,
        le=MOST_LOST,
        validation_alias="TANDEM_LOSE_AT_MOST",
        description="replaces the profiles' `promise.lose_at_most`; programs are learned too where a profile takes "
        "them by their examples",
    )
    worker_patience: Seconds = Field(
        PATIENCE.new,
        validation_alias="TANDEM_WORKER_PATIENCE",
        description="how long a new request waits for a worker",
    )
    disconnect_grace: Seconds = Field(
        timedelta(seconds=1),
        validation_alias="TANDEM_DISCONNECT_GRACE",
        description="how long a request waits for a client that has disconnected before it is cancelled",
    )


def authentication(host: str) -> Authentication:
    """Raises SetupError where the gateway would be open to anyone, and for a file that holds no keys."""
    try:
        return read_settings(IdentitySettings).authentication(host)
    except ValueError as error:
        raise SetupError(str(error)) from error


def tenants_in(file: Path | None) -> WatchedFile[Tenants] | None:
    """Raises TenantFileError for a file that holds no limits: without them, everything would be allowed."""
    return WatchedFile(file, TenantFile(file).read, "the tenants' limits") if file else None


@dataclass(frozen=True, slots=True)
class Composition:
    """The gateway's parts; `chores` run beside its calls, until it drains."""

    server: Server
    service: TandemService
    workflows: Workflows
    tenancy: Tenancy
    chores: Sequence[Chore]


async def build(
    settings: GatewaySettings,
    profiles: Mapping[str, Profile],
    counters: Mapping[str, Callable[[str], int]],
    log: RequestLog,
    temporal: Client,
    server: Server,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Composition:
    """Return the gateway on `server`, whose port is open already. `counters` count a profile's tokens. Raises
    TenantFileError.
    """
    add_remote(settings.checkers)
    is_searchable, patience = await find_search_attributes(temporal), Patience(new=settings.worker_patience)
    withdrawn = frozenset(settings.withdrawn)
    admission = Admission(profiles, settings.profiles[0], counters, withdrawn, is_searchable=is_searchable)
    workflows = Workflows(temporal, is_searchable, is_fair=settings.tenants is not None, patience=patience)
    tenancy = Tenancy(tenants_in(settings.tenants), log.accounts, workflows.visibility, clock)
    limits = Limits(settings.max_requests, settings.disconnect_grace, settings.max_starting)
    service = TandemService(admission, workflows, log, limits, tenancy, server.slow_readers.end_slowest)
    tandem_pb2_grpc.add_TandemServiceServicer_to_server(service, server.grpc)
    batched = BatchedRequests(
        admission, workflows, tenancy, service.policies, service.learner, asyncio.get_running_loop()
    )
    erasing = add_batches(settings, server, BatchWorkflows(temporal, is_searchable), batched, service.look_ups)
    renewing = partial(keep_certificate, temporal)
    chores: list[Chore] = [partial(cancel_orphans, workflows, log, datetime.now(UTC)), *erasing, renewing]
    if tenancy.is_on:
        chores.append(OverdueHolds(tenancy, log, workflows.status).keep_settling)
    return Composition(server, service, workflows, tenancy, chores)


def add_batches(
    settings: GatewaySettings,
    server: Server,
    workflows: BatchWorkflows,
    requests: BatchedRequests,
    look_ups: LookUps,
) -> list[Chore]:
    """Serve batches and their files. Returns the chore that erases old ones, where one is to."""
    store = FileStore(settings.files)
    files = FileService(Files(store, settings.max_stored_bytes), Uploads(), requests.require_allowed, look_ups)
    batch_pb2_grpc.add_FileServiceServicer_to_server(files, server.grpc)
    batches = Batches(store, workflows, requests.admit, requests.require_allowed)
    batch_pb2_grpc.add_BatchServiceServicer_to_server(BatchService(batches, look_ups), server.grpc)
    if settings.retention is None or not settings.files:
        return []
    return [Retention(store, workflows, settings.retention).keep_erasing]


def open_server(settings: GatewaySettings, checked: Authentication, transport: Transport = PLAIN) -> Server:
    """Open the server with its ports, before anything that takes time: who is in their way hears of it at once.
    Raises SetupError.
    """
    server = Server(
        settings.host, settings.port, [NAME, FILES, BATCHES], [checked.check],
        transport=transport, callers=CALLERS, receive_limit=MAX_MESSAGE_BYTES,
    )  # fmt: skip
    if settings.internal_port:
        server.listen_for_processes(settings.internal_port)
    return server


async def main() -> None:
    settings = read_settings(GatewaySettings)
    tracing.setup("tandem-gateway", settings.log_level, create_tracer_provider)
    metrics.expose(settings.host, settings.metrics_port, "gateway")
    profiles = {name: load_profile(name, settings.profile_folders) for name in settings.profiles}
    availability.watch_calls(profiles)
    outcome_metrics.watch_promises(profiles.values())
    if settings.lose_at_most is not None:
        profiles = {name: promising(profile, settings.lose_at_most) for name, profile in profiles.items()}
    promise_metrics.watch_promises(profiles.values())
    counters = {name: token_counter(settings.models_folder, p.slm) for name, p in profiles.items()}
    log = open_request_log(settings.sealer())
    checked = authentication(settings.host)
    server = open_server(settings, checked, own_transport())
    gateway = await build(settings, profiles, counters, log, await connect(), server)
    chores = [asyncio.create_task(chore()) for chore in gateway.chores]

    async def drain() -> None:
        for chore in chores:
            chore.cancel()
        gateway.service.drain()

    await serve(server, settings.drain, settings.unready_pause, log.ping, drain_work=drain)
    await log.close()
    tracing.shutdown()
    await asyncio.sleep(0.3)  # temporalio's core may abort the process when it ends at once (sdk-python#300)


if __name__ == "__main__":
    run(main)
