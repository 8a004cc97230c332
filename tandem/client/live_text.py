"""What a chat client sees of a request while it runs: the events as pieces of reasoning and of the answer."""

from __future__ import annotations

from dataclasses import dataclass, field

from tandem.client.events import AnswerDelta, Completed, Event, InsightDelta, Restarted, Scored, StageCompleted
from tandem.client.results import shown_text
from tandem.method.request.events import AnswerText
from tandem.v1 import tandem_pb2

_OF_LLM = (AnswerText.INSIGHT, AnswerText.MESSAGE)
_OF_THE_WHOLE_INSIGHT = (tandem_pb2.STOP_REASON_LLM_FINISHED, tandem_pb2.STOP_REASON_UNVERIFIED_BEST)


class TextWasLost(Exception):
    """What was shown of the answer is not its beginning: an attempt was lost, and the next one wrote something else."""


@dataclass(frozen=True, slots=True)
class Piece:
    """`native`: what the large model's API sent, whose texts are in `content` too."""

    reasoning: str = ""
    content: str = ""
    native: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.reasoning or self.content or self.native)


@dataclass(slots=True)
class _Written:
    """One model's text: `ends` are (tokens, characters) where pieces end. `said`: see InsightDelta."""

    text: str = ""
    ends: list[tuple[int, int]] = field(default_factory=list)
    said: int = 0

    def add(self, text: str, tokens: int, said: int = 0) -> None:
        self.text, self.said = self.text + text, said
        self.ends.append((tokens, len(self.text)))

    def until(self, tokens: int) -> str:
        return self.text[: max((length for count, length in self.ends if count <= tokens), default=0)]

    def cut(self, tokens: int) -> None:
        self.text = self.until(tokens)
        self.ends = [end for end in self.ends if end[0] <= tokens]
        self.said = min(self.said, len(self.text))


@dataclass(slots=True)
class _Shown:
    """What a client has of a text. A text that was cut is written again, and only what is new is shown."""

    text: str = ""

    def advance(self, text: str) -> str:
        if not text.startswith(self.text):
            return ""
        new, self.text = text[len(self.text) :], text
        return new


class LiveText:
    """`push` each event of a request; the pieces' contents together are the answer's text, character by
    character."""

    def __init__(self, source: AnswerText) -> None:
        self._source = source
        self._insight, self._answer = _Written(), _Written()
        self._reasoning, self._content = _Shown(), _Shown()
        self._stage_tokens: dict[int | None, int] = {0: 0}
        self._stop_stage: int | None = None
        self._has_native = False

    def push(self, event: Event) -> Piece:
        """Raises TextWasLost at the end."""
        native: tuple[str, ...] = ()
        match event:
            case InsightDelta(text=text, tokens=tokens, said=said):
                self._insight.add(text, tokens, said)
                native = event.native if self._source in _OF_LLM else ()
                self._has_native = self._has_native or bool(native)
            case AnswerDelta(text=text, tokens=tokens):
                self._answer.add(text, tokens)
            case StageCompleted(stage=stage, tokens=tokens):
                self._stage_tokens[stage] = tokens
            case Scored(stage=stage, sufficient=True):
                self._stop_stage = stage
            case Restarted(role="llm") if self._has_native:
                raise _lost()
            case Restarted(role=role, tokens=tokens):
                (self._insight if role == "llm" else self._answer).cut(tokens)
            case Completed(result=result):
                if result.stop.reason not in _OF_THE_WHOLE_INSIGHT:
                    self._stop_stage = result.stop.stage
                return Piece(content=self._rest(result))
        return Piece(self._new_reasoning(), self._content.advance(self._answer_so_far().strip()), native)

    @property
    def reasoning(self) -> str:
        """The insight so far, up to the stage that the answer was written from; at the end it is the same whoever asks
        when.
        """
        return "" if self._source in _OF_LLM else self._insight_to_the_stop

    def _new_reasoning(self) -> str:
        """What the large model writes after the decision is nobody's reasoning any more."""
        return self._reasoning.advance(self.reasoning)

    @property
    def _insight_to_the_stop(self) -> str:
        tokens = self._stage_tokens.get(self._stop_stage)
        return self._insight.text if tokens is None else self._insight.until(tokens)

    def _answer_so_far(self) -> str:
        match self._source:
            case AnswerText.INSIGHT:
                return self._insight.text
            case (
                AnswerText.MESSAGE
            ):  # the small model's is known only when it has been taken, and then the result comes
                return self._insight.text[: self._insight.said]
            case AnswerText.ANSWER:
                return self._answer.text
            case AnswerText.CONTINUATION if self._stop_stage in self._stage_tokens:
                return self._insight_to_the_stop + self._answer.text
        return ""

    def _rest(self, result: tandem_pb2.SolveResult) -> str:
        is_others = self._has_native and result.stop.reason not in _OF_THE_WHOLE_INSIGHT
        if is_others or not shown_text(result).startswith(self._content.text):
            raise _lost()
        return self._content.advance(shown_text(result))


def _lost() -> TextWasLost:
    return TextWasLost("an attempt was lost in the middle of the answer, and the next one wrote another text")
