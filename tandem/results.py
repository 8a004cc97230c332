"""`tandem.client.results`, by the name that callers import."""

from tandem.client.results import *  # noqa: F403
