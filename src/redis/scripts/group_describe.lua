#!lua flags=no-writes
-- group_describe: who is in a group and what they own, as of now. Writes nothing.
--
-- KEYS  1 meta   2 group   3 leases   4 parts   5 groups
-- ARGV  1 group
-- Returns {'OK', the group's id, partitions, {member, host, session timeout, ms left of its lease ...},
--          {partition, owner, epoch ...}, epoch} or {'NONE', 'stream' | 'group'}
--         {'LOST', 'group'}  it is listed, and its hash is gone
--         {'DAMAGED', what}  what is stored of it makes no sense
local function refused(r, what) return string.find(r.err, 'WRONGTYPE', 1, true) and {'DAMAGED', what} or r end
local m = redis.call('HMGET', KEYS[1], 'inc', 'phase', 'partitions')
if not m[1] or m[2] ~= 'ready' then return {'NONE', 'stream'} end
local g = redis.pcall('HMGET', KEYS[2], 'gid', 'phase', 'clock', 'wall', 'epoch')
if g.err then return refused(g, 'its hash is of another type') end
if not g[1] then
    for _, name in ipairs(redis.call('SMEMBERS', KEYS[5])) do
        if name == ARGV[1] then return {'LOST', 'group'} end
    end
end
if not g[1] or g[2] ~= 'ready' then return {'NONE', 'group'} end
if #g[1] == 0 or #g[1] > 32 then return {'DAMAGED', 'its gid is none'} end
for i, name in ipairs({'clock', 'wall', 'epoch'}) do
    local n = tonumber(g[i + 2])
    if not n or not (math.abs(n) < 2 ^ 53) then return {'DAMAGED', 'its ' .. name .. ' is no number'} end
end
local time = redis.call('TIME')
local wall = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local now = tonumber(g[3]) + math.max(0, wall - tonumber(g[4]))
local members, live = {}, {}
local leases = redis.pcall('ZRANGEBYSCORE', KEYS[3], '(' .. string.format('%.0f', now), '+inf', 'WITHSCORES')
if leases.err then return refused(leases, 'its leases are of another type') end
for i = 1, #leases, 2 do
    local name = leases[i]
    local text = redis.call('HGET', KEYS[2], 'm:' .. name)
    if text then
        live[name] = true
        local timeout, host = string.match(text, '^[^|]*|(%d+)|%d+|(.*)$')
        if not host then return {'DAMAGED', 'what it knows of a member makes no sense'} end
        for _, v in ipairs({name, host, timeout, string.format('%.0f', leases[i + 1] - now)}) do
            members[#members + 1] = v
        end
    end
end
local owners, parts = {}, redis.pcall('HGETALL', KEYS[4])
if parts.err then return refused(parts, 'its parts are of another type') end
for i = 1, #parts, 2 do
    local owner, epoch = string.match(parts[i + 1], '^([^|]*)|(%d+)|')
    if not epoch then return {'DAMAGED', 'what it knows of a partition makes no sense'} end
    owners[#owners + 1] = parts[i]
    owners[#owners + 1] = live[owner] and owner or ''
    owners[#owners + 1] = epoch
end
return {'OK', g[1], m[3], members, owners, g[5]}
