"""The script that hands spans over: what comes into the fleet's window, and what leaves for it."""

from __future__ import annotations

from .fleet_window import COMMON
from .redis_client import Script

PUT = Script(
    COMMON
    + """
-- KEYS project, flow... ; ARGV fresh max_spans max_bytes max_store_bytes full (flow items settled gone theirs)...
-- Returns which pending spans left for it; where Redis is full, and only texts are replaced, which ones are here.
-- Which of these spans have moved away, or were dropped, or are here, perhaps with a newer text: who tells them for
-- another process may not know that.
local function known(f, ids)
  local there = {}
  for _, key in ipairs({f.dropped, f.order}) do
    for part in parts(ids) do
      for i, at in ipairs(call('ZMSCORE', key, unpack(part))) do there[part[i]] = at or there[part[i]] end
    end
  end
  return there
end
local full, here = ARGV[5] == '1', {}
local function add(f, packed, spared)
  local at, n, ids, items, traces_of, ends_of, sizes = 1, 0, {}, {}, {}, {}, {}
  local take, max, min = struct.unpack, math.max, math.min
  while at <= #packed do
    n = n + 1
    traces_of[n], ids[n], ends_of[n], sizes[n], items[n], at = take('>Hc0Hc0dIIc0', packed, at)
    if full and call('ZSCORE', f.order, ids[n]) then here[#here + 1] = f.name; here[#here + 1] = ids[n] end
    if spared[ids[n]] then ids[n], items[n], n = nil, nil, n - 1 end
  end
  if n == 0 then return false end
  local had, arrival = call('HMGET', f.body, unpack(ids)), tostring(number())
  local body, order, names, ends, latest = {}, {}, {}, {}, NOW * 1000
  n = 0
  for i, item in ipairs(items) do
    if had[i] ~= item and (had[i] or not full) then
      body[n + 1], body[n + 2] = ids[i], item
      order[n + 1], order[n + 2], names[n + 1], names[n + 2] = arrival, ids[i], '0', ids[i]
      n = n + 2
      f.bytes = f.bytes + sizes[i] - (had[i] and size(had[i]) or 0)
      if not had[i] then f.spans = f.spans + 1 end
      -- As in the windows: never younger than now, and never a minute older than its arrival.
      local trace, stop = traces_of[i], max(min(ends_of[i], latest), latest - 60000000)
      ends[trace] = max(ends[trace] or 0, stop)
    end
  end
  if #body == 0 then return false end
  call('HSET', f.body, unpack(body))
  call('ZREM', f.dropped, unpack(ids))
  call('ZADD', f.order, unpack(order))
  call('ZADD', f.ids, unpack(names))
  f.waiting = f.waiting + call('ZADD', f.pending, unpack(names))
  local traces, scores = {}, {}
  for trace in pairs(ends) do traces[#traces + 1] = trace end
  for i, was in ipairs(call('ZMSCORE', f.ends, unpack(traces))) do
    was = tonumber(was or 0)
    if was >= BEHIND then was = was - BEHIND end
    scores[#scores + 1], scores[#scores + 2] = BEHIND + math.max(was, ends[traces[i]]), traces[i]
  end
  f.traces = f.traces + call('ZADD', f.ends, unpack(scores))
  return true
end

local lost = {}
local function drop(f, ids)
  for _, id in ipairs(leave(f, ids)) do
    lost[#lost + 1] = f.name
    lost[#lost + 1] = id
  end
end
local function bound(f, max_spans, max_bytes, max_store_bytes)
  local function room() return max_store_bytes - (tonumber(call('HGET', HOME, 'bytes') or 0) - f.noted) end
  local function too_much() return f.spans > max_spans or f.bytes > math.min(max_bytes, room()) end
  -- What is delivered in other flows gives way.
  local function free(flows)
    for _, name in ipairs(call('ZRANGE', flows, 0, -1)) do
      if math.min(f.bytes, max_bytes) <= room() then return end
      if name ~= f.name and call('HGET', HOME, 'f:' .. name) then
        local other = flow(name)
        for _, trace in ipairs(call('ZRANGEBYSCORE', other.ends, '-inf', BEHIND)) do
          leave(other, call('ZRANGEBYLEX', other.ids, range(trace)))
        end
        note(other)
      end
    end
  end
  local function shed(most)
    while f.traces > 1 and too_much() do
      local left, spans, ids = f.traces - 1, f.spans - max_spans, {}
      for _, trace in ipairs(call('ZRANGEBYSCORE', f.ends, '-inf', most, 'LIMIT', 0, math.min(left, 32))) do
        -- Whether the bytes suffice is seen after the first one: few windows are short of both.
        if #ids > 0 and #ids >= spans then break end
        for _, id in ipairs(call('ZRANGEBYLEX', f.ids, range(trace))) do ids[#ids + 1] = id end
      end
      if #ids == 0 then return end
      drop(f, ids)
    end
  end
  free(REST)
  shed(BEHIND)
  free(DUE)
  shed('+inf')
  if not too_much() then return end
  -- One trace that alone is too large loses its oldest spans, never its root.
  for _, id in ipairs(call('ZRANGE', f.order, 0, -1)) do
    if string.match(call('HGET', f.body, id), '^%d+ 0 ') then drop(f, {id}) end
    if not too_much() then return end
  end
end

local adding = false
for i = 6, #ARGV, 5 do adding = adding or ARGV[i + 1] ~= '' end
-- Refused by a full Redis before anything is done, or not at all.
if adding and not full then number(0) else make_room() end
begin()
for i = 6, #ARGV, 5 do
  local f = flow(ARGV[i])
  local settled, gone = words(ARGV[i + 2]), {}
  settle(f, settled, math.huge)
  for id, why in string.gmatch(ARGV[i + 3], '(%S+)=(%d)') do
    gone[why] = gone[why] or {}
    table.insert(gone[why], id)
  end
  for why, ids in pairs(gone) do leave(f, ids, tonumber(why)) end
  local news = ARGV[i + 1] ~= '' and add(f, ARGV[i + 1], known(f, words(ARGV[i + 4])))
  local before = #lost
  if news then bound(f, tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])) end
  if #lost > before or #settled > 0 or next(gone) then changed(f)
  elseif news then call('HINCRBY', f.meta, 'changed', 0) end
  line_up(f)
  note(f)
end
return {epoch, full and here or lost}
"""
)
