"""The tenants' limits in their file, and the bound that a request holds before it begins."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from tandem.access.tenants import NO_LIMITS, TenantFile, TenantFileError, TenantLimits
from tandem.cli import app
from tandem.method.cost.allowance import TEMPLATE_TOKENS, allowance
from tandem.method.cost.bound import upper_bound
from tandem.method.cost.cost import cost
from tandem.method.evidence.checks import CheckSpec, TrialPlan
from tandem.method.request.charge import nano_usd
from tandem.method.request.job import Job
from tandem.method.request.plan import Plan
from tandem.method.request.request import Budget, SolveRequest
from tandem.method.tokens import TokenCounts
from tests.planned import used
from tests.unit.test_cost import PLAN


@pytest.fixture
def file(tmp_path: Path) -> TenantFile:
    return TenantFile(tmp_path / "some" / "tenants.json")


def test_a_tenant_without_an_entry_has_the_defaults(file: TenantFile) -> None:
    file.set("acme", {"usd_per_day": 5.0})
    assert file.read().limits("other") == NO_LIMITS
    file.set("", {"requests_per_minute": 3})
    assert file.read().limits("other") == TenantLimits(requests_per_minute=3)
    assert file.read().limits("acme") == TenantLimits(usd_per_day=5.0)


def test_a_change_leaves_the_other_limits(file: TenantFile) -> None:
    file.set("acme", {"usd_per_day": 5, "profiles": ["a"]})
    file.set("acme", {"usd_per_day": None, "tokens_per_minute": 7})
    assert file.read().limits("acme") == TenantLimits(tokens_per_minute=7, profiles=("a",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no file of tenants"),
        ("[]", "is not"),
        ('{"tenant": {}}', "there is no 'tenant' in it"),
        ('{"tenants": {"a/b": {}}}', "a tenant has 1 to 64"),
        ('{"tenants": {"a": 1}}', "the limits of a are no object"),
        ('{"tenants": {"a": {"usd": 1}}}', "a has no limit 'usd'"),
        ('{"tenants": {"a": {"requests_per_minute": 1.5}}}', "a whole number of at least 0, not 1.5"),
        ('{"tenants": {"a": {"usd_per_day": -1}}}', "a number of at least 0"),
        ('{"tenants": {"a": {"usd_per_day": NaN}}}', "a number of at least 0"),
        ('{"tenants": {"a": {"usd_per_day": true}}}', "a number of at least 0"),
        ('{"tenants": {"a": {"usd_per_request": 0}}}', "lies above 0"),
        ('{"tenants": {"a": {"profiles": "p"}}}', "a list of names"),
        ('{"default": {"concurrent_requests": "many"}}', "concurrent_requests of default"),
    ],
)
def test_what_means_nothing_is_named(file: TenantFile, text: str, message: str) -> None:
    file.path.parent.mkdir()
    file.path.write_text(text)
    with pytest.raises(TenantFileError) as refused:
        file.read()
    assert message in str(refused.value)


def test_a_file_that_is_not_there_is_no_file_without_limits(file: TenantFile) -> None:
    with pytest.raises(TenantFileError, match="there is no"):
        file.read()


def test_a_bad_change_leaves_the_file_as_it_was(file: TenantFile) -> None:
    file.set("acme", {"usd_per_day": 5})
    before = file.path.read_text()
    for tenant, changes in (("acme", {"usd_per_day": -1}), ("a b", {"usd_per_day": 1})):
        with pytest.raises(TenantFileError):
            file.set(tenant, changes)
    assert file.path.read_text() == before
    assert json.loads(before) == {"tenants": {"acme": {"usd_per_day": 5}}}


# -- the bound --------------------------------------------------------------------------------------------------------

PLANS = st.builds(
    lambda finishes, ahead, stages, trials: replace(
        PLAN, llm_finishes=finishes, prefill_ahead=ahead, stages=PLAN.stages[:stages], trial=trials
    ),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2),
    st.builds(TrialPlan, stages=st.just([0, 1]), repairs=st.integers(0, 2), max_tokens=st.integers(1, 300)),
)


def _task(plan: Plan, question_tokens: int, budget: float | None, *, is_checked: bool = False) -> Job:
    checks = [CheckSpec("agreement")] if is_checked else []
    request = SolveRequest("id", "q", budget=Budget(budget))
    return Job(request, plan, question_tokens, checks=checks)


@given(PLANS, st.integers(1, 5000), st.none() | st.floats(0.001, 1), st.booleans(), st.data())
def test_no_request_without_lost_attempts_costs_more_than_its_bound(
    plan: Plan, question: int, budget: float | None, is_checked: bool, data: st.DataObject
) -> None:
    """Whatever is written, whether or not a cache helps: a prompt's tokens are read or cached."""
    task = _task(plan, question, budget, is_checked=is_checked)
    allowed = allowance(plan, task.request.budget, question)
    written = data.draw(st.integers(0, allowed.llm_caps[-1] if allowed.llm_caps else 0))
    prompt = question + data.draw(st.integers(0, TEMPLATE_TOKENS))

    def reads(times: int) -> TokenCounts:
        cached = data.draw(st.integers(0, times * (prompt + written)))
        return TokenCounts(prompt=times * (prompt + written) - cached, cached=cached)

    slm = reads(1 + (len(plan.stages) if plan.prefill_ahead else 0))
    usage = used(
        llm=TokenCounts(prompt=prompt if written else 0, completion=written),
        slm=slm + TokenCounts(completion=data.draw(st.integers(0, allowed.answer_tokens))),
        scorer=reads(len(plan.stages) + 1),
    )
    bound = upper_bound(task)
    assert nano_usd(cost(plan, usage, prompt).usd) <= bound.nano_usd
    assert sum(counts.computed for counts in usage.values()) <= bound.tokens


def test_a_smaller_budget_holds_less() -> None:
    bounds = [upper_bound(_task(PLAN, 100, budget)).nano_usd for budget in (0.002, 0.005, None)]
    assert bounds == sorted(set(bounds))


def test_trials_are_held_where_there_is_something_to_check() -> None:
    plan = replace(PLAN, trial=TrialPlan(stages=[0, 1], repairs=1, max_tokens=50))
    assert upper_bound(_task(plan, 100, None, is_checked=True)).nano_usd > upper_bound(_task(plan, 100, None)).nano_usd


# -- the command line -------------------------------------------------------------------------------------------------


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["tenants", *arguments])


def test_the_command_line_sets_shows_lists_and_checks(file: TenantFile) -> None:
    at = ["--file", str(file.path)]
    assert _run("set", "acme", "usd_per_day=5.5", "requests_per_minute=7", "profiles=a,b", *at).exit_code == 0
    assert _run("set", "default", "concurrent_requests=2", *at).exit_code == 0
    assert _run("set", "acme", "requests_per_minute=none", *at).exit_code == 0
    acme, default = {"usd_per_day": 5.5, "profiles": ["a", "b"]}, {"concurrent_requests": 2}
    assert json.loads(_run("list", "--json", *at).stdout) == [
        {"tenant": "default", **default},
        {"tenant": "acme", **acme},
    ]
    assert json.loads(_run("show", "acme", "--json", *at).stdout) == {"tenant": "acme", **acme}
    assert json.loads(_run("show", "other", "--json", *at).stdout) == {"tenant": "other", **default}
    assert json.loads(_run("check", "--json", *at).stdout)["tenants"] == 1
    assert "not limited" in _run("show", "acme", *at).stdout


@pytest.mark.parametrize(
    "change", ["usd=5", "usd_per_day", "usd_per_day=much", "requests_per_minute=1.5", "usd_per_day=-1"]
)
def test_a_limit_that_means_nothing_is_refused_by_name(file: TenantFile, change: str) -> None:
    done = _run("set", "acme", change, "--file", str(file.path))
    assert isinstance(done.exception, TenantFileError)
    assert not file.path.exists()


def test_a_file_is_checked_before_a_gateway_reads_it(file: TenantFile) -> None:
    file.path.parent.mkdir()
    file.path.write_text('{"tenants": {"acme": {"usd_per_week": 5}}}')
    assert "usd_per_week" in str(_run("check", "--file", str(file.path)).exception)
