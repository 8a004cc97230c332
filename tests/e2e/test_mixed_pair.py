"""A pair of which others run the large model and this machine the small one, from a GGUF file."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tandem import Client, Completed
from tandem.local.supervisor import Stack
from tandem.method.profile.profile import load_profile
from tandem.paths import REPOSITORY
from tandem.v1 import tandem_pb2
from tests.able_api import EVERYTHING, MODEL, openai_server
from tests.e2e.test_local_stack import stack_of
from tests.recorded_api import recorded_api
from tests.tiny_gguf import write_tiny_gguf
from tests.tiny_model import write_tiny_model

pytestmark = pytest.mark.timeout(600)
QUESTION = 'def f(x):\n    """\n    >>> f(1)\n    2\n    >>> f(3)\n    4\n    """\n'


@pytest.fixture(scope="module")
def large() -> Iterator[str]:
    with recorded_api(openai_server(EVERYTHING.model_copy(update={"usage": "at_end"}))) as api:
        yield f"{api.url}/v1#{MODEL}"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Folders of the user's own."""
    folder = tmp_path_factory.mktemp("own")
    return {
        "TANDEM_STATE": str(folder / "state"),
        "TANDEM_MODELS": str(folder / "models"),
        "TANDEM_PROFILES_PATH": os.pathsep.join([str(folder / "profiles"), str(REPOSITORY / "deploy" / "profiles")]),
        "TANDEM_ENGINE": "auto",
    }


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_gguf(write_tiny_model(tmp_path_factory.mktemp("tiny"), head_dim=32))


@pytest.fixture(scope="module")
def mixed(large: str, own: Mapping[str, str], gguf: Path) -> Iterator[Stack]:
    # The little file's own tokenizer lacks words that its merges name.
    tokenizer = shutil.ignore_patterns("*.gguf", "*.safetensors", "config.json", "generation_config.json")
    shutil.copytree(gguf.parent, Path(own["TANDEM_MODELS"]) / gguf.stem, ignore=tokenizer)
    with stack_of(own, "--large", large, "--small", f"llamacpp:{gguf}", "--profile", "mixed") as stack:
        yield stack


def test_the_small_model_runs_here_from_its_file_and_the_large_one_is_asked(
    mixed: Stack, own: Mapping[str, str], gguf: Path
) -> None:
    own_profiles = Path(own["TANDEM_PROFILES_PATH"].partition(os.pathsep)[0])
    assert {"insight-generator", "slm-executor"} < mixed.ports.keys()
    assert not {"model-apis", "sufficiency-scorer"} & mixed.ports.keys()
    with Client(mixed.gateway) as client:
        *_, last = client.solve(QUESTION, task="code")
    assert isinstance(last, Completed)
    usage = last.result.usage
    assert (usage.llm.model, usage.slm.model) == (MODEL, gguf.stem)
    assert usage.slm.output_tokens > 0  # its weights are random: the trial fails, and the large model is asked
    assert not usage.slm.is_estimated
    assert usage.llm.input_tokens == 20
    assert last.result.trials[0].verdict == tandem_pb2.VERDICT_FAIL
    assert load_profile("mixed", (own_profiles,)).max_question_tokens == 1024  # its file says 2,048 tokens of context
