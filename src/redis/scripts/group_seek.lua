#!lua flags=allow-oom
-- group_seek: the coordinator's part in moving a group. 'begin', then cursor_seek for each partition in its own
-- slot, then 'finish'.
--
-- KEYS  1 meta   2 group   3 leases   4 parts
-- ARGV  1 incarnation of the stream   2 the group's id   3 'begin' | 'finish'
--       4 begin: '1': also while the group has live members   5 lowest epoch that may be given next (0: any)
--       6 wake channel without the member
--       7.. finish: the partitions that were moved, each as "partition:epoch", with the epoch of its cursor_seek
-- Returns {'OK', epoch}        begin: for cursor_seek, larger than every epoch granted so far
--                              finish: the largest granted now
--         {'ACTIVE', members}  begin: live members; nothing was changed
--         {'LOST', what}, {'GONE', what}, {'DAMAGED', what}   as group_sync
-- Keeps  every grant has a new epoch, larger than all before; owners and targets stay who they are.
--
--   begin         epoch 7 is taken; no member has it        owner of 0: a, under 5
--   cursor_seek   the cursor of 0 has epoch 7, and moves    a's commits are refused from now on
--   finish        0 is granted to a anew, under 8           a is woken, drops what it holds, begins with 8
--
-- Every step may be repeated. Begin again: another epoch is taken, the one before is never used. Finish again: a
-- grant that is later than the move already is let be, so nobody is disturbed twice.
-- Should the caller die after begin: nothing has happened but that a number is gone. After some cursors were moved:
-- those have moved. Their owners learn it with their next commit (FENCED), hand the partition back, and get it again
-- under an epoch above: finish only spares them the wait. Who joins in between is granted epochs above that of begin:
-- it begins at the new place, or, if it comes before the move, the move finds its epoch (STALE) and is begun again.
local meta, group, leases, parts = unpack(KEYS)
local inc, gid, op, force, floor, channel = unpack(ARGV)

local function n2s(n) return string.format('%.0f', n) end
local function refused(r, what) return string.find(r.err, 'WRONGTYPE', 1, true) and {'DAMAGED', what} or r end

local m = redis.call('HMGET', meta, 'inc', 'phase')
if not m[1] or m[2] == 'deleting' then return {'GONE', 'stream'} end
if m[1] ~= inc then return {'LOST', 'stream'} end
local g = redis.pcall('HMGET', group, 'gid', 'phase', 'epoch', 'clock', 'wall', 'life')
if g.err then return refused(g, 'its hash is of another type') end
if not g[1] or g[2] == 'deleting' then return {'GONE', 'group'} end
if g[1] ~= gid then return {'LOST', 'group'} end
for i, name in ipairs({'epoch', 'clock', 'wall'}) do
    local n = tonumber(g[i + 2])
    if not n or not (math.abs(n) < 2 ^ 53) then return {'DAMAGED', 'its ' .. name .. ' is no number'} end
end
local epoch = math.max(tonumber(g[3]), tonumber(floor))
local time = redis.call('TIME')
local wall = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

-- As in group_sync: what another life of the server gives is past all that was given before, and maybe lost.
local function new_life()
    local life = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)') or 'unknown'
    if life == g[6] then return end
    if g[6] then epoch = math.max(epoch, wall) end
    redis.call('HSET', group, 'life', life)
end

if op == 'begin' then
    if force ~= '1' then
        -- As in group_delete: a member that is alive renews within the gap.
        local now = tonumber(g[4]) + math.max(0, wall - tonumber(g[5]))
        local live = redis.pcall('ZCOUNT', leases, '(' .. n2s(now), '+inf')
        if type(live) == 'table' then return refused(live, 'its leases are of another type') end
        if live > 0 then return {'ACTIVE', live} end
    end
    new_life()
    redis.call('HSET', group, 'epoch', n2s(epoch + 1))
    return {'OK', n2s(epoch + 1)}
end

-- Read before anything is written: an error rolls nothing back.
local moved = {}
for i = 7, #ARGV do
    local p, e = string.match(ARGV[i], '^(%d+):(%d+)$')
    if p then
        moved[p] = tonumber(e)
        epoch = math.max(epoch, moved[p]) -- a failover may have lost what begin took
    end
end
local stale, told = {}, {}
local all = redis.pcall('HGETALL', parts)
if all.err then return refused(all, 'its parts are of another type') end
for i = 1, #all, 2 do
    local owner, e, target = string.match(all[i + 1], '^([^|]*)|(%d+)|(.*)$')
    if not owner then return {'DAMAGED', 'what it knows of a partition makes no sense'} end
    local since = moved[all[i]]
    if since and owner ~= '' and tonumber(e) <= since then
        stale[#stale + 1] = {all[i], owner, target}
        told[owner] = redis.call('HGET', group, 'm:' .. owner)
    end
end

-- In order, so that a replay of the same call gives the same epochs.
table.sort(stale, function(a, b) return tonumber(a[1]) < tonumber(b[1]) end)
local flat = {}
if #stale > 0 then new_life() end
for _, part in ipairs(stale) do
    epoch = epoch + 1
    flat[#flat + 1] = part[1]
    flat[#flat + 1] = part[2] .. '|' .. n2s(epoch) .. '|' .. part[3]
    if #flat >= 1000 then
        redis.call('HSET', parts, unpack(flat))
        flat = {}
    end
end
if #flat > 0 then redis.call('HSET', parts, unpack(flat)) end
redis.call('HSET', group, 'epoch', n2s(epoch))
for name, text in pairs(told) do
    local nonce, timeout, version, host = string.match(text or '', '^([^|]*)|(%d+)|(%d+)|(.*)$')
    if nonce then
        redis.call('HSET', group, 'm:' .. name, nonce .. '|' .. timeout .. '|' ..
                   n2s(tonumber(version) + 1) .. '|' .. host)
        redis.pcall('SPUBLISH', channel .. name, 'sync')
    end
end
return {'OK', n2s(epoch)}
