"""Who calls: OIDC tokens against a real key server, what a caller may name, and when a gateway starts without asking."""

from __future__ import annotations

import json
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from services.shared.identity.authentication import Authentication, IdentitySettings
from services.shared.identity.caller import ANONYMOUS, Caller
from services.shared.identity.tokens import Issuer, Tokens
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
    # Not jwt.encode, which signs no claim of a wrong type.
    return jwt.api_jws.encode(json.dumps(claims).encode(), key, algorithm="RS256", headers={"kid": "one"})


async def test_a_token_of_the_issuer_names_its_tenant_and_the_roles_that_exist(issuer: str) -> None:
    tokens = Tokens(Issuer(issuer, "tandem"))
    assert await tokens.caller(signed(issuer)) == Caller("acme", frozenset({"admin"}))
    assert await tokens.caller(signed(issuer, roles="cook admin")) == Caller("acme", frozenset({"admin"}))
    assert await tokens.caller(signed(issuer, roles=None)) == Caller("acme")


async def test_claims_may_be_nested(issuer: str) -> None:
    tokens = Tokens(Issuer(issuer, "tandem", tenant_claim="org.name", roles_claim="realm_access.roles"))
    token = signed(issuer, org={"name": "beta"}, realm_access={"roles": ["admin"]})
    assert await tokens.caller(token) == Caller("beta", frozenset({"admin"}))


HUGE = 10**3000
CLAIMS: list[tuple[dict[str, Any], str]] = [
    ({"key": OTHER_KEY}, "Signature verification failed"),
    ({"iss": "http://elsewhere"}, "issuer"), ({"iss": ["x"]}, "ssuer"), ({"iss": {"a": 1}}, "ssuer"),
    ({"aud": "another"}, "Audience"), ({"aud": None}, "aud"), ({"aud": [["tandem"]]}, "claim format"), ({"aud": 7}, "claim format"),
    ({"aud": {"tandem": 1}}, "claim format"), ({"aud": True}, "claim format"),
    ({"exp": 1.0}, "expired"), ({"exp": None}, "exp"), ({"exp": "soon"}, "exp"), ({"exp": [1]}, "exp"), ({"exp": {"a": 1}}, "exp"),
    ({"exp": float("inf")}, "exp"), ({"exp": float("nan")}, "exp"), ({"exp": -HUGE}, "expired"),
    ({"nbf": time.time() + 9999}, "not yet valid"), ({"nbf": "now"}, "nbf"), ({"nbf": [1]}, "nbf"), ({"nbf": HUGE}, "not yet valid"),
    ({"iat": {"a": 1}}, "iat"), ({"iat": float("inf")}, "iat"), ({"iat": HUGE}, "not yet valid"),
    ({"sub": ["x"]}, "Subject"), ({"sub": 7}, "Subject"), ({"sub": {"a": {"b": []}}}, "Subject"), ({"jti": 7}, "JWT ID"),
    *(({"tenant": value}, "claim tenant") for value in (None, "a/b", ["acme"], "", 7, {"acme": 1}, True, "a" * 65, "\ud800", HUGE)),
    *(({"roles": value}, "claim roles")
      for value in ([["admin"]], [{"admin": 1}], {"admin": True}, 7, True, [7], [None, "admin"], HUGE)),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "why"), CLAIMS)
async def test_any_other_token_is_refused_with_the_reason(issuer: str, changes: dict[str, Any], why: str) -> None:
    authentication = Authentication(tokens=Tokens(Issuer(issuer, "tandem")))
    with pytest.raises(Unauthenticated, match=why) as refused:
        await authentication.caller(f"Bearer {signed(issuer, **changes)}")
    assert refused.value.reason == "INVALID_CREDENTIAL"


async def test_roles_that_there_are_not_give_nothing(issuer: str) -> None:
    tokens = Tokens(Issuer(issuer, "tandem"))
    for roles in (["cook", "\ud800"], [], "", "x" * 5000, ["x"] * 1000):
        assert await tokens.caller(signed(issuer, roles=roles)) == Caller("acme")


def encoded(text: str) -> str:
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "header",
    [
        "[" * 5000, '{"a":' * 5000, "[]", "7", "null", '{"kid": ["one"], "alg": "RS256"}', '{"kid": "\\ud800", "alg": "RS256"}',
        '{"kid": "one", "alg": {"a": 1}}', '{"kid": "one", "alg": "RS256", "crit": "x"}', "9" * 6000, "\xff",
    ],
)  # fmt: skip
async def test_a_token_with_any_header_is_refused(issuer: str, header: str) -> None:
    authentication = Authentication(tokens=Tokens(Issuer(issuer, "tandem")))
    with pytest.raises(Unauthenticated):
        await authentication.caller(f"Bearer {encoded(header)}.{encoded('{}')}.{encoded('x')}")


@pytest.mark.parametrize(
    "payload", ["[" * 3000, '{"a":' * 3000 + "1" + "}" * 3000, "[]", "7", "9" * 5000, '{"exp": 1e400}']
)
async def test_a_signed_token_with_any_payload_is_refused(issuer: str, payload: str) -> None:
    token = jwt.api_jws.encode(payload.encode(), KEY, algorithm="RS256", headers={"kid": "one"})
    with pytest.raises(Unauthenticated):
        await Tokens(Issuer(issuer, "tandem")).caller(token)


async def test_a_token_that_names_its_own_algorithm_is_refused(issuer: str) -> None:
    claims = {"iss": issuer, "aud": "tandem", "exp": time.time() + 600, "tenant": "acme"}
    tokens = Tokens(Issuer(issuer, "tandem"))
    for algorithm, key in (("none", None), ("HS256", "a-secret-of-thirty-two-characters")):
        with pytest.raises(Unauthenticated):
            await tokens.caller(jwt.encode(claims, key, algorithm=algorithm, headers={"kid": "one"}))


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
