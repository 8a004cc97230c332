"""tandem ask"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from json import loads
from pathlib import Path
from typing import Annotated, Any

import typer

from tandem.cli import options
from tandem.cli.answer_view import AnswerView
from tandem.cli.output import JsonFlag, console, print_json
from tandem.cli.running import cancels, explained_silence, heard, leaves
from tandem.cli.session import file_text, piped_text, stack_for, stdin_text, traced
from tandem.cli.summary import is_stopgap
from tandem.cli.view import LiveView
from tandem.client.clients import Client
from tandem.client.events import Accepted, Completed, Event
from tandem.client.request import solve_request
from tandem.client.results import to_dict
from tandem.paths import read_stack
from tandem.v1 import tandem_pb2


def ask(
    question: Annotated[
        str,
        typer.Argument(help="The question; text that is piped is put before it, and '-' reads all of it from there."),
    ],
    profile: options.Profile = "",
    request_id: Annotated[
        str, typer.Option(help="Idempotency key: a repeated one joins the running request and is never billed twice.")
    ] = "",
    threshold: options.Threshold = None,
    max_cost: options.MaxCost = None,
    max_llm_tokens: Annotated[
        int | None, typer.Option(min=0, help="Upper bound of the tokens that the large model generates for a question.")
    ] = None,
    max_tokens: options.MaxTokens = None,
    temperature: options.Temperature = None,
    tenant: options.Tenant = "",
    code: Annotated[
        bool, typer.Option(help="The question is the head of a Python function; the answer is its code.")
    ] = False,
    check: Annotated[
        list[str] | None,
        typer.Option(
            help="Check that the answer must pass: NAME, NAME:ARGUMENT or NAME:@FILE; repeatable. `tandem profiles` "
            "names the profile's own."
        ),
    ] = None,
    schema: Annotated[
        Path | None,
        typer.Option(help="File with a JSON schema that the answer must follow.", exists=True, dir_okay=False),
    ] = None,
    tools: Annotated[
        Path | None,
        typer.Option(
            help="File with a JSON list of tools, in OpenAI's shape, that the answer may call; nothing is run.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    detach: Annotated[
        bool, typer.Option(help="Print the request id and exit; `tandem request follow ID` shows its events.")
    ] = False,
    up: options.Up = False,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="Show what both models write, each score, the stop and the whole bill."),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the answer alone on a terminal too.")] = False,
    final: Annotated[
        bool,
        typer.Option("--final", help="Print the final value alone, as a boxed one, not the text that it stands in."),
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Ask a question and print the answer as it was written; on a terminal also its final value, who answered and for
    how much. Ctrl-C cancels the request.
    """
    every, single = options.thresholds(threshold)
    request = solve_request(
        _question(question),
        profile=profile,
        request_id=request_id,
        threshold=every,
        thresholds=single,
        max_cost_usd=max_cost,
        max_llm_tokens=max_llm_tokens,
        max_answer_tokens=max_tokens,
        temperature=temperature,
        keep_running=detach,
        tenant=tenant,
        code=code,
        checks=[_check(given) for given in check or []],
        json_schema=file_text(schema, "--schema") if schema else "",
        tools=_tools(tools) if tools else [],
    )
    with traced(), stack_for(up, profile, quiet=json), Client() as client:
        if detach:
            _start(client, request, json)
        elif json or verbose:
            follow(client, request, json)
        else:
            with AnswerView(console, quiet=quiet, final=final) as view:
                result = _to_the_end(client, request, view.show)
            _fail_without_answer(result)


def follow(client: Client, request: tandem_pb2.SolveRequest, json: bool) -> None:
    """Print a request's events to its end, or its result as JSON. Ctrl-C cancels it, and the stream continues to the
    bill.
    """
    result = _to_the_end(client, request, (lambda _: None) if json else LiveView(console).show)
    if json:
        print_json(to_dict(result))
    elif jaeger := (read_stack() or {}).get("jaeger"):
        console.print(
            f"trace    {jaeger}/trace/{result.trace_id}   `tandem trace cost {result.request_id}`", soft_wrap=True
        )
    _fail_without_answer(result)


def _to_the_end(
    client: Client, request: tandem_pb2.SolveRequest, show: Callable[[Event], None]
) -> tandem_pb2.SolveResult:
    result = tandem_pb2.SolveResult()
    on_interrupt = leaves() if request.keep_running else cancels(client, request.request_id)
    with on_interrupt, explained_silence(client.address) as hear:
        for event in heard(client.solve_request(request), hear):
            show(event)
            if isinstance(event, Completed):
                result = event.result
    return result


def _fail_without_answer(result: tandem_pb2.SolveResult) -> None:
    """Fail without an answer, also where a small model has answered in the place of a large one that failed."""
    if result.stop.reason == tandem_pb2.STOP_REASON_CANCELLED or is_stopgap(result):
        raise typer.Exit(1)


def _start(client: Client, request: tandem_pb2.SolveRequest, json: bool) -> None:
    accepted = next(event for event in client.solve_request(request) if isinstance(event, Accepted))
    if json:
        print_json(asdict(accepted))
    else:
        console.print(accepted.request_id)


def _question(given: str) -> str:
    """Return the question, with what is piped before it. Refused here already: `--up` would first start a stack for
    it.
    """
    text = stdin_text("QUESTION") if given == "-" else given
    if not text.strip():
        where = "standard input" if given == "-" else "the argument"
        raise typer.BadParameter(f"the question is empty: {where} has no text", param_hint="QUESTION")
    if given == "-":
        return text.strip()
    piped = piped_text("standard input").strip()
    return f"{piped}\n\n{given}" if piped else given


def _tools(file: Path) -> list[dict[str, Any]]:
    try:
        given = loads(file_text(file, "--tools"))
        if isinstance(given, list) and all(isinstance(each.get("function", each)["name"], str) for each in given):
            return given
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
        pass
    raise typer.BadParameter(f"{file} is no JSON list of tools, each with a name", param_hint="--tools")


def _check(given: str) -> str:
    """NAME:@FILE as NAME:ARGUMENT."""
    name, _, argument = given.partition(":")
    if not argument.startswith("@"):
        return given
    return f"{name}:{file_text(Path(argument[1:]), '--check')}"
