"""What delivers, wired: made in each process when there is something to do, since it imports most of the package."""

from __future__ import annotations

import codecs
import contextlib
import random
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

from . import greenlets, lifecycle
from .delivery import host_lock
from .delivery.backoff import wait_after
from .delivery.crew import Crew
from .delivery.dispatcher import Dispatcher
from .delivery.host_lock import HostLock
from .delivery.keeper import Keeper
from .delivery.turn_queue import TurnQueue
from .flow.flows import Flows
from .flow.policy import FlowPolicy
from .http.api import FlowsApi

if TYPE_CHECKING:
    from .delivery.log import Faults
    from .http.credentials import Credentials
    from .intake import Intake
    from .own_metrics import OwnMetrics
    from .settings.redis_url import FleetUrl
    from .settings.table import Settings
    from .stores.fleet_store import FleetStore
    from .stores.seam import Store


def wired(
    settings: Settings,
    credentials: Credentials,
    intake: Intake,
    metrics: OwnMetrics | None,
    faults: Faults,
    *,
    admits: bool,
) -> Dispatcher:
    """Makes all that delivers what the intake gets.

    Args:
        settings: What was configured.
        credentials: The key in use.
        intake: Where application threads leave things.
        metrics: The exporter's own; None: switched off.
        faults: What has gone wrong in the exporter's own work until now.
        admits: See `FlowPolicy`.
    """
    api = FlowsApi(settings, credentials)
    policy = FlowPolicy(
        max_spans=settings.max_spans,
        max_bytes=settings.max_bytes,
        min_interval=settings.min_interval,
        timeout=settings.timeout,
        merge=settings.write_mode == "merge",
        description=settings.flow_description,
        backoff=wait_after,
        uniform=random.uniform,
        store=str(settings.store),
        durable=settings.store.durable,
        admits=admits,
    )
    flows = Flows(policy, settings.max_flows)
    lock = HostLock(*settings.target)
    keeper = keeper_of(settings, flows, lock if policy.merge else None)
    if lifecycle.imports_now():
        _warm_up(api)
        _import_store(settings)
    return Dispatcher(intake, flows, Crew(api, partial(_warm_up, api), metrics), keeper, faults)


def keeper_of(settings: Settings, flows: Flows, host_lock: HostLock | None) -> Keeper:
    name, timeout, url = str(settings.store), settings.timeout, settings.store.redis
    if url is None or host_lock is None:
        open_store = partial(_open_store, settings)
        return Keeper(flows, TurnQueue(host_lock, timeout), open_store, settings.store.durable, name)
    with lifecycle.forks_wait():
        from .delivery.fleet_keeper import FleetKeeper

    open_fleet = partial(_open_fleet, settings, url)
    return FleetKeeper(flows, host_lock, open_fleet, name, timeout, settings.min_interval)


def _open_fleet(settings: Settings, url: FleetUrl) -> FleetStore:
    bounds = (settings.max_spans, settings.max_bytes, settings.max_store_bytes)
    with lifecycle.forks_wait():  # redis-py is imported too
        from .stores.fleet import Fleet
        from .stores.fleet_store import FleetStore
        from .stores.spool_file import Target

        target = Target(*settings.target)
        return FleetStore(Fleet(url, target, *bounds), str(url), settings.timeout)


def _open_store(settings: Settings) -> Store | None:
    """Opens the store, off the application's thread; None where nothing can be left to other processes."""
    url, durable, folder = settings.store, True, settings.store.folder
    if folder is None:
        folder, durable = host_lock.spool_folder() if settings.write_mode == "merge" else None, False
        if folder is None:
            return None
    with lifecycle.forks_wait():
        from .stores.folder import Folder
        from .stores.spool import Spool
        from .stores.spool_file import Target

    target = Target(*settings.target)
    files = Folder(folder, url.full_sync, settings.max_store_bytes)
    return Spool(files, target, durable, max(1, settings.max_spans // 2))


def _warm_up(api: FlowsApi) -> None:
    """Imports what the first requests take."""
    with lifecycle.forks_wait():
        wait_after(1)
        api.open()
        for codec in ("idna", "utf-8-sig"):
            codecs.lookup(codec)
    greenlets.warm_up()


def _import_store(settings: Settings) -> None:
    """Imports what opening the store takes, and its first file; what is missing there is said when it is opened."""
    over_redis = settings.store.redis is not None
    with contextlib.suppress(ImportError, ValueError):
        for module in [".stores.fleet_store"] if over_redis else ["ctypes", ".stores.spool"]:
            import_module(module, __package__)
        if over_redis:
            from .stores.redis_client import load

            load()
