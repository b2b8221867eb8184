/* ops.c - what all operations share, and those on streams. */
#include "redis/ops.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/batch.h"
#include "core/error.h"
#include "redis/ops_impl.h"

/* ---- helpers --------------------------------------------------------------------------------- */

void sg_call_key(sg_call *k, sg_key key) {
    sg_call_arg(k, key.text, key.len);
}

void sg_arg_key(sg_conn *c, sg_key key) {
    sg_conn_arg(c, key.text, key.len);
}

static void call_partition_keys(sg_call *k, const sg_stream *s, uint32_t p) {
    sg_call_key(k, sg_key_state(s->ns, s->name, p));
    sg_call_key(k, sg_key_log(s->ns, s->name, p));
    sg_call_key(k, sg_key_cursors(s->ns, s->name, p));
    sg_call_key(k, sg_key_committed(s->ns, s->name, p));
}

sg_call *sg_partition_call(const char *script, const sg_stream *s, uint32_t p) {
    sg_call *k = sg_call_new(sg_script_find(script), 4);
    call_partition_keys(k, s, p);
    return k;
}

void sg_call_group_keys(sg_call *k, const sg_stream *s, const char *group) {
    sg_call_key(k, sg_key_group(s->ns, s->name, group));
    sg_call_key(k, sg_key_leases(s->ns, s->name, group));
    sg_call_key(k, sg_key_parts(s->ns, s->name, group));
}

bool sg_plain_command(sg_conn *c, const char *verb, sg_key key, const char *member,
                      sg_result_fn *fn, void *arg) {
    sg_conn_begin(c);
    sg_conn_command(c, member == NULL ? 2 : 3);
    sg_conn_arg_str(c, verb);
    sg_arg_key(c, key);
    if (member != NULL)
        sg_conn_arg_str(c, member);
    return sg_conn_end(c, fn, arg, 0);
}

seg_status sg_refusal(seg_error *err, seg_status status, const char *text) {
    const char *end = strstr(text, " script: ");
    int len = end != NULL ? (int)(end - text) : (int)strlen(text);
    if (status == SEG_EPROTO)
        return sg_fail(err, status,
                       "a key of ours on the server holds something else: \"%.*s\": delete "
                       "the key, or the stream",
                       len, text);
    if (status == SEG_EOOM)
        return sg_fail(err, status,
                       "the server's memory is full (maxmemory): \"%.*s\": raise it, or let "
                       "consumers drain the streams",
                       len, text);
    return sg_fail(err, status, "the server refused: %.*s", len, text);
}

seg_status sg_base_status(const sg_result *r, seg_error *err, bool *lost) {
    *lost = r->lost;
    if (r->status == SEG_OK)
        return SEG_OK;
    if (r->lost)
        return sg_fail(err, r->status, "%s", r->text != NULL ? r->text : "connection lost");
    return sg_refusal(err, r->status, r->text);
}

seg_status sg_nonsense(const sg_reply *reply, const char *what, seg_error *err) {
    return sg_fail(err, SEG_EPROTO, "%s: the answer makes no sense (\"%.40s\")", what,
                   sg_reply_text(sg_reply_at(reply, 0)));
}

seg_status sg_lost_what(const sg_reply *reply, const char *what, seg_error *err) {
    return sg_fail(err, SEG_ELOST,
                   "%s: the server no longer has its %s: deleted, flushed, or another "
                   "one was restored",
                   what, sg_reply_text(sg_reply_at(reply, 1)));
}

bool sg_copy_text(char *out, size_t size, const sg_reply *r) {
    seg_bytes b = sg_reply_bytes(r);
    if (b.len == 0 || b.len >= size || memchr(b.data, '\0', b.len) != NULL)
        return false;
    memcpy(out, b.data, b.len);
    out[b.len] = '\0';
    return true;
}

void sg_plain_read(const sg_result *r, const char *what, sg_plain_answer *out) {
    memset(out, 0, sizeof *out);
    out->status = sg_base_status(r, &out->err, &out->lost);
    if (out->status != SEG_OK || !sg_reply_is_array(r->reply))
        return;
    const sg_reply *word = sg_reply_at(r->reply, 0);
    if (sg_reply_is(word, "LOST"))
        out->status = sg_lost_what(r->reply, what, &out->err);
    else if (sg_reply_is(word, "GONE"))
        out->status = sg_fail(&out->err, SEG_ENOENT, "%s: it was deleted meanwhile", what);
    else if (sg_reply_is(word, "FOREIGN"))
        out->status =
            sg_fail(&out->err, SEG_EEXIST,
                    "%s: keys that are not its own are in its place on the server: delete it, "
                    "then create it again",
                    what);
    else if (!sg_reply_is(word, "OK"))
        out->status = sg_nonsense(r->reply, what, &out->err);
}

/* ---- streams --------------------------------------------------------------------------------- */

static const char *const POLICIES[] = {"block", "reject", "drop-oldest"};

static bool policy_read(const sg_reply *r, seg_on_full *out) {
    for (size_t i = 0; i < sizeof POLICIES / sizeof *POLICIES; i++)
        if (sg_reply_is(r, POLICIES[i])) {
            *out = (seg_on_full)i;
            return true;
        }
    return false;
}

/* Elements from `at` on: incarnation, partitions, messages, policy. */
static bool settings_read(const sg_reply *reply, size_t at, sg_stream *out) {
    uint64_t partitions;
    if (!sg_copy_text(out->inc, sizeof out->inc, sg_reply_at(reply, at)) ||
        !sg_reply_u64(sg_reply_at(reply, at + 1), &partitions) || partitions < 1 ||
        partitions > 4096 || !sg_reply_u64(sg_reply_at(reply, at + 2), &out->bound) ||
        out->bound < 1 || !policy_read(sg_reply_at(reply, at + 3), &out->on_full))
        return false;
    out->partitions = (uint32_t)partitions;
    out->seed = sg_batch_seed(out->inc);
    return true;
}

bool sg_stream_get_send(sg_conn *c, const sg_stream *s, sg_result_fn *fn, void *arg) {
    static const char *const fields[] = {"phase",  "inc",     "partitions", "messages",
                                         "policy", "created", "format"};
    const size_t n = sizeof fields / sizeof *fields;
    sg_conn_begin(c);
    sg_conn_command(c, 2 + n);
    sg_conn_arg_str(c, "HMGET");
    sg_arg_key(c, sg_key_meta(s->ns, s->name));
    for (size_t i = 0; i < n; i++)
        sg_conn_arg_str(c, fields[i]);
    return sg_conn_end(c, fn, arg, 0);
}

void sg_stream_get_read(const sg_result *r, const sg_stream *s, sg_stream_answer *out) {
    memset(out, 0, sizeof *out);
    out->status = sg_base_status(r, &out->err, &out->lost);
    if (out->status != SEG_OK)
        return;
    const sg_reply *phase = sg_reply_at(r->reply, 0);
    out->creating = sg_reply_is(phase, "creating");
    out->deleting = sg_reply_is(phase, "deleting");
    if (!sg_reply_is(phase, "ready")) {
        out->status = sg_fail(
            &out->err, SEG_ENOENT, "no stream \"%.200s\" in namespace \"%.200s\"%s", s->name, s->ns,
            out->creating   ? ": its creation was begun and not finished: create it again"
            : out->deleting ? ": it is being deleted"
                            : "");
        return;
    }
    out->stream = *s;
    if (!sg_reply_is(sg_reply_at(r->reply, 6), "1")) {
        out->status = sg_fail(&out->err, SEG_EPROTO,
                              "stream \"%.200s\" has format %.20s, this library "
                              "knows 1: use a newer one",
                              s->name, sg_reply_text(sg_reply_at(r->reply, 6)));
        return;
    }
    sg_reply_i64(sg_reply_at(r->reply, 5), &out->stream.created);
    if (!settings_read(r->reply, 1, &out->stream))
        out->status = sg_fail(&out->err, SEG_EPROTO,
                              "stream \"%.200s\": its settings on the server are "
                              "damaged",
                              s->name);
}

bool sg_stream_create_send(sg_conn *c, const sg_stream *s, bool accept, sg_result_fn *fn,
                           void *arg) {
    sg_call *k = sg_call_new(sg_script_find("stream_create"), 1);
    sg_call_key(k, sg_key_meta(s->ns, s->name));
    sg_call_str(k, s->inc);
    sg_call_u64(k, s->partitions);
    sg_call_u64(k, s->bound);
    sg_call_str(k, POLICIES[s->on_full]);
    sg_call_str(k, accept ? "1" : "0");
    return sg_call_send(k, c, fn, arg);
}

static void conflict_read(const sg_reply *reply, const sg_stream *s, sg_stream_answer *out) {
    out->status = sg_fail(
        &out->err, SEG_EEXIST,
        "stream \"%.200s\" exists with %s partitions of %s messages, %s; asked for were %" PRIu32
        " of %" PRIu64 ", %s: its settings cannot change",
        s->name, sg_reply_text(sg_reply_at(reply, 2)), sg_reply_text(sg_reply_at(reply, 3)),
        sg_reply_text(sg_reply_at(reply, 4)), s->partitions, s->bound, POLICIES[s->on_full]);
}

void sg_stream_create_read(const sg_result *r, const sg_stream *s, sg_stream_answer *out) {
    memset(out, 0, sizeof *out);
    out->status = sg_base_status(r, &out->err, &out->lost);
    if (out->status != SEG_OK)
        return;
    const sg_reply *word = sg_reply_at(r->reply, 0);
    out->stream = *s;
    if (sg_reply_is(word, "CREATE") || sg_reply_is(word, "READY")) {
        out->creating = sg_reply_is(word, "CREATE");
        if (!settings_read(r->reply, 1, &out->stream))
            out->status = sg_nonsense(r->reply, "creating a stream", &out->err);
    } else if (sg_reply_is(word, "CONFLICT")) {
        conflict_read(r->reply, s, out);
    } else if (sg_reply_is(word, "DELETING")) {
        out->status = sg_fail(&out->err, SEG_EEXIST,
                              "stream \"%.200s\" is being deleted: delete it again "
                              "if that was interrupted",
                              s->name);
    } else {
        out->status = sg_nonsense(r->reply, "creating a stream", &out->err);
    }
}

/* With all keys of a partition, as only making and removing one needs them. */
static sg_call *whole_partition_call(const char *script, const sg_stream *s, uint32_t p) {
    sg_call *k = sg_call_new(sg_script_find(script), 5);
    call_partition_keys(k, s, p);
    sg_call_key(k, sg_key_forwards(s->ns, s->name, p));
    return k;
}

bool sg_partition_create_send(sg_conn *c, const sg_stream *s, uint32_t p, sg_result_fn *fn,
                              void *arg) {
    sg_call *k = whole_partition_call("partition_create", s, p);
    sg_call_str(k, s->inc);
    sg_call_u64(k, s->bound);
    sg_call_str(k, POLICIES[s->on_full]);
    return sg_call_send(k, c, fn, arg);
}

bool sg_stream_ready_send(sg_conn *c, const sg_stream *s, sg_result_fn *fn, void *arg) {
    sg_call *k = sg_call_new(sg_script_find("stream_ready"), 1);
    sg_call_key(k, sg_key_meta(s->ns, s->name));
    sg_call_str(k, s->inc);
    return sg_call_send(k, c, fn, arg);
}

bool sg_streams_add_send(sg_conn *c, const sg_stream *s, sg_result_fn *fn, void *arg) {
    return sg_plain_command(c, "SADD", sg_key_streams(s->ns), s->name, fn, arg);
}

bool sg_streams_remove_send(sg_conn *c, const sg_stream *s, sg_result_fn *fn, void *arg) {
    return sg_plain_command(c, "SREM", sg_key_streams(s->ns), s->name, fn, arg);
}

bool sg_partition_delete_send(sg_conn *c, const sg_stream *s, uint32_t p, sg_result_fn *fn,
                              void *arg) {
    sg_call *k = whole_partition_call("partition_delete", s, p);
    sg_call_str(k, s->inc);
    return sg_call_send(k, c, fn, arg);
}

bool sg_stream_drop_send(sg_conn *c, const sg_stream *s, const char *const *groups, size_t n,
                         sg_result_fn *fn, void *arg) {
    sg_call *k = sg_call_new(sg_script_find("stream_drop"), 2 + 3 * n);
    sg_call_key(k, sg_key_meta(s->ns, s->name));
    sg_call_key(k, sg_key_groups(s->ns, s->name));
    for (size_t i = 0; i < n; i++)
        sg_call_group_keys(k, s, groups[i]);
    sg_call_str(k, s->inc);
    return sg_call_send(k, c, fn, arg);
}

bool sg_streams_list_send(sg_conn *c, const char *ns, sg_result_fn *fn, void *arg) {
    return sg_plain_command(c, "SMEMBERS", sg_key_streams(ns), NULL, fn, arg);
}

bool sg_stream_delete_send(sg_conn *c, const sg_stream *s, sg_result_fn *fn, void *arg) {
    sg_call *k = sg_call_new(sg_script_find("stream_delete"), 2);
    sg_call_key(k, sg_key_meta(s->ns, s->name));
    sg_call_key(k, sg_key_groups(s->ns, s->name));
    return sg_call_send(k, c, fn, arg);
}
