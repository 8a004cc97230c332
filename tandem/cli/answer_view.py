"""The answer of a request and nothing around it; on a terminal what happens until then, and one line under it."""

from __future__ import annotations

from types import TracebackType

from rich.status import Status

from tandem.cli.output import Screen, console_note, progress
from tandem.cli.summary import lacks, one_line
from tandem.client.events import Accepted, AnswerDelta, Checked, Completed, Event, InsightDelta, Scored
from tandem.client.live_text import LiveText, TextWasLost
from tandem.method.request.events import AnswerText
from tandem.v1 import tandem_pb2


class AnswerView:
    """Prints the answer as it comes, where its text is the answer from its first token on, else at its end.

    `quiet`: nothing but the answer on a terminal either. What an answer lacks is then said on standard error.
    """

    def __init__(self, console: Screen, *, quiet: bool = False) -> None:
        self._console, self._speaks = console, console.is_terminal and not quiet
        self._status: Status | None = progress("waiting for the models") if self._speaks else None
        self._live = LiveText(AnswerText.UNSPECIFIED)
        self._has_text = False

    def __enter__(self) -> AnswerView:
        if self._status:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop_status()
        if self._has_text:  # an error's message begins its own line
            self._write("\n")

    def show(self, event: Event) -> None:
        if isinstance(event, Accepted):
            self._live = LiveText(event.answer_text)
        if self._status and (now := _happens(event)):
            self._status.update(now)
        try:
            self._text(self._live.push(event).content)
        except TextWasLost as lost:
            self._begin_again(str(lost), event)
        if isinstance(event, Completed):
            self._end(event.result)

    def _text(self, text: str) -> None:
        if text:
            self._stop_status()
            self._write(text)
            self._has_text = True

    def _begin_again(self, why: str, event: Event) -> None:
        self._write("\n")
        console_note(f"{why}; here it is")
        assert isinstance(event, Completed)
        self._text(event.result.answer)

    def _end(self, result: tandem_pb2.SolveResult) -> None:
        self._stop_status()
        for call in result.tool_calls:
            self._text("\n" * self._has_text + f"{call.name} {call.arguments}")
        if self._has_text:
            self._write("\n")
            self._has_text = False
        if self._speaks:
            self._console.write(one_line(result), "dim")
        elif lacking := lacks(result):
            console_note(lacking)

    def _stop_status(self) -> None:
        if self._status:
            self._status.stop()
            self._status = None

    def _write(self, text: str) -> None:
        self._console.write(text, end="")


def _happens(event: Event) -> str:
    """What the models do now; empty for an event that changes nothing of it."""
    match event:
        case InsightDelta(tokens=tokens):
            return f"the large model writes: {tokens} tokens"
        case Scored(sufficient=True):
            return "the small model answers"
        case AnswerDelta(tokens=tokens):
            return f"the small model writes: {tokens} tokens"
        case Checked():
            return "an answer was checked"
    return ""
