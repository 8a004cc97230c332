"""What a request's stream says, read entry by entry: the text that counts, and where its stages end."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a stream. `tokens` is the stream's length after it; `stage` the stage that it ends, or 0. `said`: of
    a text that may call tools, how many of its characters up to the entry's end are text for sure. `native`: what an
    API sent for it, event by event.
    """

    id: str
    kind: Literal["delta", "restart", "end"]
    epoch: int
    tokens: int
    text: str = ""
    ids: tuple[int, ...] = ()
    stage: int = 0
    reason: str = ""
    said: int = 0
    native: tuple[str, ...] = ()


@dataclass(slots=True)
class Transcript:
    """A stream read up to now: what counts of it, restarts applied."""

    pieces: list[Entry] = field(default_factory=list)
    epoch: int = 0
    cursor: str = "0-0"
    end: Entry | None = None

    def apply(self, entry: Entry) -> None:
        self.cursor, self.epoch = entry.id, entry.epoch
        if entry.kind == "delta":
            self.pieces.append(entry)
        elif entry.kind == "restart":
            self.pieces = [piece for piece in self.pieces if piece.tokens <= entry.tokens]
            if not (self.end and self.is_complete and self.end.tokens == entry.tokens):
                self.end = None
        else:
            self.end = entry

    @property
    def is_complete(self) -> bool:
        """The writer said its last word, and was not stopped before it."""
        return self.end is not None and self.end.reason != "aborted"

    @property
    def tokens(self) -> int:
        return self.pieces[-1].tokens if self.pieces else 0

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.pieces)

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(i for piece in self.pieces for i in piece.ids)

    @property
    def stage_ends(self) -> dict[int, int]:
        """Tokens at the end of each finished stage."""
        return {piece.stage: piece.tokens for piece in self.pieces if piece.stage}

    def text_to_stage(self, stage: int) -> str | None:
        """Text up to the end of `stage` (0 is empty); None while the stage has not ended."""
        if stage == 0:
            return ""
        if stage not in self.stage_ends:
            return None
        last = self.stage_ends[stage]
        return "".join(piece.text for piece in self.pieces if piece.tokens <= last)


def parse_entry(entry_id: str, fields: Mapping[str, str]) -> Entry:
    """A raw entry of an insight or answer stream."""
    ids, said, native = _read_ids(fields.get("ids", "[]"))
    return Entry(
        id=entry_id,
        kind=fields["kind"],  # type: ignore[arg-type]
        epoch=int(fields["epoch"]),
        tokens=int(fields["tokens"]),
        text=fields.get("text", ""),
        ids=ids,
        said=said,
        native=native,
        stage=int(fields.get("stage", 0)),
        reason=fields.get("reason", ""),
    )


def written_ids(ids: Sequence[int], said: int, native: Sequence[str] = ()) -> str:
    """The field `ids` of an entry. What is said stands beside them: as a field of its own it would give lengths of
    texts away.
    """
    more = [said, list(native)] if native else [said] if said else []
    return json.dumps([list(ids), *more] if more else list(ids), ensure_ascii=False)


def _read_ids(written: str) -> tuple[tuple[int, ...], int, tuple[str, ...]]:
    found = json.loads(written)
    if not (found and isinstance(found[0], list)):
        return tuple(found), 0, ()
    ids, said, *native = found
    return tuple(ids), said, tuple(native[0] if native else ())
