"""A shop of two services on a local platform: traffic, one flow as a tree, and a look at what is missing.

Each service also writes every span that it ended to a file, by OpenTelemetry's own console exporter. Those
files, and the orders that were sent, are what the flow is held against.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import requests

from opentelemetry.exporter.versori_flow.command.launch import is_free, local_credentials
from opentelemetry.exporter.versori_flow.server import LocalPlatform

SHOP = Path(__file__).parents[1] / "examples" / "shop"
COMMAND = [sys.executable, "-m", "opentelemetry.exporter.versori_flow"]
FLOW = "shop"
ORDERS = 40
PATIENCE = 30.0  # seconds for a service to start or to end


Identity = tuple[str, str]  # trace and span id, in hexadecimal


class Outcome(NamedTuple):
    """How a span ended."""

    failed: bool
    events: tuple[str, ...]


class Service:
    """One of the shop's programs, started by `versori-flow run` as a user would."""

    def __init__(self, name: str, folder: Path, **variables: str) -> None:
        self.name = name
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.status: int | None = None
        self._spans, self._log = folder / f"{name}.spans", folder / f"{name}.log"
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "VERSORI_"))},
            "OTEL_SERVICE_NAME": name,
            "OTEL_TRACES_EXPORTER": "versori_flow,console",
            "OTEL_BSP_SCHEDULE_DELAY": "500",
            "VERSORI_FLOW_NAME": FLOW,
            "PORT": str(self.port),
            **variables,
        }
        with self._spans.open("wb") as spans, self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*COMMAND, "run", "--", sys.executable, str(SHOP / f"{name}.py")],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=spans,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the demo, which ends its services in order
            )

    def wait_until_up(self) -> None:
        end = time.monotonic() + PATIENCE
        while self._process.poll() is None and time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.05)
        raise RuntimeError(f"the {self.name} did not start:\n{self.log()}")

    def stop(self) -> None:
        """Ends it in order, so that it delivers what is left; nothing happens where it has ended."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self.status = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise RuntimeError(f"the {self.name} did not end:\n{self.log()}") from None

    def ended_spans(self) -> dict[Identity, Outcome]:
        """What the console exporter wrote: one indented JSON object after the other, between other lines."""
        spans: dict[Identity, Outcome] = {}
        lines: list[str] = []
        for line in self._spans.read_text(encoding="utf-8").splitlines():
            if line == "{" or lines:
                lines.append(line)
            if line == "}":
                span, lines = json.loads("\n".join(lines)), []
                trace_id, span_id = (
                    span["context"][key].removeprefix("0x") for key in ("trace_id", "span_id")
                )
                failed = span["status"]["status_code"] == "ERROR"
                spans[trace_id, span_id] = Outcome(failed, tuple(event["name"] for event in span["events"]))
        return spans

    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")[-4000:]


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="end; the status says whether all arrived")
    once = parser.parse_args().once
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            LocalPlatform(key="local", port=8901 if is_free(8901) else 0) as platform,
            shop(Path(folder), platform.url) as services,
        ):
            return demo(platform, services, once=once)
    except KeyboardInterrupt:
        return 0
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or the interpreter's last flush fails too
        print("scripts/demo: nobody reads what it prints, so it has ended", file=sys.stderr)
        return 1


@contextlib.contextmanager
def shop(folder: Path, platform_url: str) -> Iterator[list[Service]]:
    """The shop and its warehouse, up; both are ended at the end, the shop first, which calls the other."""
    credentials = local_credentials(platform_url)
    services: list[Service] = []
    with contextlib.ExitStack() as ending:
        warehouse = Service("warehouse", folder, **credentials)
        ending.callback(warehouse.stop)
        front = Service("shop", folder, WAREHOUSE_URL=warehouse.url, **credentials)
        ending.callback(front.stop)
        services += [front, warehouse]
        for service in services:
            service.wait_until_up()
        yield services


def demo(platform: LocalPlatform, services: list[Service], *, once: bool) -> int:
    """Sends the orders, and shows or proves what became of them."""
    print(f"The shop answers at {services[0].url}, the platform's page at {platform.page_url}", flush=True)
    send_orders(services[0].url)
    if once:
        for service in services:
            service.stop()
        found = problems(platform.spans(FLOW), services)
    else:
        found = wait_until_delivered(platform, services)
    print(flush=True)
    found += show(platform.url)
    print()
    for problem in found:
        print(f"MISSING: {problem}")
    if found:
        print("\n".join(service.log() for service in services), file=sys.stderr)
    else:
        spans = platform.spans(FLOW)
        print(f"All {len(spans)} spans of {ORDERS} orders are in the flow {FLOW!r}, once, in whole trees.")
    if not once:
        print(
            f"The page is at {platform.page_url}, the shop at {services[0].url}. Ctrl-C ends both.",
            flush=True,
        )
        threading.Event().wait()
    return 1 if found else 0


def orders() -> list[dict[str, int]]:
    """The same orders each time; the last ones fail in every way that the shop knows."""
    choice = random.Random(8901)
    usual = []
    for _ in range(ORDERS - 3):
        articles = choice.sample(["apple", "pear", "plum"], choice.randint(1, 3))
        usual.append({article: choice.randint(1, 5) for article in articles})
    return [*usual, {"apple": 2, "unicorn": 1}, {"plum": 100, "pear": 1}, {"apple": 3, "telescope": 1}]


def send_orders(url: str) -> None:
    answers: Counter[int] = Counter()
    for number, order in enumerate(orders(), 1):
        answers[requests.post(f"{url}/orders", json=order, timeout=PATIENCE).status_code] += 1
        if number % 10 == 0:
            print(f"  {number} of {ORDERS} orders sent", flush=True)
    print(f"  {answers[201]} accepted, {answers[402]} declined", flush=True)


def wait_until_delivered(platform: LocalPlatform, services: list[Service]) -> list[str]:
    end = time.monotonic() + PATIENCE
    while (found := problems(platform.spans(FLOW), services)) and time.monotonic() < end:
        time.sleep(0.2)
    return found


def problems(stored: list[dict[str, Any]], services: list[Service]) -> list[str]:
    """Everything in which the flow differs from what the services ended and the orders that were sent."""
    found = [f"the {s.name} ended with status {s.status}" for s in services if s.status not in (None, 0)]
    times = Counter(identity(span["spanContext"]) for span in stored)
    ended: dict[Identity, Outcome] = {}
    for service in services:
        spans = service.ended_spans()
        ended |= spans
        lost = len(spans.keys() - times.keys())
        if lost or not spans:
            found.append(f"{lost} of {len(spans)} spans of the {service.name} are not in the flow")
    parents = [identity(s["parentSpanContext"]) for s in stored if "parentSpanContext" in s]
    outcomes = {identity(span["spanContext"]): stored_outcome(span) for span in stored}
    counts = {
        "spans stand in the flow more than once": sum(n > 1 for n in times.values()),
        "spans in the flow that no service ended": len(times.keys() - ended.keys()),
        "spans whose parent is not in the flow": sum(parent not in times for parent in parents),
        "spans with another status or other events than they ended with": sum(
            outcome != ended.get(span, outcome) for span, outcome in outcomes.items()
        ),
        "orders more or less than traces": abs(ORDERS - len({trace_id for trace_id, _ in times})),
        "orders more or less than roots": abs(ORDERS - len(stored) + len(parents)),
    }
    found += [f"{count} {what}" for what, count in counts.items() if count]
    if not any(o.failed for o in outcomes.values()) or not any(o.events for o in outcomes.values()):
        found.append("the errors and events, of which every run has some")
    return found


def identity(context: dict[str, Any]) -> Identity:
    return context["traceId"], context["spanId"]


def stored_outcome(span: dict[str, Any]) -> Outcome:
    return Outcome(span["status"]["code"] == 1, tuple(event["name"] for event in span["events"]))


def show(url: str) -> list[str]:
    """Prints the newest traces by the command, and checks that all of it shows the errors and events."""
    environment = {**os.environ, **local_credentials(url)}
    command = [*COMMAND, "show", FLOW]
    subprocess.run([*command, "--traces", "3"], env=environment, check=False)
    everything = subprocess.run([*command, "--all"], env=environment, check=False, stdout=subprocess.PIPE)
    shown = " ".join(everything.stdout.decode().split())
    expected = ("there is no unicorn", "out of stock", "PaymentDeclined", "order accepted")
    return [f"{text!r} in what `versori-flow show` prints" for text in expected if text not in shown]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
