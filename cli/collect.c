/* collect.c - see collect.h.
 *
 * A stream of dead letters is told of as any other; its group "dlq" is not: nobody is meant to be a
 * member of it, and it would be a group that is left alone with its lag. Instead there is one sample of
 * segmenter_dead_letters, under the names of whose they are. */
#include "collect.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "damage.h"
#include "each.h"
#include "health.h"
#include "letters.h"
#include "lookup.h"
#include "place.h"
/* What a close look says of a group. */
typedef struct look {
    double age, fill; /* s; NAN: unknown */
    uint64_t in_flight, attempts;
    uint64_t left;        /* neither committed nor acknowledged behind that; dead letters */
    seg_group_info *info; /* of whose partitions is told */
    bool damaged;         /* it cannot be looked at */
} look;

typedef struct collection {
    cli_metrics *metrics;
    seg_client *client;
    const cli_collect_plan *plan;
    seg_streams *streams;
    seg_groups *groups;
    look *looks;    /* of each group */
    size_t *chosen; /* groups to look at */
    size_t n_chosen, n_skipped;
    bool *told;                /* groups of whose partitions is told */
    uint64_t n_told, n_untold; /* partitions */
    int64_t deadline_us;
    atomic_size_t looked;
    pthread_mutex_t lock;
    seg_error fault; /* the first one; the lock */
    atomic_bool failed;
} collection;

/* ---- Names ----------------------------------------------------------------------------------- */

static bool is_wanted(const collection *c, const char *stream) {
    const cli_list *only = c->plan->streams;
    for (size_t i = 0; only && i < only->n; i++) {
        if (strcmp(only->items[i], stream) == 0) {
            return true;
        }
    }
    return !only || only->n == 0;
}

/* Is it told of among the groups? */
static bool is_told(const collection *c, const seg_group_summary *g) {
    return is_wanted(c, g->stream) && !cli_is_letters_group(g->stream, g->group);
}

/* ---- Close looks ----------------------------------------------------------------------------- */

/* Seconds; NAN: unknown. Where messages wait and none is dated, the age is not 0. */
static double age_of(const seg_group_partition *p, int64_t now_ms) {
    if (p->status != SEG_OK || p->lag == SEG_UNKNOWN) {
        return NAN;
    }
    int64_t age = cli_age(p, now_ms);
    return age >= 0 ? (double)age / 1000 : p->lag > p->acked ? NAN : 0;
}

/* The larger; unknown where one is. */
static double larger(double a, double b) {
    return isnan(a) || isnan(b) ? NAN : a > b ? a : b;
}

static void judge(look *l, const seg_group_info *info, uint64_t bound) {
    int64_t now = cli_wall_ms();
    *l = (look){0};
    for (uint32_t i = 0; i < seg_group_info_partitions(info); i++) {
        const seg_group_partition *p = seg_group_info_partition(info, i);
        bool known = p->status == SEG_OK && p->lag != SEG_UNKNOWN;
        l->age = larger(l->age, age_of(p, now));
        l->fill = larger(l->fill, known && bound > 0 ? (double)p->lag / (double)bound : NAN);
        l->left = cli_known_sum(l->left, known ? p->lag - p->acked : SEG_UNKNOWN);
        l->in_flight = cli_known_sum(l->in_flight, known ? p->in_flight : SEG_UNKNOWN);
        if (!known) {
            l->attempts = SEG_UNKNOWN;
        } else if (l->attempts != SEG_UNKNOWN && p->attempts > l->attempts) {
            l->attempts = p->attempts;
        }
    }
}

static void fail(collection *c, const seg_error *err) {
    pthread_mutex_lock(&c->lock);
    if (!atomic_exchange(&c->failed, true)) {
        c->fault = *err;
    }
    pthread_mutex_unlock(&c->lock);
}

static void look_at(collection *c, size_t i) {
    const seg_group_summary *g = seg_groups_at(c->groups, i);
    const seg_stream_summary *s = cli_stream_of(c->streams, g->stream);
    seg_group_info *info;
    seg_error err;
    seg_status status = seg_group_describe(&info, c->client, g->stream, g->group, &err);
    if (status == SEG_OK) {
        judge(&c->looks[i], info, s ? s->max_messages : 0);
        if (c->told[i]) {
            c->looks[i].info = info;
        } else {
            seg_group_info_free(info);
        }
    } else if (cli_is_damage(status)) {
        c->looks[i].damaged = true;
    } else if (status != SEG_ENOENT) { /* deleted meanwhile */
        fail(c, &err);
    }
}

static void look_on(size_t at, void *arg) {
    collection *c = arg;
    if (!atomic_load(&c->failed) && cli_now_us() < c->deadline_us &&
        !(c->plan->stop && atomic_load(c->plan->stop))) {
        look_at(c, c->chosen[at]);
        atomic_fetch_add(&c->looked, 1);
    }
}

static void look_at_all(collection *c) {
    cli_each(c->n_chosen, look_on, c);
    c->n_skipped += c->n_chosen - atomic_load(&c->looked);
}

/* ---- Which groups ---------------------------------------------------------------------------- */

typedef struct candidate {
    uint64_t lag;
    size_t group;
} candidate;

/* Most lag first, so that from scrape to scrape it is much the same groups. */
static int by_lag(const void *left, const void *right) {
    const candidate *a = left, *b = right;
    return a->lag != b->lag ? (a->lag < b->lag ? 1 : -1) : (a->group < b->group ? -1 : 1);
}

static void choose(collection *c) {
    size_t n = seg_groups_count(c->groups), found = 0;
    candidate *all = cli_alloc(n, sizeof *all);
    c->looks = cli_alloc(n, sizeof *c->looks);
    c->chosen = cli_alloc(n, sizeof *c->chosen);
    c->told = cli_alloc(n, sizeof *c->told);
    for (size_t i = 0; i < n; i++) {
        const seg_group_summary *g = seg_groups_at(c->groups, i);
        bool told = is_told(c, g);
        if (g->lag > 0 && (told || cli_is_letters_group(g->stream, g->group))) {
            c->looks[i] = (look){NAN, NAN, SEG_UNKNOWN, SEG_UNKNOWN, g->lag, NULL, false};
            all[found++] = (candidate){g->lag, i};
        }
        if (!told) {
            continue;
        }
        if (g->partitions <= c->plan->partitions - c->n_told) {
            c->told[i] = g->partitions > 0;
            c->n_told += g->partitions;
        } else if (c->plan->partitions > 0) {
            c->n_untold += g->partitions;
        }
    }
    if (found > 1) {
        qsort(all, found, sizeof *all, by_lag);
    }
    c->n_chosen = found < c->plan->describe ? found : (size_t)c->plan->describe;
    c->n_skipped = found - c->n_chosen;
    for (size_t i = 0; i < c->n_chosen; i++) {
        c->chosen[i] = all[i].group;
    }
    free(all);
}

/* ---- Writing: streams ------------------------------------------------------------------------ */

static void add_partition(cli_labels *l, uint32_t partition) {
    char number[16];
    snprintf(number, sizeof number, "%u", (unsigned)partition);
    cli_labels_add(l, "partition", number);
}

/* Of each of its partitions. */
static seg_status put_stream_partitions(collection *c, const seg_stream_summary *s,
                                        const cli_labels *labels) {
    seg_stream_info *info;
    seg_error err;
    seg_status status = seg_stream_describe(&info, c->client, s->name, &err);
    if (status != SEG_OK) {
        if (status != SEG_ENOENT && !cli_is_damage(status)) {
            fail(c, &err);
            return status;
        }
        return SEG_OK;
    }
    for (uint32_t i = 0; i < seg_stream_info_partitions(info); i++) {
        const seg_stream_partition *p = seg_stream_info_partition(info, i);
        cli_labels l = *labels;
        add_partition(&l, i);
        cli_metrics_count(c->metrics, CLI_METRIC_PARTITION_MESSAGES, &l, p->messages);
        cli_metrics_count(c->metrics, CLI_METRIC_PARTITION_APPENDED, &l, p->next);
    }
    seg_stream_info_free(info);
    return SEG_OK;
}

static seg_status put_stream(collection *c, const seg_stream_summary *s) {
    cli_labels l;
    cli_labels_init(&l, c->plan->name_space);
    cli_labels_add(&l, "stream", s->name);
    cli_metrics_count(c->metrics, CLI_METRIC_STREAM_DAMAGED, &l, s->status != SEG_OK);
    if (s->status == SEG_EPROTO) {
        return SEG_OK; /* nothing else is known */
    }
    cli_metrics_count(c->metrics, CLI_METRIC_STREAM_PARTITIONS, &l, s->partitions);
    cli_metrics_count(c->metrics, CLI_METRIC_STREAM_GROUPS, &l, s->groups);
    cli_metrics_count(c->metrics, CLI_METRIC_STREAM_MESSAGES, &l, s->messages);
    cli_metrics_count(c->metrics, CLI_METRIC_STREAM_APPENDED, &l, s->appended);
    cli_metrics_count(c->metrics, CLI_METRIC_STREAM_SIZE, &l, s->max_messages * s->partitions);
    seg_status status = SEG_OK;
    if (s->partitions <= c->plan->partitions - c->n_told) {
        c->n_told += s->partitions;
        status = put_stream_partitions(c, s, &l);
    } else if (c->plan->partitions > 0) {
        c->n_untold += s->partitions;
    }
    const char *policy = seg_on_full_name(s->on_full);
    cli_labels_add(&l, "on_full", policy ? policy : "unknown");
    cli_metrics_count(c->metrics, CLI_METRIC_STREAM, &l, 1);
    return status;
}

/* ---- Writing: groups ------------------------------------------------------------------------- */

/* Of partitions in which nothing waits nobody was asked: the group's lag says that. */
static void put_group_partitions(collection *c, const seg_group_summary *g, const look *k,
                                 const cli_labels *labels) {
    int64_t now = cli_wall_ms();
    for (uint32_t i = 0; i < g->partitions; i++) {
        const seg_group_partition *p = k->info ? seg_group_info_partition(k->info, i) : NULL;
        if (!p && g->lag != 0) {
            continue;
        }
        cli_labels l = *labels;
        add_partition(&l, i);
        cli_metrics_count(c->metrics, CLI_METRIC_PARTITION_LAG, &l, p ? p->lag : 0);
        cli_metrics_real(c->metrics, CLI_METRIC_PARTITION_AGE, &l, p ? age_of(p, now) : 0);
    }
}

/* What is left in a stream of dead letters. Before its group is there, all; where nobody looked at it,
 * those that were taken out from among the others are still counted. */
static uint64_t letters_in(const collection *c, const seg_stream_summary *s) {
    size_t rest = cli_group_index(c->groups, s->name, CLI_LETTERS_GROUP);
    return rest == SIZE_MAX ? s->messages : c->looks[rest].left;
}

/* What is left of its dead letters. None where there never was one. */
static uint64_t letters_of(const collection *c, const seg_group_summary *g) {
    char *name = cli_letters_stream(g->stream, g->group);
    const seg_stream_summary *s = cli_stream_of(c->streams, name);
    free(name);
    return s ? letters_in(c, s) : 0;
}

static void put_group(collection *c, size_t i) {
    const seg_group_summary *g = seg_groups_at(c->groups, i);
    const look *k = &c->looks[i];
    cli_labels l;
    cli_labels_init(&l, c->plan->name_space);
    cli_labels_add(&l, "stream", g->stream);
    cli_labels_add(&l, "group", g->group);
    bool known = g->members != SEG_UNKNOWN; /* otherwise nor is who owns what */
    cli_metrics_count(c->metrics, CLI_METRIC_GROUP_LAG, &l, g->lag);
    cli_metrics_real(c->metrics, CLI_METRIC_GROUP_AGE, &l, k->age);
    cli_metrics_real(c->metrics, CLI_METRIC_GROUP_FILL, &l, k->fill);
    cli_metrics_count(c->metrics, CLI_METRIC_GROUP_MEMBERS, &l, g->members);
    cli_metrics_count(c->metrics, CLI_METRIC_GROUP_UNOWNED, &l, known ? g->unowned : SEG_UNKNOWN);
    cli_metrics_count(c->metrics, CLI_METRIC_GROUP_REBALANCES, &l, g->epoch);
    cli_metrics_count(c->metrics, CLI_METRIC_GROUP_IN_FLIGHT, &l, k->in_flight);
    cli_metrics_count(c->metrics, CLI_METRIC_GROUP_ATTEMPTS, &l, k->attempts);
    bool damaged = g->status != SEG_OK || g->lag == SEG_UNKNOWN || k->damaged;
    cli_metrics_count(c->metrics, CLI_METRIC_GROUP_DAMAGED, &l, damaged);
    if (!cli_is_letters_stream(g->stream)) {
        cli_metrics_count(c->metrics, CLI_METRIC_DEAD_LETTERS, &l, letters_of(c, g));
    }
    if (c->told[i]) {
        put_group_partitions(c, g, k, &l);
    }
}

/* Dead letters whose group is gone: they would be forgotten otherwise. */
static void put_orphan(collection *c, const seg_stream_summary *s) {
    size_t stream_len, group_len;
    if (!cli_letters_name(s->name, &stream_len, &group_len)) {
        return;
    }
    /* Any dot of it may be the one between both: where such a group is, it was told of. */
    char *name = cli_format("%.*s", (int)(stream_len + 1 + group_len), s->name);
    bool found = false;
    for (char *dot = strchr(name, '.'); dot && !found; dot = strchr(dot + 1, '.')) {
        *dot = '\0';
        found = cli_group_index(c->groups, name, dot + 1) != SIZE_MAX;
        *dot = '.';
    }
    name[stream_len] = '\0';
    if (!found && is_wanted(c, name)) {
        cli_labels l;
        cli_labels_init(&l, c->plan->name_space);
        cli_labels_add(&l, "stream", name);
        cli_labels_add(&l, "group", name + stream_len + 1);
        cli_metrics_count(c->metrics, CLI_METRIC_DEAD_LETTERS, &l, letters_in(c, s));
    }
    free(name);
}

/* ---- The collection -------------------------------------------------------------------------- */

static void put_server(const collection *c) {
    cli_labels l;
    cli_labels_init(&l, c->plan->name_space);
    const char *text = seg_client_server(c->client);
    const char *blank = strchr(text, ' ');
    char *name = cli_format("%.*s", (int)(blank ? blank - text : 0), text);
    cli_labels_add(&l, "server", name);
    cli_labels_add(&l, "version", blank ? blank + 1 : text);
    cli_metrics_count(c->metrics, CLI_METRIC_SERVER, &l, 1);
    free(name);
}

/* Of the streams that were asked for by name. That one is not there people are told where it changes: its
 * name may be misspelt, and it would be silence otherwise. */
static void put_missing(const collection *c) {
    const cli_list *only = c->plan->streams;
    for (size_t i = 0; only && i < only->n; i++) {
        const char *name = only->items[i];
        bool missing = !cli_stream_of(c->streams, name);
        cli_labels l;
        cli_labels_init(&l, c->plan->name_space);
        cli_labels_add(&l, "stream", name);
        cli_metrics_count(c->metrics, CLI_METRIC_STREAM_MISSING, &l, missing);
        if (missing != c->plan->missing[i]) {
            cli_note(missing
                         ? "there is no stream '%s' in namespace '%s': segmenter_stream_missing "
                           "is 1"
                         : "stream '%s' in namespace '%s' is there now",
                     name, c->plan->name_space);
            c->plan->missing[i] = missing;
        }
    }
}

static void put_all(collection *c) {
    uint64_t streams = 0;
    put_server(c);
    put_missing(c);
    for (size_t i = 0; i < seg_groups_count(c->groups); i++) {
        if (is_told(c, seg_groups_at(c->groups, i))) {
            put_group(c, i);
        }
    }
    for (size_t i = 0; i < seg_streams_count(c->streams); i++) {
        const seg_stream_summary *s = seg_streams_at(c->streams, i);
        put_orphan(c, s);
        if (is_wanted(c, s->name)) {
            streams++;
            if (put_stream(c, s) != SEG_OK) {
                return;
            }
        }
    }
    cli_labels l;
    cli_labels_init(&l, c->plan->name_space);
    cli_metrics_count(c->metrics, CLI_METRIC_STREAMS, &l, streams);
    cli_metrics_count(c->metrics, CLI_METRIC_GROUPS_SKIPPED, &l, c->n_skipped);
    cli_metrics_count(c->metrics, CLI_METRIC_PARTITIONS_SKIPPED, &l, c->n_untold);
}

seg_status cli_collect(cli_metrics *m, seg_client *client, const cli_collect_plan *plan,
                       seg_error *err) {
    collection c = {.metrics = m, .client = client, .plan = plan};
    seg_status status = seg_stream_overview(&c.streams, client, err);
    if (status != SEG_OK) {
        return status;
    }
    status = seg_group_overview(&c.groups, client, NULL, err);
    if (status == SEG_OK) {
        pthread_mutex_init(&c.lock, NULL);
        choose(&c);
        c.deadline_us = cli_now_us() + plan->look_us;
        look_at_all(&c);
        if (!atomic_load(&c.failed)) {
            put_all(&c);
        }
        if (atomic_load(&c.failed)) {
            *err = c.fault;
            status = c.fault.status;
        }
        pthread_mutex_destroy(&c.lock);
    }
    for (size_t i = 0; c.looks && i < seg_groups_count(c.groups); i++) {
        seg_group_info_free(c.looks[i].info);
    }
    free(c.looks);
    free(c.chosen);
    free(c.told);
    seg_groups_free(c.groups);
    seg_streams_free(c.streams);
    return status;
}
