"""tandem chat"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Annotated

import typer

from tandem.cli.output import JsonFlag, console, console_error, dollars, print_json
from tandem.cli.running import cancels, explained_silence, heard
from tandem.cli.session import stack_for, stdin_lines, traced
from tandem.cli.summary import one_line
from tandem.client import Client
from tandem.errors import RequestError
from tandem.events import Accepted, Completed, Event
from tandem.live_text import LiveText, TextWasLost
from tandem.request import SolveOptions, solve_request
from tandem.results import to_dict
from tandem.v1 import tandem_pb2

Message = dict[str, str]
_HELP = "Ctrl-C stops an answer, /new begins again, Ctrl-D or /exit ends"


def chat(
    profile: Annotated[str, typer.Option(help="Pair of models; the gateway's default if not given.")] = "",
    system: Annotated[str, typer.Option(help="What the conversation begins with: who the models are to be.")] = "",
    threshold: Annotated[float | None, typer.Option(min=0, max=1, help="Score at which a stage suffices. Without one, nothing stops the large model in a chat unless the profile says so.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Upper bound of an answer's tokens.")] = None,
    max_cost: Annotated[float | None, typer.Option(help="Upper bound of each answer's bill, in USD.")] = None,
    temperature: Annotated[float | None, typer.Option(help="0 is greedy (the default).")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the draw.")] = None,
    stop: Annotated[list[str] | None, typer.Option(help="Text that ends an answer before it, of 1 to 64 characters; repeatable, at most 4.")] = None,
    up: Annotated[bool, typer.Option("--up", help="Start the local stack for this chat if none is up, and stop it afterwards.")] = False,
    json: JsonFlag = False,
) -> None:  # fmt: skip
    """Talk to the two models. Ctrl-C stops the models and keeps the conversation. Questions may come from a pipe, one per line."""
    options = SolveOptions(
        profile=profile,
        task="chat",
        threshold=threshold,
        max_answer_tokens=max_tokens,
        max_cost_usd=max_cost,
        temperature=temperature,
        seed=seed,
        stop=stop,
    )
    with traced(), stack_for(up, profile, quiet=json), Client() as client:
        failed = _Conversation(client, system, options, json).run()
    if failed and not _is_typed():
        raise typer.Exit(1)


class _Conversation:
    def __init__(self, client: Client, system: str, options: SolveOptions, json: bool) -> None:
        self._client, self._options, self._json = client, options, json
        self._start: list[Message] = [{"role": "system", "content": system}] if system else []
        self._said = list(self._start)
        self._style = ""

    def run(self) -> bool:
        """To the end of the input. True where a question got no answer."""
        failed = False
        if _is_typed() and not self._json:
            console.print(_HELP, style="dim")
        for question in _questions():
            if question == "/new":
                self._said = list(self._start)
            else:
                failed |= not self._answered(question)
        return failed

    def _answered(self, question: str) -> bool:
        """Ask, and remember both; a question without an answer is forgotten."""
        asked = [*self._said, {"role": "user", "content": question}]
        try:
            result = self._ask(asked)
        except (RequestError, TextWasLost) as error:
            console_error(str(error))
            return False
        if result.stop.reason == tandem_pb2.STOP_REASON_CANCELLED:
            if not self._json:
                console.print(f"\n  stopped after {_cost(result)}; ask something else", style="dim")
            return False
        self._said = [*asked, {"role": "assistant", "content": result.answer}]
        return True

    def _ask(self, asked: list[Message]) -> tandem_pb2.SolveResult:
        request = solve_request(asked, **self._options)
        self._style = ""
        with cancels(self._client, request.request_id), explained_silence(self._client.address) as hear:
            result = self._shown(heard(self._client.solve_request(request), hear))
        if self._json:
            print_json(to_dict(result))
        return result

    def _shown(self, events: Iterator[Event]) -> tandem_pb2.SolveResult:
        live: LiveText | None = None
        for event in events:
            if isinstance(event, Accepted):
                live = LiveText(event.answer_text)
            elif isinstance(event, Completed) and event.result.stop.reason == tandem_pb2.STOP_REASON_CANCELLED:
                return event.result
            elif live is not None:
                piece = live.push(event)
                self._write(piece.reasoning, "dim cyan")
                self._write(piece.content, "green")
            if isinstance(event, Completed):
                self._end(event.result)
                return event.result
        raise AssertionError("a stream ends with its result")

    def _write(self, text: str, style: str) -> None:
        if text and not self._json:
            between = "\n\n" if self._style not in ("", style) else ""
            console.write(between + text, style, end="")
            self._style = style

    def _end(self, result: tandem_pb2.SolveResult) -> None:
        if not self._json:
            console.print(f"\n  {one_line(result)}", style="dim")


def _cost(result: tandem_pb2.SolveResult) -> str:
    return dollars(result.cost.usd if result.cost.HasField("usd") else None, 6)


def _questions() -> Iterator[str]:
    """Lines that are not empty, until the input ends, /exit, or Ctrl-C at the prompt."""
    with contextlib.suppress(KeyboardInterrupt):
        for given in _typed() if _is_typed() else stdin_lines("standard input"):
            line = given.strip()
            if line == "/exit":
                return
            if line:
                yield line


def _is_typed() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _typed() -> Iterator[str]:
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  # arrow keys and history at the prompt
    with contextlib.suppress(EOFError):
        while True:
            yield input("> ")
