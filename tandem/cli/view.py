"""A request as it happens, for people: the text of each model, each score and its threshold, the stop, the bill."""

from __future__ import annotations

import re

from rich.text import Text

from tandem.cli.bill import VERDICTS, print_result
from tandem.cli.output import Screen
from tandem.client.events import (
    Accepted,
    AnswerDelta,
    Checked,
    Completed,
    Event,
    InsightDelta,
    LlmStopped,
    Restarted,
    Scored,
    StageCompleted,
)

_INSIGHT, _ANSWER, _NOTE = "cyan", "green", "dim"


_END_OF_A_WORD = re.compile(r"\s")


class LiveView:
    """Prints events one after another, so that a terminal and a log file show the same.

    A stage may end in the middle of a word. What is said of it waits for the word's end.
    """

    def __init__(self, console: Screen) -> None:
        self._console = console
        self._source = ""
        self._written = ""
        self._at_line_start = True
        self._waiting: list[tuple[str, str]] = []

    def show(self, event: Event) -> None:
        match event:
            case Accepted():
                line = f"request {event.request_id}   profile {event.profile}   trace {event.trace_id}"
                self._line(line, _NOTE)
            case InsightDelta():
                self._write("large model", event.text, _INSIGHT)
            case AnswerDelta():
                self._write("small model", event.text, _ANSWER)
            case StageCompleted():
                self._line(f"  stage {event.stage} ({event.name}) generated: {event.tokens} tokens", _NOTE)
            case Scored():
                self._scored(event)
            case Checked():
                self._checked(event)
            case LlmStopped():
                line = (
                    f"  large model stopped {event.cancel_latency_ms:.1f} ms after the decision, "
                    f"{event.overrun_tokens} tokens overrun"
                )
                self._line(line, "bold magenta")
                self._say_what_waits()
            case Restarted():
                role = "large model" if event.role == "llm" else "small model"
                line = f"  {role} restarted (attempt {event.epoch}); its first {event.tokens} tokens remain valid"
                self._line(line, "red")
                self._say_what_waits()
                self._source = ""
            case Completed():
                self._say_what_waits()
                self._end_line()
                self._console.print()
                print_result(self._console, event.result, self._written)

    def _scored(self, event: Scored) -> None:
        where = "the bare question" if event.stage == 0 else f"stage {event.stage}"
        if event.score is None:
            self._line(f"  {where} could not be scored: continue", "yellow")
            return
        verdict = "sufficient" if event.sufficient else "continue"
        sign = "≥" if event.sufficient else "<"
        origin = event.scorer if event.trained else f"{event.scorer} scorer"
        style = "bold yellow" if event.sufficient else "yellow"
        self._line(f"  {where} scores {event.score:.3f} {sign} {event.threshold:.3f}: {verdict}   ({origin})", style)

    def _checked(self, event: Checked) -> None:
        model = "large model's answer" if event.role == "llm" else f"small model's try {event.trial}"
        outcome = VERDICTS[event.verdict]
        style = {"pass": "bold green", "fail": "bold red"}.get(event.verdict, "yellow")
        self._line(f"  {event.name}: the {model} {outcome}: {event.detail} ({event.seconds * 1000:.0f} ms)", style)

    def _write(self, source: str, text: str, style: str) -> None:
        if source != self._source:
            self._say_what_waits()
            self._end_line()
            self._console.print(Text(f"{source}:", style=f"bold {style}"))
            self._source, self._written = source, ""
        if self._waiting and (end := _END_OF_A_WORD.search(text)):
            self._append(text[: end.start()], style)
            self._say_what_waits()
            self._written += text[end.start() : end.end()]
            text = text[end.end() :]
        self._append(text, style)

    def _append(self, text: str, style: str) -> None:
        if text:
            self._console.write(text, style, end="")
            self._written += text
            self._at_line_start = text.endswith("\n")

    def _line(self, text: str, style: str) -> None:
        self._waiting.append((text, style))
        if self._at_line_start or self._written[-1:].isspace():
            self._say_what_waits()

    def _say_what_waits(self) -> None:
        for text, style in self._waiting:
            self._end_line()
            self._console.write(text, style)
        self._waiting.clear()

    def _end_line(self) -> None:
        if not self._at_line_start:
            self._console.print()
        self._at_line_start = True
        self._source = "" if self._source == "small model" else self._source
