"""Masks over the vocabulary of a real tokenizer whose tokens are bytes."""

from __future__ import annotations

import threading

import pytest
import torch
from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from services.models.engine.api import SchemaNotSupported
from services.models.engine.grammar import Grammars, Matcher
from services.models.engine.json_schema import compiled
from services.models.engine.tokenizer import ChatTokenizer
from tests.tiny_model import write_tiny_model

LAMP = '{"enum": ["lamp"]}'


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> ChatTokenizer:
    return ChatTokenizer.load(write_tiny_model(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def grammars(tokenizer: ChatTokenizer) -> Grammars:
    return Grammars(tokenizer, tokenizer.encode("<|im_end|>"))


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The schemas that are compiled from now on."""
    made: list[str] = []

    def count(vocabulary: LLTokenizer, schema: str) -> LLMatcher:
        made.append(schema)
        return compiled(vocabulary, schema)

    monkeypatch.setattr("services.models.engine.grammar.compiled", count)
    return made


def allowed(matcher: Matcher, tokenizer: ChatTokenizer) -> list[str]:
    """The tokens that may come next, of a vocabulary that is padded beyond the tokenizer's."""
    logits = torch.zeros(300)
    matcher.mask(logits)
    return [tokenizer._tokenizer.decode([token]) for token in torch.isfinite(logits).nonzero().flatten().tolist()]


def test_the_end_is_allowed_where_the_text_is_complete_and_only_there(
    tokenizer: ChatTokenizer, grammars: Grammars
) -> None:
    matcher = grammars.matcher(LAMP, [])
    for letter in '"lamp"':
        assert allowed(matcher, tokenizer) == [letter]
        matcher.accept(*tokenizer.encode(letter))
    assert allowed(matcher, tokenizer) == ["<|im_end|>"]
    assert matcher.failure == ""


def test_a_text_that_is_begun_is_read_first(tokenizer: ChatTokenizer, grammars: Grammars) -> None:
    assert allowed(grammars.matcher(LAMP, tokenizer.encode('"la')), tokenizer) == ["m"]
    with pytest.raises(SchemaNotSupported):
        grammars.matcher(LAMP, tokenizer.encode('"li'))


def test_two_texts_under_one_schema_do_not_share_where_they_stand(tokenizer: ChatTokenizer, grammars: Grammars) -> None:
    first, second = grammars.matcher(LAMP, []), grammars.matcher(LAMP, [])
    first.accept(*tokenizer.encode('"'))
    assert allowed(second, tokenizer) == ['"']


def test_a_text_that_fails_can_only_end_and_says_why(tokenizer: ChatTokenizer, grammars: Grammars) -> None:
    matcher = grammars.matcher(LAMP, [])
    matcher.accept(*tokenizer.encode("x"))
    assert matcher.failure
    assert allowed(matcher, tokenizer) == ["<|im_end|>"]


def test_a_text_that_reaches_the_limit_of_its_grammar_does_not_fail_the_next(
    tokenizer: ChatTokenizer, grammars: Grammars, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copies share the states of their lexer, and with them its limit."""
    monkeypatch.setattr("services.models.engine.json_schema.LIMITS", LLParserLimits(max_lexer_states=300))
    schema = '{"type": "string", "minLength": 900}'
    for _ in range(2):
        matcher, num_letters = grammars.matcher(schema, tokenizer.encode('"')), 0
        while not matcher.failure:
            allowed(matcher, tokenizer)
            matcher.accept(*tokenizer.encode("a"))
            num_letters += 1
        assert 20 < num_letters < 900


def test_grammars_are_kept_by_their_bytes(tokenizer: ChatTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    made = counted(monkeypatch)
    kept = Grammars(tokenizer, tokenizer.encode("<|im_end|>"), max_bytes=100 << 20)
    for schema in (LAMP, "{}", LAMP, "{}", '{"type": "null"}', "{}", LAMP):
        kept.matcher(schema, [], num_bytes=40 << 20)
    assert made == [LAMP, "{}", '{"type": "null"}', LAMP]


def test_a_grammar_is_compiled_again_after_many_texts(
    tokenizer: ChatTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.models.engine.grammar._MAX_TEXTS", 3)
    made = counted(monkeypatch)
    kept = Grammars(tokenizer, tokenizer.encode("<|im_end|>"))
    for _ in range(6):
        kept.matcher(LAMP, [])
    assert made == [LAMP] * 2


def test_nobody_waits_for_the_grammar_of_another(tokenizer: ChatTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    has_begun, may_end = threading.Event(), threading.Event()

    def slow(vocabulary: LLTokenizer, schema: str) -> LLMatcher:
        if schema == "{}":
            has_begun.set()
            may_end.wait()
        return compiled(vocabulary, schema)

    monkeypatch.setattr("services.models.engine.grammar.compiled", slow)
    kept = Grammars(tokenizer, tokenizer.encode("<|im_end|>"))
    other = threading.Thread(target=kept.matcher, args=("{}", []))
    other.start()
    has_begun.wait()
    assert allowed(kept.matcher(LAMP, []), tokenizer) == ['"']
    may_end.set()
    other.join()
