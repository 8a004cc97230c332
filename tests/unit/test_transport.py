"""A process's certificate: what its files must be, and what happens when they change or are wrong."""

from __future__ import annotations

import logging
import socket
import ssl
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from services.shared.process.callers import Callers, spiffe_id
from services.shared.process.certificate import CertificateError
from services.shared.process.transport import TransportSettings, own_transport
from tandem.client.gateway import Gateway
from tandem.local.certificates import PROBE, Authority, authority_file, write_certificates
from tandem.local.layout import OWN_PROCESSES, PROCESSES, Layout, StackError
from tandem.local.planning import require_same
from tandem.local.programs import program
from tandem.local.supervisor import Stack
from tandem.method.errors import PermissionDenied
from tandem.v1 import batch_pb2, checking_pb2, execution_pb2, insight_pb2, tandem_pb2
from tests.certificates import issue

PORTS = {process.name: dict(process.ports) for process in PROCESSES}


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def peer(identity: str) -> dict[str, list[bytes]]:
    return {"x509_pem_cert": [b"..."], "peer_spiffe_id": [identity.encode()]}


def test_without_settings_nothing_is_encrypted_and_nobody_is_refused() -> None:
    transport = TransportSettings().transport()
    assert not transport.is_on
    assert transport.guard(Callers.only("worker")).callers is None


@pytest.mark.parametrize("missing", ["certificate", "key", "authorities"])
def test_two_files_of_three_are_refused_at_the_start(authority: Authority, tmp_path: Path, missing: str) -> None:
    issued = issue(tmp_path, authority, "worker")
    files = {"certificate": "tls.crt", "key": "tls.key", "authorities": "ca.crt"}
    values = {name: issued.folder / file for name, file in files.items() if name != missing}
    with pytest.raises(CertificateError, match="set all of"):
        TransportSettings.model_validate(values).transport()


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("tls.crt", "no certificate", "no certificate in PEM with the key"),
        ("tls.key", "no key", "no certificate in PEM with the key"),
        ("ca.crt", "no certificate", "holds no certificates"),
        ("tls.key", None, "No such file"),
    ],
)
def test_files_that_are_no_certificate_end_the_process_with_their_name(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, text: str | None, message: str
) -> None:
    folder = issue(tmp_path, authority, "worker").folder
    for name, wrong in (("TANDEM_TLS_CERT", "tls.crt"), ("TANDEM_TLS_KEY", "tls.key"), ("TANDEM_TLS_CA", "ca.crt")):
        monkeypatch.setenv(name, str(folder / wrong))
    assert own_transport().is_on
    if text is None:
        (folder / file).unlink()
    else:
        (folder / file).write_text(text)
    with pytest.raises(CertificateError, match=message) as caught:
        own_transport()
    assert file in str(caught.value)


def test_a_half_replaced_pair_is_not_used_until_the_other_half_is_there(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    issued, renewed = issue(tmp_path, authority, "worker"), issue(tmp_path, authority, "renewed")
    watched = issued.transport().certificate
    assert watched is not None
    first = watched.value
    (issued.folder / "tls.crt").write_bytes((renewed.folder / "tls.crt").read_bytes())
    with caplog.at_level(logging.ERROR):
        assert watched.value is first
    assert "stay as they were" in caplog.text
    (issued.folder / "tls.key").write_bytes((renewed.folder / "tls.key").read_bytes())
    assert watched.value.chain == (renewed.folder / "tls.crt").read_bytes()
    (issued.folder / "ca.crt").write_bytes(Authority().pem)
    assert watched.value.authorities != first.authorities


def test_a_name_is_one_process_of_one_trust_domain() -> None:
    only_worker = Callers.only("worker")
    only_worker.check(peer(spiffe_id("worker", "tandem")), "tandem")
    for identity in ("spiffe://tandem/worker/x", "spiffe://tandem/gateway", "spiffe://other/worker", "worker", ""):
        with pytest.raises(PermissionDenied):
            only_worker.check(peer(identity), "tandem")
    for nameless in ({}, {"x509_pem_cert": [b"..."]}):
        with pytest.raises(PermissionDenied, match="without a SPIFFE id"):
            only_worker.check(nameless, "tandem")


def test_certificates_are_taken_where_they_are_checked_strictly(authority: Authority, tmp_path: Path) -> None:
    """As `ssl.create_default_context` does from Python 3.13 on."""
    own = issue(tmp_path, authority, "gateway").folder
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=own / "ca.crt")
    server.load_cert_chain(own / "tls.crt", own / "tls.key")
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    near, far = socket.socketpair()
    with ThreadPoolExecutor(1) as pool, near, far:
        serving = pool.submit(server.wrap_socket, far, server_side=True)
        client.wrap_socket(near, server_hostname="localhost").close()
        serving.result().close()


def test_who_shows_a_certificate_at_an_open_port_must_be_one_of_the_callers() -> None:
    gateway = Callers(frozenset({"http-gateway"}), anyone=True)
    gateway.check({}, "tandem")
    gateway.check(peer("spiffe://tandem/http-gateway"), "tandem")
    with pytest.raises(PermissionDenied):
        gateway.check(peer("spiffe://tandem/slm-executor"), "tandem")


def test_no_method_of_ours_is_of_a_kind_that_no_guard_wraps() -> None:
    files = (tandem_pb2, batch_pb2, insight_pb2, execution_pb2, checking_pb2)
    services = [service for file in files for service in file.DESCRIPTOR.services_by_name.values()]
    methods = [method for service in services for method in service.methods]
    assert len(methods) > 10
    assert [method.full_name for method in methods if method.client_streaming and method.server_streaming] == []


def test_the_local_stack_writes_a_certificate_for_each_process_and_forgets_its_authority(tmp_path: Path) -> None:
    layout = Layout(tmp_path, "any", PORTS, tls=True)
    write_certificates(layout.certificates, [process.name for process in OWN_PROCESSES])
    for process in OWN_PROCESSES:
        environment = program(layout, process).environment
        names = ("TANDEM_TLS_CERT", "TANDEM_TLS_KEY", "TANDEM_TLS_CA")
        values = dict(zip(("certificate", "key", "authorities"), (environment[name] for name in names), strict=True))
        assert TransportSettings.model_validate(values).transport().is_on
    files = [file for file in layout.certificates.rglob("*") if file.is_file()]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    keys = {file.parent.name for file in files if b"PRIVATE KEY" in file.read_bytes()}
    assert keys == {*(process.name for process in OWN_PROCESSES), PROBE}
    assert not program(Layout(tmp_path, "any", PORTS), OWN_PROCESSES[0]).environment.keys() & {"TANDEM_TLS_CERT"}


def test_up_with_tls_does_not_take_a_stack_without_for_one(tmp_path: Path) -> None:
    require_same(Stack(tmp_path, "any", PORTS, tls=True), ["any"], jaeger=False, tls=True)
    with pytest.raises(StackError, match="start one with TLS"):
        require_same(Stack(tmp_path, "any", PORTS), ["any"], jaeger=False, tls=True)


def test_up_with_a_port_does_not_take_a_stack_on_another_for_one(tmp_path: Path) -> None:
    running = Stack(tmp_path, "any", PORTS | {"http-gateway": {"main": 8080}})
    require_same(running, ["any"], jaeger=False, http_port=8080)
    with pytest.raises(StackError, match="start one with HTTP port 8090"):
        require_same(running, ["any"], jaeger=False, http_port=8090)
    with pytest.raises(StackError, match=r"start one with --lose-at-most 0\.1"):
        require_same(running, ["any"], jaeger=False, lose_at_most=0.1)


def test_a_client_trusts_the_local_stack_that_it_calls_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TANDEM_STATE", str(tmp_path))
    monkeypatch.delenv("TANDEM_CA_FILE", raising=False)
    write_certificates(tmp_path / "tls", [])
    authority = authority_file(tmp_path / "tls")
    (tmp_path / "stack.json").write_text(f'{{"gateway": "https://127.0.0.1:7", "authority": "{authority}"}}')
    assert Gateway("https://127.0.0.1:7").authority == authority
    assert Gateway("https://elsewhere:7").authority is None
    monkeypatch.setenv("TANDEM_CA_FILE", "mine.pem")
    assert Gateway("https://127.0.0.1:7").authority == Path("mine.pem")
