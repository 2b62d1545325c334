import { createHash } from "node:crypto";

/**
 * A Lua script and its digest. Every script names all its keys, all of one shard, and is one atomic step. Each write
 * fails wholly or not at all: Redis refuses the first write of a script when it is out of memory or a replica.
 */
export interface Script {
  readonly name: string;
  readonly source: string;
  readonly sha: string;
}

export function script(name: string, ...parts: readonly string[]): Script {
  const source = parts.join("\n").trim();
  return { name, source, sha: createHash("sha1").update(source).digest("hex") };
}

/**
 * A write says until when it counts, in the server's own time (ARGV[1]): a server that was stopped, or a command that
 * was stuck in a socket, must not carry out what its caller was told had failed. Every write answers its outcome and
 * the server's time as one text, in a list when there is more to say.
 */
export const IN_TIME: string = `
local clock = redis.call('TIME')
local time = clock[1] * 1000 + math.floor(clock[2] / 1000)
if time > tonumber(ARGV[1]) then return 'late ' .. time end
`;

/**
 * Writes entries to the journal and to timelines. They come as pairs from ARGV[first]: the place in KEYS of the
 * timeline (0: none; below zero: only if that session is there), then the entry. ARGV[2] is about how many entries the
 * journal keeps. Numbers run without holes, so that a reader sees when something between two entries is gone.
 */
const JOURNAL = `
local function journal(meta, stream, records, first)
  local last = #ARGV
  if first > last then return end
  local call = redis.call
  local n = call('HINCRBY', meta, 'n', (last - first + 1) / 2) - (last - first + 1) / 2
  for i = first, last, 2 do
    n = n + 1
    local place, entry = tonumber(ARGV[i]), ARGV[i + 1]
    call('XADD', stream, 'MAXLEN', '~', ARGV[2], n .. '-0', 'e', entry)
    if place < 0 then
      place = -place
      if call('HEXISTS', records, string.sub(KEYS[place], -20)) == 0 then place = 0 end
    end
    if place > 0 and call('RPUSH', KEYS[place], n .. ' ' .. entry) > 1500 then call('LTRIM', KEYS[place], -1000, -1) end
  end
  call('SPUBLISH', stream, '')
end
`;

/**
 * KEYS: keys, records, epochs of each shard asked. ARGV: pairs of the place in KEYS where a shard begins (below zero
 * when a handle is asked, not a key) and what is asked. Answers pairs of a stored record and its principal's epoch.
 */
export const LOOKUP: Script = script(
  "lookup",
  `
local out = {}
for i = 1, #ARGV, 2 do
  local at, asked = tonumber(ARGV[i]), ARGV[i + 1]
  local handle = asked
  if at > 0 then handle = redis.call('HGET', KEYS[at], asked) else at = -at end
  local value = handle and redis.call('HGET', KEYS[at + 1], handle)
  local epoch = false
  if value then
    local _, _, bytes, from = string.find(value, '^%d+:%d+:(%d+):%d+:()')
    if bytes ~= '0' then epoch = redis.call('HGET', KEYS[at + 2], string.sub(value, from + 1, from + bytes - 1)) end
  end
  out[i] = value
  out[i + 1] = epoch
end
return out`,
);

/** KEYS: meta, epochs. ARGV: the principal behind a '+', or '-'. */
export const STANDING: Script = script(
  "standing",
  `
local epoch = false
if ARGV[1] ~= '-' then epoch = redis.call('HGET', KEYS[2], string.sub(ARGV[1], 2)) end
return {redis.call('HGET', KEYS[1], 'b'), epoch}`,
);

/**
 * KEYS: records, keys, due, meta, journal, epochs, terms…, timelines…
 * ARGV: until, journal length, handle, record, deadline, epoch, barrier sequence, principal, number of keys, number of
 * terms, keys…, entries…
 */
export const CREATE: Script = script(
  "create",
  IN_TIME,
  JOURNAL,
  `
if tonumber(ARGV[7]) < tonumber(redis.call('HGET', KEYS[4], 'b') or 0) then return 'stale-standing ' .. time end
local epoch = 0
if ARGV[8] ~= '-' then epoch = tonumber(redis.call('HGET', KEYS[6], string.sub(ARGV[8], 2)) or 0) end
if tonumber(ARGV[6]) ~= epoch then return 'stale-standing ' .. time end
local handle, keys = ARGV[3], tonumber(ARGV[9])
if redis.call('HEXISTS', KEYS[1], handle) == 1 then return 'exists ' .. time end
for i = 11, 10 + keys do
  if redis.call('HEXISTS', KEYS[2], ARGV[i]) == 1 then return 'exists ' .. time end
end
redis.call('HSET', KEYS[1], handle, ARGV[4])
for i = 11, 10 + keys do redis.call('HSET', KEYS[2], ARGV[i], handle) end
for i = 7, 6 + ARGV[10] do redis.call('ZADD', KEYS[i], 0, handle) end
if ARGV[5] ~= '' then redis.call('ZADD', KEYS[3], ARGV[5], handle) end
journal(KEYS[4], KEYS[5], KEYS[1], 11 + keys)
return 'created ' .. time`,
);

/**
 * KEYS: records, keys, due, meta, journal, terms it leaves…, terms it enters…, timelines…
 * ARGV: until, journal length, handle, version replaced, record, deadline ('' none, '=' as before), number of keys
 * lost, of keys won, of terms left, of terms entered, keys lost…, keys won…, entries…
 */
export const UPDATE: Script = script(
  "update",
  IN_TIME,
  JOURNAL,
  `
local handle, lost, won, left = ARGV[3], tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local stored = redis.call('HGET', KEYS[1], handle)
if not stored then return 'absent ' .. time end
if string.match(stored, '^%d+') ~= ARGV[4] then return 'conflict ' .. time end
for i = 11 + lost, 10 + lost + won do
  local other = redis.call('HGET', KEYS[2], ARGV[i])
  if other and other ~= handle then return 'conflict ' .. time end
end
redis.call('HSET', KEYS[1], handle, ARGV[5])
for i = 11, 10 + lost do redis.call('HDEL', KEYS[2], ARGV[i]) end
for i = 11 + lost, 10 + lost + won do redis.call('HSET', KEYS[2], ARGV[i], handle) end
for i = 6, 5 + left do redis.call('ZREM', KEYS[i], handle) end
for i = 6 + left, 5 + left + ARGV[10] do redis.call('ZADD', KEYS[i], 0, handle) end
if ARGV[6] == '' then redis.call('ZREM', KEYS[3], handle)
elseif ARGV[6] ~= '=' then redis.call('ZADD', KEYS[3], ARGV[6], handle) end
journal(KEYS[4], KEYS[5], KEYS[1], 11 + lost + won)
return 'updated ' .. time`,
);

/**
 * UPDATE for a record that keeps its keys and its lists, as most do.
 * KEYS: records, due, meta, journal, timelines… ARGV: until, journal length, handle, version replaced, record, deadline
 * ('' none, '=' as before), entries…
 */
export const REWRITE: Script = script(
  "rewrite",
  IN_TIME,
  JOURNAL,
  `
local call = redis.call
local stored = call('HGET', KEYS[1], ARGV[3])
if not stored then return 'absent ' .. time end
if string.match(stored, '^%d+') ~= ARGV[4] then return 'conflict ' .. time end
call('HSET', KEYS[1], ARGV[3], ARGV[5])
if ARGV[6] == '' then call('ZREM', KEYS[2], ARGV[3])
elseif ARGV[6] ~= '=' then call('ZADD', KEYS[2], ARGV[6], ARGV[3]) end
journal(KEYS[3], KEYS[4], KEYS[1], 7)
return 'updated ' .. time`,
);

/** KEYS: records, keys, due, timeline, terms… ARGV: until, -, handle, version, keys… */
export const PURGE: Script = script(
  "purge",
  IN_TIME,
  `
local stored = redis.call('HGET', KEYS[1], ARGV[3])
if not stored or string.match(stored, '^%d+') ~= ARGV[4] then return 'absent ' .. time end
redis.call('HDEL', KEYS[1], ARGV[3])
for i = 5, #ARGV do redis.call('HDEL', KEYS[2], ARGV[i]) end
redis.call('ZREM', KEYS[3], ARGV[3])
redis.call('DEL', KEYS[4])
for i = 5, #KEYS do redis.call('ZREM', KEYS[i], ARGV[3]) end
return 'purged ' .. time`,
);

/** KEYS: records, meta, journal, timelines… ARGV: until, journal length, entries… */
export const APPEND: Script = script(
  "append",
  IN_TIME,
  JOURNAL,
  `
journal(KEYS[2], KEYS[3], KEYS[1], 3)
return 'written ' .. time`,
);

/**
 * KEYS: records, epochs, meta, journal, the term of the principal's live sessions.
 * ARGV: until, journal length, principal, number kept, handles kept…, entry.
 * A session of an epoch before the last was revoked then: to keep it now would bring it back.
 */
export const RAISE_EPOCH: Script = script(
  "raise-epoch",
  IN_TIME,
  JOURNAL,
  `
local epoch = redis.call('HINCRBY', KEYS[2], ARGV[3], 1)
for i = 5, 4 + ARGV[4] do
  if redis.call('ZSCORE', KEYS[5], ARGV[i]) then
    local stored = redis.call('HGET', KEYS[1], ARGV[i])
    local version, old, rest = string.match(stored, '^(%d+):(%d+):(.*)$')
    if tonumber(old) == epoch - 1 then
      redis.call('HSET', KEYS[1], ARGV[i], string.format('%.0f:%.0f:', version + 1, epoch) .. rest)
    end
  end
end
journal(KEYS[3], KEYS[4], KEYS[1], 5 + ARGV[4])
return {'raised ' .. time, epoch}`,
);

/** In the authority's shard. KEYS: barriers, meta, journal, records. ARGV: until, journal length, id, barrier, floor, entry. */
export const RAISE_BARRIER: Script = script(
  "raise-barrier",
  IN_TIME,
  JOURNAL,
  `
local seq = math.max(tonumber(redis.call('HGET', KEYS[2], 'b') or 0), tonumber(ARGV[5])) + 1
local text = string.format('%.0f', seq)
redis.call('HSET', KEYS[2], 'b', text)
redis.call('HSET', KEYS[1], ARGV[3], text .. ':' .. ARGV[4])
journal(KEYS[2], KEYS[3], KEYS[4], 6)
return {'raised ' .. time, seq}`,
);

/** In every other shard, before the call returns. KEYS: meta. ARGV: until, -, sequence. Answers what stood there. */
export const ADOPT_BARRIER: Script = script(
  "adopt-barrier",
  IN_TIME,
  `
local known = tonumber(redis.call('HGET', KEYS[1], 'b') or 0)
if known < tonumber(ARGV[3]) then redis.call('HSET', KEYS[1], 'b', ARGV[3]) end
return {'adopted ' .. time, known}`,
);

/** KEYS: barriers, meta, journal, records. ARGV: until, journal length, id, entry. */
export const LIFT_BARRIER: Script = script(
  "lift-barrier",
  IN_TIME,
  JOURNAL,
  `
if redis.call('HDEL', KEYS[1], ARGV[3]) == 0 then return 'absent ' .. time end
journal(KEYS[2], KEYS[3], KEYS[4], 4)
return 'lifted ' .. time`,
);

/** Forgets what is over, unless it was written again meanwhile. KEYS: barriers or nodes. ARGV: until, -, pairs of id and value. */
export const FORGET: Script = script(
  "forget",
  IN_TIME,
  `
for i = 3, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then redis.call('HDEL', KEYS[1], ARGV[i]) end
end
return 'forgotten ' .. time`,
);

/** KEYS: ticket. ARGV: until, -, now by the caller's clock, value behind its expiry, ms after which Redis drops it. */
export const PUT_TICKET: Script = script(
  "put-ticket",
  IN_TIME,
  `
local kept = redis.call('GET', KEYS[1])
if kept and tonumber(string.match(kept, '^%d+')) > tonumber(ARGV[3]) then return 'exists ' .. time end
redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[5])
return 'kept ' .. time`,
);

/** KEYS: ticket. ARGV: until. */
export const TAKE_TICKET: Script = script(
  "take-ticket",
  IN_TIME,
  `
local kept = redis.call('GETDEL', KEYS[1])
return {(kept and 'taken' or 'absent') .. ' ' .. time, kept}`,
);

/** KEYS: nodes. ARGV: until, -, id, epoch expected, lease behind its epoch. */
export const PUT_NODE: Script = script(
  "put-node",
  IN_TIME,
  `
local kept = redis.call('HGET', KEYS[1], ARGV[3])
if (kept and string.match(kept, '^%d+') or '0') ~= ARGV[4] then return 'taken ' .. time end
redis.call('HSET', KEYS[1], ARGV[3], ARGV[5])
return 'written ' .. time`,
);

/** KEYS: metas. Answers the number of the newest journal entry of each. */
export const HEADS: Script = script(
  "heads",
  `
local out = {}
for i = 1, #KEYS do out[i] = redis.call('HGET', KEYS[i], 'n') end
return out`,
);

/** KEYS: terms. ARGV: lower bound. Answers how many handles of each are above it. */
export const COUNTS: Script = script(
  "counts",
  `
local out = {}
for i = 1, #KEYS do out[i] = redis.call('ZLEXCOUNT', KEYS[i], ARGV[1], '+') end
return out`,
);

/** KEYS: a term, records, epochs. ARGV: lower bound, limit. Answers triples of handle, record, epoch. */
export const PAGE: Script = script(
  "page",
  `
local out = {}
for i, handle in ipairs(redis.call('ZRANGEBYLEX', KEYS[1], ARGV[1], '+', 'LIMIT', 0, ARGV[2])) do
  local value = redis.call('HGET', KEYS[2], handle)
  local epoch = false
  if value then
    local _, _, bytes, from = string.find(value, '^%d+:%d+:(%d+):%d+:()')
    if bytes ~= '0' then epoch = redis.call('HGET', KEYS[3], string.sub(value, from + 1, from + bytes - 1)) end
  end
  out[3 * i - 2] = handle
  out[3 * i - 1] = value
  out[3 * i] = epoch
end
return out`,
);

/** KEYS: due sets. ARGV: now, limit. Answers a list of handle, deadline, … for each. */
export const DUE: Script = script(
  "due",
  `
local out = {}
for i = 1, #KEYS do
  out[i] = redis.call('ZRANGEBYSCORE', KEYS[i], '-inf', ARGV[1], 'WITHSCORES', 'LIMIT', 0, ARGV[2])
end
return out`,
);

/** KEYS: records, keys, due, epochs, journal, live, ended. Answers their sizes. */
export const SIZES: Script = script(
  "sizes",
  `
local out = {}
for i, command in ipairs({'HLEN', 'HLEN', 'ZCARD', 'HLEN', 'XLEN', 'ZCARD', 'ZCARD'}) do
  out[i] = redis.call(command, KEYS[i])
end
return out`,
);
