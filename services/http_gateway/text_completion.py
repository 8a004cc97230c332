"""The objects of a reply of OpenAI's older completions API: the answer's text alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from services.http_gateway.completion import CompletionReply
from tandem.client.live_text import Piece
from tandem.client.results import shown_text
from tandem.openai.completion import finish_reason, own_fields, usage
from tandem.v1 import tandem_pb2


@dataclass(slots=True)
class TextReply(CompletionReply):
    """The insight has no place here."""

    def whole(self, result: tandem_pb2.SolveResult, reasoning: str, native: Sequence[str] = ()) -> dict[str, Any]:
        own = {"usage": usage(result), "tandem": own_fields(result, self.metadata)}
        return self._chunk({"content": shown_text(result)}, finish_reason(result)) | own

    def _begun(self) -> list[dict[str, Any]]:
        return []

    def piece(self, piece: Piece) -> list[dict[str, Any]]:
        return [self._chunk({"content": piece.content})] if piece.content else []

    def _chunk(self, delta: dict[str, Any], finished: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "text": delta.get("content", ""), "logprobs": None, "finish_reason": finished}
        return self._object("text_completion") | {"choices": [choice]}

    def _object(self, kind: str) -> dict[str, Any]:
        known = {"object": "text_completion", "created": self.created, "model": self.profile}
        return {"id": f"cmpl-{self.request_id}", **known}
