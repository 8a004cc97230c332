"""Which names a process answers to, and whose pages may ask: the rules by themselves, and when each counts."""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from services.http_gateway.__main__ import HttpGatewaySettings
from services.shared.process.web_pages import WebPages

LOCAL = WebPages(
    hosts=("tandem.example.com", "*.apps.example.com"), origins=("https://app.example.com",), private="/api/"
)
HERE = "127.0.0.1:8080"


def status(pages: WebPages, method: str = "POST", path: str = "/v1/files", **headers: str) -> int:
    """200 where the request is served; a header that is called `sec_fetch_site` here."""
    given = {"host": HERE, **{name.replace("_", "-"): value for name, value in headers.items()}}
    refusal = pages.refusal(method, path, Headers(given))
    return refusal.status if refusal else 200


@pytest.mark.parametrize(
    "host",
    ["localhost", "LocalHost:8080", "localhost.:80", "127.0.0.1:8080", "[::1]:8080", "192.168.1.7", "[fe80::1]", "",
     "tandem.example.com:443", "TANDEM.example.com", "a.apps.example.com"],
)  # fmt: skip
def test_names_of_this_process_and_addresses_are_answered_to(host: str) -> None:
    assert status(LOCAL, "GET", "/", host=host) == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "apps.example.com",
     "evilapps.example.com", "tandem.example.com.evil.example", "[::1", "localhost, evil.example"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/", "/healthz", "/api/requests", "/v1/models"])
def test_any_other_name_is_refused_on_every_path(host: str, path: str) -> None:
    assert status(LOCAL, "GET", path, host=host) == 421
    assert status(WebPages(hosts=("*",)), "GET", path, host=host) == (421 if host == "[::1" else 200)


def test_of_two_names_each_must_be_one_of_this_process() -> None:
    twice = Headers(raw=[(b"host", b"localhost"), (b"host", b"evil.example")])
    refused = LOCAL.refusal("GET", "/", twice)
    assert refused is not None
    assert refused.status == 421


@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT", "PATCH"])
@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, 200),
        ({"origin": f"http://{HERE}"}, 200),
        ({"origin": f"http://{HERE}", "sec_fetch_site": "same-origin"}, 200),
        ({"origin": "https://outside.proxy", "sec_fetch_site": "same-origin"}, 200),  # a proxy may change the host
        ({"origin": "https://app.example.com", "sec_fetch_site": "cross-site"}, 200),
        ({"sec_fetch_site": "none"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:3000"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": f"chrome-extension://{HERE}"}, 403),
        ({"origin": "http://[::1"}, 403),
        ({"origin": "http://evil.example", "sec_fetch_site": "cross-site"}, 403),
        ({"origin": f"http://{HERE}", "sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
    ],
)
def test_what_changes_something_is_asked_by_programs_and_by_pages_that_may(
    method: str, headers: dict[str, str], expected: int
) -> None:
    assert status(LOCAL, method, **headers) == expected


def test_a_strange_page_reads_nothing_of_what_is_private() -> None:
    strange = {"sec_fetch_site": "cross-site"}
    assert status(LOCAL, "GET", "/api/requests", **strange) == 403
    assert status(LOCAL, "GET", "/v1/models", **strange) == 200  # its browser shows it no answer


@pytest.mark.parametrize(
    ("host", "anonymous", "expected"),
    [("127.0.0.1", False, 421), ("::1", False, 421), ("0.0.0.0", True, 421), ("0.0.0.0", False, 200)],
)
def test_names_count_on_loopback_and_where_nobody_is_asked_for_a_credential(
    host: str, anonymous: bool, expected: int
) -> None:
    settings = HttpGatewaySettings(host=host, allow_anonymous=anonymous, allowed_origins=("https://App.example.com/",))
    assert status(settings.pages(), "GET", "/api/requests", host="evil.example") == expected
    assert settings.pages().origins == ("https://app.example.com",)
