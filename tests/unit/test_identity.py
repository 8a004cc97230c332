"""Who calls: OIDC tokens against a real key server, what a caller may name, and when a gateway starts without asking."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from services.identity.authentication import Authentication
from services.identity.caller import ANONYMOUS, Caller
from services.identity.settings import IdentitySettings
from services.identity.tokens import Issuer, Tokens
from tandem.method.errors import PermissionDenied, Unauthenticated, Unavailable

KEY, OTHER_KEY = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))


class _Keys(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        address = f"http://127.0.0.1:{self.server.server_address[1]}"
        key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key())) | {"kid": "one", "use": "sig"}
        found = {"jwks_uri": f"{address}/keys"} if "openid" in self.path else {"keys": [key]}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(found).encode())

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Keys)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def signed(issuer: str, key: Any = KEY, **changes: Any) -> str:
    claims = {"iss": issuer, "aud": "tandem", "exp": time.time() + 600, "tenant": "acme", "roles": ["admin", "cook"]}
    claims = {name: value for name, value in (claims | changes).items() if value is not None}
    return jwt.encode(claims, key, algorithm="RS256", headers={"kid": "one"})


async def test_a_token_of_the_issuer_names_its_tenant_and_the_roles_that_exist(issuer: str) -> None:
    tokens = Tokens(Issuer(issuer, "tandem"))
    assert await tokens.caller(signed(issuer)) == Caller("acme", frozenset({"admin"}))
    assert await tokens.caller(signed(issuer, roles="cook admin")) == Caller("acme", frozenset({"admin"}))
    assert await tokens.caller(signed(issuer, roles=None)) == Caller("acme")


async def test_claims_may_be_nested(issuer: str) -> None:
    tokens = Tokens(Issuer(issuer, "tandem", tenant_claim="org.name", roles_claim="realm_access.roles"))
    token = signed(issuer, org={"name": "beta"}, realm_access={"roles": ["admin"]})
    assert await tokens.caller(token) == Caller("beta", frozenset({"admin"}))


@pytest.mark.parametrize(
    "changes",
    [
        {"key": OTHER_KEY}, {"iss": "http://elsewhere"}, {"aud": "another"}, {"exp": 1.0}, {"exp": None}, {"aud": None},
        {"nbf": time.time() + 9999}, {"tenant": None}, {"tenant": "a/b"}, {"tenant": ["acme"]}, {"tenant": ""},
    ],
)  # fmt: skip
async def test_any_other_token_is_refused(issuer: str, changes: dict[str, Any]) -> None:
    assert await Tokens(Issuer(issuer, "tandem")).caller(signed(issuer, **changes)) is None


async def test_a_token_that_names_its_own_algorithm_is_refused(issuer: str) -> None:
    claims = {"iss": issuer, "aud": "tandem", "exp": time.time() + 600, "tenant": "acme"}
    tokens = Tokens(Issuer(issuer, "tandem"))
    for algorithm, key in (("none", None), ("HS256", "a-secret-of-thirty-two-characters")):
        assert await tokens.caller(jwt.encode(claims, key, algorithm=algorithm, headers={"kid": "one"})) is None


async def test_without_the_issuers_keys_a_token_is_asked_for_again_and_not_refused() -> None:
    tokens = Tokens(Issuer("http://127.0.0.1:9", "tandem"))
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9"):
        await tokens.caller(signed("http://127.0.0.1:9"))


async def test_without_keys_and_tokens_everybody_is_anonymous() -> None:
    assert await Authentication().caller("") == ANONYMOUS


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("", "NO_CREDENTIAL"), ("Basic YTpi", "NO_CREDENTIAL"), ("Bearer", "NO_CREDENTIAL"), ("Bearer ", "NO_CREDENTIAL"),
        ("Bearer x", "INVALID_CREDENTIAL"), ("bearer a.b.c", "INVALID_CREDENTIAL"),
    ],
)  # fmt: skip
async def test_a_call_without_a_valid_credential_is_refused(issuer: str, header: str, reason: str) -> None:
    with pytest.raises(Unauthenticated) as refused:
        await Authentication(tokens=Tokens(Issuer(issuer, "tandem"))).caller(header)
    assert refused.value.reason == reason


def test_a_tenant_speaks_for_itself_alone_and_an_admin_for_all() -> None:
    acme, admin = Caller("acme"), Caller("ops", frozenset({"admin"}))
    assert [acme.tenant_of(""), acme.tenant_of("acme")] == ["acme", "acme"]
    with pytest.raises(PermissionDenied):
        acme.tenant_of("other")
    assert [admin.tenant_of(""), admin.tenant_of("acme")] == ["ops", "acme"]
    assert [ANONYMOUS.tenant_of(""), ANONYMOUS.tenant_of("acme")] == ["", "acme"]


def test_an_id_counts_within_its_tenant() -> None:
    acme, other, admin = Caller("acme"), Caller("other"), Caller("ops", frozenset({"admin"}))
    assert acme.internal_id("x") != other.internal_id("x")
    assert acme.public_id(acme.internal_id("x")) == "x"
    assert other.internal_id("acme/x") != acme.internal_id("x")
    assert admin.internal_id("acme/x") == acme.internal_id("x") == admin.internal_id("x", "acme")
    assert admin.public_id(acme.internal_id("x")) == "acme/x"
    assert ANONYMOUS.internal_id("x") == ANONYMOUS.public_id("x") == "x"


@pytest.mark.parametrize(
    ("host", "settings", "starts"),
    [
        ("127.0.0.1", {}, True), ("::1", {}, True), ("localhost", {}, True), ("0.0.0.0", {}, False), ("::", {}, False),
        ("gateway.internal", {}, False), ("0.0.0.0", {"allow_anonymous": True}, True),
        ("0.0.0.0", {"oidc_issuer": "https://issuer"}, True),
    ],
)  # fmt: skip
def test_a_gateway_that_others_reach_does_not_start_open_by_accident(
    host: str, settings: dict[str, Any], starts: bool
) -> None:
    found = IdentitySettings(**settings)
    if starts:
        assert found.authentication(host).is_on == ("oidc_issuer" in settings)
    else:
        with pytest.raises(ValueError, match="TANDEM_API_KEYS"):
            found.authentication(host)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "issuer.example.com", "ftp://issuer"])
@pytest.mark.parametrize("setting", ["oidc_issuer", "oidc_jwks_url"])
def test_an_issuer_is_read_by_http_alone(setting: str, url: str) -> None:
    with pytest.raises(ValueError, match="should match pattern"):
        IdentitySettings(**{setting: url})
