"""The answer of a request and nothing around it; on a terminal what happens until then, and under it its final value
and one line.
"""

from __future__ import annotations

from types import TracebackType

from rich.status import Status

from tandem.cli.output import Screen, console_note, progress
from tandem.cli.summary import lacks, one_line
from tandem.client.events import Accepted, AnswerDelta, Checked, Completed, Event, InsightDelta, Scored
from tandem.client.live_text import LiveText, TextWasLost
from tandem.client.results import final_value, shown_text
from tandem.method.request.events import AnswerText
from tandem.v1 import tandem_pb2


class AnswerView:
    """Prints the answer as it comes, where its text is the answer from its first token on, else at its end.

    `quiet`: nothing but the answer on a terminal either. What an answer lacks is then said on standard error. `final`:
    the final value in the place of the whole text.
    """

    def __init__(self, console: Screen, *, quiet: bool = False, final: bool = False) -> None:
        self._console, self._speaks, self._final = console, console.is_terminal and not quiet, final
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
        if not self._final:
            self._as_it_comes(event)
        if isinstance(event, Completed):
            self._end(event.result)

    def _as_it_comes(self, event: Event) -> None:
        try:
            self._text(self._live.push(event).content)
        except TextWasLost as lost:
            self._begin_again(str(lost), event)

    def _text(self, text: str) -> None:
        if text:
            self._stop_status()
            self._write(text)
            self._has_text = True

    def _begin_again(self, why: str, event: Event) -> None:
        self._write("\n")
        console_note(f"{why}; here it is")
        assert isinstance(event, Completed)
        self._text(shown_text(event.result))

    def _end(self, result: tandem_pb2.SolveResult) -> None:
        self._stop_status()
        if self._final:
            self._text(result.answer)
        for call in result.tool_calls:
            self._text("\n" * self._has_text + f"{call.name} {call.arguments}")
        if self._has_text:
            self._write("\n")
            self._has_text = False
        if self._speaks:
            if not self._final and (value := final_value(result)):
                self._console.write(f"answer: {value}", "bold")
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
    """Return what the models do now; empty for an event that changes nothing of it."""
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
