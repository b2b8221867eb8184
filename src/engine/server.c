/* Snapshots: what the server tells of itself. */
#include <limits.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "core/error.h"
#include "engine/task.h"
#include "redis/info.h"
#include "redis/ops_facts.h"
#include "redis/rights.h"

#define TRIES 3 /* of what is timed: the quickest counts */

typedef struct pair {
    const char *name, *value; /* into the text that they were found in */
} pair;

/* Texts that are looked up by name. */
typedef struct pairs {
    char *text;
    pair *all;
    size_t n;
} pairs;

struct seg_server_info {
    pairs info, config;
    char *user;
    int64_t round_trip; /* us; -1 */
    bool timed;
    int64_t ahead, off; /* ms */
    seg_known default_user;
    char patterns[SG_RIGHT_PATTERNS][SG_PATTERN_MAX];
    seg_right *rights;
    size_t n_rights;
};

typedef struct job job;

/* A question about one command: its result finds both. */
typedef struct ask {
    job *job;
    size_t right;
} ask;

struct job {
    sg_task task;
    seg_server_info *info;
    ask *asks;
    sg_right_answer *answers;
    seg_known *known;
    bool scripted;      /* the script has answered */
    bool refused;       /* it was not run, for want of a right */
    int64_t began;      /* sg_clock_us(), of what is timed */
    int64_t wall;       /* and the time that it was then, ms */
    int64_t best_clock; /* us that the best answer to TIME took */
};

/* ---- names and values --------------------------------------------------------------------- */

static void pairs_fini(pairs *p) {
    sg_free(p->text);
    sg_free(p->all);
    *p = (pairs){NULL, NULL, 0};
}

static const char *pairs_find(const pairs *p, const char *name) {
    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->all[i].name, name) == 0)
            return p->all[i].value;
    return NULL;
}

/* Each line's ends become the ends of two texts: where the colon was, and where the line ended, or behind
 * all. False: no memory. */
static bool read_info(pairs *p, seg_bytes text) {
    seg_bytes name, value, rest;
    size_t n = 0;
    pairs_fini(p);
    for (rest = text; sg_info_next(&rest, &name, &value);)
        n++;
    p->text = sg_alloc(text.len + 1);
    p->all = sg_calloc(n + 1, sizeof *p->all);
    if (p->text == NULL || p->all == NULL)
        return false;
    if (text.len > 0)
        memcpy(p->text, text.data, text.len);
    p->text[text.len] = '\0';
    rest = (seg_bytes){p->text, text.len};
    while (sg_info_next(&rest, &name, &value)) {
        char *at = p->text + ((const char *)name.data - p->text);
        p->all[p->n++] = (pair){name.data, value.data};
        at[name.len] = at[name.len + 1 + value.len] = '\0';
    }
    return true;
}

/* The elements of an array, two by two. */
static bool read_pairs(pairs *p, const sg_reply *reply) {
    size_t n = sg_reply_count(reply) / 2, bytes = 0, at = 0;
    pairs_fini(p);
    for (size_t i = 0; i < 2 * n; i++)
        bytes += strlen(sg_reply_text(sg_reply_at(reply, i))) + 1;
    p->text = sg_alloc(bytes + 1);
    p->all = sg_calloc(n + 1, sizeof *p->all);
    if (p->text == NULL || p->all == NULL)
        return false;
    for (size_t i = 0; i < 2 * n; i++) {
        const char *text = sg_reply_text(sg_reply_at(reply, i));
        size_t size = strlen(text) + 1;
        memcpy(p->text + at, text, size);
        *(i % 2 == 0 ? &p->all[i / 2].name : &p->all[i / 2].value) = p->text + at;
        at += size;
    }
    p->n = n;
    return true;
}

/* ---- answers ------------------------------------------------------------------------------ */

static void no_memory(job *j) {
    seg_error err;
    sg_fail_nomem(&err);
    sg_task_fault(&j->task, SEG_ENOMEM, &err);
}

/* First in each result function: an answer that is no refusal. One that is leaves its fact unknown. */
static bool told(job *j, const sg_result *r) {
    return sg_task_answer(&j->task, r->lost) && r->status == SEG_OK;
}

static void on_ping(void *arg, const sg_result *r) {
    job *j = arg;
    int64_t took = sg_clock_us() - j->began;
    if (told(j, r) && (j->info->round_trip < 0 || took < j->info->round_trip))
        j->info->round_trip = took;
    sg_task_answered(&j->task);
}

/* The server looked at its clock somewhere between the question and the answer: take the middle, which is
 * off by a half of it at most, and what rounding to ms makes. */
static void on_time(void *arg, const sg_result *r) {
    job *j = arg;
    seg_server_info *s = j->info;
    int64_t took = sg_clock_us() - j->began, us;
    if (told(j, r) && sg_time_read(r->reply, &us) && (!s->timed || took < j->best_clock)) {
        s->timed = true;
        s->ahead = (us - j->wall * 1000 - took / 2) / 1000;
        s->off = took / 2000 + 2;
        j->best_clock = took;
    }
    sg_task_answered(&j->task);
}

static void on_info(void *arg, const sg_result *r) {
    job *j = arg;
    if (told(j, r) && !read_info(&j->info->info, sg_reply_bytes(r->reply)))
        no_memory(j);
    sg_task_answered(&j->task);
}

static void on_config(void *arg, const sg_result *r) {
    job *j = arg;
    if (told(j, r) && !read_pairs(&j->info->config, r->reply))
        no_memory(j);
    sg_task_answered(&j->task);
}

static void on_whoami(void *arg, const sg_result *r) {
    job *j = arg;
    if (told(j, r)) {
        sg_free(j->info->user);
        j->info->user = sg_strdup(sg_reply_text(r->reply));
        if (j->info->user == NULL)
            no_memory(j);
    }
    sg_task_answered(&j->task);
}

static void on_rights(void *arg, const sg_result *r) {
    job *j = arg;
    if (told(j, r))
        j->scripted = sg_rights_read(r->reply, j->answers);
    j->refused = r->status == SEG_EACCES;
    sg_task_answered(&j->task);
}

static void on_dryrun(void *arg, const sg_result *r) {
    ask *a = arg;
    job *j = a->job;
    if (told(j, r))
        j->answers[a->right] = sg_right_dryrun_read(r->reply);
    sg_task_answered(&j->task);
}

static void on_default_user(void *arg, const sg_result *r) {
    job *j = arg;
    if (told(j, r)) {
        seg_known may = sg_dryrun_read(r->reply);
        if (j->info->default_user != SEG_NO)
            j->info->default_user = may;
    }
    sg_task_answered(&j->task);
}

/* ---- questions ---------------------------------------------------------------------------- */

static job *job_of(sg_task *t) {
    return SG_OF(t, job, task);
}

static void destroy(sg_task *t) {
    job *j = job_of(t);
    seg_server_info_free(j->info);
    sg_free(j->asks);
    sg_free(j->answers);
    sg_free(j->known);
    sg_task_fini(t);
    sg_free(j);
}

/* From the beginning, maybe of another server. */
static void forget(job *j) {
    seg_server_info *s = j->info;
    pairs_fini(&s->info);
    pairs_fini(&s->config);
    sg_free(s->user);
    s->user = NULL;
    s->round_trip = -1;
    s->timed = j->scripted = j->refused = false;
    s->default_user = SEG_MAYBE;
    memset(j->answers, 0, sg_right_commands * sizeof *j->answers);
}

/* Alone on its way, but for what others of this client send. */
static void time_it(job *j, bool (*send)(sg_conn *, sg_result_fn *, void *), sg_result_fn *fn) {
    j->began = sg_clock_us();
    j->wall = sg_clock_wall_ms();
    sg_task_sent(&j->task, send(j->task.client->commands, fn, j));
}

static void ask_facts(job *j) {
    seg_client *client = j->task.client;
    sg_conn *c = client->commands;
    sg_task_sent(&j->task, sg_info_send(c, true, on_info, j));
    sg_task_sent(&j->task, sg_config_send(c, on_config, j));
    sg_task_sent(&j->task, sg_whoami_send(c, on_whoami, j));
    sg_task_sent(&j->task, sg_rights_send(c, client->ns, on_rights, j));
    for (size_t i = 0; i < sg_right_commands; i++)
        if (sg_right_kind(i) & SG_W)
            sg_task_sent(&j->task,
                         sg_right_dryrun_send(c, client->ns, "default", i, on_default_user, j));
}

/* What was refused, in another way. */
static void ask_again(job *j) {
    seg_client *client = j->task.client;
    const char *user = client->url.user != NULL && client->url.user[0] != '\0' ? client->url.user
                       : j->info->user != NULL                                 ? j->info->user
                                                                               : "default";
    if (j->info->info.text == NULL)
        sg_task_sent(&j->task, sg_info_send(client->commands, false, on_info, j));
    for (size_t i = 0; i < sg_right_commands && !j->scripted; i++) {
        j->asks[i] = (ask){j, i};
        sg_task_sent(&j->task, sg_right_dryrun_send(client->commands, client->ns, user, i,
                                                    on_dryrun, &j->asks[i]));
    }
}

static void step(sg_task *t) {
    job *j = job_of(t);
    int stage = t->stage++;
    if (stage == 0)
        forget(j);
    if (stage < TRIES)
        time_it(j, sg_ping_send, on_ping);
    else if (stage < 2 * TRIES)
        time_it(j, sg_time_send, on_time);
    else if (stage == 2 * TRIES)
        ask_facts(j);
    else if (stage == 2 * TRIES + 1)
        ask_again(j);
    else
        sg_task_finish(t);
}

/* ---- the snapshot ------------------------------------------------------------------------- */

static bool make_room(job *j, const seg_client *c) {
    seg_server_info *s = sg_calloc(1, sizeof *s);
    j->info = s;
    if (s == NULL)
        return false;
    s->n_rights = sg_right_commands + SG_RIGHT_PATTERNS;
    s->rights = sg_calloc(s->n_rights, sizeof *s->rights);
    j->asks = sg_calloc(sg_right_commands, sizeof *j->asks);
    j->answers = sg_calloc(sg_right_commands, sizeof *j->answers);
    j->known = sg_calloc(s->n_rights, sizeof *j->known);
    for (int i = 0; i < SG_RIGHT_PATTERNS; i++)
        sg_right_pattern(s->patterns[i], i, c->ns);
    return s->rights != NULL && j->asks != NULL && j->answers != NULL && j->known != NULL;
}

static void fill_rights(job *j) {
    static const char *const purposes[] = {"the list of streams", "all else that is stored",
                                           "wakes members: without, partitions move late"};
    seg_server_info *s = j->info;
    sg_rights_judge(j->answers, j->known);
    for (size_t i = 0; i < sg_right_commands && j->refused; i++)
        if (strcmp(sg_right_name(i), "+eval") == 0 && j->known[i] == SEG_MAYBE)
            j->known[i] = SEG_NO;
    for (size_t i = 0; i < s->n_rights; i++) {
        bool command = i < sg_right_commands;
        size_t pattern = command ? 0 : i - sg_right_commands;
        unsigned kind = command ? sg_right_kind(i) : pattern == SG_RIGHT_CHANNELS ? SG_O : SG_R;
        s->rights[i] = (seg_right){.rule = command ? sg_right_name(i) : s->patterns[pattern],
                                   .purpose = command ? sg_right_purpose(i) : purposes[pattern],
                                   .optional = (kind & SG_O) != 0,
                                   .reading = (kind & SG_R) != 0,
                                   .granted = j->known[i]};
    }
}

seg_status seg_server_describe(seg_server_info **out, seg_client *c, seg_error *err) {
    if (out == NULL || c == NULL)
        return sg_fail(err, SEG_EINVAL, "%s is NULL", out == NULL ? "out" : "the client");
    job *j = sg_calloc(1, sizeof *j);
    if (j == NULL)
        return sg_fail_nomem(err);
    if (!sg_task_init(&j->task, c, step, destroy)) {
        sg_free(j);
        return sg_fail_nomem(err);
    }
    if (!make_room(j, c)) {
        destroy(&j->task);
        return sg_fail_nomem(err);
    }
    seg_status status = sg_task_run(&j->task, c->command_timeout, err);
    if (status == SEG_OK) {
        fill_rights(j);
        *out = j->info;
        j->info = NULL;
    }
    sg_task_release(&j->task);
    return status;
}

void seg_server_info_free(seg_server_info *s) {
    if (s == NULL)
        return;
    pairs_fini(&s->info);
    pairs_fini(&s->config);
    sg_free(s->user);
    sg_free(s->rights);
    sg_free(s);
}

const char *seg_server_info_get(const seg_server_info *s, const char *field) {
    return s == NULL || field == NULL ? NULL : pairs_find(&s->info, field);
}

const char *seg_server_info_config(const seg_server_info *s, const char *setting) {
    return s == NULL || setting == NULL ? NULL : pairs_find(&s->config, setting);
}

const char *seg_server_info_user(const seg_server_info *s) {
    return s == NULL ? NULL : s->user;
}

int64_t seg_server_info_round_trip(const seg_server_info *s) {
    return s == NULL ? -1 : s->round_trip;
}

bool seg_server_info_clock(const seg_server_info *s, int64_t *ahead, int64_t *off) {
    if (s == NULL || !s->timed)
        return false;
    if (ahead != NULL)
        *ahead = s->ahead;
    if (off != NULL)
        *off = s->off;
    return true;
}

seg_known seg_server_info_default_user_fit(const seg_server_info *s) {
    return s == NULL ? SEG_MAYBE : s->default_user;
}

const seg_right *seg_server_info_right(const seg_server_info *s, size_t i) {
    return s != NULL && i < s->n_rights ? &s->rights[i] : NULL;
}

const seg_right *seg_server_info_missing(const seg_server_info *s, size_t i) {
    for (size_t k = 0; s != NULL && k < s->n_rights; k++)
        if (s->rights[k].granted == SEG_NO && i-- == 0)
            return &s->rights[k];
    return NULL;
}

/* ---- the rule ----------------------------------------------------------------------------- */

seg_status seg_rights_rule(char *out, size_t cap, const char *name_space, seg_rights which,
                           seg_error *err) {
    char pattern[SG_PATTERN_MAX];
    sg_buf b;
    if (out == NULL)
        return sg_fail(err, SEG_EINVAL, "out is NULL");
    seg_status status = sg_name_check("namespace", name_space, err);
    if (status != SEG_OK)
        return status;
    if (which != SEG_RIGHTS_ALL && which != SEG_RIGHTS_READ)
        return sg_fail(err, SEG_EINVAL, "rights %d are not one of SEG_RIGHTS_*", (int)which);
    sg_buf_init(&b, SIZE_MAX);
    bool ok = sg_buf_str(&b, "clearselectors resetkeys resetchannels -@all");
    for (int i = 0; i < SG_RIGHT_PATTERNS; i++) {
        sg_right_pattern(pattern, i, name_space);
        if (i != SG_RIGHT_CHANNELS || which == SEG_RIGHTS_ALL)
            ok = ok && sg_buf_printf(&b, " %s", pattern);
    }
    for (size_t i = 0; i < sg_right_commands; i++)
        if (which == SEG_RIGHTS_ALL || (sg_right_kind(i) & SG_R) != 0)
            ok = ok && sg_buf_printf(&b, " %s", sg_right_name(i));
    if (!ok)
        status = sg_fail_nomem(err);
    else if (b.len >= cap)
        status =
            sg_fail(err, SEG_EINVAL, "the rule has %zu bytes, with its end: out has room for %zu",
                    b.len + 1, cap);
    else {
        memcpy(out, b.data, b.len);
        out[b.len] = '\0';
    }
    sg_buf_fini(&b);
    return status;
}
