"""What becomes of a fleet whose Redis is away, full, emptied, changed or another."""

from __future__ import annotations

import logging
import time

import pytest

from opentelemetry.exporter.versori_flow.flow.journal import Change
from opentelemetry.exporter.versori_flow.stores import fleet_store
from opentelemetry.exporter.versori_flow.stores.connection import StoreError
from opentelemetry.exporter.versori_flow.stores.fleet_answers import Claim
from opentelemetry.exporter.versori_flow.stores.fleet_store import FleetStore
from tests.authority import Authority
from tests.ports import free_port

from .conftest import added, join, keys, span
from .redis_server import require_redis, wait_until

require_redis()


def test_killed_and_back_empty(own_redis):
    """While it is away each call fails soon; when it is back all is put again, and nothing is lost or twice."""
    server = own_redis()
    one, two = join(server.url), join(f"redis://127.0.0.1:{server.port}")
    one.put(added(span(1)))
    two.put(added(span(2)))
    seen = two.claim("shop").seen
    server.kill()
    for fleet in (one, two):
        with pytest.raises(StoreError, match="it can't be reached"):
            fleet.due()
    with pytest.raises(StoreError, match="it can't be reached"):
        one.put(added(span(3)))
    assert one.wants_all
    server.start()
    one.put(added(span(1), span(3)), everything=True)
    assert not one.wants_all
    assert two.due() == ["shop"]  # which is how it learns
    assert two.wants_all
    two.put(added(span(2)), everything=True)
    assert not two.wants_all
    assert keys(two.claim("shop", seen).spans) == keys(span(number) for number in (1, 2, 3))


def test_emptied_in_between(shared_redis):
    """An emptied Redis, its scripts too, is noticed by the next call of each, and by nobody twice."""
    fleet = join(shared_redis.url)
    epoch = fleet.put(added(span(1))).epoch
    shared_redis.tell("SCRIPT", "FLUSH")
    assert fleet.put(added(span(2))).epoch == epoch
    assert not fleet.wants_all
    shared_redis.tell("FLUSHALL")
    assert fleet.put(added(span(3))).epoch != epoch
    assert fleet.wants_all
    fleet.put(added(span(1), span(2), span(3)), everything=True)
    assert not fleet.wants_all
    assert len(fleet.window("shop")) == 3


@pytest.mark.parametrize("key", ["body", "order", "ids", "pending", "ends", "meta"])
def test_evicted_in_part(shared_redis, key):
    """Where Redis has thrown away a part of a flow, all who put are asked for all of theirs."""
    one, two = join(shared_redis.url), join(shared_redis.url)
    one.put([*added(span(1), span(2)), *added(span(3), flow="other")])
    two.due()
    [victim] = shared_redis.tell("KEYS", f"*:{key}:shop")
    shared_redis.tell("DEL", victim)
    two.put(added(span(4)))
    assert two.wants_all
    one.due()
    assert one.wants_all
    one.put([*added(span(1), span(2)), *added(span(3), flow="other")], everything=True)
    claim = one.claim("shop")
    assert claim.pending == keys(kept for kept, _ in one.window("shop")) == keys(map(span, (1, 2, 4)))
    assert [held[:3] for held in one.flows()] == [("other", 1, 1), ("shop", 3, 3)]


def test_paused(own_redis):
    """A Redis that stands still holds up no call for longer than a moment, and loses nothing."""
    server = own_redis()
    fleet = join(server.url)
    fleet.put(added(span(1)))
    server.pause()
    began = time.monotonic()
    for _ in range(2):
        with pytest.raises(StoreError, match="it can't be reached"):
            fleet.put(added(span(2)))
    assert time.monotonic() - began < 6
    server.go_on()
    fleet.put(added(span(1), span(2)), everything=True)
    assert not fleet.wants_all
    assert fleet.claim("shop").pending == keys([span(1), span(2)])


def test_full(own_redis):
    """A full Redis takes no more, and what it has can be claimed, settled and removed, which makes room."""
    server = own_redis("--maxmemory-policy", "noeviction")
    fleet = join(server.url)
    spans = [span(number, body=b"x" * 1000) for number in range(100)]
    fleet.put(added(*spans))
    server.tell("CONFIG", "SET", "maxmemory", "1")
    for changes in (added(span(200)), [Change("shop", [span(201)], [spans[0].key], [spans[1].key])]):
        with pytest.raises(StoreError, match="it is full"):
            fleet.put(changes)
    assert fleet.wants_all
    claim = fleet.claim("shop")
    assert claim.pending == keys(spans[2:])
    assert fleet.extend(claim)
    assert fleet.settle(claim, [kept.key for kept in spans], wait=0, verified=True)
    assert fleet.drop("shop") == 0
    assert fleet.flows() == []
    server.tell("CONFIG", "SET", "maxmemory", "0")
    fleet.put(added(span(200)), everything=True)
    assert not fleet.wants_all


def claimed(store: FleetStore) -> Claim:
    """Its turn, once it has it."""
    end = time.monotonic() + 10
    while not isinstance(claim := store.claim("shop", 2, time.monotonic()), Claim):
        assert time.monotonic() < end
        time.sleep(0.02)
    return claim


def test_an_older_text_is_not_brought_back(own_redis):
    """What Redis could not be told is pending here as it was handed over last: a claim brings nothing older of it."""
    server = own_redis("--maxmemory-policy", "noeviction")
    store = FleetStore(join(server.url), "redis", longest_lease=10)
    changed, other = span(1), span(2)
    store.apply(added(changed, other))
    server.tell("CONFIG", "SET", "maxmemory", "1")
    store.apply(added(span(3)))  # it is left alone for a moment
    store.apply(added(changed._replace(body=b'{"name": "newer"}')))
    claim = claimed(store)
    assert claim.pending == keys([changed, other])
    assert [kept for left in store.inherit(time.monotonic()) for kept in left.spans] == []
    assert not store.keeps("shop", changed.key)


@pytest.mark.parametrize("how", ["settled", "released", "written without a claim"])
def test_what_was_carried_for_others_is_settled_once_redis_is_back(own_redis, how):
    """Redis could not be told; the next claim brings it again, or its flow would be looked at for ever."""
    server = own_redis()
    join(server.url).put(added(span(1)))
    store = FleetStore(join(server.url, lease=0.3), "redis", longest_lease=10)
    claim = claimed(store)
    carried = [Change("shop", (), [span(1).key], ())]
    if how == "written without a claim":
        store.release(claim, 0, unsure=False)
    server.pause()
    store.apply(carried)
    if how == "settled":
        store.settle(claim, 0, verified=False)
    elif how == "released":
        store.release(claim, 0, unsure=False)
    server.go_on()
    list(store.inherit(0))
    claimed(store)
    assert [kept.key for left in store.inherit(0) for kept in left.spans] == [span(1).key]


@pytest.mark.parametrize("before", ["nothing", "told anew", "could not be told anew"])
def test_what_moved_away_meanwhile_is_not_brought_back_by_who_tells_all_anew(own_redis, before):
    """It had the span from another process, and not heard yet that it moved; its own it tells anew in any case."""
    server = own_redis()
    fleet, other = join(server.url), join(server.url)
    store = FleetStore(fleet, "redis", longest_lease=10)
    other.put(added(moved := span(1), stays := span(2)))
    store.apply(added(own := span(3)))
    store.release(claimed(store), 0, unsure=False)
    waiting = added(moved, stays, own)
    if before == "told anew":
        store.put_all(waiting)
    elif before == "could not be told anew":
        server.pause()
        store.put_all(waiting)
        server.go_on()
        wait_until(lambda: store.wants_all(time.monotonic()))
    other.put([Change("shop", (), (), [moved.key, own.key])])
    fleet.close()
    list(store.inherit(time.monotonic()))
    store.put_all(waiting)
    assert {kept for kept, _ in other.window("shop")} == {stays, own}


@pytest.mark.parametrize("what", ["has a newer text", "has moved away"])
def test_what_an_emptied_redis_was_told_since_is_not_undone_by_who_tells_all_anew(shared_redis, what):
    """It had the span from another process, which alone knows what became of it meanwhile."""
    fleet, other = join(shared_redis.url), join(shared_redis.url)
    store = FleetStore(fleet, "redis", longest_lease=10)
    other.put(added(before := span(1), stays := span(2)))
    store.release(claimed(store), 0, unsure=False)
    shared_redis.tell("FLUSHALL")
    now = before._replace(body=b'{"name": "newer"}')
    other.put(added(now) if what == "has a newer text" else [Change("shop", (), (), [before.key])])
    store.put_all(added(before, stays))
    left = {stays, now} if what == "has a newer text" else {stays}
    assert {kept for kept, _ in other.window("shop")} == left


def test_who_ends_leaves_all_to_a_redis_that_was_emptied(shared_redis):
    """What it had put before is not there any more, which it learns when it leaves the rest."""
    store = FleetStore(join(shared_redis.url), "redis", longest_lease=10)
    store.apply(added(before := span(1)))
    shared_redis.tell("FLUSHALL")
    assert store.leave(added(before, rest := span(2)))
    assert {kept for kept, _ in join(shared_redis.url).window("shop")} == {before, rest}


def test_what_an_emptied_redis_had_is_kept_by_nobody(own_redis):
    """Until it was put again: a process that ends before that says that it is lost. Who knows no better trusts it."""
    server = own_redis()
    store = FleetStore(join(server.url), "redis", longest_lease=10)
    store.apply(added(one := span(1)))
    store.inherit(time.monotonic())
    server.tell("FLUSHALL")
    assert store.keeps("shop", one.key)
    store.claim("shop", 1, time.monotonic())  # which is how it learns
    assert not store.keeps("shop", one.key)
    store.put_all(added(one))
    assert store.keeps("shop", one.key)
    server.kill()
    store.apply(added(other := span(2)))
    assert store.keeps("shop", one.key)
    assert not store.keeps("shop", other.key)


def test_what_another_redis_lacks_is_kept_by_nobody(own_redis):
    """A replica that was behind: what it does not have pending may be delivered, or lost, until it was put again."""
    server = own_redis()
    fleet = join(server.url)
    store = FleetStore(fleet, "redis", longest_lease=10)
    store.apply(added(one := span(1), two := span(2)))
    join(server.url).put([Change("shop", (), (), [one.key])])
    fleet.close()  # what it speaks to next may be another
    store.claim("shop", 2, time.monotonic())
    assert (store.keeps("shop", one.key), store.keeps("shop", two.key)) == (False, True)
    store.put_all(added(one, two))
    assert store.keeps("shop", one.key)


def test_who_ends_while_redis_is_away_looks_then_for_what_others_have_left_to_it(own_redis, monkeypatch):
    """It could not say that it lives no longer: it waits a moment for that, and delivers where nobody else would."""
    monkeypatch.setattr(fleet_store, "_LAST_WORD", 20.0)
    monkeypatch.setattr(fleet_store, "RELIED_ON", 30.0)
    server = own_redis()
    store = FleetStore(join(server.url), "redis", longest_lease=10)
    store.inherit(time.monotonic())
    other = join(server.url)
    server.pause()
    store.look_no_more()
    assert store.is_wanted
    assert store.next_look() < time.monotonic() + 15
    server.go_on()
    other.put(added(span(1)))
    wait_until(lambda: time.monotonic() >= store.next_look())
    store.look_no_more()
    assert [left.flow for left in store.inherit(time.monotonic())] == ["shop"]
    assert not store.is_wanted
    assert store.next_look() == float("inf")


def test_who_ends_waits_for_no_redis_where_nobody_relies_on_it(own_redis):
    """It never asked what is due, or Redis is away for longer than others count on it."""
    server = own_redis()
    store = FleetStore(join(server.url), "redis", longest_lease=10)
    server.kill()
    store.look_no_more()
    assert not store.is_wanted
    assert store.next_look() == float("inf")


def test_a_replica_that_was_behind_is_told_what_was_delivered(own_redis):
    """After a failover Redis may have as pending what was carried long ago; it is brought, and settled, again."""
    server = own_redis()
    fleet = join(server.url)
    store = FleetStore(fleet, "redis", longest_lease=10)
    store.apply(added(mine := span(1)))
    for key in server.tell("KEYS", "*"):
        server.tell("COPY", key, key, "DB", "1")
    claim = claimed(store)
    store.apply([Change("shop", (), [mine.key], ())])
    store.settle(claim, 0, verified=True)
    server.tell("SWAPDB", "0", "1")
    fleet.close()
    list(store.inherit(time.monotonic()))
    assert store.wants_all(time.monotonic())
    store.put_all([])
    assert mine in claimed(store).spans


NEWER = b'{"name": "newer"}'


@pytest.mark.parametrize("how", ["full", "full and left alone", "away"])
def test_a_newer_text_that_was_carried_untold_is_told_after_all(own_redis, how):
    """Whoever had the older one would write that again, once it was delivered as if it were the newer one."""
    server = own_redis("--maxmemory-policy", "noeviction")
    store, other = FleetStore(join(server.url), "redis", longest_lease=10), join(server.url)
    store.apply(added(before := span(1)))
    claim = claimed(store)
    newer = before._replace(body=NEWER, older=(hash(before.body),))
    if how == "away":
        server.pause()
    else:
        server.tell("CONFIG", "SET", "maxmemory", "1")
    if how == "full and left alone":
        store.apply(added(span(2)))
    store.apply(added(newer))
    assert how != "full" or [kept.body for kept, _ in other.window("shop")] == [NEWER]
    store.apply([Change("shop", (), [before.key], ())])
    store.settle(claim, 0, verified=False)
    if how == "away":
        server.go_on()
    else:
        server.tell("CONFIG", "SET", "maxmemory", "0")
    wait_until(lambda: store.wants_all(time.monotonic()))
    store.put_all([])
    assert [kept.body for kept, _ in other.window("shop") if kept.key == before.key] == [NEWER]
    if how != "full":
        assert other.claim("shop").pending == {before.key}


def test_a_newer_text_gets_into_a_full_redis_also_at_the_end(own_redis):
    """Where it was left alone a moment before, it is asked once more: nobody would do so later."""
    server = own_redis("--maxmemory-policy", "noeviction")
    store = FleetStore(join(server.url), "redis", longest_lease=10)
    store.apply(added(before := span(1)))
    server.tell("CONFIG", "SET", "maxmemory", "1")
    store.apply(added(span(2)))
    store.apply(added(newer := before._replace(body=NEWER, older=(hash(before.body),))))
    assert not store.leave(added(newer, span(2)))
    assert [kept.body for kept, _ in join(server.url).window("shop")] == [NEWER]


@pytest.mark.parametrize("what", ["has a newer text", "has moved away"])
def test_what_became_of_a_span_is_told_to_a_redis_that_was_emptied_since(shared_redis, what):
    """Delivered or not: a process that had it from this one may still have it as it was before."""
    store, other = FleetStore(join(shared_redis.url), "redis", longest_lease=10), join(shared_redis.url)
    store.apply(added(before := span(1)))
    newer = before._replace(body=NEWER, older=(hash(before.body),))
    store.apply(added(newer) if what == "has a newer text" else [Change("shop", (), (), [before.key])])
    store.apply([Change("shop", (), [newer.key], ())])
    shared_redis.tell("FLUSHALL")
    other.put([Change("shop", [before, span(2)], (), (), {}, [before.key])])
    list(store.inherit(time.monotonic()))
    assert store.wants_all(time.monotonic())
    store.put_all([])
    left = {before.key: NEWER, span(2).key: b"{}"} if what == "has a newer text" else {span(2).key: b"{}"}
    assert {kept.key: kept.body for kept, _ in other.window("shop")} == left


def test_an_older_text_that_comes_late_is_not_taken(shared_redis):
    """Redis may carry out what it was told before it was told better: it is told once more.

    The newer text may be one that the span has had before.
    """
    store, other = FleetStore(join(shared_redis.url), "redis", longest_lease=10), join(shared_redis.url)
    store.apply(added(before := span(1)))
    store.apply(added(newer := before._replace(body=NEWER, older=(hash(NEWER), hash(before.body)))))
    store.apply([Change("shop", (), [newer.key], ())])
    other.put(added(before))
    store.release(claimed(store), 0, unsure=False)
    assert [kept for left in store.inherit(0) for kept in left.spans] == []
    assert store.wants_all(0)
    store.put_all([])
    claimed(store)
    assert [kept.body for left in store.inherit(0) for kept in left.spans] == [NEWER]


@pytest.mark.parametrize("how", ["was settled untold", "is settled in the same turn", "came back"])
def test_what_became_of_an_older_text_is_not_told_of_a_newer_one(own_redis, how):
    """The newer one is pending until a PUT has carried it."""
    server = own_redis()
    store = FleetStore(join(server.url), "redis", longest_lease=10)
    store.apply(added(before := span(1)))
    newer = before._replace(body=NEWER, older=(hash(before.body),))
    claim = claimed(store)
    carried = Change("shop", (), [before.key], ())
    if how == "is settled in the same turn":
        store.apply(added(before))
        store.apply([carried])
    else:
        store.release(claim, 0, unsure=False)
        server.pause()
        store.apply([carried if how == "was settled untold" else Change("shop", (), (), [before.key])])
        server.go_on()
        wait_until(lambda: store.wants_all(time.monotonic()))
    store.apply(added(newer))
    if how == "is settled in the same turn":
        store.settle(claim, 0, verified=False)
    else:
        store.put_all(added(newer))
    assert [(kept.body, pending) for kept, pending in join(server.url).window("shop")] == [(NEWER, True)]


@pytest.mark.parametrize("emptied", [False, True])
def test_what_a_full_redis_has_is_kept_though_it_could_not_be_told_anew(own_redis, emptied):
    """Its own and what it has of others; what came since is lost, should the process end now."""
    server = own_redis("--maxmemory-policy", "noeviction")
    store, other = FleetStore(join(server.url), "redis", longest_lease=10), join(server.url)
    store.apply(added(mine := span(1)))
    other.put(added(theirs := span(2)))
    store.release(claimed(store), 0, unsure=False)
    if emptied:
        server.tell("FLUSHALL")
        other.put(added(theirs))
        store.claim("shop", 2, time.monotonic())
    server.tell("CONFIG", "SET", "maxmemory", "1")
    store.put_all(added(mine, theirs, new := span(3)))
    kept = [kept.key for kept in (mine, theirs, new) if store.keeps("shop", kept.key)]
    assert kept == ([theirs.key] if emptied else [mine.key, theirs.key])


def test_what_a_full_redis_has_is_settled_though_it_could_not_be_told_anew(own_redis):
    """Whoever delivers for himself, and has told Redis before, asks it for all that it has."""
    server = own_redis("--maxmemory-policy", "noeviction")
    store = FleetStore(join(server.url), "redis", longest_lease=10)
    store.apply(added(mine := span(1)))
    store.release(claimed(store), 0, unsure=False)
    server.tell("CONFIG", "SET", "maxmemory", "1")
    store.put_all(added(mine))
    store.apply([Change("shop", (), [mine.key], ())])
    assert mine in claimed(store).spans


def test_what_was_delivered_meanwhile_is_learnt_after_all_was_put_again(shared_redis):
    """Whoever has a new connection puts all again; what another process has delivered is pending there no longer."""
    fleet, other = join(shared_redis.url), join(shared_redis.url)
    store = FleetStore(fleet, "redis", longest_lease=10)
    store.apply(added(mine := span(1)))
    claim = store.claim("shop", 1, 0)
    store.release(claim, 0, unsure=False)
    claim = other.claim("shop")
    other.settle(claim, [mine.key], wait=0, verified=True)
    fleet.close()
    assert store.claim("shop", 1, 0) == float("inf")
    assert store.wants_all(0)
    store.put_all(added(mine))
    assert store.claim("shop", 1, 0) == float("inf")
    assert [left.news.settled for left in store.inherit(0)] == [[mine.key]]


def test_a_policy_that_throws_away_is_warned_about_once(own_redis):
    """`allkeys-*` would evict spans that wait: one line says so."""
    fleet = join(own_redis("--maxmemory-policy", "allkeys-lru").url)
    fleet.due()
    fleet.due()
    [notice] = fleet.remarks.take()
    assert notice.level == logging.WARNING
    assert "maxmemory-policy allkeys-lru" in notice.text
    assert "set it to noeviction" in notice.text


def test_a_replica(own_redis):
    """A Redis that was made a replica takes nothing; promoted again, all is put again."""
    server = own_redis()
    fleet = join(server.url)
    fleet.put(added(span(1)))
    server.tell("REPLICAOF", "127.0.0.1", free_port())
    with pytest.raises(StoreError, match="replica that takes no writes"):
        fleet.put(added(span(2)))
    server.tell("REPLICAOF", "NO", "ONE")
    fleet.put(added(span(1), span(2)), everything=True)
    assert fleet.claim("shop").pending == keys([span(1), span(2)])


def test_the_password_changes(own_redis):
    """A password that is no longer right is denied access, and never shown; the right one is let in."""
    server = own_redis("--requirepass", "old-hunter2")
    url = f"redis://:old-hunter2@127.0.0.1:{server.port}"
    fleet = join(url)
    fleet.put(added(span(1)))
    server.tell("CONFIG", "SET", "requirepass", "new-hunter2", password="old-hunter2")
    server.tell("CLIENT", "KILL", "TYPE", "normal", password="new-hunter2")
    with pytest.raises(StoreError, match="knows no such user or password") as raised:
        fleet.put(added(span(2)))
    assert "hunter2" not in str(raised.value)
    with pytest.raises(StoreError, match="it wants a password"):
        join(f"redis://127.0.0.1:{server.port}").due()
    assert join(url.replace("old", "new")).due() == ["shop"]


def test_an_acl_user(shared_redis):
    """A user needs no more than what the advice names; one who has less is told."""
    url = shared_redis.url.replace("unix://", "unix://exporter:p%40ss@")
    allowed = ("~versori:*", "+@all", "-@admin", "-@dangerous")
    shared_redis.tell("ACL", "SETUSER", "exporter", "reset", "on", ">p@ss", *allowed)
    fleet = join(url)
    fleet.put(added(span(1)))
    claim = fleet.claim("shop")
    assert fleet.settle(claim, [span(1).key], wait=0, verified=True)
    assert len(fleet.flows()) == len(fleet.window("shop")) == 1
    assert fleet.remarks.take() == []
    shared_redis.tell("ACL", "SETUSER", "exporter", "resetkeys", "~other:*")
    with pytest.raises(StoreError, match="let its ACL have ~versori"):
        fleet.due()
    shared_redis.tell("ACL", "DELUSER", "exporter")


def test_tls(own_redis, tmp_path):
    """An authority of one's own is trusted by name, the host is checked, and nobody else is believed."""
    authority = Authority(tmp_path)
    certificate, key = authority.issue("redis")
    tls_port = free_port()
    files = ("--tls-cert-file", certificate, "--tls-key-file", key)
    server = own_redis("--tls-port", str(tls_port), *files, "--tls-auth-clients", "no")
    trusted = f"?ssl_ca_certs={authority.file}"
    join(f"rediss://127.0.0.1:{tls_port}{trusted}").put(added(span(1)))
    for url in (f"rediss://127.0.0.1:{tls_port}", f"rediss://localhost:{tls_port}{trusted}"):
        with pytest.raises(StoreError, match="certificate verify failed"):
            join(url).due()
    for options in ("?ssl_cert_reqs=none", f"{trusted}&ssl_check_hostname=false"):
        assert join(f"rediss://localhost:{tls_port}{options}").due() == ["shop"]
    with pytest.raises(StoreError, match="can't be reached"):
        join(f"rediss://127.0.0.1:{server.port}{trusted}").due()
