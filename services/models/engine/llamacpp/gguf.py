"""What a GGUF file has besides weights that llama.cpp runs, in a folder in Hugging Face layout.

Run as `python -m services.models.engine.llamacpp.gguf GGUF FOLDER`, it writes the files that
services.models.engine.tokenizer reads, without transformers and torch. A GGUF file has vocabulary, merges and chat
template, and names the rule that splits a text into words (`tokenizer.ggml.pre`). The rules are those of llama.cpp
(src/llama-vocab.cpp) for byte-level BPE. Where another kind of tokenizer is needed (SentencePiece, Unigram),
transformers reads the file if it is installed.

With `--convert` transformers writes tokenizer and weights for the engine of its name, which loads them in seconds.
Dequantising needs several times the file's size in memory, and a process of its own returns all of it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from tandem.gguf_metadata import read_metadata

_NORMAL, _CONTROL, _USER_DEFINED = 1, 3, 4  # types of tokens
_BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
_ALPHABET = frozenset(pre_tokenizers.ByteLevel.alphabet())
_SPECIAL = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


@dataclass(frozen=True, slots=True)
class WordRule:
    """A text is split by each pattern in turn. With `nfc` it is composed before, as the tokenizer of the model's
    authors does.
    """

    patterns: tuple[str, ...]
    nfc: bool = False


def _as_llama3(digits: str) -> str:
    """Llama 3's pattern, with at most so many digits in a word."""
    return rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_REST}"


def _by_case(suffix: str, digits: str) -> str:
    """A word ends before a capital letter that follows a small one."""
    before = r"[^\r\n\p{L}\p{N}]?"
    return (
        rf"{before}[{_UPPER}]*[{_LOWER}]+{suffix}|{before}[{_UPPER}]+[{_LOWER}]*{suffix}|{digits}| "
        rf"?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_REST}"
    )


_QWEN2 = WordRule((_as_llama3(r"\p{N}"),), nfc=True)
_LLAMA3 = WordRule((_as_llama3(r"\p{N}{1,3}"),))
RULES = {
    "default": WordRule((_GPT2,)),
    "gpt-2": WordRule((_GPT2,)),
    "smollm": WordRule((r"\p{N}", _GPT2)),
    "qwen2": _QWEN2,
    "deepseek-r1-qwen": _QWEN2,
    "llama-bpe": _LLAMA3,
    "llama3": _LLAMA3,
    "tekken": WordRule((_by_case("", r"\p{N}"),)),
    "gpt-4o": WordRule((_by_case(f"{_CONTRACTIONS}?", r"\p{N}{1,3}"),)),
}


class UnknownTokenizer(OSError):
    """A GGUF file whose kind of tokenizer is not known here."""


def write_tokenizer(gguf: Path, folder: Path) -> None:
    """Write tokenizer.json, tokenizer_config.json and chat_template.jinja. Raises OSError for a file that cannot be
    read.
    """
    fields = read_metadata(gguf)
    tokenizer = _build(fields)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(_config(fields), indent=1) + "\n")
    if template := fields.get("tokenizer.chat_template"):
        (folder / "chat_template.jinja").write_text(template)


def _build(fields: dict[str, Any]) -> Tokenizer:
    """Raises UnknownTokenizer."""
    kind, name = fields.get("tokenizer.ggml.model"), fields.get("tokenizer.ggml.pre", "default")
    if kind != "gpt2" or name not in RULES:
        raise UnknownTokenizer(f"its tokenizer is {kind!r} with words as in {name!r}")
    tokens: list[str] = fields["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ", 1)) for merge in fields["tokenizer.ggml.merges"]]
    types = fields.get("tokenizer.ggml.token_type", [_NORMAL] * len(tokens))
    spelled = [_spelled(token, kind) for token, kind in zip(tokens, types, strict=True)]
    tokenizer = Tokenizer(models.BPE({token: index for index, token in enumerate(spelled)}, merges))
    rule = RULES[name]
    if rule.nfc:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            *(pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in rule.patterns),
            _BYTES,
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens(list(_whole(tokens, types)))
    return tokenizer


def _spelled(token: str, kind: int) -> str:
    """In the byte alphabet, whose characters each stand for a byte, as the merges have it. Some files name unused
    places otherwise.
    """
    if kind == _USER_DEFINED or _ALPHABET.issuperset(token):
        return token
    return "".join(word for word, _ in _BYTES.pre_tokenize_str(token))


def _whole(tokens: list[str], types: list[int]) -> Iterator[AddedToken]:
    """Tokens that a text is never split within: those of the chat's control, and those that the authors added."""
    for token, kind in zip(tokens, types, strict=True):
        if kind == _USER_DEFINED or (kind == _CONTROL and _spelled(token, kind) == token):
            yield AddedToken(token, normalized=False, special=kind == _CONTROL)


def _config(fields: dict[str, Any]) -> dict[str, Any]:
    tokens = fields["tokenizer.ggml.tokens"]
    ids = {name: fields.get(f"tokenizer.ggml.{key}_token_id") for name, key in _SPECIAL.items()}
    special = {name: None if index is None else tokens[index] for name, index in ids.items()}
    return {**special, "tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}


def convert(gguf: Path, folder: Path) -> None:
    """Write `gguf` as bfloat16 safetensors, with its tokenizer and chat template, into `folder`.

    Raises OSError where transformers cannot read the file.
    """
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig

    _write_with_transformers(gguf, folder)
    model = AutoModelForCausalLM.from_pretrained(
        str(gguf.parent),
        gguf_file=gguf.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.bfloat16,
    )
    model.save_pretrained(folder)


def _write_with_transformers(gguf: Path, folder: Path) -> None:
    """Its tokenizer. Raises OSError where transformers cannot read the file."""
    from transformers import AutoTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name).save_pretrained(folder)
    # What transformers adds to such a tokenizer when it loads it (a normalizer) is then in the file too.
    AutoTokenizer.from_pretrained(folder).save_pretrained(folder)


def main(gguf: Path, folder: Path) -> None:
    """Write its tokenizer. Raises OSError."""
    try:
        write_tokenizer(gguf, folder)
    except UnknownTokenizer as error:
        if not find_spec("transformers"):
            raise OSError(f"{error}, which transformers reads: `make develop` installs it") from error
        _write_with_transformers(gguf, folder)


if __name__ == "__main__":
    *flags, file, target = sys.argv[1:]
    (convert if flags == ["--convert"] else main)(Path(file), Path(target))
