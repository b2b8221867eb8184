#!lua flags=allow-oom
-- group_delete: begin (or continue) the deletion of a group that has no live member. The caller removes the
-- cursors (cursor_delete) and then the group's own keys (group_drop).
--
-- KEYS  1 groups   2 group   3 leases
-- ARGV  1 group
-- Returns {'DELETING', the group's id} or {'NONE'} or {'ACTIVE', members}
-- Of one that is so damaged that nobody can tell whether it has a live member, it has none: its members end anyway, and
-- deleting it is the only way to repair it.
local g = redis.pcall('HMGET', KEYS[2], 'gid', 'clock', 'wall')
if g.err then
    if not string.find(g.err, 'WRONGTYPE', 1, true) then return g end
    return {'DELETING', 'lost'}
end
if not g[1] then
    -- Its state was lost, but it is listed: nobody can create it now, so every cursor of that name may go.
    return redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 1 and {'DELETING', 'lost'} or {'NONE'}
end
local time = redis.call('TIME')
local wall = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
-- Nobody can be asked to come back here, so all of the gap counts: a member that is alive renews within it.
local clock, last = tonumber(g[2]), tonumber(g[3])
if clock and last and math.abs(clock + last) < 2 ^ 54 then
    local now = clock + math.max(0, wall - last)
    local live = redis.pcall('ZCOUNT', KEYS[3], '(' .. string.format('%.0f', now), '+inf')
    if type(live) == 'table' then
        if not string.find(live.err, 'WRONGTYPE', 1, true) then return live end
    elseif live > 0 then
        return {'ACTIVE', live}
    end
end
-- An id that no group has would be another's to whoever is answered a part of it.
local gid = #g[1] > 0 and #g[1] <= 32 and g[1] or 'lost'
redis.call('HSET', KEYS[2], 'phase', 'deleting', 'gid', gid)
return {'DELETING', gid}
