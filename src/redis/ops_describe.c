/* ops_describe.c - operations that look and change nothing: for operators. */
#include <string.h>

#include "core/batch.h"
#include "core/error.h"
#include "redis/ops_describe.h"
#include "redis/ops_impl.h"

/* Larger ones are not exact on the server, so it has none. */
#define NUMBER_MAX (UINT64_C(1) << 53)

static bool number(const sg_reply *r, uint64_t *out) {
    return sg_reply_u64(r, out) && *out <= NUMBER_MAX;
}

/* A key that holds something else is damage too, and concerns no more than what is in it. */
static seg_status damaged(seg_status status, seg_error *err) {
    return status == SEG_EPROTO ? err->status = SEG_ELOST : status;
}

/* ---- one partition ------------------------------------------------------------------------ */

bool sg_partition_describe_send(sg_conn *c, const sg_stream *s, const sg_group *group, uint32_t p,
                                sg_result_fn *fn, void *arg) {
    sg_call *k = sg_partition_call("partition_describe", s, p);
    sg_call_str(k, s->inc);
    sg_call_str(k, group != NULL ? group->name : "");
    sg_call_str(k, group != NULL ? group->gid : "");
    return sg_call_send(k, c, fn, arg);
}

#define ENDS  6  /* OK eras first next foreign producers */
#define PLACE 13 /* committed epoch acks tries high since header */

static bool place_fields(const sg_reply *r, sg_partition_answer *out) {
    const sg_reply *high = sg_reply_at(r, 10);
    seg_bytes header = sg_reply_bytes(sg_reply_at(r, 12));
    out->acks = sg_reply_bytes(sg_reply_at(r, 8));
    out->tries = sg_reply_bytes(sg_reply_at(r, 9));
    if (!number(sg_reply_at(r, 6), &out->committed) || !number(sg_reply_at(r, 7), &out->epoch) ||
        (!sg_reply_is(high, "") && !number(high, &out->high)) ||
        !number(sg_reply_at(r, 11), &out->since))
        return false;
    if (out->high > out->next) /* it is announced ahead of the log */
        out->high = out->next;
    sg_batch_time(header.data, header.len, &out->oldest);
    return true;
}

static bool partition_fields(const sg_reply *r, sg_partition_answer *out) {
    size_t n = sg_reply_count(r);
    const char *eras = sg_reply_text(sg_reply_at(r, 1)), *last = strrchr(eras, ' ');
    last = last != NULL ? last + 1 : eras;
    return (n == ENDS || n == PLACE) && sg_reply_is(sg_reply_at(r, 0), "OK") &&
           sg_digits_read(last, strcspn(last, ":"), NUMBER_MAX, &out->era) &&
           number(sg_reply_at(r, 2), &out->first) && number(sg_reply_at(r, 3), &out->next) &&
           out->first <= out->next && number(sg_reply_at(r, 4), &out->foreign) &&
           number(sg_reply_at(r, 5), &out->producers) && (n == ENDS || place_fields(r, out));
}

void sg_partition_describe_read(const sg_result *r, sg_partition_answer *out) {
    memset(out, 0, sizeof *out);
    out->status = sg_base_status(r, &out->err, &out->lost);
    if (out->status == SEG_OK && sg_reply_is(sg_reply_at(r->reply, 0), "LOST"))
        out->status = sg_lost_what(r->reply, "partition", &out->err);
    else if (out->status == SEG_OK && !partition_fields(r->reply, out))
        out->status = sg_nonsense(r->reply, "partition", &out->err);
    out->status = damaged(out->status, &out->err);
}

/* ---- many groups -------------------------------------------------------------------------- */

bool sg_partition_lag_send(sg_conn *c, const sg_stream *s, uint32_t p, const char *const *names,
                           const char *const *gids, size_t n, sg_result_fn *fn, void *arg) {
    sg_call *k = sg_partition_call("partition_lag", s, p);
    sg_call_str(k, s->inc);
    for (size_t i = 0; i < n; i++) {
        sg_call_str(k, names[i]);
        sg_call_str(k, gids[i]);
    }
    return sg_call_send(k, c, fn, arg);
}

void sg_partition_lag_read(const sg_result *r, size_t n, sg_lag_answer *out) {
    memset(out, 0, sizeof *out);
    out->status = sg_base_status(r, &out->err, &out->lost);
    if (out->status == SEG_OK) {
        const sg_reply *word = sg_reply_at(r->reply, 0);
        out->places = sg_reply_at(r->reply, 3);
        if (sg_reply_is(word, "LOST"))
            out->status = sg_lost_what(r->reply, "partition", &out->err);
        else if (!sg_reply_is(word, "OK") || !number(sg_reply_at(r->reply, 1), &out->first) ||
                 !number(sg_reply_at(r->reply, 2), &out->next) || out->first > out->next ||
                 sg_reply_count(out->places) != n)
            out->status = sg_nonsense(r->reply, "partition", &out->err);
    }
    out->status = damaged(out->status, &out->err);
}

uint64_t sg_lag(uint64_t committed, uint64_t first, uint64_t next) {
    if (committed > next)
        return SEG_UNKNOWN;
    /* What was dropped before it was read can no longer be behind. */
    return next - (committed > first ? committed : first);
}

void sg_known_add(uint64_t *sum, uint64_t n) {
    *sum = n > SEG_UNKNOWN - 1 || *sum > SEG_UNKNOWN - 1 - n ? SEG_UNKNOWN : *sum + n;
}

bool sg_lag_at(const sg_lag_answer *a, size_t i, uint64_t *lag, uint64_t *committed) {
    bool known = a->status == SEG_OK && number(sg_reply_at(a->places, i), committed);
    if (!known)
        *committed = SEG_UNKNOWN;
    *lag = known ? sg_lag(*committed, a->first, a->next) : SEG_UNKNOWN;
    return known;
}

bool sg_group_summary_send(sg_conn *c, const sg_stream *s, const char *const *names, size_t n,
                           sg_result_fn *fn, void *arg) {
    sg_call *k = sg_call_new(sg_script_find("group_summary"), 2 + 3 * n);
    sg_call_key(k, sg_key_meta(s->ns, s->name));
    sg_call_key(k, sg_key_groups(s->ns, s->name));
    for (size_t i = 0; i < n; i++)
        sg_call_group_keys(k, s, names[i]);
    sg_call_str(k, s->inc);
    for (size_t i = 0; i < n; i++)
        sg_call_str(k, names[i]);
    return sg_call_send(k, c, fn, arg);
}

void sg_group_summary_read(const sg_result *r, size_t n, sg_summary_answer *out) {
    memset(out, 0, sizeof *out);
    out->status = sg_base_status(r, &out->err, &out->lost);
    if (out->status != SEG_OK)
        return;
    const sg_reply *word = sg_reply_at(r->reply, 0);
    out->rows = r->reply;
    if (sg_reply_is(word, "NONE"))
        out->status = sg_fail(&out->err, SEG_ENOENT, "the stream was deleted");
    else if (!sg_reply_is(word, "OK") || sg_reply_count(r->reply) != n + 1)
        out->status = sg_nonsense(r->reply, "groups", &out->err);
}

seg_status sg_summary_at(const sg_summary_answer *a, size_t i, sg_summary *out) {
    const sg_reply *row = sg_reply_at(a->rows, i + 1);
    memset(out, 0, sizeof *out);
    if (sg_reply_is_array(row) && sg_reply_count(row) == 0)
        return SEG_ENOENT;
    sg_summary s = {.members = 0};
    if (!sg_copy_text(s.gid, sizeof s.gid, sg_reply_at(row, 0)) ||
        !number(sg_reply_at(row, 1), &s.members) || !number(sg_reply_at(row, 2), &s.owned) ||
        !number(sg_reply_at(row, 3), &s.epoch))
        return SEG_ELOST;
    *out = s;
    return SEG_OK;
}

bool sg_groups_count_send(sg_conn *c, const sg_stream *s, sg_result_fn *fn, void *arg) {
    return sg_plain_command(c, "SCARD", sg_key_groups(s->ns, s->name), NULL, fn, arg);
}
