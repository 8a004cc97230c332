"""Which models are asked together, and which stands behind them: chosen by price and family; all products of the lists
are shown.
"""

from dataclasses import replace

from lab.pairs.triples import Benchmark, Model

_MINI = Model("gpt-4o-mini", "GPT-4o mini", "GPT", 0.15, 0.60)
_QWEN3_8B = Model("qwen3-8b", "Qwen3 8B", "Qwen", 0.04, 0.14)
_QWEN3_32B = Model("qwen3-32b", "Qwen3 32B", "Qwen", 0.10, 0.30)
_TOOLACE = Model("toolace-2-8b", "ToolACE-2 8B", "Llama", 0.05, 0.08)
_MINISTRAL = Model("ministral-8b", "Ministral 8B", "Mistral", 0.10, 0.10)
_CALLS_LARGE = (
    Model("gpt-4o-0806", "GPT-4o", "GPT", 2.50, 10),
    Model("gpt-4.1", "GPT-4.1", "GPT", 2, 8),
    Model("claude-sonnet-4", "Claude Sonnet 4", "Claude", 3, 15),
)

_MINI_0718 = Model("gpt-4o-mini-2024-07-18", "GPT-4o mini", "GPT", 0.15, 0.60)
_HAIKU = Model("claude-3-haiku-20240307", "Claude 3 Haiku", "Claude", 0.25, 1.25)
_FLASH = Model("gemini-1.5-flash", "Gemini 1.5 Flash", "Gemini", 0.35, 1.05)
_LLAMA_8B = Model("Meta-Llama-3.1-8B-Instruct", "Llama 3.1 8B", "Llama", 0.05, 0.08)
_QWEN25_7B = Model("Qwen2.5-7B-Instruct", "Qwen2.5 7B", "Qwen", 0.04, 0.10)
_GPT_4O = Model("gpt-4o-2024-08-06", "GPT-4o", "GPT", 2.50, 10)
_SONNET = Model("claude-3-5-sonnet-20241022", "Claude 3.5 Sonnet", "Claude", 3, 15)

_P_LLAMA_8B = Model("Llama-3_1-8B-Instruct", "Llama 3.1 8B", "Llama", 0.05, 0.08)
_P_LLAMA_70B = Model("Llama-3_1-70B-Instruct", "Llama 3.1 70B", "Llama", 0.35, 0.40)
_P_FLASH = Model("gemini-1.5-flash-002", "Gemini 1.5 Flash", "Gemini", 0.35, 1.05)

_CALLS_SMALL = (
    (_MINI, _QWEN3_8B), (_MINI, _QWEN3_32B), (_MINI, _TOOLACE), (_QWEN3_8B, _TOOLACE), (_MINI, _MINISTRAL),
)  # fmt: skip

BENCHMARKS = (
    Benchmark(
        "calls",
        "tool calls, one turn (BFCL): the same call",
        "calls",
        _CALLS_SMALL,
        _CALLS_LARGE,
        takes_no_call=False,
    ),
    Benchmark("calls", "the same, or no call by both", "calls", _CALLS_SMALL, _CALLS_LARGE, shows_alone=False),
    Benchmark(
        "calls",
        "the same call, letter by letter",
        "calls",
        _CALLS_SMALL,
        _CALLS_LARGE,
        takes_no_call=False,
        column="exact",
        shows_alone=False,
    ),
    Benchmark(
        "gsm8k",
        "school mathematics (GSM8K)",
        "answer",
        (
            (_MINI_0718, _FLASH),
            (_MINI_0718, _HAIKU),
            (_LLAMA_8B, Model("gemma-2-9b-it", "Gemma 2 9B", "Gemma", 0.06, 0.06)),
            (_LLAMA_8B, Model("Mistral-Nemo-Instruct-2407", "Mistral Nemo", "Mistral", 0.15, 0.15)),
        ),
        (_GPT_4O, _SONNET, Model("Llama-3.1-405B-Instruct-Turbo", "Llama 3.1 405B", "Llama", 3.50, 3.50)),
    ),
    Benchmark(
        "math5",
        "hard mathematics (MATH, level 5)",
        "answer",
        ((_MINI_0718, _QWEN25_7B), (_MINI_0718, _FLASH), (_QWEN25_7B, _LLAMA_8B)),
        (_GPT_4O, _SONNET, Model("o1-mini-2024-09-12", "o1-mini", "GPT", 3, 12)),
    ),
    Benchmark(
        "mmlu_pro",
        "multiple choice about knowledge (MMLU-Pro)",
        "option",
        (
            (_P_FLASH, _P_LLAMA_70B),
            (_P_LLAMA_8B, Model("Mixtral-8x7B-Instruct-v0.1", "Mixtral 8x7B", "Mistral", 0.24, 0.24)),
        ),
        (
            Model("gemini-1.5-pro-002", "Gemini 1.5 Pro", "Gemini", 1.25, 5),
            Model("gemini-3.1-pro", "Gemini 3.1 Pro", "Gemini", 2, 12),
        ),
    ),
)

HOST_PRICE = 0.20
"""USD a million tokens, read or written: what other hosts ask for open models that are listed at less here."""
_VENDORS = ("GPT", "Claude", "Gemini")


def at_host_price(benchmark: Benchmark) -> Benchmark:
    """Return the benchmark with its small open models at `HOST_PRICE` at least."""
    return replace(benchmark, small=tuple((_hosted(one), _hosted(other)) for one, other in benchmark.small))


def _hosted(model: Model) -> Model:
    if model.family in _VENDORS:
        return model
    return replace(model, read=max(HOST_PRICE, model.read), written=max(HOST_PRICE, model.written))
