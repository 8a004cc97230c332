"""Faults of a local stack. Each is drawn from a seed, lasts for a time, and is over when it returns."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import psutil
from redis.exceptions import RedisError

from tests import stacks
from tests.e2e.chaos.system import System, can_fill_disk, can_move_clock

MODELS = "insight-generator", "sufficiency-scorer", "slm-executor"
CONTROL = "worker", "gateway", "http-gateway"
STORES = "temporal", "redis"
PAIRS = (
    "client to gateway",
    "client to http-gateway",
    "http-gateway to gateway",
    "gateway to temporal",
    "gateway to redis",
    "worker to temporal",
    "worker to redis",
    *(f"worker to {model}" for model in MODELS),
    *(f"{model} to redis" for model in MODELS),
)
"""Processes between which requests need a connection."""
_NOWHERE = ("127.0.0.1", "1")
_DELAY_SECONDS = 0.15
_CLOCK_SECONDS = 3600
Act = Callable[[System, str, float], None]
"""(system, the process or pair that is hit, seconds that it lasts)"""


@dataclass(frozen=True, slots=True)
class Fault:
    """`kind` hits `victim` for `seconds`, `after` the traffic has begun."""

    kind: str
    victim: str
    after: float
    seconds: float

    def strike(self, system: System) -> None:
        time.sleep(self.after)
        KINDS[self.kind].act(system, self.victim, self.seconds)

    @property
    def ends_process(self) -> bool:
        return self.kind in ("kill", "terminate")

    @property
    def loses_tokens(self) -> bool:
        """What a process had generated or read, and the request log does not know, is on no bill."""
        return (self.ends_process and self.victim != "temporal") or self.victim == "redis"

    @property
    def parts_callers(self) -> bool:
        """From the gateway, which cancels what nobody reads for its grace."""
        return self.victim == "client to gateway" and self.kind in ("disconnect", "silence")

    @property
    def loses_requests(self) -> bool:
        return self.kind == "erase"


@dataclass(frozen=True, slots=True)
class Kind:
    """`seconds`: the least and the most that it lasts."""

    act: Act
    victims: tuple[str, ...]
    seconds: tuple[float, float] = (0.0, 0.0)


def _kill(system: System, victim: str, seconds: float) -> None:
    stacks.restart(system.stack, victim)


def _terminate(system: System, victim: str, seconds: float) -> None:
    with system.stack.supervisor() as supervisor:
        supervisor.stopProcess(victim, True)
    stacks.start(system.stack, victim)


def _pause(system: System, victim: str, seconds: float) -> None:
    process = psutil.Process(stacks.pid_of(system.stack, victim))
    os.kill(process.pid, signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGCONT)


def _flush(system: System, victim: str, seconds: float) -> None:
    with stacks.redis_of(system.stack) as redis:
        redis.flushall()


def _fill(system: System, victim: str, seconds: float) -> None:
    """Redis refuses whatever needs memory."""
    with stacks.redis_of(system.stack) as redis:
        redis.config_set("maxmemory", 1)
        time.sleep(seconds)
        redis.config_set("maxmemory", 0)


def _make_read_only(system: System, victim: str, seconds: float) -> None:
    """As after a failover that the clients have not noticed."""
    with stacks.redis_of(system.stack) as redis:
        redis.replicaof(*_NOWHERE)
        time.sleep(seconds)
        redis.replicaof("NO", "ONE")


def _cut_connections(system: System, victim: str, seconds: float) -> None:
    with stacks.redis_of(system.stack) as redis:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for kind in ("normal", "pubsub"):
                with suppress(RedisError):
                    redis.client_kill_filter(_type=kind, skipme=True)
            time.sleep(0.2)


def _erase(system: System, victim: str, seconds: float) -> None:
    """Temporal is killed, and its database lost."""
    stacks.kill(system.stack, victim)
    for file in system.stack.folder.glob("temporal.db*"):
        file.unlink()
    stacks.start(system.stack, victim)


def _fill_disk(system: System, victim: str, seconds: float) -> None:
    """Of the state folder: Temporal's database, its log, and those of all processes."""
    with system.full_disk():
        time.sleep(seconds)


def _move_clock(offset: int, system: System, victim: str, seconds: float) -> None:
    with system.other_time(offset):
        time.sleep(seconds)


def _slow(system: System, victim: str, seconds: float) -> None:
    system.links[victim].slow(seconds, _DELAY_SECONDS)


def _disconnect(system: System, victim: str, seconds: float) -> None:
    system.links[victim].cut(seconds)


def _silence(system: System, victim: str, seconds: float) -> None:
    system.links[victim].silence(seconds)


KINDS = {
    "kill": Kind(_kill, (*MODELS, *CONTROL, *STORES)),
    "terminate": Kind(_terminate, (*MODELS, *CONTROL)),
    "pause": Kind(_pause, (*MODELS, *CONTROL, *STORES), (3.0, 40.0)),
    "flush": Kind(_flush, ("redis",)),
    "fill": Kind(_fill, ("redis",), (0.5, 3.0)),
    "read-only": Kind(_make_read_only, ("redis",), (0.5, 3.0)),
    "cut": Kind(_cut_connections, ("redis",), (0.2, 2.0)),
    "erase": Kind(_erase, ("temporal",)),
    "disk full": Kind(_fill_disk, ("temporal",), (1.0, 5.0)),
    "clock ahead": Kind(partial(_move_clock, _CLOCK_SECONDS), ("worker",), (2.0, 5.0)),
    "clock back": Kind(partial(_move_clock, -_CLOCK_SECONDS), ("worker",), (2.0, 5.0)),
    "slow": Kind(_slow, PAIRS, (1.0, 5.0)),
    "disconnect": Kind(_disconnect, PAIRS, (0.0, 3.0)),
    "silence": Kind(_silence, PAIRS, (0.5, 3.0)),
}
"""By name, as the table of results has it."""


def draw(dice: random.Random, most: int) -> list[Fault]:
    """From one to `most` faults at once, of different processes. A seed draws the same everywhere, less what this
    machine cannot do.
    """
    found: dict[str, Fault] = {}
    for _ in range(dice.randint(1, most)):
        name = dice.choice(list(KINDS))
        kind = KINDS[name]
        victim = dice.choice(kind.victims)
        fault = Fault(name, victim, round(dice.uniform(0.0, 1.0), 3), round(dice.uniform(*kind.seconds), 3))
        if _can_strike(name):
            found[victim] = fault
    return list(found.values())


def _can_strike(kind: str) -> bool:
    if kind == "disk full":
        return can_fill_disk()
    return not kind.startswith("clock") or can_move_clock()
