-- Outcomes of requests, and how strict a tenant's policy is by them. One script, so that every outcome counts once, for the policy
-- that it is of. The evidence is that of docs/method.md, A promise kept online.
-- KEYS: outcome, policy, changes, kept. Losses are whole millionths.
-- outcome: of one request: "told" -> what its caller said; "counted" -> who made it count; "kept" -> who had it kept
-- policy:  "step", "outcomes", "lost", "all_outcomes", "all_lost", "kept" (how many ever were), "a1".."aN" -> evidence of each alternative
-- changes: "step outcomes lost at": when the policy became stricter, and by what
-- kept:    "number loss who step strength score" by when it was told: outcomes for a calibration, where the tenant lets them be kept;
--          a sorted set and no stream, since who may XADD here could write requests' streams too (tandem/access/redis_users.py)
local outcome, policy, changes, kept = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local MILLION = 1000000

local function number(name) return tonumber(redis.call("HGET", policy, name) or "0") end
local function standing()
  return {number("step"), number("outcomes"), number("lost")}
end
local function answer(word, found)
  return {word, string.format("%d", found[1]), string.format("%d", found[2]), string.format("%d", found[3])}
end

-- ARGV: now (ms), who, what (what the caller said; empty: a shadow says it), loss (below 0: unknown), and of the request's policy step,
-- steps, promised share, limit of the evidence, outcomes of a review, part of the promised share that a step which pays back may lose; ms
-- to remember; days to keep, strength, score, 1 for a label, which is kept and does not count; ratios of the alternatives.
-- step < 0: the policy was the caller's own, nothing is counted.
local now, who, what, loss = tonumber(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[4])
local step, steps, promised, limit = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local review, paying = tonumber(ARGV[9]), tonumber(ARGV[10])
local remembered, days, strength, score, is_label = ARGV[11], tonumber(ARGV[12]), ARGV[13], ARGV[14], ARGV[15] == "1"
local FIXED = 15

if what ~= "" then
  local before = redis.call("HGET", outcome, "told")
  if before then return answer(before == what and "SAME" or "OTHER", standing()) end
  redis.call("HSET", outcome, "told", what)
  redis.call("PEXPIRE", outcome, remembered)
end
if redis.call("HEXISTS", outcome, "counted") == 1 then return answer("NOTED", standing()) end
if step < 0 or loss < 0 then return answer("NOTED", standing()) end
if not is_label then redis.call("HSET", outcome, "counted", who) end
redis.call("PEXPIRE", outcome, remembered)
if days > 0 and redis.call("HEXISTS", outcome, "kept") == 0 then
  redis.call("HSET", outcome, "kept", who)
  -- The number keeps two outcomes apart that are alike.
  local number_kept = redis.call("HINCRBY", policy, "kept", 1)
  redis.call("ZADD", kept, ARGV[1], string.format("%d %d %s %d %s %s", number_kept, loss, who, step, strength, score))
  redis.call("ZREMRANGEBYSCORE", kept, "-inf", string.format("(%.0f", now - days * 86400000))
  redis.call("PEXPIRE", kept, string.format("%.0f", days * 86400000))
end
if is_label then return answer("NOTED", standing()) end
local all_outcomes, all_lost = redis.call("HINCRBY", policy, "all_outcomes", 1), redis.call("HINCRBY", policy, "all_lost", loss)
if step ~= number("step") then return answer("OLD", standing()) end

local outcomes, lost = redis.call("HINCRBY", policy, "outcomes", 1), redis.call("HINCRBY", policy, "lost", loss)
if step >= steps then return answer("COUNTED", standing()) end
local function weight_from(moment) return math.log(2) / math.log(moment + 1) end
local later = weight_from(outcomes + 1)
local weight, sum, count = weight_from(outcomes) - later, 0, #ARGV - FIXED
for i = 1, count do
  local so_far = (number("a" .. i) + weight) * tonumber(ARGV[FIXED + i])
  redis.call("HSET", policy, "a" .. i, string.format("%.17g", so_far))
  sum = sum + so_far
end
local is_refuted = count > 0 and sum / count + later >= limit
local is_due = step > 0 and outcomes % review == 0
local pays_back = lost / MILLION <= paying * promised * outcomes
local owes = is_due and not pays_back and all_lost / MILLION > promised * all_outcomes
if not (is_refuted or owes) then return answer("COUNTED", standing()) end

redis.call("RPUSH", changes, string.format("%d %d %d %.0f", step + 1, outcomes, lost, now))
redis.call("HSET", policy, "step", string.format("%d", step + 1), "outcomes", "0", "lost", "0")
for i = 1, count do redis.call("HDEL", policy, "a" .. i) end
return answer("STRICTER", standing())
