"""Each thing that an endpoint can do or not is found as it is, and what is lost with it is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tandem.endpoints.address import parse
from tandem.endpoints.probe import Found, probe
from tandem.endpoints.profile import Role, write_profile
from tandem.endpoints.requests import EndpointError
from tandem.method.profile.endpoint import Api, Capabilities
from tests.able_api import EVERYTHING, MODEL, anthropic_server, openai_server, responses_server
from tests.command import tandem
from tests.recorded_api import Answer, recorded_api

NOTHING = Capabilities(usage="none", takes_temperature=False)
BASES = {"all": EVERYTHING, "nothing": NOTHING}
OF_ANTHROPIC: dict[str, Any] = {"prompt_scores": False, "usage": "at_end"}  # what it is known for
OF_OPENAIS_PROTOCOL: list[dict[str, Any]] = [
    *({"continues": way} for way in ("no", "last_message", "flag", "prefix", "prefix_echoed")),
    *({"usage": way} for way in ("none", "at_end", "continuous", "timings")),
    *({"limit_name": name} for name in ("max_tokens", "max_completion_tokens")),
    *(
        {name: has}
        for name in ("prompt_scores", "tokenizes", "json_schema", "tools", "takes_temperature")
        for has in (True, False)
    ),
]
OF_ANTHROPICS: list[dict[str, Any]] = [
    *({"continues": way} for way in ("no", "last_message")),
    *({name: has} for name in ("tokenizes", "json_schema", "tools", "takes_temperature") for has in (True, False)),
]


def each_once(changes: list[dict[str, Any]], **fixed: Any) -> list[Any]:
    """Servers that can all or nothing but for one change; most changes leave one of the two as it is."""
    found: dict[str, Any] = {}
    for name, base in BASES.items():
        for change in changes:
            can = base.model_copy(update=fixed | change)
            said = " ".join(f"{key}={value}" for key, value in change.items())
            found.setdefault(can.model_dump_json(), pytest.param(can, id=f"{said}, else {name}"))
    return [*found.values()]


@pytest.mark.parametrize("can", each_once(OF_OPENAIS_PROTOCOL))
def test_what_a_server_of_openais_protocol_can_is_found_as_it_is(can: Capabilities) -> None:
    with recorded_api(openai_server(can)) as api:
        assert probe(Api(url=f"{api.url}/v1", model=MODEL)).can == can


@pytest.mark.parametrize("can", each_once(OF_ANTHROPICS, **OF_ANTHROPIC))
def test_what_a_model_of_anthropics_can_is_found_as_it_is(can: Capabilities) -> None:
    with recorded_api(anthropic_server(can)) as api:
        assert probe(Api(protocol="anthropic", url=api.url, model=MODEL)).can == can


@pytest.mark.parametrize("name", ["json_schema", "tools", "takes_temperature"])
@pytest.mark.parametrize("base", [True, False])
def test_what_a_model_of_the_responses_protocol_can_is_found_as_it_is(name: str, base: bool) -> None:
    able = dict.fromkeys(("json_schema", "tools", "takes_temperature"), base) | {name: not base}
    with recorded_api(responses_server(Capabilities(**able))) as api:
        found = probe(parse(f"responses:{api.url}/v1#{MODEL}").api or Api(url=""))
        assert {body["store"] for _, body in api.asked} == {False}
    assert found.can == Capabilities(**able)


def test_a_probe_asks_for_few_tokens() -> None:
    with recorded_api(openai_server(EVERYTHING)) as api:
        probe(Api(url=f"{api.url}/v1", model=MODEL))
        caps = [body.get("max_tokens", 0) for _, body in api.asked]
    assert len(caps) <= 12
    assert sum(caps) <= 200


def profile_of(folder: Path, large: str, small: str) -> None:
    can = {"large": EVERYTHING, "small": NOTHING}
    roles = [Role(parse(f"{url}/v1#{MODEL}"), Found(can[name])) for name, url in (("large", large), ("small", small))]
    write_profile(folder, "mine", *roles)


def test_doctor_names_endpoints_that_do_not_answer_and_what_is_lost_with_each(tmp_path: Path) -> None:
    with recorded_api(openai_server(EVERYTHING)) as api:
        profile_of(tmp_path, api.url, "http://127.0.0.1:9")
        done = tandem(
            "doctor",
            "--json",
            "--profile",
            "mine",
            TANDEM_PROFILES_PATH=str(tmp_path),
            TANDEM_STATE=str(tmp_path / "s"),
        )
        assert not [path for path, _ in api.asked if "completions" in path]  # nothing that costs
    found = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert (found["large model"]["ok"], found["small model"]["ok"]) == (True, False)
    assert "does not answer" in found["small model"]["found"]
    assert "large model lacks" not in found
    lost = found["small model lacks"]["found"]
    assert all(loss in lost for loss in NOTHING.losses())
    assert "every bill is estimated" in lost
    assert "bills are null" in found["prices"]["found"]
    assert not found.keys() & {"models", "engine", "memory", "disk"}  # no model runs here
    assert done.returncode == 1


def test_up_says_what_is_lost_with_a_profile_that_is_there_already(tmp_path: Path) -> None:
    profile_of(tmp_path, "http://127.0.0.1:9", "http://127.0.0.1:9")
    done = tandem("up", "--profile", "mine", TANDEM_PROFILES_PATH=str(tmp_path), TANDEM_STATE="/dev/null/nowhere")
    assert "it reports no usage while streaming: every bill is estimated" in done.stdout


@pytest.mark.parametrize("command", ["up", "profile new"])
def test_what_both_endpoints_lose_is_said_once(tmp_path: Path, command: str) -> None:
    name = ["--profile" if command == "up" else "--name", "mine"]
    able = EVERYTHING.model_copy(update={"prompt_scores": False})
    with recorded_api(openai_server(able)) as large, recorded_api(openai_server(NOTHING)) as small:
        models = ["--large", f"{large.url}/v1#{MODEL}", "--small", f"{small.url}/v1#{MODEL}", *name]
        done = tandem(*command.split(), *models, TANDEM_PROFILES_PATH=str(tmp_path), TANDEM_STATE="/dev/null/nowhere")
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert [lines.count(loss) for loss in NOTHING.losses()] == [1] * len(NOTHING.losses()), done.stdout
    both = lines.index("lost with the large and the small model:")
    assert lines[both + 1].startswith("it scores no prompt")


def test_a_server_that_loads_its_model_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tandem.endpoints.probe._AGAIN_SECONDS", 0.01)
    loading, able, told = [503] * 3, openai_server(EVERYTHING), list[str]()

    def answer(path: str, body: dict[str, Any]) -> Answer:
        return Answer({"error": {"message": "Loading model"}}, status=loading.pop()) if loading else able(path, body)

    with recorded_api(answer) as api:
        assert probe(Api(url=f"{api.url}/v1", model=MODEL), tell=told.append).can == EVERYTHING
        assert len(told) == 3
        assert "answers 503: Loading model" in told[0]
        loading[:] = [503] * 100
        with pytest.raises(EndpointError, match="Loading model"):
            probe(Api(url=f"{api.url}/v1", model=MODEL), loading_seconds=0.05)
