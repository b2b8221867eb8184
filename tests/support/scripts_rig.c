#include "scripts_rig.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "redis/script_text.h"
#include "test.h"

enum { LINES = 16, ARGS_MAX = 8192 };

/* ---- lines -------------------------------------------------------------------------------- */

/* The ring: each line stays until LINES more were asked for. */
static char **new_line(void) {
    static char *lines[LINES];
    static size_t at;
    char **line = &lines[at++ % LINES];
    free(*line);
    *line = NULL;
    return line;
}

const char *raw_line(const char *format, ...) {
    char text[4096];
    char **line = new_line();
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    *line = strdup(text);
    CHECK(*line != NULL);
    return *line;
}

static void render(FILE *out, const redisReply *r) {
    switch (r->type) {
    case REDIS_REPLY_INTEGER:
        fprintf(out, "%lld", r->integer);
        break;
    case REDIS_REPLY_NIL:
        fputs("nil", out);
        break;
    case REDIS_REPLY_ARRAY:
        for (size_t i = 0; i < r->elements; i++) {
            bool nested = r->element[i]->type == REDIS_REPLY_ARRAY;
            fputs(i > 0 ? nested ? " [" : " " : nested ? "[" : "", out);
            render(out, r->element[i]);
            fputs(nested ? "]" : "", out);
        }
        break;
    case REDIS_REPLY_ERROR:
        fputc('-', out);
        /* fallthrough */
    default:
        fwrite(r->str, 1, (size_t)r->len, out);
    }
}

const char *raw_text(redisReply *reply) {
    char **line = new_line();
    size_t len = 0;
    CHECK(reply != NULL);
    FILE *out = open_memstream(line, &len);
    CHECK(out != NULL);
    render(out, reply);
    fclose(out);
    freeReplyObject(reply);
    return *line;
}

/* ---- the server --------------------------------------------------------------------------- */

void raw_start_with(raw *r, const char *const extra_args[]) {
    server *s = server_start(extra_args);
    *r = (raw){.server = s, .c = server_connect(s), .group = "g"};
}

void raw_start(raw *r) {
    raw_start_with(r, NULL);
}

void raw_stop(raw *r) {
    redisFree(r->c);
    server_stop(r->server);
}

raw raw_other(const raw *r) {
    raw other = *r;
    other.c = server_connect(r->server);
    return other;
}

sg_key raw_key(const raw *r, char which) {
    switch (which) {
    case 'm':
        return sg_key_meta(RAW_NS, RAW_STREAM);
    case 'G':
        return sg_key_groups(RAW_NS, RAW_STREAM);
    case 'g':
        return sg_key_group(RAW_NS, RAW_STREAM, r->group);
    case 'l':
        return sg_key_leases(RAW_NS, RAW_STREAM, r->group);
    case 'p':
        return sg_key_parts(RAW_NS, RAW_STREAM, r->group);
    case 'S':
        return sg_key_state(RAW_NS, RAW_STREAM, r->partition);
    case 'L':
        return sg_key_log(RAW_NS, RAW_STREAM, r->partition);
    case 'C':
        return sg_key_cursors(RAW_NS, RAW_STREAM, r->partition);
    case 'K':
        return sg_key_committed(RAW_NS, RAW_STREAM, r->partition);
    case 'F':
        return sg_key_forwards(RAW_NS, RAW_STREAM, r->partition);
    case 'w':
        return sg_key_wake(RAW_NS, RAW_STREAM, r->group, "");
    default:
        FAIL("no key '%c'", which);
    }
}

redisReply *raw_cmd_reply(const raw *r, const char *format, ...) {
    va_list args;
    va_start(args, format);
    redisReply *reply = redisvCommand(r->c, format, args);
    va_end(args);
    if (reply == NULL) {
        FAIL("no answer to \"%s\": %s", format, r->c->errstr);
    }
    return reply;
}

const char *raw_cmd(const raw *r, const char *format, ...) {
    va_list args;
    va_start(args, format);
    redisReply *reply = redisvCommand(r->c, format, args);
    va_end(args);
    if (reply == NULL) {
        FAIL("no answer to \"%s\": %s", format, r->c->errstr);
    }
    return raw_text(reply);
}

long long raw_number(const raw *r, char which, const char *field) {
    const char *text = raw_cmd(r, "HGET %s %s", RAW_KEY(r, which), field);
    return strcmp(text, "nil") == 0 ? -1 : strtoll(text, NULL, 10);
}

/* ---- scripts ------------------------------------------------------------------------------ */

static const struct sg_script_text *text_of(const char *script) {
    for (size_t i = 0; i < sg_script_texts_count; i++) {
        if (strcmp(sg_script_texts[i].name, script) == 0) {
            return &sg_script_texts[i];
        }
    }
    FAIL("no script \"%s\"", script);
}

/* The letters of each script's keys, see raw_key. */
static const struct {
    const char *script, *keys;
} KEYS[] = {
    {"append", "SL"},
    {"append_forward", "SLF"},
    {"cursor_acquire", "SLCK"},
    {"cursor_commit", "SLCK"},
    {"cursor_create", "SLCK"},
    {"cursor_delete", "SLCK"},
    {"cursor_read", "SLCK"},
    {"group_delete", "Ggl"},
    {"group_describe", "mglpG"},
    {"group_summary", "mGglp"},
    {"partition_describe", "SLCK"},
    {"partition_lag", "SLCK"},
    {"group_drop", "Gglp"},
    {"group_open", "mGglp"},
    {"group_ready", "g"},
    {"group_sync", "mglp"},
    {"stream_create", "m"},
    {"stream_delete", "mG"},
    {"stream_drop", "mG"},
    {"stream_ready", "m"},
    {"partition_create", "SLCKF"},
    {"partition_delete", "SLCKF"},
    {"cursor_seek", "SLCK"},
    {"group_seek", "mglp"},
};

static const char *keys_of(const char *script) {
    for (size_t i = 0; i < sizeof KEYS / sizeof *KEYS; i++) {
        if (strcmp(KEYS[i].script, script) == 0) {
            return KEYS[i].keys;
        }
    }
    FAIL("no keys are known of \"%s\"", script);
}

static redisReply *eval(const raw *r, const char *script, bool whole, size_t n,
                        const char *const args[]) {
    const struct sg_script_text *t = text_of(script);
    const char *letters = keys_of(script);
    const char *argv[ARGS_MAX];
    char count[24];
    sg_key keys[8];
    size_t argc = 0, n_keys = strlen(letters);
    CHECK_LE(n_keys + n + 3, ARGS_MAX);
    snprintf(count, sizeof count, "%zu", n_keys);
    argv[argc++] = whole ? "EVAL" : "EVALSHA";
    argv[argc++] = whole ? t->body : t->sha1;
    argv[argc++] = count;
    for (size_t i = 0; i < n_keys; i++) {
        keys[i] = raw_key(r, letters[i]);
        argv[argc++] = keys[i].text;
    }
    for (size_t i = 0; i < n; i++) {
        argv[argc++] = args[i];
    }
    redisReply *reply = redisCommandArgv(r->c, (int)argc, argv, NULL);
    if (reply == NULL) {
        FAIL("no answer to \"%s\": %s", script, r->c->errstr);
    }
    return reply;
}

redisReply *raw_call_argv(const raw *r, const char *script, size_t n, const char *const args[]) {
    redisReply *reply = eval(r, script, r->whole, n, args);
    if (reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "NOSCRIPT", 8) == 0) {
        freeReplyObject(reply);
        reply = eval(r, script, true, n, args);
    }
    return reply;
}

const char *raw_call(const raw *r, const char *script, ...) {
    const char *args[32];
    size_t n = 0;
    va_list list;
    va_start(list, script);
    for (const char *a; (a = va_arg(list, const char *)) != NULL; args[n++] = a) {
        CHECK_LT(n, sizeof args / sizeof *args);
    }
    va_end(list);
    return raw_text(raw_call_argv(r, script, n, args));
}

void raw_create_stream(const raw *r, uint32_t partitions, uint64_t bound, const char *policy) {
    raw at = *r;
    const char *messages = raw_line("%" PRIu64, bound);
    const char *answer = raw_call(r, "stream_create", RAW_INC, raw_line("%" PRIu32, partitions),
                                  messages, policy, "0", NULL);
    CHECK_EQ(strncmp(answer, "CREATE ", 7), 0);
    raw_cmd(r, "HSET %s inc " RAW_INC, RAW_KEY(r, 'm')); /* not one that the server made up */
    for (at.partition = 0; at.partition < partitions; at.partition++) {
        CHECK_STR(
            raw_call(&at, "partition_create", RAW_INC, raw_line("%" PRIu64, bound), policy, NULL),
            "OK");
    }
    CHECK_STR(raw_call(r, "stream_ready", RAW_INC, NULL), "OK");
}

void raw_create_group(const raw *r, uint32_t partitions, const char *start) {
    raw at = *r;
    const char *answer = raw_call(r, "group_open", RAW_INC, r->group, RAW_GID, start, NULL);
    CHECK_EQ(strncmp(answer, "CREATE ", 7), 0);
    raw_cmd(r, "HSET %s gid " RAW_GID, RAW_KEY(r, 'g'));
    for (at.partition = 0; at.partition < partitions; at.partition++) {
        CHECK_STR(raw_call(&at, "cursor_create", RAW_INC, r->group, RAW_GID, start, NULL), "OK");
    }
    CHECK_STR(raw_call(r, "group_ready", RAW_GID, NULL), "OK");
}

/* ---- append ------------------------------------------------------------------------------- */

static redisReply *next_reply(const raw *r) {
    redisReply *reply = NULL;
    if (redisGetReply(r->c, (void **)&reply) != REDIS_OK) {
        FAIL("no answer to an append: %s", r->c->errstr);
    }
    return reply;
}

/* The arguments of a guard, one after the other. */
typedef struct args {
    char text[1 << 19];
    const char *at[16384];
    size_t n, used;
} args;

__attribute__((format(printf, 2, 3))) static void add(args *a, const char *format, ...) {
    va_list list;
    CHECK_LT(a->n, sizeof a->at / sizeof *a->at);
    a->at[a->n++] = a->text + a->used;
    va_start(list, format);
    a->used += (size_t)vsnprintf(a->text + a->used, sizeof a->text - a->used, format, list) + 1;
    va_end(list);
    CHECK_LT(a->used, sizeof a->text);
}

/* In runs of messages with the same origin. */
static void add_origins(args *a, const raw_output *from, uint64_t n) {
    for (uint64_t i = 0, end; i < n; i = end) {
        end = i + 1;
        while (end < n && strcmp(from[end].input, from[i].input) == 0 &&
               from[end].epoch == from[i].epoch && from[end].base == from[i].base) {
            end++;
        }
        add(a, "%s", from[i].input);
        add(a, "%016" PRIu64, from[i].epoch);
        add(a, "%016" PRIu64, from[i].base);
        add(a, "%" PRIu64, end - i);
        for (uint64_t k = i; k < end; k++) {
            add(a, "%016" PRIu64 ":%010" PRIu32 ":%08" PRIx32, from[k].offset, from[k].index,
                from[k].crc);
        }
    }
}

static const char *pid_of(raw_batch b) {
    return b.pid ? b.pid : "p1";
}

static uint64_t era_of(raw_batch b) {
    return b.era ? b.era : 1;
}

static uint64_t gen_of(raw_batch b) {
    return b.gen ? b.gen : 1;
}

/* The guard's command. `from` is NULL for the plain one. */
static args *guard_of(const raw *r, raw_batch b, const raw_output *from) {
    const struct sg_script_text *t = text_of(from != NULL ? "append_forward" : "append");
    args *a = calloc(1, sizeof *a);
    CHECK(a != NULL);
    add(a, "%s", b.by_digest ? "EVALSHA" : "EVAL");
    add(a, "%s", b.by_digest ? t->sha1 : t->body);
    add(a, "%d", from != NULL ? 3 : 2);
    add(a, "%s", RAW_KEY(r, 'S'));
    add(a, "%s", RAW_KEY(r, 'L'));
    if (from != NULL) {
        add(a, "%s", RAW_KEY(r, 'F'));
    }
    add(a, "%s", b.inc ? b.inc : RAW_INC);
    add(a, "%" PRIu64, era_of(b));
    add(a, "%s", pid_of(b));
    add(a, "%" PRIu64, gen_of(b));
    add(a, "%" PRIu64, b.first);
    add(a, "%" PRIu64, b.n);
    if (from != NULL) {
        add_origins(a, from, b.n);
    }
    return a;
}

/* The transaction but for its EXEC; four answers are to come. */
static void send_append(const raw *r, raw_batch b, const raw_output *from) {
    args *a = guard_of(r, b, from);
    redisAppendCommand(r->c, "MULTI");
    redisAppendCommandArgv(r->c, (int)a->n, a->at, NULL);
    add(a, "%s %" PRIu64 " %" PRIu64 " %" PRIu64, pid_of(b), gen_of(b), b.first, b.n);
    const char *payload = a->at[a->n - 1];
    for (uint64_t i = 0; from != NULL && i < b.n; i++) {
        a->used--; /* on with the payload, in the place of its end */
        add(a, " %s/%" PRIu64 "/%" PRIu32 ";", from[i].input, from[i].offset, from[i].index);
    }
    redisAppendCommand(r->c, "XADD %s NOMKSTREAM %" PRIu64 "-* b %s", RAW_KEY(r, 'L'), era_of(b),
                       payload);
    redisAppendCommand(r->c, "XSETID %s " RAW_LAST_ID, RAW_KEY(r, 'L'));
    free(a);
}

void raw_queue(const raw *r, raw_batch b, const raw_output *from) {
    send_append(r, b, from);
    CHECK_STR(raw_text(next_reply(r)), "OK");
    for (int i = 0; i < 3; i++) {
        CHECK_STR(raw_text(next_reply(r)), "QUEUED");
    }
}

/* What the guard and the XADD answered. What seals may not fail where the XADD did not. */
static const char *append(const raw *r, raw_batch b, const raw_output *from) {
    send_append(r, b, from);
    redisAppendCommand(r->c, "EXEC");
    for (int i = 0; i < 4; i++) {
        freeReplyObject(next_reply(r));
    }
    redisReply *exec = next_reply(r);
    if (exec->type == REDIS_REPLY_ARRAY) {
        CHECK_EQ(exec->elements, 3);
        redisReply *sealed = exec->element[--exec->elements];
        if (exec->element[1]->type == REDIS_REPLY_STRING) {
            CHECK_EQ(sealed->type, REDIS_REPLY_STATUS);
        }
        freeReplyObject(sealed);
    }
    return raw_text(exec);
}

static const char *guard(const raw *r, raw_batch b, const raw_output *from) {
    args *a = guard_of(r, b, from);
    redisReply *reply = redisCommandArgv(r->c, (int)a->n, a->at, NULL);
    if (reply == NULL) {
        FAIL("no answer to a guard: %s", r->c->errstr);
    }
    free(a);
    return raw_text(reply);
}

const char *raw_append(const raw *r, raw_batch b) {
    return append(r, b, NULL);
}

const char *raw_forward(const raw *r, raw_batch b, const raw_output *from) {
    return append(r, b, from);
}

const char *raw_guard(const raw *r, raw_batch b) {
    return guard(r, b, NULL);
}

const char *raw_forward_guard(const raw *r, raw_batch b, const raw_output *from) {
    return guard(r, b, from);
}

const char *raw_probe(const raw *r) {
    return raw_call(r, "append", RAW_INC, "1", "probe", "0", "0", "0", NULL);
}

/* ---- by hand ------------------------------------------------------------------------------ */

void raw_unseal(const raw *r) {
    redisReply *last = raw_cmd_reply(r, "XREVRANGE %s + - COUNT 1", RAW_KEY(r, 'L'));
    CHECK_EQ(last->type, REDIS_REPLY_ARRAY);
    const char *id = raw_line("%s", last->elements > 0 ? last->element[0]->element[0]->str : "0-0");
    freeReplyObject(last);
    CHECK_STR(raw_cmd(r, "XSETID %s %s", RAW_KEY(r, 'L'), id), "OK");
}

void raw_stray(const raw *r, const char *id, const char *field, const char *value) {
    raw_unseal(r);
    redisReply *added = raw_cmd_reply(r, "XADD %s %s %s %s", RAW_KEY(r, 'L'), id, field, value);
    CHECK_EQ(added->type, REDIS_REPLY_STRING);
    freeReplyObject(added);
}

/* ---- looking ------------------------------------------------------------------------------ */

char *raw_contents(const raw *r) {
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    CHECK(f != NULL);
    fprintf(f, "%s / ", raw_cmd(r, "HGETALL %s", RAW_KEY(r, 'S')));
    fprintf(f, "%s / ", raw_cmd(r, "XRANGE %s - +", RAW_KEY(r, 'L')));
    fprintf(f, "%s", raw_cmd(r, "ZRANGE %s 0 -1 WITHSCORES", RAW_KEY(r, 'F')));
    fclose(f);
    return text;
}

void raw_check_contents(const raw *r, const char *before) {
    char *now = raw_contents(r);
    CHECK_STR(now, before);
    free(now);
}

static const char *find(const redisReply *pairs, const char *field) {
    for (size_t i = 0; i + 1 < pairs->elements; i += 2) {
        const redisReply *value = pairs->element[i + 1];
        if (strcmp(pairs->element[i]->str, field) == 0) {
            return value->type == REDIS_REPLY_INTEGER ? raw_line("%lld", value->integer)
                   : value->type == REDIS_REPLY_NIL   ? "nil"
                                                      : raw_line("%s", value->str);
        }
    }
    FAIL("no field \"%s\"", field);
}

const char *raw_log_info(const raw *r, const char *field) {
    redisReply *info = raw_cmd_reply(r, "XINFO STREAM %s", RAW_KEY(r, 'L'));
    CHECK_EQ(info->type, REDIS_REPLY_ARRAY);
    const char *value = find(info, field);
    freeReplyObject(info);
    return value;
}

const char *raw_group_info(const raw *r, const char *group, const char *field) {
    redisReply *all = raw_cmd_reply(r, "XINFO GROUPS %s", RAW_KEY(r, 'L'));
    const char *value = "none";
    for (size_t i = 0; i < all->elements; i++) {
        if (strcmp(find(all->element[i], "name"), group) == 0) {
            value = find(all->element[i], field);
        }
    }
    freeReplyObject(all);
    return value;
}

void raw_check_log(const raw *r) {
    long long next = raw_number(r, 'S', "next"), first = raw_number(r, 'S', "first");
    long long era = raw_number(r, 'S', "era"), at = -1, before = 1;
    redisReply *entries = raw_cmd_reply(r, "XRANGE %s - +", RAW_KEY(r, 'L'));
    for (size_t i = 0; i < entries->elements; i++) {
        redisReply *id = entries->element[i]->element[0], *f = entries->element[i]->element[1];
        long long id_era, last, n;
        CHECK_EQ(f->elements, 2);
        CHECK_STR(f->element[0]->str, "b");
        CHECK_EQ(sscanf(id->str, "%lld-%lld", &id_era, &last), 2);
        CHECK_EQ(sscanf(f->element[1]->str, "%*s %*s %*s %lld", &n), 1);
        CHECK_GE(id_era, before);
        CHECK_LE(id_era, era);
        before = id_era;
        if (at < 0) {
            at = last - n + 1;
            CHECK_LE(at, first);
            CHECK_GE(last, first);
        }
        CHECK_EQ(last - n + 1, at);
        at = last + 1;
    }
    CHECK_EQ(at < 0 ? first : at, next);
    CHECK_STR(raw_log_info(r, "entries-added"), raw_line("%lld", next));
    raw_check_sealed(r);
    freeReplyObject(entries);
}

void raw_check_sealed(const raw *r) {
    CHECK_STR(raw_log_info(r, "last-generated-id"), RAW_LAST_ID);
}

void raw_check_unguarded(const raw *r) {
    static const raw_output from[] = {{.input = "x", .epoch = 9, .offset = 9},
                                      {.input = "x", .epoch = 9, .offset = 9, .index = 1}};
    char *before = raw_contents(r);
    for (uint64_t i = 0; i < 4; i++) {
        raw_batch b = {.pid = "unguarded", .first = 1, .n = 1 + i / 2, .by_digest = true};
        b.era = (uint64_t)raw_number(r, 'S', "era");
        const char *answer = append(r, b, i % 2 == 0 ? NULL : from);
        CHECK_EQ(strncmp(answer, "-NOSCRIPT ", 10), 0);
        CHECK_CONTAINS(answer, " " RAW_SEALED);
        raw_check_contents(r, before);
        raw_check_sealed(r);
    }
    free(before);
}
