"""What a process has generated outlives it, however it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from services.models.generation.journal import Attempt, Journal, UnfinishedAttempt
from tests.disks import mounted_disk

_ATTEMPT = Attempt("r1", 2, 0)
_FULL = """
import sys
from pathlib import Path
from services.models.generation.journal import Attempt, Journal
folder = Path(sys.argv[1])
journal = Journal(folder / "journal")
try:
    (folder / "something-else").write_bytes(b"x" * 1_000_000)
except OSError:
    pass
page = journal.begin(Attempt("r1", 2, 0))
page.count(12, 7)
page.remove()
"""
_KILLED = """
import os, signal, sys
from pathlib import Path
from services.models.generation.journal import Attempt, Journal
journal = Journal(Path(sys.argv[1]))
done, begun, running = (journal.begin(Attempt(name, 2, 0)) for name in ("done", "begun", "r1"))
for generated in range(1, 8):
    running.count(12, generated)
done.count(12, 1)
done.remove()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_tokens_of_a_killed_process_are_found_once(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert list(Journal(tmp_path).unfinished()) == [UnfinishedAttempt(_ATTEMPT, 12, 7)]
    assert list(Journal(tmp_path).unfinished()) == []
    assert not list(tmp_path.iterdir())


def test_a_prompt_that_was_sent_by_a_killed_process_is_found(tmp_path: Path) -> None:
    killed = _KILLED.replace("running.count(12, generated)", "running.count(12, 0)")
    subprocess.run([sys.executable, "-c", killed, str(tmp_path)], check=False)
    assert list(Journal(tmp_path).unfinished()) == [UnfinishedAttempt(_ATTEMPT, 12, 0)]


def test_a_text_that_runs_is_not_unfinished(tmp_path: Path) -> None:
    page = Journal(tmp_path).begin(_ATTEMPT)
    page.count(12, 7)
    assert list(Journal(tmp_path).unfinished()) == []
    page.remove()
    page.remove()
    assert not list(tmp_path.iterdir())


def test_a_file_of_another_kind_hinders_nothing(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"?")
    assert list(Journal(tmp_path).unfinished()) == []


def test_without_a_folder_nothing_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    for journal in (Journal(), Journal(tmp_path / "file" / "below")):
        page = journal.begin(_ATTEMPT)
        page.count(12, 7)
        page.remove()
        assert list(journal.unfinished()) == []
    assert "on no bill" in caplog.text


def test_a_full_disk_keeps_no_counts_and_costs_no_request(tmp_path: Path) -> None:
    """Where a file has a hole and the disk no room for it, to write into the page kills the process."""
    with mounted_disk(tmp_path / "disk", 64 << 10) as disk:
        done = subprocess.run([sys.executable, "-c", _FULL, str(disk)], check=False, capture_output=True, text=True)
        assert (done.returncode, list((disk / "journal").iterdir())) == (0, [])
        assert "the tokens of r1 are not kept" in done.stderr


def test_a_prompt_that_was_sent_stands_where_the_first_token_does_not_say_it_again(tmp_path: Path) -> None:
    sent_first = _KILLED.replace("for generated", "running.count(12, 0)\nfor generated")
    killed = sent_first.replace("running.count(12, generated)", "running.count(0, generated)")
    subprocess.run([sys.executable, "-c", killed, str(tmp_path)], check=False)
    assert list(Journal(tmp_path).unfinished()) == [UnfinishedAttempt(_ATTEMPT, 12, 7)]
