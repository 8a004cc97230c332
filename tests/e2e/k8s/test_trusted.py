"""TLS between all processes, API keys and Redis's users on the cluster: who may call whom, and certificates renewed
under requests.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tandem import AsyncClient, Client, RequestError
from tandem.access.keys import KeyFile
from tandem.access.redis_users import USERS, acl_lines, passwords_in
from tandem.local import certificates
from tandem.local.certificates import Authority
from tandem.local.layout import OWN_PROCESSES
from tests.e2e.k8s.cluster import Cluster
from tests.e2e.k8s.pods import run_python
from tests.e2e.k8s.release import CHECKER, MODELS, NAME, Release, eventually
from tests.e2e.k8s.secrets import secret
from tests.stacks import environment

pytestmark = pytest.mark.timeout(1800)
NAMESPACE = "trusted"
FRONT = "10.96.200.1"  # of a Service that the certificate of the gateway can name before it is there
PROCESSES = [process.name for process in OWN_PROCESSES]
CALLED = dict.fromkeys((CHECKER, *MODELS), "worker") | {"gateway": "http-gateway"}
PORTS = {"gateway": 50056}
ACCEPTED = {"OK", "UNAUTHENTICATED"}  # the gateway takes the HTTP gateway for what it is, and asks for a caller's key
LONG = "[ms=700 slm_eos=60] {}"  # 48 tokens of insight, 60 of answer: longer than a new secret takes to its processes
# What a pod's own certificate opens: prints the gRPC status of one call to each target.
CALLS = """
import json, os, sys
import grpc

METHODS = {
    "insight-generator": "/tandem.v1.InsightGenerator/GetModelInfo",
    "slm-executor": "/tandem.v1.SlmExecutor/GetModelInfo",
    "answer-checker": "/tandem.v1.AnswerChecker/GetCheckerInfo",
    "sufficiency-scorer": "/inference.GRPCInferenceService/ServerLive",
    "gateway": "/tandem.v1.TandemService/ListProfiles",
}
authority, key, chain = (open(f"/etc/tandem/tls/{name}", "rb").read() for name in ("ca.crt", "tls.key", "tls.crt"))
credentials, found = grpc.ssl_channel_credentials(authority, key, chain), {}
for target in sys.argv[1:]:
    process, host, port, name = target.split(",")
    with grpc.secure_channel(f"{host}:{port}", credentials, [("grpc.ssl_target_name_override", name)]) as channel:
        try:
            channel.unary_unary(METHODS[process])(b"", timeout=20)
            found[process] = "OK"
        except grpc.RpcError as error:
            found[process] = error.code().name
print(json.dumps(found))
"""
# What a pod's own user may do in Redis: prints what became of each command.
COMMANDS = """
import json, os
from redis import Redis

redis = Redis.from_url(
    os.environ["REDIS_URL"], username=os.environ["REDIS_USERNAME"], password=open(os.environ["REDIS_PASSWORD_FILE"]).read().strip()
)
found = {}
for command in ("PING", "FLUSHALL", "KEYS *", "CONFIG GET *", "ACL LIST"):
    try:
        redis.execute_command(*command.split())
        found[command] = "done"
    except Exception as error:
        found[command] = type(error).__name__
print(json.dumps(found))
"""  # noqa: E501


@dataclass(frozen=True)
class Trusted:
    """A release that asks everyone for credentials. `key` is a tenant's."""

    release: Release
    authority: Authority
    folder: Path
    key: str

    def renew(self) -> None:
        """A new certificate for each process, by the same authority, as cert-manager does it."""
        for process in PROCESSES:
            self._put_secret(process, *self.authority.issue(process, hosts_of(process)))

    def secrets(self) -> None:
        self.renew()
        passwords = passwords_in(self.folder / "passwords")
        self._put("redis-users", {name: text.encode() for name, text in passwords.items()})
        self._put("redis-acl", {"users.acl": ("\n".join(acl_lines(passwords, 6)) + "\n").encode()})
        self._put("tandem-keys", {"keys.json": (self.folder / "keys.json").read_bytes()})

    def certificates(self) -> dict[str, x509.Certificate]:
        """Those that all who are called show, by pod."""
        return {
            pod["metadata"]["name"]: shown_by(pod, PORTS.get(process, 50051))
            for process in CALLED
            for pod in self.release.pods(process)
        }

    def serials(self) -> dict[str, int]:
        return {pod: certificate.serial_number for pod, certificate in self.certificates().items()}

    def is_renewed(self) -> bool:
        """No pod shows a certificate that has expired."""
        now = datetime.now(UTC)
        return all(certificate.not_valid_after_utc > now for certificate in self.certificates().values())

    def run(self, component: str, program: str, *words: str) -> dict[str, str]:
        """What a program prints in a pod of the component."""
        [pod, *_] = self.release.pods(component)
        printed = run_python(self.release.cluster, NAMESPACE, pod["metadata"]["name"], program, *words)
        found: dict[str, str] = json.loads(printed)
        return found

    def _put_secret(self, process: str, chain: bytes, key: bytes) -> None:
        self._put(secret_of(process), {"tls.crt": chain, "tls.key": key, "ca.crt": self.authority.pem})

    def _put(self, name: str, data: dict[str, bytes]) -> None:
        self.release.cluster.apply([secret(name, NAMESPACE, data)])


def shown_by(pod: dict[str, Any], port: int) -> x509.Certificate:
    pem = ssl.get_server_certificate((pod["status"]["podIP"], port), timeout=10)
    return x509.load_pem_x509_certificate(pem.encode())


def secret_of(process: str) -> str:
    return f"{process}-certificate"


def hosts_of(process: str) -> list[str]:
    of_pods = f"{NAME}-{process}-pods.{NAMESPACE}.svc"
    return [of_pods, f"{NAME}-{process}", FRONT] if process == "gateway" else [of_pods]


def values() -> dict[str, Any]:
    given = {process.key: secret_of(process.name) for process in OWN_PROCESSES}
    redis = [
        "/programs/redis-server",
        "--save",
        "",
        "--appendonly",
        "no",
        "--port",
        "6379",
        "--aclfile",
        "/acl/users.acl",
    ]
    mounts = [{"name": name, "mountPath": f"/{name}", "readOnly": True} for name in ("programs", "acl")]
    return {
        "tls": {"enabled": True, "existingSecrets": given},
        "auth": {"existingSecret": "tandem-keys"},
        "redis": {"usersSecret": "redis-users"},
        "demo": {
            "redis": {"command": redis},
            "extraVolumes": [
                {"name": "programs", "persistentVolumeClaim": {"claimName": "programs"}},
                {"name": "acl", "secret": {"secretName": "redis-acl"}},
            ],
            "extraVolumeMounts": mounts,
        },
    }


@pytest.fixture(scope="module")
def trusted(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trusted]:
    release, folder = Release(cluster, NAMESPACE, scripted=True), tmp_path_factory.mktemp("trusted")
    _, key = KeyFile(folder / "keys.json").create("acme")
    found = Trusted(release, Authority(), folder, key)
    release.prepare()
    found.secrets()
    front = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "front", "namespace": NAMESPACE}}
    selector = {"app.kubernetes.io/instance": NAME, "app.kubernetes.io/component": "gateway"}
    ports = [{"name": "grpc", "port": 50051, "targetPort": 50051}]
    cluster.apply([{**front, "spec": {"clusterIP": FRONT, "selector": selector, "ports": ports}}])
    release.upgrade("--install", values=values())
    release.wait_until_ready()
    (folder / "ca.crt").write_bytes(found.authority.pem)
    with environment({"TANDEM_CA_FILE": str(folder / "ca.crt")}):
        yield found
    release.remove()


def test_a_caller_needs_the_authority_and_a_key(trusted: Trusted) -> None:
    with Client(f"https://{FRONT}:50051", trusted.key) as client:
        assert client.ask("[slm_eos=5] trusted?").reasoning
    with Client(f"https://{FRONT}:50051") as client, pytest.raises(RequestError, match="a credential is needed"):
        client.ask("who asks?")


def test_each_process_is_called_by_one_other_alone(trusted: Trusted) -> None:
    targets = [
        f"{process},{trusted.release.pods(process)[0]['status']['podIP']},{PORTS.get(process, 50051)},{hosts_of(process)[0]}"  # noqa: E501
        for process in CALLED
    ]
    for caller in PROCESSES:
        found = trusted.run(caller, CALLS, *targets)
        accepting = {process for process, status in found.items() if status in ACCEPTED}
        assert accepting == {process for process, only in CALLED.items() if only == caller}, (caller, found)
        # Nothing that the answer checker sends leaves its pod.
        assert set(found.values()) - ACCEPTED <= {"PERMISSION_DENIED", *(["UNAVAILABLE"] if caller == CHECKER else [])}


def test_no_process_may_see_or_empty_all_of_redis(trusted: Trusted) -> None:
    for process in [user.process for user in USERS if user.process in PROCESSES]:
        found = trusted.run(process, COMMANDS)
        assert found.pop("PING") in ("done", "NoPermissionError")
        assert set(found.values()) == {"NoPermissionError"}, (process, found)


def test_expired_certificates_are_refused_until_they_are_renewed(
    trusted: Trusted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusal() -> str:
        with Client(f"https://{FRONT}:50051", trusted.key) as client:
            try:
                client.profiles()
            except RequestError as error:
                return str(error)
        return ""

    def answer() -> str:
        with Client(f"https://{FRONT}:50051", trusted.key) as client:
            try:
                return client.ask("[slm_eos=5] renewed?").reasoning
            except RequestError:
                return ""

    pods = {pod["metadata"]["uid"] for process in PROCESSES for pod in trusted.release.pods(process)}
    with monkeypatch.context() as patched:
        patched.setattr(certificates, "_VALID", timedelta(minutes=-1))
        trusted.renew()
    eventually("the refusal", lambda: "certificate has expired" in refusal(), 180)
    trusted.renew()
    eventually("an answer", lambda: answer().startswith("y "), 180)
    eventually("new certificates of all", trusted.is_renewed, 180)
    assert pods == {pod["metadata"]["uid"] for process in PROCESSES for pod in trusted.release.pods(process)}


async def test_certificates_are_renewed_under_twenty_requests_and_none_is_lost(trusted: Trusted) -> None:
    before, running = trusted.serials(), asyncio.Event()

    async def ask(number: int) -> str:
        async with AsyncClient(f"https://{FRONT}:50051", trusted.key) as client:
            async for event in client.solve(LONG.format(number)):
                if event.kind == "insight_delta":
                    running.set()
                if event.kind == "completed":
                    return event.result.reasoning
        return ""

    def all_are_new() -> bool:
        now = trusted.serials()
        return now.keys() == before.keys() and all(now[pod] != before[pod] for pod in now)

    requests = [asyncio.create_task(ask(number)) for number in range(20)]
    await running.wait()
    trusted.renew()
    await asyncio.to_thread(eventually, "a new certificate of every pod", all_are_new, 240)
    assert [request.done() for request in requests] == [False] * 20
    with Client(f"https://{FRONT}:50051", trusted.key) as client:
        assert (await asyncio.to_thread(client.ask, "[slm_eos=5] with the new certificates?")).reasoning
    assert all(await asyncio.gather(*requests))
