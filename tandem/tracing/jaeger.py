"""The trace of a request from Jaeger's query API, and the sum of its costs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import urlopen

from tandem.errors import UserError

_TIMEOUT_SECONDS = 10
GATEWAY, SOLVE = "tandem-gateway", "/tandem.v1.TandemService/Solve"
_COST = "gen_ai.usage.cost.amount"
# Amounts in USD are sums of products of floats: differences below a picodollar are rounding.
_TOLERANCE = 1e-12


class TraceError(UserError):
    """A trace cannot be fetched; the message says what to do."""


@dataclass(slots=True)
class Span:
    """One span; `start` and `duration` in seconds, `tags` its attributes."""

    id: str
    name: str
    service: str
    start: float
    duration: float
    parent: str
    tags: dict[str, Any]
    children: list[Span] = field(default_factory=list)

    @property
    def usd(self) -> float:
        """Cost of this span itself; only leaves have one."""
        return float(self.tags.get(_COST, 0.0))

    @property
    def usd_below(self) -> float:
        return self.usd + sum(child.usd_below for child in self.children)

    def walk(self, depth: int = 0) -> Iterator[tuple[int, Span]]:
        yield depth, self
        for child in sorted(self.children, key=lambda span: span.start):
            yield from child.walk(depth + 1)


@dataclass(frozen=True, slots=True)
class Trace:
    """A tree of spans. More than one root means that parents are missing."""

    id: str
    roots: tuple[Span, ...]

    def spans(self) -> Iterator[tuple[int, Span]]:
        for root in sorted(self.roots, key=lambda span: span.start):
            yield from root.walk()

    @property
    def leaf_usd(self) -> float:
        return sum(span.usd for _, span in self.spans())

    @property
    def total_usd(self) -> float | None:
        """The bill on the gateway's span, or on the worker's if the client has gone; None when the trace has
        neither.
        """
        totals = [span.tags["tandem.cost.total"] for _, span in self.spans() if "tandem.cost.total" in span.tags]
        return float(totals[0]) if totals else None

    def tag(self, name: str) -> str:
        """Return an attribute of the root, such as tandem.profile; empty where no span has it."""
        return next((str(span.tags[name]) for _, span in self.spans() if name in span.tags), "")

    @property
    def is_unpriced(self) -> bool:
        """The price of a model that was used is not known: there is no bill to compare the steps with."""
        return self.total_usd is None and self.tag("tandem.cost.bucket") == "unknown"

    @property
    def adds_up(self) -> bool:
        return self.is_unpriced or (self.total_usd is not None and abs(self.leaf_usd - self.total_usd) <= _TOLERANCE)


def fetch_trace(jaeger: str, trace_id: str) -> Trace:
    """Return the trace with this id (32 hexadecimal digits) from Jaeger at `jaeger` (http://host:16686). Raises
    TraceError.
    """
    found = _get(jaeger, f"/api/traces/{quote(trace_id)}")
    if not found:
        raise TraceError(
            f"Jaeger has no trace {trace_id}: was OTEL_EXPORTER_OTLP_ENDPOINT set when the system was started?"
        )
    return parse_trace(found[0])


def fetch_recent(jaeger: str, count: int) -> list[Trace]:
    """Return the traces of the last `count` requests, newest first. Raises TraceError when there is none."""
    query = urlencode({"service": GATEWAY, "operation": SOLVE, "limit": count, "lookback": "custom",
                       "start": 0, "end": int(time.time() * 1e6)})  # fmt: skip
    found = [parse_trace(data) for data in _get(jaeger, f"/api/traces?{query}")]
    if not found:
        raise TraceError(f"Jaeger at {jaeger} has no request yet")
    return sorted(found, key=lambda trace: trace.roots[0].start, reverse=True)


def answers(jaeger: str) -> bool:
    """Tell whether a Jaeger answers at this address."""
    try:
        _get(jaeger, "/api/services")
    except TraceError:
        return False
    return True


def _get(jaeger: str, path: str) -> list[dict[str, Any]]:
    """Return the `data` of a reply; empty for a 404."""
    url = f"{jaeger.rstrip('/')}{path}"
    try:
        with urlopen(url, timeout=_TIMEOUT_SECONDS) as reply:
            return json.load(reply)["data"] or []
    except HTTPError as error:
        if error.code != 404:
            raise TraceError(f"Jaeger at {jaeger} answers {error.code} to {url}") from error
        return []
    except (URLError, OSError, ValueError) as error:
        raise TraceError(f"Jaeger at {jaeger} does not answer ({error}); set TANDEM_JAEGER to its address") from error


def parse_trace(data: dict[str, Any]) -> Trace:
    """Read one element of `data` in a reply of /api/traces."""
    services = {key: process["serviceName"] for key, process in data["processes"].items()}
    spans = {raw["spanID"]: _span(raw, services) for raw in data["spans"]}
    roots = []
    for span in spans.values():
        if span.parent in spans:
            spans[span.parent].children.append(span)
        else:
            roots.append(span)
    return Trace(data["traceID"], tuple(roots))


def _span(raw: dict[str, Any], services: dict[str, str]) -> Span:
    parents = [r["spanID"] for r in raw.get("references", []) if r["refType"] == "CHILD_OF"]
    return Span(
        id=raw["spanID"],
        name=raw["operationName"],
        service=services[raw["processID"]],
        start=raw["startTime"] / 1e6,
        duration=raw["duration"] / 1e6,
        parent=parents[0] if parents else "",
        tags={tag["key"]: tag["value"] for tag in raw["tags"]},
    )
