"""What `tandem doctor` says of the sandbox, for kernels that this machine does not have."""

from __future__ import annotations

import pytest

from tandem.cli.doctor import judge_isolation

IN_A_POD = {"holds": ["landlock", "seccomp", "rlimits"], "lacks": {"namespaces": "unshare: Operation not permitted"}}
NOTHING = {"holds": ["rlimits"], "lacks": dict.fromkeys(("namespaces", "landlock", "seccomp"), "not Linux")}


def test_the_layers_that_hold_are_named_with_the_reason_for_each_other_one() -> None:
    check = judge_isolation(IN_A_POD, allowed="")
    assert check.ok
    assert check.found == "landlock, seccomp, rlimits (no namespaces: unshare: Operation not permitted)"


def test_where_only_limits_hold_the_local_stack_cannot_start() -> None:
    check = judge_isolation(NOTHING, allowed="")
    assert not check.ok
    assert check.required
    assert "TANDEM_CHECKER_ALLOW_WEAK_SANDBOX=true" in check.advice


@pytest.mark.parametrize("allowed", ["true", "1", "Yes"])
def test_a_weak_sandbox_that_the_user_allows_is_a_warning(allowed: str) -> None:
    check = judge_isolation(NOTHING, allowed)
    assert not check.ok
    assert not check.required
