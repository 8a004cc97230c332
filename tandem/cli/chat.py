"""tandem chat"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Annotated

import typer

from tandem.cli import options
from tandem.cli.chat_commands import Commands
from tandem.cli.conversation_file import Conversation, Message, last_conversation
from tandem.cli.output import JsonFlag, console, console_error, console_note, print_json
from tandem.cli.running import cancels, explained_silence, heard
from tandem.cli.session import stack_for, stdin_lines, traced
from tandem.cli.summary import one_line
from tandem.client.clients import Client
from tandem.client.events import Accepted, Completed, Event
from tandem.client.live_text import LiveText, TextWasLost
from tandem.client.request import SolveOptions, solve_request
from tandem.client.results import shown_text, to_dict
from tandem.errors import RequestError, UserError
from tandem.v1 import tandem_pb2

_GREETING = "Ctrl-C stops an answer, /help lists commands, Ctrl-D or /exit ends"


def chat(
    profile: options.Profile = "",
    system: Annotated[str, typer.Option(help="What the conversation begins with: who the models are to be.")] = "",
    go_on: Annotated[bool, typer.Option("--continue", "-c", help="Go on with the last conversation.")] = False,
    threshold: options.Threshold = None,
    max_cost: options.MaxCost = None,
    max_tokens: options.MaxTokens = None,
    temperature: options.Temperature = None,
    tenant: options.Tenant = "",
    up: options.Up = False,
    json: JsonFlag = False,
) -> None:
    """Talk to the two models. Ctrl-C stops the models and keeps the conversation. Questions may come from a pipe, one
    per line.

    Without a threshold nothing stops the large model in a chat unless the profile says so.
    """
    every, single = options.thresholds(threshold)
    asking = SolveOptions(
        task="chat",
        threshold=every,
        thresholds=single,
        max_answer_tokens=max_tokens,
        max_cost_usd=max_cost,
        temperature=temperature,
        tenant=tenant,
    )
    said = last_conversation() if go_on else Conversation()
    said.profile = profile or said.profile
    if system:
        said.system = system
    with traced(), stack_for(up, said.profile, quiet=json), Client() as client:
        failed = _Chat(client, said, asking, json).run()
    if failed and not _is_typed():
        raise typer.Exit(1)


class _Chat:
    def __init__(self, client: Client, said: Conversation, asking: SolveOptions, json: bool) -> None:
        self._client, self._said, self._asking, self._json = client, said, asking, json
        self._commands = Commands(client, said)
        self._style = ""

    def run(self) -> bool:
        """Run to the end of the input. True where a question got no answer."""
        failed = False
        if _is_typed() and not self._json:
            console.print(_GREETING, style="dim")
            if self._said.messages:
                console.print(f"{len(self._said.messages)} messages before; the last:", style="dim")
                console.write(self._said.messages[-1]["content"], "dim")
        for given in _inputs():
            if given == "/exit":
                break
            failed |= not self._done(given)
        return failed

    def _done(self, given: str) -> bool:
        """Return a command, or a question."""
        try:
            done = self._commands.run(given)
        except (UserError, OSError) as error:
            console_error(str(error))
            return False
        if done is None:
            return self._answered(given)
        if done and _is_typed() and not self._json:
            console.write(done, "dim")
        return True

    def _answered(self, question: str) -> bool:
        """Ask, and remember both; a question without an answer is forgotten."""
        try:
            result = self._ask(self._said.asking(question))
        except (RequestError, TextWasLost) as error:
            console_error(str(error))
            return False
        if result.stop.reason == tandem_pb2.STOP_REASON_CANCELLED:
            if not self._json:
                console.print(f"\n  stopped: {one_line(result)}; ask something else", style="dim")
            return False
        self._said.remember(question, shown_text(result))
        try:
            self._said.keep()
        except OSError as error:
            console_note(f"the conversation is not kept for `tandem chat -c`: {error}")
        return True

    def _ask(self, asked: list[Message]) -> tandem_pb2.SolveResult:
        self._asking["profile"] = self._said.profile
        request = solve_request(asked, **self._asking)
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
                if not self._json:
                    console.print(f"\n  {one_line(event.result)}", style="dim")
                return event.result
        raise AssertionError("a stream ends with its result")

    def _write(self, text: str, style: str) -> None:
        if text and not self._json:
            between = "\n\n" if self._style not in ("", style) else ""
            console.write(between + text, style, end="")
            self._style = style


def _inputs() -> Iterator[str]:
    """Yield what is typed, pasted or piped and not empty, until the input ends, or Ctrl-C at the prompt."""
    with contextlib.suppress(KeyboardInterrupt):
        for given in _typed() if _is_typed() else stdin_lines("standard input"):
            if text := given.strip():
                yield text


def _is_typed() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _typed() -> Iterator[str]:
    from tandem.cli.prompt import typed  # a pipe needs no editor

    return typed()
