-- A tenant's account. One script, so that every request is admitted or refused on what is true at that moment.
-- KEYS: account, minute, settled.  ARGV: command, now in ms, and the command's own. USD are whole nano-USD.
-- account: "hold:ID" -> "usd tokens day second due", the upper bound of a request that runs; "held", "running" -> the sum and the
--          number of the holds; "YYYY-MM-DD", "YYYY-MM" -> bills. Without the month's field nothing is known. One key, so that
--          Redis keeps or loses all of it.
-- minute:  "r<second>" and "t<second>" -> requests and tokens that began in this second
-- settled: request id -> until when (ms) it is known that its bill is on the account
local account, minute, settled = KEYS[1], KEYS[2], KEYS[3]
local command, now = ARGV[1], tonumber(ARGV[2])
local second = math.floor(now / 1000)
local DAY, HOUR = 86400000, 3600000
local WINDOW = 60 -- this second and the 60 before it hold every minute that ends in it

local function number(name) return tonumber(redis.call("HGET", account, name) or "0") end
local function is_known(name) return redis.call("HEXISTS", account, name) == 1 end
local function add(name, amount) redis.call("HINCRBY", account, name, string.format("%.0f", amount)) end
local function whole(value) return string.format("%.0f", value) end
local function month_of(day) return string.sub(day, 1, 7) end
local function keep_alive()
  redis.call("PEXPIRE", account, 40 * DAY)
  redis.call("PEXPIRE", minute, 2 * WINDOW * 1000)
  redis.call("PEXPIRE", settled, HOUR)
end
local function parsed(found)
  local usd, tokens, day, began, due = string.match(found, "(%S+) (%S+) (%S+) (%S+) (%S+)")
  return {usd = tonumber(usd), tokens = tonumber(tokens), day = day, began = tonumber(began), due = tonumber(due)}
end
local function hold_of(id)
  local found = redis.call("HGET", account, "hold:" .. id)
  return found and parsed(found)
end
local function write_hold(id, hold)
  local fields = {whole(hold.usd), whole(hold.tokens), hold.day, whole(hold.began), whole(hold.due)}
  redis.call("HSET", account, "hold:" .. id, table.concat(fields, " "))
end
local function put_hold(id, hold)
  write_hold(id, hold)
  add("held", hold.usd)
  add("running", 1)
  redis.call("HINCRBY", minute, "r" .. whole(hold.began), 1)
  redis.call("HINCRBY", minute, "t" .. whole(hold.began), whole(hold.tokens))
end
local function drop_hold(id, hold)
  redis.call("HDEL", account, "hold:" .. id)
  add("held", -hold.usd)
  add("running", -1)
end
-- Requests and tokens of the last minute by the second that they began in, without what is older.
local function recent()
  local found, old, all = {r = {}, t = {}, r_sum = 0, t_sum = 0}, {}, redis.call("HGETALL", minute)
  for i = 1, #all, 2 do
    local kind, at, value = string.sub(all[i], 1, 1), tonumber(string.sub(all[i], 2)), tonumber(all[i + 1])
    if at < second - WINDOW then
      table.insert(old, all[i])
    else
      table.insert(found[kind], {at = at, value = value})
      found[kind .. "_sum"] = found[kind .. "_sum"] + value
    end
  end
  if #old > 0 then redis.call("HDEL", minute, unpack(old)) end
  return found
end
-- Milliseconds until so much has left the window that `need` fits.
local function until_free(entries, sum, need, limit)
  table.sort(entries, function(a, b) return a.at < b.at end)
  for _, entry in ipairs(entries) do
    sum = sum - entry.value
    if sum + need <= limit then return (entry.at + WINDOW + 1) * 1000 - now end
  end
  return WINDOW * 1000
end

if command == "reserve" then
  -- due: when the hold is looked into. to_midnight, to_next_month: ms. Each limit is -1 for none.
  -- Answers OK, HELD, UNKNOWN or {FULL, limit's name, limit, left, ms to wait or -1 for ever}.
  local id, day, usd, tokens, due = ARGV[3], ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
  local to_midnight, to_next_month = tonumber(ARGV[8]), tonumber(ARGV[9])
  local most_requests, most_tokens, most_at_once, most_usd_a_day, most_usd_a_month = unpack(ARGV, 10, 14)
  if not is_known(month_of(day)) then return {"UNKNOWN"} end
  redis.call("ZREMRANGEBYSCORE", settled, "-inf", now)
  if is_known("hold:" .. id) or redis.call("ZSCORE", settled, id) then return {"HELD"} end
  local last, held, refusal = recent(), number("held"), nil
  local function check(name, limit, used, need, wait)
    limit = tonumber(limit)
    if limit < 0 or used + need <= limit then return end
    local after = need > limit and -1 or wait(limit)
    local is_longer = not refusal or (refusal.wait >= 0 and (after < 0 or after > refusal.wait))
    if is_longer then refusal = {name = name, limit = limit, left = math.max(0, limit - used), wait = after} end
  end
  local function budget(bills, to_end) -- what is only held may come back in a moment
    return function(limit) return bills + usd <= limit and 1000 or to_end end
  end
  check("requests_per_minute", most_requests, last.r_sum, 1, function(l) return until_free(last.r, last.r_sum, 1, l) end)
  check("tokens_per_minute", most_tokens, last.t_sum, tokens, function(l)
    return until_free(last.t, last.t_sum, tokens, l)
  end)
  check("concurrent_requests", most_at_once, number("running"), 1, function() return 1000 end)
  local of_day, of_month = number(day), number(month_of(day))
  check("usd_per_day", most_usd_a_day, of_day + held, usd, budget(of_day, to_midnight))
  check("usd_per_month", most_usd_a_month, of_month + held, usd, budget(of_month, to_next_month))
  if refusal then
    return {"FULL", refusal.name, whole(refusal.limit), whole(refusal.left), whole(refusal.wait)}
  end
  put_hold(id, {usd = usd, tokens = tokens, day = day, began = second, due = due})
  keep_alive()
  return {"OK"}
end

if command == "settle" then
  -- day: when it began. Again, or where Redis lost the month, it does nothing.
  local id, usd, tokens, day = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
  local hold = hold_of(id)
  if hold then
    day = hold.day
    drop_hold(id, hold)
    if redis.call("HEXISTS", minute, "t" .. whole(hold.began)) == 1 then
      redis.call("HINCRBY", minute, "t" .. whole(hold.began), whole(tokens - hold.tokens))
    end
  elseif redis.call("ZSCORE", settled, id) or not is_known(month_of(day)) then
    return {"OK"}
  end
  add(day, usd)
  add(month_of(day), usd)
  redis.call("ZADD", settled, whole(now + HOUR), id)
  keep_alive()
  return {"OK"}
end

if command == "release" then
  local id = ARGV[3] -- of a request that never began
  local hold = hold_of(id)
  if hold then
    drop_hold(id, hold)
    if redis.call("HEXISTS", minute, "r" .. whole(hold.began)) == 1 then
      redis.call("HINCRBY", minute, "r" .. whole(hold.began), -1)
      redis.call("HINCRBY", minute, "t" .. whole(hold.began), whole(-hold.tokens))
    end
  end
  return {"OK"}
end

if command == "defer" then
  local id, due = ARGV[3], tonumber(ARGV[4])
  local hold = hold_of(id)
  if hold then
    hold.due = due
    write_hold(id, hold)
  end
  return {"OK"}
end

if command == "due" then
  -- The ids of the holds that are to be looked into, with usd, tokens and day of each.
  local found, all = {"OK"}, redis.call("HGETALL", account)
  for i = 1, #all, 2 do
    local id = string.match(all[i], "^hold:(.*)")
    local hold = id and parsed(all[i + 1])
    if hold and hold.due <= now then
      for _, value in ipairs({id, whole(hold.usd), whole(hold.tokens), hold.day}) do table.insert(found, value) end
    end
  end
  return found
end

if command == "restore" then
  -- After the month's bills follow id, usd, tokens, day, second and due of each request that runs. Once a month, or after a loss:
  -- whatever was written since is newer.
  local day, bills_of_day, bills_of_month = ARGV[3], ARGV[4], ARGV[5]
  if is_known(month_of(day)) then return {"OK"} end
  for _, name in ipairs(redis.call("HKEYS", account)) do
    if string.match(name, "^%d") then redis.call("HDEL", account, name) end -- bills of other months
  end
  redis.call("HSET", account, day, bills_of_day, month_of(day), bills_of_month)
  for i = 6, #ARGV, 6 do
    local id, usd, tokens, began_day, began, due = unpack(ARGV, i, i + 5)
    local hold = {usd = tonumber(usd), tokens = tonumber(tokens), day = began_day, began = tonumber(began), due = tonumber(due)}
    if not is_known("hold:" .. id) then put_hold(id, hold) end
  end
  keep_alive()
  return {"OK"}
end

if command == "standing" then
  -- Answers requests and tokens of the last minute, requests at once, bills and holds of day and month.
  local day, last, held = ARGV[3], recent(), number("held")
  local of_day, of_month = number(day) + held, number(month_of(day)) + held
  return {"OK", whole(last.r_sum), whole(last.t_sum), whole(number("running")), whole(of_day), whole(of_month)}
end

return redis.error_reply("unknown command " .. command)
