"""All timeouts, in one place, so that one can see how they nest."""

from datetime import timedelta


class Timeouts:
    """Each inside the next: call < attempt < activity < workflow < client deadline.

    A call is one RPC to a service; an attempt one try of an activity; an activity all its attempts together.
    """

    score_call = timedelta(seconds=60)
    check_call = timedelta(seconds=60)
    stop_call = timedelta(seconds=2)
    heartbeat = timedelta(seconds=8)
    heartbeat_interval = timedelta(seconds=3)  # each is a call to Temporal, and an action on its bill
    retry_interval = timedelta(milliseconds=250)
    longest_pause = timedelta(seconds=2)  # that an API may ask of a request: its caller's client waits and asks again
    # The same where no caller waits, as in a batch: limits per minute are whole again within it. Then in all, from the
    # first attempt on.
    longest_unattended_pause = timedelta(seconds=90)
    longest_unattended_pauses = timedelta(minutes=3)
    local_attempt = timedelta(seconds=3)
    prefill_end = timedelta(seconds=8)  # from its abort until the log has its tokens: a step of a slow engine
    stage_lost = timedelta(seconds=10)  # after the insight's end; until then a busy worker may not have read the stage
    attempt = timedelta(minutes=8)
    activity = timedelta(minutes=10)
    workflow = timedelta(minutes=14)
    batched_workflow = timedelta(days=1)  # no client waits: a request of a batch outlives an outage of everything
    batch_step = timedelta(minutes=10)  # one attempt at reading or writing files of a batch
    client_deadline = timedelta(minutes=15)
