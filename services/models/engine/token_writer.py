"""Any engine that reads tokens, as a Writer.

The chat template makes a prompt of the conversation, and a grammar holds the text to its form.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import replace
from typing import cast

from services.models.engine.api import Engine, Finished, GenerationRequest, RunningModel, Stops, Token
from services.models.engine.call_format import CallFormat, Grammar
from services.models.engine.text import Detokenizer
from services.models.engine.tool_grammar import tool_grammar
from services.models.engine.writer import Abilities, Writer, Writing
from tandem.method.request.prompts import Conversation


def writer_of(engine: RunningModel) -> Writer:
    """The engine itself where it is an author, as one behind an API is.

    Told by its method: `isinstance` would read `calls`, which raises where an API calls no tools.
    """
    return cast("Writer", engine) if hasattr(engine, "write") else TokenWriter(cast("Engine", engine))


class TokenWriter:
    """`Writer` of an Engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def can(self) -> Abilities:
        return Abilities(continues_schema=self._engine.continues_json)

    @property
    def calls(self) -> CallFormat:
        return self._engine.tokenizer.calls

    def write(self, writing: Writing) -> AsyncGenerator[Token | Finished, None]:
        prompt, earlier = writing.conversation.encoded(self._engine.tokenizer), writing.earlier
        has_tools = writing.tools.tools and writing.max_tokens
        return self._engine.generate(
            GenerationRequest(
                request_id=writing.id,
                prompt_ids=prompt.ids + earlier.ids,
                max_new_tokens=writing.max_tokens,
                sampling=writing.sampling,
                held_to=self._held_to(writing),
                num_written=self._num_begun(writing) + len(earlier.ids),
                stops=Stops(writing.stop_strings, earlier.held),
                cache=replace(writing.cache, num_shared=prompt.num_shared if has_tools else 0),
            )
        )

    def _held_to(self, writing: Writing) -> Grammar | str:
        schema = writing.json_schema
        return tool_grammar(self.calls, writing.tools, schema) if writing.may_call else schema

    def _num_begun(self, writing: Writing) -> int:
        """Tokens of the prompt that are the text's."""
        if not writing.is_continued:
            return 0
        return len(self._engine.tokenizer.encode(writing.conversation.begun_text, plain=True))

    def abort(self, request_id: str) -> bool:
        return self._engine.abort(request_id)

    def num_tokens(self, conversation: Conversation) -> int:
        return len(conversation.encoded(self._engine.tokenizer).ids)

    def texts(self, conversation: Conversation, ids: Sequence[int]) -> Iterable[str]:
        detokenizer = Detokenizer(self._engine.tokenizer, conversation.encoded(self._engine.tokenizer).ids)
        return [detokenizer.push(token) for token in ids]
