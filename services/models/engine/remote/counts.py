"""What an API's counts of a request may be, from what was sent and what it was allowed to write."""

from __future__ import annotations

from dataclasses import dataclass

from services.models.engine.api import GenerationRequest

_ADDED_TOKENS = 512  # by the API's template, its own system prompt and its description of tools


@dataclass(frozen=True, slots=True)
class CountBounds:
    """In tokens. No token of a prompt is shorter than a byte."""

    prompt: int
    completion: int

    @classmethod
    def of(cls, generation: GenerationRequest) -> CountBounds:
        sent = sum(
            number.bit_length() // 8 for number in generation.prompt_ids
        )  # a MessageCodec's id is a text's bytes
        schema = len(generation.json_schema.encode())
        return cls(sent + schema + _ADDED_TOKENS, generation.max_new_tokens)

    def can_hold(self, prompt: int, cached: int) -> bool:
        """Whether a prompt can have had so many tokens that were computed, and so many that were cached."""
        return min(prompt, cached) >= 0 and prompt + cached <= self.prompt
