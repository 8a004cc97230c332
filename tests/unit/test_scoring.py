from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from services.models.engine.api import PromptScores
from services.models.engine.torch_engine.model import Checkpoint
from services.models.engine.torch_engine.scoring import PromptScorer, head_statistics
from tests.tiny_model import write_tiny_model


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def model(checkpoint: Path):  # type: ignore[no-untyped-def]
    return AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()


def new_scorer(checkpoint: Path, max_bytes: int = 1 << 30) -> PromptScorer:
    model = Checkpoint(checkpoint, "float32", "cpu", "none")
    return PromptScorer(*model.hidden_states_model(), model.num_layers, max_bytes)


def uncached(model, ids: list[int]) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[no-untyped-def,type-arg]
    logp = torch.log_softmax(model(torch.tensor([ids])).logits[0, :-1].double(), dim=-1)
    chosen = logp.gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
    return chosen.numpy(), -(logp.exp() * logp).sum(-1).numpy()


def ids(seed: int, length: int) -> list[int]:
    values: list[int] = torch.randint(0, 250, (length,), generator=torch.Generator().manual_seed(seed)).tolist()
    return values


def one(scorer: PromptScorer, key: str, text: list[int]) -> PromptScores:
    [scores] = scorer.score([(key, text)])
    return scores


@torch.inference_mode()
def test_a_growing_prompt_scores_as_without_a_cache_and_computes_only_its_new_tokens(checkpoint: Path, model) -> None:  # type: ignore[no-untyped-def]
    scorer, text = new_scorer(checkpoint), ids(1, 200)
    cached = 0
    for length in (60, 61, 130, 200):
        scores = one(scorer, "r", text[:length])
        logprobs, entropies = uncached(model, text[:length])
        np.testing.assert_allclose(scores.logprobs, logprobs, atol=2e-4)
        np.testing.assert_allclose(scores.entropies, entropies, atol=2e-4)
        assert (scores.usage.prompt, scores.usage.cached) == (length - cached, cached)
        cached = length


@torch.inference_mode()
@pytest.mark.parametrize("shared", [0, 1, 2, 50, 99])
def test_another_text_after_a_common_prefix_scores_as_without_a_cache(checkpoint: Path, model, shared: int) -> None:  # type: ignore[no-untyped-def]
    scorer = new_scorer(checkpoint)
    first, second = ids(1, 100), ids(2, 120)
    second[:shared] = first[:shared]
    one(scorer, "r", first)
    scores = one(scorer, "r", second)
    logprobs, entropies = uncached(model, second)
    np.testing.assert_allclose(scores.logprobs, logprobs, atol=2e-4)
    np.testing.assert_allclose(scores.entropies, entropies, atol=2e-4)
    assert scores.usage.cached == max(0, shared - 1)


@torch.inference_mode()
def test_a_shorter_prompt_and_the_same_prompt_again(checkpoint: Path) -> None:
    scorer, text = new_scorer(checkpoint), ids(1, 100)
    whole = one(scorer, "r", text)
    again = one(scorer, "r", text)
    assert again.usage.prompt == 0
    np.testing.assert_array_equal(whole.logprobs, again.logprobs)
    short = one(scorer, "r", text[:40])
    np.testing.assert_allclose(short.logprobs, whole.logprobs[:39], atol=2e-4)


@torch.inference_mode()
def test_memory_is_bounded_and_an_evicted_text_is_computed_again(checkpoint: Path) -> None:
    scorer = new_scorer(checkpoint, 1)
    one(scorer, "a", ids(1, 50))
    bytes_of_one = scorer.num_bytes()
    one(scorer, "b", ids(2, 50))
    assert scorer.num_bytes() == bytes_of_one
    assert one(scorer, "a", ids(1, 50)).usage.cached == 0


@torch.inference_mode()
def test_prompts_of_one_pass_score_as_each_alone(checkpoint: Path, model) -> None:  # type: ignore[no-untyped-def]
    scorer = new_scorer(checkpoint)
    texts = {"a": ids(1, 90), "b": ids(2, 130), "c": ids(3, 40)}
    one(scorer, "a", texts["a"][:50])
    one(scorer, "b", texts["b"][:88])
    together = scorer.score(list(texts.items()))
    assert [(s.usage.prompt, s.usage.cached) for s in together] == [(40, 50), (42, 88), (40, 0)]
    for scores, text in zip(together, texts.values(), strict=True):
        logprobs, entropies = uncached(model, text)
        np.testing.assert_allclose(scores.logprobs, logprobs, atol=2e-4)
        np.testing.assert_allclose(scores.entropies, entropies, atol=2e-4)
    longer = [(key, text + ids(4, 30)) for key, text in texts.items()]
    for scores, (_, text) in zip(scorer.score(longer), longer, strict=True):
        np.testing.assert_allclose(scores.logprobs, uncached(model, text)[0], atol=2e-4)
        assert scores.usage.prompt == 30


@torch.inference_mode()
def test_a_pass_has_a_limit_of_new_tokens_and_no_key_twice(checkpoint: Path) -> None:
    scorer = new_scorer(checkpoint)
    assert scorer.num_together([("a", ids(1, 50)), ("b", ids(2, 60)), ("c", ids(3, 500))]) == 2
    assert scorer.num_together([("a", ids(1, 50)), ("a", ids(1, 60))]) == 1
    one(scorer, "c", ids(3, 350))
    assert scorer.num_together([("a", ids(1, 50)), ("b", ids(2, 60)), ("c", ids(3, 500))]) == 3


def test_head_statistics_are_exact_over_a_vocabulary_of_many_tiles() -> None:
    generator = torch.Generator().manual_seed(0)
    hidden, weight = torch.randn(130, 32, generator=generator), torch.randn(20000, 32, generator=generator)
    targets = torch.randint(0, 20000, (130,), generator=generator)
    logp = torch.log_softmax((hidden @ weight.T).double(), dim=-1)
    logprobs, entropies = head_statistics(hidden, weight, targets)
    torch.testing.assert_close(logprobs.double(), logp.gather(1, targets[:, None])[:, 0], atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(entropies.double(), -(logp.exp() * logp).sum(-1), atol=1e-4, rtol=1e-5)
