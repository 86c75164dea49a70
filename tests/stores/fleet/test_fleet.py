"""What processes of a fleet see of each other, through a real Redis."""

from __future__ import annotations

import os
import time

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opentelemetry.exporter.versori_flow.flow.journal import Change
from opentelemetry.exporter.versori_flow.flow.ledger import DropReason
from opentelemetry.exporter.versori_flow.settings.redis_url import parse
from opentelemetry.exporter.versori_flow.stores.fleet import Fleet
from opentelemetry.exporter.versori_flow.stores.fleet_answers import Claim, Wait
from opentelemetry.exporter.versori_flow.stores.spool_file import Target

from .conftest import TARGET, added, join, keys, span
from .redis_server import Middleman, require_redis

require_redis()


def test_whoever_claims_delivers_what_all_have_put(shared_redis):
    """A claim shows the spans of all, once each; after its settlement the others know that theirs are delivered."""
    one, two = join(shared_redis.url), join(f"redis://127.0.0.1:{shared_redis.port}")
    mine, theirs = span(1, body=b'{"a":1}'), span(2, is_root=True, body=b"\x00 \xff")
    one.put(added(mine))
    two.put(added(theirs, mine))
    assert one.due() == two.due() == ["shop"]
    began = time.monotonic()
    claim = one.claim("shop")
    assert claim.spans == [mine, theirs]
    assert claim.pending == keys([mine, theirs])
    assert 4 < claim.lease_end - began < 6
    assert not claim.doubt
    waits = two.claim("shop")
    assert isinstance(waits, Wait)
    assert (0 < waits.seconds <= 5, waits.pending) == (True, claim.pending)
    assert two.due() == []
    assert one.settle(claim, [mine.key, theirs.key], wait=1, verified=False)
    done = two.claim("shop", waits.seen)
    assert (done.seconds, done.pending, done.left) == (float("inf"), frozenset(), {})
    assert two.claim("shop", done.seen).pending is None  # as before
    assert two.window("shop") == [(mine, False), (theirs, False)]
    assert two.flows() == [("shop", 2, 0, len(mine.body + theirs.body))]


def test_one_put_per_interval_whoever_makes_it(shared_redis):
    """After a settlement nobody can claim before the interval is over, by Redis' clock."""
    one, two = join(shared_redis.url), join(shared_redis.url)
    one.put(added(span(1)))
    one.settle(one.claim("shop"), [span(1).key], wait=0.3, verified=False)
    settled = time.monotonic()
    two.put(added(span(2)))
    waits = two.claim("shop")
    assert (0 < waits.seconds <= 0.3, two.due()) == (True, [])
    while not (due := two.due()):
        time.sleep(0.01)
    assert due == ["shop"]
    assert time.monotonic() - settled > 0.2
    assert keys(two.claim("shop").spans) == keys([span(1), span(2)])


def test_what_came_is_told_once(shared_redis):
    """The next claim shows what came since; a text that came after a claim stays pending."""
    fleet = join(shared_redis.url)
    old, other = span(1), span(2)
    fleet.put(added(old, other))
    claim = fleet.claim("shop")
    new = old._replace(body=b'{"newer":1}')
    fleet.put(added(new, other))  # the other one's text is the same
    fleet.settle(claim, [old.key, other.key], wait=0, verified=False)
    again = fleet.claim("shop", claim.seen)
    assert (again.spans, again.pending) == ([new], {new.key})


def test_a_stopped_holder_changes_nothing_and_is_noticed(shared_redis):
    """Whose lease has lapsed settles nothing; the flow is due until a read that began after that has shown all."""
    stopped, other = join(shared_redis.url, lease=0.1), join(shared_redis.url)
    stopped.put(added(span(1)))
    late = stopped.claim("shop")
    while isinstance(claim := other.claim("shop"), Wait):
        time.sleep(0.02)
    assert claim.doubt
    assert stopped.extend(late) is None
    assert not stopped.release(late, wait=9)
    assert not stopped.settle(late, [span(1).key], wait=9, verified=False)
    assert other.settle(claim, [span(1).key], wait=0, verified=True)  # read before the other one's PUT
    assert other.due() == ["shop"]
    claim = other.claim("shop", claim.seen)
    assert (claim.pending, bool(claim.doubt)) == (frozenset(), True)
    other.settle(claim, [], wait=0, verified=False)
    assert other.due() == ["shop"]
    other.settle(other.claim("shop"), [], wait=0, verified=True)
    assert other.due() == []


def test_a_lease_can_be_lengthened(shared_redis):
    """It holds on from now, also after it has lapsed if nobody else had it."""
    one, two = join(shared_redis.url, lease=0.6), join(shared_redis.url)
    one.put(added(span(1)))
    claim = one.claim("shop")
    for _ in range(3):
        time.sleep(0.35)
        assert isinstance(two.claim("shop"), Wait)
        assert (one.extend(claim) or 0) > time.monotonic()
    while not two.due():
        time.sleep(0.01)
    assert one.extend(claim)
    assert isinstance(two.claim("shop"), Wait)
    assert one.settle(claim, [span(1).key], wait=0, verified=False)


def test_a_failed_attempt_is_let_go(shared_redis):
    """Its spans stay pending, and wait as long as is said; where a PUT may be on its way, there is doubt."""
    fleet = join(shared_redis.url)
    fleet.put(added(span(1)))
    assert fleet.release(fleet.claim("shop"), wait=0)
    claim = fleet.claim("shop")
    assert (claim.pending, claim.doubt) == ({span(1).key}, 0)
    assert fleet.release(claim, wait=0, unsure=True)
    claim = fleet.claim("shop")
    assert claim.doubt
    fleet.release(claim, wait=30)
    assert 29 < fleet.claim("shop").seconds <= 30


def test_the_window_is_bounded_by_whole_traces(shared_redis):
    """The trace that was quiet for longest leaves whole, delivered ones first; what was pending is told to all."""
    one, two = join(shared_redis.url, max_spans=4), join(shared_redis.url, max_spans=4)
    delivered, old, new = span(1, age=1), [span(2, 1, age=20), span(2, 2, age=30)], [span(3, age=5)]
    one.put(added(delivered))
    one.settle(one.claim("shop"), [delivered.key], wait=0, verified=False)
    assert one.put(added(*old, *new)).dropped == []
    seen = two.claim("shop").seen
    newer = [span(4, 1), span(5, 1)]
    assert one.put(added(newer[0])).dropped == []
    assert keys(kept for kept, _ in one.window("shop")) == keys([*old, *new, newer[0]])
    assert {key for _, key in one.put(added(newer[1])).dropped} == keys(old)
    waits = two.claim("shop", seen)
    assert (set(waits.left), waits.pending) == (keys(old), keys([*new, *newer]))


def test_one_large_trace_keeps_its_root_and_its_newest(shared_redis):
    """A trace that alone is too large loses its oldest spans, never its root; bytes bound as spans do."""
    fleet = join(shared_redis.url, max_bytes=300, max_store_bytes=400)
    for number in range(5):
        fleet.put(added(span(1, number, is_root=number == 0, body=b"x" * 100)))
    assert keys(kept for kept, _ in fleet.window("shop")) == keys(span(1, number) for number in (0, 3, 4))
    fleet.put(added(span(1, 1, body=b"x" * 60), span(2, 1, body=b"x" * 60), flow="other"))
    assert [held[:2] for held in fleet.flows()] == [("other", 1), ("shop", 3)]


def deliver(fleet, flow="shop"):
    """All that waits in a flow."""
    claim = fleet.claim(flow)
    assert fleet.settle(claim, list(claim.pending), wait=0, verified=False)


@pytest.mark.parametrize("busy", [False, True], ids=["rest", "busy"])
def test_what_is_delivered_makes_room(shared_redis, busy):
    """The bound of all flows refuses nothing while there is something delivered to leave: of flows that rest first,
    the one that has rested for longest before others; only what waits keeps new spans out."""
    fleet = join(shared_redis.url, max_store_bytes=1000)
    for number, flow in enumerate(("oldest", "older", "old", "bank"), 1):
        fleet.put(added(span(number, body=b"x" * 240), flow=flow))
        deliver(fleet, flow)
        time.sleep(0.002)  # it rests for longer than the next
    waits = span(9, body=b"x" * 20)
    if busy:
        for flow in ("old", "bank"):
            fleet.put(added(waits, flow=flow))
    assert fleet.put(added(span(10, body=b"x" * 240))).dropped == []
    delivered = {held.flow: held.spans - held.pending for held in fleet.flows()}
    assert delivered == {"older": 1, "old": 1, "bank": 1, "shop": 0}
    assert fleet.put(added(span(11, body=b"x" * 700))).dropped == []
    assert sum(held.size for held in fleet.flows()) <= 1000
    assert keys(kept for kept, pending in fleet.window("shop") if pending) == keys([span(10), span(11)])
    if busy:
        assert {held.flow: held.spans for held in fleet.flows()} == {"old": 1, "bank": 1, "shop": 2}
    # What waits is not thrown out for others; each flow loses its own.
    assert fleet.put(added(span(12, body=b"x" * 240))).dropped == [("shop", span(10).key)]
    deliver(fleet)
    assert fleet.put(added(span(13, body=b"x" * 900), flow="new")).dropped == []


@pytest.mark.slow
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    steps=st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 40), st.sampled_from([0, 90, 300, 500])), max_size=25
    )
)
def test_nothing_that_waits_leaves_for_what_is_delivered(one_redis, steps):
    """In any history the bound holds, and drops something only where all that waits is more than it."""
    one_redis.tell("FLUSHALL")
    fleet, waits = join(one_redis.url, max_store_bytes=1000), dict[tuple[str, object], int]()
    for flow, number, size in steps:
        if not size:
            claim = fleet.claim(flow)
            if isinstance(claim, Claim):
                fleet.settle(claim, list(claim.pending), wait=0, verified=True)
                waits = {place: size for place, size in waits.items() if place[0] != flow}
            continue
        new = span(number, body=b"x" * size)
        dropped = set(fleet.put(added(new, flow=flow)).dropped)
        waits[flow, new.key] = size
        assert not dropped or sum(waits.values()) > 1000
        assert {at for at, _ in dropped} <= {flow}
        for place in dropped:
            del waits[place]
        held = fleet.flows()
        assert sum(each.size for each in held) <= 1000
        assert sum(each.pending for each in held) == len(waits)


def test_what_left_elsewhere_leaves_here(shared_redis):
    """What another way has carried is pending no longer; what is gone is told, and whether it moved or was lost.

    That it moved is told even where Redis did not have it: others may, from before it was emptied.
    """
    fleet = join(shared_redis.url)
    fleet.put(added(span(1, 1), span(1, 2), span(2)))
    gone, why = [span(1, 2).key, span(2).key, span(9).key], {span(2).key: DropReason.REFUSED}
    fleet.put([Change("shop", [span(3)], [span(1, 1).key], gone, why)])
    assert [(kept.key, pending) for kept, pending in fleet.window("shop")] == [
        (span(1, 1).key, False),
        (span(3).key, True),
    ]
    assert fleet.claim("shop").left == {span(1, 2).key: None, span(9).key: None, **why}


def test_what_moved_away_is_missed_by_nobody(shared_redis):
    """Who holds a delivered span that moved is told so by its next claim, and who has just written it at once."""
    one, two = join(shared_redis.url), join(shared_redis.url)
    one.put(added(span(1), span(2)))
    claim = two.claim("shop")
    two.settle(claim, [span(1).key], wait=0, verified=False)
    claim = two.claim("shop", claim.seen)
    one.put([Change("shop", [], [], [span(1).key, span(2).key])])
    two.settle(claim, [span(2).key], wait=0, verified=False)
    assert two.astray == [span(2).key]
    one.put(added(span(3)))
    assert set(two.claim("shop", claim.seen).left) == {span(1).key, span(2).key}


def test_of_those_that_end_one_stays_unless_somebody_lives(shared_redis):
    """Who must wait for its turn may go where another one stays for it, or asks each second what is due."""
    one, two, lives = (join(shared_redis.url) for _ in range(3))
    one.put(added(span(1)))
    one.settle(one.claim("shop"), [span(1).key], wait=30, verified=False)
    one.put(added(span(2)))
    one.due()
    assert two.claim("shop", ends=True).others  # `one` lives
    assert one.goodbye() == ["shop"]  # it was the last that lived
    assert not one.claim("shop", ends=True).others
    assert not one.claim("shop", ends=True).others  # it stays itself
    assert two.claim("shop", ends=True).others
    assert two.goodbye() == ["shop"]
    lives.due()
    assert two.goodbye() == []
    assert one.claim("shop", ends=True).others


@pytest.mark.parametrize("has_its_turn", [True, False])
def test_who_has_stayed_for_others_stays_no_longer_than_that(shared_redis, has_its_turn):
    """It had its turn, or others have delivered all: what somebody else leaves from then on is not left to it."""
    holder, stayer, late = (join(shared_redis.url) for _ in range(3))
    holder.put(added(span(1)))
    stayer.put(added(span(2)))
    claim = holder.claim("shop")
    assert not stayer.claim("shop", ends=True).others
    carried = [span(1).key] if has_its_turn else [span(1).key, span(2).key]
    assert holder.settle(claim, carried, wait=0 if has_its_turn else 30, verified=False)
    answer = stayer.claim("shop", ends=True)
    assert isinstance(answer, Claim) == has_its_turn
    late.put(added(span(3)))
    answer = late.claim("shop", ends=True)
    assert isinstance(answer, Wait)
    assert not answer.others


def test_a_flow_can_be_dropped(shared_redis):
    """All of it is forgotten, and its processes learn that; its holder's settlement changes nothing."""
    one, two = join(shared_redis.url), join(shared_redis.url)
    one.put([*added(span(1), span(2)), *added(span(1), flow="other")])
    claim = one.claim("shop")
    assert two.drop("shop") == 2
    assert [held.flow for held in two.flows()] == ["other"]
    assert two.window("shop") == []
    assert not one.settle(claim, [span(1).key], wait=0, verified=False)
    assert set(one.claim("shop", claim.seen).left) == keys([span(1), span(2)])
    assert not one.wants_all


def test_what_rests_for_long_is_forgotten(shared_redis):
    """A flow in which nothing has happened for an hour takes no memory any more; a poll sees to it."""
    fleet = join(shared_redis.url)
    fleet.put([*added(span(1)), *added(span(1), flow="busy")])
    fleet.settle(fleet.claim("shop"), [span(1).key], wait=0, verified=True)
    rest = next(key for key in shared_redis.tell("KEYS", "*") if key.endswith(b"rest"))
    assert fleet.due() == ["busy"]
    assert len(fleet.flows()) == 2
    shared_redis.tell("ZINCRBY", rest, -3_600_000, "shop")
    fleet.due()
    assert [held.flow for held in fleet.flows()] == ["busy"]
    assert not [key for key in shared_redis.tell("KEYS", "*") if key.endswith(b":shop")]


@pytest.mark.parametrize(("trace", "number"), [("a b", "1:2"), ("%41", "%"), ("", ""), ("é{}", "\ud800\n")])
def test_any_name_is_kept(shared_redis, trace, number):
    """Flows and ids of any text come back as they were; all keys of a project lie in one slot, and tell no secret."""
    fleet = join(shared_redis.url.replace("unix://", "unix://default:hunter2@"))
    shared_redis.tell("CONFIG", "SET", "requirepass", "hunter2")
    try:
        flow, odd = "a{b} ü:\n\ud800/", span(1)._replace(key=(trace, number))
        fleet.put(added(odd, flow=flow))
        assert fleet.due() == [flow]
        claim = fleet.claim(flow)
        assert claim.spans == [odd]
        fleet.settle(claim, [odd.key], wait=0, verified=False)
        assert fleet.window(flow) == [(odd, False)]
        with redis.Redis(unix_socket_path=shared_redis.socket, password="hunter2") as client:
            found = client.keys("*")
            assert len({key.split(b"}")[0] for key in found}) == 1
            assert not [key for key in found if b"hunter2" in key or b"platform" in key]
    finally:
        shared_redis.tell("CONFIG", "SET", "requirepass", "", password="hunter2")


def test_targets_never_mix(shared_redis):
    """Flows of one name in two projects are two."""
    one = join(shared_redis.url)
    two = Fleet(parse(shared_redis.url), Target(TARGET.base_url, TARGET.organisation, "other"), 1000, 1 << 22)
    one.put(added(span(1)))
    assert (two.due(), two.flows()) == ([], [])


def test_large_hand_overs_go_in_steps(shared_redis):
    """No step is so large that it holds up Redis; all arrives, and the claim shows it in order."""
    fleet = join(shared_redis.url, max_spans=5000, max_bytes=1 << 24)
    spans = [span(number, body=b"x" * 4000) for number in range(1500)]
    changes = [*added(*spans), *(added(span(1), flow=f"flow {number}")[0] for number in range(150))]
    fleet.put(changes, everything=True)
    assert keys(fleet.claim("shop").spans) == keys(spans)
    assert len(fleet.flows()) == 151
    assert 0 < len(fleet.due()) <= 100


def test_a_forked_child_has_a_connection_of_its_own(shared_redis):
    """Both go on, and neither disturbs the other."""
    fleet = join(shared_redis.url)
    fleet.put(added(span(1)))
    before = {client["id"] for client in _clients(shared_redis)}
    child = os.fork()
    if not child:
        try:
            fleet.wants_all = True
            fleet.put(added(span(2)))
            os._exit(0 if not fleet.wants_all and before < {c["id"] for c in _clients(shared_redis)} else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    fleet.put(added(span(3)))
    assert not fleet.wants_all
    assert len(fleet.window("shop")) == 3


def _clients(server):
    with redis.Redis(unix_socket_path=server.socket) as client:
        me = client.client_id()
        return [other for other in client.client_list() if int(other["id"]) != me]


def test_an_answer_that_was_lost_is_given_again(shared_redis):
    """A claim whose answer is lost on its way is made once: no doubt arises, and nobody waits for its lease."""
    with Middleman(shared_redis.port) as middleman:
        fleet = join(f"redis://127.0.0.1:{middleman.port}")
        fleet.put(added(span(1)))
        middleman.lose_next_answer()
        claim = fleet.claim("shop")
    assert isinstance(claim, Claim)
    assert (middleman.lost, claim.doubt, keys(claim.spans)) == (1, 0, {span(1).key})
