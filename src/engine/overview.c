/* Listings: all streams, or all groups, with a few numbers of each.
 *
 * They come in stages, each over all streams in rounds of pipelined requests. A request asks about as
 * many groups as can be without keeping the server from others for long:
 *
 *   streams   settings │ number of groups │ ends of each partition          │ again: settings
 *   groups    settings │ names of groups  │ summary │ places in a partition │ again: settings, summary
 *               stream      stream          200 groups    200 groups             streams in doubt
 *
 * A group that is listed and has no state is not one that was deleted: its script looks at both at once.
 *
 * A stream or a group may be deleted between two of them: then something is missing all at once, as
 * if it was damaged. So what looks damaged is asked for again in the end, and left out where it is
 * gone, or another one. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "core/error.h"
#include "engine/admin.h"
#include "engine/task.h"
#include "redis/ops_describe.h"

enum {
    ROUND = 256,        /* requests under way, and what they weigh */
    GROUPS_MAX = 200,   /* in one call */
    OWNERS_MAX = 8192,  /* looked at in one call: groups by partitions */
    GROUPS_A_UNIT = 20, /* weigh as much as one request does by itself */
    OWNERS_A_UNIT = 400
};

typedef struct group_row {
    char gid[33];
    seg_status status;
    bool gone;
    uint64_t members, owned, epoch, lag, committed;
} group_row;

typedef struct stream_row {
    sg_stream stream;
    seg_status status;
    bool gone;
    bool doubt; /* something of it is missing */
    uint64_t messages, appended, n_groups;
    seg_names *names; /* of its groups; NULL before they are known */
    group_row *groups;
    const char **gids;
} stream_row;

typedef struct job job;

/* A request's subject: a stream, groups [from, from + n) of it, a partition. */
typedef struct ask {
    job *job;
    stream_row *row;
    size_t from, n;
    uint32_t partition;
} ask;

struct job {
    sg_task task;
    bool of_groups, all;
    sg_stream one; /* where it is not all */
    stream_row *rows;
    size_t n_rows;
    ask asks[ROUND]; /* of this round */
    /* What is asked for next in this stage. */
    size_t row, group;
    uint32_t partition;
    uint64_t answers, best; /* of this run, and of the one that came furthest */
};

static job *job_of(sg_task *t) {
    return SG_OF(t, job, task);
}

static void forget(job *j) {
    for (size_t i = 0; i < j->n_rows; i++) {
        seg_names_free(j->rows[i].names);
        sg_free(j->rows[i].groups);
        sg_free(j->rows[i].gids);
    }
    sg_free(j->rows);
    j->rows = NULL;
    j->n_rows = 0;
}

static void destroy(sg_task *t) {
    forget(job_of(t));
    sg_task_fini(t);
    sg_free(job_of(t));
}

static void no_memory(job *j) {
    seg_error err;
    sg_task_fault(&j->task, sg_fail_nomem(&err), &err);
}

/* First in a result function. */
static bool answered(job *j, bool lost) {
    if (!sg_task_answer(&j->task, lost))
        return false;
    j->answers++;
    return true;
}

/* ---- streams ------------------------------------------------------------------------------ */

static void make_rows(job *j, const char *const *names, size_t n) {
    j->rows = sg_calloc(n > 0 ? n : 1, sizeof *j->rows);
    if (j->rows == NULL) {
        no_memory(j);
        return;
    }
    j->n_rows = n;
    for (size_t i = 0; i < n; i++) {
        strcpy(j->rows[i].stream.ns, j->task.client->ns);
        strcpy(j->rows[i].stream.name, names[i]);
    }
}

/* The names of an answer that is an array of them. NULL: that is the task's fault now, or the key is
 * of another type, which is `*damaged`. */
static seg_names *names_of(job *j, const sg_result *r, bool *damaged) {
    sg_plain_answer a;
    memset(&a, 0, sizeof a);
    if (r->status != SEG_OK)
        sg_plain_read(r, "listing", &a);
    *damaged = a.status == SEG_EPROTO && j->all;
    if (!*damaged)
        sg_task_fault(&j->task, a.status, &a.err);
    if (a.status != SEG_OK)
        return NULL;
    seg_names *names = sg_names_from(r->reply);
    if (names == NULL)
        no_memory(j);
    else
        sg_names_clean(names);
    return names;
}

static void on_listed(void *arg, const sg_result *r) {
    job *j = arg;
    if (answered(j, r->lost)) {
        sg_plain_answer a = {.status = SEG_OK};
        bool damaged;
        seg_names *names = names_of(j, r, &damaged);
        if (damaged) { /* of the listing itself there is only one */
            sg_plain_read(r, "listing", &a);
            sg_task_fault(&j->task, a.status, &a.err);
        }
        if (names != NULL)
            make_rows(j, sg_names_all(names), seg_names_count(names));
        seg_names_free(names);
    }
    sg_task_answered(&j->task);
}

static void on_settings(void *arg, const sg_result *r) {
    ask *k = arg;
    sg_stream_answer a;
    sg_stream_get_read(r, &k->row->stream, &a);
    if (answered(k->job, a.lost)) {
        if (a.status == SEG_OK)
            k->row->stream = a.stream;
        else if (a.status == SEG_ENOENT && k->job->all)
            k->row->gone = true;
        else if (a.status == SEG_EPROTO && k->job->all)
            k->row->status = SEG_EPROTO;
        else
            sg_task_fault(&k->job->task, a.status, &a.err);
    }
    sg_task_answered(&k->job->task);
}

static bool send_settings(sg_conn *c, ask *k) {
    return sg_stream_get_send(c, &k->row->stream, on_settings, k);
}

/* Whatever it is now: only where it is gone or another one, it was deleted. */
static void on_settings_again(void *arg, const sg_result *r) {
    ask *k = arg;
    sg_stream_answer a;
    sg_stream_get_read(r, &k->row->stream, &a);
    if (answered(k->job, a.lost)) {
        if (a.status == SEG_ENOENT ||
            (a.status == SEG_OK && strcmp(a.stream.inc, k->row->stream.inc) != 0))
            k->row->gone = true;
        else if (a.status != SEG_EPROTO)
            sg_task_fault(&k->job->task, a.status, &a.err);
    }
    sg_task_answered(&k->job->task);
}

static bool send_settings_again(sg_conn *c, ask *k) {
    return sg_stream_get_send(c, &k->row->stream, on_settings_again, k);
}

static void on_count(void *arg, const sg_result *r) {
    ask *k = arg;
    sg_plain_answer a;
    memset(&a, 0, sizeof a);
    if (r->status != SEG_OK)
        sg_plain_read(r, "groups", &a);
    if (answered(k->job, r->lost)) {
        if (a.status == SEG_EPROTO ||
            (a.status == SEG_OK && !sg_reply_u64(r->reply, &k->row->n_groups))) {
            k->row->n_groups = SEG_UNKNOWN;
            k->row->status = SEG_ELOST;
        } else {
            sg_task_fault(&k->job->task, a.status, &a.err);
        }
    }
    sg_task_answered(&k->job->task);
}

static bool send_count(sg_conn *c, ask *k) {
    return sg_groups_count_send(c, &k->row->stream, on_count, k);
}

static void on_ends(void *arg, const sg_result *r) {
    ask *k = arg;
    sg_lag_answer a;
    sg_partition_lag_read(r, 0, &a);
    if (answered(k->job, a.lost)) {
        if (a.status == SEG_ELOST) {
            k->row->status = SEG_ELOST;
            k->row->doubt = true;
        } else {
            sg_task_fault(&k->job->task, a.status, &a.err);
        }
        sg_known_add(&k->row->messages, a.status == SEG_OK ? a.next - a.first : SEG_UNKNOWN);
        sg_known_add(&k->row->appended, a.status == SEG_OK ? a.next : SEG_UNKNOWN);
    }
    sg_task_answered(&k->job->task);
}

static bool send_ends(sg_conn *c, ask *k) {
    return sg_partition_lag_send(c, &k->row->stream, k->partition, NULL, NULL, 0, on_ends, k);
}

/* ---- groups ------------------------------------------------------------------------------- */

static void on_names(void *arg, const sg_result *r) {
    ask *k = arg;
    stream_row *row = k->row;
    if (answered(k->job, r->lost)) {
        bool damaged;
        row->names = names_of(k->job, r, &damaged);
        if (damaged)
            row->status = SEG_EPROTO;
        size_t n = seg_names_count(row->names);
        row->groups = sg_calloc(n + 1, sizeof *row->groups);
        row->gids = sg_calloc(n + 1, sizeof *row->gids);
        if (row->groups == NULL || row->gids == NULL)
            no_memory(k->job);
        else
            for (size_t i = 0; i < n; i++)
                row->gids[i] = row->groups[i].gid;
    }
    sg_task_answered(&k->job->task);
}

static bool send_names(sg_conn *c, ask *k) {
    return sg_groups_list_send(c, &k->row->stream, on_names, k);
}

static void take_summary(group_row *g, const sg_summary_answer *a, size_t i) {
    sg_summary s;
    seg_status status = sg_summary_at(a, i, &s);
    g->gone = status == SEG_ENOENT;
    g->status = status == SEG_ELOST ? SEG_ELOST : SEG_OK;
    memcpy(g->gid, s.gid, sizeof g->gid);
    g->owned = s.owned;
    g->members = status == SEG_ELOST ? SEG_UNKNOWN : s.members;
    g->epoch = status == SEG_ELOST ? SEG_UNKNOWN : s.epoch;
}

/* What had no place in a partition, and is another group now, or none, was deleted. */
static void compare_summary(group_row *g, const sg_summary_answer *a, size_t i) {
    sg_summary s;
    seg_status status = sg_summary_at(a, i, &s);
    if (g->status == SEG_ELOST &&
        (status == SEG_ENOENT || (status == SEG_OK && strcmp(s.gid, g->gid) != 0)))
        g->gone = true;
}

static void on_summaries(ask *k, const sg_result *r,
                         void (*take)(group_row *, const sg_summary_answer *, size_t)) {
    sg_summary_answer a;
    sg_group_summary_read(r, k->n, &a);
    if (answered(k->job, a.lost)) {
        if (a.status == SEG_ENOENT)
            k->row->gone = true;
        else if (a.status != SEG_OK)
            sg_task_fault(&k->job->task, a.status, &a.err);
        else
            for (size_t i = 0; i < k->n; i++)
                take(&k->row->groups[k->from + i], &a, i);
    }
    sg_task_answered(&k->job->task);
}

static void on_summary(void *arg, const sg_result *r) {
    on_summaries(arg, r, take_summary);
}

static void on_summary_again(void *arg, const sg_result *r) {
    on_summaries(arg, r, compare_summary);
}

static bool send_summary(sg_conn *c, ask *k) {
    return sg_group_summary_send(c, &k->row->stream, sg_names_all(k->row->names) + k->from, k->n,
                                 on_summary, k);
}

static bool send_summary_again(sg_conn *c, ask *k) {
    return sg_group_summary_send(c, &k->row->stream, sg_names_all(k->row->names) + k->from, k->n,
                                 on_summary_again, k);
}

static void on_places(void *arg, const sg_result *r) {
    ask *k = arg;
    sg_lag_answer a;
    sg_partition_lag_read(r, k->n, &a);
    if (answered(k->job, a.lost)) {
        if (a.status != SEG_ELOST)
            sg_task_fault(&k->job->task, a.status, &a.err);
        for (size_t i = 0; i < k->n; i++) {
            group_row *g = &k->row->groups[k->from + i];
            uint64_t lag, committed;
            bool known = sg_lag_at(&a, i, &lag, &committed);
            sg_known_add(&g->lag, lag);
            sg_known_add(&g->committed, committed);
            if (!known && !g->gone) {
                g->status = SEG_ELOST;
                k->row->doubt = true;
            }
        }
    }
    sg_task_answered(&k->job->task);
}

static bool send_places(sg_conn *c, ask *k) {
    return sg_partition_lag_send(c, &k->row->stream, k->partition,
                                 sg_names_all(k->row->names) + k->from, k->row->gids + k->from,
                                 k->n, on_places, k);
}

/* ---- stages ------------------------------------------------------------------------------- */

typedef struct stage {
    bool (*send)(sg_conn *c, ask *k);
    bool groups, partitions; /* one request for each so-many groups, for each partition */
    bool again;              /* only of streams in doubt */
} stage;

static const stage STREAM_STAGES[] = {{send_settings, false, false, false},
                                      {send_count, false, false, false},
                                      {send_ends, false, true, false},
                                      {send_settings_again, false, false, true}};
static const stage GROUP_STAGES[] = {
    {send_settings, false, false, false},      {send_names, false, false, false},
    {send_summary, true, false, false},        {send_places, true, true, false},
    {send_settings_again, false, false, true}, {send_summary_again, true, false, true}};

static size_t groups_a_call(const stage *s, const stream_row *r) {
    size_t fit = s->partitions ? GROUPS_MAX : OWNERS_MAX / (r->stream.partitions + 1u);
    return fit < 1 ? 1 : fit < GROUPS_MAX ? fit : GROUPS_MAX;
}

/* False: the stage has no further one. */
static bool next_ask(job *j, const stage *s, ask *k) {
    for (; j->row < j->n_rows; j->row++, j->group = 0, j->partition = 0) {
        stream_row *r = &j->rows[j->row];
        size_t n = s->groups ? seg_names_count(r->names) : 1;
        if (r->gone || r->status == SEG_EPROTO || (s->again && !r->doubt) || j->group >= n)
            continue;
        size_t most = s->groups ? groups_a_call(s, r) : 1;
        *k = (ask){.job = j,
                   .row = r,
                   .from = j->group,
                   .n = n - j->group < most ? n - j->group : most,
                   .partition = j->partition};
        if (!s->partitions || ++j->partition >= r->stream.partitions) {
            j->partition = 0;
            j->group += k->n;
        }
        return true;
    }
    return false;
}

/* What it keeps the server busy for. */
static size_t weight(const stage *s, const ask *k) {
    if (!s->groups)
        return 1;
    return 1 + (s->partitions ? k->n / GROUPS_A_UNIT
                              : k->n * (k->row->stream.partitions + 20u) / OWNERS_A_UNIT);
}

/* False: nothing is left of this stage. */
static bool send_round(job *j, const stage *s) {
    sg_task *t = &j->task;
    size_t n = 0;
    for (size_t load = 0; load < ROUND && n < ROUND && !t->restart; n++) {
        ask *k = &j->asks[n];
        if (!next_ask(j, s, k))
            break;
        load += weight(s, k);
        sg_task_sent(t, s->send(t->client->commands, k));
    }
    return n > 0;
}

/* However much there is, as long as it gets further than ever before, it is worth waiting for. */
static void give_time(job *j) {
    if (j->answers <= j->best)
        return;
    j->best = j->answers;
    j->task.deadline = sg_clock_after(sg_clock_ms(), j->task.client->command_timeout);
}

static void begin(job *j) {
    const char *one = j->one.name;
    forget(j);
    j->answers = 0;
    j->row = j->group = 0;
    j->partition = 0;
    if (j->all)
        sg_task_sent(&j->task, sg_streams_list_send(j->task.client->commands, j->task.client->ns,
                                                    on_listed, j));
    else
        make_rows(j, &one, 1);
}

static void step(sg_task *t) {
    job *j = job_of(t);
    const stage *stages = j->of_groups ? GROUP_STAGES : STREAM_STAGES;
    int n = j->of_groups ? (int)(sizeof GROUP_STAGES / sizeof *GROUP_STAGES)
                         : (int)(sizeof STREAM_STAGES / sizeof *STREAM_STAGES);
    if (t->stage == 0) {
        begin(j);
        t->stage = 1;
        return;
    }
    give_time(j);
    for (; t->stage <= n; t->stage++) {
        if (send_round(j, &stages[t->stage - 1]))
            return;
        j->row = j->group = 0;
        j->partition = 0;
    }
    sg_task_finish(t);
}

static seg_status run(job **out, seg_client *c, const char *stream, bool of_groups,
                      seg_error *err) {
    job *j = sg_calloc(1, sizeof *j);
    if (j == NULL || !sg_task_init(&j->task, c, step, destroy)) {
        sg_free(j);
        return sg_fail_nomem(err);
    }
    seg_status status = stream != NULL ? sg_stream_name(&j->one, c, stream, err) : SEG_OK;
    if (status != SEG_OK) {
        destroy(&j->task);
        return status;
    }
    j->of_groups = of_groups;
    j->all = stream == NULL;
    status = sg_task_run(&j->task, c->command_timeout, err);
    if (status == SEG_OK && !j->all && j->rows[0].gone)
        status = sg_fail(err, SEG_ENOENT, "stream \"%s\" was deleted", j->one.name);
    if (status == SEG_OK)
        *out = j;
    else
        sg_task_release(&j->task);
    return status;
}

/* ---- snapshots ---------------------------------------------------------------------------- */

struct seg_streams {
    size_t n;
    seg_stream_summary at[]; /* behind them, the names */
};

struct seg_groups {
    size_t n;
    seg_group_summary at[]; /* the same */
};

static const char *put(char **to, const char *text) {
    size_t size = strlen(text) + 1;
    const char *at = memcpy(*to, text, size);
    *to += size;
    return at;
}

static seg_streams *streams_of(const job *j) {
    size_t n = 0, text = 0;
    for (size_t i = 0; i < j->n_rows; i++)
        if (!j->rows[i].gone) {
            n++;
            text += strlen(j->rows[i].stream.name) + 1;
        }
    seg_streams *s = sg_calloc(1, sizeof *s + n * sizeof *s->at + text);
    if (s == NULL)
        return NULL;
    char *names = (char *)(s->at + n);
    for (size_t i = 0; i < j->n_rows; i++) {
        const stream_row *r = &j->rows[i];
        bool known = r->status != SEG_EPROTO;
        if (r->gone)
            continue;
        s->at[s->n++] = (seg_stream_summary){.name = put(&names, r->stream.name),
                                             .status = r->status,
                                             .partitions = r->stream.partitions,
                                             .on_full = r->stream.on_full,
                                             .max_messages = r->stream.bound,
                                             .created = r->stream.created,
                                             .messages = known ? r->messages : SEG_UNKNOWN,
                                             .appended = known ? r->appended : SEG_UNKNOWN,
                                             .groups = known ? r->n_groups : SEG_UNKNOWN};
    }
    return s;
}

seg_status seg_stream_overview(seg_streams **out, seg_client *c, seg_error *err) {
    job *j = NULL;
    if (out == NULL || c == NULL)
        return sg_fail(err, SEG_EINVAL, "%s is NULL", out == NULL ? "out" : "the client");
    seg_status status = run(&j, c, NULL, false, err);
    if (status != SEG_OK)
        return status;
    seg_streams *s = streams_of(j);
    sg_task_release(&j->task);
    if (s == NULL)
        return sg_fail_nomem(err);
    *out = s;
    return SEG_OK;
}

size_t seg_streams_count(const seg_streams *s) {
    return s == NULL ? 0 : s->n;
}

const seg_stream_summary *seg_streams_at(const seg_streams *s, size_t i) {
    return s == NULL || i >= s->n ? NULL : &s->at[i];
}

void seg_streams_free(seg_streams *s) {
    sg_free(s);
}

/* Its names and how many of them are there still; the bytes that they take are added to `*text`. */
static size_t present(const stream_row *r, size_t *text) {
    size_t n = 0;
    for (size_t i = 0; !r->gone && i < seg_names_count(r->names); i++)
        if (!r->groups[i].gone) {
            n++;
            *text += strlen(seg_names_at(r->names, i)) + 1;
        }
    if (n > 0)
        *text += strlen(r->stream.name) + 1;
    return n;
}

static void put_groups(seg_groups *out, const stream_row *r, char **names) {
    const char *stream = NULL;
    for (size_t i = 0; !r->gone && i < seg_names_count(r->names); i++) {
        const group_row *g = &r->groups[i];
        uint32_t n = r->stream.partitions;
        if (g->gone)
            continue;
        stream = stream != NULL ? stream : put(names, r->stream.name);
        out->at[out->n++] =
            (seg_group_summary){.stream = stream,
                                .group = put(names, seg_names_at(r->names, i)),
                                .status = g->status,
                                .partitions = n,
                                .unowned = g->owned < n ? n - (uint32_t)g->owned : 0,
                                .members = g->members,
                                .lag = g->lag,
                                .epoch = g->epoch,
                                .committed = g->committed};
    }
}

static seg_groups *groups_of(const job *j) {
    size_t n = 0, text = 0;
    for (size_t i = 0; i < j->n_rows; i++)
        n += present(&j->rows[i], &text);
    seg_groups *g = sg_calloc(1, sizeof *g + n * sizeof *g->at + text);
    if (g == NULL)
        return NULL;
    char *names = (char *)(g->at + n);
    for (size_t i = 0; i < j->n_rows; i++)
        put_groups(g, &j->rows[i], &names);
    return g;
}

seg_status seg_group_overview(seg_groups **out, seg_client *c, const char *stream, seg_error *err) {
    job *j = NULL;
    if (out == NULL || c == NULL)
        return sg_fail(err, SEG_EINVAL, "%s is NULL", out == NULL ? "out" : "the client");
    seg_status status = run(&j, c, stream, true, err);
    if (status != SEG_OK)
        return status;
    seg_groups *g = groups_of(j);
    sg_task_release(&j->task);
    if (g == NULL)
        return sg_fail_nomem(err);
    *out = g;
    return SEG_OK;
}

size_t seg_groups_count(const seg_groups *g) {
    return g == NULL ? 0 : g->n;
}

const seg_group_summary *seg_groups_at(const seg_groups *g, size_t i) {
    return g == NULL || i >= g->n ? NULL : &g->at[i];
}

void seg_groups_free(seg_groups *g) {
    sg_free(g);
}
