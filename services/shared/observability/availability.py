"""Metrics that say whether the system serves at all: they count, or are missed, also where no worker is left to count
requests.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from importlib.metadata import version

from prometheus_client import Counter, Gauge, Histogram

from tandem.method.names import DISTRIBUTION

SLOW = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0, 120.0, 300.0)
# Seconds to a complete answer; alerts compare with one of these.
_ANSWERS = (0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)

PROCESS = Gauge("tandem_process_info", "1 for each process that runs.", ["process", "version"])
CALLS = Counter("tandem_gateway_requests", "Solve calls that ended, as their callers saw it.", ["profile", "outcome"])
ANSWERED_SECONDS = Histogram(
    "tandem_gateway_answer_seconds", "From a Solve call to its complete answer.", ["profile"], buckets=_ANSWERS
)
HTTP_REQUESTS = Counter("tandem_http_requests", "HTTP requests, by the time that the reply began.", ["route", "status"])
HTTP_SECONDS = Histogram("tandem_http_reply_seconds", "To the beginning of the reply.", ["route"], buckets=SLOW)
UNREACHED = Counter("tandem_dependency_errors", "Calls that Redis or Temporal did not answer.", ["dependency"])
CERTIFICATE_END = Gauge(
    "tandem_certificate_expiry_timestamp_seconds", "End of a certificate of this process, Unix time.", ["certificate"]
)
for _dependency in ("redis", "temporal"):
    UNREACHED.labels(_dependency)  # the first error must show in a rate


class Outcome(StrEnum):
    """How a call of Solve ended. `FAILED` is what breaks a promise: an error that is not the caller's, or no answer in
    time.
    """

    ANSWERED = "answered"
    FAILED = "failed"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    LEFT = "left"


def announce(process: str) -> None:
    """Export that this process runs, by its name in the picture of the architecture."""
    PROCESS.labels(process, version(DISTRIBUTION)).set(1)


def watch_calls(profiles: Iterable[str]) -> None:
    """Export every outcome from 0 on."""
    for profile in profiles:
        for outcome in Outcome:
            CALLS.labels(profile, outcome)


def count_call(profile: str, outcome: Outcome, seconds: float) -> None:
    """Count a call of Solve that ended after `seconds`."""
    CALLS.labels(profile, outcome).inc()
    if outcome is Outcome.ANSWERED:
        ANSWERED_SECONDS.labels(profile).observe(seconds)


def count_http(route: str, status: int, seconds: float) -> None:
    """Count an HTTP request whose reply begins."""
    HTTP_REQUESTS.labels(route, status).inc()
    HTTP_SECONDS.labels(route).observe(seconds)


def count_unreached(dependency: str) -> None:
    """Count a call that `dependency`, redis or temporal, did not answer."""
    UNREACHED.labels(dependency).inc()


def export_certificate_end(certificate: str, chain: bytes) -> None:
    """`chain`: PEM; its first certificate is the process's. Raises ValueError for what holds none."""
    from cryptography import x509  # 3 MB, in every process that has no certificate

    first = x509.load_pem_x509_certificates(chain)[0]
    CERTIFICATE_END.labels(certificate).set(first.not_valid_after_utc.timestamp())
