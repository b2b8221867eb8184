/* Snapshots: what a stream and a group look like now. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "core/error.h"
#include "core/window.h"
#include "engine/admin.h"
#include "engine/task.h"
#include "redis/ops_describe.h"

struct seg_stream_info {
    sg_stream stream;
    uint64_t messages;
    seg_stream_partition parts[];
};

typedef struct member {
    char *id, *host;
    int64_t session, lease; /* ms */
    uint32_t *owned;
    size_t n_owned;
} member;

struct seg_group_info {
    char name[SG_NAME_MAX + 1], stream[SG_NAME_MAX + 1];
    uint32_t partitions;
    uint64_t lag, epoch;
    member *members;
    size_t n_members;
    seg_group_partition parts[];
};

typedef struct job job;

/* One partition's request: its results find both. */
typedef struct ask {
    job *job;
    uint32_t partition;
} ask;

struct job {
    sg_task task;
    sg_stream stream;
    bool of_group; /* otherwise: the stream alone */
    sg_group group;
    bool damaged;  /* a partition is, or all of it was deleted meanwhile */
    bool anew;     /* it was */
    sg_stream now; /* the stream, asked again */
    ask *asks;
    seg_stream_info *info;
    seg_group_info *group_info;
};

static job *job_of(sg_task *t) {
    return SG_OF(t, job, task);
}

static void destroy(sg_task *t) {
    job *j = job_of(t);
    seg_stream_info_free(j->info);
    seg_group_info_free(j->group_info);
    sg_free(j->asks);
    sg_task_fini(t);
    sg_free(j);
}

/* ---- answers ------------------------------------------------------------------------------ */

/* Room for the answers, once the number of partitions is known. A task that starts over finds a new
 * number perhaps: the old room goes. */
static bool make_room(job *j) {
    uint32_t n = j->stream.partitions;
    seg_stream_info_free(j->info);
    seg_group_info_free(j->group_info);
    sg_free(j->asks);
    j->info = NULL;
    j->group_info = NULL;
    j->asks = sg_calloc(n, sizeof *j->asks);
    if (!j->of_group)
        j->info = sg_calloc(1, sizeof *j->info + n * sizeof *j->info->parts);
    else
        j->group_info = sg_calloc(1, sizeof *j->group_info + n * sizeof *j->group_info->parts);
    if (j->asks == NULL || (j->info == NULL && j->group_info == NULL))
        return false;
    for (uint32_t p = 0; p < n; p++)
        j->asks[p] = (ask){j, p};
    if (j->info != NULL)
        j->info->stream = j->stream;
    if (j->group_info != NULL) {
        j->group_info->partitions = n;
        strcpy(j->group_info->name, j->group.name);
        strcpy(j->group_info->stream, j->stream.name);
    }
    return true;
}

static void stream_partition(job *j, uint32_t p, const sg_partition_answer *a) {
    seg_stream_partition *part = &j->info->parts[p];
    sg_key key = sg_key_state(j->stream.ns, j->stream.name, p);
    bool known = a->status == SEG_OK;
    *part = (seg_stream_partition){.era = known ? a->era : SEG_UNKNOWN,
                                   .first = known ? a->first : SEG_UNKNOWN,
                                   .next = known ? a->next : SEG_UNKNOWN,
                                   .messages = known ? a->next - a->first : SEG_UNKNOWN,
                                   .status = a->status,
                                   .slot = sg_key_slot(&key),
                                   .foreign = known ? a->foreign : SEG_UNKNOWN,
                                   .producers = known ? a->producers : SEG_UNKNOWN};
    sg_known_add(&j->info->messages, part->messages);
}

static void lose(seg_group_partition *part) {
    part->status = SEG_ELOST;
    part->era = part->first = part->next = part->committed = SEG_UNKNOWN;
    part->lag = part->acked = part->in_flight = part->moved = SEG_UNKNOWN;
}

/* Its epoch and owner, as the coordinator has them, are there before. */
static void group_partition(job *j, uint32_t p, const sg_partition_answer *a) {
    seg_group_partition *part = &j->group_info->parts[p];
    sg_survey s;
    if (a->status == SEG_OK && sg_survey_cursor(a->committed, a->high, a->acks, a->tries, &s)) {
        part->era = a->era;
        part->first = a->first;
        part->next = a->next;
        part->committed = a->committed;
        part->lag = sg_lag(a->committed, a->first, a->next);
        part->acked = s.acked;
        part->in_flight = s.in_flight;
        part->attempts = s.attempts;
        part->moved = a->since;
        part->oldest_ms = a->oldest;
        /* The coordinator's, where it has granted one that has not begun yet. */
        if (a->epoch > part->epoch)
            part->epoch = a->epoch;
    } else {
        lose(part);
    }
    sg_known_add(&j->group_info->lag, part->lag);
}

static void on_partition(void *arg, const sg_result *r) {
    ask *k = arg;
    job *j = k->job;
    sg_partition_answer a;
    sg_partition_describe_read(r, &a);
    if (sg_task_answer(&j->task, a.lost)) {
        j->damaged = j->damaged || a.status == SEG_ELOST;
        if (a.status != SEG_OK && a.status != SEG_ELOST) {
            seg_error err;
            sg_fail(&err, a.status, "partition %u: %s", k->partition, a.err.text);
            sg_task_fault(&j->task, err.status, &err);
        } else if (j->of_group) {
            group_partition(j, k->partition, &a);
        } else {
            stream_partition(j, k->partition, &a);
        }
    }
    sg_task_answered(&j->task);
}

/* ---- the group's coordinator -------------------------------------------------------------- */

static bool read_members(seg_group_info *g, const sg_reply *list) {
    size_t n = sg_reply_count(list) / 4;
    g->members = sg_calloc(n > 0 ? n : 1, sizeof *g->members);
    if (g->members == NULL)
        return false;
    for (size_t i = 0; i < n; i++) {
        member *m = &g->members[i];
        m->id = sg_strdup(sg_reply_text(sg_reply_at(list, 4 * i)));
        m->host = sg_strdup(sg_reply_text(sg_reply_at(list, 4 * i + 1)));
        sg_reply_i64(sg_reply_at(list, 4 * i + 2), &m->session);
        sg_reply_i64(sg_reply_at(list, 4 * i + 3), &m->lease);
        g->n_members++;
        if (m->id == NULL || m->host == NULL)
            return false;
    }
    return true;
}

static int by_id(const void *a, const void *b) {
    return strcmp(((const member *)a)->id, ((const member *)b)->id);
}

static member *find_member(seg_group_info *g, const char *id) {
    for (size_t lo = 0, hi = g->n_members; lo < hi;) {
        size_t mid = lo + (hi - lo) / 2;
        int order = strcmp(id, g->members[mid].id);
        if (order == 0)
            return &g->members[mid];
        if (order < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return NULL;
}

/* {partition, owner, epoch ...} in the hash's order. */
static bool read_owners(seg_group_info *g, const sg_reply *list) {
    uint64_t p;
    for (size_t i = 0; i + 2 < sg_reply_count(list); i += 3) {
        member *m = find_member(g, sg_reply_text(sg_reply_at(list, i + 1)));
        if (!sg_reply_u64(sg_reply_at(list, i), &p) || p >= g->partitions)
            continue;
        sg_reply_u64(sg_reply_at(list, i + 2), &g->parts[p].epoch);
        if (m != NULL) {
            g->parts[p].owner = m->id;
            m->n_owned++;
        }
    }
    for (size_t i = 0; i < g->n_members; i++) {
        member *m = &g->members[i];
        m->owned = sg_calloc(m->n_owned + 1, sizeof *m->owned);
        if (m->owned == NULL)
            return false;
        m->n_owned = 0;
    }
    for (uint32_t q = 0; q < g->partitions; q++)
        if (g->parts[q].owner != NULL) {
            member *m = find_member(g, g->parts[q].owner);
            m->owned[m->n_owned++] = q;
        }
    return true;
}

static seg_status read_group(job *j, const sg_reply *reply, seg_error *err) {
    seg_group_info *g = j->group_info;
    seg_bytes gid = sg_reply_bytes(sg_reply_at(reply, 1));
    if (sg_reply_is(sg_reply_at(reply, 0), "NONE"))
        return sg_fail(err, SEG_ENOENT, "no group \"%s\" on stream \"%s\"", j->group.name,
                       j->stream.name);
    if (sg_reply_is(sg_reply_at(reply, 0), "DAMAGED") || sg_reply_is(sg_reply_at(reply, 0), "LOST"))
        return sg_group_damaged(reply, &j->stream, j->group.name, err);
    if (!sg_reply_is(sg_reply_at(reply, 0), "OK") || gid.len == 0 ||
        gid.len >= sizeof j->group.gid || !sg_reply_u64(sg_reply_at(reply, 5), &g->epoch))
        return sg_fail(err, SEG_EPROTO, "the group's state makes no sense");
    memcpy(j->group.gid, gid.data, gid.len);
    j->group.gid[gid.len] = '\0';
    if (!read_members(g, sg_reply_at(reply, 3)))
        return sg_fail_nomem(err);
    qsort(g->members, g->n_members, sizeof(member), by_id);
    return read_owners(g, sg_reply_at(reply, 4)) ? SEG_OK : sg_fail_nomem(err);
}

static void on_group(void *arg, const sg_result *r) {
    job *j = arg;
    sg_plain_answer a;
    memset(&a, 0, sizeof a);
    if (r->status != SEG_OK)
        sg_plain_read(r, "group", &a);
    if (sg_task_answer(&j->task, r->lost)) {
        if (a.status == SEG_OK)
            a.status = read_group(j, r->reply, &a.err);
        sg_task_fault(&j->task, a.status, &a.err);
    }
    sg_task_answered(&j->task);
}

/* ---- was it deleted ----------------------------------------------------------------------- */

/* A part of what was found before is missing. A and B do this:
 *
 *   A  finds the stream and the group
 *   B  deletes one of them, and perhaps creates it anew
 *   A  finds no partition of it, and all look damaged
 *
 * So A looks again: they are damaged only where stream and group are still the same ones. */
static void on_group_again(void *arg, const sg_result *r) {
    job *j = arg;
    sg_plain_answer a;
    memset(&a, 0, sizeof a);
    if (r->status != SEG_OK)
        sg_plain_read(r, "group", &a);
    if (sg_task_answer(&j->task, r->lost)) {
        sg_task_fault(&j->task, a.status, &a.err);
        j->anew = a.status == SEG_OK && !sg_reply_is(sg_reply_at(r->reply, 1), j->group.gid);
    }
    sg_task_answered(&j->task);
}

static void look_again(job *j) {
    j->now = j->stream;
    j->anew = false;
    sg_task_find(&j->task, &j->now);
    if (j->of_group)
        sg_task_sent(&j->task, sg_group_describe_send(j->task.client->commands, &j->stream,
                                                      j->group.name, on_group_again, j));
}

enum { FIND_STREAM, FIND_GROUP, ASK_PARTITIONS, ASK_AGAIN, JUDGE };

static void step(sg_task *t) {
    job *j = job_of(t);
    sg_conn *c = t->client->commands;
    switch (t->stage++) {
    case FIND_STREAM:
        j->damaged = false;
        sg_task_find(t, &j->stream);
        break;
    case FIND_GROUP:
        if (!make_room(j)) {
            t->status = sg_fail_nomem(&t->err);
            break; /* the next round ends it */
        }
        if (j->of_group)
            sg_task_sent(t, sg_group_describe_send(c, &j->stream, j->group.name, on_group, j));
        break;
    case ASK_PARTITIONS:
        for (uint32_t p = 0; p < j->stream.partitions; p++)
            sg_task_sent(t,
                         sg_partition_describe_send(c, &j->stream, j->of_group ? &j->group : NULL,
                                                    p, on_partition, &j->asks[p]));
        break;
    case ASK_AGAIN:
        if (j->damaged)
            look_again(j);
        break;
    case JUDGE:
        if (j->damaged && (j->anew || strcmp(j->now.inc, j->stream.inc) != 0)) {
            t->stage = FIND_STREAM;
            break;
        }
        /* fallthrough */
    default:
        sg_task_finish(t);
    }
}

static seg_status describe(job **out, seg_client *c, const char *stream, const char *group,
                           seg_error *err) {
    seg_status status;
    job *j = sg_calloc(1, sizeof *j);
    if (j == NULL)
        return sg_fail_nomem(err);
    if (!sg_task_init(&j->task, c, step, destroy)) {
        sg_free(j);
        return sg_fail_nomem(err);
    }
    if ((status = sg_stream_name(&j->stream, c, stream, err)) != SEG_OK) {
        destroy(&j->task);
        return status;
    }
    if (group != NULL) {
        strcpy(j->group.name, group);
        j->of_group = true;
    }
    status = sg_task_run(&j->task, c->command_timeout, err);
    if (status == SEG_OK)
        *out = j;
    else
        sg_task_release(&j->task);
    return status;
}

/* ---- stream info -------------------------------------------------------------------------- */

seg_status seg_stream_describe(seg_stream_info **out, seg_client *c, const char *stream,
                               seg_error *err) {
    job *j = NULL;
    if (out == NULL || c == NULL)
        return sg_fail(err, SEG_EINVAL, "%s is NULL", out == NULL ? "out" : "the client");
    seg_status status = describe(&j, c, stream, NULL, err);
    if (status != SEG_OK)
        return status;
    *out = j->info;
    j->info = NULL;
    sg_task_release(&j->task);
    return SEG_OK;
}

const char *seg_stream_info_name(const seg_stream_info *s) {
    return s->stream.name;
}

uint32_t seg_stream_info_partitions(const seg_stream_info *s) {
    return s->stream.partitions;
}

uint64_t seg_stream_info_max_messages(const seg_stream_info *s) {
    return s->stream.bound;
}

seg_on_full seg_stream_info_on_full(const seg_stream_info *s) {
    return s->stream.on_full;
}

int64_t seg_stream_info_created(const seg_stream_info *s) {
    return s->stream.created;
}

uint64_t seg_stream_info_messages(const seg_stream_info *s) {
    return s->messages;
}

const seg_stream_partition *seg_stream_info_partition(const seg_stream_info *s,
                                                      uint32_t partition) {
    return partition < s->stream.partitions ? &s->parts[partition] : NULL;
}

void seg_stream_info_free(seg_stream_info *s) {
    sg_free(s);
}

/* ---- group info --------------------------------------------------------------------------- */

seg_status seg_group_describe(seg_group_info **out, seg_client *c, const char *stream,
                              const char *group, seg_error *err) {
    job *j = NULL;
    if (out == NULL || c == NULL)
        return sg_fail(err, SEG_EINVAL, "%s is NULL", out == NULL ? "out" : "the client");
    seg_status status = sg_name_check("group", group, err);
    if (status != SEG_OK || (status = describe(&j, c, stream, group, err)) != SEG_OK)
        return status;
    *out = j->group_info;
    j->group_info = NULL;
    sg_task_release(&j->task);
    return SEG_OK;
}

const char *seg_group_info_name(const seg_group_info *g) {
    return g->name;
}

const char *seg_group_info_stream(const seg_group_info *g) {
    return g->stream;
}

uint32_t seg_group_info_partitions(const seg_group_info *g) {
    return g->partitions;
}

uint64_t seg_group_info_lag(const seg_group_info *g) {
    return g->lag;
}

uint64_t seg_group_info_epoch(const seg_group_info *g) {
    return g->epoch;
}

const seg_group_partition *seg_group_info_partition(const seg_group_info *g, uint32_t partition) {
    return partition < g->partitions ? &g->parts[partition] : NULL;
}

size_t seg_group_info_members(const seg_group_info *g) {
    return g->n_members;
}

const char *seg_group_info_member(const seg_group_info *g, size_t i) {
    return i < g->n_members ? g->members[i].id : NULL;
}

const char *seg_group_info_host(const seg_group_info *g, size_t i) {
    return i < g->n_members ? g->members[i].host : NULL;
}

int64_t seg_group_info_session(const seg_group_info *g, size_t i) {
    return i < g->n_members ? g->members[i].session : 0;
}

int64_t seg_group_info_lease(const seg_group_info *g, size_t i) {
    return i < g->n_members ? g->members[i].lease : 0;
}

const uint32_t *seg_group_info_owned(const seg_group_info *g, size_t i, size_t *n) {
    if (i >= g->n_members) {
        *n = 0;
        return NULL;
    }
    *n = g->members[i].n_owned;
    return g->members[i].owned;
}

void seg_group_info_free(seg_group_info *g) {
    if (g == NULL)
        return;
    for (size_t i = 0; i < g->n_members; i++) {
        sg_free(g->members[i].id);
        sg_free(g->members[i].host);
        sg_free(g->members[i].owned);
    }
    sg_free(g->members);
    sg_free(g);
}
