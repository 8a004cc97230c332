"""The command `tandem`. It is apart from tandem.cli, whose imports take long enough for a Ctrl-C."""

from __future__ import annotations

import signal


def main() -> None:
    """Run the command line. While modules are imported Ctrl-C ends the process at once, without a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from tandem.cli import main as run

    run()
