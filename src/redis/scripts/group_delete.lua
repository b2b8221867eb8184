#!lua flags=allow-oom
-- group_delete: begin (or continue) the deletion of a group that has no live member. The caller removes the
-- cursors (cursor_delete) and then the group's own keys (group_drop).
--
-- KEYS  1 groups   2 group   3 leases
-- ARGV  1 group
-- Returns {'DELETING', the group's id} or {'NONE'} or {'ACTIVE', members}
local g = redis.call('HMGET', KEYS[2], 'gid', 'clock', 'wall', 'cap')
if not g[1] then
    -- Its state was lost, but it is listed: nobody can create it now, so every cursor of that name may go.
    return redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 1 and {'DELETING', 'lost'} or {'NONE'}
end
local time = redis.call('TIME')
local wall = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
-- Nobody can be asked to come back here, so all of the gap counts: a member that is alive renews within it.
local now = tonumber(g[2]) + math.max(0, wall - tonumber(g[3]))
local live = redis.call('ZCOUNT', KEYS[3], '(' .. string.format('%.0f', now), '+inf')
if live > 0 then return {'ACTIVE', live} end
redis.call('HSET', KEYS[2], 'phase', 'deleting')
return {'DELETING', g[1]}
