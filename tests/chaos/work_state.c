/* work_state.c - what looks at a stream from outside: makes it, watches its groups, and in the end
 * waits until all is delivered and writes down what the server holds, read raw. */
#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "core/batch.h"
#include "worker.h"

enum { PAGE = 200, LOOK_MS = 400, DRAIN_LOOK_MS = 100, KEY = 900, MAX_PARTITIONS = 64 };

void work_create(work *w) {
    seg_stream_options o;
    seg_client *c = work_client(w);
    SEG_INIT(&o);
    o.partitions = w->partitions;
    o.max_messages = w->bound;
    o.on_full = w->drop != 0 ? SEG_DROP_OLDEST : SEG_BLOCK;
    while (c != NULL && !atomic_load(&work_over)) {
        seg_error err;
        seg_status s = seg_stream_create(c, w->stream, &o, &err);
        if (s == SEG_OK)
            break;
        work_say(w, "create", s, &err);
        work_pause(LOOK_MS);
    }
    seg_client_close(c);
}

/* ---- Groups --------------------------------------------------------------------------------- */

static history_record of_partition(const work *w, unsigned kind, const char *group, uint32_t p) {
    return (history_record){.kind = (uint16_t)kind,
                            .stream = w->in,
                            .group = history_name(w->h, group),
                            .partition = p};
}

static void fill(history_record *r, const work *w, const seg_group_partition *p) {
    r->era = p->era;
    r->offset = p->committed;
    r->end = p->next;
    r->epoch = p->epoch;
    r->member = history_name(w->h, p->owner);
}

static void observe(work *w, seg_client *c, const char *group) {
    history_record calls[MAX_PARTITIONS];
    seg_group_info *g = NULL;
    seg_error err;
    uint32_t n = w->partitions < MAX_PARTITIONS ? w->partitions : MAX_PARTITIONS;
    for (uint32_t p = 0; p < n; p++) {
        calls[p] = of_partition(w, HISTORY_OBSERVED, group, p);
        history_invoke(w->h, &calls[p]);
    }
    seg_status s = seg_group_describe(&g, c, w->stream, group, &err);
    for (uint32_t p = 0; p < n; p++) {
        const seg_group_partition *at = s == SEG_OK ? seg_group_info_partition(g, p) : NULL;
        if (at != NULL && at->status != SEG_OK)
            at = NULL;
        if (at != NULL)
            fill(&calls[p], w, at);
        history_done(w->h, &calls[p], at != NULL ? HISTORY_OK : HISTORY_FAIL,
                     s == SEG_OK && at == NULL ? SEG_ELOST : s);
    }
    seg_group_info_free(g);
}

void work_watch(work *w) {
    seg_client *c = work_client(w);
    while (c != NULL && !atomic_load(&work_over)) {
        seg_names *groups = NULL;
        if (seg_group_list(&groups, c, w->stream, NULL) == SEG_OK)
            for (size_t i = 0; i < seg_names_count(groups); i++)
                observe(w, c, seg_names_at(groups, i));
        seg_names_free(groups);
        work_pause(LOOK_MS);
    }
    seg_client_close(c);
}

/* Of all groups; UINT64_MAX: it cannot be said now. */
static uint64_t lag(work *w, seg_client *c, const seg_names *groups) {
    uint64_t sum = 0;
    for (size_t i = 0; i < seg_names_count(groups); i++) {
        seg_group_info *g = NULL;
        seg_error err;
        seg_status s = seg_group_describe(&g, c, w->stream, seg_names_at(groups, i), &err);
        if (s != SEG_OK) {
            work_say(w, "describe", s, &err);
            return UINT64_MAX;
        }
        uint64_t one = seg_group_info_lag(g);
        seg_group_info_free(g);
        if (one == SEG_UNKNOWN)
            return UINT64_MAX;
        sum += one;
    }
    return sum;
}

static seg_names *list_groups(work *w, seg_client *c) {
    seg_names *groups = NULL;
    seg_error err;
    seg_status s = seg_group_list(&groups, c, w->stream, &err);
    if (s != SEG_OK)
        work_say(w, "groups", s, &err);
    return groups;
}

static void write_places(work *w, seg_client *c, const seg_names *groups) {
    for (size_t i = 0; i < seg_names_count(groups); i++) {
        const char *name = seg_names_at(groups, i);
        seg_group_info *g = NULL;
        seg_error err;
        seg_status s = seg_group_describe(&g, c, w->stream, name, &err);
        if (s != SEG_OK)
            work_broken(w, "describe", err.text);
        for (uint32_t p = 0; p < seg_group_info_partitions(g); p++) {
            const seg_group_partition *at = seg_group_info_partition(g, p);
            history_record r = of_partition(w, HISTORY_PLACE, name, p);
            fill(&r, w, at);
            r.flags = HISTORY_DRAINED;
            history_event(w->h, &r);
            if (at->lag > 0)
                fprintf(stderr,
                        "%s: group %s, partition %" PRIu32 ": lag %" PRIu64 ", committed %" PRIu64
                        ", next %" PRIu64 ", owner %s\n",
                        w->name, name, p, at->lag, at->committed, at->next,
                        at->owner != NULL ? at->owner : "none");
        }
        seg_group_info_free(g);
    }
}

static void write_letters(work *w, seg_client *c, const seg_names *groups) {
    for (size_t i = 0; i < seg_names_count(groups); i++) {
        const char *name = seg_names_at(groups, i);
        const seg_letter *l = NULL;
        seg_dlq *q = NULL;
        seg_error err;
        seg_status s = seg_dlq_open(&q, c, w->stream, name, &err);
        if (s == SEG_ENOENT)
            continue;
        while (s == SEG_OK && (s = seg_dlq_next(&l, q, &err)) == SEG_OK && l != NULL) {
            history_record r = of_partition(w, HISTORY_LETTER, name, l->origin.partition);
            r.era = l->origin.id.era;
            r.offset = l->origin.id.offset;
            history_event(w->h, &r);
        }
        if (s != SEG_OK)
            work_broken(w, "dead letters", err.text);
        seg_dlq_close(q);
    }
}

/* ---- The log, raw --------------------------------------------------------------------------- */

typedef struct raw {
    work *w;
    redisContext *server;
    uint32_t partition;
    uint32_t seed; /* of the batches' CRC */
    sg_codecs codecs;
} raw;

static redisReply *ask(const raw *r, const char *format, const char *key, const char *more) {
    redisReply *reply = redisCommand(r->server, format, key, more, (int)PAGE);
    if (reply == NULL || reply->type == REDIS_REPLY_ERROR)
        work_broken(r->w, key, reply != NULL ? reply->str : r->server->errstr);
    return reply;
}

static uint64_t state_number(const raw *r, const char *key, const char *field) {
    redisReply *reply = ask(r, "HGET %s %s", key, field);
    if (reply->type != REDIS_REPLY_STRING)
        work_broken(r->w, key, "a field is missing");
    uint64_t n = strtoull(reply->str, NULL, 10);
    freeReplyObject(reply);
    return n;
}

static void read_entry(raw *r, const redisReply *entry) {
    uint64_t era, last;
    sg_batch_reader batch;
    sg_record_view record;
    const char *why = "not an entry of ours";
    void *own = NULL;
    const redisReply *id = entry->element[0], *fields = entry->element[1];
    if (sscanf(id->str, "%" SCNu64 "-%" SCNu64, &era, &last) != 2 || fields->elements != 2 ||
        !sg_batch_load(&batch, fields->element[1]->str, fields->element[1]->len, r->seed,
                       &r->codecs, &own, &why))
        work_broken(r->w, id->str, why);
    for (uint64_t offset = last + 1 - batch.count; sg_batch_next(&batch, &record) == 1; offset++) {
        history_record e = {.kind = HISTORY_ENTRY,
                            .stream = r->w->in,
                            .partition = r->partition,
                            .era = era,
                            .offset = offset,
                            .crc = history_crc(record.value.data, record.value.len)};
        value v;
        if (!value_read(&v, record.value))
            work_broken(r->w, id->str, "bytes that nobody sent");
        e.producer = history_name(r->w->h, v.producer);
        e.key = v.key;
        e.sequence = v.sequence;
        e.index = v.index;
        history_event(r->w->h, &e);
    }
    sg_free(own);
}

static void read_log(raw *r) {
    char log[KEY], state[KEY], from[64] = "-";
    snprintf(log, sizeof log, "sg:{default/%s/%" PRIu32 "}:log", r->w->stream, r->partition);
    snprintf(state, sizeof state, "sg:{default/%s/%" PRIu32 "}:state", r->w->stream, r->partition);
    redisReply *inc = ask(r, "HGET %s %s", state, "inc");
    if (inc->type != REDIS_REPLY_STRING)
        work_broken(r->w, state, "no incarnation");
    r->seed = sg_batch_seed(inc->str);
    freeReplyObject(inc);
    for (bool more = true; more;) {
        redisReply *page = ask(r, "XRANGE %s %s + COUNT %d", log, from);
        for (size_t i = 0; i < page->elements; i++)
            read_entry(r, page->element[i]);
        more = page->elements == PAGE;
        if (more)
            snprintf(from, sizeof from, "(%s", page->element[page->elements - 1]->element[0]->str);
        freeReplyObject(page);
    }
    history_event(r->w->h, &(history_record){.kind = HISTORY_LOG,
                                             .stream = r->w->in,
                                             .partition = r->partition,
                                             .era = state_number(r, state, "era"),
                                             .first = state_number(r, state, "first"),
                                             .end = state_number(r, state, "next")});
}

void work_final(work *w) {
    raw r = {.w = w};
    int64_t end = work_now_ms() + w->deadline;
    seg_client *c = work_client(w);
    seg_names *groups = c != NULL ? list_groups(w, c) : NULL;
    if (groups == NULL)
        work_broken(w, w->stream, "its groups cannot be listed");
    while (lag(w, c, groups) != 0 && !atomic_load(&work_over) && work_now_ms() < end)
        work_pause(DRAIN_LOOK_MS);
    r.server = redisConnectUnix(w->socket);
    if (r.server == NULL || r.server->err != 0)
        work_broken(w, "no connection to", w->socket);
    for (r.partition = 0; r.partition < w->partitions; r.partition++)
        read_log(&r);
    write_places(w, c, groups);
    write_letters(w, c, groups);
    redisFree(r.server);
    sg_codecs_fini(&r.codecs);
    seg_names_free(groups);
    seg_client_close(c);
}
