"""What goes wrong in a user's first hour is one line that says what to do, never a traceback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tandem.local.layout import StackError, engine_threads
from tandem.paths import DEFAULT_PROFILE, REPOSITORY
from tests import command

BROKEN = 'name = "broken"\n[llm\n'


NOWHERE = {"TANDEM_ADDRESS": "127.0.0.1:1"}


def tandem(*arguments: str, stdin: str | bytes = b"", **env: str) -> subprocess.CompletedProcess[str]:
    given = stdin.encode() if isinstance(stdin, str) else stdin
    return command.tandem(*arguments, stdin=given, **{**NOWHERE, **env})


def error_of(done: subprocess.CompletedProcess[str]) -> str:
    """One message, which Rich may have wrapped."""
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode in (1, 2)
    return " ".join(done.stderr.split())


def write_profile(folder: Path, text: str) -> str:
    (folder / "broken").mkdir()
    (folder / "broken/profile.toml").write_text(text)
    return str(folder)


def test_a_profile_that_is_no_toml_is_named_with_the_place(tmp_path: Path) -> None:
    error = error_of(tandem("up", "--profile", "broken", TANDEM_PROFILES_PATH=write_profile(tmp_path, BROKEN)))
    assert "profile.toml is no valid TOML" in error
    assert "line 2" in error


def test_a_profile_that_breaks_a_rule_is_named_with_the_rule(tmp_path: Path) -> None:
    shipped = (REPOSITORY / "deploy/profiles" / DEFAULT_PROFILE / "profile.toml").read_text()
    folder = write_profile(tmp_path, shipped.replace("parameters =", "parametres =", 1))
    error = error_of(tandem("models", "pull", "--profile", "broken", TANDEM_PROFILES_PATH=folder))
    assert "parametres: Extra inputs are not permitted" in error


@pytest.mark.parametrize("value", ["many", "0", "-2"])
def test_a_number_of_threads_that_is_none_is_named(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_THREADS", value)
    with pytest.raises(StackError, match=f"TANDEM_THREADS is '{value}'"):
        engine_threads()


def test_doctor_does_not_take_another_stacks_gateway_for_that_of_its_state_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One answers at the default address, which another folder's stack has."""
    from tandem.cli import doctor

    monkeypatch.setattr(doctor.Client, "profiles", lambda _: None)
    monkeypatch.delenv("TANDEM_ADDRESS", raising=False)
    monkeypatch.setenv("TANDEM_STATE", str(tmp_path))
    check = doctor._gateway()
    assert not check.ok
    assert f"no stack runs from {tmp_path}" in check.found
    assert "TANDEM_ADDRESS=127.0.0.1:50050" in check.advice
    monkeypatch.setenv("TANDEM_ADDRESS", "127.0.0.1:50050")
    assert doctor._gateway().ok
    monkeypatch.delenv("TANDEM_ADDRESS")
    monkeypatch.delenv("TANDEM_STATE")
    monkeypatch.setattr(doctor, "read_stack", lambda: None)
    assert doctor._gateway().found == f"127.0.0.1:50050, the default: no stack runs from {doctor.state_folder()}"


def pulled(folder: Path, profiles_folder: Path) -> dict[str, str]:
    """As after `tandem models pull`."""
    for name in ("scripted-llm", "scripted-slm"):
        (folder / "models" / name).mkdir(parents=True)
        (folder / "models" / name / "config.json").touch()
    return {"TANDEM_PROFILES_PATH": str(profiles_folder), "TANDEM_MODELS": str(folder / "models")}


def test_a_http_port_that_is_taken_is_named_before_anything_starts(tmp_path: Path, profiles_folder: Path) -> None:
    chosen = {"TANDEM_STATE": str(tmp_path / "state"), **pulled(tmp_path, profiles_folder)}
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        error = error_of(tandem("up", "--profile", "scripted", "--http-port", port, **chosen))
    assert f"port {port} for the http-gateway is taken" in error
    assert not (tmp_path / "state" / "stack.json").exists()


def test_a_state_folder_that_is_a_file_is_named(tmp_path: Path, profiles_folder: Path) -> None:
    file = tmp_path / "state"
    file.touch()
    env = {"TANDEM_STATE": str(file), **pulled(tmp_path, profiles_folder)}
    assert "set TANDEM_STATE to a folder" in error_of(tandem("up", "--profile", "scripted", **env))
    assert "there is no log" in error_of(tandem("logs", **env))
    for verb in ("status", "down"):
        assert "Traceback" not in tandem(verb, **env).stderr


def test_a_models_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "models"
    file.touch()
    assert "set TANDEM_MODELS to another folder" in error_of(tandem("models", "pull", TANDEM_MODELS=str(file)))


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_that_is_not_utf8_shows_what_it_can(encoding: str) -> None:
    variables = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0", "LC_ALL": "C"}
    main = [sys.executable, "-c", "from tandem.cli import main; main()", "doctor"]
    done = subprocess.run(main, capture_output=True, timeout=120, env=variables)
    assert b"Traceback" not in done.stderr
    assert b"python" in done.stdout
    assert "→".encode() not in done.stdout


@pytest.mark.parametrize(("question", "stdin"), [("", ""), ("  ", ""), ("-", " \n")])
def test_an_empty_question_names_itself_before_anything_starts(tmp_path: Path, question: str, stdin: str) -> None:
    done = tandem("ask", "--up", question, stdin=stdin, TANDEM_STATE=str(tmp_path))
    assert done.returncode == 2
    assert "the question is empty" in error_of(done)
    assert list(tmp_path.iterdir()) == []


def test_a_question_that_is_no_text_names_itself() -> None:
    done = tandem("ask", "-", stdin=b"\xff\xfe\x00")
    assert done.returncode == 2
    assert "standard input is no text" in error_of(done)


def test_a_value_that_no_request_can_hold_is_named() -> None:
    """The question is a file's name in Latin-1, as a shell passes it on."""
    assert "max_llm_tokens is out of its range" in error_of(tandem("ask", "--max-llm-tokens", str(2**32), "why?"))
    latin = os.fsdecode(b"caf\xe9")
    assert "question holds text that is no Unicode" in error_of(tandem("ask", latin))
    no_ascii = "ké"
    assert "U+00E9 at character 2" in error_of(tandem("ask", "why?", TANDEM_API_KEY=no_ascii))


def test_a_second_pair_whose_models_run_here_is_refused(tmp_path: Path, profiles_folder: Path) -> None:
    pairs = [word for name in ("scripted", "scripted-checked") for word in ("--profile", name)]
    refused = tandem("up", *pairs, TANDEM_STATE=str(tmp_path), TANDEM_PROFILES_PATH=str(profiles_folder))
    error = error_of(refused)
    assert "the models of scripted and scripted-checked run on this machine" in error
    assert "TANDEM_STATE=FOLDER tandem up --profile scripted-checked" in error


def test_a_promise_is_refused_where_nothing_can_be_learned(tmp_path: Path, profiles_folder: Path) -> None:
    words = ("up", "--profile", "scripted", "--lose-at-most", "3%")
    refused = tandem(*words, TANDEM_STATE=str(tmp_path), TANDEM_PROFILES_PATH=str(profiles_folder))
    assert "profile scripted: a promise needs stop.scorer = 'off'" in error_of(refused)


@pytest.mark.parametrize("share", ["0", "60%", "much", "3%%"])
def test_a_share_that_is_none_is_refused(share: str) -> None:
    assert "is no share: give 3%, or 0.03" in error_of(tandem("up", "--lose-at-most", share))


def test_endpoints_are_those_of_one_pair() -> None:
    error = error_of(tandem("up", "--profile", "one", "--profile", "two", "--large", "openai:a", "--small", "openai:b"))
    assert "endpoints are those of one pair" in error
