/* Moving a group: planned, and done where that was asked for.
 *
 *     find the stream, the group, its cursors ── look for the time ── plan
 *                                                                      │
 *        the group is there:  begin ── cursor_seek, in each ── finish ─┤
 *                               ^            │ STALE: an owner has begun meanwhile
 *                               └────────────┘
 *        it is not:           open ── cursor_create, in each ── read them ── ready
 *                                                                      └─ elsewhere, as somebody else
 *                                                                         was creating it: begin
 *
 * A lost connection starts it over. The plan is kept then, where stream and group are the same:
 * some partitions may have moved already, and "10 on from there" means from where they were. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "core/error.h"
#include "engine/admin.h"
#include "engine/search.h"
#include "engine/task.h"
#include "redis/ops_seek.h"

#define MAX_PARTITIONS 4096
/* How often it is begun anew because the stream or the group was not the one any more. */
#define ANEW_MAX 3

struct seg_seek_plan {
    size_t n;
    seg_seek_step steps[];
};

typedef struct job job;

/* One partition: its requests' results find both. */
typedef struct part {
    job *job;
    uint32_t partition;
    sg_eras eras; /* as it was read last, and so: */
    uint64_t first, next, committed;
    uint64_t before, target, after;
    uint64_t moved; /* the epoch under which it was; 0: not yet */
    bool touched;   /* it has moved, or may have: what was before is not to be seen any more */
} part;

struct job {
    sg_task task;
    seg_seek_options o;
    uint32_t *chosen; /* ascending; NULL: all */
    sg_stream stream, now;
    sg_group group;
    bool exists; /* the group */
    part *parts;
    size_t n;
    sg_search search;
    bool planned;
    char planned_inc[33], planned_gid[33];
    uint64_t epoch, floor; /* of begin; above which it has to be */
    bool stale;            /* one was, in this round */
    bool begun;            /* a partition has moved, or may have: it is gone through with */
    bool elsewhere;        /* created, but not where we wanted it */
    bool half;             /* somebody's creation, with a start of its own, was interrupted */
    seg_error lost;        /* something was not there any more: all begins anew */
    unsigned anew;
    seg_error fault;     /* of one partition, while others were moved */
    seg_seek_plan *plan; /* room for it, until the end */
};

static job *job_of(sg_task *t) {
    return SG_OF(t, job, task);
}

static void forget_parts(job *j) {
    for (size_t i = 0; j->parts != NULL && i < j->n; i++)
        sg_eras_fini(&j->parts[i].eras);
    sg_free(j->parts);
}

static void destroy(sg_task *t) {
    job *j = job_of(t);
    sg_search_end(&j->search);
    sg_free(j->chosen);
    forget_parts(j);
    sg_free(j->plan);
    sg_task_fini(t);
    sg_free(j);
}

static void fault_in(seg_error *out, const part *p, const seg_error *why) {
    sg_fail(out, why->status, "partition %u: %s", p->partition, why->text);
}

/* Deleted meanwhile, it seems: the first steps will tell. */
static void begin_anew(job *j, const seg_error *why) {
    if (j->lost.status == SEG_OK)
        j->lost = *why;
}

/* ---- looking --------------------------------------------------------------------------------- */

static void read_group(job *j, const sg_reply *reply) {
    seg_error err;
    const sg_reply *word = sg_reply_at(reply, 0), *what = sg_reply_at(reply, 1);
    seg_bytes gid = sg_reply_bytes(what);
    j->exists = sg_reply_is(word, "OK");
    if (j->exists && gid.len > 0 && gid.len < sizeof j->group.gid) {
        memcpy(j->group.gid, gid.data, gid.len);
        j->group.gid[gid.len] = '\0';
    } else if (sg_reply_is(word, "NONE") && sg_reply_is(what, "stream")) {
        sg_fail(&err, SEG_ENOENT, "stream \"%s\" was deleted", j->stream.name);
        sg_task_fault(&j->task, err.status, &err);
    } else if (sg_reply_is(word, "DAMAGED") || sg_reply_is(word, "LOST")) {
        sg_group_damaged(reply, &j->stream, j->group.name, &err);
        sg_task_fault(&j->task, err.status, &err);
    } else if (!sg_reply_is(word, "NONE")) {
        sg_fail(&err, SEG_EPROTO, "the state of group \"%s\" makes no sense", j->group.name);
        sg_task_fault(&j->task, err.status, &err);
    }
}

static void on_group(void *arg, const sg_result *r) {
    job *j = arg;
    sg_plain_answer a;
    memset(&a, 0, sizeof a);
    if (r->status != SEG_OK)
        sg_plain_read(r, "group", &a);
    if (sg_task_answer(&j->task, r->lost)) {
        sg_task_fault(&j->task, a.status, &a.err);
        if (a.status == SEG_OK)
            read_group(j, r->reply);
    }
    sg_task_answered(&j->task);
}

static void on_read(void *arg, const sg_result *r) {
    part *p = arg;
    job *j = p->job;
    sg_cursor_answer a;
    seg_error err;
    sg_cursor_read_answer(r, &a);
    if (sg_task_answer(&j->task, a.lost)) {
        if (a.kind == SG_CURSOR_OK && sg_cursor_take_eras(&a, &p->eras)) {
            p->first = a.first;
            p->next = a.next;
            p->committed = a.committed;
        } else {
            fault_in(&err, p, &a.err);
            if (a.kind == SG_CURSOR_LOST)
                begin_anew(j, &err);
            else
                sg_task_fault(&j->task, err.status, &err);
        }
    }
    sg_task_answered(&j->task);
}

static void read_cursors(job *j) {
    const char *group = j->exists ? j->group.name : NULL;
    for (size_t i = 0; i < j->n; i++)
        sg_task_sent(&j->task, sg_cursor_read_send(j->task.client->commands, &j->stream, group,
                                                   j->parts[i].partition, on_read, &j->parts[i]));
}

/* The stream and the group are known. False: no memory, or a partition that the stream does not
 * have. */
static bool prepare(job *j) {
    sg_task *t = &j->task;
    size_t n = j->chosen != NULL ? j->o.n_partitions : j->stream.partitions;
    if (j->chosen != NULL && j->chosen[n - 1] >= j->stream.partitions) {
        t->status = sg_fail(&t->err, SEG_EINVAL, "no partition %u: stream \"%s\" has %u, from 0",
                            j->chosen[n - 1], j->stream.name, j->stream.partitions);
        return false;
    }
    j->planned = j->planned && j->exists && strcmp(j->planned_inc, j->stream.inc) == 0 &&
                 strcmp(j->planned_gid, j->group.gid) == 0;
    if (j->planned) {
        for (size_t i = 0; i < n; i++)
            j->parts[i].moved = 0; /* what a lost connection has told may be lost as well */
        return true;
    }
    forget_parts(j);
    sg_free(j->plan);
    j->parts = sg_calloc(n, sizeof *j->parts);
    j->plan = sg_calloc(1, sizeof *j->plan + n * sizeof *j->plan->steps);
    j->n = n;
    j->begun = j->elsewhere = false;
    if (j->parts == NULL || j->plan == NULL) {
        t->status = sg_fail_nomem(&t->err);
        return false;
    }
    for (size_t i = 0; i < n; i++)
        j->parts[i] = (part){.job = j, .partition = j->chosen != NULL ? j->chosen[i] : (uint32_t)i};
    return true;
}

/* False: no memory. */
static bool begin_search(job *j) {
    if (!sg_search_begin(&j->search, &j->task, &j->stream, j->o.value, j->n))
        return false;
    for (size_t i = 0; i < j->n; i++) {
        const part *p = &j->parts[i];
        sg_search_in(&j->search, i, p->partition, &p->eras, p->first, p->next);
    }
    return true;
}

/* ---- planning -------------------------------------------------------------------------------- */

/* `by` messages on, as far as numbers go. */
static uint64_t step_by(uint64_t from, int64_t by) {
    if (by >= 0)
        return from > UINT64_MAX - (uint64_t)by ? UINT64_MAX : from + (uint64_t)by;
    uint64_t back = 0 - (uint64_t)by;
    return from > back ? from - back : 0;
}

static uint64_t target_of(const job *j, size_t i) {
    const part *p = &j->parts[i];
    uint64_t to = p->first;
    switch (j->o.to) {
    case SEG_SEEK_START:
        break;
    case SEG_SEEK_END:
        to = p->next;
        break;
    case SEG_SEEK_OFFSET:
        to = (uint64_t)j->o.value;
        break;
    case SEG_SEEK_TIME:
        to = sg_search_found(&j->search, i);
        break;
    case SEG_SEEK_BY: /* a group that was overtaken is at the first message that is left */
        to = step_by(p->committed > p->first ? p->committed : p->first, j->o.value);
        break;
    }
    to = to > p->next ? p->next : to;
    return to < p->first ? p->first : to;
}

static void plan(job *j) {
    if (j->planned)
        return;
    if (!j->exists && j->o.to == SEG_SEEK_BY) {
        j->task.status =
            sg_fail(&j->task.err, SEG_ENOENT,
                    "no group \"%s\" on stream \"%s\" to move from where it is: name a place",
                    j->group.name, j->stream.name);
        return;
    }
    for (size_t i = 0; i < j->n; i++) {
        part *p = &j->parts[i];
        p->before = j->exists ? p->committed : UINT64_MAX;
        p->target = p->after = target_of(j, i);
    }
    j->planned = true;
    strcpy(j->planned_inc, j->stream.inc);
    strcpy(j->planned_gid, j->exists ? j->group.gid : "");
}

/* ---- a group that does not exist ------------------------------------------------------------- */

/* A task that starts over, its last answer lost, finds the group that it has made itself. */
static void remember_creation(job *j) {
    strcpy(j->planned_gid, j->group.gid);
    for (size_t i = 0; i < j->n; i++)
        j->parts[i].touched = true;
}

static void on_opened(void *arg, const sg_result *r) {
    job *j = arg;
    sg_group_answer a;
    sg_group_open_read(r, &j->stream, j->group.name, &a);
    if (sg_task_answer(&j->task, a.lost)) {
        if (a.status == SEG_ELOST)
            begin_anew(j, &a.err);
        else
            sg_task_fault(&j->task, a.status, &a.err);
        if (a.status == SEG_OK) {
            memcpy(j->group.gid, a.gid, sizeof a.gid);
            if (!a.creating)
                begin_anew(j, &(seg_error){SEG_EEXIST, "the group comes and goes"});
            j->half = a.creating && a.start.kind != SEG_EARLIEST;
            if (a.creating && !j->half)
                remember_creation(j);
        }
    }
    sg_task_answered(&j->task);
}

/* The others begin where the start that is stored says, as with whoever would finish this. */
static void create_cursors(job *j) {
    char text[24];
    size_t i = 0;
    for (uint32_t p = 0; p < j->stream.partitions; p++) {
        bool ours = i < j->n && j->parts[i].partition == p;
        snprintf(text, sizeof text, "earliest");
        if (ours)
            snprintf(text, sizeof text, "%" PRIu64, j->parts[i++].target);
        sg_task_sent(&j->task, sg_cursor_create_send(j->task.client->commands, &j->stream,
                                                     &j->group, text, p, sg_task_plain, &j->task));
    }
}

/* Whether somebody else has created a cursor, who was at it at the same time. What is dropped from
 * the partition meanwhile moves nobody. */
static void check_places(job *j) {
    for (size_t i = 0; i < j->n; i++) {
        part *p = &j->parts[i];
        p->after = p->committed;
        if (p->committed != p->target && (p->committed < p->target || p->committed > p->first))
            j->elsewhere = true;
    }
}

/* ---- one that does --------------------------------------------------------------------------- */

/* The coordinator's answers do not name the group. */
static void name_damage(const job *j, const sg_result *r, sg_seek_answer *a) {
    if (r->status == SEG_OK && sg_reply_is(sg_reply_at(r->reply, 0), "DAMAGED"))
        sg_group_damaged(r->reply, &j->stream, j->group.name, &a->err);
}

static void on_begun(void *arg, const sg_result *r) {
    job *j = arg;
    sg_seek_answer a;
    sg_seek_read(r, &a);
    name_damage(j, r, &a);
    if (sg_task_answer(&j->task, a.lost)) {
        if (a.kind == SG_SEEK_OK)
            j->epoch = a.epoch;
        else if (a.kind == SG_SEEK_GONE)
            begin_anew(j, &a.err);
        else {
            if (a.kind == SG_SEEK_ACTIVE)
                sg_fail(&a.err, SEG_EEXIST,
                        "group \"%s\" has live members (%" PRIu64
                        "): stop them, wait until their session timeout, or move it while they are "
                        "active",
                        j->group.name, a.members);
            if (j->begun)
                j->fault = a.err;
            else
                sg_task_fault(&j->task, a.err.status, &a.err);
        }
    }
    sg_task_answered(&j->task);
}

static void on_moved(void *arg, const sg_result *r) {
    part *p = arg;
    job *j = p->job;
    sg_seek_answer a;
    seg_error err;
    sg_seek_read(r, &a);
    if (a.lost)
        j->begun = p->touched = true;
    if (sg_task_answer(&j->task, a.lost)) {
        if (a.kind == SG_SEEK_OK) {
            p->before = p->touched ? p->before : a.before;
            p->after = a.after;
            p->moved = j->epoch;
            j->begun = p->touched = true;
        } else if (a.kind == SG_SEEK_STALE) {
            j->stale = true;
            j->floor = a.epoch > j->floor ? a.epoch : j->floor;
        } else {
            fault_in(&err, p, &a.err);
            if (a.kind == SG_SEEK_GONE)
                begin_anew(j, &err);
            else if (j->fault.status == SEG_OK)
                j->fault = err;
        }
    }
    sg_task_answered(&j->task);
}

static void move_cursors(job *j) {
    if (j->fault.status != SEG_OK)
        return;
    j->stale = false;
    j->task.changes = true;
    for (size_t i = 0; i < j->n; i++) {
        part *p = &j->parts[i];
        if (p->moved != 0)
            continue;
        sg_task_sent(&j->task, sg_cursor_seek_send(j->task.client->commands, &j->stream, &j->group,
                                                   p->partition, j->epoch, p->target, on_moved, p));
    }
}

/* The moves are done. Where this was refused, the owners find it out by themselves. */
static void on_finished(void *arg, const sg_result *r) {
    job *j = arg;
    sg_task_answer(&j->task, r->lost);
    sg_task_answered(&j->task);
}

static void finish_moving(job *j) {
    sg_task *t = &j->task;
    size_t n = 0;
    sg_handback *moved = sg_calloc(j->n, sizeof *moved);
    if (moved == NULL)
        return;
    for (size_t i = 0; i < j->n; i++)
        if (j->parts[i].moved != 0)
            moved[n++] = (sg_handback){j->parts[i].partition, j->parts[i].moved};
    if (n > 0)
        sg_task_sent(t, sg_group_seek_finish_send(t->client->commands, &j->stream, &j->group, moved,
                                                  n, on_finished, j));
    sg_free(moved);
}

/* ---- all of it ------------------------------------------------------------------------------- */

static void conclude(job *j) {
    sg_task *t = &j->task;
    size_t moved = 0;
    for (size_t i = 0; i < j->n; i++)
        moved += j->parts[i].moved != 0 ? 1 : 0;
    if (j->fault.status != SEG_OK && !j->begun) {
        t->status = j->fault.status;
        t->err = j->fault;
    } else if (j->fault.status != SEG_OK) {
        t->status = sg_fail(&t->err, SEG_EUNKNOWN, "only %zu of %zu partitions were moved: %s",
                            moved, j->n, j->fault.text);
    } else {
        j->plan->n = j->n;
        for (size_t i = 0; i < j->n; i++) {
            const part *p = &j->parts[i];
            j->plan->steps[i] =
                (seg_seek_step){p->partition, sg_eras_newest(&p->eras), p->before, p->after};
        }
    }
    sg_task_finish(t);
}

enum {
    FIND,
    GROUP,
    READ,
    BEGIN_SEARCH,
    SEARCH,
    CHECK,
    PLAN,
    BEGIN,
    MOVE,
    FINISH,
    END,
    OPEN,
    CREATE,
    READ_BACK,
    READY,
    CREATED
};

/* True: what was found is not there any more, and it begins anew, or is over. */
static bool starts_over(job *j) {
    if (j->lost.status == SEG_OK)
        return false;
    if (j->anew++ == ANEW_MAX) {
        j->task.status = j->lost.status;
        j->task.err = j->lost;
    }
    j->lost.status = SEG_OK;
    j->task.stage = FIND;
    return j->task.status != SEG_OK;
}

static void look(job *j, int stage) {
    sg_task *t = &j->task;
    bool searching = j->o.to == SEG_SEEK_TIME && !j->planned;
    switch (stage) {
    case FIND:
        j->fault.status = SEG_OK;
        sg_task_find(t, &j->stream);
        break;
    case GROUP:
        sg_task_sent(
            t, sg_group_describe_send(t->client->commands, &j->stream, j->group.name, on_group, j));
        break;
    case READ:
        if (prepare(j))
            read_cursors(j);
        break;
    case BEGIN_SEARCH:
        if (searching && !begin_search(j))
            t->status = sg_fail_nomem(&t->err);
        break;
    case SEARCH:
        if (searching && sg_search_step(&j->search))
            t->stage = SEARCH;
        break;
    case CHECK: /* reads tell nothing of a log that was deleted meanwhile */
        j->now = j->stream;
        if (searching)
            sg_task_find(t, &j->now);
        break;
    case PLAN:
        if (strcmp(j->now.inc, j->stream.inc) != 0)
            begin_anew(j, &(seg_error){SEG_ENOENT, "the stream comes and goes"});
        else
            plan(j);
        t->stage = !j->o.execute ? END : j->exists ? BEGIN : OPEN;
        break;
    }
}

static void carry_out(job *j, int stage) {
    sg_task *t = &j->task;
    sg_conn *c = t->client->commands;
    switch (stage) {
    case BEGIN:
        sg_task_sent(t, sg_group_seek_begin_send(c, &j->stream, &j->group,
                                                 j->o.while_active || j->begun, j->floor, on_begun,
                                                 j));
        break;
    case MOVE:
        move_cursors(j);
        break;
    case FINISH:
        if (j->stale && j->fault.status == SEG_OK)
            t->stage = BEGIN;
        else
            finish_moving(j);
        break;
    }
}

static void create(job *j, int stage) {
    sg_task *t = &j->task;
    sg_conn *c = t->client->commands;
    static const sg_start_at earliest = {SEG_EARLIEST, 0};
    switch (stage) {
    case OPEN:
        t->changes = true;
        if (sg_random_id(j->group.gid))
            sg_task_sent(t, sg_group_open_send(c, &j->stream, &j->group, &earliest, on_opened, j));
        else
            t->status = sg_fail_nomem(&t->err);
        break;
    case CREATE:
        if (j->half)
            sg_task_finish(t);
        else
            create_cursors(j);
        break;
    case READ_BACK:
        j->exists = true;
        read_cursors(j);
        break;
    case READY:
        check_places(j);
        sg_task_sent(t, sg_group_ready_send(c, &j->stream, &j->group, sg_task_plain, t));
        break;
    case CREATED:
        t->stage = j->elsewhere ? BEGIN : END;
        break;
    }
}

static void step(sg_task *t) {
    job *j = job_of(t);
    if (starts_over(j))
        return;
    int stage = t->stage++;
    if (stage < BEGIN)
        look(j, stage);
    else if (stage < END)
        carry_out(j, stage);
    else if (stage == END)
        conclude(j);
    else
        create(j, stage);
}

/* ---- asked for ------------------------------------------------------------------------------- */

static seg_status check(const seg_seek_options *o, seg_error *err) {
    if (o->to < SEG_SEEK_START || o->to > SEG_SEEK_BY)
        return sg_fail(err, SEG_EINVAL, "to is %d: not one of seg_seek_to; it has no default",
                       (int)o->to);
    if ((o->to == SEG_SEEK_OFFSET || o->to == SEG_SEEK_TIME) && o->value < 0)
        return sg_fail(err, SEG_EINVAL, "value is %lld: %s is at least 0", (long long)o->value,
                       o->to == SEG_SEEK_OFFSET ? "an offset" : "a time");
    if (o->partitions == NULL && o->n_partitions > 0)
        return sg_fail(err, SEG_EINVAL, "partitions is NULL, n_partitions %zu: name them",
                       o->n_partitions);
    if (o->partitions != NULL && o->n_partitions == 0)
        return sg_fail(err, SEG_EINVAL,
                       "n_partitions is 0: name a partition, or leave partitions NULL for all");
    if (o->n_partitions > MAX_PARTITIONS)
        return sg_fail(err, SEG_EINVAL, "n_partitions is %zu: a stream has at most %d",
                       o->n_partitions, MAX_PARTITIONS);
    return SEG_OK;
}

static int ascending(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static seg_status choose(job *j, seg_error *err) {
    size_t n = j->o.n_partitions;
    if (n == 0)
        return SEG_OK;
    j->chosen = sg_memdup(j->o.partitions, n * sizeof *j->chosen);
    if (j->chosen == NULL)
        return sg_fail_nomem(err);
    qsort(j->chosen, n, sizeof *j->chosen, ascending);
    for (size_t i = 1; i < n; i++)
        if (j->chosen[i] == j->chosen[i - 1])
            return sg_fail(err, SEG_EINVAL, "partition %u is named twice", j->chosen[i]);
    return SEG_OK;
}

static seg_status job_new(job **out, seg_client *c, const sg_stream *s, const char *group,
                          const seg_seek_options *o, seg_error *err) {
    job *j = sg_calloc(1, sizeof *j);
    if (j == NULL || !sg_task_init(&j->task, c, step, destroy)) {
        sg_free(j);
        return sg_fail_nomem(err);
    }
    j->o = *o;
    j->stream = *s;
    strcpy(j->group.name, group);
    seg_status status = choose(j, err);
    if (status == SEG_OK)
        *out = j;
    else
        destroy(&j->task);
    return status;
}

/* One run of it. `half`: somebody's creation has to be finished first, of `s`, now filled in. */
static seg_status seek(seg_seek_plan **out, seg_client *c, sg_stream *s, const char *group,
                       const seg_seek_options *o, bool *half, seg_error *err) {
    job *j = NULL;
    seg_status status = job_new(&j, c, s, group, o, err);
    if (status != SEG_OK)
        return status;
    status = sg_task_run(&j->task, c->command_timeout, err);
    *half = status == SEG_OK && j->half;
    if (status == SEG_OK && !j->half) {
        *out = j->plan;
        j->plan = NULL;
    } else if (status == SEG_OK) {
        *s = j->stream;
    } else if (status == SEG_EUNKNOWN && o->to == SEG_SEEK_BY) {
        sg_fail(err, status, "%s: look where it is before it is moved on from there again",
                j->fault.status != SEG_OK
                    ? j->task.err.text
                    : "the server did not answer in time, and the group may have "
                      "moved, wholly or in part");
    }
    sg_task_release(&j->task);
    return status;
}

seg_status seg_group_seek(seg_seek_plan **out, seg_client *c, const char *stream, const char *group,
                          const seg_seek_options *opts, seg_error *err) {
    seg_seek_options o = {.size = sizeof o};
    sg_stream s = {.partitions = 0};
    sg_group g = {.gid = ""};
    seg_status status;
    bool half = true;
    if (out == NULL || c == NULL || opts == NULL)
        return sg_fail(err, SEG_EINVAL, "%s is NULL",
                       out == NULL ? "out"
                       : c == NULL ? "the client"
                                   : "opts");
    if ((status = sg_options_copy(&o, sizeof o, opts, "seek options", err)) != SEG_OK ||
        (status = check(&o, err)) != SEG_OK ||
        (status = sg_stream_name(&s, c, stream, err)) != SEG_OK ||
        (status = sg_name_check("group", group, err)) != SEG_OK)
        return status;
    strcpy(g.name, group);
    for (int round = 0; status == SEG_OK && half && round <= ANEW_MAX; round++) {
        if (round > 0)
            status = sg_group_find(c, &s, &g, (sg_start_at){SEG_EARLIEST, 0}, err);
        if (status == SEG_OK)
            status = seek(out, c, &s, group, &o, &half, err);
    }
    if (status == SEG_OK && half)
        return sg_fail(err, SEG_EEXIST,
                       "group \"%s\" is being created and deleted by others again and again",
                       group);
    return status;
}

size_t seg_seek_plan_count(const seg_seek_plan *p) {
    return p->n;
}

const seg_seek_step *seg_seek_plan_at(const seg_seek_plan *p, size_t i) {
    return i < p->n ? &p->steps[i] : NULL;
}

void seg_seek_plan_free(seg_seek_plan *p) {
    sg_free(p);
}
