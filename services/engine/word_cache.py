"""What the tokenizers' library remembers of the texts that it has read."""

from __future__ import annotations

from tokenizers import Tokenizer
from tokenizers.models import BPE, Unigram


def keep_no_words(tokenizer: Tokenizer) -> None:
    """The library keeps the first 10,000 words, up to 8 kB each, for each thread and tokenizer: a process grows by them. Without them
    a text takes a sixth longer.
    """
    if isinstance(tokenizer.model, BPE | Unigram):
        tokenizer.model._resize_cache(0)
