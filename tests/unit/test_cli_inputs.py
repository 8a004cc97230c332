"""What a user gives a command that is no text, cannot be read or cannot be written: one line, never a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tandem.cli import ask
from tests import command

MAIN = [sys.executable, "-c", "from tandem.entry import main; main()"]
LATIN_1 = "Was heißt café?".encode("latin-1")
NOWHERE = {"TANDEM_ADDRESS": "127.0.0.1:1"}
# Python then reads any byte, and keeps what is no text as lone surrogates.
C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def tandem(*arguments: str, stdin: bytes = b"", **env: str) -> subprocess.CompletedProcess[str]:
    return command.tandem(*arguments, stdin=stdin, **{**NOWHERE, **env})


def started(*arguments: str, stdin: bytes = b"", **env: str) -> subprocess.CompletedProcess[str]:
    """A process of its own: for what Python does before it is ours."""
    words = [*MAIN, *arguments]
    done = subprocess.run(words, input=stdin, capture_output=True, timeout=120, env=environment(**env), check=False)
    return subprocess.CompletedProcess(words, done.returncode, "", done.stderr.decode(errors="replace"))


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, **NOWHERE, **more}


def error_of(done: subprocess.CompletedProcess[str], code: int = 2) -> str:
    """One message, which Rich may have wrapped."""
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == code, done.stderr
    return " ".join(done.stderr.replace("│", " ").split())


@pytest.mark.parametrize("verb", [["ask", "-"], ["chat"]])
def test_latin_1_on_standard_input_is_named_with_the_remedy(verb: list[str]) -> None:
    error = error_of(tandem(*verb, stdin=LATIN_1))
    assert "no text in UTF-8: byte 0xdf at place 8" in error
    assert "iconv" in error


@pytest.mark.parametrize("verb", [["ask", "-"], ["chat"]])
def test_standard_input_is_read_as_utf8_also_in_the_locale_c(verb: list[str]) -> None:
    """It gets as far as to the gateway, which is not there."""
    done = started(*verb, stdin="\ufeffWas heißt café?\n".encode(), **C_LOCALE)
    assert "onnect" in done.stderr  # of the connection that cannot be made
    assert "Traceback" not in done.stderr
    assert "byte 0xdf at place 8" in error_of(started(*verb, stdin=LATIN_1, **C_LOCALE))


@pytest.mark.parametrize(
    "options", [["--schema", "{}"], ["--check", "regex:@{}"], ["--schema", "{}/nowhere"], ["--tools", "{}"]]
)
def test_a_file_that_is_no_text_or_cannot_be_read_is_named(tmp_path: Path, options: list[str]) -> None:
    file = tmp_path / "latin"
    file.write_bytes(LATIN_1)
    error = error_of(tandem("ask", *(word.format(file) for word in options), "why?"))
    assert options[0] in error


@pytest.mark.parametrize("text", ["{", "{}", "[1]", '[{"description": "x"}]', '[{"function": {"name": 7}}]'])
def test_a_file_that_holds_no_tools_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "tools.json"
    file.write_text(text)
    assert "no JSON list of tools" in error_of(tandem("ask", "--tools", str(file), "why?"))


@pytest.mark.parametrize("words", [["ask"], ["request", "get"], ["trace", "cost"], ["ask", "x", "--tenant"]])
def test_an_argument_that_is_no_text_is_one_line(words: list[str]) -> None:
    assert "text that is no Unicode" in error_of(tandem(*words, os.fsdecode(LATIN_1)))


def test_a_variable_that_is_no_text_is_one_line_which_does_not_show_it() -> None:
    error = error_of(tandem("ask", "x", TANDEM_ADDRESS=os.fsdecode(LATIN_1)))
    assert "no text in UTF-8" in error
    assert "caf" not in error


def test_a_data_set_that_is_no_text_is_named(tmp_path: Path) -> None:
    file = tmp_path / "questions.jsonl"
    file.write_bytes(LATIN_1)
    error = error_of(tandem("eval", "--data", str(file), "--through-batch"), code=1)
    assert f"{file} is no text in UTF-8" in error


@pytest.mark.parametrize("words", ["--help", "version", "doctor", "doctor --json"])
def test_a_reader_that_has_gone_ends_a_command_without_a_word(words: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as stdout:
        done = subprocess.run(
            [*MAIN, *words.split()], stdout=stdout, stderr=subprocess.PIPE, env=environment(), check=False
        )
    assert done.stderr == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("words", ["version", "doctor"])
def test_an_output_that_is_full_is_named(words: str) -> None:
    with open("/dev/full", "wb") as stdout:
        done = subprocess.run(
            [*MAIN, *words.split()], stdout=stdout, stderr=subprocess.PIPE, env=environment(), check=False
        )
    assert done.returncode == 1
    assert done.stderr.decode().strip() == "error: No space left on device"


@pytest.mark.parametrize("imported", ["typer", "tandem.cli.version"])
def test_ctrl_c_while_modules_are_imported_ends_a_command_without_a_traceback(imported: str) -> None:
    """First those of the command line itself, then those of the verb."""
    program = f"""
import os, signal, sys
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == {imported!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
from tandem.entry import main
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", program, "version"], capture_output=True, env=environment(), check=False
    )
    assert b"Traceback" not in done.stderr
    assert done.returncode in (1, 130, -signal.SIGINT)
    assert done.stdout == b""


def test_piped_text_is_put_before_the_question(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def solve_request(question: str, **_: object) -> None:
        asked.append(question)
        sys.exit()

    monkeypatch.setattr(ask, "solve_request", solve_request)
    for words, stdin in (("What is this?", b"print('hi')\n"), ("What is this?", b""), ("-", b"Why?\n")):
        tandem("ask", words, stdin=stdin)
    assert asked == ["print('hi')\n\nWhat is this?", "What is this?", "Why?"]


def test_a_loop_over_a_file_keeps_its_lines(tmp_path: Path) -> None:
    file = tmp_path / "questions.txt"
    file.write_text("one\ntwo\n")
    with file.open("rb", buffering=0) as stdin:
        stdin.seek(4)
        done = subprocess.run([*MAIN, "ask", "one"], stdin=stdin, capture_output=True, env=environment(), check=False)
        assert stdin.read() == b"two\n"
    assert b"onnect" in done.stderr


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0", "binary and no text: byte 0 at place 9"),
        (b"text\0", "binary and no text: byte 0 at place 5"),
        ("Grüße".encode("utf-16"), "but in UTF-16: `iconv -f utf-16 -t utf-8`"),
        (LATIN_1, "If it is Latin-1"),
    ],
)
def test_what_is_piped_and_no_text_is_named_with_the_remedy(content: bytes, why: str) -> None:
    for arguments in (["ask", "What is this?"], ["ask", "-"]):
        assert why in error_of(tandem(*arguments, stdin=content))


def test_a_pipe_that_does_not_end_is_named() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stdin, os.fdopen(writing, "wb"):
        process = subprocess.Popen([*MAIN, "ask", "why?"], stdin=stdin, stderr=subprocess.PIPE, env=environment())
        assert process.stderr is not None
        assert b"waiting for the end of standard input" in process.stderr.readline()
        process.kill()
        process.wait()
