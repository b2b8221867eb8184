#include "engine/ends.h"

#include "base/alloc.h"
#include "core/error.h"
#include "engine/admin.h"
#include "engine/search.h"
#include "engine/task.h"

typedef struct job job;

/* One partition's request: its result finds both. */
typedef struct part {
    job *job;
    size_t index;
} part;

struct job {
    sg_task task;
    sg_ends_question q;
    uint32_t *chosen; /* the question's partitions; NULL: all */
    sg_stream stream;
    sg_ends_answer answer;
    part *parts;
    sg_search search;
};

static job *job_of(sg_task *t) {
    return SG_OF(t, job, task);
}

void sg_ends_free(sg_ends_answer *a) {
    for (size_t i = 0; i < a->n; i++)
        sg_eras_fini(&a->all[i].eras);
    sg_free(a->all);
    *a = (sg_ends_answer){.n = 0};
}

/* What a lost connection leaves, too. */
static void forget(job *j) {
    sg_search_end(&j->search);
    sg_ends_free(&j->answer);
    sg_free(j->parts);
    j->parts = NULL;
}

static void destroy(sg_task *t) {
    job *j = job_of(t);
    forget(j);
    sg_free(j->chosen);
    sg_task_fini(t);
    sg_free(j);
}

static void on_ends(void *arg, const sg_result *r) {
    part *p = arg;
    job *j = p->job;
    sg_cursor_answer a;
    seg_error err;
    sg_cursor_read_answer(r, &a);
    if (sg_task_answer(&j->task, a.lost)) {
        sg_ends *e = &j->answer.all[p->index];
        if (a.kind == SG_CURSOR_OK && sg_cursor_take_eras(&a, &e->eras)) {
            e->first = a.first;
            e->next = a.next;
        } else {
            sg_fail(&err, a.err.status, "partition %u: %s", e->partition, a.err.text);
            sg_task_fault(&j->task, err.status, &err);
        }
    }
    sg_task_answered(&j->task);
}

/* The stream is known. */
static seg_status prepare(job *j, seg_error *err) {
    size_t n = j->chosen != NULL ? j->q.n : j->stream.partitions;
    for (size_t i = 0; j->chosen != NULL && i < n; i++)
        if (j->chosen[i] >= j->stream.partitions)
            return sg_fail(err, SEG_EINVAL, "no partition %u: stream \"%s\" has %u, from 0",
                           j->chosen[i], j->stream.name, j->stream.partitions);
    j->answer.all = sg_calloc(n, sizeof *j->answer.all);
    j->parts = sg_calloc(n, sizeof *j->parts);
    if (j->answer.all == NULL || j->parts == NULL)
        return sg_fail_nomem(err);
    j->answer.n = n;
    j->answer.life = j->task.client->lives;
    for (size_t i = 0; i < n; i++) {
        j->answer.all[i].partition = j->chosen != NULL ? j->chosen[i] : (uint32_t)i;
        j->parts[i] = (part){j, i};
    }
    return SEG_OK;
}

static bool begin_search(job *j) {
    if (!sg_search_begin(&j->search, &j->task, &j->stream, j->q.time, j->answer.n))
        return false;
    for (size_t i = 0; i < j->answer.n; i++) {
        const sg_ends *e = &j->answer.all[i];
        sg_search_in(&j->search, i, e->partition, &e->eras, e->first, e->next);
    }
    return true;
}

static void fail(sg_task *t, seg_status s, const seg_error *err) {
    sg_task_fault(t, s, err);
    sg_task_finish(t);
}

static void ask_all(job *j) {
    seg_error err;
    seg_status s = prepare(j, &err);
    if (s != SEG_OK) {
        fail(&j->task, s, &err);
        return;
    }
    for (size_t i = 0; i < j->answer.n; i++)
        sg_task_sent(&j->task,
                     sg_cursor_read_send(j->task.client->commands, &j->stream, NULL,
                                         j->answer.all[i].partition, on_ends, &j->parts[i]));
}

static void step(sg_task *t) {
    job *j = job_of(t);
    seg_error err;
    switch (t->stage++) {
    case 0:
        forget(j);
        if (j->q.find)
            sg_task_find(t, &j->stream);
        break;
    case 1:
        ask_all(j);
        break;
    case 2:
        if (j->q.timed && !begin_search(j))
            fail(t, sg_fail_nomem(&err), &err);
        break;
    default:
        if (j->q.timed && sg_search_step(&j->search))
            return;
        for (size_t i = 0; j->q.timed && i < j->answer.n; i++)
            j->answer.all[i].found = sg_search_found(&j->search, i);
        sg_task_finish(t);
    }
}

/* A part of the stream is missing: was it deleted? */
static seg_status verdict(seg_client *c, const sg_stream *s, seg_error *err) {
    sg_stream_answer now = {.stream = *s};
    seg_error what;
    now.status = sg_stream_find(c, &now.stream, false, &now.err);
    sg_stream_verdict(&now, s, &what);
    return sg_fail(err, what.status, "%s", what.text);
}

static job *job_new(seg_client *c, const sg_stream *s, const sg_ends_question *q) {
    job *j = sg_calloc(1, sizeof *j);
    if (j == NULL || !sg_task_init(&j->task, c, step, destroy)) {
        sg_free(j);
        return NULL;
    }
    j->q = *q;
    j->stream = *s;
    if (q->n > 0 && (j->chosen = sg_memdup(q->partitions, q->n * sizeof *j->chosen)) == NULL) {
        destroy(&j->task);
        return NULL;
    }
    return j;
}

seg_status sg_ends_ask(sg_ends_answer *out, seg_client *c, sg_stream *s, const sg_ends_question *q,
                       seg_error *err) {
    job *j = job_new(c, s, q);
    seg_error why;
    if (j == NULL)
        return sg_fail_nomem(err);
    seg_status status = sg_task_run(&j->task, c->command_timeout, &why);
    /* What was known is left alone: the loop may be reading it. */
    if (q->find && (status == SEG_OK || status == SEG_ELOST))
        *s = j->stream;
    if (status == SEG_OK) {
        *out = j->answer;
        j->answer = (sg_ends_answer){.n = 0};
    }
    sg_task_release(&j->task);
    if (status == SEG_ELOST)
        return verdict(c, s, err);
    return status == SEG_OK ? SEG_OK : sg_fail(err, status, "%s", why.text);
}
