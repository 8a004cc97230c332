-- What a tenant's requests have taught of one kind: counts, which are only added to, and latches of what was decided by them. One
-- script, so that each request counts once. tandem/method/promise decides; docs/promise.md.
-- KEYS: state, of, kinds, changes, seen
-- state:   "epoch" -> how often the kind has begun anew; "sampled"; "large", "beside" (nano-USD); of each arm I "tI", "oI", "lI", "sI":
--          taken, open, lost, saved (nano-USD); "shown"; "serving", "usual", "usual_of", "above", "below"; "served", "answered"; "watched";
--          of each block B of watched requests "bsB", "boB", "blB": sampled, open, lost
-- of:      of one sampled request: "epoch", "disputed" (arms), "block", "label", "who"
-- kinds:   "done:KIND" -> the digest with all arms shown; "order:KIND:DIGEST" -> its number, in which models and rules came
-- changes: JSON of what was decided, and when
-- seen:    sessions and questions that were sampled
local state, of, kinds, changes, seen = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local command, epoch, remembered = ARGV[1], ARGV[2], ARGV[3]
local MOST_CHANGES = 200

local function now_epoch() return redis.call("HGET", state, "epoch") or "0" end
local function add(name, amount) return redis.call("HINCRBY", state, name, amount) end
local function note(change)
  redis.call("RPUSH", changes, change)
  redis.call("LTRIM", changes, -MOST_CHANGES, -1)
  redis.call("PEXPIRE", changes, remembered)
end
local function each_of(list, act)
  for item in string.gmatch(list, "%d+") do act(item) end
end

-- ARGV: kind, digest. Returns the state, in which order the digest came (0, 1, ...), and how many other kinds are done
if command == "standing" then
  local kind, name, others = ARGV[4], "order:" .. ARGV[4] .. ":" .. ARGV[5], 0
  local order = redis.call("HGET", kinds, name)
  if not order then
    order = redis.call("HINCRBY", kinds, "next:" .. kind, 1) - 1
    redis.call("HSET", kinds, name, tostring(order))
    redis.call("PEXPIRE", kinds, remembered)
  end
  for _, each in ipairs(redis.call("HKEYS", kinds)) do
    if string.match(each, "^done:") and each ~= "done:" .. kind then others = others + 1 end
  end
  return {redis.call("HGETALL", state), tonumber(order), others}
end

-- ARGV: what must be new. Returns 1 where all of it was.
if command == "reserve" then
  for i = 4, #ARGV do
    if redis.call("SISMEMBER", seen, ARGV[i]) == 1 then return 0 end
  end
  for i = 4, #ARGV do redis.call("SADD", seen, ARGV[i]) end
  redis.call("PEXPIRE", seen, remembered)
  return 1
end

if now_epoch() ~= epoch then return "OLD" end

-- ARGV: large, beside, the arm that answered (-1: none), requests of a block, and of each arm: taken, disputed, saved
if command == "sampled" then
  if redis.call("EXISTS", of) == 1 then return "SAME" end
  local answered, size, disputed, block = tonumber(ARGV[6]), tonumber(ARGV[7]), "", ""
  add("sampled", 1) add("large", ARGV[4]) add("beside", ARGV[5])
  for i = 8, #ARGV, 3 do
    local arm = string.format("%d", (i - 8) / 3)
    add("t" .. arm, ARGV[i]) add("o" .. arm, ARGV[i + 1]) add("s" .. arm, ARGV[i + 2])
    if ARGV[i + 1] == "1" then disputed = disputed .. " " .. arm end
    if tonumber(arm) == answered then
      block = string.format("%d", math.floor((add("watched", 1) - 1) / size))
      add("bs" .. block, 1)
      if ARGV[i + 1] == "1" then add("bo" .. block, 1) else block = "" end
    end
  end
  redis.call("HSET", of, "epoch", epoch, "disputed", disputed, "block", block)
  redis.call("PEXPIRE", of, remembered)
  redis.call("PEXPIRE", state, remembered)
  return "COUNTED"
end

-- ARGV: 1 if lost, who says so
if command == "label" then
  local found = redis.call("HMGET", of, "epoch", "disputed", "block", "label")
  if not found[1] then return "NONE" end
  if found[4] then return found[4] == ARGV[4] and "SAME" or "OTHER" end
  redis.call("HSET", of, "label", ARGV[4], "who", ARGV[5])
  if found[1] ~= epoch then return "OLD" end
  each_of(found[2], function(arm) add("o" .. arm, -1) add("l" .. arm, ARGV[4]) end)
  each_of(found[3], function(block) add("bo" .. block, -1) add("bl" .. block, ARGV[4]) end)
  return "COUNTED"
end

-- ARGV: 1 if the arm answered, what that adds above and below, the arm, how many requests refine its share. Returns both sums.
if command == "served" then
  local served = tonumber(redis.call("HGET", state, "served") or "0")
  if redis.call("HGET", state, "serving") == ARGV[7] and served < tonumber(ARGV[8]) then
    add("served", 1) add("answered", ARGV[4])
  end
  local sums = {}
  for i, name in ipairs({"above", "below"}) do
    local sum = math.max(0, tonumber(redis.call("HGET", state, name) or "0") + tonumber(ARGV[4 + i]))
    sums[i] = string.format("%.9g", sum)
    redis.call("HSET", state, name, sums[i])
  end
  return sums
end

-- ARGV: how many arms are shown, "KIND DIGEST" where these are all, the change
if command == "show" then
  if tonumber(ARGV[4]) <= tonumber(redis.call("HGET", state, "shown") or "0") then return 0 end
  redis.call("HSET", state, "shown", ARGV[4])
  local kind, digest = string.match(ARGV[5], "(%S+) (%S+)")
  if kind then redis.call("HSET", kinds, "done:" .. kind, digest) end
  note(ARGV[6])
  return 1
end

-- ARGV: the arm that serves (empty: none), the change
if command == "serve" then
  local arm, sampled = ARGV[4], tonumber(redis.call("HGET", state, "sampled") or "0")
  if (redis.call("HGET", state, "serving") or "") == arm then return 0 end
  for _, name in ipairs(redis.call("HKEYS", state)) do
    if string.match(name, "^b[sol]%d+$") then redis.call("HDEL", state, name) end
  end
  redis.call("HDEL", state, "watched", "above", "below", "served", "answered")
  local taken = tonumber(redis.call("HGET", state, "t" .. arm) or "0")
  redis.call("HSET", state, "serving", arm, "usual", string.format("%.9g", taken / math.max(1, sampled)), "usual_of", tostring(sampled))
  note(ARGV[5])
  return 1
end

-- ARGV: the kind, the change
if command == "close" then
  redis.call("DEL", state)
  redis.call("HSET", state, "epoch", string.format("%d", tonumber(epoch) + 1))
  redis.call("PEXPIRE", state, remembered)
  redis.call("HDEL", kinds, "done:" .. ARGV[4])
  note(ARGV[5])
  return 1
end
