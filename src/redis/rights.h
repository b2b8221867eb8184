/* rights.h - every command that this library and its scripts run, as the server's ACL sees it: the
 * server checks the commands that a script calls as well, as the user who called it. Whoever adds a
 * command anywhere adds it here.
 *
 * Columns: what ACL SETUSER calls it; a call of it that is never made, but asked about: $ stands for
 * a partition's key, @ for the namespace's own, & for a channel; what kind it is; what for.
 *
 *   W  writes: what the server's default user has to be allowed to, for an AOF to bring it back
 *   R  those who only look need it as well
 *   O  we do without, in the way that the text says */
#ifndef SG_REDIS_RIGHTS_H
#define SG_REDIS_RIGHTS_H
#include "core/names.h"
#include "redis/conn.h"

#define SG_RIGHT_MAP(X)                                                                            \
    X("info", "INFO", SG_R, "checks the server at each connect; scripts tell failovers by it")     \
    X("eval", "EVAL 0 1 $", SG_R, "runs scripts that the server does not know yet")                \
    X("evalsha", "EVALSHA 0 1 $", SG_R, "runs scripts")                                            \
    X("time", "TIME", SG_R, "leases and creation times, on the server's clock")                    \
    X("multi", "MULTI", 0, "appends messages")                                                     \
    X("exec", "EXEC", 0, "appends messages")                                                       \
    X("xadd", "XADD $ * f v", SG_W, "appends messages")                                            \
    X("xsetid", "XSETID $ 0-1", SG_W, "appends messages: seals the log")                           \
    X("xtrim", "XTRIM $ MINID 0", SG_W, "drops what is past a stream's bound")                     \
    X("xdel", "XDEL $ 0-1", SG_W, "takes out entries that are not ours")                           \
    X("xrange", "XRANGE $ - +", SG_R, "looks for an offset, a time, a dead letter")                \
    X("xread", "XREAD STREAMS $ 0", SG_R, "reads messages")                                        \
    X("xlen", "XLEN $", SG_R, "checks that a log is one")                                          \
    X("xinfo|stream", "XINFO STREAM $", 0, "mends a log")                                          \
    X("xgroup|create", "XGROUP CREATE $ g 0", SG_W, "creates logs, and what shows a group's lag")  \
    X("xgroup|setid", "XGROUP SETID $ g 0", SG_W, "shows a group's lag to other tools")            \
    X("xgroup|destroy", "XGROUP DESTROY $ g", SG_W, "creates logs, deletes groups")                \
    X("hget", "HGET $ f", SG_R, "reads states")                                                    \
    X("hmget", "HMGET $ f", SG_R, "reads settings and states")                                     \
    X("hgetall", "HGETALL $", SG_R, "reads the state of groups")                                   \
    X("hvals", "HVALS $", SG_R, "counts who owns a partition, in the list of groups")              \
    X("hset", "HSET $ f v", SG_W, "writes settings and states")                                    \
    X("hdel", "HDEL $ f", SG_W, "forgets members, producers and cursors")                          \
    X("hincrby", "HINCRBY $ f 1", SG_W, "counts producers")                                        \
    X("zadd", "ZADD $ 1 m", SG_W, "writes leases and committed offsets")                           \
    X("zcard", "ZCARD $", 0, "counts members")                                                     \
    X("zcount", "ZCOUNT $ 0 1", 0, "counts live members, to delete or move a group")               \
    X("zrange", "ZRANGE $ 0 0", 0, "finds the slowest group")                                      \
    X("zrangebyscore", "ZRANGEBYSCORE $ 0 1", SG_R, "finds live and dead members")                 \
    X("zrem", "ZREM $ m", SG_W, "ends leases, deletes cursors")                                    \
    X("zremrangebylex", "ZREMRANGEBYLEX $ [a [b", SG_W, "forgets outputs of acknowledged inputs")  \
    X("zscore", "ZSCORE $ m", SG_R, "reads committed offsets")                                     \
    X("zmscore", "ZMSCORE $ m", SG_R, "reads committed offsets, in the list of groups")            \
    X("scard", "SCARD $", SG_R, "counts groups, in the list of streams")                           \
    X("sadd", "SADD @ m", SG_W, "lists a new stream")                                              \
    X("srem", "SREM @ m", SG_W, "takes a deleted stream from the list")                            \
    X("smembers", "SMEMBERS @", SG_R, "lists streams and groups")                                  \
    X("sismember", "SISMEMBER $ m", 0, "deletes groups whose state was lost")                      \
    X("exists", "EXISTS $", SG_R, "looks whether a part was lost")                                 \
    X("type", "TYPE $", 0, "creates and deletes partitions")                                       \
    X("unlink", "UNLINK $", SG_W, "deletes streams and groups")                                    \
    X("spublish", "SPUBLISH & m", SG_O, "wakes members: without, partitions move late")            \
    X("ssubscribe", "SSUBSCRIBE &", SG_O, "is woken: without, partitions move late")               \
    X("sunsubscribe", "SUNSUBSCRIBE &", SG_O, "the end of being woken")                            \
    X("ping", "PING", SG_R | SG_O, "hears whether a silent server is there")                       \
    X("select", "SELECT 0", SG_R | SG_O, "uses another database than 0")                           \
    X("client|setname", "CLIENT SETNAME n", SG_R | SG_O, "shows in CLIENT LIST what is what")      \
    X("client|id", "CLIENT ID", SG_R | SG_O, "cuts a waiting read short: without, it waits on")    \
    X("client|unblock", "CLIENT UNBLOCK 0", SG_O,                                                  \
      "cuts a waiting read short: without, it waits on")                                           \
    X("acl|whoami", "ACL WHOAMI", SG_R | SG_O, "tells operators who they are")                     \
    X("acl|dryrun", "ACL DRYRUN u PING", SG_R | SG_O,                                              \
      "sees at connect that an AOF would not bring back our writes")

#define SG_W 1u
#define SG_R 2u
#define SG_O 4u

/* The keys and the channels that the commands are run on: the rights behind those. */
enum { SG_RIGHT_NAMESPACE, SG_RIGHT_PARTITIONS, SG_RIGHT_CHANNELS, SG_RIGHT_PATTERNS };

extern const size_t sg_right_commands;
const char *sg_right_name(size_t i); /* "+xgroup|create" */
const char *sg_right_purpose(size_t i);
unsigned sg_right_kind(size_t i);

/* "~sg:{NS}:*" and its like, with an end. Of the bytes of names, braces and slashes none is special in
 * an ACL's pattern, and "sg:{a/" begins no key of the namespace "ab". */
#define SG_PATTERN_MAX (SG_NAME_MAX + 24)
void sg_right_pattern(char out[SG_PATTERN_MAX], int pattern, const char *ns);

/* ---- Asking --------------------------------------------------------------------------------- */

/* What is known of each command: as it is called, on our keys, and the command alone. */
typedef struct sg_right_answer {
    seg_known whole, bare;
} sg_right_answer;

/* Ask by a script, which needs no right but EVAL. */
bool sg_rights_send(sg_conn *c, const char *ns, sg_result_fn *fn, void *arg);
/* False: that is no such answer. */
bool sg_rights_read(const sg_reply *reply, sg_right_answer *out);
/* Ask for one command and user, which needs the right to ACL DRYRUN. */
bool sg_right_dryrun_send(sg_conn *c, const char *ns, const char *user, size_t i, sg_result_fn *fn,
                          void *arg);
sg_right_answer sg_right_dryrun_read(const sg_reply *reply);

/* Of commands to rights: the commands alone, then the patterns, into sg_right_commands +
 * SG_RIGHT_PATTERNS places. */
void sg_rights_judge(const sg_right_answer *answers, seg_known *out);
#endif
