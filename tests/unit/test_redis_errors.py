"""What Redis answers: "try again" is Unavailable whatever the client calls it; what Redis cannot understand is ours."""

from __future__ import annotations

import pytest
from google.rpc import error_details_pb2
from redis import exceptions

from services.shared.process.status import to_status
from services.shared.request_log.connection import translated_errors
from tandem.method.errors import Unavailable

CODES = {
    "READONLY": "You can't write against a read only replica.",
    "OOM": "command not allowed when used memory > 'maxmemory'.",
    "LOADING": "Redis is loading the dataset in memory",
    "CLUSTERDOWN": "Hash slot not served",
    "MASTERDOWN": "Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "TRYAGAIN": "Multiple keys request during rehashing of slot",
    "MISCONF": "Redis is configured to save RDB snapshots, but it is currently not able to persist on disk.",
    "NOREPLICAS": "Not enough good replicas to write.",
    "BUSY": "Redis is busy running a script.",
    "UNBLOCKED": "force unblock from blocking operation, instance state changed (master -> replica?)",
}


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("frame", ["{}", "Error running script (call to f_1): @user_script:7: @user_script: 7: -{}"])
def test_a_redis_that_cannot_do_it_now_is_unavailable(code: str, frame: str) -> None:
    with pytest.raises(Unavailable) as caught, translated_errors():
        raise exceptions.ResponseError(frame.format(f"{code} {CODES[code]}"))
    assert caught.value.reason == "REQUEST_LOG_UNAVAILABLE"
    [_, retry] = to_status(caught.value).details
    info = error_details_pb2.RetryInfo()
    assert retry.Unpack(info)
    assert info.retry_delay.ToMilliseconds() == 1000


@pytest.mark.parametrize(
    "error",
    [
        exceptions.ConnectionError("refused"),
        exceptions.TimeoutError("silent"),
        exceptions.BusyLoadingError("loading"),
        exceptions.ReadOnlyError("a replica"),
        exceptions.OutOfMemoryError("full"),
        exceptions.ClusterDownError("CLUSTERDOWN The cluster is down"),
        exceptions.MasterDownError("MASTERDOWN Link with MASTER is down"),
        exceptions.NoScriptError("NOSCRIPT No matching script"),
        exceptions.TryAgainError("Multiple keys request"),
        exceptions.MovedError("1 127.0.0.1:7000"),
        exceptions.AskError("1 127.0.0.1:7000"),
        exceptions.SlotNotCoveredError("slot 1"),
        exceptions.RedisClusterException("no node answers"),
        exceptions.MaxConnectionsError("too many"),
        OSError("no route"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_the_library_makes_of_it_is_unavailable(error: Exception) -> None:
    with pytest.raises(Unavailable), translated_errors():
        raise error


def test_what_redis_does_not_understand_is_an_error_of_ours() -> None:
    with pytest.raises(exceptions.ResponseError), translated_errors():
        raise exceptions.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value")
