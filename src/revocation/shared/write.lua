-- Makes changes: each adds marks to a target, or ends its suspension, or adds marks that were lost.
-- ARGV[4..7]: the time, the capacity, the length of the log, its life in milliseconds; then for each change
-- the target, the operation (add, lift or restore), and four times: of the revocation and of the suspension, until
-- and end, '' if there is none.
-- Gives the id, the number of the last change, and for each change its outcome and all marks.
local clock = redis.call('TIME')
-- The earlier of two clocks, so that no clock that is ahead removes a mark too early.
local now = math.min(tonumber(ARGV[4]), tonumber(clock[1]) * 1000)
local capacity = tonumber(ARGV[5])
local lifted, day = KEYS[4], 24 * 3600 * 1000

local function purge(most)
  local ended = redis.call('ZRANGEBYSCORE', ends, '-inf', string.format('%.0f', now), 'LIMIT', 0, most)
  for _, target in ipairs(ended) do
    redis.call('HDEL', marks, target)
    redis.call('ZREM', ends, target)
  end
end

-- A mark is {until, end}, the first of them '*' for all tokens.
local function parse(text)
  local known = {}
  if not text or text == '' then return known end
  for part in string.gmatch(text, '[^;]+') do
    local kind, til, last = string.match(part, '^([rs])([%d*]+),(%d+)$')
    if not kind or known[kind] then return nil end
    known[kind] = {til, last}
  end
  return known
end

local function later(one, other)
  if tonumber(one) >= tonumber(other) then return one end
  return other
end

local function add(known, kind, til, last)
  if til == '' then return end
  local mark = known[kind]
  if not mark then
    known[kind] = {til, last}
    return
  end
  if mark[1] == '*' or til == '*' then mark[1] = '*' else mark[1] = later(mark[1], til) end
  mark[2] = later(mark[2], last)
end

local function print(known)
  local parts = {}
  for _, kind in ipairs({'r', 's'}) do
    if known[kind] then table.insert(parts, kind .. known[kind][1] .. ',' .. known[kind][2]) end
  end
  return table.concat(parts, ';')
end

purge(20)
local result = {id, number}
for at = 8, #ARGV, 6 do
  local target, operation = ARGV[at], ARGV[at + 1]
  local text = redis.call('HGET', marks, target)
  local known = parse(text)
  if not known then
    table.insert(result, {'unknown', ''})
  else
    local has_room = text or operation == 'lift'
    if not has_room then
      has_room = redis.call('HLEN', marks) - 4 < capacity
      if not has_room then
        purge(1000)
        has_room = redis.call('HLEN', marks) - 4 < capacity
      end
    end
    if not has_room then
      table.insert(result, {'full', ''})
    else
      if operation == 'lift' then
        known['s'] = nil
        -- For instances that were away, and still know the suspension.
        local time = tonumber(clock[1]) * 1000
        redis.call('ZADD', lifted, string.format('%.0f', time), target)
        redis.call('ZREMRANGEBYSCORE', lifted, '-inf', string.format('%.0f', time - day))
        redis.call('PEXPIRE', lifted, string.format('%.0f', day))
      else
        add(known, 'r', ARGV[at + 2], ARGV[at + 3])
        local suspends = ARGV[at + 4] ~= ''
        if suspends and operation == 'restore' then
          suspends = not redis.call('ZSCORE', lifted, target)
        elseif suspends then
          redis.call('ZREM', lifted, target)
        end
        if suspends then add(known, 's', ARGV[at + 4], ARGV[at + 5]) end
      end
      local new = print(known)
      if new == (text or '') then
        table.insert(result, {'same', new})
      else
        number = string.format('%.0f', redis.call('HINCRBY', marks, '#number', 1))
        if new == '' then
          redis.call('HDEL', marks, target)
          redis.call('ZREM', ends, target)
        else
          local last = '0'
          if known['r'] then last = later(last, known['r'][2]) end
          if known['s'] then last = later(last, known['s'][2]) end
          redis.call('HSET', marks, target, new)
          redis.call('ZADD', ends, last, target)
        end
        redis.call('XADD', log, 'MAXLEN', '~', ARGV[6], number .. '-0', 'i', id, 't', target, 'm', new)
        table.insert(result, {'changed', new})
      end
    end
  end
end
result[2] = number
if redis.call('EXISTS', log) == 1 then redis.call('PEXPIRE', log, ARGV[7]) end
return result
