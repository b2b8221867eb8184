#!lua flags=allow-oom
-- group_delete: begin (or continue) the deletion of a group that has no live member. The caller removes the
-- cursors (cursor_delete) and then the group's own keys.
--
-- KEYS  1 group   2 leases
-- Returns {'DELETING'} or {'NONE'} or {'ACTIVE', members}
-- Keeps  the group's clock as in group_sync: time that nobody of the group saw counts only up to `cap`.
local g = redis.call('HMGET', KEYS[1], 'gid', 'clock', 'wall', 'cap')
if not g[1] then return {'NONE'} end
local time = redis.call('TIME')
local wall = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
-- Nobody can be asked to come back here, so all of the gap counts: a member that is alive renews within it.
local now = tonumber(g[2]) + math.max(0, wall - tonumber(g[3]))
local live = redis.call('ZCOUNT', KEYS[2], '(' .. string.format('%.0f', now), '+inf')
if live > 0 then return {'ACTIVE', live} end
redis.call('HSET', KEYS[1], 'phase', 'deleting')
return {'DELETING'}
