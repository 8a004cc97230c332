from __future__ import annotations

from tandem.method.timeouts import Timeouts


def test_each_timeout_is_inside_the_next() -> None:
    t = Timeouts
    nested = [
        t.heartbeat_interval,
        t.stop_call,
        t.local_attempt,
        t.heartbeat,
        t.score_call,
        t.attempt,
        t.activity,
        t.workflow,
        t.client_deadline,
    ]
    assert nested == sorted(nested)
    assert len(set(nested)) == len(nested)
