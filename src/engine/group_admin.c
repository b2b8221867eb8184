/* Groups: found or made for a consumer, deleted. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "core/error.h"
#include "engine/admin.h"
#include "engine/search.h"
#include "engine/task.h"

typedef struct job {
    sg_task task;
    sg_stream stream;
    sg_group group;
    sg_start_at wanted, start; /* the caller's, and the one that the group is created with */
    sg_search search;          /* for a start at a time */
    bool creating, existed, found;
} job;

static job *job_of(sg_task *t) {
    return SG_OF(t, job, task);
}

static void destroy(sg_task *t) {
    sg_search_end(&job_of(t)->search);
    sg_task_fini(t);
    sg_free(job_of(t));
}

static job *job_new(seg_client *c, const sg_stream *s, sg_task_step_fn *step) {
    job *j = sg_calloc(1, sizeof *j);
    if (j != NULL && !sg_task_init(&j->task, c, step, destroy)) {
        sg_free(j);
        return NULL;
    }
    if (j != NULL)
        j->stream = *s;
    return j;
}

/* ---- find or create ----------------------------------------------------------------------- */

static void on_opened(void *arg, const sg_result *r) {
    job *j = arg;
    sg_group_answer a;
    sg_group_open_read(r, &j->stream, j->group.name, &a);
    if (sg_task_answer(&j->task, a.lost)) {
        sg_task_fault(&j->task, a.status, &a.err);
        if (a.status == SEG_OK) {
            memcpy(j->group.gid, a.gid, sizeof a.gid);
            j->creating = a.creating;
            j->start = a.start;
        }
    }
    sg_task_answered(&j->task);
}

static void create_cursors(job *j) {
    char text[24] = "earliest";
    if (j->start.kind == SEG_LATEST)
        strcpy(text, "latest");
    for (uint32_t p = 0; p < j->stream.partitions; p++) {
        if (j->start.kind == SEG_AT_OFFSET)
            snprintf(text, sizeof text, "%" PRId64, j->start.at);
        else if (j->start.kind == SEG_AT_TIME)
            snprintf(text, sizeof text, "%" PRIu64, sg_search_found(&j->search, p));
        sg_task_sent(&j->task, sg_cursor_create_send(j->task.client->commands, &j->stream,
                                                     &j->group, text, p, sg_task_plain, &j->task));
    }
}

enum { OPEN, BEGIN_SEARCH, SEARCH, CREATE, READY };

static void open_step(sg_task *t) {
    job *j = job_of(t);
    sg_conn *c = t->client->commands;
    bool searching = j->creating && j->start.kind == SEG_AT_TIME;
    switch (t->stage++) {
    case OPEN:
        j->start = j->wanted;
        sg_task_sent(t, sg_group_open_send(c, &j->stream, &j->group, &j->start, on_opened, j));
        break;
    case BEGIN_SEARCH:
        if (searching &&
            !sg_search_begin(&j->search, t, &j->stream, j->start.at, j->stream.partitions))
            t->status = sg_fail_nomem(&t->err); /* the next round ends it */
        break;
    case SEARCH:
        if (searching && sg_search_step(&j->search))
            t->stage = SEARCH;
        break;
    case CREATE:
        if (j->creating)
            create_cursors(j);
        break;
    case READY:
        if (j->creating)
            sg_task_sent(t, sg_group_ready_send(c, &j->stream, &j->group, sg_task_plain, t));
        break;
    default:
        sg_task_finish(t);
    }
}

seg_status sg_group_find(seg_client *c, const sg_stream *s, sg_group *g, sg_start_at start,
                         seg_error *err) {
    job *j = job_new(c, s, open_step);
    if (j == NULL || !sg_random_id(g->gid)) {
        if (j != NULL)
            destroy(&j->task);
        return sg_fail_nomem(err);
    }
    j->group = *g;
    j->wanted = start;
    seg_status status = sg_task_run(&j->task, c->command_timeout, err);
    if (status == SEG_OK)
        *g = j->group;
    sg_task_release(&j->task);
    return status;
}

/* ---- delete ------------------------------------------------------------------------------- */

static void on_deleting(void *arg, const sg_result *r) {
    job *j = arg;
    sg_plain_answer a;
    uint64_t members = 0;
    memset(&a, 0, sizeof a);
    j->found = false;
    if (r->status != SEG_OK)
        sg_plain_read(r, "deleting a group", &a);
    else if (sg_reply_is(sg_reply_at(r->reply, 0), "ACTIVE")) {
        sg_reply_u64(sg_reply_at(r->reply, 1), &members);
        a.status = sg_fail(
            &a.err, SEG_EEXIST,
            "group \"%s\" has live members (%llu): stop them, or wait until their session timeout",
            j->group.name, (unsigned long long)members);
    } else if (sg_reply_is(sg_reply_at(r->reply, 0), "DELETING")) {
        const char *gid = sg_reply_text(sg_reply_at(r->reply, 1));
        j->existed = j->found = true;
        strncpy(j->group.gid, gid, sizeof j->group.gid - 1);
    }
    if (sg_task_answer(&j->task, r->lost))
        sg_task_fault(&j->task, a.status, &a.err);
    sg_task_answered(&j->task);
}

static void delete_step(sg_task *t) {
    job *j = job_of(t);
    sg_conn *c = t->client->commands;
    switch (t->stage++) {
    case 0:
        sg_task_find(t, &j->stream);
        break;
    case 1:
        sg_task_sent(t, sg_group_delete_send(c, &j->stream, j->group.name, on_deleting, j));
        break;
    case 2:
        for (uint32_t p = 0; j->found && p < j->stream.partitions; p++)
            sg_task_sent(t, sg_cursor_delete_send(c, &j->stream, &j->group, p, sg_task_plain, t));
        break;
    case 3:
        if (j->found)
            sg_task_sent(t, sg_group_drop_send(c, &j->stream, &j->group, sg_task_plain, t));
        break;
    default:
        sg_task_finish(t);
    }
}

seg_status seg_group_delete(seg_client *c, const char *stream, const char *group, seg_error *err) {
    sg_stream s = {.partitions = 0};
    seg_status status;
    if (c == NULL)
        return sg_fail(err, SEG_EINVAL, "the client is NULL");
    if ((status = sg_stream_name(&s, c, stream, err)) != SEG_OK ||
        (status = sg_name_check("group", group, err)) != SEG_OK)
        return status;
    job *j = job_new(c, &s, delete_step);
    if (j == NULL)
        return sg_fail_nomem(err);
    strcpy(j->group.name, group);
    j->task.changes = true;
    status = sg_task_run(&j->task, c->command_timeout, err);
    if (status == SEG_OK && !j->existed)
        status = sg_fail(err, SEG_ENOENT, "no group \"%s\" on stream \"%s\"", group, stream);
    sg_task_release(&j->task);
    return status;
}
