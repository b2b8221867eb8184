#!lua flags=allow-oom
-- group_sync: the whole coordinator of a group. Each member calls it to join, as its heartbeat, to hand
-- partitions back, and to leave; whoever calls also expires the dead and gives free partitions away.
--
-- KEYS  1 meta   2 group   3 leases   4 parts
-- ARGV  1 incarnation of the stream   2 the group's id   3 'join' | 'beat' | 'leave'   4 member
--       5 nonce of this very consumer   6 session timeout, ms   7 version of the assignment it knows, 0: none
--       8 host   9 lowest epoch that may be given next (0: any)   10 wake channel without the member
--       11.. partitions handed back, "partition:epoch"
-- Returns {'OK', version, ms until somebody else's lease may run out or -1, members,
--          {partition, epoch, 'keep' | 'give', ...} or nil where the version is the one it knows}
--         {'UNKNOWN'}     not a member (expired): join again; its partitions are gone
--         {'REPLACED'}    another consumer took this member's name
--         {'LOST', what}  the stream or the group is missing, or another incarnation
--         {'GONE', what}  it was deleted
--         {'DAMAGED', what}  what is stored of the group makes no sense; next to nothing was changed
-- Keeps  each partition has at most one owner; owner and target differ only while it moves, and it is
--        given to its target only once its owner has handed it back or has expired; every grant has a
--        new epoch, larger than all before; targets are balanced over the live members (sizes differ
--        by at most one) with as few moves as can be.
--
-- Time. Leases are deadlines on the group's own clock: it advances with the server's, but never back, and
-- never by more than `cap` between two calls. A step of the server's clock, or a pause of it, thus
-- expires nobody who comes back at once; a dead member is still found in time, since the living call
-- at least every quarter of their session timeout, and more often where somebody's is much shorter
-- than theirs; `cap` is half of the shortest.
--
-- Damage. What is stored was written by nobody but the group's scripts, but anybody can write over it. It is looked at
-- before anything is written, and before it is counted with.
--
-- Cost. With nothing changed: seven commands, which read and renew one lease, O(log members). They are most of that
-- call's time, so it has none that it can do without. A change of membership reads every partition and member once.
--
-- group hash: gid phase start format epoch life used clock wall cap, m:<member> = "nonce|timeout|version|host"
-- leases: member by deadline. parts: <partition> = "owner|epoch|target", '' for nobody.

local meta, group, leases, parts = unpack(KEYS)
local inc, gid, op, me, nonce = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local timeout, seen, host, floor, channel = tonumber(ARGV[6]), ARGV[7], ARGV[8], tonumber(ARGV[9]), ARGV[10]

local function n2s(n) return string.format('%.0f', n) end

-- An error of a command: of a key that holds something else, it is the group's.
local function refused(r, what) return string.find(r.err, 'WRONGTYPE', 1, true) and {'DAMAGED', what} or r end

local m = redis.call('HMGET', meta, 'inc', 'phase')
if not m[1] or m[2] == 'deleting' then return {'GONE', 'stream'} end
if m[1] ~= inc then return {'LOST', 'stream'} end
local g = redis.pcall('HMGET', group, 'gid', 'phase', 'epoch', 'clock', 'wall', 'cap', 'm:' .. me)
if g.err then return refused(g, 'its hash is of another type') end
if not g[1] or g[2] == 'deleting' then return {'GONE', 'group'} end
if g[1] ~= gid then return {'LOST', 'group'} end
local epoch, clock, last, cap = tonumber(g[3]), tonumber(g[4]), tonumber(g[5]), tonumber(g[6])
if not (epoch and clock and last and cap and math.abs(epoch + clock + last + cap) < 2 ^ 54) then
    for i, name in ipairs({'epoch', 'clock', 'wall'}) do
        local n = tonumber(g[i + 2])
        if not n or not (math.abs(n) < 2 ^ 53) then return {'DAMAGED', 'its ' .. name .. ' is no number'} end
    end
    return {'DAMAGED', 'its cap is no number'}
end

local time = redis.call('TIME')
local wall = time[1] * 1000 + math.floor(time[2] / 1000)
local now = clock + math.min(math.max(0, wall - last), cap)

-- Until somebody else's lease may run out, ms. 0: one has; -1: there is nobody else.
local function due(members)
    if members == 1 then return -1 end
    local first = redis.call('ZRANGE', leases, '0', '0', 'WITHSCORES')
    if first[1] == me then first = redis.call('ZRANGE', leases, '1', '1', 'WITHSCORES') end
    -- The clock advances by `cap` a call at most: whoever waits for a lease to end has to call that often.
    return math.min(math.max(0, first[2] - now), math.max(1, math.floor(cap - 20)))
end

-- The usual call comes from a member that is stored as it says, and knows its list; it hands nothing back, has a
-- lease, and finds nobody dead. It is answered here, before what only the others need is read, or so much as
-- defined. (Numbers are put into a command by the server, in all their digits, for less than by n2s.)
local missing = false
if op == 'beat' and #ARGV == 10 and floor <= epoch and
        g[7] == nonce .. '|' .. ARGV[6] .. '|' .. seen .. '|' .. host then
    local added = redis.pcall('ZADD', leases, now + timeout, me)
    if type(added) == 'table' then return refused(added, 'its leases are of another type') end
    missing = added == 1
    local members = redis.call('ZCARD', leases)
    local wait = due(members)
    if wait ~= 0 and not missing then
        redis.call('HSET', group, 'clock', now, 'wall', wall)
        return {'OK', seen, n2s(wait), members}
    end
end

-- Both: nil where it makes no sense.
local function unpack_member(text)
    local n, t, v, h = string.match(text, '^([^|]*)|(%d+)|(%d+)|(.*)$')
    return n and {nonce = n, timeout = tonumber(t), version = tonumber(v), host = h}
end

local function unpack_part(text)
    if not text then return {owner = '', epoch = 0, target = ''} end
    local o, e, t = string.match(text, '^([^|]*)|(%d+)|(.*)$')
    return o and {owner = o, epoch = tonumber(e), target = t}
end

local NO_MEMBER = {'DAMAGED', 'what it knows of a member makes no sense'}
local NO_PART = {'DAMAGED', 'what it knows of a partition makes no sense'}
local self = g[7] and unpack_member(g[7]) or nil
if g[7] and not self then return NO_MEMBER end
if op ~= 'join' then
    if not self then return {'UNKNOWN'} end
    if self.nonce ~= nonce then return {'REPLACED'} end
end

-- Read before anything is written: an error rolls nothing back.
local partitions = tonumber(redis.call('HGET', meta, 'partitions'))
local more = redis.call('HMGET', group, 'used', 'life')
if not partitions then return {'LOST', 'stream'} end
epoch = math.max(epoch, floor)

-- Everyone, and every partition, as they are stored; nil where one makes no sense.
local function read_members()
    local flat, known = redis.call('HGETALL', group), {}
    for i = 1, #flat, 2 do
        if string.sub(flat[i], 1, 2) == 'm:' then
            local member = unpack_member(flat[i + 1])
            if not member then return nil end
            known[string.sub(flat[i], 3)] = member
        end
    end
    return known
end

local function read_parts()
    local flat, all = redis.call('HGETALL', parts), {}
    for i = 1, #flat, 2 do
        local p, part = tonumber(flat[i]), unpack_part(flat[i + 1])
        if not p or not part then return nil end
        all[p] = part
    end
    for p = 0, partitions - 1 do all[p] = all[p] or unpack_part(nil) end
    return all
end

local dead = redis.pcall('ZRANGEBYSCORE', leases, '-inf', n2s(now))
if dead.err then return refused(dead, 'its leases are of another type') end
local kind = redis.call('TYPE', parts).ok
if kind ~= 'hash' and kind ~= 'none' then return {'DAMAGED', 'its parts are of another type'} end
local all, members
if op ~= 'beat' or #dead > 1 or dead[1] and dead[1] ~= me then
    all, members = read_parts(), read_members()
    if not all then return NO_PART end
    if not members then return NO_MEMBER end
end
local released = {}
for i = 11, #ARGV do
    local p, e = string.match(ARGV[i], '^(%d+):(%d+)$')
    if p and tonumber(p) < partitions then
        p = tonumber(p)
        local part = all and all[p] or unpack_part(redis.call('HGET', parts, n2s(p)))
        if not part then return NO_PART end
        released[#released + 1] = {p, tonumber(e), part}
    end
end

-- A member that expired can be one again without knowing it, by a copy of its join that a dead connection still
-- held. Were its versions to begin anew, it could be at the one it knows already, and never hear of its new list.
local used = tonumber(more[1] or '0')
if not used then return {'DAMAGED', 'its used is no number'} end
local function remove(name, member)
    used = math.max(used, member and member.version or 0)
    members[name] = nil
    redis.call('ZREM', leases, name)
    redis.call('HDEL', group, 'm:' .. name)
end

-- What this call changed, written at the end: partitions, and members to tell (a new version each).
local changed, told = {}, {}

-- A server that was restarted or promoted may have lost grants, whose owners still hold them. What it gives from
-- then on is past all that were given in its life before: its number is the time, as an era's is.
local life = more[2]
local function new_life()
    life = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)') or 'unknown'
    if life == more[2] then return end
    if more[2] then epoch = math.max(epoch, wall) end
    redis.call('HSET', group, 'life', life)
end

local asked = false
local function give(p, part)
    if not asked then new_life() end
    asked = true
    epoch = epoch + 1
    part.owner, part.epoch = part.target, epoch
    changed[p], told[part.target] = part, true
end

-- Everyone's partitions: who holds each now (a live owner, else a live target), cut to the quota.
local function balance()
    local held, names = {}, {}
    for name in pairs(members) do names[#names + 1], held[name] = name, {} end
    local free = {}
    for p = 0, partitions - 1 do
        local part = all[p]
        local holder = held[part.owner] and part.owner or held[part.target] and part.target
        if holder then
            table.insert(held[holder], p)
        else
            free[#free + 1] = p
        end
    end
    if #names == 0 then return {} end
    table.sort(names, function(a, b)
        if #held[a] ~= #held[b] then return #held[a] > #held[b] end
        return a < b
    end)
    local base, extra = math.floor(partitions / #names), partitions % #names
    local quota, target = {}, {}
    for i, name in ipairs(names) do
        quota[name] = base + (i <= extra and 1 or 0)
        local staying, leaving = {}, {}
        for _, p in ipairs(held[name]) do
            -- What is on its way elsewhere already goes first.
            table.insert(all[p].target == name and staying or leaving, p)
        end
        for _, p in ipairs(leaving) do staying[#staying + 1] = p end
        for k, p in ipairs(staying) do
            if k <= quota[name] then target[p] = name else free[#free + 1] = p end
        end
        quota[name] = quota[name] - math.min(quota[name], #staying)
    end
    table.sort(free)
    local at = 1
    for _, name in ipairs(names) do
        for _ = 1, quota[name] do
            target[free[at]] = name
            at = at + 1
        end
    end
    return target
end

local function rebalance()
    local target = balance()
    for p = 0, partitions - 1 do
        local part, to = all[p], target[p] or ''
        local before_owner, before_target = part.owner, part.target
        if not members[part.owner] then part.owner = '' end
        part.target = to
        if part.owner == '' and to ~= '' then
            give(p, part)
        elseif part.owner ~= before_owner or to ~= before_target then
            changed[p] = part
            -- Who only hears of another target for what it has to give anyway, hears nothing new.
            local owner = part.owner
            if owner ~= '' and (before_target == owner) ~= (to == owner) then told[owner] = true end
        end
    end
    cap = 0
    for _, member in pairs(members) do
        cap = cap == 0 and member.timeout / 2 or math.min(cap, member.timeout / 2)
    end
    redis.call('HSET', group, 'cap', n2s(cap))
end

-- `anew`: the partitions are shared out anew right after this, and given then.
local function hand_back(anew)
    for _, back in ipairs(released) do
        local p, part = back[1], back[3]
        if part.owner == me and part.epoch == back[2] then
            part.owner, changed[p] = '', part
            if part.target ~= '' and not anew then give(p, part) end
        end
    end
end

local function write_parts()
    local flat = {}
    for p, part in pairs(changed) do
        flat[#flat + 1] = n2s(p)
        flat[#flat + 1] = part.owner .. '|' .. n2s(part.epoch) .. '|' .. part.target
        if #flat >= 1000 then
            redis.call('HSET', parts, unpack(flat))
            flat = {}
        end
    end
    if #flat > 0 then redis.call('HSET', parts, unpack(flat)) end
    changed = {}
end

-- 1. The dead: leases that ran out, but never the caller's own, who is plainly alive.
local membership = false
for _, name in ipairs(dead) do
    if name ~= me then
        remove(name, members[name])
        membership = true
    end
end

-- 2. The caller.
if #released > 0 then
    hand_back(membership or op == 'leave')
    write_parts()
end
if op == 'leave' then
    remove(me, self)
    membership, self = true, nil
else
    missing = redis.call('ZADD', leases, n2s(now + timeout), me) == 1 or missing
    if missing and (op == 'beat' or redis.call('ZCARD', leases) == 1) then
        -- Somebody deleted the leases: everyone known gets one, or the dead among them would stay for ever.
        members = members or read_members()
        if not members then return NO_MEMBER end
        for name, member in pairs(members) do
            redis.call('ZADD', leases, 'NX', n2s(now + member.timeout), name)
        end
    end
    if op == 'join' and not (self and self.nonce == nonce) then
        if self then
            -- Replaced: the partitions come to the new consumer of the name, under new epochs.
            redis.pcall('SPUBLISH', channel .. me, 'replaced')
            for p = 0, partitions - 1 do
                local part = all[p]
                if part.owner == me then
                    part.owner, changed[p] = '', part
                    if part.target ~= '' then give(p, part) end
                end
            end
            write_parts()
        end
        self = {nonce = nonce, timeout = timeout, version = (self and self.version or used) + 1, host = host}
        redis.call('HSET', group, 'm:' .. me, nonce .. '|' .. n2s(timeout) .. '|' ..
                   n2s(self.version) .. '|' .. host)
        members[me], membership = self, true
    end
end

-- 3. Who is a member has changed: share the partitions out anew.
if membership then
    rebalance()
    write_parts()
end

-- 4. Tell those who have something to do: a new version for each, and a wake-up now.
for name in pairs(told) do
    local text = redis.call('HGET', group, 'm:' .. name)
    local member = text and unpack_member(text)
    if member then
        member.version = member.version + 1
        if name == me and self then self.version = member.version end
        redis.call('HSET', group, 'm:' .. name, member.nonce .. '|' .. n2s(member.timeout) .. '|' ..
                   n2s(member.version) .. '|' .. member.host)
        if name ~= me then redis.pcall('SPUBLISH', channel .. name, 'sync') end
    end
end
redis.call('HSET', group, 'clock', n2s(now), 'wall', n2s(wall), 'epoch', n2s(epoch),
           'used', n2s(used))
local living = redis.call('ZCARD', leases)
if op == 'leave' then return {'OK', '0', '-1', living} end

local answer = {'OK', n2s(self.version), n2s(due(living)), living}
if n2s(self.version) ~= seen then
    local mine, flat = {}, redis.call('HGETALL', parts)
    for i = 1, #flat, 2 do
        local part = unpack_part(flat[i + 1])
        if not part then return NO_PART end
        if part.owner == me then
            mine[#mine + 1] = flat[i]
            mine[#mine + 1] = n2s(part.epoch)
            mine[#mine + 1] = part.target == me and 'keep' or 'give'
        end
    end
    answer[5] = mine
end
return answer
