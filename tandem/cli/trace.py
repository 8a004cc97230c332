"""tandem trace"""

from __future__ import annotations

import io
import os
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tandem.cli.output import JsonFlag, console, console_error, print_json
from tandem.cli.parts import new_app
from tandem.cli.tables import print_table
from tandem.client.clients import Client
from tandem.errors import RequestError
from tandem.paths import read_stack
from tandem.tracing.jaeger import Span, Trace, fetch_recent, fetch_trace


class Grouping(StrEnum):
    TENANT = "tenant"
    PROFILE = "profile"
    STOP_STAGE = "stop.stage"
    STOP_REASON = "stop.reason"


_ATTRIBUTE = {
    Grouping.TENANT: "tandem.tenant.id",
    Grouping.PROFILE: "tandem.profile",
    Grouping.STOP_STAGE: "tandem.stop.stage",
    Grouping.STOP_REASON: "tandem.stop.reason",
}
app = new_app(no_args_is_help=True)
_DEFAULT_JAEGER = "http://127.0.0.1:16686"
_LAST = 20
_DRAWING_WIDTH = 130
_TRACE_ID = re.compile(r"[0-9a-f]{32}")


@app.callback()
def trace() -> None:
    """Read traces."""


@app.command()
def cost(
    request: Annotated[str, typer.Argument(metavar="[REQUEST|TRACE]", help="A request's id, or a trace id.")] = "",
    last: Annotated[int | None, typer.Option(min=1, help="The last N requests, one row each.")] = None,
    by: Annotated[Grouping | None, typer.Option(help="Group the last requests by this.")] = None,
    svg: Annotated[Path | None, typer.Option(help="Also write the tree to this file as SVG.")] = None,
    jaeger: Annotated[
        str, typer.Option(help="Jaeger's query address; default: TANDEM_JAEGER, else the local stack's.")
    ] = "",
    json: JsonFlag = False,
) -> None:
    """Show what each step of a request cost. Exit code 1 if the steps do not add up to the bill."""
    if bool(request) == bool(last or by):
        raise typer.BadParameter("give one request or trace, or --last N [--by ...]")
    address = jaeger or os.environ.get("TANDEM_JAEGER") or (read_stack() or {}).get("jaeger") or _DEFAULT_JAEGER
    if not request:
        _recent(fetch_recent(address, last or _LAST), by, json)
        return
    found = fetch_trace(address, _trace_id(request))
    if svg:
        _draw(found, svg)
    if json:
        print_json(_as_dict(found))
    else:
        print_table(_tree(found), optional=("service", "cached", "prompt"))
        console.print(_verdict(found))
    if not found.adds_up:
        console_error("the steps of this trace do not add up to its bill")
        raise typer.Exit(1)


def _draw(trace: Trace, file: Path) -> None:
    canvas = Console(width=_DRAWING_WIDTH, highlight=False, record=True, file=io.StringIO())
    canvas.print(_tree(trace))
    canvas.print(_verdict(trace))
    file.parent.mkdir(parents=True, exist_ok=True)
    canvas.save_svg(str(file), title=f"tandem trace cost {trace.id}")


def _recent(traces: list[Trace], by: Grouping | None, json: bool) -> None:
    rows = _grouped(traces, by) if by else [_row(trace) for trace in traces]
    if json:
        print_json(rows)
    else:
        table = Table(*rows[0], box=None)
        for row in rows:
            table.add_row(*(f"{v:.8f}" if isinstance(v, float) else str(v) for v in row.values()))
        print_table(table, optional=("profile", "tenant", "reason"))
    wrong = [trace.id for trace in traces if not trace.adds_up]
    if wrong:
        console_error(f"the steps of {len(wrong)} traces do not add up to their bills: {', '.join(wrong)}")
        raise typer.Exit(1)


def _row(trace: Trace) -> dict[str, Any]:
    return {
        "trace": trace.id,
        "profile": trace.tag("tandem.profile"),
        "tenant": trace.tag("tandem.tenant.id"),
        "stage": trace.tag("tandem.stop.stage"),
        "reason": trace.tag("tandem.stop.reason"),
        "steps USD": trace.leaf_usd,
        "bill USD": trace.total_usd,
        "adds up": "yes" if trace.adds_up else "NO",
    }


def _grouped(traces: list[Trace], by: Grouping) -> list[dict[str, Any]]:
    groups: dict[str, list[Trace]] = {}
    for trace in traces:
        groups.setdefault(trace.tag(_ATTRIBUTE[by]) or "(none)", []).append(trace)
    rows = []
    for name, group in sorted(groups.items()):
        bills = [trace.total_usd or 0.0 for trace in group]
        answered = [trace for trace in group if trace.tag("tandem.cost.saved")]
        alone = sum(float(trace.tag("tandem.cost.llm_alone")) for trace in answered)
        rows.append(
            {
                by.value: name,
                "requests": len(group),
                "USD": sum(bills),
                "mean USD": sum(bills) / len(bills),
                "saved": f"{sum(float(trace.tag('tandem.cost.saved')) for trace in answered) / alone:+.0%}"
                if alone
                else "",
                "add up": sum(trace.adds_up for trace in group),
            }
        )
    return rows


def _trace_id(given: str) -> str:
    """Return the trace id of a request, from the gateway; an unknown request may be a trace id itself."""
    with Client() as client:
        try:
            return client.get(given).result.trace_id
        except RequestError:
            if _TRACE_ID.fullmatch(given):
                return given
            raise


def _tree(trace: Trace) -> Table:
    table = Table("span", "service", "prompt", "cached", "completion", "USD", "ms", box=None)
    for depth, span in trace.spans():
        if span.usd_below == 0 and not span.tags.get("tandem.cost.total"):
            continue  # neither the step nor a step below it has a cost
        usage = [
            span.tags.get(f"gen_ai.usage.{k}", "") for k in ("input_tokens", "cache_read.input_tokens", "output_tokens")
        ]
        style = "bold green" if span.usd else "dim"
        table.add_row(
            Text("  " * depth + _label(span), style=style),
            span.service.removeprefix("tandem-"),
            *(str(value) for value in usage),
            f"{span.usd:.8f}" if span.usd else f"({span.usd_below:.8f})" if span.usd_below else "",
            f"{span.duration * 1000:.1f}",
        )
    return table


def _label(span: Span) -> str:
    stage, attempt = span.tags.get("tandem.stage"), span.tags.get("tandem.attempt", 1)
    extra = "" if stage is None else f" stage {stage}"
    extra += f" attempt {attempt}" if attempt != 1 and span.usd else ""
    return span.name + extra + (" (lost with its process)" if span.tags.get("tandem.lost") else "")


def _verdict(trace: Trace) -> Text:
    if trace.is_unpriced:
        return Text(f"priced steps {trace.leaf_usd:.8f} USD; the price of a model is not known", style="yellow")
    total = "no total on the trace" if trace.total_usd is None else f"bill {trace.total_usd:.8f} USD"
    sign = "=" if trace.adds_up else "≠"
    return Text(f"steps {trace.leaf_usd:.8f} USD {sign} {total}", style="bold green" if trace.adds_up else "bold red")


def _as_dict(trace: Trace) -> dict[str, Any]:
    spans = [
        {
            "depth": depth, "name": span.name, "service": span.service, "usd": span.usd, "usd_below": span.usd_below,
            "ms": span.duration * 1000, "attributes": span.tags,
        }
        for depth, span in trace.spans()
    ]  # fmt: skip
    return {
        "trace_id": trace.id,
        "leaf_usd": trace.leaf_usd,
        "total_usd": trace.total_usd,
        "adds_up": trace.adds_up,
        "roots": len(trace.roots),
        "spans": spans,
    }
