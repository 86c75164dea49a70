"""The window that a fleet shares for a flow, as Redis holds it, and what all scripts do with it.

A project's keys have one hash tag, so that they lie on one node of a cluster:

    home     hash: the epoch, a number that grows with each change, the bytes of all flows, and for each flow
             how many spans, pending ones, traces and bytes it has; the latest time, and what it is ahead of the clock
    due      sorted set: flows with something to do, by the time from which on they may be claimed
    rest     sorted set: flows with nothing to do, by the time since when
    alive    sorted set: processes that ask for what is due, by the time when they did

And each flow has

    body     hash: span -> item: size, whether it is a root, span, end, start, and the text
    order    sorted set: spans by the number of their arrival
    ids      sorted set: spans by their names, so that those of one trace stand together
    pending  sorted set: likewise, those that no PUT has carried
    ends     sorted set: traces by their latest end, those with a pending span behind all others
    meta     hash: fence, inflight, doubt, not_before, changed; which process that ends stays for it, and until when
    dropped  sorted set: spans that left while they were pending, or moved away, by the number of that change, less
             an eighth for each number of the reason
    lease    the fence of who holds it

Redis 6.2 is the oldest that has ZMSCORE. Where Redis is full, scripts that make room begin with a write that takes
none: what a script does after its first write is let through.
"""

from __future__ import annotations

PROJECT_KEYS = ("home", "due", "rest", "alive")
FLOW_KEYS = ("body", "order", "ids", "pending", "ends", "meta", "dropped", "lease")

RELIED_ON = 3.0
"""Seconds for which others count on a process that asked what is due."""

COMMON = (
    f"local SILENT, KINDS = {RELIED_ON * 1000:.0f}, {{{str(FLOW_KEYS)[1:-1]}}}"
    + """
local call = redis.call
local HOME, DUE, REST, ALIVE, FRESH = KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[1]
local BEHIND, MANY, DROPPED_KEPT = 4503599627370496, 1000, 10000
local clock = call('TIME')
local NOW = clock[1] * 1000 + math.floor(clock[2] / 1000)
local epoch

local function renew() epoch = FRESH; call('HSET', HOME, 'epoch', epoch) end
-- A server's clock may go back, also by a failover: time goes on here from the latest that a script has seen.
local function begin()
  local ahead, latest
  epoch, ahead, latest = unpack(call('HMGET', HOME, 'epoch', 'ahead', 'latest'))
  if not epoch then renew() end
  NOW, latest = NOW + (ahead or 0), tonumber(latest or 0)
  if NOW < latest then
    call('HINCRBY', HOME, 'ahead', latest - NOW)
    NOW = latest
  elseif NOW > latest + 100 then call('HSET', HOME, 'latest', NOW) end
end
local function make_room() call('HDEL', HOME, '') end
local function number(by) return call('HINCRBY', HOME, 'number', by or 1) end
local function words(text)
  local list = {}
  for word in string.gmatch(text, '%S+') do list[#list + 1] = word end
  return list
end
local function parts(list)
  local from = 1 - MANY
  return function()
    from = from + MANY
    if from <= #list then return {unpack(list, from, math.min(from + MANY - 1, #list))} end
  end
end
local function size(item) return tonumber(string.match(item, '^%d+')) end

local function note(f)
  if f.bytes ~= f.noted then call('HINCRBY', HOME, 'bytes', f.bytes - f.noted) end
  f.noted = f.bytes
  if f.spans == 0 then return call('HDEL', HOME, 'f:' .. f.name) end
  call('HSET', HOME, 'f:' .. f.name, string.format('%d %d %d %d', f.spans, f.waiting, f.traces, f.bytes))
end

-- Whether another process lives on, which will find what is due.
local function others_live(me)
  local heard, count = call('ZSCORE', ALIVE, me), call('ZCOUNT', ALIVE, NOW - SILENT, '+inf')
  return count > (heard and tonumber(heard) >= NOW - SILENT and 1 or 0)
end

-- A flow of which something is missing was evicted in part: it is emptied, and all who put are asked again.
local function flow(name)
  local f = {name = name}
  for _, kind in ipairs(KINDS) do f[kind] = string.sub(HOME, 1, -5) .. kind .. ':' .. name end
  local spans, waiting, traces, bytes =
    string.match(call('HGET', HOME, 'f:' .. name) or '0 0 0 0', '(%d+) (%d+) (%d+) (%d+)')
  f.spans, f.waiting, f.traces, f.bytes = tonumber(spans), tonumber(waiting), tonumber(traces), tonumber(bytes)
  f.noted = f.bytes
  if call('HLEN', f.body) ~= f.spans or call('ZCARD', f.order) ~= f.spans or call('ZCARD', f.ids) ~= f.spans
    or call('ZCARD', f.pending) ~= f.waiting or call('ZCARD', f.ends) ~= f.traces
    or (f.spans > 0 and call('EXISTS', f.meta) == 0) then
    call('DEL', f.body, f.order, f.ids, f.pending, f.ends, f.meta)
    call('ZREM', DUE, name)
    f.spans, f.waiting, f.traces, f.bytes = 0, 0, 0, 0
    note(f)
    renew()
  end
  return f
end

-- Who has the lease. It ends when the flow is due: its key stays for longer where the server's clock goes back.
local function holder_of(f)
  local due = call('ZSCORE', DUE, f.name)
  return (not due or tonumber(due) > NOW) and call('GET', f.lease)
end

-- Something has left: who waits wants to know. What came is no news to him, and in a busy fleet too much.
local function changed(f) call('HSET', f.meta, 'changed', number()) end

local function line_up(f)
  local not_before, inflight, doubt = unpack(call('HMGET', f.meta, 'not_before', 'inflight', 'doubt'))
  if f.waiting > 0 or inflight or doubt then
    local lease_end = NOW + math.max(call('PTTL', f.lease), 0)
    call('ZADD', DUE, 'NX', math.max(lease_end, tonumber(not_before or 0)), f.name)
    call('ZREM', REST, f.name)
  else
    call('ZREM', DUE, f.name)
    call('ZADD', REST, 'NX', NOW, f.name)
  end
end

local function range(trace) return '[' .. trace .. ':', '(' .. trace .. ';' end

-- Puts traces where they belong, whose spans left or are pending no longer.
local function tidy(f, traces)
  for trace in pairs(traces) do
    if call('ZLEXCOUNT', f.ids, range(trace)) == 0 then
      f.traces = f.traces - call('ZREM', f.ends, trace)
    elseif call('ZLEXCOUNT', f.pending, range(trace)) == 0 then
      local score = tonumber(call('ZSCORE', f.ends, trace))
      if score >= BEHIND then call('ZADD', f.ends, score - BEHIND, trace) end
    end
  end
end

local function traces_of(ids)
  local traces = {}
  for _, id in ipairs(ids) do traces[string.match(id, '^[^:]+')] = true end
  return traces
end

-- Takes spans out of the window; those that were pending are told to whoever waits for them, and so are those that
-- moved away, whether they are here or not, to whoever holds them from before: they would be missed there, and written
-- again. `why` is a number, see `fleet_items`: 1 for what moved away.
local function leave(f, ids, why)
  local lost, told_of = {}, {}
  for part in parts(ids) do
    local items, waits = call('HMGET', f.body, unpack(part)), call('ZMSCORE', f.pending, unpack(part))
    local before = call('ZMSCORE', f.dropped, unpack(part))
    for i, id in ipairs(part) do
      if items[i] then f.spans, f.bytes = f.spans - 1, f.bytes - size(items[i]) end
      if waits[i] then lost[#lost + 1] = id end
      if waits[i] or (why == 1 and not before[i]) then told_of[#told_of + 1] = id end
    end
    call('HDEL', f.body, unpack(part))
    for _, key in ipairs({f.order, f.ids, f.pending}) do call('ZREM', key, unpack(part)) end
  end
  f.waiting = f.waiting - #lost
  if #told_of > 0 then
    local at, told = string.format('%.3f', number() - (why or 0) / 8), {}
    for _, id in ipairs(told_of) do told[#told + 1] = at; told[#told + 1] = id end
    for part in parts(told) do call('ZADD', f.dropped, unpack(part)) end
    call('ZREMRANGEBYRANK', f.dropped, 0, -1 - DROPPED_KEPT)
  end
  tidy(f, traces_of(ids))
  return lost
end

-- A text that came after `upto` is not the one that was carried; returns what is not in the window any more.
local function settle(f, ids, upto)
  local astray = {}
  for part in parts(ids) do
    local arrivals, carried = call('ZMSCORE', f.order, unpack(part)), {}
    for i, id in ipairs(part) do
      if not arrivals[i] then astray[#astray + 1] = id
      elseif tonumber(arrivals[i]) <= upto then carried[#carried + 1] = id end
    end
    if #carried > 0 then f.waiting = f.waiting - call('ZREM', f.pending, unpack(carried)) end
  end
  tidy(f, traces_of(ids))
  return astray
end

local function items_of(f, ids)
  local items = {}
  for part in parts(ids) do
    for _, item in ipairs(call('HMGET', f.body, unpack(part))) do items[#items + 1] = item end
  end
  return items
end
"""
)
