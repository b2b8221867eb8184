/* Streams: create, find, list, delete. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "core/error.h"
#include "core/names.h"
#include "engine/admin.h"
#include "engine/task.h"

#define MAX_PARTITIONS   4096
#define MAX_MESSAGES     (UINT64_C(1) << 40)
#define DEFAULT_MESSAGES 100000

typedef struct job {
    sg_task task;
    sg_stream stream;
    bool accept, probe, creating, existed, anew;
    uint32_t partitions;
    struct seg_names *names; /* groups of a stream being deleted; streams of a listing */
} job;

static job *job_of(sg_task *t) {
    return SG_OF(t, job, task);
}

static void destroy(sg_task *t) {
    job *j = job_of(t);
    seg_names_free(j->names);
    sg_task_fini(t);
    sg_free(j);
}

static job *job_new(seg_client *c, sg_task_step_fn *step) {
    job *j = sg_calloc(1, sizeof *j);
    if (j != NULL && !sg_task_init(&j->task, c, step, destroy)) {
        sg_free(j);
        return NULL;
    }
    return j;
}

seg_status sg_stream_name(sg_stream *s, const seg_client *c, const char *stream, seg_error *err) {
    seg_status status = sg_name_check("stream", stream, err);
    if (status != SEG_OK)
        return status;
    strcpy(s->ns, c->ns);
    strcpy(s->name, stream);
    return SEG_OK;
}

/* ---- create ------------------------------------------------------------------------------- */

static void on_created(void *arg, const sg_result *r) {
    job *j = arg;
    sg_stream_answer a;
    sg_stream_create_read(r, &j->stream, &a);
    if (sg_task_answer(&j->task, a.lost)) {
        sg_task_fault(&j->task, a.status, &a.err);
        if (a.status == SEG_OK) {
            j->stream = a.stream;
            j->creating = a.creating;
        }
    }
    sg_task_answered(&j->task);
}

static void create_step(sg_task *t) {
    job *j = job_of(t);
    sg_conn *c = t->client->commands;
    switch (t->stage++) {
    case 0:
        sg_task_sent(t, sg_stream_create_send(c, &j->stream, j->accept, on_created, j));
        break;
    case 1:
        for (uint32_t p = 0; j->creating && p < j->stream.partitions; p++)
            sg_task_sent(t, sg_partition_create_send(c, &j->stream, p, sg_task_plain, t));
        /* Listed before it is ready: whatever is left of a creation that stops here can be seen. */
        sg_task_sent(t, sg_streams_add_send(c, &j->stream, sg_task_plain, t));
        break;
    case 2:
        if (j->creating)
            sg_task_sent(t, sg_stream_ready_send(c, &j->stream, sg_task_plain, t));
        break;
    default:
        sg_task_finish(t);
    }
}

static seg_status create_check(const seg_stream_options *o, seg_error *err) {
    if (o->partitions < 1 || o->partitions > MAX_PARTITIONS)
        return sg_fail(err, SEG_EINVAL, "partitions is %u: a stream has 1 to %d", o->partitions,
                       MAX_PARTITIONS);
    if (o->max_messages > MAX_MESSAGES)
        return sg_fail(err, SEG_EINVAL, "max_messages is %llu: 1 to %llu for each partition",
                       (unsigned long long)o->max_messages, (unsigned long long)MAX_MESSAGES);
    if (seg_on_full_name(o->on_full) == NULL)
        return sg_fail(err, SEG_EINVAL,
                       "on_full is %d: not one of SEG_BLOCK, SEG_FAIL, SEG_DROP_OLDEST",
                       (int)o->on_full);
    return SEG_OK;
}

seg_status seg_stream_create(seg_client *c, const char *stream, const seg_stream_options *opts,
                             seg_error *err) {
    seg_stream_options o = {.size = sizeof o};
    sg_stream s = {.partitions = 0};
    seg_status status;
    if (c == NULL || opts == NULL)
        return sg_fail(err, SEG_EINVAL, "%s is NULL", c == NULL ? "the client" : "opts");
    if ((status = sg_options_copy(&o, sizeof o, opts, "stream options", err)) != SEG_OK ||
        (status = sg_stream_name(&s, c, stream, err)) != SEG_OK ||
        (status = create_check(&o, err)) != SEG_OK)
        return status;
    s.partitions = o.partitions;
    s.bound = o.max_messages != 0 ? o.max_messages : DEFAULT_MESSAGES;
    s.on_full = o.on_full;
    job *j = job_new(c, create_step);
    if (j == NULL || !sg_random_id(s.inc)) {
        if (j != NULL)
            destroy(&j->task);
        return sg_fail_nomem(err);
    }
    j->stream = s;
    j->accept = o.accept_existing;
    j->task.changes = true;
    status = sg_task_run(&j->task, c->command_timeout, err);
    sg_task_release(&j->task);
    return status;
}

/* ---- find --------------------------------------------------------------------------------- */

static void on_probed(void *arg, const sg_result *r) {
    job *j = arg;
    sg_append_answer a;
    sg_append_read(r, true, &a);
    if (sg_task_answer(&j->task, a.lost) && a.kind != SG_APPEND_STORED)
        sg_task_fault(&j->task, a.err.status, &a.err);
    sg_task_answered(&j->task);
}

static void find_step(sg_task *t) {
    job *j = job_of(t);
    sg_append probe = {.stream = &j->stream, .producer = "probe", .era = 1};
    switch (t->stage++) {
    case 0:
        sg_task_find(t, &j->stream);
        break;
    case 1:
        if (j->probe)
            sg_task_sent(t, sg_append_send(t->client->commands, &probe, on_probed, j));
        break;
    default:
        sg_task_finish(t);
    }
}

seg_status sg_stream_find(seg_client *c, sg_stream *s, bool probe, seg_error *err) {
    job *j = job_new(c, find_step);
    if (j == NULL)
        return sg_fail_nomem(err);
    j->stream = *s;
    j->probe = probe;
    seg_status status = sg_task_run(&j->task, c->command_timeout, err);
    if (status == SEG_OK)
        *s = j->stream;
    sg_task_release(&j->task);
    return status;
}

void sg_stream_verdict(const sg_stream_answer *now, const sg_stream *was, seg_error *out) {
    if (now->status == SEG_ENOENT ||
        (now->status == SEG_OK && strcmp(now->stream.inc, was->inc) != 0))
        sg_fail(out, SEG_ENOENT, "stream \"%s\" was deleted%s", was->name,
                now->status == SEG_OK ? " and created anew: open it again"
                                      : " (or the server was emptied)");
    else if (now->status == SEG_OK)
        sg_fail(out, SEG_ELOST,
                "stream \"%s\" is damaged: the server lost a part of it (deleted by hand, "
                "or restored): delete it and create it again, or restore the server",
                was->name);
    else
        *out = now->err;
}

/* ---- list --------------------------------------------------------------------------------- */

static void on_listed(void *arg, const sg_result *r) {
    job *j = arg;
    sg_plain_answer a;
    memset(&a, 0, sizeof a);
    if (r->status != SEG_OK)
        sg_plain_read(r, "listing", &a);
    if (sg_task_answer(&j->task, r->lost)) {
        sg_task_fault(&j->task, a.status, &a.err);
        if (a.status == SEG_OK && (j->names = sg_names_from(r->reply)) == NULL)
            sg_task_fault(&j->task, sg_fail_nomem(&a.err), &a.err);
    }
    sg_task_answered(&j->task);
}

static void list_step(sg_task *t) {
    job *j = job_of(t);
    if (t->stage++ == 0)
        sg_task_sent(t, sg_streams_list_send(t->client->commands, t->client->ns, on_listed, j));
    else
        sg_task_finish(t);
}

static void list_groups_step(sg_task *t) {
    job *j = job_of(t);
    switch (t->stage++) {
    case 0:
        sg_task_find(t, &j->stream);
        break;
    case 1:
        sg_task_sent(t, sg_groups_list_send(t->client->commands, &j->stream, on_listed, j));
        break;
    default:
        sg_task_finish(t);
    }
}

static seg_status list(seg_names **out, seg_client *c, const sg_stream *s, sg_task_step_fn *step,
                       seg_error *err) {
    job *j = job_new(c, step);
    if (j == NULL)
        return sg_fail_nomem(err);
    if (s != NULL)
        j->stream = *s;
    seg_status status = sg_task_run(&j->task, c->command_timeout, err);
    if (status == SEG_OK) {
        *out = j->names;
        j->names = NULL;
    }
    sg_task_release(&j->task);
    return status;
}

seg_status seg_stream_list(seg_names **out, seg_client *c, seg_error *err) {
    if (out == NULL || c == NULL)
        return sg_fail(err, SEG_EINVAL, "%s is NULL", out == NULL ? "out" : "the client");
    return list(out, c, NULL, list_step, err);
}

seg_status seg_group_list(seg_names **out, seg_client *c, const char *stream, seg_error *err) {
    sg_stream s = {.partitions = 0};
    if (out == NULL || c == NULL)
        return sg_fail(err, SEG_EINVAL, "%s is NULL", out == NULL ? "out" : "the client");
    seg_status status = sg_stream_name(&s, c, stream, err);
    return status != SEG_OK ? status : list(out, c, &s, list_groups_step, err);
}

/* ---- delete ------------------------------------------------------------------------------- */

static void read_deleting(job *j, const sg_reply *reply) {
    uint64_t partitions = 0;
    seg_bytes inc = sg_reply_bytes(sg_reply_at(reply, 1));
    seg_error err;
    j->partitions = 0;
    if (!sg_reply_is(sg_reply_at(reply, 0), "DELETING"))
        return;
    j->existed = true;
    sg_reply_u64(sg_reply_at(reply, 2), &partitions);
    if (inc.len >= sizeof j->stream.inc || partitions > MAX_PARTITIONS) {
        sg_task_fault(&j->task,
                      sg_fail(&err, SEG_EPROTO, "the stream's settings on the server are damaged"),
                      &err);
        return;
    }
    memcpy(j->stream.inc, inc.data, inc.len);
    j->stream.inc[inc.len] = '\0';
    j->partitions = (uint32_t)partitions;
    j->names = sg_names_from(sg_reply_at(reply, 3));
    if (j->names == NULL)
        sg_task_fault(&j->task, sg_fail_nomem(&err), &err);
}

static void on_deleting(void *arg, const sg_result *r) {
    job *j = arg;
    sg_plain_answer a;
    memset(&a, 0, sizeof a);
    if (r->status != SEG_OK)
        sg_plain_read(r, "deleting a stream", &a);
    if (sg_task_answer(&j->task, r->lost)) {
        seg_names_free(j->names);
        j->names = NULL;
        sg_task_fault(&j->task, a.status, &a.err);
        if (a.status == SEG_OK)
            read_deleting(j, r->reply);
    }
    sg_task_answered(&j->task);
}

/* Somebody may have created it anew while its name was taken off the list. */
static void on_checked(void *arg, const sg_result *r) {
    job *j = arg;
    sg_stream_answer a;
    sg_stream_get_read(r, &j->stream, &a);
    if (sg_task_answer(&j->task, a.lost))
        j->anew = a.status == SEG_OK || a.creating;
    sg_task_answered(&j->task);
}

static void delete_step(sg_task *t) {
    job *j = job_of(t);
    sg_conn *c = t->client->commands;
    switch (t->stage++) {
    case 0:
        sg_task_sent(t, sg_stream_delete_send(c, &j->stream, on_deleting, j));
        break;
    case 1:
        for (uint32_t p = 0; p < j->partitions; p++)
            sg_task_sent(t, sg_partition_delete_send(c, &j->stream, p, sg_task_plain, t));
        break;
    case 2:
        /* Behind the partitions, so that an interrupted deletion can be found and finished. */
        if (j->partitions > 0)
            sg_task_sent(t, sg_stream_drop_send(c, &j->stream, sg_names_all(j->names),
                                                seg_names_count(j->names), sg_task_plain, t));
        break;
    case 3:
        sg_task_sent(t, sg_streams_remove_send(c, &j->stream, sg_task_plain, t));
        break;
    case 4:
        sg_task_sent(t, sg_stream_get_send(c, &j->stream, on_checked, j));
        break;
    case 5:
        if (j->anew)
            sg_task_sent(t, sg_streams_add_send(c, &j->stream, sg_task_plain, t));
        break;
    default:
        sg_task_finish(t);
    }
}

seg_status seg_stream_delete(seg_client *c, const char *stream, seg_error *err) {
    sg_stream s = {.partitions = 0};
    if (c == NULL)
        return sg_fail(err, SEG_EINVAL, "the client is NULL");
    seg_status status = sg_stream_name(&s, c, stream, err);
    if (status != SEG_OK)
        return status;
    job *j = job_new(c, delete_step);
    if (j == NULL)
        return sg_fail_nomem(err);
    j->stream = s;
    j->task.changes = true;
    status = sg_task_run(&j->task, c->command_timeout, err);
    if (status == SEG_OK && !j->existed)
        status = sg_fail(err, SEG_ENOENT, "no stream \"%s\" in namespace \"%s\"", s.name, s.ns);
    sg_task_release(&j->task);
    return status;
}
