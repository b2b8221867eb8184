#include "redis/ops.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/batch.h"
#include "core/error.h"
#include "redis/script.h"

/* ---- helpers ------------------------------------------------------------------------------ */

static void call_key(sg_call *k, sg_key key) {
    sg_call_arg(k, key.text, key.len);
}

static void arg_key(sg_conn *c, sg_key key) {
    sg_conn_arg(c, key.text, key.len);
}

/* The keys of a partition in the order that all cursor scripts and partition_create take. */
static sg_call *partition_call(const char *script, const sg_stream *s, uint32_t p) {
    sg_call *k = sg_call_new(sg_script_find(script), 4);
    call_key(k, sg_key_state(s->ns, s->name, p));
    call_key(k, sg_key_log(s->ns, s->name, p));
    call_key(k, sg_key_cursors(s->ns, s->name, p));
    call_key(k, sg_key_committed(s->ns, s->name, p));
    return k;
}

static bool plain_command(sg_conn *c, const char *verb, sg_key key, const char *member,
                          sg_result_fn *fn, void *arg) {
    sg_conn_begin(c);
    sg_conn_command(c, member == NULL ? 2 : 3);
    sg_conn_arg_str(c, verb);
    arg_key(c, key);
    if (member != NULL)
        sg_conn_arg_str(c, member);
    return sg_conn_end(c, fn, arg, 0);
}

/* The server's words, without the place in the script that Redis adds, and what they mean. */
static seg_status refusal(seg_error *err, seg_status status, const char *text) {
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

/* The status of a refusal or a lost connection, with its text. SEG_OK: there is an answer to read.
 */
static seg_status base_status(const sg_result *r, seg_error *err, bool *lost) {
    *lost = r->lost;
    if (r->status == SEG_OK)
        return SEG_OK;
    if (r->lost)
        return sg_fail(err, r->status, "%s", r->text != NULL ? r->text : "connection lost");
    return refusal(err, r->status, r->text);
}

static seg_status nonsense(const sg_reply *reply, const char *what, seg_error *err) {
    return sg_fail(err, SEG_EPROTO, "%s: the answer makes no sense (\"%.40s\")", what,
                   sg_reply_text(sg_reply_at(reply, 0)));
}

static seg_status lost_what(const sg_reply *reply, const char *what, seg_error *err) {
    return sg_fail(err, SEG_ELOST,
                   "%s: the server no longer has its %s: deleted, flushed, or another "
                   "one was restored",
                   what, sg_reply_text(sg_reply_at(reply, 1)));
}

static bool copy_text(char *out, size_t size, const sg_reply *r) {
    seg_bytes b = sg_reply_bytes(r);
    if (b.len == 0 || b.len >= size)
        return false;
    memcpy(out, b.data, b.len);
    out[b.len] = '\0';
    return true;
}

void sg_plain_read(const sg_result *r, const char *what, sg_plain_answer *out) {
    memset(out, 0, sizeof *out);
    out->status = base_status(r, &out->err, &out->lost);
    if (out->status != SEG_OK || !sg_reply_is_array(r->reply))
        return;
    const sg_reply *word = sg_reply_at(r->reply, 0);
    if (sg_reply_is(word, "LOST"))
        out->status = lost_what(r->reply, what, &out->err);
    else if (sg_reply_is(word, "GONE"))
        out->status = sg_fail(&out->err, SEG_ENOENT, "%s: it was deleted meanwhile", what);
    else if (sg_reply_is(word, "FOREIGN"))
        out->status =
            sg_fail(&out->err, SEG_EEXIST,
                    "%s: keys that are not its own are in its place on the server: delete it, "
                    "then create it again",
                    what);
    else if (!sg_reply_is(word, "OK"))
        out->status = nonsense(r->reply, what, &out->err);
}

/* ---- streams ------------------------------------------------------------------------------ */

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
    if (!copy_text(out->inc, sizeof out->inc, sg_reply_at(reply, at)) ||
        !sg_reply_u64(sg_reply_at(reply, at + 1), &partitions) || partitions < 1 ||
        partitions > 4096 || !sg_reply_u64(sg_reply_at(reply, at + 2), &out->bound) ||
        !policy_read(sg_reply_at(reply, at + 3), &out->on_full))
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
    arg_key(c, sg_key_meta(s->ns, s->name));
    for (size_t i = 0; i < n; i++)
        sg_conn_arg_str(c, fields[i]);
    return sg_conn_end(c, fn, arg, 0);
}

void sg_stream_get_read(const sg_result *r, const sg_stream *s, sg_stream_answer *out) {
    memset(out, 0, sizeof *out);
    out->status = base_status(r, &out->err, &out->lost);
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
    call_key(k, sg_key_meta(s->ns, s->name));
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
    out->status = base_status(r, &out->err, &out->lost);
    if (out->status != SEG_OK)
        return;
    const sg_reply *word = sg_reply_at(r->reply, 0);
    out->stream = *s;
    if (sg_reply_is(word, "CREATE") || sg_reply_is(word, "READY")) {
        out->creating = sg_reply_is(word, "CREATE");
        if (!settings_read(r->reply, 1, &out->stream))
            out->status = nonsense(r->reply, "creating a stream", &out->err);
    } else if (sg_reply_is(word, "CONFLICT")) {
        conflict_read(r->reply, s, out);
    } else if (sg_reply_is(word, "DELETING")) {
        out->status = sg_fail(&out->err, SEG_EEXIST,
                              "stream \"%.200s\" is being deleted: delete it again "
                              "if that was interrupted",
                              s->name);
    } else {
        out->status = nonsense(r->reply, "creating a stream", &out->err);
    }
}

bool sg_partition_create_send(sg_conn *c, const sg_stream *s, uint32_t p, sg_result_fn *fn,
                              void *arg) {
    sg_call *k = partition_call("partition_create", s, p);
    sg_call_str(k, s->inc);
    sg_call_u64(k, s->bound);
    sg_call_str(k, POLICIES[s->on_full]);
    return sg_call_send(k, c, fn, arg);
}

bool sg_stream_ready_send(sg_conn *c, const sg_stream *s, sg_result_fn *fn, void *arg) {
    sg_call *k = sg_call_new(sg_script_find("stream_ready"), 1);
    call_key(k, sg_key_meta(s->ns, s->name));
    sg_call_str(k, s->inc);
    return sg_call_send(k, c, fn, arg);
}

bool sg_streams_add_send(sg_conn *c, const sg_stream *s, sg_result_fn *fn, void *arg) {
    return plain_command(c, "SADD", sg_key_streams(s->ns), s->name, fn, arg);
}

bool sg_streams_remove_send(sg_conn *c, const sg_stream *s, sg_result_fn *fn, void *arg) {
    return plain_command(c, "SREM", sg_key_streams(s->ns), s->name, fn, arg);
}

bool sg_partition_delete_send(sg_conn *c, const sg_stream *s, uint32_t p, sg_result_fn *fn,
                              void *arg) {
    sg_call *k = partition_call("partition_delete", s, p);
    sg_call_str(k, s->inc);
    return sg_call_send(k, c, fn, arg);
}

static void call_group_keys(sg_call *k, const sg_stream *s, const char *group) {
    call_key(k, sg_key_group(s->ns, s->name, group));
    call_key(k, sg_key_leases(s->ns, s->name, group));
    call_key(k, sg_key_parts(s->ns, s->name, group));
}

bool sg_stream_drop_send(sg_conn *c, const sg_stream *s, const char *const *groups, size_t n,
                         sg_result_fn *fn, void *arg) {
    sg_call *k = sg_call_new(sg_script_find("stream_drop"), 2 + 3 * n);
    call_key(k, sg_key_meta(s->ns, s->name));
    call_key(k, sg_key_groups(s->ns, s->name));
    for (size_t i = 0; i < n; i++)
        call_group_keys(k, s, groups[i]);
    sg_call_str(k, s->inc);
    return sg_call_send(k, c, fn, arg);
}

bool sg_group_drop_send(sg_conn *c, const sg_stream *s, const sg_group *g, sg_result_fn *fn,
                        void *arg) {
    sg_call *k = sg_call_new(sg_script_find("group_drop"), 4);
    call_key(k, sg_key_groups(s->ns, s->name));
    call_group_keys(k, s, g->name);
    sg_call_str(k, g->name);
    sg_call_str(k, g->gid);
    return sg_call_send(k, c, fn, arg);
}

bool sg_streams_list_send(sg_conn *c, const char *ns, sg_result_fn *fn, void *arg) {
    return plain_command(c, "SMEMBERS", sg_key_streams(ns), NULL, fn, arg);
}

bool sg_groups_list_send(sg_conn *c, const sg_stream *s, sg_result_fn *fn, void *arg) {
    return plain_command(c, "SMEMBERS", sg_key_groups(s->ns, s->name), NULL, fn, arg);
}

bool sg_stream_delete_send(sg_conn *c, const sg_stream *s, sg_result_fn *fn, void *arg) {
    sg_call *k = sg_call_new(sg_script_find("stream_delete"), 2);
    call_key(k, sg_key_meta(s->ns, s->name));
    call_key(k, sg_key_groups(s->ns, s->name));
    return sg_call_send(k, c, fn, arg);
}

/* ---- append ------------------------------------------------------------------------------- */

/* The guard travels with its body: EVALSHA that answered NOSCRIPT inside EXEC would let the XADD
 * through unguarded. */
bool sg_append_send(sg_conn *c, const sg_append *a, sg_result_fn *fn, void *arg) {
    size_t len;
    const char *body = sg_script_body(sg_script_find("append"), &len);
    const sg_stream *s = a->stream;
    sg_key log = sg_key_log(s->ns, s->name, a->partition);
    char id[32];
    sg_conn_begin(c);
    sg_conn_command(c, 1);
    sg_conn_arg_str(c, "MULTI");
    sg_conn_command(c, 11);
    sg_conn_arg_str(c, "EVAL");
    sg_conn_arg(c, body, len);
    sg_conn_arg_u64(c, 2);
    arg_key(c, sg_key_state(s->ns, s->name, a->partition));
    arg_key(c, log);
    sg_conn_arg_str(c, s->inc);
    sg_conn_arg_u64(c, a->era);
    sg_conn_arg_str(c, a->producer);
    sg_conn_arg_u64(c, a->generation);
    sg_conn_arg_u64(c, a->first_seq);
    sg_conn_arg_u64(c, a->count);
    /* The probe's has an ID that is always refused, but not before the right to it was checked. */
    if (a->count > 0)
        snprintf(id, sizeof id, "%" PRIu64 "-*", a->era);
    else
        snprintf(id, sizeof id, "0-0");
    sg_conn_command(c, 6);
    sg_conn_arg_str(c, "XADD");
    arg_key(c, log);
    sg_conn_arg_str(c, "NOMKSTREAM");
    sg_conn_arg_str(c, id);
    sg_conn_arg_str(c, "b");
    sg_conn_arg(c, a->batch, a->batch_len);
    sg_conn_command(c, 1);
    sg_conn_arg_str(c, "EXEC");
    return sg_conn_end(c, fn, arg, 0);
}

static sg_append_kind append_kind(const sg_reply *word) {
    static const struct {
        const char *word;
        sg_append_kind kind;
    } words[] = {{"OK", SG_APPEND_STORED}, {"DUP", SG_APPEND_STORED},   {"FULL", SG_APPEND_FULL},
                 {"GAP", SG_APPEND_GAP},   {"STALE", SG_APPEND_STALE},  {"ERA", SG_APPEND_ERA},
                 {"LOST", SG_APPEND_LOST}, {"TOOBIG", SG_APPEND_TOOBIG}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (sg_reply_is(word, words[i].word))
            return words[i].kind;
    return SG_APPEND_REFUSED;
}

static void append_refusal(const sg_reply *guard, sg_append_answer *out) {
    const char *what = sg_reply_text(sg_reply_at(guard, 1));
    switch (out->kind) {
    case SG_APPEND_FULL:
        sg_reply_u64(sg_reply_at(guard, 2), &out->room);
        sg_fail(&out->err, SEG_EFULL,
                "the partition is full: %" PRIu64 " of its %" PRIu64
                " messages are unread by at least one group, or there is none",
                out->number - out->room, out->number);
        break;
    case SG_APPEND_TOOBIG:
        sg_fail(&out->err, SEG_EINVAL, "a batch has more messages than the partition may hold (%s)",
                what);
        break;
    case SG_APPEND_GAP:
        sg_fail(&out->err, SEG_ELOST,
                "the server knows this producer's messages only up to sequence %s: "
                "it lost the later ones",
                what);
        break;
    case SG_APPEND_LOST:
        sg_fail(&out->err, SEG_ELOST,
                "the server no longer has the partition's %s: deleted, flushed, or "
                "another one was restored",
                what);
        break;
    case SG_APPEND_STALE:
    case SG_APPEND_ERA:
        sg_fail(&out->err, SEG_EPROTO, "the log has moved on to %s", what);
        break;
    default:
        if (sg_reply_is(sg_reply_at(guard, 0), "BROKEN"))
            refusal(&out->err, sg_reply_error_status(what), what);
        else
            nonsense(guard, "append", &out->err);
    }
}

/* The transaction was refused as a whole, and nothing of it was done, if its EXEC says so. A server
 * that refused the MULTI alone has then run the other commands one by one. */
static bool discarded(const sg_result *r) {
    const char *last = sg_reply_error(r->reply);
    return last != NULL && strncmp(last, "EXECABORT", 9) == 0;
}

/* The EXEC's answer: [guard's, XADD's]; XADD's is an error wherever the guard's is not OK. */
void sg_append_read(const sg_result *r, bool probe, sg_append_answer *out) {
    memset(out, 0, sizeof *out);
    out->kind = SG_APPEND_REFUSED;
    if (base_status(r, &out->err, &out->lost) != SEG_OK) {
        out->unsure = !out->lost && !discarded(r);
        return;
    }
    const sg_reply *guard = sg_reply_at(r->reply, 0), *added = sg_reply_at(r->reply, 1);
    bool stored = sg_reply_bytes(added).len > 0;
    if (sg_reply_error(guard) != NULL) {
        sg_fail(&out->err, sg_reply_error_status(sg_reply_error(guard)), "the server refused: %s",
                sg_reply_error(guard));
        out->unsure = stored;
        return;
    }
    out->kind = append_kind(sg_reply_at(guard, 0));
    out->duplicate = sg_reply_is(sg_reply_at(guard, 0), "DUP");
    if (!sg_reply_u64(sg_reply_at(guard, 1), &out->number))
        out->number = UINT64_MAX;
    out->offset = out->number;
    if (out->kind != SG_APPEND_STORED)
        append_refusal(guard, out);
    /* The guard's word and what the XADD then did always agree; only where rights were taken away
     * in the middle do they not. */
    bool due = out->kind == SG_APPEND_STORED && !out->duplicate && !probe;
    if (stored != due) {
        out->kind = SG_APPEND_REFUSED;
        out->unsure = true;
        sg_fail(&out->err, SEG_EPROTO,
                "the guard and the XADD disagree: has the server's user lost a right?");
    }
}

/* ---- groups ------------------------------------------------------------------------------- */

/* The keys of a group's state behind `first`, which the script wants before them. */
static sg_call *group_call(const char *script, sg_key first, const sg_stream *s,
                           const char *group) {
    sg_call *k = sg_call_new(sg_script_find(script), 4);
    call_key(k, first);
    call_group_keys(k, s, group);
    return k;
}

bool sg_group_open_send(sg_conn *c, const sg_stream *s, const sg_group *g, seg_start start,
                        sg_result_fn *fn, void *arg) {
    sg_call *k = sg_call_new(sg_script_find("group_open"), 5);
    call_key(k, sg_key_meta(s->ns, s->name));
    call_key(k, sg_key_groups(s->ns, s->name));
    call_group_keys(k, s, g->name);
    sg_call_str(k, s->inc);
    sg_call_str(k, g->name);
    sg_call_str(k, g->gid);
    sg_call_str(k, start == SEG_LATEST ? "latest" : "earliest");
    return sg_call_send(k, c, fn, arg);
}

void sg_group_open_read(const sg_result *r, sg_group_answer *out) {
    memset(out, 0, sizeof *out);
    out->status = base_status(r, &out->err, &out->lost);
    if (out->status != SEG_OK)
        return;
    const sg_reply *word = sg_reply_at(r->reply, 0);
    if (sg_reply_is(word, "LOST"))
        out->status = lost_what(r->reply, "group", &out->err);
    else if (sg_reply_is(word, "DELETING"))
        out->status = sg_fail(&out->err, SEG_EEXIST,
                              "the group is being deleted: delete it again if that "
                              "was interrupted");
    else if ((!sg_reply_is(word, "CREATE") && !sg_reply_is(word, "READY")) ||
             !copy_text(out->gid, sizeof out->gid, sg_reply_at(r->reply, 1)))
        out->status = nonsense(r->reply, "opening a group", &out->err);
    out->creating = sg_reply_is(word, "CREATE");
    out->start = sg_reply_is(sg_reply_at(r->reply, 2), "latest") ? SEG_LATEST : SEG_EARLIEST;
}

bool sg_group_ready_send(sg_conn *c, const sg_stream *s, const sg_group *g, sg_result_fn *fn,
                         void *arg) {
    sg_call *k = sg_call_new(sg_script_find("group_ready"), 1);
    call_key(k, sg_key_group(s->ns, s->name, g->name));
    sg_call_str(k, g->gid);
    return sg_call_send(k, c, fn, arg);
}

bool sg_group_delete_send(sg_conn *c, const sg_stream *s, const char *group, sg_result_fn *fn,
                          void *arg) {
    sg_call *k = sg_call_new(sg_script_find("group_delete"), 3);
    call_key(k, sg_key_groups(s->ns, s->name));
    call_key(k, sg_key_group(s->ns, s->name, group));
    call_key(k, sg_key_leases(s->ns, s->name, group));
    sg_call_str(k, group);
    return sg_call_send(k, c, fn, arg);
}

bool sg_group_describe_send(sg_conn *c, const sg_stream *s, const char *group, sg_result_fn *fn,
                            void *arg) {
    return sg_call_send(group_call("group_describe", sg_key_meta(s->ns, s->name), s, group), c, fn,
                        arg);
}

bool sg_sync_send(sg_conn *c, const sg_sync *q, sg_result_fn *fn, void *arg) {
    static const char *const ops[] = {"join", "beat", "leave"};
    const sg_stream *s = q->stream;
    sg_call *k = group_call("group_sync", sg_key_meta(s->ns, s->name), s, q->group->name);
    sg_call_str(k, s->inc);
    sg_call_str(k, q->group->gid);
    sg_call_str(k, ops[q->op]);
    sg_call_str(k, q->member);
    sg_call_str(k, q->nonce);
    sg_call_u64(k, (uint64_t)q->session_timeout);
    sg_call_u64(k, q->version);
    sg_call_str(k, q->host);
    sg_call_u64(k, q->floor);
    call_key(k, sg_key_wake(s->ns, s->name, q->group->name, ""));
    for (size_t i = 0; i < q->n_released; i++) {
        char text[48];
        snprintf(text, sizeof text, "%" PRIu32 ":%" PRIu64, q->released[i].partition,
                 q->released[i].epoch);
        sg_call_str(k, text);
    }
    return sg_call_send(k, c, fn, arg);
}

/* ---- cursors ------------------------------------------------------------------------------ */

bool sg_cursor_create_send(sg_conn *c, const sg_stream *s, const sg_group *g, seg_start start,
                           uint32_t p, sg_result_fn *fn, void *arg) {
    sg_call *k = partition_call("cursor_create", s, p);
    sg_call_str(k, s->inc);
    sg_call_str(k, g->name);
    sg_call_str(k, g->gid);
    sg_call_str(k, start == SEG_LATEST ? "latest" : "earliest");
    return sg_call_send(k, c, fn, arg);
}

bool sg_cursor_delete_send(sg_conn *c, const sg_stream *s, const sg_group *g, uint32_t p,
                           sg_result_fn *fn, void *arg) {
    sg_call *k = partition_call("cursor_delete", s, p);
    sg_call_str(k, g->name);
    sg_call_str(k, g->gid);
    return sg_call_send(k, c, fn, arg);
}

bool sg_cursor_acquire_send(sg_conn *c, const sg_stream *s, const sg_group *g, uint32_t p,
                            uint64_t epoch, const char *nonce, sg_result_fn *fn, void *arg) {
    sg_call *k = partition_call("cursor_acquire", s, p);
    sg_call_str(k, s->inc);
    sg_call_str(k, g->name);
    sg_call_str(k, g->gid);
    sg_call_u64(k, epoch);
    sg_call_str(k, nonce);
    return sg_call_send(k, c, fn, arg);
}

bool sg_cursor_commit_send(sg_conn *c, const sg_stream *s, const sg_group *g, uint32_t p,
                           uint64_t epoch, uint64_t seq, uint64_t committed, seg_bytes acks,
                           sg_result_fn *fn, void *arg) {
    sg_call *k = partition_call("cursor_commit", s, p);
    sg_call_str(k, s->inc);
    sg_call_str(k, g->name);
    sg_call_str(k, g->gid);
    sg_call_u64(k, epoch);
    sg_call_u64(k, seq);
    sg_call_u64(k, committed);
    sg_call_arg(k, acks.data, acks.len);
    return sg_call_send(k, c, fn, arg);
}

bool sg_cursor_read_send(sg_conn *c, const sg_stream *s, const char *group, uint32_t p,
                         sg_result_fn *fn, void *arg) {
    sg_call *k = partition_call("cursor_read", s, p);
    sg_call_str(k, s->inc);
    sg_call_str(k, group != NULL ? group : "");
    return sg_call_send(k, c, fn, arg);
}

/* cursor_acquire: era committed first next acks. cursor_read: era first next [committed epoch
 * acks]. They differ in their number of elements: 6, and 4 or 7. */
static bool cursor_fields(const sg_reply *reply, sg_cursor_answer *out) {
    static const uint8_t acquired[] = {2, 3, 4}, read[] = {4, 2, 3};
    size_t n = sg_reply_count(reply);
    if (n == 1)
        return true; /* a commit's */
    const uint8_t *at = n == 6 ? acquired : read;
    if (n != 6 && n != 7 && n != 4)
        return false;
    if (!sg_reply_u64(sg_reply_at(reply, 1), &out->era) ||
        !sg_reply_u64(sg_reply_at(reply, at[1]), &out->first) ||
        !sg_reply_u64(sg_reply_at(reply, at[2]), &out->next))
        return false;
    if (n == 4)
        return true;
    out->acks = sg_reply_bytes(sg_reply_at(reply, n - 1));
    return sg_reply_u64(sg_reply_at(reply, at[0]), &out->committed) &&
           (n == 6 || sg_reply_u64(sg_reply_at(reply, 5), &out->epoch));
}

void sg_cursor_read_answer(const sg_result *r, sg_cursor_answer *out) {
    memset(out, 0, sizeof *out);
    out->kind = SG_CURSOR_REFUSED;
    if (base_status(r, &out->err, &out->lost) != SEG_OK)
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
        lost_what(r->reply, "partition", &out->err);
    } else {
        nonsense(r->reply, "cursor", &out->err);
    }
}

/* ---- fetch -------------------------------------------------------------------------------- */

bool sg_fetch_send(sg_conn *c, const sg_fetch_from *from, size_t n, uint64_t count, int64_t block,
                   sg_result_fn *fn, void *arg) {
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
         * it. */
        if (from[i].offset > 0)
            snprintf(id, sizeof id, "%" PRIu64 "-%" PRIu64, from[i].era, from[i].offset - 1);
        else
            snprintf(id, sizeof id, "%" PRIu64 "-%" PRIu64, from[i].era - 1, UINT64_MAX);
        sg_conn_arg_str(c, id);
    }
    return sg_conn_end(c, fn, arg, block);
}

bool sg_entry_id_read(const sg_reply *id, uint64_t *era, uint64_t *offset) {
    char dash, rest;
    const char *text = sg_reply_text(id);
    return text[0] >= '0' && text[0] <= '9' &&
           sscanf(text, "%" SCNu64 "%c%" SCNu64 "%c", era, &dash, offset, &rest) == 3 &&
           dash == '-';
}

bool sg_unblock_send(sg_conn *c, uint64_t client_id, sg_result_fn *fn, void *arg) {
    sg_conn_begin(c);
    sg_conn_command(c, 3);
    sg_conn_arg_str(c, "CLIENT");
    sg_conn_arg_str(c, "UNBLOCK");
    sg_conn_arg_u64(c, client_id);
    return sg_conn_end(c, fn, arg, 0);
}
