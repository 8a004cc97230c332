"""`tandem.client.events`, by the name that callers import."""

from tandem.client.events import *  # noqa: F403
