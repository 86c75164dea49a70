"""Exports many spans and prints by how many bytes the process has grown since its warm-up, and over how many.

python -m benchmarks.soak URL SPANS alike|unique
"""

from __future__ import annotations

import gc
import logging
import os
import sys
from pathlib import Path

from benchmarks.spans import make_spans
from opentelemetry.exporter.versori_flow import VersoriFlowSpanExporter

ULID = "01J9ZQ3V5T7XKM2C8WBYH4RDNE"
BATCH = 500


def resident() -> int:
    """Bytes in memory."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main(url: str, spans: int, kind: str) -> None:
    # An outage is part of what is measured; its lines are not.
    logging.getLogger("opentelemetry.exporter.versori_flow").setLevel(logging.CRITICAL)
    exporter = VersoriFlowSpanExporter(
        api_key="k",
        organisation_id=ULID,
        project_id=ULID,
        base_url=url,
        write_mode="replace",
        min_interval=0.2,
    )
    batches = spans // BATCH
    # All windows, queues and tables are full by then.
    warm = max(20, batches // 10)
    before = 0
    for batch in range(batches):
        exporter.export(make_spans(BATCH, unique=kind == "unique", seed=batch))
        if batch == warm:
            before = resident()
    print(resident() - before, (batches - warm - 1) * BATCH)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
