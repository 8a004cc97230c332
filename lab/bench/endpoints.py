"""The default pair behind two servers of llama.cpp, against the same two files in engines of ours: `python -m
lab.bench.endpoints`.

Functions of HumanEval are asked of both stacks, by the profiles that `tandem profile new` writes for them. Counts how
often the same model answered, and with the same text; sets the bills against the servers' own counters; and cuts
streams of each server, to see by how many tokens their bills are off.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
from rich.progress import track

from lab.bench.common import Figures, default_profile, report
from lab.training import datasets
from tandem import Client
from tandem.client.events import AnswerDelta, InsightDelta
from tandem.paths import models_folder
from tandem.v1 import tandem_pb2
from tests.llama_server import llama_server
from tests.peer_servers import counter
from tests.stacks import started_stack

_ROLES: tuple[Literal["llm", "slm"], ...] = ("llm", "slm")
_PRICES = {"llm": "3/15", "slm": "0.1/0.4"}
_TALE = "Tell a long story of a lighthouse and a ship."
_CUT_AFTER = 16  # tokens


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--questions", type=int, default=60)
    arguments.add_argument("--concurrency", type=int, default=2)
    arguments.add_argument("--cuts", type=int, default=20, help="streams that are cut, of each server")
    options = arguments.parse_args()
    profile = default_profile()
    files = {role: next((models_folder() / profile.models[role].name).glob("*.gguf")) for role in _ROLES}
    questions = [item.question for item in datasets.load("humaneval").items[: options.questions]]
    with stack_of({role: f"llamacpp:{file}" for role, file in files.items()}) as client:
        engines = _asked(client, questions, options.concurrency)
    with ExitStack() as started:
        urls = {role: started.enter_context(llama_server(file, role)) for role, file in files.items()}
        client = started.enter_context(stack_of({role: f"{url}#{role}" for role, url in urls.items()}))
        before = {role: _counted(url) for role, url in urls.items()}
        servers = _asked(client, questions, options.concurrency)
        counted = {role: _difference(_counted(url), before[role]) for role, url in urls.items()}
        cuts = {role: [_cut(client, role, urls[role]) for _ in range(options.cuts)] for role in _ROLES}
    report(
        "endpoints",
        {
            "questions": len(questions),
            "decisions": _decisions(engines, servers),
            "bills": {role: {"billed": _billed(servers, role), "counted": counted[role]} for role in _ROLES},
            "cut": {role: _summary(cuts[role]) for role in _ROLES},
        },
    )


@contextmanager
def stack_of(models: Mapping[str, str]) -> Iterator[Client]:
    """A client of a stack whose profile `tandem profile new` has written."""
    with tempfile.TemporaryDirectory(prefix="tandem-bench-") as folder:
        values = {"TANDEM_PROFILES_PATH": folder, "TANDEM_STATE": str(Path(folder) / "state")}
        given = [f"--large={models['llm']}", f"--small={models['slm']}"]
        prices = [f"--large-price={_PRICES['llm']}", f"--small-price={_PRICES['slm']}"]
        tandem = str(Path(sys.executable).with_name("tandem"))
        command = [tandem, "profile", "new", "--name", "bench", *given, *prices]
        subprocess.run(command, env=os.environ | values, check=True, stdout=subprocess.DEVNULL)
        with started_stack("bench", {"TANDEM_PROFILES_PATH": folder}) as stack, Client(stack.gateway) as client:
            yield client


def _asked(client: Client, questions: Sequence[str], width: int) -> list[tandem_pb2.SolveResult]:
    with ThreadPoolExecutor(width) as pool:
        asked = pool.map(lambda question: client.ask(question, code=True), questions)
        return list(track(asked, total=len(questions), description="questions"))


def _decisions(ours: Sequence[tandem_pb2.SolveResult], theirs: Sequence[tandem_pb2.SolveResult]) -> Figures:
    pairs = list(zip(ours, theirs, strict=True))
    return {
        "same_model": sum(a.answered_by == b.answered_by for a, b in pairs),
        "same_reason": sum(a.stop.reason == b.stop.reason for a, b in pairs),
        "same_answer": sum(a.answer == b.answer for a, b in pairs),
        "by_small_model_of_engines": sum(a.answered_by == tandem_pb2.ROLE_SLM for a in ours),
        "by_small_model_of_servers": sum(b.answered_by == tandem_pb2.ROLE_SLM for b in theirs),
        "usd_of_engines": sum(a.cost.usd for a in ours),
        "usd_of_servers": sum(b.cost.usd for b in theirs),
        "estimated": sum(b.usage.llm.is_estimated or b.usage.slm.is_estimated for b in theirs),
    }


def _tokens(usage: tandem_pb2.TokenUsage) -> Figures:
    generated = usage.output_tokens + usage.overrun_tokens + usage.discarded_tokens
    return {"prompt": usage.input_tokens, "generated": generated}


def _billed(results: Sequence[tandem_pb2.SolveResult], role: str) -> Figures:
    found = [_tokens(getattr(result.usage, role)) for result in results]
    return {name: sum(each[name] for each in found) for name in ("prompt", "generated")}


def _counted(url: str) -> Figures:
    """The server's own counters since it started; `prompt` without what it had cached."""
    names = {"prompt": "llamacpp:prompt_tokens_total", "generated": "llamacpp:tokens_predicted_total"}
    return {name: counter(url, metric) for name, metric in names.items()}


def _difference(after: Figures, before: Figures) -> Figures:
    return {name: after[name] - before[name] for name in after}


def _cut(client: Client, role: Literal["llm", "slm"], url: str) -> tuple[int, int, bool]:
    """Tokens of one cut stream as billed and as the server had generated them, and whether the bill says that it is an
    estimate.
    """
    most = 0 if role == "slm" else None  # of the large model's tokens
    request_id, before = f"cut-{role}-{time.time_ns()}", _counted(url)
    with closing(client.solve(_TALE, task="chat", request_id=request_id, max_llm_tokens=most)) as events:
        for event in events:
            if isinstance(event, InsightDelta | AnswerDelta) and event.tokens >= _CUT_AFTER:
                break
    while not (found := client.get(request_id)).HasField("result") or not _idle(url):
        time.sleep(0.1)
    usage: tandem_pb2.TokenUsage = getattr(found.result.usage, role)
    return _tokens(usage)["generated"], _difference(_counted(url), before)["generated"], usage.is_estimated


def _idle(url: str) -> bool:
    with urllib.request.urlopen(f"{url.removesuffix('/v1')}/slots") as reply:
        return not any(slot["is_processing"] for slot in json.load(reply))


def _summary(cuts: Sequence[tuple[int, int, bool]]) -> Figures:
    off = np.array([generated - billed for billed, generated, _ in cuts])
    return {
        "n": len(cuts),
        "generated_and_not_billed": {"p50": float(np.median(off)), "max": int(off.max()), "min": int(off.min())},
        "said_to_be_estimated": sum(estimated for *_, estimated in cuts),
    }


if __name__ == "__main__":
    main()
