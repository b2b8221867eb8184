/* top_look.c - gathering a tick.
 *
 * The overview tells most, of all groups at once. Ages, attempts, what is in flight and what stands
 * still take a look into the partitions: that is done for the groups with the largest lag,
 * DESCRIBED_MAX of them; those without a lag have none of it. */
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "damage.h"
#include "each.h"
#include "letters.h"
#include "listing.h"
#include "lookup.h"
#include "place.h"
#include "top.h"

enum { DESCRIBED_MAX = 200 };

/* ---- Rates ----------------------------------------------------------------------------------- */

static uint64_t appended(const top_tick *t, const char *stream) {
    const seg_stream_summary *s = t ? cli_stream_of(t->streams, stream) : NULL;
    return s && s->status == SEG_OK ? s->appended : SEG_UNKNOWN;
}

static double rate(uint64_t before, uint64_t now, int64_t ms) {
    if (before == SEG_UNKNOWN || now == SEG_UNKNOWN || ms <= 0) {
        return NAN;
    }
    return ((double)now - (double)before) * 1000 / (double)ms;
}

static void add_rates(top_row *row, const top_tick *t, const top_tick *before) {
    const seg_group_summary *now = row->group;
    const seg_group_summary *was =
        before ? cli_group_of(before->groups, now->stream, now->group) : NULL;
    row->in = rate(appended(before, now->stream), appended(t, now->stream), t->between_ms);
    row->trend = rate(was ? was->lag : SEG_UNKNOWN, now->lag, t->between_ms);
    row->out = rate(was ? was->committed : SEG_UNKNOWN, now->committed, t->between_ms);
    row->rebalances = SEG_UNKNOWN;
    if (was && was->epoch != SEG_UNKNOWN && now->epoch != SEG_UNKNOWN && now->epoch >= was->epoch) {
        row->rebalances = now->epoch - was->epoch;
    }
    /* A seek moves the place of the group, too, and nobody committed that; an epoch tells of it. */
    if (row->rebalances != 0 || row->out < 0) {
        row->out = NAN;
    }
}

/* ---- Details --------------------------------------------------------------------------------- */

static void add_details(top_row *row) {
    const seg_group_info *g = row->looks.now;
    row->age = cli_group_age(&row->looks);
    if (!cli_is_letters_group(row->group->stream, row->group->group)) {
        row->health = cli_group_judge(&row->looks);
    }
    row->in_flight = row->attempts = 0;
    for (uint32_t i = 0; i < seg_group_info_partitions(g); i++) {
        const seg_group_partition *p = seg_group_info_partition(g, i);
        if (p->status != SEG_OK) {
            row->in_flight = row->attempts = SEG_UNKNOWN;
            return;
        }
        row->attempts = p->attempts > row->attempts ? p->attempts : row->attempts;
        row->in_flight += p->in_flight;
    }
}

static int by_lag(const void *left, const void *right) {
    const top_row *const *a = left, *const *b = right;
    uint64_t x = (*a)->group->lag, y = (*b)->group->lag;
    return (x < y) - (x > y);
}

static int by_place(const void *key, const void *member) {
    const seg_group_summary *k = key;
    const top_row *row = member;
    int order = strcmp(k->stream, row->group->stream);
    return order ? order : strcmp(k->group, row->group->group);
}

static const seg_group_info *look_before(const top_tick *before, const seg_group_summary *g) {
    const top_row *row =
        before ? bsearch(g, before->rows, before->n_rows, sizeof *row, by_place) : NULL;
    return row ? row->looks.now : NULL;
}

typedef struct describing {
    top_tick *tick;
    const top_tick *before;
    seg_client *client;
    int64_t age_warn;
    top_row **rows;
    pthread_mutex_t lock; /* guards the two below */
    bool failed;
    seg_error err;
} describing;

/* What was deleted meanwhile, or is damaged, keeps what the listing knows of it. */
static void describe(size_t i, void *arg) {
    describing *d = arg;
    top_row *row = d->rows[i];
    seg_error err;
    seg_group_info *now;
    seg_status status =
        seg_group_describe(&now, d->client, row->group->stream, row->group->group, &err);
    if (status == SEG_OK) {
        row->looks = (cli_group_looks){.now = now,
                                       .before = look_before(d->before, row->group),
                                       .now_ms = d->tick->at_ms,
                                       .between_ms = d->tick->between_ms,
                                       .age_warn = d->age_warn};
        add_details(row);
    } else if (cli_is_damage(status)) {
        row->health = CLI_HEALTH_DAMAGED;
    } else if (status != SEG_ENOENT) {
        pthread_mutex_lock(&d->lock);
        d->failed = true;
        d->err = err;
        pthread_mutex_unlock(&d->lock);
    }
}

static bool describe_largest(top_tick *t, const top_tick *before, seg_client *client,
                             const top_opts *o, seg_error *err) {
    describing d = {.tick = t,
                    .before = before,
                    .client = client,
                    .age_warn = o->age_warn,
                    .rows = cli_alloc(t->n_rows, sizeof *d.rows),
                    .lock = PTHREAD_MUTEX_INITIALIZER};
    size_t n = 0;
    for (size_t i = 0; i < t->n_rows; i++) {
        if (t->rows[i].group->lag > 0 || o->group) {
            d.rows[n++] = &t->rows[i];
        }
    }
    if (n > 1) {
        qsort(d.rows, n, sizeof *d.rows, by_lag);
    }
    cli_each(n < DESCRIBED_MAX ? n : DESCRIBED_MAX, describe, &d);
    free(d.rows);
    if (d.failed) {
        *err = d.err;
    }
    return !d.failed;
}

/* ---- The tick -------------------------------------------------------------------------------- */

static void make_rows(top_tick *t, const top_tick *before, const top_opts *o) {
    t->rows = cli_alloc(seg_groups_count(t->groups), sizeof *t->rows);
    for (size_t i = 0; i < seg_groups_count(t->groups); i++) {
        const seg_group_summary *g = seg_groups_at(t->groups, i);
        if (o->group && strcmp(o->group, g->group) != 0) {
            continue;
        }
        top_row *row = &t->rows[t->n_rows++];
        *row = (top_row){.group = g, .age = -1, .health = cli_judge_summary(g)};
        /* Where nothing waits, nothing is in flight; the others are looked at, or not known. */
        row->in_flight = row->attempts = g->lag == 0 ? 0 : SEG_UNKNOWN;
        add_rates(row, t, before);
    }
}

bool top_look(top_tick *out, const top_tick *before, seg_client *client, const top_opts *o,
              seg_error *err) {
    *out = (top_tick){.at_ms = cli_wall_ms(), .at_us = cli_now_us(), .one = o->group != NULL};
    out->between_ms = before ? (out->at_us - before->at_us) / 1000 : 0;
    bool ok = seg_stream_overview(&out->streams, client, err) == SEG_OK &&
              seg_group_overview(&out->groups, client, o->stream, err) == SEG_OK;
    if (ok) {
        make_rows(out, before, o);
        ok = describe_largest(out, before, client, o, err);
    }
    if (ok && o->group && out->n_rows == 0) {
        *err = (seg_error){.status = SEG_ENOENT};
        snprintf(err->text, sizeof err->text, "no group \"%s\" on stream \"%s\"", o->group,
                 o->stream);
        ok = false;
    }
    if (!ok) {
        top_tick_fini(out);
    }
    return ok;
}

const cli_group_looks *top_one(const top_tick *t) {
    return t->one && t->n_rows == 1 && t->rows[0].looks.now ? &t->rows[0].looks : NULL;
}

void top_tick_fini(top_tick *t) {
    for (size_t i = 0; i < t->n_rows; i++) {
        seg_group_info_free(t->rows[i].looks.now); /* `before` is another tick's */
    }
    seg_streams_free(t->streams);
    seg_groups_free(t->groups);
    free(t->rows);
    *t = (top_tick){0};
}
