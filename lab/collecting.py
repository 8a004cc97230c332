"""Long collections of what models write: line by line into a file, so that one can be cut and go on, with what it is
made with beside it.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, Protocol, TypeVar

from lab.training.errors import StoreError
from services.models.engine.batch import run_all

_REPORT_SECONDS = 30.0


class Named(Protocol):
    @property
    def id(self) -> str: ...


A = TypeVar("A")
N = TypeVar("N", bound=Named)


def whole_lines(path: Path) -> list[str]:
    """None where there is no file. A line that a kill cut is taken off the file."""
    if not path.exists():
        return []
    whole, _, cut = path.read_text().rpartition("\n")
    if cut:
        path.write_text(whole + "\n" if whole else "")
    return whole.splitlines()


def lines_in_log(path: Path) -> Callable[[int, int], None]:
    """Says every half minute how far a collection is."""
    began, reported = time.monotonic(), 0.0

    def report(done: int, total: int) -> None:
        nonlocal reported
        if time.monotonic() - reported > _REPORT_SECONDS:
            reported = time.monotonic()
            print(f"{path.name}: {done} of {total}, {reported - began:.0f} s", flush=True)

    return report


async def append_each(
    path: Path,
    items: Sequence[A],
    work: Callable[[A], Coroutine[Any, Any, Any]],
    width: int,
    done: int = 0,
    report: Callable[[int, int], None] | None = None,
) -> None:
    """Append to `path`, as JSON, what `work` makes of each item, as it comes; None is no line. `done`: lines that the
    file has. `report` is told of lines and their total; by default a log is.
    """
    total, report = done + len(items), report or lines_in_log(path)
    with path.open("a") as file:
        async with aclosing(run_all(work, items, width)) as found:
            async for line in found:
                if line is None:
                    total -= 1
                    continue
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
                file.flush()
                done += 1
                report(done, total)


def in_order_of_chance(items: Iterable[N]) -> list[N]:
    """The same in each run, so that a part is a sample of all."""
    return sorted(items, key=lambda item: hashlib.sha256(item.id.encode()).digest())


def keep_origin(origin: Mapping[str, Any], lines: Path) -> None:
    """Write, beside `lines`, what they are made with; the command may differ from what stands there. Raises
    StoreError.
    """
    path = lines.with_suffix(".origin.json")
    if path.exists():
        before = json.loads(path.read_text())
        if other := [name for name, value in origin.items() if name != "command" and before.get(name) != value]:
            raise StoreError(f"{path} names another {', '.join(other)}: choose another --out, or move it away")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(origin, indent=1) + "\n")
