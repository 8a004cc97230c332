"""Used shares of limits that become metrics: of tenants in the file all, of the others a bounded number, the nearest
first.
"""

from __future__ import annotations

from services.gateway.chores import worth_exporting


def test_tenants_of_the_file_are_exported_whatever_they_have_used() -> None:
    used = {("acme", "usd_per_day"): 0.0, ("acme", "requests_per_minute"): 1.0}
    assert worth_exporting(used, {"acme"}, most=0) == used


def test_others_are_exported_from_half_of_a_limit_on() -> None:
    used = {("near", "usd_per_day"): 0.5, ("far", "usd_per_day"): 0.49}
    assert worth_exporting(used, ()) == {("near", "usd_per_day"): 0.5}


def test_of_too_many_others_the_most_used_are_exported() -> None:
    used = {(f"tenant-{number}", "usd_per_day"): 0.5 + number / 1000 for number in range(300)}
    exported = worth_exporting(used, ())
    assert len(exported) == 200
    assert min(exported.values()) == 0.6
