"""Tokens a second that each model of the pair reads, reads out of its cache, and writes, for one sequence.

`make bench-rates`, through the engine that serves. `--write` (`make bench-rates WRITE=1`) puts them into the profile:
they are the seconds that a request alone takes, which is what its caller waits for. In a batch a token costs less of
the device's time; how many sequences share it depends on the load, which no profile knows.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import count

from lab.bench.common import default_profile, local_engine, report
from lab.training.ship import ship_rates
from services.models.engine.api import Engine, GenerationRequest, Token
from tandem.local.layout import engine_threads
from tandem.method.profile.prices import Rates, RoleRates

_READ, _WRITTEN, _FRESH = 128, 32, 16
"""Tokens of a prompt, of an answer, and of a prompt's end that no cache holds."""
_numbers = count()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--threads", type=int, default=engine_threads())
    arguments.add_argument("--write", action="store_true", help="write the rates into the profile")
    given = arguments.parse_args()
    profile, measured, engine_used = default_profile(), dict[str, RoleRates](), ""
    for role, model in (("llm", profile.llm), ("slm", profile.slm)):
        with local_engine(model, threads=given.threads, max_batch=1) as engine:
            engine_used = f"{engine.info.engine} {engine.info.dtype}"
            rounds = [asyncio.run(_round(engine)) for _ in range(given.rounds)]
        measured[role] = RoleRates(*(statistics.median(each) for each in zip(*rounds, strict=True)))
    facts = {"engine": engine_used, "rounds": given.rounds, "threads": given.threads}
    report("rates", facts | {"rates": {role: asdict(rates) for role, rates in measured.items()}})
    if given.write:
        ship_rates(profile, rates_of(measured, f"{datetime.now(UTC):%Y-%m-%d} {platform.machine()} {engine_used}"))
        print(f"written to {profile.folder}")


def rates_of(measured: Mapping[str, RoleRates], version: str) -> Rates:
    """A scoring pass reads as fast as the small model."""
    return Rates(version, {**measured, "scorer": measured["slm"]})


async def _round(engine: Engine) -> tuple[float, float, float]:
    """Tokens a second that are read, read out of the cache, and written."""
    prompts = _unique_prompts(engine)
    prompt = next(prompts)
    read = await _seconds(engine, prompt, 1)
    fresh = await _seconds(engine, next(prompts)[:_FRESH], 1)
    await _seconds(engine, prompt[:-_FRESH], 0)
    # What the fresh end takes is taken off; what is left can be within the noise, and then counts as next to nothing.
    cached = max(await _seconds(engine, prompt, 1) - fresh, 1e-6)
    times = await _stream(engine, next(prompts)[:_FRESH], _WRITTEN)
    return _READ / read, (_READ - _FRESH) / cached, (len(times) - 1) / (times[-1] - times[0])


async def _seconds(engine: Engine, prompt: tuple[int, ...], new_tokens: int) -> float:
    started = time.perf_counter()
    await _stream(engine, prompt, new_tokens)
    return time.perf_counter() - started


async def _stream(engine: Engine, prompt: tuple[int, ...], new_tokens: int) -> list[float]:
    """Unix seconds of each token."""
    request = GenerationRequest(f"rates-{next(_numbers)}", prompt, new_tokens)
    return [item.generated_at async for item in engine.generate(request) if isinstance(item, Token)]


def _unique_prompts(engine: Engine) -> Iterator[tuple[int, ...]]:
    """Of _READ tokens each; their first tokens differ, so none begins as another does."""
    while True:
        text = (
            f"{next(_numbers)} {time.perf_counter_ns()}: write down every whole number from one. "
            + "one two three " * _READ
        )
        yield tuple(engine.tokenizer.encode(text)[:_READ])


if __name__ == "__main__":
    main()
