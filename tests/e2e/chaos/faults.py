"""Faults of a local stack. Each is drawn from a seed, lasts for a time, and is over when it returns."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import psutil
from redis.exceptions import RedisError

from tandem.local.supervisor import Stack
from tests import stacks

MODELS = "insight-generator", "sufficiency-scorer", "slm-executor"
CONTROL = "worker", "gateway", "http-gateway"
STORES = "temporal", "redis"
_NOWHERE = ("127.0.0.1", "1")
Act = Callable[[Stack, str, float], None]
"""(stack, the process that is hit, seconds that it lasts)"""


@dataclass(frozen=True, slots=True)
class Fault:
    """`kind` hits `victim` for `seconds`, `after` the traffic has begun."""

    kind: str
    victim: str
    after: float
    seconds: float

    def strike(self, stack: Stack) -> None:
        time.sleep(self.after)
        KINDS[self.kind].act(stack, self.victim, self.seconds)

    @property
    def loses_tokens(self) -> bool:
        """What a process had generated or read, and the request log does not know, is on no bill."""
        return self.kind in ("kill", "terminate") or self.victim == "redis"


@dataclass(frozen=True, slots=True)
class Kind:
    """`seconds`: the least and the most that it lasts."""

    act: Act
    victims: tuple[str, ...]
    seconds: tuple[float, float] = (0.0, 0.0)


def _kill(stack: Stack, victim: str, seconds: float) -> None:
    stacks.restart(stack, victim)


def _terminate(stack: Stack, victim: str, seconds: float) -> None:
    with stack.supervisor() as supervisor:
        supervisor.stopProcess(victim, True)
    stacks.start(stack, victim)


def _pause(stack: Stack, victim: str, seconds: float) -> None:
    process = psutil.Process(stacks.pid_of(stack, victim))
    os.kill(process.pid, signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGCONT)


def _flush(stack: Stack, victim: str, seconds: float) -> None:
    with stacks.redis_of(stack) as redis:
        redis.flushall()


def _fill(stack: Stack, victim: str, seconds: float) -> None:
    """Redis refuses whatever needs memory."""
    with stacks.redis_of(stack) as redis:
        redis.config_set("maxmemory", 1)
        time.sleep(seconds)
        redis.config_set("maxmemory", 0)


def _make_read_only(stack: Stack, victim: str, seconds: float) -> None:
    """As after a failover that the clients have not noticed."""
    with stacks.redis_of(stack) as redis:
        redis.replicaof(*_NOWHERE)
        time.sleep(seconds)
        redis.replicaof("NO", "ONE")


def _cut_connections(stack: Stack, victim: str, seconds: float) -> None:
    with stacks.redis_of(stack) as redis:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for kind in ("normal", "pubsub"):
                with suppress(RedisError):
                    redis.client_kill_filter(_type=kind, skipme=True)
            time.sleep(0.2)


KINDS = {
    "kill": Kind(_kill, (*MODELS, *CONTROL, *STORES)),
    "terminate": Kind(_terminate, (*MODELS, *CONTROL)),
    "pause": Kind(_pause, (*MODELS, *CONTROL, *STORES), (3.0, 12.0)),
    "flush": Kind(_flush, ("redis",)),
    "fill": Kind(_fill, ("redis",), (0.5, 3.0)),
    "read-only": Kind(_make_read_only, ("redis",), (0.5, 3.0)),
    "cut": Kind(_cut_connections, ("redis",), (0.2, 2.0)),
}
"""By name, as the table of results has it."""


def draw(dice: random.Random, most: int) -> list[Fault]:
    """From one to `most` faults at once, of different processes."""
    found: dict[str, Fault] = {}
    for _ in range(dice.randint(1, most)):
        name = dice.choice(list(KINDS))
        kind = KINDS[name]
        victim = dice.choice(kind.victims)
        found[victim] = Fault(name, victim, round(dice.uniform(0.0, 1.0), 3), round(dice.uniform(*kind.seconds), 3))
    return list(found.values())
