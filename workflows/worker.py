"""The worker process: workflows and activities of one profile. `python -m workflows.worker`."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator
from datetime import timedelta
from importlib.metadata import version
from typing import Any
from uuid import uuid4

from pydantic import Field
from temporalio.client import Client
from temporalio.contrib.opentelemetry import create_tracer_provider
from temporalio.worker import UnsandboxedWorkflowRunner, Worker, WorkerDeploymentConfig, WorkflowRunner

from services.shared.observability import metrics, tracing
from services.shared.process.redis import open_request_log
from services.shared.process.server import Server, serve
from services.shared.process.settings import Addresses, ProcessSettings, Seconds, read_settings
from services.shared.process.start import run
from services.shared.process.temporal import connect
from services.shared.process.temporal_metrics import keep_exporting, measured_runtime
from services.shared.process.temporal_renewal import keep_certificate
from services.shared.process.transport import own_transport
from services.shared.request_log.log import RequestLog
from tandem.method.names import DISTRIBUTION, batch_queue, llm_queue, solve_queue
from tandem.method.timeouts import Timeouts
from workflows.activities.registry import Activities, ServiceAddresses
from workflows.batch import BatchWorkflow
from workflows.beside import BesideWorkflow
from workflows.shadow import ShadowWorkflow
from workflows.solve import SolveWorkflow
from workflows.versioning import Presence, Version

NAME = "tandem.v1.Worker"
_OBJECTS_BETWEEN_COLLECTIONS = 50_000

_STEP_SECONDS = 60
_MAX_ACTIVITIES = 500
"""Steps that run at once, insights aside."""


class WorkerSettings(ProcessSettings):
    profile: str = Field(
        "qwen2.5-coder-1.5b-0.5b", validation_alias="TANDEM_PROFILE", description="whose requests it works on"
    )
    insight_generator: str = Field(
        "127.0.0.1:50051", validation_alias="TANDEM_INSIGHT_GENERATOR", description="its address"
    )
    sufficiency_scorer: str = Field(
        "127.0.0.1:50052", validation_alias="TANDEM_SUFFICIENCY_SCORER", description="its address"
    )
    slm_executor: str = Field("127.0.0.1:50053", validation_alias="TANDEM_SLM_EXECUTOR", description="its address")
    slm_executors: Addresses = Field(
        {},
        validation_alias="TANDEM_SLM_EXECUTORS",
        description="of the profile's further small models, ROLE=HOST:PORT separated by commas, as in "
        "second_slm=127.0.0.1:50058",
    )
    answer_checker: str = Field("127.0.0.1:50055", validation_alias="TANDEM_ANSWER_CHECKER", description="its address")
    checkers: Addresses = Field(
        {},
        validation_alias="TANDEM_CHECKERS",
        description="checks of your own behind gRPC, NAME=HOST:PORT separated by commas; the same as the gateway's",
    )
    max_llm: int = Field(16, gt=0, validation_alias="TANDEM_MAX_LLM", description="insights that run at once")
    max_batched: int = Field(
        64,
        gt=0,
        validation_alias="TANDEM_MAX_BATCHED",
        description="requests of all batches that this worker waits for",
    )
    files: str = Field("", validation_alias="TANDEM_FILES", description="folder or URL of the batches' files")
    deployment: str = Field("tandem", validation_alias="TANDEM_DEPLOYMENT", description="Temporal's worker deployment")
    build: str = Field(
        "", validation_alias="TANDEM_BUILD", description="version of this worker in the deployment; empty: no versions"
    )
    commit: str = Field(
        "", validation_alias="TANDEM_COMMIT", description="commit of an image's code; if known, it is the build's name"
    )
    handover: Seconds = Field(
        Timeouts.workflow,
        validation_alias="TANDEM_HANDOVER",
        description="how long a draining worker stays for the running requests of its version",
    )

    @property
    def version(self) -> Version | None:
        return Version(self.deployment, self.commit or self.build) if self.build else None


def make_workers(
    client: Client, settings: WorkerSettings, activities: Activities, runner: WorkflowRunner | None = None
) -> list[Worker]:
    """Three workers: the large model's, whose slots are its pool's capacity, the batches', and one for all else.

    Temporal's sandbox costs several milliseconds of every decision; the tests run in it, production does not.
    """
    shutdown = settings.drain
    pinned = settings.version.config if settings.version else None
    following = settings.version.config_of_batches if settings.version else None
    workers = [
        Worker(
            client,
            task_queue=llm_queue(settings.profile),
            activities=activities.of_llm_queue(),
            **_code(pinned),
            max_concurrent_activities=settings.max_llm,
            max_heartbeat_throttle_interval=Timeouts.heartbeat_interval,
            graceful_shutdown_timeout=shutdown,
        ),
        Worker(
            client,
            task_queue=solve_queue(settings.profile),
            workflows=[SolveWorkflow, ShadowWorkflow, BesideWorkflow],
            workflow_runner=runner or UnsandboxedWorkflowRunner(),
            **_code(pinned),
            activities=activities.of_solve_queue(),
            max_concurrent_activities=_MAX_ACTIVITIES,
            max_heartbeat_throttle_interval=Timeouts.heartbeat_interval,
            # A dead worker delays the next task of the workflows that it had cached by this long.
            sticky_queue_schedule_to_start_timeout=timedelta(seconds=1),
            graceful_shutdown_timeout=shutdown,
        ),
        Worker(
            client,
            task_queue=batch_queue(settings.profile),
            workflows=[BatchWorkflow],
            workflow_runner=runner or UnsandboxedWorkflowRunner(),
            **_code(following),
            activities=activities.of_batch_queue(),
            max_concurrent_activities=settings.max_batched,
            max_heartbeat_throttle_interval=Timeouts.heartbeat_interval,
            sticky_queue_schedule_to_start_timeout=timedelta(seconds=1),
            # Another worker joins the requests that this one waits for.
            graceful_shutdown_timeout=timedelta(0),
        ),
    ]
    for worker in workers:
        outlive_standstill(worker)
    return workers


def _code(config: WorkerDeploymentConfig | None) -> dict[str, Any]:
    """What a worker tells Temporal of its code. Left to itself it reads and hashes every imported module, which takes
    seconds.
    """
    return {"deployment_config": config} if config else {"build_id": version(DISTRIBUTION)}


def outlive_standstill(worker: Worker) -> None:
    """Let a workflow's step take as long as Temporal's server lets it.

    Temporal's library takes one of two seconds for a deadlock and interrupts its thread; a workflow that was
    interrupted in its midst may never be taken up again by this worker (temporalio/sdk-python#806), and hangs to its
    end. Ours compute for
    milliseconds: what takes longer is a process that stood still. The library has no setting for it (#1050).
    """
    if worker._workflow_worker is not None:
        worker._workflow_worker._deadlock_timeout_seconds = _STEP_SECONDS


@contextlib.asynccontextmanager
async def _present(client: Client, log: RequestLog, settings: WorkerSettings) -> AsyncIterator[None]:
    """Hold this worker's lease, and take over from a version that goes.

    On exit, wait until another worker of the version runs or no request needs it.
    """
    assert settings.version is not None
    presence = Presence(client, log, settings.version, settings.profile, uuid4().hex)
    tasks = [asyncio.create_task(presence.keep()), asyncio.create_task(presence.take_over())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await presence.wait_until_dispensable(settings.handover)


def _spare_collections() -> None:
    """Garbage collections walk every object that the imports made, in the middle of a decision: 6 ms of a request
    (p50).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)


async def main() -> None:
    settings = read_settings(WorkerSettings)
    tracing.setup("tandem-worker", settings.log_level, create_tracer_provider)
    metrics.watch_availability(settings.profile, settings.slm_executors)
    metrics.expose(settings.host, settings.metrics_port, "worker")
    log = open_request_log(settings.sealer())
    transport = own_transport()
    activities = Activities(
        ServiceAddresses(
            settings.insight_generator,
            settings.sufficiency_scorer,
            settings.slm_executor,
            settings.answer_checker,
            settings.slm_executors,
        ),
        log,
        settings.files,
        transport,
        settings.checkers,
    )
    server = Server(settings.host, settings.port, [NAME], transport=transport)
    async with contextlib.AsyncExitStack() as workers:

        async def load() -> None:
            runtime, buffer = measured_runtime()
            client = await connect(runtime)
            made = make_workers(client, settings, activities)
            for worker in made:
                await workers.enter_async_context(worker)
            for chore in (keep_certificate(client, made), keep_exporting(buffer)):
                workers.callback(asyncio.create_task(chore).cancel)
            _spare_collections()
            if settings.version:
                await workers.enter_async_context(_present(client, log, settings))

        await serve(server, timedelta(0), settings.unready_pause, load, drain_work=workers.aclose)
    await activities.close()
    await log.close()
    tracing.shutdown()
    await asyncio.sleep(0.3)  # temporalio's core may abort the process when it ends at once (sdk-python#300)


if __name__ == "__main__":
    run(main)
