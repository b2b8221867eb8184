/* scripts_rig.h - the server-side scripts called raw, one by one, without the library's engine.
 *
 *     raw r;
 *     raw_start(&r);
 *     raw_create_stream(&r, 1, 100, "block");
 *     CHECK_STR(raw_append(&r, (raw_batch){.first = 1, .n = 3}), "[OK 0] 1-2");
 *     CHECK_STR(raw_cmd(&r, "HGET %s next", RAW_KEY(&r, 'S')), "3");
 *     raw_stop(&r);
 *
 * An answer is a line of text: elements with a space between them, a nested array in brackets, nil
 * as "nil", an error as "-" and its text. It is valid for the next 15 answers. */
#ifndef SG_TEST_SCRIPTS_RIG_H
#define SG_TEST_SCRIPTS_RIG_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/names.h"
#include "server.h"

#define RAW_NS     "ns"
#define RAW_STREAM "s"
#define RAW_INC    "0123456789abcdef0123456789abcdef"
#define RAW_GID    "fedcba9876543210fedcba9876543210"
/* What XADD answers behind a guard that has forbidden it. */
#define RAW_SEALED  "-ERR The stream has exhausted the last possible ID, unable to add more items"
#define RAW_LAST_ID "18446744073709551615-18446744073709551615"

typedef struct raw {
    server *server;
    redisContext *c;
    const char *group; /* "g" */
    uint32_t partition;
    bool whole; /* send EVAL with the body instead of EVALSHA */
} raw;

void raw_start(raw *r);
void raw_start_with(raw *r, const char *const extra_args[]);
void raw_stop(raw *r);
/* The same stream and server on a connection of its own; to be closed with redisFree(other.c). */
raw raw_other(const raw *r);

/* m meta, G groups, g group, l leases, p parts; S state, L log, C cursors, K committed, F forwards;
 * w the wake channel without the member. */
sg_key raw_key(const raw *r, char which);
#define RAW_KEY(r, which) (raw_key(r, which).text)

/* Any command, in hiredis' format. */
const char *raw_cmd(const raw *r, const char *format, ...);
redisReply *raw_cmd_reply(const raw *r, const char *format, ...);
/* The reply as a line; frees it. */
const char *raw_text(redisReply *reply);
/* snprintf into the same ring of lines. */
const char *raw_line(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* An integer field of a hash; -1 where it is missing. */
long long raw_number(const raw *r, char which, const char *field);

/* A script with its keys and the arguments given, up to NULL: EVALSHA,
 * loaded where the server does not know it. */
const char *raw_call(const raw *r, const char *script, ...);
redisReply *raw_call_argv(const raw *r, const char *script, size_t n, const char *const args[]);

/* stream_create, each partition_create, stream_ready; under the incarnation RAW_INC. */
void raw_create_stream(const raw *r, uint32_t partitions, uint64_t bound, const char *policy);
/* group_open, cursor_create in every partition, group_ready; under the id RAW_GID. */
void raw_create_group(const raw *r, uint32_t partitions, const char *start);

typedef struct raw_batch {
    uint64_t first, n;
    const char *inc, *pid; /* RAW_INC, "p1" */
    uint64_t era, gen;     /* 1, 1 */
    bool by_digest;        /* the guard as EVALSHA, whether the server knows it or not */
} raw_batch;
/* MULTI, the guard, XADD, XSETID, EXEC: what EXEC answers, without the XSETID's. The payload is
 * "pid gen first n". */
const char *raw_append(const raw *r, raw_batch b);
typedef struct raw_output {
    const char *input;
    uint64_t epoch, base, offset;
    uint32_t index, crc;
} raw_output;
/* The same with the guard append_forward and `from`, b.n of them. The payload also has
 * " input/offset/index;" of each. */
const char *raw_forward(const raw *r, raw_batch b, const raw_output *from);
/* All of that but the EXEC, queued; `from` is NULL for a plain append. */
void raw_queue(const raw *r, raw_batch b, const raw_output *from);
/* The guard alone with n = 0. */
const char *raw_probe(const raw *r);
/* The guard alone, for an append. */
const char *raw_guard(const raw *r, raw_batch b);
const char *raw_forward_guard(const raw *r, raw_batch b, const raw_output *from);

/* The state's fields, the log's entries, the forwards, as one text: free(). */
char *raw_contents(const raw *r);
/* They are still those of `before`. */
void raw_check_contents(const raw *r, const char *before);

/* By hand: the log's last ID is again that of its last entry, so that anybody's XADD passes. */
void raw_unseal(const raw *r);
/* Somebody's own entry, with one field: the log is opened for it by hand. */
void raw_stray(const raw *r, const char *id, const char *field, const char *value);

/* The log and the state say the same: dense offsets up to next, nothing of anybody else, nothing
 * before the first retained but what shares its entry; entries-added. And the log is sealed. */
void raw_check_log(const raw *r);
void raw_check_sealed(const raw *r);
/* The server knows neither guard; then an append by either's digest leaves no trace. */
void raw_check_unguarded(const raw *r);
/* A field of XINFO STREAM log. */
const char *raw_log_info(const raw *r, const char *field);
/* A field of the native group's line in XINFO GROUPS; "none" without such a group. */
const char *raw_group_info(const raw *r, const char *group, const char *field);

#endif
