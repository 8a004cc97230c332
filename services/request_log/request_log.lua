-- The request log's writes. One script, so that every write sees epoch, stop flag and sequence in one step.
-- KEYS: stream, state, stages.  ARGV: command, role, epoch, ttl in ms, the writer's name and its write's number, and the command's
-- own.
-- Answers: {"OK", ...} or {code, detail} with code FENCED, STOPPED, LOST, GAP.
local stream, state, stages = KEYS[1], KEYS[2], KEYS[3]
local command, role, epoch, ttl, writer, write = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5], tonumber(ARGV[6])

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

if command == "take_unreported" then
  local prompt, generated = unreported()
  keep_alive()
  return {"OK", prompt, generated}
end

-- The one guard of begin, append and close: a write that its writer sends again, because no reply came, changes nothing.
if tonumber(owner or "-1") == epoch and redis.call("HGET", state, field("writer")) == writer and write <= number("write") then
  if command == "append" then return {"OK", tostring(number("seq"))} end
  return {"OK", unpack(cjson.decode(redis.call("HGET", state, field(command))))}
end
local function done(...)
  redis.call("HSET", state, field("write"), write)
  if command ~= "append" then redis.call("HSET", state, field(command), cjson.encode({...})) end
  keep_alive()
  return {"OK", ...}
end

-- What the log has of the writer's own tokens, in case it is fenced off: "trial generated prompt".
local function logged_of_owner()
  return table.concat({number("trial"), number("tokens") - number("first_token"), number("input") - number("first_input")}, " ")
end
-- A writer that was fenced off closes: what it made and the log lacks is discarded, and the owner is told at its
-- own close. Once; not where the owner is of another trial, since this one is billed.
local function add_from_fenced(made_prompt, made_generated)
  local logged = redis.call("HGET", state, field("fenced:" .. epoch))
  if not logged then return end
  redis.call("HDEL", state, field("fenced:" .. epoch))
  local trial, generated, prompt = string.match(logged, "(%S+) (%S+) (%S+)")
  if tonumber(trial) ~= number("trial") then return end
  generated, prompt = math.max(0, made_generated - generated), math.max(0, made_prompt - prompt)
  for _, name in ipairs({"discarded", "late_generated"}) do redis.call("HINCRBY", state, field(name), generated) end
  for _, name in ipairs({"input", "first_input", "late_prompt"}) do redis.call("HINCRBY", state, field(name), prompt) end
  keep_alive()
end

if command == "begin" then
  -- keep: "stage" keeps what the last finished stage holds, "token" every token. A higher trial than before begins a new text with
  -- a ledger of its own, because the earlier trial has ended and is billed.
  local keep, trial = ARGV[7], tonumber(ARGV[8])
  if owner and tonumber(owner) >= epoch then return {"FENCED", owner} end
  if owner and redis.call("HGET", state, field("closed")) ~= owner then
    redis.call("HSET", state, field("fenced:" .. owner), logged_of_owner())
  end
  local prompt, generated = unreported()
  if trial > number("trial") then
    redis.call("HSET", state, field("trial"), trial)
    for _, name in ipairs({"tokens", "input", "discarded", "unlogged", "reported_prompt", "reported_generated"}) do
      redis.call("HDEL", state, field(name))
    end
  end
  local tokens = number("tokens")
  local kept = keep == "stage" and number("stage_tokens") or tokens
  if tokens > kept then redis.call("HINCRBY", state, field("discarded"), tokens - kept) end
  redis.call("HSET", state, field("epoch"), epoch, field("writer"), writer, field("tokens"), kept,
             field("first_token"), kept, field("first_input"), number("input"), field("late_generated"), 0,
             field("late_prompt"), 0)
  if owner then add("restart", kept, "0") end
  return done(tostring(number("seq")), tostring(kept), tostring(number("stage")), tostring(number("input")),
              tostring(number("discarded")), owner or "0", prompt, generated)
end

-- prompt and generated: all tokens of the attempt, not those that the writer takes for unlogged, since an entry may be here whose reply
-- did not reach it. was_stopped: generated tokens are in no entry because of the stop; else those are discarded. is_reported: its span
-- has the tokens. last_seq: the writer's last entry.
local close = command == "close" and {
  reason = ARGV[7], prompt = tonumber(ARGV[8]), generated = tonumber(ARGV[9]), was_stopped = ARGV[10] == "1",
  is_reported = ARGV[11] == "1", last_seq = tonumber(ARGV[12]),
}

-- An owner of before: a replica that had not heard of this writer has become the primary.
if not owner or tonumber(owner) < epoch then return {"LOST", ""} end
if tonumber(owner) ~= epoch then
  if command == "close" then add_from_fenced(close.prompt, close.generated) end
  return {"FENCED", owner}
end

if command == "append" then
  -- tokens: after this entry. stage: the one that it finishes, or 0. prompt: tokens prefilled for it. key_name: of the key that text
  -- and ids are encrypted with, or "".
  local seq, tokens, text, ids, stage, prompt, key_name = tonumber(ARGV[7]), unpack(ARGV, 8, 13)
  local stopped = tonumber(redis.call("HGET", state, field("stop_epoch")) or "-1")
  if stopped >= epoch then return {"STOPPED", redis.call("HGET", state, field("stop_at"))} end
  local have = number("seq")
  if seq ~= have + 1 then return {"GAP", tostring(have)} end
  add("delta", tokens, stage, "text", text, "ids", ids, "key", key_name)
  redis.call("HSET", state, field("tokens"), tokens)
  if stage ~= "0" then redis.call("HSET", state, field("stage"), stage, field("stage_tokens"), tokens) end
  if prompt ~= "0" then redis.call("HINCRBY", state, field("input"), prompt) end
  return done(tostring(seq))
end

if command == "close" then
  -- Answers prompt and generated tokens that fenced-off writers have added since this one began.
  local have, prompt, generated = number("seq"), close.prompt, close.generated
  if close.last_seq > have then return {"GAP", tostring(have)} end
  local logged = number("tokens") - number("first_token")
  redis.call("HINCRBY", state, field(close.was_stopped and "unlogged" or "discarded"), generated - logged)
  redis.call("HSET", state, field("input"), number("first_input") + prompt)
  local late_prompt, late_generated = number("late_prompt"), number("late_generated")
  if close.is_reported then
    redis.call("HINCRBY", state, field("reported_prompt"), prompt + late_prompt)
    redis.call("HINCRBY", state, field("reported_generated"), generated + late_generated)
  end
  redis.call("HSET", state, field("closed"), epoch)
  add("end", number("tokens"), "0", "reason", close.reason)
  return done(tostring(late_prompt), tostring(late_generated))
end

return redis.error_reply("unknown command " .. command)
