"""What the page reads: JSON and events of a real gateway, and headers that let nothing of others in."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tandem import to_dict
from tests.integration.asking import idle
from tests.integration.conftest import System

pytestmark = pytest.mark.asyncio(loop_scope="session")
EARLY = "[scores=16:0.9 llm=word_ llm_hold=20 slm=more_ slm_eos=9]"


async def start(http: httpx.AsyncClient, question: str, **more: Any) -> str:
    reply = await http.post("/api/requests", json={"question": question, **more})
    assert reply.status_code == 200, reply.text
    return str(reply.json()["request_id"])


async def events(http: httpx.AsyncClient, request_id: str, after: str = "") -> list[tuple[str, dict[str, Any]]]:
    """(id, data) of every event, to the end of the stream."""
    headers = {"last-event-id": after} if after else {}
    async with http.stream("GET", f"/api/requests/{request_id}/events", headers=headers) as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        text = "".join([part async for part in reply.aiter_text()])
    blocks = [block.split("\n") for block in text.split("\n\n") if block and not block.startswith(":")]
    return [(cursor.removeprefix("id: "), json.loads(data.removeprefix("data: "))) for cursor, data in blocks]


def said(seen: list[tuple[str, dict[str, Any]]], kind: str) -> str:
    return "".join(data["text"] for _, data in seen if data["kind"] == kind)


async def test_the_events_are_the_gateways_and_end_with_the_bill(http: httpx.AsyncClient, system: System) -> None:
    request_id = await start(http, EARLY)
    seen = await events(http, request_id)
    kinds = [data["kind"] for _, data in seen]
    assert kinds[0] == "accepted"
    assert kinds[-1] == "completed"
    assert {"insight_delta", "stage_completed", "scored", "llm_stopped", "answer_delta"} <= set(kinds)
    whole = to_dict((await system.client.get(request_id)).result)
    assert {"kind": "completed", **whole} == seen[-1][1]
    assert (await http.get(f"/api/requests/{request_id}")).json()["result"] == whole


async def test_events_resume_after_the_last_one_that_came(http: httpx.AsyncClient) -> None:
    request_id = await start(http, EARLY)
    whole = await events(http, request_id)
    middle = len(whole) // 2
    accepted, *rest = await events(http, request_id, after=whole[middle][0])
    assert accepted[1]["kind"] == "accepted"
    assert rest[-1] == whole[-1]
    # What is read later comes in larger pieces, but nothing is missing and nothing comes twice.
    for kind in ("insight_delta", "answer_delta"):
        assert said(whole[: middle + 1], kind) + said(rest, kind) == said(whole, kind) != ""


async def test_a_request_goes_on_without_readers_until_it_is_cancelled(http: httpx.AsyncClient, system: System) -> None:
    request_id = await start(http, "[llm_hold=20]")
    async with http.stream("GET", f"/api/requests/{request_id}/events") as reply:
        async for line in reply.aiter_lines():
            if "insight_delta" in line:
                break
    assert (await http.get(f"/api/requests/{request_id}")).json() == {
        "request_id": request_id, "state": "running", "result": None, "error": "", "shadow": None,
    }  # fmt: skip
    assert (await http.post(f"/api/requests/{request_id}/cancel")).json()["state"] == "running"
    await idle(system)
    assert (await events(http, request_id))[-1][1]["stop"]["reason"] == "cancelled"


@pytest.mark.parametrize(
    ("call", "status", "param"),
    [
        (("GET", "/api/requests/nobody", None), 404, None),
        (("GET", "/api/requests/nobody/events", None), 404, None),
        (("POST", "/api/requests/nobody/cancel", None), 404, None),
        (("GET", "/api/requests?where=colour+%3D+red", None), 400, "tandem.where"),
        (("GET", "/api/requests?limit=0", None), 400, "query.limit"),
        (("POST", "/api/requests", {"question": ""}), 400, "question"),
        (("POST", "/api/requests", {"question": "q", "task": "poem"}), 400, "task"),
        (("POST", "/api/requests", {"question": "q", "profile": "nobodys"}), 404, "model"),
        (("POST", "/api/requests", {"question": "q", "colour": "red"}), 400, "colour"),
    ],
)
async def test_what_cannot_be_done_is_said_with_its_name(
    http: httpx.AsyncClient, call: tuple[str, str, Any], status: int, param: str | None
) -> None:
    method, path, sent = call
    reply = await http.request(method, path, json=sent)
    assert (reply.status_code, reply.json()["error"]["param"]) == (status, param), reply.text


async def test_profiles_say_what_a_bill_is_made_of(http: httpx.AsyncClient) -> None:
    found = (await http.get("/api/profiles")).json()
    [profile] = found["profiles"]
    assert (found["default_profile"], found["jaeger"]) == ("scripted", "")
    unpriced = {"cache_write": None, "cache_write_hour": None}
    assert profile["prices"]["llm"] == {"input": 3, "cached_input": 1, "output": 6, **unpriced, "fees": {}}
    assert (profile["llm_alone_output_tokens"], profile["llm_alone_code_output_tokens"]) == (100, 100)


async def test_the_page_allows_nothing_from_elsewhere_and_nothing_inline(http: httpx.AsyncClient) -> None:
    page = await http.get("/")
    policy = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
    assert policy.pop("default-src") == "'none'"
    assert set(policy.values()) == {"'self'", "'none'"}
    for path in ("/", "/assets/app.js", "/assets/vendor/fonts/plex-sans.woff2"):
        assert (await http.get(path)).headers["x-content-type-options"] == "nosniff"
    for path in ("/", "/docs", "/assets/index.html", "/assets/docs.html", "/docs/assets/swagger-ui.css"):
        assert "frame-ancestors 'none'" in (await http.get(path)).headers["content-security-policy"]
    assert (
        "'unsafe-inline'" not in (await http.get("/docs")).headers["content-security-policy"].partition("style-src")[0]
    )
    assert (await http.get("/assets/../service.py")).status_code == 404
    assert "/api/profiles" not in (await http.get("/openapi.json")).json()["paths"]


@pytest.mark.parametrize(("site", "status"), [("cross-site", 403), ("same-site", 403), ("same-origin", 200)])
async def test_a_page_of_another_site_cannot_ask_through_its_readers_browser(
    http: httpx.AsyncClient, site: str, status: int
) -> None:
    headers = {"sec-fetch-site": site}
    assert (await http.get("/api/profiles", headers=headers)).status_code == status
    assert (await http.post("/api/requests", json={"question": EARLY}, headers=headers)).status_code == status
