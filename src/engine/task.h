/* task.h - a question of an application thread to the server, in steps of pipelined requests: it
 * runs on the loop thread while the caller waits. A connection that is lost in between starts the
 * task over from its first step, so every step must bear repeating. */
#ifndef SG_ENGINE_TASK_H
#define SG_ENGINE_TASK_H
#include "engine/client.h"
#include "redis/ops.h"

typedef struct sg_task sg_task;

/* Runs with the connection up and no request under way: send the requests of `t->stage` with
 * sg_task_sent, or end with sg_task_finish. Called again, after all of them are answered, with the
 * next stage. */
typedef void sg_task_step_fn(sg_task *t);

struct sg_task {
    sg_actor actor;
    seg_client *client;
    sg_task_step_fn *step;
    void (*destroy)(sg_task *t); /* free what contains the task */
    int stage;
    seg_status status; /* the first fault of this stage; SEG_OK */
    seg_error err;
    int64_t deadline;

    sg_stream *finding; /* of sg_task_find */
    size_t pending;
    bool restart, finished, abandoned;
    bool changes;  /* set by its owner: its requests change something */
    bool asked;    /* one was sent */
    bool starved;  /* one could not be, for want of memory, since it began (again) */
    sg_mutex lock; /* guards ended */
    sg_cond cond;
    bool ended;
};

/* Set up a zeroed task. False: no memory. */
bool sg_task_init(sg_task *t, seg_client *c, sg_task_step_fn *step, void (*destroy)(sg_task *));
/* What destroy calls last, before it frees. */
void sg_task_fini(sg_task *t);

/* Run to the end, at most `timeout` ms without an answer. The task then belongs to the caller
 * again, who calls sg_task_release, but for its results where it did not end (SEG_ETIMEDOUT,
 * SEG_ECONN, SEG_ECLOSED). */
seg_status sg_task_run(sg_task *t, int64_t timeout, seg_error *err);
/* Destroy it now, or when its last answer is in. */
void sg_task_release(sg_task *t);

/* In a step: count a request, `sent` being what its sg_X_send returned. */
void sg_task_sent(sg_task *t, bool sent);
/* In a result function, first: false where the answer is to be ignored (the connection was lost,
 * the caller is gone). */
bool sg_task_answer(sg_task *t, bool lost);
/* In a result function, last. May destroy the task. */
void sg_task_answered(sg_task *t);
/* Keep the stage's first fault. SEG_OK is none. */
void sg_task_fault(sg_task *t, seg_status status, const seg_error *err);
void sg_task_finish(sg_task *t);

/* A request for the settings of *s (its ns and name are set), which are filled in. One at a
 * time. */
void sg_task_find(sg_task *t, sg_stream *s);

/* A result function for requests that answer OK or a refusal (sg_plain_read): arg is the task. */
void sg_task_plain(void *arg, const sg_result *r);
#endif
