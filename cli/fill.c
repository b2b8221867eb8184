/* fill.c - see fill.h. */
#include "fill.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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

/* What it leaves to read where it has read least. A lag that is unknown hides all others. */
static void take_group(cli_fill *out, const seg_group_info *g, uint64_t bound) {
    for (uint32_t i = 0; i < seg_group_info_partitions(g); i++) {
        uint64_t lag = seg_group_info_partition(g, i)->lag;
        double full = lag == SEG_UNKNOWN ? NAN : percent(lag, bound);
        if (isnan(full) || full > out->percent || !out->group[0]) {
            out->percent = full;
            out->partition = i;
            snprintf(out->group, sizeof out->group, "%s", seg_group_info_name(g));
        }
        if (isnan(full)) {
            return;
        }
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
            take_group(out, g, bound);
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
