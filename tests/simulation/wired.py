"""What delivers, wired as `wiring` does it, with the crew and what is random in its place."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

from opentelemetry.exporter.versori_flow import wiring
from opentelemetry.exporter.versori_flow.delivery import backoff
from opentelemetry.exporter.versori_flow.delivery.dispatcher import Dispatcher
from opentelemetry.exporter.versori_flow.delivery.host_lock import HostLock
from opentelemetry.exporter.versori_flow.delivery.keeper import Keeper
from opentelemetry.exporter.versori_flow.delivery.log import Faults
from opentelemetry.exporter.versori_flow.delivery.turn_queue import TurnQueue
from opentelemetry.exporter.versori_flow.encoded_span import EncodedSpan
from opentelemetry.exporter.versori_flow.flow.flows import Flows
from opentelemetry.exporter.versori_flow.flow.policy import FlowPolicy
from opentelemetry.exporter.versori_flow.intake import Intake
from opentelemetry.exporter.versori_flow.routing.router import Router

from .attempts import Crew


class Default:
    """Names the flow of spans that have no name of their own."""

    def of(self, spans: Sequence[EncodedSpan]) -> list[str]:
        return ["default"] * len(spans)

    def remarks(self) -> list[str]:
        return []


class Encoder:
    """The spans of this world are encoded when they are made."""

    def encode(self, spans: Sequence[EncodedSpan]) -> list[EncodedSpan]:
        return list(spans)


def wire(process: Any) -> None:
    """Makes all that delivers what the process is given."""
    plan, uniform = process.world.plan, process.random.uniform
    merge = plan.write_mode == "merge"
    store = SimpleNamespace(folder="/spool" if process.durable else None, full_sync=False)
    settings: Any = SimpleNamespace(
        store=store,
        write_mode=plan.write_mode,
        target=("u", "o", "p"),
        max_store_bytes=1 << 28,
        max_spans=plan.page,
    )
    policy = FlowPolicy(
        max_spans=plan.max_spans,
        max_bytes=4 << 20,
        min_interval=plan.min_interval,
        timeout=plan.timeout,
        merge=merge,
        description=None,
        backoff=backoff.wait_after,
        uniform=uniform,
        durable=process.durable,
    )
    process.flows = Flows(policy, plan.max_flows)
    process.crew = Crew(process, plan.crew)
    process.intake = Intake(Encoder(), Default(), Router(8 * plan.max_spans))  # type: ignore[arg-type]
    process.keeper = process.make_keeper(settings)
    process.dispatcher = Dispatcher(process.intake, process.flows, process.crew, process.keeper, Faults())
    _note_what_is_given_up(process)


def keeper_of_files(process: Any, settings: Any) -> Keeper:
    """What keeps spans in a folder of the host, or in memory."""
    plan = process.world.plan
    host_lock = HostLock("u", "o", "p") if plan.write_mode == "merge" else None
    open_store = partial(wiring._open_store, settings)
    return Keeper(process.flows, TurnQueue(host_lock, plan.timeout), open_store, process.durable, "the store")


def _note_what_is_given_up(process: Any) -> None:
    abandon = process.flows.abandon

    def note(keeps: Any = lambda flow, key: False) -> dict[str, int]:
        for flow in process.flows:
            pushed_out = flow._spans._pushed_out.values()
            process.dropped.update(
                entry.key
                for entry in [*flow.window, *pushed_out]
                if (entry.pending or entry in pushed_out) and not keeps(flow.name, entry.key)
            )
        process.dropped.update((span.trace_id, span.span_id) for span in process.intake._left)
        left: dict[str, int] = abandon(keeps)
        return left

    process.flows.abandon = note
