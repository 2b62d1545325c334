import type { Script } from "./scripts.ts";
import { IN_TIME, script } from "./scripts.ts";

// The state of a stream is a hash: `f` the fence (the highest epoch that opened it), `n` the next number, `a` the first
// that is needed, `m` the mark. Entry k is the stream's item (k + 1)-0. ARGV[1] is always until when the write counts.

/** KEYS: state, set of streams. ARGV: epoch, handle. Answers first, next and the mark. */
export const OPEN_STREAM: Script = script(
  "open-stream",
  IN_TIME,
  `
local fence = redis.call('HGET', KEYS[1], 'f')
if fence and tonumber(fence) > tonumber(ARGV[2]) then return 'fenced ' .. time end
redis.call('HSET', KEYS[1], 'f', ARGV[2])
redis.call('HSETNX', KEYS[1], 'n', 0)
redis.call('HSETNX', KEYS[1], 'a', 0)
redis.call('ZADD', KEYS[2], 0, ARGV[3])
local state = redis.call('HMGET', KEYS[1], 'a', 'n', 'm')
return {'opened ' .. time, state[1], state[2], state[3] or ''}
`,
);

/** KEYS: state, stream. ARGV: epoch, from, trim, mark ('' for none), entries. */
export const APPEND_ENTRIES: Script = script(
  "append-entries",
  IN_TIME,
  `
local state = redis.call('HMGET', KEYS[1], 'f', 'n', 'a')
if not state[1] or tonumber(state[1]) < tonumber(ARGV[2]) then return 'misplaced ' .. time end
if tonumber(state[1]) > tonumber(ARGV[2]) then return 'fenced ' .. time end
local n = tonumber(state[2])
if n ~= tonumber(ARGV[3]) then return 'misplaced ' .. time end
for i = 6, #ARGV do
  n = n + 1
  redis.call('XADD', KEYS[2], string.format('%.0f-0', n), 'e', ARGV[i])
end
if #ARGV > 5 then redis.call('HSET', KEYS[1], 'n', string.format('%.0f', n)) end
if ARGV[5] ~= '' then redis.call('HSET', KEYS[1], 'm', ARGV[5]) end
local trim = math.min(tonumber(ARGV[4]), n)
if trim > tonumber(state[3]) then
  redis.call('HSET', KEYS[1], 'a', string.format('%.0f', trim))
  redis.call('XTRIM', KEYS[2], 'MINID', string.format('%.0f-0', trim + 1))
end
return 'appended ' .. time
`,
);

/** KEYS: state, stream, set of streams. ARGV: epoch, handle. */
export const DROP_STREAM: Script = script(
  "drop-stream",
  IN_TIME,
  `
local fence = redis.call('HGET', KEYS[1], 'f')
if fence and tonumber(fence) > tonumber(ARGV[2]) then return 'fenced ' .. time end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('ZREM', KEYS[3], ARGV[3])
return 'dropped ' .. time
`,
);
