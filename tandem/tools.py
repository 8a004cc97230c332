"""`tandem.client.tools`, by the name that callers import."""

from tandem.client.tools import *  # noqa: F403
