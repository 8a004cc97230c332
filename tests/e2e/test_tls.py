"""`tandem up --tls`: commands work as without, strangers reach nothing, and certificates change while requests run."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import grpc
import pytest
from google.protobuf.message import Message
from kserve.protocol.grpc import grpc_predict_v2_pb2 as oip
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as oip_grpc
from redis import Redis
from redis.exceptions import AuthenticationError, NoPermissionError

from services.sufficiency_scorer.service import MODEL_NAME
from tandem import Client
from tandem.access.redis_users import USERS
from tandem.local.certificates import Authority, authority_file
from tandem.local.layout import OWN_PROCESSES
from tandem.local.planning import open_stack
from tandem.local.ports import listens
from tandem.local.supervisor import Stack
from tandem.v1 import (
    checking_pb2,
    checking_pb2_grpc,
    execution_pb2,
    execution_pb2_grpc,
    insight_pb2_grpc,
    tandem_pb2,
    tandem_pb2_grpc,
)
from tests.certificates import Issued
from tests.conftest import Hold, wait_until
from tests.e2e.conftest import in_environment
from tests.e2e.test_local_stack import ours, tandem

pytestmark = pytest.mark.timeout(900)
BOUND_SECONDS = 300.0
QUICK = r"[scores=16:0.9 slm=\boxed{4}_ slm_eos=12] what?"
PROCESSES = [process.name for process in OWN_PROCESSES]


@pytest.fixture(scope="module")
def secured(environment: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("secured")
    with in_environment({"TANDEM_STATE": str(folder)}):
        up = tandem("up", "--tls", "--profile", "scripted")
        assert up.returncode == 0, up.stderr
        stack = open_stack()
        assert stack is not None
        yield stack
        assert tandem("down").returncode == 0
    assert ours(folder) == []
    assert not stack.certificates.exists()


def test_every_command_works_as_without_tls(secured: Stack) -> None:
    done = tandem("ask", "-v", QUICK)
    assert done.returncode == 0, done.stderr
    assert "sufficient at stage 1" in done.stdout
    assert tandem("status").returncode == 0
    checks = {check["name"]: check for check in json.loads(tandem("doctor", "--json").stdout)["checks"]}
    assert [checks[name]["ok"] for name in ("local stack", "gateway", "http-gateway")] == [True] * 3
    assert checks["gateway"]["found"].startswith("https://")
    assert "already up" in tandem("up", "--tls").stdout


def test_a_stranger_on_this_machine_reads_nothing_in_redis(secured: Stack) -> None:
    host, _, port = secured.address("redis").partition(":")
    with Redis(host=host, port=int(port)) as stranger, pytest.raises(AuthenticationError):
        stranger.dbsize()
    for user in USERS:
        password = (secured.certificates / "redis-passwords" / user.process).read_text()
        with Redis(host=host, port=int(port), username=user.name, password=password) as own:
            assert own.ping()
            with pytest.raises(NoPermissionError):
                own.flushall()


def test_up_says_that_temporal_stays_open(secured: Stack) -> None:
    said = tandem("up", "--tls").stdout
    assert f"Temporal at {secured.address('temporal')} is open to anyone on this machine" in said


def test_openai_clients_are_served_over_the_internal_port(secured: Stack) -> None:
    body = json.dumps({"model": "scripted", "messages": [{"role": "user", "content": QUICK}]}).encode()
    request = Request(f"{secured.http}/v1/chat/completions", body, {"Content-Type": "application/json"})
    with urlopen(request, timeout=BOUND_SECONDS) as reply:
        assert "4" in json.load(reply)["choices"][0]["message"]["content"]


def test_each_process_accepts_its_callers_alone(secured: Stack) -> None:
    info, generator = execution_pb2.GetModelInfoRequest(), insight_pb2_grpc.InsightGeneratorStub
    ready, profiles = oip.ModelReadyRequest(name=MODEL_NAME), tandem_pb2.ListProfilesRequest()
    main = {process: secured.ports[process]["main"] for process in PROCESSES}
    calls: list[tuple[int, str, Callable[[grpc.Channel], Callable[..., Any]], Message]] = [
        (main["insight-generator"], "worker", lambda c: generator(c).GetModelInfo, info),  # type: ignore[no-untyped-call]
        (main["slm-executor"], "worker", lambda c: execution_pb2_grpc.SlmExecutorStub(c).GetModelInfo, info),  # type: ignore[no-untyped-call]
        (main["sufficiency-scorer"], "worker", lambda c: oip_grpc.GRPCInferenceServiceStub(c).ModelReady, ready),
        (
            main["answer-checker"],
            "worker",
            lambda c: checking_pb2_grpc.AnswerCheckerStub(c).GetCheckerInfo,
            checking_pb2.GetCheckerInfoRequest(),  # type: ignore[no-untyped-call]
        ),
        (
            secured.ports["gateway"]["internal"],
            "http-gateway",
            lambda c: tandem_pb2_grpc.TandemServiceStub(c).ListProfiles,
            profiles,  # type: ignore[no-untyped-call]
        ),
    ]
    for port, only, method, request in calls:
        found = {caller: outcome(secured, caller, port, method, request) for caller in (*PROCESSES, "probe")}
        assert found.pop(only) is grpc.StatusCode.OK
        assert set(found.values()) == {grpc.StatusCode.PERMISSION_DENIED}, port
    [scorer] = [row for row in secured.status() if row.name == "sufficiency-scorer"]
    assert scorer.pid
    assert not listens(scorer.pid, secured.ports["sufficiency-scorer"]["http"])  # KServe's own, which asks nobody


def outcome(
    stack: Stack, caller: str, port: int, method: Callable[[grpc.Channel], Callable[..., Any]], request: Message
) -> grpc.StatusCode:
    folder = stack.certificates / caller
    authority, key, chain = ((folder / name).read_bytes() for name in ("ca.crt", "tls.key", "tls.crt"))
    with grpc.secure_channel(f"127.0.0.1:{port}", grpc.ssl_channel_credentials(authority, key, chain)) as channel:
        try:
            method(channel)(request, timeout=60)
        except grpc.RpcError as error:
            return error.code()
    return grpc.StatusCode.OK


def test_keys_are_for_this_user_alone(secured: Stack) -> None:
    files = [file for file in secured.certificates.rglob("*") if file.is_file()]
    assert {file.parent.name for file in files if file.name == "tls.key"} == {*PROCESSES, "probe"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def replace_certificates(folder: Path, signer: Authority, trusted: bytes) -> None:
    for process in (*PROCESSES, "probe"):
        Issued(folder / process).write(signer, process, trusted)
    authority_file(folder).write_bytes(trusted)


def ask_anew(stack: Stack) -> str:
    """By a client that connects now."""
    with Client(stack.gateway) as client:
        return client.ask(QUICK).answer


def test_a_new_authority_takes_over_while_twenty_requests_run(secured: Stack, hold: Hold) -> None:
    folder, new = secured.certificates, Authority()
    old_trusted = authority_file(folder).read_bytes()
    # The throw-away authority signs nothing more: each process keeps its certificate until the new one signs another.
    questions = [f"[llm_hold=5:{hold} llm_eos=9 slm_eos=5] {number}" for number in range(10)]
    questions += [f"[scores=16:0.9 slm_hold=3:{hold} slm_eos=9] {number}" for number in range(10)]

    with Client(secured.gateway) as client, ThreadPoolExecutor(len(questions)) as pool:
        futures: list[Future[tandem_pb2.SolveResult]] = [pool.submit(client.ask, each) for each in questions]
        for component in ("insight-generator", "slm-executor"):
            wait_until(lambda component=component: running(secured, component) == 10, BOUND_SECONDS)
        for process in (*PROCESSES, "probe"):
            (folder / process / "ca.crt").write_bytes(old_trusted + new.pem)
        authority_file(folder).write_bytes(old_trusted + new.pem)
        assert "4" in ask_anew(secured)
        replace_certificates(folder, new, old_trusted + new.pem)
        assert "4" in ask_anew(secured)
        replace_certificates(folder, new, new.pem)
        assert "4" in ask_anew(secured)
        assert tandem("status").returncode == 0
        assert [future.done() for future in futures] == [False] * 20
        hold.release()
        results = [future.result(BOUND_SECONDS) for future in futures]
    assert [result for result in results if not result.answer or result.notes] == []
    assert {result.attempts for result in results} == {1}


def running(stack: Stack, component: str) -> float:
    port = stack.ports[component]["metrics"]
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as reply:
        lines = reply.read().decode().splitlines()
    return sum(
        float(each.rpartition(" ")[2])
        for each in lines
        if each.startswith("tandem_engine_requests{") and 'state="running"' in each
    )
