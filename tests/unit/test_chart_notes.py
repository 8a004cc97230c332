"""What `helm install` prints: how callers ask, and which protections are off."""

from __future__ import annotations

import json
from functools import cache

import pytest

from tests.chart import CHART, CI, helm, needs_helm

pytestmark = needs_helm
# The value that turns each protection on, and others that it needs then.
PROTECTIONS = {
    "auth.existingSecret": ("auth.existingSecret=tandem-keys",),
    "networkPolicy.enabled": ("networkPolicy.enabled=true",),
    "tls.enabled": ("tls.enabled=true", "tls.certManager.issuerRef.name=mine"),
    "temporal.payloadKeysSecret": ("temporal.payloadKeysSecret=tandem-payload-keys",),
}
OPEN = "minimal"  # a trial: every protection is off


@cache
def notes(values: str, *sets: str) -> str:
    options = [word for pair in sets for word in ("--set", pair)]
    done = helm(
        "install", "t", str(CHART), "--namespace", "ns", "-f", str(CHART / "ci" / f"{values}-values.yaml"),
        "--dry-run=client", "--output", "json", *options,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["info"]["notes"])


def named_as_off(said: str) -> set[str]:
    """The values that the list of protections tells to set."""
    _, _, listed = said.partition("These protections are off")
    return {name for name in PROTECTIONS if f"set {name}" in listed}


def test_a_release_without_protections_names_each_and_the_value_that_turns_it_on() -> None:
    assert named_as_off(notes(OPEN)) == set(PROTECTIONS)


@pytest.mark.parametrize("name", PROTECTIONS)
def test_a_protection_that_is_on_is_not_named(name: str) -> None:
    assert named_as_off(notes(OPEN, *PROTECTIONS[name])) == set(PROTECTIONS) - {name}


def test_an_issuer_of_tokens_protects_as_keys_do() -> None:
    assert "auth.existingSecret" not in named_as_off(notes(OPEN, "auth.oidc.issuer=https://id.example.com"))


def test_a_release_with_every_protection_names_none() -> None:
    everything = [each for sets in PROTECTIONS.values() for each in sets]
    assert "protections are off" not in notes(OPEN, *everything)


def test_where_callers_need_a_key_each_command_sends_one_and_its_origin_is_named() -> None:
    said = notes(OPEN, "auth.existingSecret=tandem-keys")
    assert 'TANDEM_API_KEY=$KEY TANDEM_ADDRESS=127.0.0.1:50051 tandem ask "What is 17 + 25?"' in said
    assert 'curl -H "Authorization: Bearer $KEY" http://127.0.0.1:8080/v1/models' in said
    assert "the secret tandem-keys" in said
    assert "test.apiKeySecret" in said  # `helm test` is a caller as well
    assert "test.apiKeySecret" not in notes(OPEN, "auth.existingSecret=a", "test.apiKeySecret=tandem-test-key")


def test_where_an_issuer_says_who_callers_are_its_tokens_are_named() -> None:
    said = notes(OPEN, "auth.oidc.issuer=https://id.example.com")
    assert "a token of https://id.example.com" in said
    assert "TANDEM_API_KEY=$KEY" in said


def test_where_anyone_may_call_no_command_speaks_of_a_key() -> None:
    assert "KEY" not in notes(OPEN)
    assert "Bearer" not in notes(OPEN)


def test_commands_take_the_ports_of_the_services() -> None:
    said = notes(OPEN, "httpGateway.service.port=80", "gateway.service.port=443")
    assert "svc/t-tandem-http-gateway 8080:80 &" in said
    assert "svc/t-tandem-gateway 50051:443 &" in said


@pytest.mark.parametrize("values", CI)
def test_every_installation_gets_notes_in_paragraphs(values: str) -> None:
    said = notes(values)
    assert "\n\n\n" not in said
    assert all(line == line.rstrip() for line in said.splitlines())
    assert "\n\nAsk a question from here" in said
