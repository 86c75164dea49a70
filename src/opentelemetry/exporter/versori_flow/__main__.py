"""The command `versori-flow`, also as `python -m opentelemetry.exporter.versori_flow`."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command, or says in one line what to install for it."""
    try:
        from .command.cli import app

        app()
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.startswith("opentelemetry.exporter.versori_flow"):
            raise
        print(
            f"versori-flow takes what is not installed here (no module {missing.name!r}): "
            "pip install 'opentelemetry-exporter-versori-flow[cli]'",
            file=sys.stderr,
        )
        sys.exit(2)


if __name__ == "__main__":
    main()
