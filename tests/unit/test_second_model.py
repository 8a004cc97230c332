"""A profile's second small model: what its file says, which process runs it, and what it may cost."""

from __future__ import annotations

import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from lab.training.policy import Policy
from lab.training.ship import ship_policy
from lab.training.table import Table
from services.gateway.checks import check_profile
from services.slm_executor.service import model_role
from tandem.convert.results import profile_to_pb
from tandem.endpoints.address import AddressError, parse
from tandem.endpoints.probe import Found
from tandem.endpoints.profile import Role, write_profile
from tandem.errors import SetupError
from tandem.local.layout import LOCAL_PROCESSES, Layout
from tandem.local.programs import left_out, program, withheld
from tandem.method.cost.bound import upper_bound
from tandem.method.cost.cost import cost, worst_case_usd_of_trials
from tandem.method.errors import InvalidArgument
from tandem.method.evidence.checks import CheckResult, CheckSpec, TrialPlan, Verdict, combined
from tandem.method.profile.endpoint import Capabilities
from tandem.method.profile.profile import Profile, load_profile
from tandem.method.request.job import Job
from tandem.method.request.plan import make_plan
from tandem.method.request.request import SolveRequest
from tandem.method.tokens import TokenCounts
from tests.planned import used

FOLDER = Path(__file__).parents[1] / "profiles"


@pytest.fixture
def second() -> Profile:
    return load_profile("scripted-second", (FOLDER,))


def written(folder: Path, name: str, change: tuple[str, str]) -> Profile:
    text = (FOLDER / name / "profile.toml").read_text()
    assert change[0] in text
    (folder / name).mkdir()
    (folder / name / "profile.toml").write_text(text.replace(*change))
    return load_profile(name, (folder,))


def test_both_small_models_try_in_order_where_the_profile_does_not_say_another_one(second: Profile) -> None:
    assert make_plan(second, "code").trial.order == ["slm", "second_slm"]
    assert make_plan(load_profile("scripted-checked", (FOLDER,)), "code").trial.order == ["slm"]
    assert make_plan(second, "code", may_call=True).trial.order == ["slm"]


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("scripted-checked", ("[trial]\n", '[trial]\norder = ["second_slm"]\n'), "names no second_slm"),
        ("scripted-second", ("[trial]\n", '[trial]\norder = ["slm", "slm"]\n'), "names a model twice"),
        (
            "scripted-checked",
            ("[prices]\n", "[prices]\nsecond_slm = { input = 1, cached_input = 1, output = 1 }\n"),
            "no second small model",
        ),
    ],
)
def test_an_order_or_a_price_of_a_model_that_is_not_there_is_refused(
    tmp_path: Path, name: str, change: tuple[str, str], message: str
) -> None:
    with pytest.raises(InvalidArgument, match=message):
        written(tmp_path, name, change)


def test_a_second_model_without_a_price_makes_its_bills_unknown_and_no_others(tmp_path: Path) -> None:
    line = "second_slm = { input = 2, cached_input = 1, output = 4 }\n"
    plan = make_plan(written(tmp_path, "scripted-second", (line, "")), "code")
    assert plan.prices.unknown == ["second_slm"]
    tried = TokenCounts(10, 0, 5)
    assert cost(plan, used(slm=tried, second_slm=TokenCounts()), 10).usd is not None
    assert cost(plan, used(slm=tried, second_slm=tried), 10).usd is None


def test_only_a_second_model_changes_the_digest_and_the_evidence(second: Profile) -> None:
    alone = second.model_copy(update={"small": second.small[:1]})
    assert alone.evidence("code") == "checks python_examples at stages 0; scores of untrained from 1, 1, 1, 1"
    assert second.evidence("code").startswith("checks python_examples at stages 0 by slm, second_slm")
    assert second.digest != alone.digest


def test_a_bound_counts_the_trials_of_both_at_their_own_prices(second: Profile) -> None:
    plan = make_plan(second, "code")
    alone = make_plan(second.model_copy(update={"small": second.small[:1]}), "code")
    of_slm = worst_case_usd_of_trials(alone, 10, 0)
    assert worst_case_usd_of_trials(plan, 10, 0) == pytest.approx(3 * of_slm)  # the second model costs twice as much
    asked = [Job(SolveRequest("r", "q"), each, 10, checks=[CheckSpec("choice", "x")]) for each in (plan, alone)]
    both, one = map(upper_bound, asked)
    assert both.nano_usd > one.nano_usd
    assert both.tokens > one.tokens


def test_agreement_passes_only_by_itself_where_programs_must_agree() -> None:
    examples = CheckResult("python_examples", verdict=Verdict.PASS)
    equal, apart = (CheckResult("python_agreement", verdict=verdict) for verdict in (Verdict.PASS, Verdict.FAIL))
    assert combined([examples]) is Verdict.PASS
    assert combined([examples], must_agree=True) is Verdict.UNKNOWN
    assert combined([examples, equal], must_agree=True) is Verdict.PASS
    assert combined([examples, apart], must_agree=True) is Verdict.FAIL


def test_a_check_without_a_program_wants_the_other_models() -> None:
    for argument in ("", "# inputs=30", "# inputs=30\n\n"):
        assert CheckSpec("python_agreement", argument).wants_other
    assert not CheckSpec("python_agreement", "# inputs=30\ndef f(): pass").wants_other
    assert not CheckSpec("agreement").wants_other
    assert CheckSpec("python_agreement", "# inputs=30").beside("def f(): pass").argument == "# inputs=30\ndef f(): pass"


def test_a_profile_whose_programs_are_to_agree_needs_a_second_model_that_tries(tmp_path: Path) -> None:
    check_profile(load_profile("scripted-agreeing", (FOLDER,)))
    with pytest.raises(InvalidArgument, match="no other program"):
        check_profile(written(tmp_path, "scripted-agreeing", ('"slm", "second_slm"', '"slm"')))


def test_a_profile_is_written_for_as_many_small_models_as_there_are_roles(tmp_path: Path) -> None:
    large, *small = (Role(parse(f"openai:model-{number}"), Found(Capabilities())) for number in range(5))
    for number in range(1, 4):
        write_profile(tmp_path, f"of-{number}", large, *small[:number])
        written = load_profile(f"of-{number}", (tmp_path,))
        assert [model.name for model in written.small] == [role.address.name for role in small[:number]]
        assert len(written.trial_order) == number
    with pytest.raises(AddressError, match="3 small models at most"):
        write_profile(tmp_path, "of-4", large, *small)


def three_apis(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Profile:
    found = Found(Capabilities())
    names = "openai:a", "anthropic:b", "groq:c"
    write_profile(folder, "mine", *(Role(parse(name), found) for name in names))
    monkeypatch.setenv("TANDEM_PROFILES_PATH", str(folder))
    return load_profile("mine", (folder,))


def test_a_second_endpoint_has_a_process_its_key_and_an_address_that_the_worker_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = three_apis(tmp_path, monkeypatch)
    assert profile.trial_order == ("slm", "second_slm")
    unneeded = left_out(profile, tls=False)
    assert "second-slm-executor" not in unneeded
    ports = {process.name: dict(process.ports) for process in LOCAL_PROCESSES if process.name not in unneeded}
    layout = Layout(tmp_path, "mine", ports)
    by_name = {process.name: process for process in layout.processes}
    address = program(layout, by_name["worker"]).environment["TANDEM_SLM_EXECUTORS"]
    assert address == f"second_slm={layout.address('second-slm-executor')}"
    started = program(layout, by_name["second-slm-executor"])
    assert (started.command[-1], started.environment["TANDEM_ROLE"]) == ("services.slm_executor", "second_slm")
    keys = {"OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GROQ_API_KEY"}
    assert keys - withheld(layout, by_name["second-slm-executor"]).keys() == {"GROQ_API_KEY"}
    assert keys - withheld(layout, by_name["model-apis"]).keys() == {"OPENAI_API_KEY", "ANTHROPIC_API_KEY"}


def test_a_process_of_a_second_model_serves_the_profiles_that_name_one(second: Profile) -> None:
    alone = load_profile("scripted-checked", (FOLDER,))
    assert model_role("second_slm").served([alone, second]) == [second]
    with pytest.raises(SetupError, match="no model has the role second_slm"):
        model_role("second_slm").served([alone])


def test_small_models_in_order_may_be_named_in_both_ways_and_three_at_most(tmp_path: Path, second: Profile) -> None:
    third = load_profile("scripted-third", (FOLDER,))
    assert third.trial_order == ("slm", "second_slm", "third_slm")
    assert {role: model.name for role, model in second.models.items()}.items() < {
        role: model.name for role, model in third.models.items()
    }.items()
    assert "third-slm-executor" not in left_out(third, tls=False)
    fourth = '[[slm]]\nname = "x"\nparameters = 1e9\n'
    with pytest.raises(InvalidArgument, match=r"slm: 4 small models, and a profile has 3 at most$"):
        written(tmp_path, "scripted-third", ("[prompts]\n", f"{fourth}[prompts]\n"))


def test_a_client_sees_the_second_model_and_the_order(second: Profile) -> None:
    message = profile_to_pb(second)
    assert (message.second_slm, len(message.trial_order), message.prices.second_slm.output) == ("scripted-second", 2, 4)
    alone = profile_to_pb(load_profile("scripted-checked", (FOLDER,)))
    assert (alone.second_slm, len(alone.trial_order), alone.prices.HasField("second_slm")) == ("", 0, False)


def test_a_shipped_trial_names_an_order_only_where_there_are_two(tmp_path: Path) -> None:
    policy = Policy((1.0, 1.0, 1.0, 1.0), llm_finishes=True, kind="words", trial=TrialPlan([0], max_tokens=48))
    table = cast("Table", SimpleNamespace(llm=SimpleNamespace(tokens=np.array([100.0])), is_checked=np.array([True])))
    shipped = {}
    for name in ("scripted-checked", "scripted-second"):
        profile = written(tmp_path, name, ("[prices]\n", "[prices]\n"))
        ship_policy(profile, policy, table)
        shipped[name] = tomllib.loads((tmp_path / name / "profile.toml").read_text())["trial"].get("order")
    assert shipped == {"scripted-checked": None, "scripted-second": ["slm"]}
