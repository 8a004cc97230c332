-- The request log's writes. One script, so that every write sees epoch, stop flag and sequence in one step. An append is the path of
-- each token: it reads the state once, writes it once, and touches what expires only where it is told to.
-- KEYS: stream, state, stages.  ARGV: command, role, epoch, ttl in ms, the writer's name and its write's number, and the command's
-- own.
-- Answers: {"OK", ...} or {code, detail} with code FENCED, STOPPED, LOST, GAP.
local stream, state, stages = KEYS[1], KEYS[2], KEYS[3]
local command, role, epoch, ttl, writer, write = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5], tonumber(ARGV[6])

local function field(name) return role .. ":" .. name end

-- The state as it was, with what this write changes. An append needs the first names, and no other.
local names = {"epoch", "writer", "write", "seq", "stop_epoch", "stop_at", "input"}
if command ~= "append" then
  for _, name in ipairs({"tokens", "stage", "stage_tokens", "trial", "discarded", "unlogged", "reported_prompt",
                         "reported_generated", "first_token", "first_input", "late_prompt", "late_generated", "closed",
                         "begin", "close"}) do
    names[#names + 1] = name
  end
end
local now, changes = {}, {}
do
  local fields = {}
  for i, name in ipairs(names) do fields[i] = field(name) end
  local values = redis.call("HMGET", state, unpack(fields))
  for i, name in ipairs(names) do now[name] = values[i] end
end
local function number(name) return tonumber(now[name] or "0") end
local function set(name, value)
  now[name] = tostring(value)
  changes[#changes + 1] = field(name)
  changes[#changes + 1] = now[name]
end
local function increase(name, by)
  if by ~= 0 then set(name, number(name) + by) end
end
local function save()
  if #changes > 0 then redis.call("HSET", state, unpack(changes)) end
end
local function keep_alive(...)
  for _, key in ipairs({...}) do redis.call("PEXPIRE", key, ttl) end
end

-- Stage ends, restarts and the end are also in the insight's `stages`: stage waiters wake only on stage events.
local function add(kind, tokens, stage, ...)
  local seq = number("seq") + 1
  local id = seq .. "-0"
  redis.call("XADD", stream, id, "kind", kind, "epoch", epoch, "tokens", tokens, "stage", stage, ...)
  if role == "insight" and (kind ~= "delta" or stage ~= "0") then
    redis.call("XADD", stages, id, "kind", kind, "epoch", epoch, "tokens", tokens, "stage", stage, ...)
    keep_alive(stages)
  end
  set("seq", seq)
end

local owner = now.epoch
-- Tokens of attempts that died before their span was exported, as {prompt, generated}; from now on they count as reported.
local function unreported()
  local prompt = number("input") - number("reported_prompt")
  local generated = number("tokens") + number("discarded") + number("unlogged") - number("reported_generated")
  increase("reported_prompt", prompt)
  increase("reported_generated", generated)
  return tostring(prompt), tostring(generated)
end

if command == "take_unreported" then
  local prompt, generated = unreported()
  save()
  keep_alive(state)
  return {"OK", prompt, generated}
end

-- The one guard of begin, append and close: a write that its writer sends again, because no reply came, changes nothing.
if tonumber(owner or "-1") == epoch and now.writer == writer and write <= number("write") then
  if command == "append" then return {"OK", tostring(number("seq"))} end
  return {"OK", unpack(cjson.decode(now[command]))}
end
local function done(...)
  set("write", write)
  if command ~= "append" then set(command, cjson.encode({...})) end
  save()
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
  for _, name in ipairs({"discarded", "late_generated"}) do increase(name, generated) end
  for _, name in ipairs({"input", "first_input", "late_prompt"}) do increase(name, prompt) end
  save()
  keep_alive(unpack(KEYS))
end

if command == "begin" then
  -- keep: "stage" keeps what the last finished stage holds, "token" every token. A higher trial than before begins a new text with
  -- a ledger of its own, because the earlier trial has ended and is billed.
  local keep, trial = ARGV[7], tonumber(ARGV[8])
  if owner and tonumber(owner) >= epoch then return {"FENCED", owner} end
  if owner and now.closed ~= owner then set("fenced:" .. owner, logged_of_owner()) end
  local prompt, generated = unreported()
  if trial > number("trial") then
    set("trial", trial)
    for _, name in ipairs({"tokens", "input", "discarded", "unlogged", "reported_prompt", "reported_generated"}) do
      set(name, 0)
    end
  end
  local tokens = number("tokens")
  local kept = keep == "stage" and number("stage_tokens") or tokens
  if tokens > kept then increase("discarded", tokens - kept) end
  set("epoch", epoch)
  set("writer", writer)
  set("tokens", kept)
  set("first_token", kept)
  set("first_input", number("input"))
  set("late_generated", 0)
  set("late_prompt", 0)
  if owner then
    add("restart", kept, "0")
    keep_alive(stream)
  end
  local reply = done(tostring(number("seq")), tostring(kept), tostring(number("stage")), tostring(number("input")),
                     tostring(number("discarded")), owner or "0", prompt, generated)
  keep_alive(state)
  return reply
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
  -- and ids are encrypted with, or "". renews: the keys are to live for another ttl.
  local seq, tokens, text, ids, stage, prompt, key_name, renews = tonumber(ARGV[7]), unpack(ARGV, 8, 14)
  if tonumber(now.stop_epoch or "-1") >= epoch then return {"STOPPED", now.stop_at} end
  local have = number("seq")
  if seq ~= have + 1 then return {"GAP", tostring(have)} end
  add("delta", tokens, stage, "text", text, "ids", ids, "key", key_name)
  set("tokens", tokens)
  if stage ~= "0" then
    set("stage", stage)
    set("stage_tokens", tokens)
  end
  increase("input", tonumber(prompt))
  if renews == "1" then keep_alive(stream, state) end
  return done(tostring(seq))
end

if command == "close" then
  -- Answers prompt and generated tokens that fenced-off writers have added since this one began.
  if tonumber(now.closed or "-1") == epoch then return {"OK", "0", "0"} end  -- its writer did, before it died
  local have, prompt, generated = number("seq"), close.prompt, close.generated
  if close.last_seq > have then return {"GAP", tostring(have)} end
  local logged = number("tokens") - number("first_token")
  -- The larger of what the writer says and what the log has: a journal may lack the prompt that an entry has booked.
  increase(close.was_stopped and "unlogged" or "discarded", math.max(0, generated - logged))
  set("input", math.max(number("input"), number("first_input") + prompt))
  local late_prompt, late_generated = number("late_prompt"), number("late_generated")
  if close.is_reported then
    increase("reported_prompt", prompt + late_prompt)
    increase("reported_generated", generated + late_generated)
  end
  set("closed", epoch)
  add("end", number("tokens"), "0", "reason", close.reason)
  local reply = done(tostring(late_prompt), tostring(late_generated))
  keep_alive(stream, state)
  return reply
end

return redis.error_reply("unknown command " .. command)
