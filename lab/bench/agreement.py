"""Two small models that are asked together, and a large one, behind three endpoints: `python -m lab.bench.agreement`.

All three replay what is published of real models, or with `--real` the large one alone: then the small models are two
files of the cache, each behind a server of llama.cpp. The same is asked of two small models by agreement, of them
overlapped (not with `--real`), and of the large model alone.
"""

from __future__ import annotations

import argparse
import hashlib
import shlex
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tomlkit
from rich.progress import track

from lab.bench.common import Figures, default_profile, quantiles, report
from lab.bench.replayed import MODELS, ROLES, Task, Vendor, made_up, real_tasks
from tandem import Client
from tandem.method.roles import BILL_ROLES
from tandem.paths import models_folder
from tandem.v1 import tandem_pb2
from tests.able_api import MODEL
from tests.llama_server import llama_server
from tests.peer_servers import counter
from tests.recorded_api import RecordedApi, recorded_api
from tests.stacks import environment, started_stack

_PRICES = {"slm": "0.15/0.60", "second_slm": "0.05/0.08", "llm": "2.50/10"}
_TASKS = {"calls": "chat", "gsm8k": "answer", "functions": "code"}
_MOST_TOKENS = 400
_SEED = 52
_TOGETHER = {"kinds": ["tools", "answer"]}
_WAYS: Mapping[str, Mapping[str, Any]] = {
    "together": _TOGETHER,
    "overlapped": {**_TOGETHER, "overlapped": True},
    "large_alone": {"kinds": []},
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--real", action="store_true", help="the small models are real: fewer requests")
    arguments.add_argument("--calls", type=int)
    arguments.add_argument("--problems", type=int)
    arguments.add_argument("--functions", type=int, help="with --real alone")
    arguments.add_argument("--concurrency", type=int)
    options = arguments.parse_args()
    numbers, width, own = ((20, 10, 5), 2, real_tasks) if options.real else ((200, 100, 0), 4, made_up)
    given = (options.calls, options.problems, options.functions)
    counts = [default if number is None else number for number, default in zip(given, numbers, strict=True)]
    tasks = [task for kind, number in zip(MODELS, counts, strict=True) if number for task in own(kind, number, _SEED)]
    width = options.concurrency or width
    with ExitStack() as started:
        behind, about = _real(started) if options.real else ({}, {})
        ways = {name: way for name, way in _WAYS.items() if not (options.real and name == "overlapped")}
        figures = {name: _run(name, way, Vendor(tasks, behind), width) for name, way in ways.items()}
    name = "agreement-real" if options.real else "agreement"
    report(name, {"command": shlex.join(sys.argv[1:]), "seed": _SEED, "models": MODELS, **about,
                  "concurrency": width, **figures})  # fmt: skip


def _real(started: ExitStack) -> tuple[dict[str, str], Figures]:
    """Addresses of the servers of both files of the default pair, the larger one first."""
    profile = default_profile()
    names = {"slm": profile.llm.name, "second_slm": profile.slm.name}
    files = {role: next((models_folder() / name).glob("*.gguf")) for role, name in names.items()}
    hashes = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files.values()}
    urls = {role: started.enter_context(llama_server(file, MODEL)) for role, file in files.items()}
    return {role: url.removesuffix("/v1") for role, url in urls.items()}, {"files": hashes}


def _run(name: str, way: Mapping[str, Any], vendor: Vendor, width: int) -> Figures:
    with recorded_api(vendor.answer) as api, _stack(api, way) as client, ThreadPoolExecutor(width) as pool:
        before, vendor.cut = _counted(vendor), []
        ask = partial(_ask, client, vendor, is_alone=name == "large_alone")
        asked = list(track(pool.map(ask, vendor.tasks), total=len(vendor.tasks), description=name))
        counted = {role: found - before[role] for role, found in _counted(vendor).items()}
    cut = vendor.not_written()
    kinds = dict.fromkeys(task.kind for task in vendor.tasks)
    figures: Figures = {kind: _figures([each for each in asked if each.task.kind == kind]) for kind in kinds}
    for kind, found in cut.items():
        figures[kind]["cut_streams"] = Counter(role for role, _ in found)
        figures[kind]["whole_tokens_of_cut_streams"] = sum(number for _, number in found)
    figures["bills"] = _bills(asked, counted)
    return figures


def _counted(vendor: Vendor) -> dict[str, int]:
    """Tokens that the servers have written since they started, by their own counters."""
    return {role: counter(url, "llamacpp:tokens_predicted_total") for role, url in vendor.behind.items()}


@dataclass
class _Asked:
    task: Task
    seconds: float
    result: tandem_pb2.SolveResult
    counted: Mapping[str, tuple[int, int]]  # tokens sent of what is replayed, and those planned, by role


@contextmanager
def _stack(api: RecordedApi, way: Mapping[str, Any]) -> Iterator[Client]:
    with tempfile.TemporaryDirectory(prefix="tandem-bench-") as folder:
        names = {"slm": "small", "second_slm": "second", "llm": "large"}
        given = [f"--{name}={api.url}/{role}/v1#{MODEL}" for role, name in names.items()]
        given += [f"--{name}-price={_PRICES[role]}" for role, name in names.items()]
        tandem = str(Path(sys.executable).with_name("tandem"))
        values = {"TANDEM_PROFILES_PATH": folder, "TANDEM_STATE": str(Path(folder) / "state")}
        with environment(values):
            subprocess.run([tandem, "profile", "new", "--name", "bench", *given], check=True, stdout=subprocess.DEVNULL)
        file = Path(folder) / "bench" / "profile.toml"
        profile: Any = tomlkit.parse(file.read_text())
        profile["agreement"] = way
        if way["kinds"]:
            profile["checks"]["code"] = [*profile["checks"]["code"], "python_agreement"]
        else:
            profile["trial"]["stages"] = []
        file.write_text(tomlkit.dumps(profile))
        with started_stack("bench", {"TANDEM_PROFILES_PATH": folder}) as stack, Client(stack.gateway) as client:
            yield client


def _ask(client: Client, vendor: Vendor, task: Task, *, is_alone: bool) -> _Asked:
    began = time.perf_counter()
    said: Any = [{"role": "user", "content": task.question}] if task.tools else task.question
    kind: Any = "chat" if is_alone and task.kind == "gsm8k" else _TASKS[task.kind]
    result = client.ask(said, tools=task.tools, task=kind, temperature=0, max_answer_tokens=_MOST_TOKENS)
    seconds = time.perf_counter() - began
    time.sleep(0.1)  # a vendor hears of a cut with its next write
    counted = {role: tuple(vendor.sent.get((task.id, role), (0, 0))) for role in ROLES}
    return _Asked(task, seconds, result, counted)  # type: ignore[arg-type]


def _figures(asked: Sequence[_Asked]) -> Figures:
    sent = [(role, *each.counted[role]) for each in asked for role in ROLES]
    cut = [each for each in sent if each[1] < each[2]]
    small = [each.counted[role] for each in asked for role in ROLES[:2]]
    seconds = [each.seconds for each in asked]
    return {
        "requests": len(asked),
        "answered_by": Counter(tandem_pb2.Role.Name(each.result.answered_by).removeprefix("ROLE_") for each in asked),
        "notes": Counter(note for each in asked for note in each.result.notes),
        "seconds": quantiles(seconds),
        "seconds_p95": round(float(np.percentile(seconds, 95)), 2),
        "usd": sum(each.result.cost.usd for each in asked),
        "cut_streams": Counter(role for role, *_ in cut),
        "tokens_not_written": {
            role: sum(planned - written for at, written, planned in cut if at == role) for role in ROLES
        },
        "tokens_of_small_models": {"written": sum(a for a, _ in small), "planned": sum(b for _, b in small)},
    }


def _bills(asked: Sequence[_Asked], counted: Mapping[str, int]) -> Figures:
    """Tokens of whole streams as billed and as sent; of those that were cut, by how many the two differ. Of a server
    that counts itself: all that is billed, and its count.
    """
    found: Figures = {}
    for role in ROLES:
        if role in counted:
            billed = sum(_generated(each.result, role) for each in asked)
            found[role] = {"billed": billed, "counted": counted[role]}
            continue
        pairs = [(_generated(each.result, role), *each.counted[role]) for each in asked]
        whole = [(billed, sent) for billed, sent, planned in pairs if sent == planned]
        cut = [sent - billed for billed, sent, planned in pairs if sent < planned]
        found[role] = {
            "billed": sum(billed for billed, _ in whole),
            "sent": sum(sent for _, sent in whole),
            "cut": len(cut),
            "sent_beyond_the_bill_of_cut_ones": sum(cut),
            "most": max(cut, default=0),
        }
    return found


def _generated(result: tandem_pb2.SolveResult, role: str) -> int:
    assert role in BILL_ROLES
    usage: tandem_pb2.TokenUsage = getattr(result.usage, role)
    return usage.output_tokens + usage.overrun_tokens + usage.discarded_tokens


if __name__ == "__main__":
    main()
