"""What tests/conftest.py holds: no test reaches another through the environment, the working directory or a port."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from tandem.local.ports import free_port
from tests.conftest import run_server, unchanged_process

SERVER = "import socket, sys; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); s.accept()"


def test_a_changed_environment_fails_its_test_and_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_KEPT", "before")
    monkeypatch.setenv("TANDEM_REMOVED", "before")

    def leave() -> None:
        with unchanged_process("x"):
            os.environ["TANDEM_ADDED"] = "after"
            os.environ["TANDEM_KEPT"] = "after"
            del os.environ["TANDEM_REMOVED"]

    with pytest.raises(pytest.fail.Exception, match="TANDEM_ADDED, TANDEM_KEPT, TANDEM_REMOVED"):
        leave()
    assert "TANDEM_ADDED" not in os.environ
    assert (os.environ["TANDEM_KEPT"], os.environ["TANDEM_REMOVED"]) == ("before", "before")


def test_a_changed_working_directory_fails_its_test_and_is_restored(tmp_path: Path) -> None:
    before = Path.cwd()
    gone = tmp_path / "gone"
    gone.mkdir()

    def leave() -> None:
        with unchanged_process("x"):
            os.chdir(gone)
            gone.rmdir()

    with pytest.raises(pytest.fail.Exception, match="working directory"):
        leave()
    assert Path.cwd() == before


def test_a_server_whose_port_is_taken_gets_another(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        ports = iter([taken, free_port()])
        monkeypatch.setattr("tests.conftest.free_port", lambda: next(ports))
        with run_server(lambda port: [sys.executable, "-c", SERVER, str(port)], lambda port: True) as port:
            assert port != taken
