#include "mirror.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"

__attribute__((format(printf, 2, 3))) static void tell(mirror *m, const char *format, ...) {
    va_list list;
    if (m->story == NULL) {
        return;
    }
    va_start(list, format);
    vfprintf(m->story, format, list);
    va_end(list);
}

/* Returns false. */
__attribute__((format(printf, 2, 3))) static bool broken(mirror *m, const char *format, ...) {
    va_list list;
    va_start(list, format);
    vsnprintf(m->broken, sizeof m->broken, format, list);
    va_end(list);
    tell(m, "%s\n", m->broken);
    return false;
}

/* ---- What is stored ------------------------------------------------------------------------- */

typedef struct text {
    char at[8192];
    size_t len;
} text;

__attribute__((format(printf, 2, 3))) static void add(text *t, const char *format, ...) {
    va_list list;
    va_start(list, format);
    int n = vsnprintf(t->at + t->len, sizeof t->at - t->len, format, list);
    va_end(list);
    CHECK_LT(n, sizeof t->at - t->len);
    t->len += (size_t)n;
}

static const char *name_of(int who) {
    static const char *const names[SIM_MEMBERS] = {"m0", "m1", "m2", "m3", "m4", "m5", "m6", "m7",
                                                   "m8", "m9", "ma", "mb", "mc", "md", "me", "mf"};
    return who == NOBODY ? "" : names[who];
}

static void nonce_text(char out[24], uint64_t nonce) {
    out[0] = '\0';
    if (nonce != 0) {
        snprintf(out, 24, "n%" PRIu64, nonce);
    }
}

/* Ack map, tries, high and note. */
static void said_text(char out[4][24], uint64_t said) {
    memset(out, 0, 4 * sizeof *out);
    if (said != 0) {
        snprintf(out[0], sizeof out[0], "a%" PRIu64, said);
        snprintf(out[1], sizeof out[1], "t%" PRIu64, said);
        snprintf(out[2], sizeof out[2], "%" PRIu64, said);
        snprintf(out[3], sizeof out[3], "n%" PRIu64, said);
    }
}

static void write_model(const mirror *m, text *t) {
    const coordinator *c = &m->model;
    t->len = 0;
    if (c->gone) {
        add(t, "no group\n");
    } else {
        add(t,
            "epoch %" PRIu64 " used %" PRIu64 " clock %" PRId64 " wall %" PRId64 " cap %" PRId64
            "\n",
            c->epoch, c->used, c->clock, c->wall, c->cap);
    }
    for (int i = 0; i < SIM_MEMBERS; i++) {
        const coord_member *one = &c->members[i];
        if (one->known && !c->gone) {
            add(t, "%s: n%" PRIu64 "|%" PRId64 "|%" PRIu64 "|host\n", name_of(i), one->nonce,
                one->timeout, one->version);
        }
        if (one->leased) {
            add(t, "%s: lease until %" PRId64 "\n", name_of(i), one->lease_end);
        }
    }
    for (uint32_t p = 0; p < c->partitions; p++) {
        char said[4][24], owner[24];
        const coord_part *part = &c->parts[p];
        const cursor *k = &m->cursors[p];
        said_text(said, k->said);
        nonce_text(owner, k->owner);
        add(t, "%u: %s|%" PRIu64 "|%s\n", p, name_of(part->owner), part->epoch,
            name_of(part->target));
        add(t,
            "%u: cursor %" PRIu64 " %s %" PRIu64 " %s %s %s %s since %" PRIu64 ", %" PRIu64
            " %" PRIu64 "\n",
            p, k->epoch, owner, k->seq, said[0], said[1], said[2], said[3], k->since, k->committed,
            k->committed);
    }
}

static redisReply *next_reply(const mirror *m) {
    redisReply *reply = NULL;
    CHECK_EQ(redisGetReply(m->g.raw.c, (void **)&reply), REDIS_OK);
    CHECK(reply->type != REDIS_REPLY_ERROR);
    return reply;
}

static const char *field_of(const redisReply *pairs, const char *field) {
    for (size_t i = 0; i + 1 < pairs->elements; i += 2) {
        if (strcmp(pairs->element[i]->str, field) == 0) {
            return pairs->element[i + 1]->str;
        }
    }
    return NULL;
}

static void write_members(text *t, const redisReply *hash, const redisReply *leases) {
    for (int i = 0; i < SIM_MEMBERS; i++) {
        char field[8];
        snprintf(field, sizeof field, "m:%s", name_of(i));
        const char *member = field_of(hash, field), *lease = field_of(leases, name_of(i));
        if (member != NULL) {
            add(t, "%s: %s\n", name_of(i), member);
        }
        if (lease != NULL) {
            add(t, "%s: lease until %s\n", name_of(i), lease);
        }
    }
}

static const char *str_of(const redisReply *r) {
    return r->type == REDIS_REPLY_NIL ? "?" : r->str;
}

static void write_partition(const mirror *m, text *t, uint32_t p, const redisReply *parts) {
    char field[12];
    snprintf(field, sizeof field, "%u", p);
    const char *part = field_of(parts, field);
    redisReply *c = next_reply(m), *committed = next_reply(m), *low = next_reply(m);
    redisReply **e = c->element;
    add(t, "%u: %s\n", p, part ? part : "|0|");
    add(t, "%u: cursor %s %s %s %s %s %s %s since %s, %s %s\n", p, str_of(e[0]), str_of(e[1]),
        str_of(e[2]), str_of(e[3]), str_of(e[4]), str_of(e[5]), str_of(e[6]), str_of(e[7]),
        str_of(committed), str_of(low));
    freeReplyObject(c);
    freeReplyObject(committed);
    freeReplyObject(low);
}

/* Returns the group's `wall`. */
static int64_t write_server(mirror *m, text *t) {
    raw r = m->g.raw;
    int64_t wall = 0;
    t->len = 0;
    redisAppendCommand(r.c, "TIME");
    redisAppendCommand(r.c, "HGETALL %s", RAW_KEY(&r, 'g'));
    redisAppendCommand(r.c, "ZRANGE %s 0 -1 WITHSCORES", RAW_KEY(&r, 'l'));
    redisAppendCommand(r.c, "HGETALL %s", RAW_KEY(&r, 'p'));
    for (r.partition = 0; r.partition < m->g.partitions; r.partition++) {
        redisAppendCommand(r.c,
                           "HMGET %s g:epoch g:owner g:seq g:acks g:tries g:high g:note "
                           "g:since",
                           RAW_KEY(&r, 'C'));
        redisAppendCommand(r.c, "ZSCORE %s g", RAW_KEY(&r, 'K'));
        redisAppendCommand(r.c, "HGET %s low", RAW_KEY(&r, 'S'));
    }
    redisReply *time = next_reply(m), *hash = next_reply(m), *leases = next_reply(m);
    redisReply *parts = next_reply(m);
    m->seen_at = strtoll(time->element[0]->str, NULL, 10) * 1000 +
                 strtoll(time->element[1]->str, NULL, 10) / 1000;
    if (hash->elements == 0) {
        add(t, "no group\n");
    } else {
        wall = strtoll(field_of(hash, "wall"), NULL, 10);
        const char *used = field_of(hash, "used");
        add(t, "epoch %s used %s clock %s wall %s cap %s\n", field_of(hash, "epoch"),
            used ? used : "0", field_of(hash, "clock"), field_of(hash, "wall"),
            field_of(hash, "cap"));
    }
    write_members(t, hash, leases);
    for (uint32_t p = 0; p < m->g.partitions; p++) {
        write_partition(m, t, p, parts);
    }
    freeReplyObject(time);
    freeReplyObject(hash);
    freeReplyObject(leases);
    freeReplyObject(parts);
    return wall;
}

static const char *line_end(const char *at) {
    const char *end = strchr(at, '\n');
    return end ? end + 1 : at + strlen(at);
}

static bool same_state(mirror *m, const text *real) {
    static text model;
    write_model(m, &model);
    const char *a = real->at, *b = model.at;
    while (*a != '\0' || *b != '\0') {
        const char *a_end = line_end(a), *b_end = line_end(b);
        if (a_end - a != b_end - b || memcmp(a, b, (size_t)(a_end - a)) != 0) {
            return broken(m, "stored by the server:     %.*s\nby the model:             %.*s",
                          (int)(a_end - a), a, (int)(b_end - b), b);
        }
        a = a_end;
        b = b_end;
    }
    return true;
}

/* ---- Answers -------------------------------------------------------------------------------- */

static bool same_answer(mirror *m, const char *real, const char *model) {
    tell(m, "    -> %s\n", real);
    return strcmp(real, model) == 0 ||
           broken(m, "the server answers:       %s\nthe model:                %s", real, model);
}

static void sync_answer_text(const sync_answer *a, bool leave, text *t) {
    static const char *const words[] = {"OK", "UNKNOWN", "REPLACED", "GONE group"};
    t->len = 0;
    add(t, "%s", words[a->word]);
    if (a->word != SYNC_OK) {
        return;
    }
    add(t, " %" PRIu64 " %" PRId64 " %zu", leave ? 0 : a->version, a->due, a->members);
    add(t, "%s", a->listed && a->n_grants == 0 ? " " : "");
    for (size_t i = 0; i < a->n_grants; i++) {
        add(t, " %u:%" PRIu64 ":%s", a->grants[i].partition, a->grants[i].epoch,
            a->grants[i].give ? "give" : "keep");
    }
}

/* As `sync_answer_text`; grants come in no order. */
static void sync_reply_text(const mirror *m, redisReply *r, text *t) {
    t->len = 0;
    if (r->type != REDIS_REPLY_ARRAY || r->elements < 4) {
        add(t, "%s", raw_text(r));
        return;
    }
    redisReply *list = r->elements == 5 ? r->element[4] : NULL;
    add(t, "%s %s %s %lld", r->element[0]->str, r->element[1]->str, r->element[2]->str,
        r->element[3]->integer);
    add(t, "%s", list != NULL && list->elements == 0 ? " " : "");
    for (uint32_t p = 0; list != NULL && p < m->g.partitions; p++) {
        for (size_t i = 0; i < list->elements; i += 3) {
            redisReply **e = list->element + i;
            if (strtoul(e[0]->str, NULL, 10) == p) {
                add(t, " %s:%s:%s", e[0]->str, e[1]->str, e[2]->str);
            }
        }
    }
    freeReplyObject(r);
}

/* What was published since: a bit a member. */
static void listen(const mirror *m, uint32_t *woken, uint32_t *replaced) {
    *woken = *replaced = 0;
    redisAppendCommand(m->ears, "PING");
    for (;;) {
        redisReply *reply = NULL;
        CHECK_EQ(redisGetReply(m->ears, (void **)&reply), REDIS_OK);
        bool pong = strcmp(reply->element[0]->str, "pong") == 0;
        if (!pong) {
            const char *name = strrchr(reply->element[1]->str, ':') + 1;
            uint32_t *bits = strcmp(reply->element[2]->str, "sync") == 0 ? woken : replaced;
            *bits |= 1u << strtoul(name + 1, NULL, 16);
        }
        freeReplyObject(reply);
        if (pong) {
            return;
        }
    }
}

/* ---- Calls of the coordinator --------------------------------------------------------------- */

static redisReply *call_server(const mirror *m, const sync_call *c) {
    static const char *const ops[] = {"join", "beat", "leave"};
    char nonce[24], backs[SIM_PARTITIONS][32];
    const char *back[SIM_PARTITIONS];
    snprintf(nonce, sizeof nonce, "n%" PRIu64, c->nonce);
    for (size_t i = 0; i < c->n_back; i++) {
        snprintf(backs[i], sizeof backs[i], "%u:%" PRIu64, c->back[i].partition, c->back[i].epoch);
        back[i] = backs[i];
    }
    sync_args a = {.op = ops[c->op],
                   .nonce = nonce,
                   .timeout = c->timeout,
                   .seen = (long long)c->version,
                   .floor = (long long)c->floor};
    return group_sync_reply(&m->g, name_of(c->who), a, c->n_back, back);
}

static void tell_call(mirror *m, const sync_call *c, const char *how) {
    static const char *const words[] = {"joins", "beats", "leaves"};
    tell(m, "  %s %s%s (nonce n%" PRIu64 ", session %" PRId64 " ms, knows version %" PRIu64 ")",
         name_of(c->who), words[c->op], how, c->nonce, c->timeout, c->version);
    for (size_t i = 0; i < c->n_back; i++) {
        tell(m, "%s%u:%" PRIu64, i == 0 ? ", hands back " : " ", c->back[i].partition,
             c->back[i].epoch);
    }
    if (c->floor != 0) {
        tell(m, ", knows of epoch %" PRIu64, c->floor);
    }
    tell(m, "\n");
}

bool mirror_sync(mirror *m, const sync_call *c, const char *how, sync_answer *out) {
    static text real, stored, model;
    uint32_t woken, replaced;
    int64_t before = m->seen_at;
    tell_call(m, c, how);
    sync_reply_text(m, call_server(m, c), &real);
    /* The server's clock was somewhere between two looks: where, it says itself. */
    int64_t wall = write_server(m, &stored);
    coordinator_sync(&m->model, wall, c, out);
    if (out->word == SYNC_OK && (wall < before || wall > m->seen_at)) {
        return broken(m, "the wall was set to %" PRId64 ", between %" PRId64 " and %" PRId64, wall,
                      before, m->seen_at);
    }
    sync_answer_text(out, c->op == SYNC_LEAVE, &model);
    if (!same_answer(m, real.at, model.at) || !same_state(m, &stored)) {
        return false;
    }
    listen(m, &woken, &replaced);
    return (woken == out->woken && replaced == out->replaced) ||
           broken(m, "the server woke %#x and replaced %#x, the model %#x and %#x", woken, replaced,
                  out->woken, out->replaced);
}

/* ---- Calls of cursors ----------------------------------------------------------------------- */

static bool same_cursors(mirror *m, const char *real, const char *model) {
    static text stored;
    if (!same_answer(m, real, model)) {
        return false;
    }
    write_server(m, &stored);
    return same_state(m, &stored);
}

bool mirror_acquire(mirror *m, int who, uint32_t partition, uint64_t epoch, uint64_t nonce,
                    cursor_word *out) {
    text expected = {.len = 0};
    char said[4][24], name[24];
    raw r = m->g.raw;
    cursor *c = &m->cursors[partition];
    r.partition = partition;
    nonce_text(name, nonce);
    tell(m, "  %s acquires %u under %" PRIu64 " (nonce %s)\n", name_of(who), partition, epoch,
         name);
    const char *real = raw_call(&r, "cursor_acquire", RAW_INC, "g", RAW_GID,
                                raw_line("%" PRIu64, epoch), name, NULL);
    *out = cursor_acquire(c, epoch, nonce);
    said_text(said, c->said);
    if (*out == CURSOR_OK) {
        add(&expected, "OK 1:0 %" PRIu64 " 0 %d %s %s %s %s %" PRIu64, c->committed, MIRROR_NEXT,
            said[0], said[1], said[2], said[3], c->since);
    } else {
        add(&expected, "STALE %" PRIu64, c->epoch);
    }
    return same_cursors(m, real, expected.at);
}

bool mirror_store(mirror *m, int who, const mirror_commit *k) {
    static const char *const words[] = {"OK", "", "OLD", "FENCED", "AHEAD"};
    char said[4][24], seq[24], nonce[24];
    text expected = {.len = 0};
    raw r = m->g.raw;
    cursor *c = &m->cursors[k->partition];
    r.partition = k->partition;
    said_text(said, k->said);
    snprintf(seq, sizeof seq, "%" PRIu64, k->seq);
    nonce_text(nonce, k->nonce);
    tell(m,
         "  %s commits %u under %" PRIu64 " (nonce %s), number %s: %" PRIu64 ", saying %" PRIu64
         "\n",
         name_of(who), k->partition, k->epoch, nonce, seq, k->committed, k->said);
    const char *real = raw_call(
        &r, "cursor_commit", RAW_INC, "g", RAW_GID, raw_line("%" PRIu64, k->epoch), seq,
        raw_line("%" PRIu64, k->committed), said[0], said[1], said[2], said[3], nonce, NULL);
    cursor_word word =
        cursor_commit(c, k->epoch, k->nonce, k->seq, k->committed, MIRROR_NEXT, k->said);
    add(&expected, "%s", words[word]);
    if (word == CURSOR_FENCED || word == CURSOR_AHEAD) {
        add(&expected, " %" PRIu64, word == CURSOR_FENCED ? c->epoch : MIRROR_NEXT);
    }
    return same_cursors(m, real, expected.at);
}

/* ---- Moving the group ----------------------------------------------------------------------- */

static bool seek_cursors(mirror *m, uint64_t epoch) {
    raw r = m->g.raw;
    for (r.partition = 0; r.partition < m->g.partitions; r.partition++) {
        cursor *c = &m->cursors[r.partition];
        const char *at = raw_line("%" PRIu64, c->committed);
        const char *real = raw_call(&r, "cursor_seek", RAW_INC, "g", RAW_GID,
                                    raw_line("%" PRIu64, epoch), at, NULL);
        cursor_seek(c, epoch);
        if (!same_answer(m, real, raw_line("OK %s %s", at, at))) {
            return false;
        }
    }
    return true;
}

static redisReply *seek_finish(const mirror *m, uint64_t epoch) {
    sg_key channel = raw_key(&m->g.raw, 'w');
    const char *args[6 + SIM_PARTITIONS] = {RAW_INC, RAW_GID, "finish", "", "0", channel.text};
    char moved[SIM_PARTITIONS][32];
    for (uint32_t p = 0; p < m->g.partitions; p++) {
        snprintf(moved[p], sizeof moved[p], "%u:%" PRIu64, p, epoch);
        args[6 + p] = moved[p];
    }
    return raw_call_argv(&m->g.raw, "group_seek", 6 + m->g.partitions, args);
}

bool mirror_seek(mirror *m) {
    static text stored;
    char answer[64];
    uint64_t floor = 0;
    uint32_t woken, replaced;
    for (uint32_t p = 0; p < m->g.partitions; p++) {
        floor = m->cursors[p].epoch > floor ? m->cursors[p].epoch : floor;
    }
    tell(m, "  the group is moved\n");
    const char *real = raw_call(&m->g.raw, "group_seek", RAW_INC, RAW_GID, "begin", "1",
                                raw_line("%" PRIu64, floor), RAW_KEY(&m->g.raw, 'w'), NULL);
    if (m->model.gone) {
        return same_answer(m, real, "GONE group");
    }
    /* The clock that the server went by, where it is in another life: the number says it. */
    int64_t before = m->seen_at, wall = before;
    if (m->model.reborn && strncmp(real, "OK ", 3) == 0) {
        int64_t said = strtoll(real + 3, NULL, 10) - 1;
        snprintf(answer, sizeof answer, "%s", real);
        write_server(m, &stored);
        wall = said < before || said > m->seen_at ? before : said;
        real = answer;
    }
    uint64_t epoch = coordinator_seek_begin(&m->model, wall, floor);
    if (!same_answer(m, real, raw_line("OK %" PRIu64, epoch)) || !seek_cursors(m, epoch)) {
        return false;
    }
    uint32_t expected = coordinator_seek_finish(&m->model, wall, epoch);
    real = raw_text(seek_finish(m, epoch));
    write_server(m, &stored);
    if (!same_answer(m, real, raw_line("OK %" PRIu64, m->model.epoch)) || !same_state(m, &stored)) {
        return false;
    }
    listen(m, &woken, &replaced);
    return (woken == expected && replaced == 0) ||
           broken(m, "the server woke %#x and replaced %#x, the model %#x", woken, replaced,
                  expected);
}

/* ---- What befalls the server ---------------------------------------------------------------- */

static const char DUMPED[MIRROR_KEYS] = {'g', 'l', 'p'};

static void free_dumps(mirror *m) {
    for (int i = 0; i < MIRROR_KEYS; i++) {
        freeReplyObject(m->dumps[i]);
        m->dumps[i] = NULL;
    }
}

static void save(mirror *m) {
    free_dumps(m);
    for (int i = 0; i < MIRROR_KEYS; i++) {
        m->dumps[i] = raw_cmd_reply(&m->g.raw, "DUMP %s", RAW_KEY(&m->g.raw, DUMPED[i]));
    }
    m->saved = m->model;
}

void mirror_save(mirror *m) {
    tell(m, "  the coordinator's keys are saved\n");
    save(m);
}

void mirror_roll_back(mirror *m) {
    tell(m, "  the coordinator is rolled back to what was saved\n");
    for (int i = 0; i < MIRROR_KEYS; i++) {
        const redisReply *dump = m->dumps[i];
        raw_cmd(&m->g.raw, "DEL %s", RAW_KEY(&m->g.raw, DUMPED[i]));
        if (dump->type == REDIS_REPLY_STRING) {
            CHECK_STR(raw_cmd(&m->g.raw, "RESTORE %s 0 %b", RAW_KEY(&m->g.raw, DUMPED[i]),
                              dump->str, dump->len),
                      "OK");
        }
    }
    m->model = m->saved;
}

void mirror_pass(mirror *m, int64_t ms) {
    tell(m, "  the server's clock moves by %" PRId64 " ms\n", ms);
    if (!m->model.gone) {
        group_pass(&m->g, ms);
        m->model.wall -= ms;
    }
}

void mirror_reborn(mirror *m) {
    tell(m, "  the server is in another life\n");
    if (!m->model.gone) {
        raw_cmd(&m->g.raw, "HSET %s life 0", RAW_KEY(&m->g.raw, 'g'));
        m->model.reborn = true;
    }
}

static void delete_key(mirror *m, char which, const char *what) {
    tell(m, "  the %s are deleted\n", what);
    raw_cmd(&m->g.raw, "DEL %s", RAW_KEY(&m->g.raw, which));
}

void mirror_forget_leases(mirror *m) {
    delete_key(m, 'l', "leases");
    coordinator_forget_leases(&m->model);
}

void mirror_forget_parts(mirror *m) {
    delete_key(m, 'p', "parts");
    coordinator_forget_parts(&m->model);
}

void mirror_forget_group(mirror *m) {
    delete_key(m, 'g', "group's clock and members");
    m->model.gone = true;
}

/* ---- Beginning and end ---------------------------------------------------------------------- */

void mirror_open(mirror *m, uint32_t partitions) {
    memset(m, 0, sizeof *m);
    raw_start(&m->g.raw);
    m->g.partitions = partitions;
    m->ears = server_connect(m->g.raw.server);
    for (int i = 0; i < SIM_MEMBERS; i++) {
        freeReplyObject(
            redisCommand(m->ears, "SSUBSCRIBE %s%s", RAW_KEY(&m->g.raw, 'w'), name_of(i)));
    }
}

void mirror_close(mirror *m) {
    free_dumps(m);
    redisFree(m->ears);
    raw_stop(&m->g.raw);
}

void mirror_begin(mirror *m) {
    raw r = m->g.raw;
    raw_cmd(&r, "FLUSHALL");
    raw_create_stream(&r, m->g.partitions, 100, "block");
    raw_create_group(&r, m->g.partitions, "earliest");
    for (r.partition = 0; r.partition < m->g.partitions; r.partition++) {
        CHECK_STR(raw_append(&r, (raw_batch){.first = 1, .n = MIRROR_NEXT}),
                  raw_line("[OK 0] 1-%d", MIRROR_NEXT - 1));
    }
    memset(m->cursors, 0, sizeof m->cursors);
    m->broken[0] = '\0';
    m->seen_at = 0;
    coordinator_init(&m->model, m->g.partitions);
    m->model.wall = raw_number(&r, 'g', "wall");
    save(m);
}
