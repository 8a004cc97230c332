from __future__ import annotations

import os
import re
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tandem.cli.output import JsonFlag, console, console_error, print_json
from tandem.client import Client
from tandem.errors import RequestError
from tandem.jaeger import Span, Trace, fetch_trace
from tandem.paths import read_stack

app = typer.Typer(no_args_is_help=True)
_DEFAULT_JAEGER = "http://127.0.0.1:16686"
_TABLE_WIDTH = 150  # a tree that is cut says nothing; a narrow terminal wraps it
_TRACE_ID = re.compile(r"[0-9a-f]{32}")


@app.callback()
def trace() -> None:
    """Read traces."""


@app.command()
def cost(
    request: Annotated[str, typer.Argument(metavar="REQUEST|TRACE", help="A request's id, or a trace id.")],
    jaeger: Annotated[str, typer.Option(help="Jaeger's query address; TANDEM_JAEGER if not given.")] = "",
    json: JsonFlag = False,
) -> None:
    """Show what each step of a request cost, and prove that the steps add up to the bill (exit code 1 if not)."""
    address = jaeger or os.environ.get("TANDEM_JAEGER") or (read_stack() or {}).get("jaeger") or _DEFAULT_JAEGER
    found = fetch_trace(address, _trace_id(request))
    if json:
        print_json(_as_dict(found))
    else:
        Console(width=max(console.width, _TABLE_WIDTH), highlight=False).print(_tree(found))
        console.print(_verdict(found))
    if not found.adds_up:
        console_error("the steps of this trace do not add up to its bill")
        raise typer.Exit(1)


def _trace_id(given: str) -> str:
    """The trace of a request, as the gateway knows it; what it does not know may be a trace id itself."""
    with Client() as client:
        try:
            return client.get(given).result.trace_id
        except RequestError:
            if _TRACE_ID.fullmatch(given):
                return given
            raise


def _tree(trace: Trace) -> Table:
    table = Table("span", "service", "read", "cached", "written", "USD", "ms", box=None)
    for depth, span in trace.spans():
        if span.usd_below == 0 and not span.tags.get("tandem.cost.total"):
            continue  # steps without cost below them say nothing about money
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
