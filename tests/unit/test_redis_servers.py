"""Redis URLs and settings: one server, Sentinels and clusters, with a login and certificates of files."""

from __future__ import annotations

from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.connection import SSLConnection
from redis.asyncio.sentinel import SentinelManagedConnection, SentinelManagedSSLConnection

from services.shared.process.redis import RedisSettings, open_request_log
from services.shared.request_log.servers import Access, Certificates, Client, Login, check_url, open_client


def opened(url: str, access: Access | None = None) -> Client:
    return open_client(url, access or Access(), 8, 1.0)


def options(client: Client) -> dict[str, object]:
    found = client.connection_kwargs if isinstance(client, RedisCluster) else client.connection_pool.connection_kwargs
    return dict(found)


def test_one_server_is_a_client_of_its_database() -> None:
    client = opened("rediss://host:7000/3")
    assert isinstance(client, Redis)
    assert client.connection_pool.connection_class is SSLConnection
    assert {name: options(client)[name] for name in ("host", "port", "db", "ssl_check_hostname")} == {
        "host": "host", "port": 7000, "db": 3, "ssl_check_hostname": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("scheme", "kind"), [("redis", SentinelManagedConnection), ("rediss", SentinelManagedSSLConnection)]
)
def test_sentinels_are_asked_for_the_primary_of_their_service(scheme: str, kind: type) -> None:
    client = opened(f"{scheme}+sentinel://a:1,b,[::1]:3/main/2", Access(sentinel_login=Login("s", "t")))
    pool = client.connection_pool
    assert (pool.service_name, pool.connection_class, options(client)["db"]) == ("main", kind, 2)
    asked = [sentinel.connection_pool.connection_kwargs for sentinel in pool.sentinel_manager.sentinels]
    assert [(each["host"], each["port"]) for each in asked] == [("a", 1), ("b", 26379), ("::1", 3)]
    assert {each["credential_provider"].get_credentials() for each in asked} == {("s", "t")}
    assert options(client)["credential_provider"] is None


def test_a_cluster_is_entered_at_any_of_its_nodes() -> None:
    client = opened("rediss+cluster://a:1,b", Access(certificates=Certificates(ca=Path("/ca.pem"))))
    assert isinstance(client, RedisCluster)
    assert [(node.host, node.port) for node in client.startup_nodes] == [("a", 1), ("b", 6379)]
    assert options(client)["ssl_ca_certs"] == "/ca.pem"
    assert not client.nodes_manager.require_full_coverage


@pytest.mark.parametrize("kind", ["redis://u:p%40@h", "redis+sentinel://u:p%40@h/main", "redis+cluster://u:p%40@h"])
def test_a_login_of_the_settings_wins_over_the_urls_and_its_file_may_change(kind: str, tmp_path: Path) -> None:
    assert options(opened(kind))["credential_provider"].get_credentials() == ("u", "p@")  # type: ignore[attr-defined]
    file = tmp_path / "password"
    file.write_text("first\n")
    provider = options(opened(kind, Access(Login("me", "unused", file))))["credential_provider"]
    assert provider.get_credentials() == ("me", "first")  # type: ignore[attr-defined]
    file.write_text("second\n")
    assert provider.get_credentials() == ("me", "second")  # type: ignore[attr-defined]
    file.write_text("alone\n")
    only_password = options(opened(kind, Access(Login(password_file=file))))["credential_provider"]
    assert only_password.get_credentials() == ("alone",)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "url",
    ["", "http://host", "redis+other://host", "redis+sentinel://host", "redis+sentinel://host/main/x",
     "redis+cluster://host/1", "redis+cluster://", "redis+cluster://host?db=1"],
)  # fmt: skip
def test_what_is_no_url_of_redis_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="Redis"):
        check_url(url)


def test_settings_are_those_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("password", "sentinel", "ca", "cert", "key"):
        (tmp_path / name).write_text(name)
    for variable, value in {
        "REDIS_URL": "rediss+cluster://host", "REDIS_USERNAME": "me", "REDIS_PASSWORD_FILE": str(tmp_path / "password"),
        "REDIS_SENTINEL_USERNAME": "", "REDIS_SENTINEL_PASSWORD_FILE": str(tmp_path / "sentinel"),
        "REDIS_CA_FILE": str(tmp_path / "ca"), "REDIS_CERT_FILE": str(tmp_path / "cert"),
        "REDIS_KEY_FILE": str(tmp_path / "key"),
    }.items():  # fmt: skip
        monkeypatch.setenv(variable, value)
    settings = RedisSettings()
    assert settings.access.login.read() == ("me", "password")
    assert settings.access.sentinel_login.read() == ("sentinel",)
    assert settings.access.certificates == Certificates(tmp_path / "ca", tmp_path / "cert", tmp_path / "key")


@pytest.mark.parametrize(
    ("variable", "value"), [("REDIS_URL", "rediss+sentinel://me:secret@host"), ("REDIS_CA_FILE", "/no/such/file")]
)
def test_a_setting_that_makes_no_sense_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit):
        open_request_log(None)
    printed = capsys.readouterr().err
    assert variable in printed
    assert "secret" not in printed
