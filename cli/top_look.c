/* top_look.c - gathering a tick.
 *
 * The overview tells most, of all groups at once. Ages, attempts and what is in flight take a look
 * into the partitions: that is done for the groups with the largest lag, DESCRIBED_MAX of them; those
 * without a lag have none of it. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "listing.h"
#include "place.h"
#include "top.h"

enum { DESCRIBED_MAX = 200 };

/* ---- The tick before ------------------------------------------------------------------------- */

static int by_names(const char *stream_a, const char *a, const char *stream_b, const char *b) {
    int order = strcmp(stream_a, stream_b);
    return order ? order : strcmp(a, b);
}

static const seg_group_summary *find_group(const seg_groups *groups,
                                           const seg_group_summary *like) {
    for (size_t lo = 0, hi = seg_groups_count(groups); lo < hi;) {
        size_t mid = lo + (hi - lo) / 2;
        const seg_group_summary *g = seg_groups_at(groups, mid);
        int order = by_names(like->stream, like->group, g->stream, g->group);
        if (order == 0) {
            return g;
        }
        if (order < 0) {
            hi = mid;
        } else {
            lo = mid + 1;
        }
    }
    return NULL;
}

static const seg_stream_summary *find_stream(const seg_streams *streams, const char *name) {
    for (size_t lo = 0, hi = seg_streams_count(streams); lo < hi;) {
        size_t mid = lo + (hi - lo) / 2;
        const seg_stream_summary *s = seg_streams_at(streams, mid);
        int order = strcmp(name, s->name);
        if (order == 0) {
            return s;
        }
        if (order < 0) {
            hi = mid;
        } else {
            lo = mid + 1;
        }
    }
    return NULL;
}

/* ---- Rates ----------------------------------------------------------------------------------- */

static uint64_t appended(const top_tick *t, const char *stream) {
    const seg_stream_summary *s = t ? find_stream(t->streams, stream) : NULL;
    return s && s->status == SEG_OK ? s->appended : SEG_UNKNOWN;
}

static double rate(uint64_t before, uint64_t now, int64_t ms) {
    if (before == SEG_UNKNOWN || now == SEG_UNKNOWN || ms <= 0) {
        return NAN;
    }
    return ((double)now - (double)before) * 1000 / (double)ms;
}

static void add_rates(top_row *row, const top_tick *t, const top_tick *before) {
    const seg_group_summary *was = before ? find_group(before->groups, row->group) : NULL;
    uint64_t in_before = appended(before, row->group->stream);
    row->in = rate(in_before, appended(t, row->group->stream), t->between_ms);
    row->trend = rate(was ? was->lag : SEG_UNKNOWN, row->group->lag, t->between_ms);
    /* What came in and is not there any more went out. The two were not asked in one moment. */
    row->out = row->in - row->trend;
    row->out = row->out < 0 ? 0 : row->out;
    row->rebalances = was && row->group->epoch > was->epoch ? row->group->epoch - was->epoch : 0;
}

/* ---- Details --------------------------------------------------------------------------------- */

static void add_details(top_row *row, const cli_group_looks *looks) {
    row->age = cli_group_age(looks);
    row->health = cli_group_judge(looks);
    row->in_flight = row->attempts = 0;
    for (uint32_t i = 0; i < seg_group_info_partitions(looks->now); i++) {
        const seg_group_partition *p = seg_group_info_partition(looks->now, i);
        row->attempts = p->attempts > row->attempts ? p->attempts : row->attempts;
        row->in_flight = p->in_flight == SEG_UNKNOWN || row->in_flight == SEG_UNKNOWN
                             ? SEG_UNKNOWN
                             : row->in_flight + p->in_flight;
    }
}

static int by_lag(const void *left, const void *right) {
    const top_row *const *a = left, *const *b = right;
    uint64_t x = (*a)->group->lag, y = (*b)->group->lag;
    return (x < y) - (x > y);
}

/* Of one group; what was deleted meanwhile keeps what is known. */
static bool describe(top_tick *t, top_row *row, seg_client *client, const top_opts *o,
                     seg_error *err) {
    cli_group_looks looks = {.now_ms = t->at_ms, .age_warn = o->age_warn};
    seg_status status =
        seg_group_describe(&looks.now, client, row->group->stream, row->group->group, err);
    if (status != SEG_OK) {
        return status == SEG_ENOENT;
    }
    if (o->group) {
        looks.before = t->looks.before;
        looks.between_ms = t->between_ms;
        t->looks = looks;
        add_details(row, &looks);
    } else {
        add_details(row, &looks);
        cli_group_looks_fini(&looks);
    }
    return true;
}

static bool describe_largest(top_tick *t, seg_client *client, const top_opts *o, seg_error *err) {
    top_row **largest = cli_alloc(t->n_rows, sizeof *largest);
    size_t n = 0;
    for (size_t i = 0; i < t->n_rows; i++) {
        if (t->rows[i].group->lag > 0 || o->group) {
            largest[n++] = &t->rows[i];
        }
    }
    if (n > 1) {
        qsort(largest, n, sizeof *largest, by_lag);
    }
    bool ok = true;
    for (size_t i = 0; i < n && ok; i++) {
        if (i < DESCRIBED_MAX) {
            ok = describe(t, largest[i], client, o, err);
        } else {
            largest[i]->in_flight = largest[i]->attempts = SEG_UNKNOWN;
        }
    }
    free(largest);
    return ok;
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
        *row = (top_row){.group = g, .age = -1};
        row->health = cli_judge_summary(g);
        add_rates(row, t, before);
    }
}

bool top_look(top_tick *out, top_tick *before, seg_client *client, const top_opts *o,
              seg_error *err) {
    *out = (top_tick){.at_ms = cli_wall_ms()};
    if (before) {
        out->between_ms = out->at_ms - before->at_ms;
        out->looks.before = before->looks.now; /* the rest of that look is not needed any more */
        before->looks.now = NULL;
    }
    bool ok = seg_stream_overview(&out->streams, client, err) == SEG_OK &&
              seg_group_overview(&out->groups, client, o->stream, err) == SEG_OK;
    if (ok) {
        make_rows(out, before, o);
        ok = describe_largest(out, client, o, err);
    }
    if (ok && o->group && out->n_rows == 0) {
        *err = (seg_error){.status = SEG_ENOENT};
        snprintf(err->text, sizeof err->text, "no group \"%s\"%s%s%s", o->group,
                 o->stream ? " on stream \"" : "", o->stream ? o->stream : "",
                 o->stream ? "\"" : "");
        ok = false;
    }
    if (!ok) {
        top_tick_fini(out);
    }
    return ok;
}

void top_tick_fini(top_tick *t) {
    seg_streams_free(t->streams);
    seg_groups_free(t->groups);
    cli_group_looks_fini(&t->looks);
    free(t->rows);
    *t = (top_tick){0};
}
