-- A session's bills, and what its running turns may still cost. USD are whole nano-USD.
-- KEYS: bills, total, holds.  ARGV: command, request id, ms that the keys are kept, and the command's own.
-- bills: request id -> its bill; total: their sum and number; holds: request id -> "usd due": the most that it may cost, and when (ms) somebody looks what became of it.
local bills, total, holds = KEYS[1], KEYS[2], KEYS[3]
local command, id, kept = ARGV[1], ARGV[2], ARGV[3]

-- A total that lacks bills, which a worker of a version before it has written, is not used.
local function spent()
  local added, sum = unpack(redis.call("HMGET", total, "bills", "nano_usd"))
  if tonumber(added or "0") == redis.call("ZCOUNT", bills, "-inf", "+inf") then return tonumber(sum or "0") end
  local each = redis.call("ZRANGEBYSCORE", bills, "-inf", "+inf", "WITHSCORES")
  sum = 0
  for i = 2, #each, 2 do sum = sum + tonumber(each[i]) end
  return sum
end

if command == "add" then
  -- usd: the bill of a turn that has ended. The first one of a request is final.
  local usd = ARGV[4]
  redis.call("HDEL", holds, id)
  if redis.call("ZADD", bills, "NX", usd, id) == 1 then
    redis.call("HINCRBY", total, "nano_usd", usd)
    redis.call("HINCRBY", total, "bills", 1)
  end
  redis.call("PEXPIRE", bills, kept)
  redis.call("PEXPIRE", total, kept)
  return "OK"
end

if command == "spent" then return string.format("%.0f", spent()) end

if command == "reserve" then
  -- usd: the most that the turn may cost, most: that the session may, due: when somebody looks what became of the turn.
  -- Answers OK, or HELD where it was before or has ended; SPENT and BUSY with what was spent.
  local usd, most, due = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
  if redis.call("ZSCORE", bills, id) or redis.call("HEXISTS", holds, id) == 1 then return {"HELD", "0"} end
  local running, held, used = redis.call("HGETALL", holds), 0, spent()
  for i = 2, #running, 2 do held = held + tonumber(string.match(running[i], "%S+")) end
  if used >= most then return {"SPENT", string.format("%.0f", used)} end
  if #running > 0 and used + held + usd > most then return {"BUSY", string.format("%.0f", used)} end
  redis.call("HSET", holds, id, ARGV[4] .. " " .. due)
  redis.call("PEXPIRE", holds, kept)
  return {"OK", string.format("%.0f", used)}
end

return redis.error_reply("unknown command " .. command)
