/* ops_cursor.c - operations on cursors, and fetching entries. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/error.h"
#include "redis/ops.h"
#include "redis/ops_impl.h"

/* ---- cursors --------------------------------------------------------------------------------- */

bool sg_cursor_create_send(sg_conn *c, const sg_stream *s, const sg_group *g, const char *start,
                           uint32_t p, sg_result_fn *fn, void *arg) {
    sg_call *k = sg_partition_call("cursor_create", s, p);
    sg_call_str(k, s->inc);
    sg_call_str(k, g->name);
    sg_call_str(k, g->gid);
    sg_call_str(k, start);
    return sg_call_send(k, c, fn, arg);
}

bool sg_cursor_delete_send(sg_conn *c, const sg_stream *s, const sg_group *g, uint32_t p,
                           sg_result_fn *fn, void *arg) {
    sg_call *k = sg_partition_call("cursor_delete", s, p);
    sg_call_str(k, g->name);
    sg_call_str(k, g->gid);
    return sg_call_send(k, c, fn, arg);
}

bool sg_cursor_acquire_send(sg_conn *c, const sg_stream *s, const sg_group *g, uint32_t p,
                            uint64_t epoch, const char *nonce, sg_result_fn *fn, void *arg) {
    sg_call *k = sg_partition_call("cursor_acquire", s, p);
    sg_call_str(k, s->inc);
    sg_call_str(k, g->name);
    sg_call_str(k, g->gid);
    sg_call_u64(k, epoch);
    sg_call_str(k, nonce);
    return sg_call_send(k, c, fn, arg);
}

bool sg_cursor_commit_send(sg_conn *c, const sg_commit *m, sg_result_fn *fn, void *arg) {
    sg_call *k = sg_partition_call("cursor_commit", m->stream, m->partition);
    sg_call_str(k, m->stream->inc);
    sg_call_str(k, m->group->name);
    sg_call_str(k, m->group->gid);
    sg_call_u64(k, m->epoch);
    sg_call_u64(k, m->seq);
    sg_call_u64(k, m->committed);
    sg_call_arg(k, m->acks.data, m->acks.len);
    sg_call_arg(k, m->tries.data, m->tries.len);
    if (m->clean)
        sg_call_str(k, "");
    else
        sg_call_u64(k, m->high);
    sg_call_arg(k, m->note.data, m->note.len);
    sg_call_str(k, m->nonce);
    return sg_call_send(k, c, fn, arg);
}

bool sg_cursor_read_send(sg_conn *c, const sg_stream *s, const char *group, uint32_t p,
                         sg_result_fn *fn, void *arg) {
    sg_call *k = sg_partition_call("cursor_read", s, p);
    sg_call_str(k, s->inc);
    sg_call_str(k, group != NULL ? group : "");
    return sg_call_send(k, c, fn, arg);
}

/* Larger ones are not exact on the server, so it has none. */
static bool number(const sg_reply *r, uint64_t *out) {
    return sg_reply_u64(r, out) && *out <= UINT64_C(1) << 53;
}

/* What both end with, from `at` on: acks tries high note since. */
static bool tail_fields(const sg_reply *reply, size_t at, sg_cursor_answer *out) {
    const sg_reply *high = sg_reply_at(reply, at + 2);
    out->acks = sg_reply_bytes(sg_reply_at(reply, at));
    out->tries = sg_reply_bytes(sg_reply_at(reply, at + 1));
    out->note = sg_reply_bytes(sg_reply_at(reply, at + 3));
    out->clean = sg_reply_is(high, "");
    return (out->clean || number(high, &out->high)) &&
           number(sg_reply_at(reply, at + 4), &out->since);
}

#define ACQUIRED 10 /* eras committed first next, tail */
#define READ_ALL 12 /* eras first next committed epoch, tail, owner */
#define READ     4  /* eras first next */

/* "1:0 1700000000000:51", of which the last is the newest. */
static bool eras_field(const sg_reply *reply, sg_cursor_answer *out) {
    const char *text = sg_reply_text(reply), *last = strrchr(text, ' ');
    last = last != NULL ? last + 1 : text;
    out->eras = sg_reply_bytes(reply);
    return sg_digits_read(last, strcspn(last, ":"), UINT64_C(1) << 53, &out->era);
}

/* Their numbers of elements, the word "OK" included, tell them apart. */
static bool cursor_fields(const sg_reply *reply, sg_cursor_answer *out) {
    size_t n = sg_reply_count(reply);
    if (n == 1)
        return true; /* a commit's */
    if (n != ACQUIRED && n != READ_ALL && n != READ)
        return false;
    size_t first = n == ACQUIRED ? 3 : 2, committed = n == ACQUIRED ? 2 : 4;
    if (!eras_field(sg_reply_at(reply, 1), out) ||
        !number(sg_reply_at(reply, first), &out->first) ||
        !number(sg_reply_at(reply, first + 1), &out->next))
        return false;
    if (n == READ)
        return true;
    if (n == READ_ALL)
        out->owner = sg_reply_bytes(sg_reply_at(reply, 11));
    return number(sg_reply_at(reply, committed), &out->committed) &&
           (n == ACQUIRED || number(sg_reply_at(reply, 5), &out->epoch)) &&
           tail_fields(reply, n == ACQUIRED ? 5 : 6, out);
}

void sg_cursor_read_answer(const sg_result *r, sg_cursor_answer *out) {
    memset(out, 0, sizeof *out);
    out->kind = SG_CURSOR_REFUSED;
    if (sg_base_status(r, &out->err, &out->lost) != SEG_OK)
        return;
    const sg_reply *word = sg_reply_at(r->reply, 0);
    sg_reply_u64(sg_reply_at(r->reply, 1), &out->number);
    if (sg_reply_is(word, "OK") && cursor_fields(r->reply, out)) {
        out->kind = SG_CURSOR_OK;
    } else if (sg_reply_is(word, "OLD")) {
        out->kind = SG_CURSOR_OLD;
    } else if (sg_reply_is(word, "FENCED") || sg_reply_is(word, "STALE")) {
        out->kind = SG_CURSOR_FENCED;
    } else if (sg_reply_is(word, "AHEAD")) {
        out->kind = SG_CURSOR_AHEAD;
    } else if (sg_reply_is(word, "LOST")) {
        out->kind = SG_CURSOR_LOST;
        sg_lost_what(r->reply, "partition", &out->err);
    } else {
        sg_nonsense(r->reply, "cursor", &out->err);
    }
}

bool sg_cursor_take_eras(sg_cursor_answer *a, sg_eras *out) {
    seg_status s = sg_eras_read(out, a->eras);
    if (s == SEG_OK)
        return true;
    a->kind = SG_CURSOR_REFUSED;
    if (s == SEG_ENOMEM)
        sg_fail_nomem(&a->err);
    else
        sg_fail(&a->err, s, "the list of its eras cannot be read");
    return false;
}

/* ---- fetch ----------------------------------------------------------------------------------- */

bool sg_fetch_send(sg_conn *c, sg_entries *in, const sg_fetch_from *from, size_t n, uint64_t count,
                   int64_t block, sg_result_fn *fn, void *arg) {
    sg_entries_expect(in, from, n, count);
    sg_conn_begin(c);
    sg_conn_command(c, (block > 0 ? 6 : 4) + 2 * n);
    sg_conn_arg_str(c, "XREAD");
    sg_conn_arg_str(c, "COUNT");
    sg_conn_arg_u64(c, count);
    if (block > 0) {
        sg_conn_arg_str(c, "BLOCK");
        sg_conn_arg_u64(c, (uint64_t)block);
    }
    sg_conn_arg_str(c, "STREAMS");
    for (size_t i = 0; i < n; i++)
        sg_conn_arg_str(c, from[i].key);
    for (size_t i = 0; i < n; i++) {
        char id[48];
        /* XREAD wants the ID before: the entry that holds `offset` has a last offset of at least
         * it, and its era or a later one. */
        if (from[i].offset > 0)
            snprintf(id, sizeof id, "%" PRIu64 "-%" PRIu64, from[i].era, from[i].offset - 1);
        else
            snprintf(id, sizeof id, "%" PRIu64 "-%" PRIu64, from[i].era - 1, UINT64_MAX);
        sg_conn_arg_str(c, id);
    }
    return sg_conn_end_entries(c, in, fn, arg, block);
}

bool sg_entry_id_read(const sg_reply *id, uint64_t *era, uint64_t *offset) {
    seg_bytes text = sg_reply_bytes(id);
    return sg_entry_id_parse(text.data, text.len, era, offset);
}

bool sg_unblock_send(sg_conn *c, uint64_t client_id, sg_result_fn *fn, void *arg) {
    sg_conn_begin(c);
    sg_conn_command(c, 3);
    sg_conn_arg_str(c, "CLIENT");
    sg_conn_arg_str(c, "UNBLOCK");
    sg_conn_arg_u64(c, client_id);
    return sg_conn_end(c, fn, arg, 0);
}
