"""The command `versori-flow`, also as `python -m opentelemetry.exporter.versori_flow`."""

from __future__ import annotations

import signal
import sys


def main(handled: bool = False) -> None:
    """Runs the command, or says in one line what to install for it.

    Args:
        handled: Python's own handler of Ctrl-C was there, and has been taken away for the time being.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        handled = True
        # Nothing is begun yet: a Ctrl-C while modules are imported ends it, without a traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        from .command.cli import run_command

        if handled:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        status = run_command()
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.startswith("opentelemetry.exporter.versori_flow"):
            raise
        print(
            f"versori-flow takes what is not installed here (no module {missing.name!r}): "
            "pip install 'opentelemetry-exporter-versori-flow[cli]'",
            file=sys.stderr,
        )
        status = 2
    except KeyboardInterrupt:
        status = 130
    if handled and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(status)


if __name__ == "__main__":
    main()
