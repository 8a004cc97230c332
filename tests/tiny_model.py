"""A small real checkpoint, written in a second: a random Qwen2 with a byte-level tokenizer and a chat template."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def write_tiny_model(folder: Path, seed: int = 0, head_dim: int = 16, special: Sequence[str] = ()) -> Path:
    """Write config, float32 weights, tokenizer and template to `folder`, which is returned. A token is a byte, or one
    of `special`.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", chat_template=_TEMPLATE)
    fast.add_special_tokens({"additional_special_tokens": ["<|im_start|>", *special]})
    torch.manual_seed(seed)
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(fast),
            hidden_size=4 * head_dim,
            intermediate_size=128,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=2048,
            eos_token_id=fast.eos_token_id,
            bos_token_id=None,
            pad_token_id=fast.eos_token_id,
            initializer_range=0.2,
        )
    )
    model.lm_head.weight.data[fast.eos_token_id] = 0  # so that greedy decoding never ends by itself
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def random_prompt(seed: int, length: int) -> tuple[int, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randint(0, 250, (length,), generator=generator).tolist())


def reference(folder: Path, ids: tuple[int, ...], max_new_tokens: int) -> list[int]:
    """What transformers' own `generate` decodes greedily after `ids`."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    output = model.generate(torch.tensor([ids]), max_new_tokens=max_new_tokens, do_sample=False)
    return output[0, len(ids) :].tolist()
