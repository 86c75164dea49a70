"""Prints what is imported for the exporter while a fork would not wait for it: a child would inherit half a module."""

from __future__ import annotations

import sys
import threading

from tracing import set_up, work

from opentelemetry.exporter.versori_flow import lifecycle
from opentelemetry.exporter.versori_flow.native import get_ident

OURS = lifecycle.__package__
main = get_ident()
seen: list[str] = []


def forks_wait() -> bool:
    """For what is imported; or for the use of a file, as what that imports needs no other lock."""
    if lifecycle.forks_wait().locked():
        return True
    files = sys.modules.get(f"{OURS}.stores.connection")
    return files is not None and files._forks.lock.locked()


class Imports:
    """Sees whatever is imported first on a thread of the exporter's."""

    def find_spec(self, name: str, *_: object) -> None:
        if get_ident() != main and not forks_wait():
            seen.append(name)


provider = set_up()
tracer = provider.get_tracer(__name__)
sys.meta_path.insert(0, Imports())
work(tracer, "one")
provider.force_flush()
child = threading.Thread(target=work, args=(tracer, "two"))
child.start()
child.join()
provider.force_flush()
provider.shutdown()
print(*seen)
