#include "redis/ops_facts.h"

/* One command of `n` words. */
static bool ask(sg_conn *c, const char *const *words, size_t n, sg_result_fn *fn, void *arg) {
    sg_conn_begin(c);
    sg_conn_command(c, n);
    for (size_t i = 0; i < n; i++)
        sg_conn_arg_str(c, words[i]);
    return sg_conn_end(c, fn, arg, 0);
}

bool sg_ping_send(sg_conn *c, sg_result_fn *fn, void *arg) {
    return ask(c, (const char *const[]){"PING"}, 1, fn, arg);
}

bool sg_time_send(sg_conn *c, sg_result_fn *fn, void *arg) {
    return ask(c, (const char *const[]){"TIME"}, 1, fn, arg);
}

bool sg_time_read(const sg_reply *reply, int64_t *us) {
    uint64_t s, part;
    if (sg_reply_count(reply) != 2 || !sg_reply_u64(sg_reply_at(reply, 0), &s) ||
        !sg_reply_u64(sg_reply_at(reply, 1), &part) || s > INT64_MAX / 2000000 || part > 999999)
        return false;
    *us = (int64_t)(s * 1000000 + part);
    return true;
}

bool sg_info_send(sg_conn *c, bool all, sg_result_fn *fn, void *arg) {
    return ask(c, (const char *const[]){"INFO", "all"}, all ? 2 : 1, fn, arg);
}

bool sg_config_send(sg_conn *c, sg_result_fn *fn, void *arg) {
    static const char *const words[] = {"CONFIG",
                                        "GET",
                                        "acl-pubsub-default",
                                        "aof-load-truncated",
                                        "appendfsync",
                                        "appendonly",
                                        "busy-reply-threshold",
                                        "client-output-buffer-limit",
                                        "client-query-buffer-limit",
                                        "cluster-enabled",
                                        "databases",
                                        "hash-max-listpack-entries",
                                        "hash-max-listpack-value",
                                        "io-threads",
                                        "latency-monitor-threshold",
                                        "lua-time-limit",
                                        "maxclients",
                                        "maxmemory",
                                        "maxmemory-clients",
                                        "maxmemory-policy",
                                        "min-replicas-max-lag",
                                        "min-replicas-to-write",
                                        "no-appendfsync-on-rewrite",
                                        "proto-max-bulk-len",
                                        "repl-backlog-size",
                                        "save",
                                        "stop-writes-on-bgsave-error",
                                        "stream-node-max-bytes",
                                        "stream-node-max-entries",
                                        "tcp-keepalive",
                                        "timeout"};
    return ask(c, words, sizeof words / sizeof *words, fn, arg);
}

bool sg_whoami_send(sg_conn *c, sg_result_fn *fn, void *arg) {
    return ask(c, (const char *const[]){"ACL", "WHOAMI"}, 2, fn, arg);
}
