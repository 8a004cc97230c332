"""Answers that try to get out of the sandbox, or to pass without being right.

Each defines `f`, whose example is `assert f() == "right"`; it returns "right" only if it got what it must not get.
"""

from __future__ import annotations

import os

OUTSIDE = "/tmp/tandem-escaped"

ESCAPES = {
    "fork bomb": """
import os
def f():
    while True:
        os.fork()
""",
    "other program": """
import subprocess
def f():
    subprocess.run(["/bin/sh", "-c", "true"], check=True)
    return "right"
""",
    "memory bomb": """
def f():
    held = []
    while True:
        held.append(bytearray(1 << 24))
""",
    "infinite loop": """
def f():
    while True:
        pass
""",
    "infinite loop at import": """
while True:
    pass
""",
    "a gigabyte of output": """
import os, sys
for _ in range(1024):
    sys.stdout.write("x" * (1 << 20))
    os.write(1, b"x" * (1 << 20))
    os.write(2, b"x" * (1 << 20))
def f():
    return "wrong"
""",
    "a full disk": """
def f():
    for number in range(1000):
        with open(f"file{number}", "wb") as file:
            file.write(bytes(1 << 20))
    return "right"
""",
    "files without end": """
def f():
    for number in range(100_000):
        open(f"file{number}", "wb").close()
    return "right"
""",
    "writing outside": f"""
import os, sys, sysconfig
def f():
    for path in ({OUTSIDE!r}, "/etc/passwd", "/dev/shm/x", "../x", sysconfig.get_paths()["stdlib"] + "/x.py", sys.executable):
        try:
            with open(path, "a") as file:
                file.write("x")
            return "right"
        except OSError:
            pass
""",
    "reading outside": """
def f():
    for path in ("/etc/shadow", "/etc/passwd", "/root/.bashrc", "/proc/self/environ", "/proc/1/cmdline", "/sys/kernel/notes"):
        try:
            with open(path, "rb") as file:
                file.read(1)
            return "right"
        except OSError:
            pass
""",
    "environment of others": """
import os
def f():
    if "SECRET" in os.environ:
        return "right"
    for pid in range(1, 100_000):
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                file.read()
            return "right"
        except OSError:
            pass
""",
    "a socket": """
import socket
def f():
    connection = socket.create_connection(("127.0.0.1", PORT), timeout=1)
    connection.recv(1)
    return "right"
""",
    "an abstract socket": """
import socket
def f():
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        for make in (lambda: socket.socket(socket.AF_UNIX, kind), lambda: socket.socketpair(socket.AF_UNIX, kind)[0]):
            try:
                stream = make()
                stream.connect("\\0tandem-escape-PORT")
                return "right"
            except OSError:
                pass
""",
    "killing the parent": """
import os, signal
def f():
    hit = 0
    for pid in (os.getppid(), -1, *range(2, 5000)):
        try:
            os.kill(pid, signal.SIGKILL if pid > 0 else 0)
            hit += pid != os.getpid()
        except (OSError, OverflowError):
            pass
    return "right" if hit else "wrong"
""",
    "tracing others": """
import ctypes, os
def f():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(16, os.getppid(), 0, 0) == 0 or libc.unshare(0x10000000) == 0 or libc.mount(b"x", b"/", b"tmpfs", 0, 0) == 0:
        return "right"
""",
    "raising its limits": """
import resource
def f():
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_NOFILE):
        try:
            resource.setrlimit(kind, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            return "right"
        except (ValueError, OSError):
            pass
""",
    "exit before the example": "import sys\nsys.exit(0)",
    "exit at once": "import os\nos._exit(0)",
    "exit in the call": "import os\ndef f():\n    os._exit(0)",
    "raise SystemExit in the call": "import sys\ndef f():\n    sys.exit(0)",
    "abort": "import os\ndef f():\n    os.abort()",
    "always equal": """
class Always(str):
    def __eq__(self, other):
        return True
    __hash__ = str.__hash__
def f():
    return Always("wrong")
""",
    "always equal object": """
class Always:
    def __eq__(self, other):
        return True
    def __repr__(self):
        return "'right'"
def f():
    return Always()
""",
    "prints passed": """
print("passed", "1 passed, 0 failed", '{"holds": true}')
def f():
    print("passed")
""",
    "writes to every descriptor": """
import json, os
body = json.dumps({"holds": True, "detail": ""}).encode()
for descriptor in range(64):
    try:
        os.write(descriptor, len(body).to_bytes(4, "big") + body)
    except OSError:
        pass
def f():
    return "wrong"
""",
    "redefines the checker": """
import builtins, sys
for name, module in list(sys.modules.items()):
    if name.startswith(("services", "tandem")):
        for attribute in list(vars(module)):
            if not attribute.startswith("__"):
                setattr(module, attribute, lambda *a, **k: True)
builtins.AssertionError = Exception
def f():
    return "wrong"
""",
    "walks frames and objects": """
import gc, sys
def texts():
    frame = sys._getframe()
    while frame:
        yield from (v for v in (*frame.f_locals.values(), *frame.f_globals.values()) if isinstance(v, str))
        frame = frame.f_back
    for found in gc.get_objects():
        if isinstance(found, (list, tuple, set)):
            yield from (v for v in found if isinstance(v, str))
        elif isinstance(found, dict):
            yield from (v for v in list(found.values()) if isinstance(v, str))
def f():
    return next((text for text in texts() if text == "".join(("ri", "ght"))), "wrong")
""",
    "huge integer": "def f():\n    return 1 << (1 << 26)",
    "deep list": """
def f():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    return deep
""",
    "list in itself": "def f():\n    me = []\n    me.append(me)\n    return me",
    "endless generator": "def f():\n    while True:\n        yield 1",
    "large result": "def f():\n    return 'x' * (1 << 27)",
    "ignores signals": """
import signal
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
def f():
    while True:
        pass
""",
    "signals itself": "import os, signal\ndef f():\n    os.kill(os.getpid(), signal.SIGSEGV)",
    "threads that go on": """
import threading
def spin():
    while True:
        pass
for _ in range(8):
    threading.Thread(target=spin).start()
def f():
    return "wrong"
""",
    "endless recursion in C": """
import sys
sys.setrecursionlimit(1 << 30)
def f():
    return f()
""",
    "lazy import of the service": """
def f():
    import services.answer_checker.checker
    return "right"
""",
}

# What namespaces or landlock may have a part in. The others end by limits of time, memory and output, or by how a result is
# compared, the same with any layer.
HELD_BY_LAYERS = (
    "fork bomb", "other program", "a full disk", "files without end", "writing outside", "reading outside",
    "environment of others", "a socket", "an abstract socket", "killing the parent", "tracing others",
    "raising its limits", "writes to every descriptor", "ignores signals", "threads that go on",
    "lazy import of the service",
)  # fmt: skip


def was_written_outside() -> bool:
    """Whether "writing outside" has left its file."""
    return os.path.exists(OUTSIDE)
