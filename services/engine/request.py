"""A request inside our engine: how far it is, and how its next token is drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from services.engine.api import Finished, GenerationRequest, Token
from services.engine.tokenizer import ChatTokenizer, Detokenizer


class Request:
    """Touched by the engine's thread alone, but for `aborted`."""

    def __init__(
        self, generation: GenerationRequest, deliver: Callable[[Token | Finished], None], tokenizer: ChatTokenizer
    ):
        self.generation = generation
        self.deliver = deliver
        self.aborted = False
        self.computed = 0  # tokens of prompt and answer whose keys and values are in the cache
        self.shared = 0  # of them, those copied from another request's row, or from what was kept
        self.generated: list[int] = []
        self.detokenizer = Detokenizer(tokenizer, generation.prompt_ids)
        self._random: torch.Generator | None = None

    @property
    def num_unread(self) -> int:
        """Tokens of the prompt that are not in the cache."""
        return max(0, len(self.generation.prompt_ids) - self.computed)

    def next(self, length: int) -> Sequence[int]:
        """The next `length` tokens to compute: all of the prompt, or all written."""
        prompt = self.generation.prompt_ids
        text, start = (prompt, self.computed) if self.num_unread else (self.generated, self.computed - len(prompt))
        return text[start : start + length]

    @property
    def prompt_computed(self) -> int:
        """Tokens of the prompt that were computed for it."""
        return min(self.computed, len(self.generation.prompt_ids)) - self.shared

    @property
    def only_reads(self) -> bool:
        return self.generation.max_new_tokens == 0

    @property
    def is_to_write(self) -> bool:
        return not self.num_unread and not self.only_reads

    def draw(self, logits: Tensor) -> int:
        """A token by the request's own sampling and seed, from `logits` float32[vocabulary]."""
        sampling = self.generation.sampling
        if self._random is None:
            self._random = torch.Generator(device=logits.device).manual_seed(sampling.seed)
        probabilities, order = torch.softmax(logits / sampling.temperature, dim=-1).sort(descending=True)
        outside = probabilities.cumsum(dim=-1) - probabilities > sampling.top_p
        nucleus = probabilities.masked_fill(outside, 0.0)
        choice = torch.multinomial(nucleus, 1, generator=self._random)
        return int(order[choice])
