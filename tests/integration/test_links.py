"""The proxies between processes that the campaign of faults uses (tests/links.py)."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.links import Links

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def echo() -> Iterator[str]:
    """A server that sends back what it gets."""

    def answer(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(100):
                connection.sendall(data)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=answer, args=server.accept()[:1], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def links() -> Iterator[Links]:
    with Links() as links:
        yield links


def _connected(address: str) -> socket.socket:
    host, _, port = address.partition(":")
    return socket.create_connection((host, int(port)), timeout=30)


def _reply(connection: socket.socket, seconds: float = 30) -> bytes:
    connection.settimeout(seconds)
    connection.sendall(b"?")
    return connection.recv(1)


def _lasting(fault: Callable[[float], None]) -> threading.Thread:
    """Begun in a thread of its own: it blocks for as long as it lasts."""
    thread = threading.Thread(target=fault, args=[1.0])
    thread.start()
    time.sleep(0.3)
    return thread


def test_a_link_passes_bytes_and_ends_each_way(links: Links, echo: str) -> None:
    with _connected(links.between("a", "b", echo)) as connection:
        assert _reply(connection) == b"?"
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""


def test_a_slow_link_delays_each_way(links: Links, echo: str) -> None:
    with _connected(links.between("a", "b", echo)) as connection:
        _reply(connection)
        fault = _lasting(lambda seconds: links["a to b"].slow(seconds, 0.2))
        began = time.monotonic()
        assert _reply(connection) == b"?"
        assert time.monotonic() - began >= 0.4
        fault.join()


def test_a_cut_resets_connections_and_new_ones_pass_after_it(links: Links, echo: str) -> None:
    address = links.between("a", "b", echo)
    with _connected(address) as connection:
        _reply(connection)
        fault = _lasting(links["a to b"].cut)
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
        fault.join()
    with _connected(address) as connection:
        assert _reply(connection) == b"?"


def test_a_silenced_connection_says_nothing_ever_and_a_later_one_is_well(links: Links, echo: str) -> None:
    address = links.between("a", "b", echo)
    with _connected(address) as before:
        _reply(before)
        fault = _lasting(links["a to b"].silence)
        with _connected(address) as during:
            fault.join()
            for connection in (before, during):
                with pytest.raises(TimeoutError):
                    _reply(connection, 1)
            with _connected(address) as after:
                assert _reply(after) == b"?"


def test_an_environment_is_led_through_links(links: Links, echo: str) -> None:
    changed = links.rewired("a", {"URL": f"redis://{echo}/0", "LONGER": f"{echo}0", "PORT": "1"}, {"b": echo})
    assert changed["LONGER"] == f"{echo}0"
    assert changed["PORT"] == "1"
    with _connected(changed["URL"].removeprefix("redis://").removesuffix("/0")) as connection:
        assert _reply(connection) == b"?"
