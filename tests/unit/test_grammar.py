"""Masks over the vocabulary of a real tokenizer whose tokens are bytes."""

from __future__ import annotations

import pytest
import torch

from services.engine.api import SchemaNotSupported
from services.engine.grammar import Grammars, Matcher
from services.engine.tokenizer import ChatTokenizer
from tests.tiny_model import write_tiny_model

LAMP = '{"enum": ["lamp"]}'


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> ChatTokenizer:
    return ChatTokenizer.load(write_tiny_model(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def grammars(tokenizer: ChatTokenizer) -> Grammars:
    return Grammars(tokenizer, tokenizer.encode("<|im_end|>"))


def allowed(matcher: Matcher, tokenizer: ChatTokenizer) -> list[str]:
    """The tokens that may come next, of a vocabulary that is padded beyond the tokenizer's."""
    logits = torch.zeros(300)
    matcher.mask(logits)
    return [tokenizer.hugging_face.decode([token]) for token in torch.isfinite(logits).nonzero().flatten().tolist()]


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
