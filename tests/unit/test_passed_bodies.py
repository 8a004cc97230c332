"""What the gateway lets pass of a body that a caller of its gRPC API names, whatever made it."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import pytest

from services.gateway.own_body import passed_body
from tandem.endpoints.address import VENDORS
from tandem.method.errors import InvalidArgument
from tandem.method.profile.endpoint import VENDORS_HOSTS, Api
from tandem.v1 import tandem_pb2

API = Api(url="http://127.0.0.1:8000/v1")
SAID = '"messages": [{"role": "user", "content": "Hi"}]'


def native(body: str) -> tandem_pb2.Native:
    return tandem_pb2.Native(protocol="openai", body=body)


@pytest.mark.parametrize("body", ["", "[]", '"x"', "{", '{"temperature": NaN}', '{"a": ' * 5000, "\x00", "null"])
def test_a_body_that_is_no_json_object_is_refused(body: str) -> None:
    with pytest.raises(InvalidArgument):
        passed_body(native(body), API, ())


def test_a_name_that_stands_twice_passes_once() -> None:
    body = "{" + SAID + ', "model": "a", "seed": 1, "seed": 2, "model": "b"}'
    assert passed_body(native(body), API, ()).body == json.loads("{" + SAID + "}") | {"seed": 2}


def test_a_tenant_may_pass_more_than_the_endpoint_allows_everybody_and_no_tool_without_a_fee() -> None:
    body = "{" + SAID + ', "top_k": 3, "min_p": 0.1, "web_search_options": {}}'
    api = API.model_copy(update={"passes": ("top_k",)})
    assert set(passed_body(native(body), api, ()).body) == {"messages", "top_k"}
    assert set(passed_body(native(body), api, ("min_p", "web_search")).body) == {"messages", "top_k", "min_p"}
    priced = api.model_copy(update={"fees": {"web_search": 0.01}})
    assert passed_body(native(body), priced, ()).tools == frozenset()
    assert passed_body(native(body), priced, ("web_search",)).tools == {"web_search"}


def test_an_endpoint_that_allows_a_vendors_tool_says_what_it_costs() -> None:
    with pytest.raises(ValueError, match="what a use costs"):
        Api.model_validate({"url": API.url, "pass": ["web_search"]})
    allowed = Api.model_validate({"url": API.url, "pass": ["web_search"], "fees": {"web_search": 0}})
    assert allowed.fees == {"web_search": 0}
    with pytest.raises(ValueError, match="from 0"):
        Api.model_validate({"url": API.url, "fees": {"web_search": -0.01}})


def test_the_vendors_own_addresses_are_those_that_people_name() -> None:
    assert {urlsplit(vendor.url).hostname for vendor in VENDORS.values()} == VENDORS_HOSTS
    assert Api(url="https://api.openai.com/v1").is_vendors
    for url in ("https://api.openai.com.evil.example/v1", "http://127.0.0.1/api.openai.com", "https://eapi.openai.com"):
        assert not Api(url=url).is_vendors
