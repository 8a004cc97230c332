"""One streamed reply of an API as tokens and counts: what came, what the API reports of it, and what is therefore
exact.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from services.models.engine.api import (
    ApiBadReply,
    ApiUnavailable,
    FinishReason,
    SchemaNotSupported,
    Token,
)
from services.models.engine.json_schema import ANY_JSON, is_beginning
from services.models.engine.remote.calls import called_piece, without_marks, written_calls
from services.models.engine.remote.counts import CountBounds
from services.models.engine.remote.events import MOST_CALLS
from services.models.engine.writer import Writing
from tandem.method.profile.endpoint import Capabilities
from tandem.method.tokens import TokenCounts

_PIECE = 256  # characters of a token at most: a gateway may send a whole answer as one piece
_MOST_BYTES = 1 << 20  # of text and calls


class Reply:
    """A Token here is the text of one piece of the stream: one token, and more where the API reports more.

    Calls are no text: they follow whole, at the end, and are pieces until then. `is_over`: it has written all that it
    may.
    """

    def __init__(self, writing: Writing, can: Capabilities) -> None:
        self.reason: FinishReason | None = None
        self.model = ""  # that answers, as the API says
        self.is_over = False
        self.written_hour = 0  # tokens that the API has put into its cache for an hour, as far as it has said
        self._seen_uses, self._reported_uses = Counter[str](), dict[str, int]()
        self._bounds, self._num_bytes, self._is_guess = CountBounds.of(writing), 0, False
        self._can, self._writing, self._num_tokens = can, writing, 0
        self._text, self._names = "", {tool.name for tool in writing.tools.callable}
        begun = writing.messages()[-1:] if can.continues == "prefix_echoed" else []
        self._echo = _Echo("".join(str(turn["content"]) for turn in begun if turn["role"] == "assistant"))
        self._calls: dict[int, list[str]] = {}  # the name and the arguments so far, by the call's place in the reply
        self._piece = ""  # of the newest call: the next token carries it
        self._unsent: list[str] = []  # events
        self._reported: TokenCounts | None = None

    def add(self, text: str) -> list[Token]:
        """A piece of text, and the tokens without text that the API has counted before it."""
        text = self._echo.left_out(text)
        self._require_size(text)
        parts = (without_marks(text[at : at + _PIECE]) for at in range(0, len(text), _PIECE))
        return self._tokens(parts) + self._counted()

    def call(self, index: int, name: str = "", arguments: str = "") -> list[Token]:
        """A piece of a call. Where the API counts tokens as it goes, it is one that has been counted."""
        self._require_size(name + arguments)
        begun = self._calls.setdefault(index, ["", ""])
        if len(self._calls) > MOST_CALLS:
            raise ApiBadReply(f"the API makes more than {MOST_CALLS} calls")
        if index == max(self._calls) and (self._writing.tools.parallel or index == min(self._calls)):
            self._piece += called_piece(begun[0] + name, arguments, is_first=not begun[1])
        begun[0] += name
        begun[1] += arguments
        is_counted = arguments and self._can.cut_bill != "exact"
        return self._tokens([""] if is_counted else []) + self._counted()

    def think(self) -> list[Token]:
        """A piece that is no text. It is counted as one of a call is."""
        return self._tokens([""] if self._can.cut_bill != "exact" else []) + self._counted()

    def use(self, tool: str) -> None:
        """The API begins to run one of its own tools."""
        self._seen_uses[tool] += 1
        if self._seen_uses.total() > MOST_CALLS:
            raise ApiBadReply(f"the API runs more than {MOST_CALLS} tools of its own")

    def report_uses(self, uses: Mapping[str, int]) -> None:
        """How often the API says that it has run its own tools. What cannot be true is not believed."""
        self._reported_uses |= {tool: uses[tool] for tool in uses if 0 <= uses[tool] <= MOST_CALLS}

    def report(self, prompt: TokenCounts | None, completion: int) -> None:
        """What the API has counted so far; None of the prompt: as before.

        What cannot be true of the prompt makes it an estimate, at most the bound of what was sent. No count of the text
        is taken for true beyond its pieces and the cap.
        """
        read = self._reported or TokenCounts(self._bounds.estimated_prompt)
        if prompt is not None:
            read = self._bounds.believed(prompt)
            self._is_guess = read != prompt
        self._reported, self.written_hour = replace(read, completion=max(0, completion)), read.written_hour

    def pass_on(self, event: str) -> None:
        """An event as it came, for a caller of the same protocol. It goes on once the API has written something: a
        reply that fails before that is none.
        """
        self._unsent.append(event)
        if self._num_tokens or self._calls:
            self._send_events()

    def finish(self) -> list[Token]:
        """The stream is over: tokens that were counted and have no text. Raises ApiUnavailable where it ended before
        the text did.
        """
        if self.reason is None:
            raise ApiUnavailable("the API closed its stream before the end of the text")
        self._send_events()
        return self._uncounted()

    @property
    def called(self) -> str:
        """The calls as the log's text has them, in the order of the reply; one at most where no more are asked for."""
        calls = [(name, arguments.strip() or "{}") for _, (name, arguments) in sorted(self._calls.items())]
        if self._writing.native is not None:  # tools that nobody here reads are its own
            calls = [call for call in calls if call[0] in self._names]
        return written_calls(calls if self._writing.tools.parallel else calls[:1])

    def check(self) -> None:
        """At the end: an API may ignore what it does not know. Raises SchemaNotSupported.

        Whether text and arguments follow their schemas is for a check to say, and what becomes of a body of the
        caller's own is for the caller.
        """
        if self._writing.native is not None:
            return
        if self._writing.tools.may_call:
            self._check_calls()
        is_text = not self._calls
        if self._writing.json_schema and is_text and not is_beginning(ANY_JSON, self._text.strip()):
            raise SchemaNotSupported("the API ignores the JSON schema of the request: its text is no JSON")

    def _check_calls(self) -> None:
        """Each that a limit did not cut is of a tool that may be called, with an object."""
        if self.reason is FinishReason.LENGTH:
            return
        if self._writing.tools.mode == "required" and not self._calls:
            raise SchemaNotSupported("the API calls no tool, where a call is required")
        for name, arguments in self._calls.values():
            if name not in self._names:
                raise SchemaNotSupported(f"the API calls {name!r}, which is no tool that may be called")
            if not _is_object(arguments.strip() or "{}"):
                raise SchemaNotSupported(f"the API calls {name!r} with arguments that are no JSON object")

    @property
    def cut(self) -> TokenCounts:
        """Where the stream was cut: exact only where the API had counted every piece."""
        known = self._reported or TokenCounts(self._bounds.estimated_prompt)
        is_exact = self._can.cut_bill == "exact" and known.completion == self._num_tokens and not self._is_guess
        is_estimated = self._reported is None or not is_exact
        return replace(known, completion=self._num_tokens, is_estimated=is_estimated, tool_uses=self._uses)

    @property
    def whole(self) -> TokenCounts:
        """At the end: what the API reports; an estimate where it reports nothing, or another number than it sent
        pieces.
        """
        if self._reported is None:
            return self.cut
        is_guess = self._is_guess or self.is_over or self._num_tokens != self._reported.completion
        return replace(self._reported, completion=self._num_tokens, is_estimated=is_guess, tool_uses=self._uses)

    @property
    def _uses(self) -> dict[str, int]:
        """As the API bills them, where it says so: a search that failed may cost nothing."""
        used = {**self._seen_uses, **self._reported_uses}
        return {tool: count for tool, count in used.items() if count}

    def _send_events(self) -> None:
        for event in self._unsent:
            self._writing.on_event(event)
        self._unsent.clear()

    def _counted(self) -> list[Token]:
        return self._uncounted() if self._can.cut_bill == "exact" else []

    def _uncounted(self) -> list[Token]:
        """Tokens that the API counts beyond the pieces: a piece may carry several, and the stop token none. None beyond
        the cap.
        """
        reported = min(self._reported.completion, self._bounds.completion) if self._reported else 0
        return self._tokens([""] * (reported - self._num_tokens))

    def _tokens(self, texts: Iterable[str]) -> list[Token]:
        """What goes beyond the cap ends the reply there, whatever else the API would send."""
        tokens: list[Token] = []
        for text in texts:
            if self._num_tokens >= self._bounds.completion:
                self.is_over, self.reason = True, FinishReason.LENGTH
                break
            self._num_tokens += 1
            self._text += text
            computed = self.cut.prompt if self._num_tokens == 1 else None
            tokens.append(Token(0, text, time.time(), computed, piece=self._piece))
            self._piece = ""
        return tokens

    def _require_size(self, text: str) -> None:
        self._num_bytes += len(text.encode())
        if self._num_bytes > _MOST_BYTES:
            raise ApiBadReply(f"the API's text and calls have more than {_MOST_BYTES} bytes")


class _Echo:
    """The beginning of the turn, which some APIs repeat before what follows."""

    def __init__(self, begun: str) -> None:
        self._begun, self._held = begun, ""

    def left_out(self, text: str) -> str:
        """What a piece adds; nothing while it may be the beginning, and all that was held where it is another text."""
        if not self._begun:
            return text
        self._held += text
        if len(self._held) < len(self._begun) and self._begun.startswith(self._held):
            return ""
        begun, self._begun = self._begun, ""
        return self._held.removeprefix(begun)


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
