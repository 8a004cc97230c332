"""All lines of a file as admitted requests, before anything is paid: one bad line refuses the whole file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from services.gateway.batches.lines import BadLine, parse
from services.shared.file_store.paths import requests_path
from services.shared.file_store.records import write_page
from services.shared.file_store.store import FileStore
from services.shared.identity.caller import Caller, Owned
from tandem.method.cost.allowance import most_usd
from tandem.method.errors import FailedPrecondition, InvalidArgument, TandemError
from tandem.method.names import batched_id
from tandem.method.request.batch import PAGE_SIZE, AdmittedLine
from tandem.method.request.job import Job
from tandem.v1 import tandem_pb2

MOST_LINES = 50_000
_SHOWN_PROBLEMS = 10

RequireAllowed = Callable[[Caller], None]
"""Raises FailedPrecondition where no batch of this caller can be admitted, whatever its lines."""


@dataclass(frozen=True, slots=True)
class Start:
    """What a request's workflow is started with. `fairness_key`: by what work takes turns in Temporal's queues; empty:
    it does not.
    """

    input: Job
    memo: dict[str, Any]
    fairness_key: str = ""


Admit = Callable[[tandem_pb2.SolveRequest, Caller], Start]
"""A request of a caller, as its workflow is started.

Raises FailedPrecondition where its tenant may have no batch, and another TandemError where the request is refused.
"""


@dataclass(frozen=True, slots=True)
class AdmittedBatch:
    """What all lines have in common."""

    profile: str
    total: int


class BatchAdmission:
    """Admits the lines of one file for `batch`, whose requests have ids derived from its own. `limits_usd`: one budget
    is for all.
    """

    def __init__(self, admit: Admit, caller: Caller, batch: Owned, *, limits_usd: bool = False) -> None:
        self._admit, self._caller, self._batch, self._limits_usd = admit, caller, batch, limits_usd
        self._names: set[str] = set()
        self._problems: list[str] = []
        self._profile, self._total = "", 0

    def lines(self, content: Iterable[bytes]) -> Iterator[AdmittedLine]:
        """Yield those that are admitted; when all are read, `admitted` says whether all were. Raises
        FailedPrecondition as `Admit`.
        """
        for number, text in enumerate(content, 1):
            if not text.strip():
                continue
            if self._total == MOST_LINES:
                raise InvalidArgument(f"a batch has at most {MOST_LINES} lines", field="input_file_id")
            self._total += 1
            try:
                yield self._line(number, text)
            except BadLine as error:
                self._problems.append(f"line {number}: {error}")
            except FailedPrecondition:  # no line is bad: its tenant may have no batch
                raise
            except TandemError as error:
                field = f"{error.metadata['field']}: " if error.metadata.get("field") else ""
                self._problems.append(f"line {number}: {field}{error}")

    def admitted(self) -> AdmittedBatch:
        """Raises InvalidArgument that names the lines that were refused."""
        if self._problems:
            shown = self._problems[:_SHOWN_PROBLEMS]
            more = len(self._problems) - len(shown)
            count = f"{len(self._problems)} of {self._total} lines are refused, so nothing is asked"
            raise InvalidArgument(
                "\n".join([f"{count}:", *shown, *([f"and {more} more"] if more else [])]),
                field="input_file_id",
                reason="BAD_LINES",
            )
        if not self._total:
            raise InvalidArgument("the file has no lines", field="input_file_id", reason="BAD_LINES")
        return AdmittedBatch(self._profile, self._total)

    def _line(self, number: int, text: bytes) -> AdmittedLine:
        line = parse(text)
        name = line.custom_id or str(number)
        if name in self._names:
            raise BadLine(f"another line is called {name!r}")
        self._names.add(name)
        line.request.request_id = batched_id(self._batch.id, self._total)
        start = self._admit(line.request, self._caller)
        task = start.input
        self._profile = self._profile or task.plan.profile
        if task.plan.profile != self._profile:
            raise BadLine(f"a batch is for one profile: {self._profile}, not {task.plan.profile}")
        if self._limits_usd:
            task.plan.prices.require_known("max_cost_usd")
        metadata = dict(line.metadata)
        return AdmittedLine(
            self._total, name, line.form, metadata, most_usd(task), task, start.memo, start.fairness_key
        )


def write_pages(store: FileStore, folder: str, content: Iterable[bytes], admission: BatchAdmission) -> AdmittedBatch:
    """Admit the lines and write them, page by page; nothing stays where one is refused. Raises as `BatchAdmission`."""
    lines, pages = admission.lines(content), 0
    try:
        while page := list(islice(lines, PAGE_SIZE)):
            write_page(store, folder, pages, page)
            pages += 1
        return admission.admitted()
    except BaseException:
        for page_number in range(pages):
            store.delete(requests_path(folder, page_number))
        raise
