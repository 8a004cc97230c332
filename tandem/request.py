"""`tandem.client.request`, by the name that callers import."""

from tandem.client.request import *  # noqa: F403
