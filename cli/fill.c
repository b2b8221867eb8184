/* fill.c - see fill.h. */
#include "fill.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "damage.h"

static double percent(uint64_t messages, uint64_t bound) {
    return bound ? 100.0 * (double)messages / (double)bound : NAN;
}

/* The fullest partition where nobody reads: all of it is unread. */
static void without_groups(cli_fill *out, const seg_stream_info *s) {
    for (uint32_t i = 0; i < seg_stream_info_partitions(s); i++) {
        const seg_stream_partition *p = seg_stream_info_partition(s, i);
        if (p->status != SEG_OK) {
            out->percent = NAN;
            out->partition = i;
            return;
        }
        double full = percent(p->messages, seg_stream_info_max_messages(s));
        if (full > out->percent) {
            out->percent = full;
            out->partition = i;
        }
    }
}

static void take_damaged(cli_fill *out, const char *group) {
    if (out->n_damaged++ == 0) {
        snprintf(out->damaged, sizeof out->damaged, "%s", group);
    }
}

/* Where the partition is whole, and what the group has left of it is not known. */
static bool is_lost(const seg_group_info *g, const seg_stream_info *s, uint32_t i) {
    const seg_stream_partition *p = seg_stream_info_partition(s, i);
    return seg_group_info_partition(g, i)->lag == SEG_UNKNOWN && p && p->status == SEG_OK;
}

/* What it leaves to read where it has read least. A lag that is unknown as the partition is damaged hides
 * all others; one that only the group has lost hides none. */
static void take_group(cli_fill *out, const seg_group_info *g, const seg_stream_info *s) {
    uint64_t bound = seg_stream_info_max_messages(s);
    bool damaged = false;
    for (uint32_t i = 0; i < seg_group_info_partitions(g); i++) {
        if (is_lost(g, s, i)) {
            damaged = true;
            continue;
        }
        uint64_t lag = seg_group_info_partition(g, i)->lag;
        double full = lag == SEG_UNKNOWN ? NAN : percent(lag, bound);
        if (isnan(full) || full > out->percent || !out->group[0]) {
            out->percent = full;
            out->partition = i;
            snprintf(out->group, sizeof out->group, "%s", seg_group_info_name(g));
        }
        if (isnan(full)) {
            break;
        }
    }
    if (damaged) {
        take_damaged(out, seg_group_info_name(g));
    }
}

static int most_first(const void *left, const void *right) {
    const seg_group_summary *const *a = left, *const *b = right;
    return ((*a)->lag < (*b)->lag) - ((*a)->lag > (*b)->lag); /* an unknown lag is the largest */
}

/* From the group that is furthest behind on, until none can be further behind in one partition than
 * what was found: that is usually the first. */
static seg_status with_groups(cli_fill *out, seg_client *client, const seg_stream_info *s,
                              const seg_group_summary **groups, size_t n, seg_error *err) {
    uint64_t bound = seg_stream_info_max_messages(s);
    seg_status status = SEG_OK;
    qsort(groups, n, sizeof *groups, most_first);
    for (size_t i = 0; i < n && status == SEG_OK && !isnan(out->percent); i++) {
        if (out->group[0] && percent(groups[i]->lag, bound) <= out->percent) {
            break;
        }
        seg_group_info *g = NULL;
        status = seg_group_describe(&g, client, seg_stream_info_name(s), groups[i]->group, err);
        if (status == SEG_OK) {
            take_group(out, g, s);
        } else if (cli_is_damage(status)) { /* the others are as they are */
            take_damaged(out, groups[i]->group);
            status = SEG_OK;
        } else if (status == SEG_ENOENT) { /* deleted meanwhile */
            status = SEG_OK;
        }
        seg_group_info_free(g);
    }
    return status;
}

seg_status cli_fill_of(cli_fill *out, seg_client *client, const seg_stream_info *stream,
                       seg_error *err) {
    seg_groups *all = NULL;
    *out = (cli_fill){0};
    seg_status status = seg_group_overview(&all, client, seg_stream_info_name(stream), err);
    if (status != SEG_OK) {
        return status;
    }
    size_t n = seg_groups_count(all);
    const seg_group_summary **groups = cli_alloc(n, sizeof *groups);
    for (size_t i = 0; i < n; i++) {
        groups[i] = seg_groups_at(all, i);
    }
    status = with_groups(out, client, stream, groups, n, err);
    if (status == SEG_OK && !out->group[0]) {
        without_groups(out, stream);
    }
    out->groups = n;
    free(groups);
    seg_groups_free(all);
    return status;
}
