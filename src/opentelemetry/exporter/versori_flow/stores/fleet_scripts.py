"""What runs inside Redis: each script is one atomic step; `fleet_window` says on what."""

from __future__ import annotations

from .fleet_window import COMMON
from .redis_client import Script

CLAIM = Script(
    COMMON
    + """
-- KEYS project, flow ; ARGV fresh flow lease_ms epoch arrival change insist ends
make_room()
begin()
local f = flow(ARGV[2])
local arrival, change = -1, -1
if ARGV[4] == epoch then arrival, change = tonumber(ARGV[5]), tonumber(ARGV[6]) end
local not_before, inflight, doubt, last = unpack(call('HMGET', f.meta, 'not_before', 'inflight', 'doubt', 'changed'))
local holder, wait = holder_of(f), 0
-- An answer that was lost on its way is given again.
if holder ~= FRESH then
  if holder then wait = math.max(call('PTTL', f.lease), 1)
  elseif f.waiting == 0 and not inflight and not doubt and ARGV[7] ~= '1' then wait = -1; line_up(f)
  else wait = math.max(tonumber(not_before or 0) - NOW, 0) end
  if wait == 0 then
    call('SET', f.lease, FRESH, 'PX', ARGV[3])
    if inflight then doubt = number(); call('HSET', f.meta, 'doubt', doubt) end
    call('HSET', f.meta, 'fence', FRESH, 'inflight', 1)
    call('ZADD', DUE, NOW + ARGV[3], f.name)
    call('ZREM', REST, f.name)
  end
end
-- Of those that end, and must wait, one stays for all, unless somebody lives on; until it need not wait any more.
local me, others = ARGV[8], 0
if me ~= '' then
  local stayer, stays = unpack(call('HMGET', f.meta, 'stayer', 'stays'))
  if wait <= 0 or f.waiting == 0 then
    if stayer == me then call('HDEL', f.meta, 'stayer', 'stays') end
  elseif others_live(me) or (stayer and stayer ~= me and tonumber(stays) > NOW) then others = 1
  else call('HSET', f.meta, 'stayer', me, 'stays', NOW + SILENT) end
end
local pending, items, news = false, {}, wait == 0 or change < 0 or tonumber(last or 0) > change
if news then pending = call('ZRANGE', f.pending, 0, -1) end
if wait == 0 then items = items_of(f, call('ZRANGEBYSCORE', f.order, '(' .. arrival, '+inf')) end
local dropped = news and call('ZRANGEBYSCORE', f.dropped, '(' .. change, '+inf', 'WITHSCORES') or {}
return {epoch, tonumber(call('HGET', HOME, 'number') or 0), wait, tonumber(doubt or 0), pending, dropped, items, others}
"""
)

EXTEND = Script(
    COMMON
    + """
-- KEYS project, flow ; ARGV fresh flow fence lease_ms
make_room()
begin()
local f = flow(ARGV[2])
local fence, inflight = unpack(call('HMGET', f.meta, 'fence', 'inflight'))
local holder = call('GET', f.lease)
if fence ~= ARGV[3] or not inflight or (holder and holder ~= ARGV[3]) then return {epoch, 0} end
call('SET', f.lease, ARGV[3], 'PX', ARGV[4])
call('ZADD', DUE, NOW + ARGV[4], f.name)
return {epoch, 1}
"""
)

FINISH = Script(
    COMMON
    + """
-- KEYS project, flow ; ARGV fresh flow fence outcome wait_ms upto doubt carried
make_room()
begin()
local f = flow(ARGV[2])
local outcome = ARGV[4]
local fresh, astray = call('HGET', f.meta, 'fence') == ARGV[3], {}
if outcome == 'unsure' or (not fresh and outcome ~= 'nothing') then call('HSET', f.meta, 'doubt', number()) end
if fresh then
  local carried = words(ARGV[8])
  if #carried > 0 then
    astray = settle(f, carried, tonumber(ARGV[6]))
    changed(f)
  end
  call('HSET', f.meta, 'not_before', NOW + ARGV[5])
  call('HDEL', f.meta, 'inflight')
  if outcome == 'verified' and call('HGET', f.meta, 'doubt') == ARGV[7] then call('HDEL', f.meta, 'doubt') end
  if call('GET', f.lease) == ARGV[3] then call('DEL', f.lease) end
  call('ZREM', DUE, f.name)
  note(f)
end
line_up(f)
return {epoch, fresh and 1 or 0, astray}
"""
)

POLL = Script(
    COMMON
    + """
-- KEYS project ; ARGV fresh most random rest_ms me : some of the flows that are due, and of those that rest for long
make_room()
begin()
call('ZREMRANGEBYSCORE', ALIVE, '-inf', NOW - SILENT)
call('ZADD', ALIVE, NOW, ARGV[5])
local most = tonumber(ARGV[2])
local beyond = math.max(call('ZCOUNT', DUE, '-inf', NOW) - most, 0)
local due = call('ZRANGEBYSCORE', DUE, '-inf', NOW, 'LIMIT', math.floor(beyond * ARGV[3]), most)
return {epoch, due, call('ZRANGEBYSCORE', REST, '-inf', NOW - ARGV[4], 'LIMIT', 0, 8)}
"""
)

GOODBYE = Script(
    COMMON
    + """
-- KEYS project ; ARGV fresh most me : the flows in which something waits, if nobody else lives
make_room()
begin()
call('ZREM', ALIVE, ARGV[3])
if others_live(ARGV[3]) then return {epoch, {}} end
return {epoch, call('ZRANGE', DUE, 0, ARGV[2] - 1)}
"""
)

DROP = Script(
    COMMON
    + """
-- KEYS project, flow ; ARGV fresh flow rest_ms : how many were pending; where rest_ms is given, only after that rest
make_room()
begin()
local f = flow(ARGV[2])
local since = call('ZSCORE', REST, f.name)
if ARGV[3] ~= '' and not (since and tonumber(since) <= NOW - ARGV[3] and f.waiting == 0) then return {epoch, 0} end
local lost = #leave(f, call('ZRANGE', f.ids, 0, -1))
call('DEL', f.meta)
call('ZREM', DUE, f.name)
call('ZREM', REST, f.name)
note(f)
if ARGV[3] ~= '' then call('DEL', f.dropped) else changed(f); line_up(f) end
return {epoch, lost}
"""
)

LOOK = Script(
    COMMON
    + """
-- KEYS project, flow or none ; ARGV fresh flow : the flows with their numbers; or what one has
make_room()
begin()
if #KEYS == 4 then return {epoch, call('HGETALL', HOME)} end
local f = flow(ARGV[2])
return {epoch, call('ZRANGE', f.pending, 0, -1), items_of(f, call('ZRANGE', f.order, 0, -1))}
"""
)
