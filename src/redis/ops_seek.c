/* ops_seek.c - moving a group, and finding an entry by an offset. */
#include "redis/ops_seek.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/error.h"
#include "redis/ops_impl.h"
#include "redis/ops_range.h"

/* ---- moving a group -------------------------------------------------------------------------- */

static sg_call *group_seek(const sg_stream *s, const sg_group *g, const char *op, bool force,
                           uint64_t floor) {
    sg_call *k = sg_group_call("group_seek", sg_key_meta(s->ns, s->name), s, g->name);
    sg_call_str(k, s->inc);
    sg_call_str(k, g->gid);
    sg_call_str(k, op);
    sg_call_str(k, force ? "1" : "0");
    sg_call_u64(k, floor);
    sg_call_key(k, sg_key_wake(s->ns, s->name, g->name, ""));
    return k;
}

bool sg_group_seek_begin_send(sg_conn *c, const sg_stream *s, const sg_group *g, bool force,
                              uint64_t floor, sg_result_fn *fn, void *arg) {
    return sg_call_send(group_seek(s, g, "begin", force, floor), c, fn, arg);
}

bool sg_group_seek_finish_send(sg_conn *c, const sg_stream *s, const sg_group *g,
                               const sg_handback *moved, size_t n, sg_result_fn *fn, void *arg) {
    sg_call *k = group_seek(s, g, "finish", false, 0);
    for (size_t i = 0; i < n; i++) {
        char text[48];
        snprintf(text, sizeof text, "%" PRIu32 ":%" PRIu64, moved[i].partition, moved[i].epoch);
        sg_call_str(k, text);
    }
    return sg_call_send(k, c, fn, arg);
}

bool sg_cursor_seek_send(sg_conn *c, const sg_stream *s, const sg_group *g, uint32_t p,
                         uint64_t epoch, uint64_t offset, sg_result_fn *fn, void *arg) {
    sg_call *k = sg_partition_call("cursor_seek", s, p);
    sg_call_str(k, s->inc);
    sg_call_str(k, g->name);
    sg_call_str(k, g->gid);
    sg_call_u64(k, epoch);
    sg_call_u64(k, offset);
    return sg_call_send(k, c, fn, arg);
}

static bool ok_fields(const sg_reply *reply, sg_seek_answer *out) {
    if (sg_reply_count(reply) == 2)
        return sg_reply_u64(sg_reply_at(reply, 1), &out->epoch);
    return sg_reply_count(reply) == 3 && sg_reply_u64(sg_reply_at(reply, 1), &out->before) &&
           sg_reply_u64(sg_reply_at(reply, 2), &out->after);
}

void sg_seek_read(const sg_result *r, sg_seek_answer *out) {
    memset(out, 0, sizeof *out);
    out->kind = SG_SEEK_REFUSED;
    if (sg_base_status(r, &out->err, &out->lost) != SEG_OK)
        return;
    const sg_reply *word = sg_reply_at(r->reply, 0), *second = sg_reply_at(r->reply, 1);
    if (sg_reply_is(word, "OK") && ok_fields(r->reply, out)) {
        out->kind = SG_SEEK_OK;
    } else if (sg_reply_is(word, "ACTIVE") && sg_reply_u64(second, &out->members)) {
        out->kind = SG_SEEK_ACTIVE;
    } else if (sg_reply_is(word, "STALE") && sg_reply_u64(second, &out->epoch)) {
        out->kind = SG_SEEK_STALE;
    } else if (sg_reply_is(word, "LOST")) {
        out->kind = SG_SEEK_GONE;
        sg_lost_what(r->reply, "moving a group", &out->err);
    } else if (sg_reply_is(word, "GONE")) {
        out->kind = SG_SEEK_GONE;
        sg_fail(&out->err, SEG_ENOENT, "the %.20s was deleted", sg_reply_text(second));
    } else {
        sg_nonsense(r->reply, "moving a group", &out->err);
    }
}

/* ---- one entry ------------------------------------------------------------------------------- */

bool sg_entry_find_send(sg_conn *c, const sg_stream *s, uint32_t p, const sg_eras *eras,
                        uint64_t from, uint64_t to, sg_result_fn *fn, void *arg) {
    return sg_range_send(c, s, p, eras, from, to, 1, fn, arg);
}

void sg_entry_find_read(const sg_result *r, sg_entry_answer *out) {
    memset(out, 0, sizeof *out);
    out->status = sg_base_status(r, &out->err, &out->lost);
    if (out->status != SEG_OK || (sg_reply_is_array(r->reply) && sg_reply_count(r->reply) == 0))
        return;
    const sg_reply *entry = sg_reply_at(r->reply, 0), *fields = sg_reply_at(entry, 1);
    uint64_t era;
    out->found = sg_entry_id_read(sg_reply_at(entry, 0), &era, &out->last);
    if (!out->found)
        out->status =
            sg_fail(&out->err, SEG_EPROTO, "a partition's log: the answer makes no sense");
    else if (sg_reply_count(fields) == 2 && sg_reply_is(sg_reply_at(fields, 0), "b"))
        out->batch = sg_reply_bytes(sg_reply_at(fields, 1));
}
