"""The wheel: the client and the command line, small, typed, and usable without anything else."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.bare import ROOT, BareEnvironment, build_wheel, find_uv

pytestmark = pytest.mark.timeout(600)
MAX_BYTES = 1_000_000
MAX_IMPORT_SECONDS = 0.3
# Of the server side; none may come with the client.
HEAVY = {"torch", "transformers", "temporalio", "redis", "kserve", "numpy", "opentelemetry.sdk"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module", params=["3.11", "3.12", "3.13", "3.14"])
def bare(request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> BareEnvironment:
    """With each version of Python that is installed on this machine; nothing is downloaded."""
    command = [find_uv(), "python", "find", "--no-project", "--no-python-downloads", request.param]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip(f"needs Python {request.param}: `uv python install {request.param}`")
    return BareEnvironment.create(tmp_path_factory.mktemp("bare"), wheel, found.stdout.strip())


@pytest.fixture(scope="module")
def own(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> BareEnvironment:
    """With the Python of the tests: for what packages, not versions of Python, decide."""
    return BareEnvironment.create(tmp_path_factory.mktemp("own"), wheel, sys.executable)


def test_the_wheel_is_one_small_typed_package(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {
        "tandem",
        f"{wheel.name.removesuffix('-py3-none-any.whl')}.dist-info",
    }
    assert wheel.stat().st_size < MAX_BYTES
    assert "tandem/py.typed" in names
    for proto in (ROOT / "protos/tandem/v1").glob("*.proto"):
        for stub in ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py", "_pb2_grpc.pyi"):
            assert f"tandem/v1/{proto.stem}{stub}" in names


def test_the_client_is_imported_quickly_and_brings_nothing_of_the_server_side(bare: BareEnvironment) -> None:
    measure = "import time; start = time.process_time(); {0}; print(time.process_time() - start)"
    for statement in ("import tandem", "from tandem import Client"):
        # The best of several, in processor time: another process on the same cores must not fail this test.
        seconds = min(float(bare.python(measure.format(statement))) for _ in range(8))
        assert seconds < MAX_IMPORT_SECONDS, statement
    installed = bare.python(
        f"from importlib.util import find_spec; print([n for n in {sorted(HEAVY)} if find_spec(n)])"
    )
    assert installed == "[]"


def test_every_verb_of_the_client_explains_itself(bare: BareEnvironment) -> None:
    assert "ask " in bare.tandem("--help").stdout
    for verb in ("ask", "request", "profiles", "trace", "check", "doctor", "version"):
        done = bare.tandem(verb, "--help")
        assert (done.returncode, done.stderr) == (0, ""), verb
    assert bare.tandem("version").stdout.startswith("tandem")
    assert "only the client is installed" in bare.tandem("doctor", TANDEM_ADDRESS="127.0.0.1:1").stdout


def test_doctor_of_the_client_looks_at_a_stack_that_another_installation_runs(own: BareEnvironment) -> None:
    """Without the packages of the server side, which asking a gRPC port for its health would take."""
    state = own.folder / "state-of-a-stack"
    state.mkdir(exist_ok=True)
    (state / "stack.json").write_text('{"gateway": "127.0.0.1:1", "http": "http://127.0.0.1:1"}')
    done = own.tandem("doctor", TANDEM_STATE=str(state))
    assert "Traceback" not in done.stderr
    assert "see `tandem logs http-gateway`" in done.stdout


@pytest.mark.parametrize("words", ["profiles", "keys list", "tenants list", "spend", "trace cost --last 1", "check"])
def test_no_verb_of_the_client_needs_a_package_that_is_not_there(own: BareEnvironment, words: str) -> None:
    done = own.tandem(*words.split(), TANDEM_ADDRESS="127.0.0.1:1", HOME=str(own.folder))
    assert "Traceback" not in done.stderr
    assert "ModuleNotFoundError" not in done.stderr


@pytest.mark.parametrize("verb", ["up", "models", "train", "eval"])
def test_a_verb_that_needs_the_repository_says_so_in_one_sentence(own: BareEnvironment, verb: str) -> None:
    done = own.tandem(verb)
    assert done.returncode == 1
    message = " ".join(done.stderr.split())
    assert message.startswith(f"error: `tandem {verb}` needs a checkout of the repository")
    assert "Traceback" not in message


def test_a_gateway_that_is_away_is_named(own: BareEnvironment) -> None:
    done = own.tandem("ask", "why?", TANDEM_ADDRESS="127.0.0.1:1")
    assert done.returncode == 1
    assert "no gateway answers" in done.stderr
