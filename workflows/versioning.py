"""Worker versions: a request ends on the workflow code that it began with, also during an upgrade.

Each build of the worker is a version of one Temporal worker deployment. New requests start on the current version and
are pinned to it. A draining worker therefore stays until another worker of its build runs, or until another version is
current and no running request is pinned to its own. Workers make their version the current one by themselves, when no
worker of the current one is left but those that drain: whoever replaces the processes, by whatever tool, need not tell
Temporal.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from temporalio.api.workflowservice.v1 import DescribeWorkerDeploymentRequest, SetWorkerDeploymentCurrentVersionRequest
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import WorkerDeploymentConfig

from services.shared.request_log.log import RequestLog
from tandem.method.errors import TandemError

logger = logging.getLogger(__name__)
_POLL_SECONDS = 1.0
_LEASE = timedelta(seconds=10)
_LOOK = timedelta(seconds=30)  # at Temporal, while all is well
_NOT_YET = (
    RPCStatusCode.NOT_FOUND,  # no worker of the version has come
    RPCStatusCode.FAILED_PRECONDITION,
    # Temporal is asked about the deployment by several at once, of whom it answers few
    RPCStatusCode.RESOURCE_EXHAUSTED,
    RPCStatusCode.CANCELLED,  # it gave up inside, which it does while it is busy
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.UNAVAILABLE,
)


@dataclass(frozen=True, slots=True)
class Version:
    """`build` of the worker deployment `deployment`."""

    deployment: str
    build: str

    def __str__(self) -> str:
        return f"{self.deployment}:{self.build}"

    @property
    def config(self) -> WorkerDeploymentConfig:
        return self._config(VersioningBehavior.PINNED)

    @property
    def config_of_batches(self) -> WorkerDeploymentConfig:
        """A batch may take days: it goes on with the newest build, which must be able to replay it."""
        return self._config(VersioningBehavior.AUTO_UPGRADE)

    def _config(self, behavior: VersioningBehavior) -> WorkerDeploymentConfig:
        return WorkerDeploymentConfig(
            version=WorkerDeploymentVersion(self.deployment, self.build),
            use_worker_versioning=True,
            default_versioning_behavior=behavior,
        )


async def promote(client: Client, version: Version, patience: timedelta) -> None:
    """Let new requests start on `version`. Waits for its first worker; once it is current this does nothing.

    Raises RPCError when no worker of it has come within `patience`, or Temporal was too busy for as long.
    """
    give_up = time.monotonic() + patience.total_seconds()
    request = SetWorkerDeploymentCurrentVersionRequest(
        namespace=client.namespace, deployment_name=version.deployment, build_id=version.build
    )
    while True:
        try:
            await client.workflow_service.set_worker_deployment_current_version(request)
            return
        except RPCError as error:
            if error.status not in _NOT_YET or time.monotonic() > give_up:
                raise
        await asyncio.sleep(_POLL_SECONDS)


class Presence:
    """One worker among those of its version and profile. They know of each other by leases in the request log's
    Redis.
    """

    def __init__(
        self, client: Client, log: RequestLog, version: Version, profile: str, name: str, lease: timedelta = _LEASE
    ) -> None:
        self._client, self._log, self._version, self._name = client, log, version, name
        self._profile, self._lease = profile, lease
        self._key = self._key_of(version.build)

    def _key_of(self, build: str) -> str:
        """A worker of another profile polls other queues."""
        return f"workers-of-{Version(self._version.deployment, build)}:{self._profile}"

    async def keep(self) -> None:
        """Renew the lease until cancelled."""
        while True:
            await self.renew()
            await asyncio.sleep(self._lease.total_seconds() / 3)

    async def renew(self) -> None:
        with suppress(TandemError):
            await self._log.watchers.renew(self._key, self._name, time.time(), self._lease)

    async def take_over(self) -> None:
        """Let new requests start on this version whenever nobody else would take them, until cancelled.

        That is, where no version is current, or none of the current one's workers has held a lease for as long as a
        lease lasts:
        Redis may have lost them for a moment.
        """
        misses, between = 0, self._lease.total_seconds() / 3
        while True:
            pause = between
            try:
                current = await self._current_build()
                if current == self._version.build:
                    misses, pause = 0, _LOOK.total_seconds()
                elif current and await self._has_workers(current):
                    misses = 0
                elif current and misses * between < self._lease.total_seconds():
                    misses += 1
                else:
                    await promote(self._client, self._version, self._lease)
                    logger.info("new requests start on %s", self._version)
            except (RPCError, TandemError) as error:
                logger.warning("new requests may not start on %s yet: %s", self._version, error)
                pause = self._lease.total_seconds()
            await asyncio.sleep(pause)

    async def wait_until_dispensable(self, most: timedelta) -> bool:
        """False when `most` has passed first."""
        with suppress(TandemError):
            await self._log.watchers.remove(self._key, self._name)
        give_up = time.monotonic() + most.total_seconds()
        while not await self._is_dispensable():
            if time.monotonic() > give_up:
                return False
            await asyncio.sleep(_POLL_SECONDS)
        return True

    async def _is_dispensable(self) -> bool:
        with suppress(TandemError):
            if await self._log.watchers.exist(self._key, time.time()):
                return True
        try:
            is_current = await self._current_build() == self._version.build
            return not is_current and not await self._is_needed()
        except RPCError:
            return False

    async def _current_build(self) -> str:
        """Empty where there is none. Raises RPCError."""
        request = DescribeWorkerDeploymentRequest(
            namespace=self._client.namespace, deployment_name=self._version.deployment
        )
        try:
            described = await self._client.workflow_service.describe_worker_deployment(request)
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                return ""
            raise
        return described.worker_deployment_info.routing_config.current_deployment_version.build_id

    async def _has_workers(self, build: str) -> bool:
        """Others than those that drain. Raises TandemError where Redis does not answer."""
        return await self._log.watchers.exist(self._key_of(build), time.time())

    async def _is_needed(self) -> bool:
        """Do running requests stay with this version?"""
        pinned = f"TemporalWorkerDeploymentVersion = '{self._version}' AND ExecutionStatus = 'Running'"
        return (await self._client.count_workflows(pinned)).count > 0
