#!lua flags=no-writes
-- rights: which of these commands may the caller run? Asks without running any, and needs no right
-- but EVAL. Called by EVAL, with no key: the keys among the words are only asked about.
--
-- ARGV: for each command, the number of its words, then the words.
-- Answer: for each, 1: it may, 0: it may not, or this server has no such command.

local answer, at = {}, 1
while at <= #ARGV do
    local n = tonumber(ARGV[at])
    local known, may = pcall(redis.acl_check_cmd, unpack(ARGV, at + 1, at + n))
    answer[#answer + 1] = known and may and 1 or 0
    at = at + n + 1
end
return answer
