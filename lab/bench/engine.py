"""The engines of a machine without a GPU: speed, start and memory of each, in turns, for one model.

`python -m lab.bench.engine --model slm`. Each round starts every engine in a process of its own, asks it for
everything, reads its memory and ends it, so that other load on the machine affects all alike. An interval is over the
rounds; no prompt is used twice.

int8, bfloat16 and float32 need the converted model (`tandem models pull --engine transformers`); float32 is for
processors without bfloat16.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray
from rich.progress import track

from lab.bench.common import Figures, default_profile, local_engine, report
from lab.bench.lines import LineProcess, answer_lines, line_process
from lab.training.datasets import load
from lab.training.metrics import Interval, bootstrap, ratio_of_means
from services.models.engine.tokenizer import FileTokenizer
from tandem.method.profile.profile import Model, Profile
from tandem.method.request.prompts import llm_alone_prompt
from tandem.paths import models_folder

_WIDTHS = (1, 8, 32)
_PREFILL = 512
_THREADS = 2
_ENGINES: dict[str, dict[str, Any]] = {
    "llamacpp": {"spec": "llamacpp"},
    "llamacpp-repacked": {"spec": "llamacpp", "repack": True},
    "int8": {"spec": "transformers", "quantization": "int8"},
    "bfloat16": {"spec": "transformers", "quantization": "none"},
    "float32": {"spec": "transformers", "quantization": "none", "dtype": "float32"},
}
Figure = dict[str, float]
"""By what was measured."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--generated", type=int, default=32, help="tokens of each sequence")
    arguments.add_argument("--model", choices=["llm", "slm"], default="slm", help="of the default pair")
    arguments.add_argument(
        "--engines", nargs="+", choices=list(_ENGINES), default=list(_ENGINES), help="the first is the baseline"
    )
    arguments.add_argument("--as-one-of-them", choices=list(_ENGINES), help=argparse.SUPPRESS)
    options = arguments.parse_args()
    profile = default_profile()
    model: Model = getattr(profile, options.model)
    if options.as_one_of_them:
        _serve(model, options.as_one_of_them)
        return
    rounds: dict[str, list[Figure]] = {name: [] for name in options.engines}
    prompts = _prompts(profile, model, options.rounds * sum(_WIDTHS))
    for _ in track(range(options.rounds), description=model.name):
        work = [list(islice(prompts, width)) for width in _WIDTHS]
        for name in options.engines:
            rounds[name].append(_measure(options.model, name, work, options.generated))
    settings = {"model": model.name, "threads": _THREADS, "rounds": options.rounds, "tokens_written": options.generated}
    report(f"engine-{options.model}", settings | _figures(rounds))


def _serve(model: Model, name: str) -> None:
    with local_engine(model, threads=_THREADS, max_batch=max(_WIDTHS), **_ENGINES[name]) as engine:
        answer_lines(engine)


def _prompts(profile: Profile, model: Model, count: int) -> Iterator[tuple[int, ...]]:
    tokenizer = FileTokenizer.load(models_folder() / model.name)
    items = load("math_train").sample(count, 2).items
    return (llm_alone_prompt(profile, item.request).encoded(tokenizer).ids for item in items)


def _measure(role: str, name: str, work: list[list[tuple[int, ...]]], generated: int) -> Figure:
    started = time.monotonic()
    with line_process([sys.executable, "-m", "lab.bench.engine", "--model", role, "--as-one-of-them", name]) as process:
        process.tokens_per_second([work[0][0][:20]], 4)
        figures = {"first_answer_seconds": time.monotonic() - started}
        figures["prefill_512"] = process.prefilled_per_second(_long(work))
        for prompts in work:
            figures[f"streams_{len(prompts)}"] = process.tokens_per_second(prompts, generated)
        return figures | _memory(process)


def _long(work: list[list[tuple[int, ...]]]) -> tuple[int, ...]:
    """_PREFILL tokens of this round's prompts, from behind, so that none of them begins alike."""
    ids = [token for prompts in work for prompt in reversed(prompts) for token in reversed(prompt)]
    return tuple(ids[:_PREFILL])


def _memory(process: LineProcess) -> Figure:
    """Of the process and its children, in MB: resident; and the part that no other process can share."""
    whole = psutil.Process(process.pid)
    found = [_status(each.pid) for each in (whole, *whole.children(recursive=True))]
    return {
        f"{name}_mb": sum(int(status[key].split()[0]) for status in found) / 1000
        for name, key in (("resident", "VmRSS"), ("own", "RssAnon"))
    }


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def _figures(rounds: Mapping[str, list[Figure]]) -> Figures:
    columns = {name: {key: np.array([each[key] for each in rows]) for key in rows[0]} for name, rows in rounds.items()}
    [baseline, *others] = columns
    return {
        "means": {name: {key: vars(_mean(values)) for key, values in by.items()} for name, by in columns.items()},
        f"relative_to_{baseline}": {
            name: {key: vars(ratio_of_means(values, columns[baseline][key])) for key, values in columns[name].items()}
            for name in others
        },
    }


def _mean(values: NDArray[np.float64]) -> Interval:
    return bootstrap(lambda rows: float(values[rows].mean()), len(values))


if __name__ == "__main__":
    main()
