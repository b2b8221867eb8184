/* ops_group.c - operations on groups: opening, the coordinator, deletion. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "redis/ops.h"
#include "redis/ops_impl.h"

sg_call *sg_group_call(const char *script, sg_key first, const sg_stream *s, const char *group) {
    sg_call *k = sg_call_new(sg_script_find(script), 4);
    sg_call_key(k, first);
    sg_call_group_keys(k, s, group);
    return k;
}

/* As group_open keeps it: "earliest", "latest", "offset:N", "time:MS". */
static void call_start(sg_call *k, const sg_start_at *start) {
    static const char *const words[] = {"earliest", "latest", "offset:", "time:"};
    char text[32];
    if (start->kind < SEG_AT_OFFSET)
        snprintf(text, sizeof text, "%s", words[start->kind]);
    else
        snprintf(text, sizeof text, "%s%" PRId64, words[start->kind], start->at);
    sg_call_str(k, text);
}

static bool read_start(const sg_reply *r, sg_start_at *out) {
    const char *text = sg_reply_text(r), *number = strchr(text, ':');
    char *end;
    *out = (sg_start_at){sg_reply_is(r, "latest") ? SEG_LATEST : SEG_EARLIEST, 0};
    if (sg_reply_is(r, "latest") || sg_reply_is(r, "earliest"))
        return true;
    bool time = strncmp(text, "time:", 5) == 0;
    if ((!time && strncmp(text, "offset:", 7) != 0) || number[1] < '0' || number[1] > '9')
        return false;
    out->kind = time ? SEG_AT_TIME : SEG_AT_OFFSET;
    errno = 0;
    out->at = strtoll(number + 1, &end, 10);
    return *end == '\0' && errno == 0;
}

bool sg_group_open_send(sg_conn *c, const sg_stream *s, const sg_group *g, const sg_start_at *start,
                        sg_result_fn *fn, void *arg) {
    sg_call *k = sg_call_new(sg_script_find("group_open"), 5);
    sg_call_key(k, sg_key_meta(s->ns, s->name));
    sg_call_key(k, sg_key_groups(s->ns, s->name));
    sg_call_group_keys(k, s, g->name);
    sg_call_str(k, s->inc);
    sg_call_str(k, g->name);
    sg_call_str(k, g->gid);
    call_start(k, start);
    return sg_call_send(k, c, fn, arg);
}

void sg_group_open_read(const sg_result *r, const sg_stream *s, const char *group,
                        sg_group_answer *out) {
    memset(out, 0, sizeof *out);
    out->status = sg_base_status(r, &out->err, &out->lost);
    if (out->status != SEG_OK)
        return;
    const sg_reply *word = sg_reply_at(r->reply, 0);
    if (sg_reply_is(word, "DAMAGED") ||
        (sg_reply_is(word, "LOST") && sg_reply_is(sg_reply_at(r->reply, 1), "group")))
        out->status = sg_group_damaged(r->reply, s, group, &out->err);
    else if (sg_reply_is(word, "LOST"))
        out->status = sg_lost_what(r->reply, "group", &out->err);
    else if (sg_reply_is(word, "DELETING"))
        out->status = sg_fail(&out->err, SEG_EEXIST,
                              "the group is being deleted: delete it again if that "
                              "was interrupted");
    else if ((!sg_reply_is(word, "CREATE") && !sg_reply_is(word, "READY")) ||
             !sg_copy_text(out->gid, sizeof out->gid, sg_reply_at(r->reply, 1)) ||
             !read_start(sg_reply_at(r->reply, 2), &out->start))
        out->status = sg_nonsense(r->reply, "opening a group", &out->err);
    out->creating = sg_reply_is(word, "CREATE");
}

seg_status sg_group_damaged(const sg_reply *reply, const sg_stream *s, const char *group,
                            seg_error *err) {
    bool gone = sg_reply_is(sg_reply_at(reply, 0), "LOST");
    const char *what = sg_reply_text(sg_reply_at(reply, 1));
    return sg_fail(err, gone ? SEG_ELOST : SEG_EPROTO,
                   "group \"%s\" of stream \"%s\" is damaged on the server: %.60s: delete it "
                   "(segmenter group rm %s -s %s --yes), then it is created anew where it starts",
                   group, s->name, gone ? "it is listed, and its hash is gone" : what, group,
                   s->name);
}

bool sg_group_ready_send(sg_conn *c, const sg_stream *s, const sg_group *g, sg_result_fn *fn,
                         void *arg) {
    sg_call *k = sg_call_new(sg_script_find("group_ready"), 1);
    sg_call_key(k, sg_key_group(s->ns, s->name, g->name));
    sg_call_str(k, g->gid);
    return sg_call_send(k, c, fn, arg);
}

bool sg_group_delete_send(sg_conn *c, const sg_stream *s, const char *group, sg_result_fn *fn,
                          void *arg) {
    sg_call *k = sg_call_new(sg_script_find("group_delete"), 3);
    sg_call_key(k, sg_key_groups(s->ns, s->name));
    sg_call_key(k, sg_key_group(s->ns, s->name, group));
    sg_call_key(k, sg_key_leases(s->ns, s->name, group));
    sg_call_str(k, group);
    return sg_call_send(k, c, fn, arg);
}

bool sg_group_describe_send(sg_conn *c, const sg_stream *s, const char *group, sg_result_fn *fn,
                            void *arg) {
    sg_call *k = sg_call_new(sg_script_find("group_describe"), 5);
    sg_call_key(k, sg_key_meta(s->ns, s->name));
    sg_call_group_keys(k, s, group);
    sg_call_key(k, sg_key_groups(s->ns, s->name));
    sg_call_str(k, group);
    return sg_call_send(k, c, fn, arg);
}

bool sg_sync_send(sg_conn *c, const sg_sync *q, sg_result_fn *fn, void *arg) {
    static const char *const ops[] = {"join", "beat", "leave"};
    const sg_stream *s = q->stream;
    sg_call *k = sg_group_call("group_sync", sg_key_meta(s->ns, s->name), s, q->group->name);
    sg_call_str(k, s->inc);
    sg_call_str(k, q->group->gid);
    sg_call_str(k, ops[q->op]);
    sg_call_str(k, q->member);
    sg_call_str(k, q->nonce);
    sg_call_u64(k, (uint64_t)q->session_timeout);
    sg_call_u64(k, q->version);
    sg_call_str(k, q->host);
    sg_call_u64(k, q->floor);
    sg_call_key(k, sg_key_wake(s->ns, s->name, q->group->name, ""));
    for (size_t i = 0; i < q->n_released; i++) {
        char text[48];
        snprintf(text, sizeof text, "%" PRIu32 ":%" PRIu64, q->released[i].partition,
                 q->released[i].epoch);
        sg_call_str(k, text);
    }
    return sg_call_send(k, c, fn, arg);
}

bool sg_group_drop_send(sg_conn *c, const sg_stream *s, const sg_group *g, sg_result_fn *fn,
                        void *arg) {
    sg_call *k = sg_call_new(sg_script_find("group_drop"), 4);
    sg_call_key(k, sg_key_groups(s->ns, s->name));
    sg_call_group_keys(k, s, g->name);
    sg_call_str(k, g->name);
    sg_call_str(k, g->gid);
    return sg_call_send(k, c, fn, arg);
}

bool sg_groups_list_send(sg_conn *c, const sg_stream *s, sg_result_fn *fn, void *arg) {
    return sg_plain_command(c, "SMEMBERS", sg_key_groups(s->ns, s->name), NULL, fn, arg);
}
