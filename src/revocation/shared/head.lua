-- The head of the store, before the script of a beat or a change.
-- KEYS: marks, ends, log, lifted. ARGV[1]: a new id, ARGV[2]: the id that the caller knows, ARGV[3]: its number.
local marks, ends, log = KEYS[1], KEYS[2], KEYS[3]
local id = redis.call('HGET', marks, '#id')
local number = redis.call('HGET', marks, '#number') or '0'
local past = redis.call('HGET', marks, '#past') or ''
local info = redis.pcall('INFO', 'server')
local run = type(info) == 'string' and string.match(info, 'run_id:(%w+)')
-- Without it, a restart that loses the last changes is not noticed.
if not run then return redis.error_reply('ERR INFO gives no run_id, or the user may not call it') end
local is_new = false
if not id then
  -- All was lost, or there was nothing yet.
  redis.call('DEL', log)
  is_new, number, past = true, '0', ''
elseif redis.call('HGET', marks, '#run') ~= run
    or (id == ARGV[2] and tonumber(ARGV[3]) > tonumber(number)) then
  -- Another process than before, which may have lost the last changes. An instance that knows no later
  -- number of the old id has lost nothing.
  is_new = true
  past = string.match(id .. ':' .. number .. ' ' .. past, string.rep('%S* ?', 8))
end
if is_new then
  id = ARGV[1]
  redis.call('HSET', marks, '#id', id, '#number', number, '#run', run, '#past', past)
end
