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
    {"group_describe", "mglp"},
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

/* The end of the transaction, and what the guard and the XADD answered. */
static const char *answer_of_exec(const raw *r) {
    redisAppendCommand(r->c, "XSETID %s " RAW_LAST_ID, RAW_KEY(r, 'L'));
    redisAppendCommand(r->c, "EXEC");
    const char *queued = NULL;
    for (int i = 0; i < 4; i++) {
        queued = raw_text(next_reply(r));
    }
    CHECK(queued != NULL);
    redisReply *exec = next_reply(r);
    if (exec->type == REDIS_REPLY_ARRAY) {
        CHECK_EQ(exec->elements, 3);
        freeReplyObject(exec->element[--exec->elements]); /* the sealing's */
    }
    return raw_text(exec);
}

const char *raw_append(const raw *r, raw_batch b) {
    const char *inc = b.inc ? b.inc : RAW_INC, *pid = b.pid ? b.pid : "p1";
    uint64_t era = b.era ? b.era : 1, gen = b.gen ? b.gen : 1;
    const struct sg_script_text *t = text_of("append");
    redisAppendCommand(r->c, "MULTI");
    redisAppendCommand(r->c, "EVAL %b 2 %s %s %s %" PRIu64 " %s %" PRIu64 " %" PRIu64 " %" PRIu64,
                       t->body, t->len, RAW_KEY(r, 'S'), RAW_KEY(r, 'L'), inc, era, pid, gen,
                       b.first, b.n);
    redisAppendCommand(r->c, "XADD %s NOMKSTREAM %" PRIu64 "-* b %s", RAW_KEY(r, 'L'), era,
                       raw_line("%s %" PRIu64 " %" PRIu64 " %" PRIu64, pid, gen, b.first, b.n));
    return answer_of_exec(r);
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

const char *raw_forward(const raw *r, raw_batch b, const raw_output *from) {
    const char *pid = b.pid ? b.pid : "p1";
    uint64_t era = b.era ? b.era : 1, gen = b.gen ? b.gen : 1;
    args *a = calloc(1, sizeof *a);
    CHECK(a != NULL);
    add(a, "EVAL");
    add(a, "%s", text_of("append_forward")->body);
    add(a, "3");
    add(a, "%s", RAW_KEY(r, 'S'));
    add(a, "%s", RAW_KEY(r, 'L'));
    add(a, "%s", RAW_KEY(r, 'F'));
    add(a, "%s", b.inc ? b.inc : RAW_INC);
    add(a, "%" PRIu64, era);
    add(a, "%s", pid);
    add(a, "%" PRIu64, gen);
    add(a, "%" PRIu64, b.first);
    add(a, "%" PRIu64, b.n);
    add_origins(a, from, b.n);
    redisAppendCommand(r->c, "MULTI");
    redisAppendCommandArgv(r->c, (int)a->n, a->at, NULL);
    add(a, "%s %" PRIu64 " %" PRIu64 " %" PRIu64, pid, gen, b.first, b.n);
    const char *payload = a->at[a->n - 1];
    for (uint64_t i = 0; i < b.n; i++) {
        a->used--; /* on with the payload, in the place of its end */
        add(a, " %s/%" PRIu64 "/%" PRIu32 ";", from[i].input, from[i].offset, from[i].index);
    }
    redisAppendCommand(r->c, "XADD %s NOMKSTREAM %" PRIu64 "-* b %s", RAW_KEY(r, 'L'), era,
                       payload);
    free(a);
    return answer_of_exec(r);
}

const char *raw_probe(const raw *r) {
    return raw_call(r, "append", RAW_INC, "1", "probe", "0", "0", "0", NULL);
}

/* ---- looking ------------------------------------------------------------------------------ */

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
    const char *last_id = raw_log_info(r, "last-generated-id");
    if (strcmp(last_id, RAW_LAST_ID) != 0) {
        if (next > 0) {
            CHECK_STR(last_id, raw_line("%lld-%lld", era, next - 1));
        } else {
            CHECK_EQ(strncmp(last_id, "0-", 2), 0);
        }
        CHECK_STR(raw_log_info(r, "entries-added"), raw_line("%lld", next));
    }
    freeReplyObject(entries);
}
