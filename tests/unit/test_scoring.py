from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from services.engine.api import PromptScores
from services.engine.model import Model
from services.engine.scoring import PromptScorer, head_statistics
from tests.tiny_model import write_tiny_model


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def model(checkpoint: Path):  # type: ignore[no-untyped-def]
    return AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()


def new_reader(checkpoint: Path, max_bytes: int = 1 << 30) -> PromptScorer:
    model = Model(checkpoint, "float32", "cpu", "none")
    return PromptScorer(*model.hidden_states_model(), model.num_layers, max_bytes)


def afresh(model, ids: list[int]) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[no-untyped-def,type-arg]
    logp = torch.log_softmax(model(torch.tensor([ids])).logits[0, :-1].double(), dim=-1)
    chosen = logp.gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
    return chosen.numpy(), -(logp.exp() * logp).sum(-1).numpy()


def ids(seed: int, length: int) -> list[int]:
    values: list[int] = torch.randint(0, 250, (length,), generator=torch.Generator().manual_seed(seed)).tolist()
    return values


def one(reader: PromptScorer, key: str, text: list[int]) -> PromptScores:
    [scoring] = reader.score([(key, text)])
    return scoring


@torch.inference_mode()
def test_a_growing_prompt_scores_as_if_read_afresh_and_runs_only_its_new_tokens(checkpoint: Path, model) -> None:  # type: ignore[no-untyped-def]
    reader, text = new_reader(checkpoint), ids(1, 200)
    kept = 0
    for length in (60, 61, 130, 200):
        scoring = one(reader, "r", text[:length])
        logprobs, entropies = afresh(model, text[:length])
        np.testing.assert_allclose(scoring.logprobs, logprobs, atol=2e-4)
        np.testing.assert_allclose(scoring.entropies, entropies, atol=2e-4)
        assert (scoring.usage.prompt, scoring.usage.cached) == (length - kept, kept)
        kept = length


@torch.inference_mode()
@pytest.mark.parametrize("shared", [0, 1, 2, 50, 99])
def test_another_text_after_a_common_prefix_scores_as_if_read_afresh(checkpoint: Path, model, shared: int) -> None:  # type: ignore[no-untyped-def]
    reader = new_reader(checkpoint)
    first, second = ids(1, 100), ids(2, 120)
    second[:shared] = first[:shared]
    one(reader, "r", first)
    scoring = one(reader, "r", second)
    logprobs, entropies = afresh(model, second)
    np.testing.assert_allclose(scoring.logprobs, logprobs, atol=2e-4)
    np.testing.assert_allclose(scoring.entropies, entropies, atol=2e-4)
    assert scoring.usage.cached == max(0, shared - 1)


@torch.inference_mode()
def test_a_shorter_prompt_and_the_same_prompt_again(checkpoint: Path) -> None:
    reader, text = new_reader(checkpoint), ids(1, 100)
    whole = one(reader, "r", text)
    again = one(reader, "r", text)
    assert again.usage.prompt == 0
    np.testing.assert_array_equal(whole.logprobs, again.logprobs)
    short = one(reader, "r", text[:40])
    np.testing.assert_allclose(short.logprobs, whole.logprobs[:39], atol=2e-4)


@torch.inference_mode()
def test_memory_is_bounded_and_an_evicted_prefix_is_read_again(checkpoint: Path) -> None:
    reader = new_reader(checkpoint, 1)
    one(reader, "a", ids(1, 50))
    bytes_of_one = reader.num_bytes()
    one(reader, "b", ids(2, 50))
    assert reader.num_bytes() == bytes_of_one
    assert one(reader, "a", ids(1, 50)).usage.cached == 0


@torch.inference_mode()
def test_prompts_that_are_read_together_score_as_if_read_alone(checkpoint: Path, model) -> None:  # type: ignore[no-untyped-def]
    reader = new_reader(checkpoint)
    texts = {"a": ids(1, 90), "b": ids(2, 130), "c": ids(3, 40)}
    one(reader, "a", texts["a"][:50])
    one(reader, "b", texts["b"][:88])
    together = reader.score(list(texts.items()))
    assert [(s.usage.prompt, s.usage.cached) for s in together] == [(40, 50), (42, 88), (40, 0)]
    for scoring, text in zip(together, texts.values(), strict=True):
        logprobs, entropies = afresh(model, text)
        np.testing.assert_allclose(scoring.logprobs, logprobs, atol=2e-4)
        np.testing.assert_allclose(scoring.entropies, entropies, atol=2e-4)
    longer = [(key, text + ids(4, 30)) for key, text in texts.items()]
    for scoring, (_, text) in zip(reader.score(longer), longer, strict=True):
        np.testing.assert_allclose(scoring.logprobs, afresh(model, text)[0], atol=2e-4)
        assert scoring.usage.prompt == 30


@torch.inference_mode()
def test_only_so_many_new_tokens_and_only_different_keys_are_read_together(checkpoint: Path) -> None:
    reader = new_reader(checkpoint)
    assert reader.num_together([("a", ids(1, 50)), ("b", ids(2, 60)), ("c", ids(3, 500))]) == 2
    assert reader.num_together([("a", ids(1, 50)), ("a", ids(1, 60))]) == 1
    one(reader, "c", ids(3, 350))
    assert reader.num_together([("a", ids(1, 50)), ("b", ids(2, 60)), ("c", ids(3, 500))]) == 3


def test_head_statistics_are_exact_over_a_vocabulary_of_many_tiles() -> None:
    generator = torch.Generator().manual_seed(0)
    hidden, weight = torch.randn(130, 32, generator=generator), torch.randn(20000, 32, generator=generator)
    targets = torch.randint(0, 20000, (130,), generator=generator)
    logp = torch.log_softmax((hidden @ weight.T).double(), dim=-1)
    logprobs, entropies = head_statistics(hidden, weight, targets)
    torch.testing.assert_close(logprobs.double(), logp.gather(1, targets[:, None])[:, 0], atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(entropies.double(), -(logp.exp() * logp).sum(-1), atol=1e-4, rtol=1e-5)
