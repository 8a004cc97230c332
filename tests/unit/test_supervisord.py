"""What a killed supervisord leaves is asked to end, in the order in which its processes need each other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil

from tandem.local.supervisord import end_waves
from tests.conftest import wait_until

_PROCESS = """
import os, signal, sys, time
name, file = sys.argv[1:]
def end(*_):
    with open(file, "a") as ended:
        ended.write(name + " ")
    sys.exit()
signal.signal(signal.SIGTERM, end)
open(file + name, "w").close()
while True:
    time.sleep(60)
"""


def test_the_last_wave_ends_first_and_what_tells_no_name_with_the_first(tmp_path: Path) -> None:
    file, names = tmp_path / "ended-", ("temporal", "worker", "gateway", "redis")
    began = []
    for name in names:
        told = {} if name == "redis" else {"SUPERVISOR_PROCESS_NAME": name}
        command = [sys.executable, "-c", _PROCESS, name, str(file)]
        began.append(subprocess.Popen(command, env={**os.environ, **told}))
    wait_until(lambda: all((tmp_path / f"ended-{name}").exists() for name in names))
    end_waves([["temporal", "redis"], ["worker"], ["gateway"]], [psutil.Process(each.pid) for each in began], 60)
    assert [each.wait() for each in began] == [0, 0, 0, 0]
    ended = file.read_text().split()
    assert (ended[:2], set(ended[2:])) == (["gateway", "worker"], {"temporal", "redis"})
