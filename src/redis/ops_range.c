/* ops_range.c - reading a stretch of a partition's log. */
#include "redis/ops_range.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/error.h"
#include "redis/ops_impl.h"

bool sg_range_send(sg_conn *c, const sg_stream *s, uint32_t p, const sg_eras *eras, uint64_t from,
                   uint64_t to, uint64_t count, sg_result_fn *fn, void *arg) {
    char low[48], high[48];
    snprintf(low, sizeof low, "%" PRIu64 "-%" PRIu64, sg_eras_of(eras, from), from);
    snprintf(high, sizeof high, "%" PRIu64 "-%" PRIu64, sg_eras_of(eras, to), to);
    sg_conn_begin(c);
    sg_conn_command(c, 6);
    sg_conn_arg_str(c, "XRANGE");
    sg_arg_key(c, sg_key_log(s->ns, s->name, p));
    sg_conn_arg_str(c, low);
    sg_conn_arg_str(c, high);
    sg_conn_arg_str(c, "COUNT");
    sg_conn_arg_u64(c, count);
    return sg_conn_end(c, fn, arg, 0);
}

void sg_range_read(const sg_result *r, sg_range_answer *out) {
    memset(out, 0, sizeof *out);
    out->status = sg_base_status(r, &out->err, &out->lost);
    if (out->status != SEG_OK)
        return;
    if (!sg_reply_is_array(r->reply)) {
        out->status =
            sg_fail(&out->err, SEG_EPROTO, "a partition's log: the answer makes no sense");
        return;
    }
    out->entries = r->reply;
    out->count = sg_reply_count(r->reply);
}

bool sg_range_entry(const sg_range_answer *a, size_t i, const sg_eras *eras, uint64_t *last,
                    seg_bytes *batch) {
    const sg_reply *entry = sg_reply_at(a->entries, i), *fields = sg_reply_at(entry, 1);
    uint64_t era = 0, offset = 0;
    *last = UINT64_MAX;
    if (!sg_entry_id_read(sg_reply_at(entry, 0), &era, &offset) || era != sg_eras_of(eras, offset))
        return false;
    *last = offset;
    *batch = sg_reply_bytes(sg_reply_at(fields, 1));
    return sg_reply_count(fields) == 2 && sg_reply_is(sg_reply_at(fields, 0), "b") &&
           !sg_reply_is_nil(sg_reply_at(fields, 1));
}
