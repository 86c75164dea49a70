"""One gateway process under load, while the platform is up, slow and down: what it answers 200, it delivers.

    python -m benchmarks.gateway [--short] [--rate SPANS]

Four processes: the gateway, as it is run; senders, which patch new ids into requests that were encoded
beforehand; a platform as plain as one can be, which notes what it was given; and the direct exporter beside it.
"""

from __future__ import annotations

import argparse
import http.client
import logging
import multiprocessing
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan
from rich.console import Console
from rich.table import Table

from benchmarks.report import ULID, exporter
from benchmarks.sink import NO_SUCH_FLOW, requests_on, response
from benchmarks.spans import make_spans

SENDERS = 20  # services, each with a connection and a flow of its own
BATCH = 100
TRIES = 3
MOST_GROWTH = 256  # MiB beyond the start: 64 MiB of windows, bodies under way, and what the allocator keeps
_SPAN = re.compile(rb'"spanContext":\{"traceId":"([0-9a-f]{32})","spanId":"([0-9a-f]{16})"')


class Phase(NamedTuple):
    """What the platform does for some seconds."""

    name: str
    seconds: float


def resident(pid: int) -> float:
    """MiB in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def processor_time(pid: int) -> float:
    """Seconds, user and system."""
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


# -- the platform --------------------------------------------------------------------------------------------


class Platform:
    """Keeps flows, and each span's id once; slow or down when it is told."""

    def __init__(self, orders: Connection) -> None:
        self.flows: dict[bytes, bytes] = {}
        self.seen: set[bytes] = set()
        self.state = "up"
        self.orders = orders

    def run(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        address = listener.getsockname()
        self.orders.send(address[1])
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        while (order := self.orders.recv()) is not None:
            self.state = order
        self.orders.send(b"".join(self.seen))

    def _accept(self, listener: socket.socket) -> None:
        while True:
            client, _ = listener.accept()
            threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        for method, path, body in requests_on(client):
            if self.state == "slow":
                time.sleep(0.3)
            if self.state == "down":
                return
            status, answer = b"200 OK", self.flows.get(path, NO_SUCH_FLOW)
            if method == b"PUT":
                self.flows[path] = answer = body
                self.seen.update(bytes.fromhex((a + b).decode()) for a, b in _SPAN.findall(body))
            elif path not in self.flows:
                status = b"404 Not Found"
            client.sendall(response(status, answer))


def _platform(orders: Connection) -> None:
    Platform(orders).run()


# -- the senders ---------------------------------------------------------------------------------------------


class Template:
    """A request whose ids are patched: no encoder stands in the way of the rate."""

    def __init__(self, service: int) -> None:
        request = encode_spans(make_spans(BATCH))
        [group] = request.resource_spans
        group.resource.attributes[0].key, group.resource.attributes[0].value.string_value = (
            "service.name",
            f"service-{service}",
        )
        for entry in group.resource.attributes[1:]:
            if entry.key == "service.name":
                entry.key = "was.name"
        ids = bytearray()
        for number, span in enumerate(request.resource_spans[0].scope_spans[0].spans):
            span.trace_id = b"trace-id-marker!"
            span.span_id = struct.pack(">4sI", b"span", number + 1)
            span.parent_span_id = b""
            ids += span.span_id
        parts = request.SerializeToString().split(b"trace-id-marker!")
        assert len(parts) == BATCH + 1
        self._parts = parts
        self._span_ids = [bytes(ids[8 * i : 8 * i + 8]) for i in range(BATCH)]

    def body(self, number: int) -> tuple[bytes, list[bytes]]:
        """The request of that number, and the ids of its spans; ten spans are a trace."""
        traces = [struct.pack(">4sIQ", b"\x01gw\x01", i // 10 + 1, number) for i in range(BATCH)]
        pieces = [self._parts[0]]
        for trace, part in zip(traces, self._parts[1:], strict=True):
            pieces += [trace, part]
        return b"".join(pieces), [a + b for a, b in zip(traces, self._span_ids, strict=True)]


class Sent(NamedTuple):
    """What the senders met."""

    taken: list[bytes]
    answers: Counter[int]
    given_up: int
    slowest: float


def _sender(number: int, port: int, until: float, every: float, out: list[Sent]) -> None:
    template, taken, answers = Template(number), list[bytes](), Counter[int]()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Content-Type": "application/x-protobuf"}
    request, given_up, slowest = number << 32, 0, 0.0
    due = time.monotonic() + every * number / SENDERS
    while (now := time.monotonic()) < until:
        if now < due:
            time.sleep(due - now)
        # Who can't keep up sends what it can, as a batch processor whose queue overflows.
        due = max(due + every, time.monotonic() - 1)
        request += 1
        body, ids = template.body(request)
        for _ in range(TRIES):
            begun = time.monotonic()
            connection.request("POST", "/v1/traces", body, headers)
            answer = connection.getresponse()
            answer.read()
            slowest = max(slowest, time.monotonic() - begun)
            answers[answer.status] += 1
            if answer.status == 200:
                taken += ids
                break
            time.sleep(float(answer.headers["Retry-After"]))
        else:
            given_up += BATCH
    out.append(Sent(taken, answers, given_up, slowest))


def _senders(orders: Connection, port: int, seconds: float, rate: int) -> None:
    out: list[Sent] = []
    until, every = time.monotonic() + seconds, BATCH * SENDERS / rate
    threads = [
        threading.Thread(target=_sender, args=(number, port, until, every, out)) for number in range(SENDERS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answers: Counter[int] = sum((one.answers for one in out), Counter())
    orders.send((answers, sum(one.given_up for one in out), max(one.slowest for one in out)))
    orders.send_bytes(b"".join(trace for one in out for trace in one.taken))


# -- the direct exporter -------------------------------------------------------------------------------------


def _direct(orders: Connection, url: str, batches: int, rate: int) -> None:
    logging.disable(logging.CRITICAL)
    made: list[list[ReadableSpan]] = [make_spans(BATCH, seed=number) for number in range(batches)]
    ours = exporter(url, flow_name="direct")
    begun, cpu = time.monotonic(), time.process_time()
    for number, batch in enumerate(made):
        for span in batch:
            ours.leave(span)
        time.sleep(max(0.0, begun + (number + 1) * BATCH / rate - time.monotonic()))
    ours.force_flush()
    orders.send((time.process_time() - cpu) / (batches * BATCH) * 1e6)
    ours.shutdown()


def start(function: Callable[..., None], *arguments: Any) -> tuple[Connection, Any]:
    """Runs a function in a process of its own."""
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    process = context.Process(target=function, args=(theirs, *arguments), daemon=True)
    process.start()
    theirs.close()
    return mine, process


def run_gateway(url: str) -> tuple[subprocess.Popen[str], int]:
    """A gateway process, and its port."""
    settings = {
        "VERSORI_API_KEY": "k",
        "VERSORI_ORGANISATION_ID": ULID,
        "VERSORI_PROJECT_ID": ULID,
        "VERSORI_API_BASE_URL": url,
    }
    command = [sys.executable, "-m", "opentelemetry.exporter.versori_flow", "gateway", "--port", "0"]
    process = subprocess.Popen(
        command,
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    return process, int(line.partition("127.0.0.1:")[2].partition(";")[0])


def ids(raw: bytes) -> set[bytes]:
    """Ids of 24 bytes each."""
    return {raw[at : at + 24] for at in range(0, len(raw), 24)}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--short", action="store_true", help="12 s instead of 60")
    parser.add_argument("--rate", type=int, help="spans a second (default 5000, short 2000)")
    given = parser.parse_args()
    rate = given.rate or (2000 if given.short else 5000)
    share = 0.2 if given.short else 1.0
    phases = [Phase(name, share * s) for name, s in (("up", 15), ("slow", 15), ("down", 20), ("up", 10))]
    seconds = sum(phase.seconds for phase in phases)

    platform, _ = start(_platform)
    url = f"http://127.0.0.1:{platform.recv()}"
    gateway, port = run_gateway(url)
    table = Table(title=f"A gateway, {rate} spans a second from {SENDERS} services", title_justify="left")
    for column in ("platform", "seconds", "processor time", "us a span sent", "memory"):
        table.add_column(column, justify="left" if column == "platform" else "right")
    at_first = resident(gateway.pid)
    senders, _ = start(_senders, port, seconds, rate)
    time.sleep(1)  # they make their requests
    most = at_first
    for phase in phases:
        platform.send(phase.name)
        cpu, until = processor_time(gateway.pid), time.monotonic() + phase.seconds
        while time.monotonic() < until:
            most = max(most, resident(gateway.pid))
            time.sleep(0.1)
        cpu = processor_time(gateway.pid) - cpu
        table.add_row(
            phase.name,
            f"{phase.seconds:.0f}",
            f"{cpu:.1f} s",
            f"{cpu / (rate * phase.seconds) * 1e6:.0f}",
            f"{resident(gateway.pid):.0f} MiB",
        )
    answers, given_up, slowest = senders.recv()
    taken = ids(senders.recv_bytes())
    gateway.send_signal(signal.SIGTERM)
    gateway.wait(60)
    orders, _ = start(_direct, url, 40 if given.short else 150, rate)
    direct = orders.recv()
    platform.send(None)
    seen = ids(platform.recv())
    lost = len(taken - seen)
    console = Console(width=110)
    console.print(table)
    console.print(
        f"answered 200: {len(taken)} spans; answers: {dict(answers)}; slowest answer {slowest:.2f} s"
    )
    console.print(f"refused {TRIES} times and given up by the senders: {given_up} spans")
    console.print(f"lost of what was answered 200: {lost} (to reach: 0)")
    grown = most - at_first
    console.print(f"memory grew by at most {grown:.0f} MiB (to reach: <= {MOST_GROWTH} MiB)")
    console.print(f"the direct exporter, at the same rate into one flow: {direct:.0f} us a span")
    wrong = set(answers) - {200, 429, 503}
    return int(lost > 0 or grown > MOST_GROWTH or bool(wrong) or not taken)


if __name__ == "__main__":
    sys.exit(main())
