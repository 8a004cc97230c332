"""Tokens a second that each model of the pair reads, reads out of its cache, and writes, by the number of sequences at
once.

`make bench-rates`, through the engine that serves. `--write` (`make bench-rates WRITE=1`) puts the rates of ONE
sequence into the profile: they are the seconds that a request alone takes, which is what its caller waits for. In a
batch a token costs less of the device's time; how many sequences share it depends on the load, which no profile knows.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import chain, count, islice

from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table

from lab.bench.common import Figures, default_profile, local_engine, save
from lab.training.ship import ship_rates
from services.models.engine.api import Engine, GenerationRequest, Token
from tandem.local.layout import engine_threads
from tandem.method.profile.prices import Rates, RoleRates
from tandem.method.profile.profile import Model

WIDTHS = 1, 8, 32
_READ, _WRITTEN, _FRESH = 128, 32, 16
"""Tokens of a prompt, of an answer, and of a prompt's end that no cache holds."""


@dataclass(frozen=True)
class Measured:
    """Tokens a second of all sequences together: medians over the rounds."""

    role: str
    model: str
    width: int
    input: float
    cached_input: float
    output: float


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--widths", type=int, nargs="+", default=list(WIDTHS))
    arguments.add_argument("--threads", type=int, default=engine_threads())
    arguments.add_argument("--write", action="store_true", help="write the rates of one sequence into the profile")
    given = arguments.parse_args()
    profile = default_profile()
    if given.write and 1 not in given.widths:
        raise SystemExit("--write needs the rates of one sequence: measure width 1 too")
    with Progress(console=Console(stderr=True), transient=True) as progress:
        engine_used = ""
        step = progress.add_task("", total=2 * given.rounds * len(given.widths))
        measured = list[Measured]()
        for role, model in (("llm", profile.llm), ("slm", profile.slm)):
            with local_engine(model, threads=given.threads, max_batch=max(given.widths)) as engine:
                engine_used = f"{engine.info.engine} {engine.info.dtype}"
                for width in given.widths:
                    progress.update(step, description=f"{model.name}, {width} at once")
                    rounds = [asyncio.run(_round(engine, width)) for _ in _advancing(given.rounds, progress, step)]
                    measured.append(_median(role, model, width, rounds))
    save("rates", {"engine": engine_used, **_figures(measured, given.rounds, given.threads)})
    Console().print(_table(measured))
    if given.write:
        ship_rates(profile, rates_of(measured, f"{datetime.now(UTC):%Y-%m-%d} {platform.machine()} {engine_used}"))
        Console().print(f"written to {profile.folder}")


def rates_of(measured: Sequence[Measured], version: str) -> Rates:
    """Those of one sequence; a scoring pass reads as fast as the small model. Raises StopIteration without that
    width.
    """
    llm, slm = (
        next(RoleRates(m.input, m.cached_input, m.output) for m in measured if (m.role, m.width) == (role, 1))
        for role in ("llm", "slm")
    )
    return Rates(version, {"llm": llm, "slm": slm, "scorer": slm})


async def _round(engine: Engine, width: int) -> tuple[float, float, float]:
    """Tokens a second that are read, read out of the cache, and written, by `width` sequences at once."""
    prompts = list(islice(_unique_prompts(engine), width))
    read = await _seconds(engine, prompts, 1)
    fresh = await _seconds(engine, [prompt[:_FRESH] for prompt in islice(_unique_prompts(engine), width)], 1)
    for prompt in prompts:
        await _seconds(engine, [prompt[:-_FRESH]], 0)
    # What the fresh end takes is taken off; what is left can be within the noise, and then counts as next to nothing.
    cached = max(await _seconds(engine, prompts, 1) - fresh, 1e-6)
    times = await _token_times(engine, [prompt[:_FRESH] for prompt in islice(_unique_prompts(engine), width)])
    written = (len(times) - width) / (times[-1] - times[width - 1])
    return width * _READ / read, width * (_READ - _FRESH) / cached, written


async def _seconds(engine: Engine, prompts: Sequence[tuple[int, ...]], new_tokens: int) -> float:
    started = time.perf_counter()
    await asyncio.gather(*(_stream(engine, prompt, new_tokens) for prompt in prompts))
    return time.perf_counter() - started


async def _token_times(engine: Engine, prompts: Sequence[tuple[int, ...]]) -> list[float]:
    """Unix seconds of all sequences' tokens, in order."""
    return sorted(chain(*await asyncio.gather(*(_stream(engine, prompt, _WRITTEN) for prompt in prompts))))


async def _stream(engine: Engine, prompt: tuple[int, ...], new_tokens: int) -> list[float]:
    request = GenerationRequest(f"rates-{next(_numbers)}", prompt, new_tokens)
    return [item.generated_at async for item in engine.generate(request) if isinstance(item, Token)]


_numbers = count()


def _unique_prompts(engine: Engine) -> Iterator[tuple[int, ...]]:
    """Of _READ tokens each; their first tokens differ, so none begins as another does."""
    while True:
        text = (
            f"{next(_numbers)} {time.perf_counter_ns()}: write down every whole number from one. "
            + "one two three " * _READ
        )
        yield tuple(engine.tokenizer.encode(text)[:_READ])


def _advancing(rounds: int, progress: Progress, step: TaskID) -> Iterator[int]:
    for number in range(rounds):
        yield number
        progress.advance(step)


def _median(role: str, model: Model, width: int, rounds: Sequence[tuple[float, float, float]]) -> Measured:
    found = (statistics.median(each) for each in zip(*rounds, strict=True))
    return Measured(role, model.name, width, *found)


def _figures(measured: Sequence[Measured], rounds: int, threads: int) -> Figures:
    return {"rounds": rounds, "threads": threads, "rates": [asdict(each) for each in measured]}


def _table(measured: Sequence[Measured]) -> Table:
    table = Table("model", "at once", "read /s", "cached /s", "written /s", "written /s each", box=None)
    for each in measured:
        numbers = (each.input, each.cached_input, each.output, each.output / each.width)
        table.add_row(each.role, str(each.width), *(f"{number:,.1f}" for number in numbers))
    return table


if __name__ == "__main__":
    main()
