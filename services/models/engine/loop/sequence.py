"""A request inside our engine: its tokens, how many of them are in the KV cache, and how the next one is drawn."""

from __future__ import annotations

from collections import abc
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from services.models.engine.api import EngineError, Finished, GenerationFailed, GenerationRequest, InvalidSchema, Token
from services.models.engine.text import Detokenizer, StopStrings
from tandem.method.tokens import Sampling

if TYPE_CHECKING:  # scheduling needs no grammars
    from services.models.engine.grammar import Matcher

_MIN_TEMPERATURE = 1e-30  # at which a difference of two float32 does not become infinite


class Sequence:
    """Prompt and completion of one request. Only the engine's thread changes it, except for `is_aborted`."""

    def __init__(
        self,
        generation: GenerationRequest,
        deliver: abc.Callable[[Token | Finished], None],
        detokenizer: Detokenizer,
        matcher: Matcher | None = None,
    ) -> None:
        self.generation = generation
        self.deliver = deliver
        self.detokenizer = detokenizer
        self.matcher = matcher  # None: the text is held to nothing
        self.stops = StopStrings(generation.stops.strings, generation.stops.held)
        self.is_aborted = False
        self.computed = 0  # tokens of prompt and completion in the KV cache
        self.cached = 0  # those of them that were copied from another sequence or from the prefix cache
        self.completion: list[int] = []
        self.sampler = Sampler(generation.sampling) if generation.sampling.temperature else None
        self.failure: EngineError | None = None  # its stream ends with this instead of Finished

    @property
    def request_id(self) -> str:
        return self.generation.request_id

    @property
    def prompt_ids(self) -> tuple[int, ...]:
        return self.generation.prompt_ids

    @property
    def owner(self) -> str:
        return self.generation.cache.owner

    @property
    def is_prefill_only(self) -> bool:
        return self.generation.max_new_tokens == 0

    @property
    def computed_ids(self) -> tuple[int, ...]:
        """The tokens in the KV cache."""
        return (*self.prompt_ids, *self.completion)[: self.computed]

    @property
    def most_tokens(self) -> int:
        """Of the prompt and the longest completion."""
        return len(self.prompt_ids) + self.generation.max_new_tokens

    @property
    def num_prompt_left(self) -> int:
        """Tokens of the prompt that are not in the KV cache."""
        return max(0, len(self.prompt_ids) - self.computed)

    @property
    def num_prompt_computed(self) -> int:
        """Tokens of the prompt that were computed for this request."""
        return min(self.computed, len(self.prompt_ids)) - self.cached

    @property
    def is_at_limit(self) -> bool:
        return len(self.completion) >= self.generation.max_new_tokens

    @contextmanager
    def fails_alone(self) -> abc.Iterator[None]:
        """An error in the block ends this sequence, and not the engine with all others."""
        try:
            yield
        except Exception as error:
            self.failure = GenerationFailed(f"the next token cannot be chosen: {error}")

    def raise_failure(self) -> None:
        """At the end. Raises EngineError where the sequence has failed."""
        if self.failure:
            raise self.failure
        if self.matcher and self.matcher.failure:
            raise InvalidSchema(f"the text cannot go on under its schema: {self.matcher.failure}")

    def next_tokens(self, length: int) -> abc.Sequence[int]:
        """The next `length` tokens to compute, all of them in the prompt or all of them in the completion."""
        if self.num_prompt_left:
            return self.prompt_ids[self.computed : self.computed + length]
        start = self.computed - len(self.prompt_ids)
        return self.completion[start : start + length]


class Sampler:
    """The draws depend on the seed and the logits alone, not on other sequences of the batch."""

    def __init__(self, sampling: Sampling) -> None:
        """`sampling.temperature` is above 0."""
        self._sampling, self._temperature = sampling, max(sampling.temperature or 0.0, _MIN_TEMPERATURE)
        self._top_p = 1.0 if sampling.top_p is None else sampling.top_p
        self._random = np.random.default_rng(sampling.seed or 0)

    def draw(self, logits: NDArray[np.float32]) -> int:
        """A token from `logits`, float32[vocabulary], by nucleus sampling."""
        scaled = (logits - logits.max()).astype(np.float64) / self._temperature
        probabilities = np.exp(scaled)
        probabilities /= probabilities.sum()
        # All tokens below this together have less than 1 - top_p, so the nucleus has none of them: few are left to
        # sort.
        least = (1 - self._top_p) / len(logits)
        candidates = np.flatnonzero(probabilities >= least)
        is_cut = self._top_p < 1
        order = candidates[np.argsort(-probabilities[candidates], kind="stable")] if is_cut else candidates
        sums = probabilities[order].cumsum()
        nucleus = sums[: np.searchsorted(sums, self._top_p) + 1]
        return int(order[np.searchsorted(nucleus, self._random.random() * nucleus[-1], side="right")])
