"""The console script `versori-flow`: a Ctrl-C while modules are imported ends it without a traceback.

It stands beside the package, whose import takes OpenTelemetry's SDK and most of the time until a command begins.
"""

from __future__ import annotations

import signal


def main() -> None:
    """Runs the command."""
    handled = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if handled:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from .versori_flow.__main__ import main

    main(handled)
