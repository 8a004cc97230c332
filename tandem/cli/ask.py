from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Annotated

import grpc
import typer

from tandem.cli.output import JsonFlag, console, print_json
from tandem.cli.parts import needs
from tandem.cli.view import LiveView
from tandem.client import Client, solve_request
from tandem.errors import RequestError
from tandem.paths import read_stack
from tandem.results import to_dict
from tandem.v1 import tandem_pb2


def ask(
    question: Annotated[str, typer.Argument(help="The question; '-' reads it from standard input.")],
    profile: Annotated[str, typer.Option(help="Pair of models; the gateway's default if not given.")] = "",
    request_id: Annotated[str, typer.Option(help="Idempotency key: a repeated one joins, and never pays twice.")] = "",
    threshold: Annotated[list[str] | None, typer.Option(help="Stop threshold 0..1, for all stages or as STAGE=VALUE; repeatable.")] = None,
    max_stage: Annotated[int | None, typer.Option(min=0, help="Last stage that the large model may write.")] = None,
    max_cost: Annotated[float | None, typer.Option(help="Most that the bill may be, in USD.")] = None,
    max_llm_tokens: Annotated[int | None, typer.Option(min=0, help="Most tokens that the large model may write.")] = None,
    temperature: Annotated[float | None, typer.Option(help="0 is greedy (the default).")] = None,
    top_p: Annotated[float | None, typer.Option(help="Nucleus, in (0, 1].")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the draw.")] = None,
    tenant: Annotated[str, typer.Option(help="Whom the request is for; requests can be searched for by it.")] = "",
    code: Annotated[bool, typer.Option(help="The question is the head of a Python function; the answer is its code.")] = False,
    detach: Annotated[bool, typer.Option(help="Print the request id and leave; `tandem request follow ID` reads it.")] = False,
    up: Annotated[bool, typer.Option("--up", help="Start the local stack for this question if none is up, and stop it after.")] = False,
    json: JsonFlag = False,
) -> None:  # fmt: skip
    """Ask a question and watch the two models answer it. Ctrl-C cancels the request and still shows its bill."""
    every, single = _thresholds(threshold or [])
    request = solve_request(
        sys.stdin.read().strip() if question == "-" else question,
        profile=profile,
        request_id=request_id,
        threshold=every,
        thresholds=single,
        max_stage=max_stage,
        max_cost_usd=max_cost,
        max_llm_tokens=max_llm_tokens,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        keep_running=detach,
        tenant=tenant,
        code=code,
    )
    with _traced(), _stack_for(up, profile, quiet=json), Client() as client:
        if detach:
            _start(client, request, json)
        else:
            follow(client, request, json)


def follow(client: Client, request: tandem_pb2.SolveRequest, json: bool) -> None:
    """Read a request to its end and print it; Ctrl-C cancels it and reads on to the bill."""
    view = LiveView(console)
    ctrl_c = _leaves() if request.keep_running else _cancels(client, request.request_id)
    with ctrl_c:
        result = _read(client.solve_request(request), view, json)
    if json:
        print_json(to_dict(result))
    elif jaeger := (read_stack() or {}).get("jaeger"):
        console.print(
            f"trace    {jaeger}/trace/{result.trace_id}   `tandem trace cost {result.request_id}`", soft_wrap=True
        )
    if result.stop.reason == tandem_pb2.STOP_REASON_CANCELLED:
        raise typer.Exit(1)


@contextlib.contextmanager
def _leaves() -> Iterator[None]:
    """Ctrl-C of one who only looks on."""
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(1) from None


@contextlib.contextmanager
def _cancels(client: Client, request_id: str) -> Iterator[None]:
    """The first Ctrl-C cancels the request, whose stream goes on to its bill; the second breaks off at once.

    No KeyboardInterrupt for the first: raised inside gRPC it may leave a lock of the channel held for ever.
    """

    def cancel(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        threading.Thread(target=_cancel_when_known, args=(client, request_id), daemon=True).start()

    before = signal.signal(signal.SIGINT, cancel)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _cancel_when_known(client: Client, request_id: str) -> None:
    """A request that was only just sent may not be known yet."""
    for _ in range(20):
        try:
            client.cancel(request_id)
            return
        except RequestError as error:
            if error.code is not grpc.StatusCode.NOT_FOUND:
                return  # the stream ends with the same error
            time.sleep(0.1)


def _read(events: Iterator[tandem_pb2.SolveEvent], view: LiveView, json: bool) -> tandem_pb2.SolveResult:
    result = tandem_pb2.SolveResult()
    for event in events:
        if not json:
            view.show(event)
        if event.HasField("completed"):
            result = event.completed
    return result


def _start(client: Client, request: tandem_pb2.SolveRequest, json: bool) -> None:
    accepted = next(client.solve_request(request)).accepted
    if json:
        print_json(to_dict(accepted))
    else:
        console.print(accepted.request_id)


def _thresholds(values: list[str]) -> tuple[float | None, dict[int, float]]:
    every, single = None, {}
    for value in values:
        stage, is_single, number = value.rpartition("=")
        try:
            if is_single:
                single[int(stage)] = float(number)
            else:
                every = float(number)
        except ValueError:
            raise typer.BadParameter(f"{value!r} is neither VALUE nor STAGE=VALUE", param_hint="--threshold") from None
    return every, single


@contextlib.contextmanager
def _stack_for(wanted: bool, profile: str, quiet: bool) -> Iterator[None]:
    if not wanted:
        yield
        return
    with needs("ask --up", "local"):
        from tandem.cli.stack import start_stack, stop_stack
        from tandem.local.supervisor import open_stack
    if open_stack() is not None:
        yield
        return
    start_stack(profile, quiet=quiet)
    try:
        yield
    finally:
        stop_stack(quiet=quiet)


@contextlib.contextmanager
def _traced() -> Iterator[None]:
    """Export the client's own span where a collector is named (OTEL_EXPORTER_OTLP_ENDPOINT), or the local stack has one."""
    of_stack = (read_stack() or {}).get("environment", {}).get("OTEL_EXPORTER_OTLP_ENDPOINT")
    endpoint = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or of_stack
    if not endpoint:
        yield
        return
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": "tandem-cli"}))
    provider.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, insecure=endpoint.startswith("http://"), timeout=2))
    )
    trace.set_tracer_provider(provider)
    try:
        yield
    finally:
        provider.shutdown()
