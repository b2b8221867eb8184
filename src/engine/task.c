#include "engine/task.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "core/error.h"

#define RETRY_MS 20

static void end(sg_task *t) {
    if (t->finished)
        return;
    t->finished = true;
    sg_mutex_lock(&t->lock);
    t->ended = true;
    sg_cond_broadcast(&t->cond);
    sg_mutex_unlock(&t->lock);
}

void sg_task_fault(sg_task *t, seg_status status, const seg_error *err) {
    if (status == SEG_OK || t->status != SEG_OK)
        return;
    t->status = status;
    t->err = *err;
}

void sg_task_finish(sg_task *t) {
    end(t);
}

static int64_t give_up(sg_task *t) {
    seg_client *c = t->client;
    const seg_error *last = atomic_load(&c->closed) ? NULL : sg_conn_last_error(c->commands);
    if (t->changes && t->asked)
        t->status = sg_fail(&t->err, SEG_EUNKNOWN,
                            "the server did not answer in time: it may be done, wholly or "
                            "in part, or not; the same call, made again, finishes it");
    else if (last == NULL)
        t->status = sg_fail(&t->err, SEG_ECLOSED, "the client is closed");
    else if (t->starved)
        t->status = sg_fail(&t->err, SEG_ENOMEM, "no memory to ask the server");
    else if (t->pending > 0 || last->status == SEG_OK || sg_conn_up(c->commands))
        t->status =
            sg_fail(&t->err, SEG_ETIMEDOUT, "no answer from the server within the command timeout");
    else
        t->status = sg_fail(&t->err, last->status, "%s", last->text);
    end(t);
    return INT64_MAX;
}

static int64_t run(void *arg, int64_t now) {
    sg_task *t = arg;
    if (t->finished)
        return INT64_MAX;
    if (atomic_load(&t->client->closed) || now >= t->deadline)
        return give_up(t);
    if (t->pending > 0 || !sg_conn_up(t->client->commands))
        return t->deadline;
    if (t->restart) {
        t->restart = t->starved = false;
        t->stage = 0;
        t->status = SEG_OK;
    }
    if (t->status == SEG_ENOMEM && t->changes && t->asked) {
        /* Half done is not "certainly not done": it is gone through with, or unknown. */
        t->restart = true;
        return now + RETRY_MS;
    }
    if (t->status != SEG_OK) {
        end(t);
        return INT64_MAX;
    }
    t->step(t);
    if (t->finished)
        return INT64_MAX;
    /* A step that sent nothing wants the next one at once; one that could not send, a moment later.
     */
    return t->pending > 0 ? t->deadline : t->restart ? now + RETRY_MS : now;
}

bool sg_task_init(sg_task *t, seg_client *c, sg_task_step_fn *step, void (*destroy)(sg_task *)) {
    if (!sg_mutex_init(&t->lock))
        return false;
    if (!sg_cond_init(&t->cond)) {
        sg_mutex_fini(&t->lock);
        return false;
    }
    t->client = c;
    t->step = step;
    t->destroy = destroy;
    t->actor.run = run;
    t->actor.arg = t;
    return true;
}

void sg_task_fini(sg_task *t) {
    sg_cond_fini(&t->cond);
    sg_mutex_fini(&t->lock);
}

static void begin(void *arg) {
    sg_task *t = arg;
    sg_loop_add(t->client->loop, &t->actor);
}

seg_status sg_task_run(sg_task *t, int64_t timeout, seg_error *err) {
    t->deadline = sg_clock_after(sg_clock_ms(), timeout);
    sg_loop_call(t->client->loop, begin, t);
    sg_mutex_lock(&t->lock);
    while (!t->ended)
        sg_cond_wait(&t->cond, &t->lock, INT64_MAX);
    sg_mutex_unlock(&t->lock);
    return t->status == SEG_OK ? SEG_OK : sg_fail(err, t->status, "%s", t->err.text);
}

static void abandon(void *arg) {
    sg_task *t = arg;
    sg_loop_remove(&t->actor);
    t->abandoned = true;
    if (t->pending == 0)
        t->destroy(t);
}

void sg_task_release(sg_task *t) {
    sg_loop_call(t->client->loop, abandon, t);
}

void sg_task_sent(sg_task *t, bool sent) {
    t->asked = t->asked || sent;
    if (sent)
        t->pending++;
    else {
        t->restart = true;
        t->starved = t->starved || sg_conn_up(t->client->commands);
    }
}

bool sg_task_answer(sg_task *t, bool lost) {
    if (lost)
        t->restart = true;
    return !lost && !t->abandoned && !t->finished;
}

void sg_task_answered(sg_task *t) {
    if (--t->pending > 0)
        return;
    if (t->abandoned)
        t->destroy(t);
    else
        sg_loop_wake(&t->actor);
}

static void on_found(void *arg, const sg_result *r) {
    sg_task *t = arg;
    sg_stream_answer a;
    sg_stream_get_read(r, t->finding, &a);
    if (sg_task_answer(t, a.lost)) {
        sg_task_fault(t, a.status, &a.err);
        if (a.status == SEG_OK)
            *t->finding = a.stream;
    }
    sg_task_answered(t);
}

void sg_task_find(sg_task *t, sg_stream *s) {
    t->finding = s;
    sg_task_sent(t, sg_stream_get_send(t->client->commands, s, on_found, t));
}

void sg_task_plain(void *arg, const sg_result *r) {
    sg_task *t = arg;
    sg_plain_answer a;
    sg_plain_read(r, "stream", &a);
    if (sg_task_answer(t, a.lost))
        sg_task_fault(t, a.status, &a.err);
    sg_task_answered(t);
}
