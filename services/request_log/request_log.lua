-- The request log's writes. One script, so that every write sees epoch, stop flag and sequence in one step.
-- KEYS: stream, state, stages.  ARGV: command, role, epoch, ttl in ms, and the command's own.
-- Answers: {"OK", ...} or {code, detail} with code FENCED, STOPPED, LOST, GAP, DUP.
local stream, state, stages = KEYS[1], KEYS[2], KEYS[3]
local command, role, epoch, ttl = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]

local function field(name) return role .. ":" .. name end
local function number(name) return tonumber(redis.call("HGET", state, field(name)) or "0") end
local function keep_alive()
  for _, key in ipairs(KEYS) do redis.call("PEXPIRE", key, ttl) end
end
-- Stage ends, restarts and the end are also in the insight's `stages`: stage waiters wake only on stage events.
local function add(kind, tokens, stage, ...)
  local seq = number("seq") + 1
  local id = seq .. "-0"
  redis.call("XADD", stream, id, "kind", kind, "epoch", epoch, "tokens", tokens, "stage", stage, ...)
  if role == "insight" and (kind ~= "delta" or stage ~= "0") then
    redis.call("XADD", stages, id, "kind", kind, "epoch", epoch, "tokens", tokens, "stage", stage, ...)
  end
  redis.call("HSET", state, field("seq"), seq)
end

local owner = redis.call("HGET", state, field("epoch"))
-- Tokens of attempts that died before their span was exported, as {prompt, generated}; from now on they count as reported.
local function unreported()
  local prompt = number("input") - number("reported_prompt")
  local generated = number("tokens") + number("discarded") + number("unlogged") - number("reported_generated")
  redis.call("HINCRBY", state, field("reported_prompt"), prompt)
  redis.call("HINCRBY", state, field("reported_generated"), generated)
  return tostring(prompt), tostring(generated)
end

if command == "begin" then
  -- ARGV[5]: "stage" keeps what the last finished stage holds, "token" keeps every token. ARGV[6]: the trial; a higher one than
  -- before begins a new text with a ledger of its own, because the earlier trial has ended and is billed.
  if owner and tonumber(owner) >= epoch then return {"FENCED", owner} end
  local prompt, generated = unreported()
  if tonumber(ARGV[6]) > number("trial") then
    redis.call("HSET", state, field("trial"), ARGV[6])
    for _, name in ipairs({"tokens", "input", "discarded", "unlogged", "reported_prompt", "reported_generated"}) do
      redis.call("HDEL", state, field(name))
    end
  end
  local tokens = number("tokens")
  local kept = ARGV[5] == "stage" and number("stage_tokens") or tokens
  redis.call("HSET", state, field("epoch"), epoch, field("tokens"), kept)
  if tokens > kept then redis.call("HINCRBY", state, field("discarded"), tokens - kept) end
  if owner then add("restart", kept, "0") end
  keep_alive()
  return {"OK", tostring(number("seq")), tostring(kept), tostring(number("stage")), tostring(number("input")),
          tostring(number("discarded")), owner or "0", prompt, generated}
end

if command == "take_unreported" then
  local prompt, generated = unreported()
  keep_alive()
  return {"OK", prompt, generated}
end

-- An owner of before: a replica that had not heard of this writer has become the primary.
if not owner or tonumber(owner) < epoch then return {"LOST", ""} end
if tonumber(owner) ~= epoch then return {"FENCED", owner} end

if command == "append" then
  -- ARGV[5..11]: sequence, tokens after this entry, text, ids, finished stage or 0, prompt tokens prefilled for it, and the name
  -- of the key that text and ids are encrypted with, or ""
  local stopped = tonumber(redis.call("HGET", state, field("stop_epoch")) or "-1")
  if stopped >= epoch then return {"STOPPED", redis.call("HGET", state, field("stop_at"))} end
  local seq, have = tonumber(ARGV[5]), number("seq")
  if seq <= have then return {"DUP", tostring(have)} end
  if seq > have + 1 then return {"GAP", tostring(have)} end
  add("delta", ARGV[6], ARGV[9], "text", ARGV[7], "ids", ARGV[8], "key", ARGV[11])
  redis.call("HSET", state, field("tokens"), ARGV[6])
  if ARGV[9] ~= "0" then redis.call("HSET", state, field("stage"), ARGV[9], field("stage_tokens"), ARGV[6]) end
  if ARGV[10] ~= "0" then redis.call("HINCRBY", state, field("input"), ARGV[10]) end
  keep_alive()
  return {"OK", tostring(seq)}
end

if command == "close" then
  -- ARGV[5..10]: reason, generated tokens that are in no entry and discarded, or in none because of the stop, unlogged prompt
  -- tokens, prompt and generated tokens of this attempt, which are on its span; ARGV[11]: the writer's last entry
  local have = number("seq")
  if number("closed") == epoch then return {"OK", tostring(have)} end -- repeated: its first reply was lost
  if tonumber(ARGV[11]) > have then return {"GAP", tostring(have)} end
  local tokens = number("tokens")
  redis.call("HSET", state, field("closed"), epoch)
  if ARGV[6] ~= "0" then redis.call("HINCRBY", state, field("discarded"), ARGV[6]) end
  if ARGV[8] ~= "0" then redis.call("HINCRBY", state, field("input"), ARGV[8]) end
  redis.call("HINCRBY", state, field("reported_prompt"), ARGV[9])
  redis.call("HINCRBY", state, field("reported_generated"), ARGV[10])
  redis.call("HINCRBY", state, field("unlogged"), ARGV[7])
  add("end", tokens, "0", "reason", ARGV[5])
  keep_alive()
  return {"OK", tostring(number("seq"))}
end

return redis.error_reply("unknown command " .. command)
