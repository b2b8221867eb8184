/* group_look.c - see group.h. */
#include "group.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "child.h"
#include "place.h"

seg_status cli_group_try_look(cli_group_looks *out, seg_client *client, const char *stream,
                              const char *group, int64_t window, int64_t age_warn, seg_error *err) {
    *out = (cli_group_looks){.age_warn = age_warn};
    seg_group_info *before = NULL;
    seg_status status;
    if (window > 0) {
        int64_t start = cli_now_us();
        status = seg_group_describe(&before, client, stream, group, err);
        if (status != SEG_OK) {
            return status;
        }
        out->before = before;
        cli_pause((int)window);
        out->between_ms = (cli_now_us() - start) / 1000;
    }
    out->now_ms = cli_wall_ms();
    status = seg_group_describe(&out->now, client, stream, group, err);
    if (status != SEG_OK) {
        cli_group_looks_fini(out);
    }
    return status;
}

int cli_group_look(cli_group_looks *out, seg_client *client, const char *stream, const char *group,
                   int64_t window, int64_t age_warn) {
    seg_error err;
    return cli_group_try_look(out, client, stream, group, window, age_warn, &err) == SEG_OK
               ? CLI_OK
               : cli_error(&err);
}

void cli_group_looks_fini(cli_group_looks *l) {
    seg_group_info_free(l->now);
    seg_group_info_free((seg_group_info *)(uintptr_t)l->before);
    l->now = NULL;
    l->before = NULL;
}

cli_look cli_look_at(const cli_group_looks *l, uint32_t partition) {
    return (cli_look){.now = seg_group_info_partition(l->now, partition),
                      .before = l->before ? seg_group_info_partition(l->before, partition) : NULL,
                      .now_ms = l->now_ms,
                      .between_ms = l->between_ms,
                      .age_warn = l->age_warn};
}

cli_health cli_group_judge(const cli_group_looks *l) {
    cli_health worst = CLI_HEALTH_OK;
    for (uint32_t i = 0; i < seg_group_info_partitions(l->now); i++) {
        cli_look look = cli_look_at(l, i);
        cli_health h = cli_judge(&look);
        worst = h > worst ? h : worst;
    }
    return worst;
}

int64_t cli_group_age(const cli_group_looks *l) {
    int64_t oldest = -1;
    for (uint32_t i = 0; i < seg_group_info_partitions(l->now); i++) {
        const seg_group_partition *p = seg_group_info_partition(l->now, i);
        int64_t age = cli_age(p, l->now_ms);
        if (p->status != SEG_OK) {
            return -1; /* what is not known may be older */
        }
        oldest = age > oldest ? age : oldest;
    }
    return oldest;
}

double cli_group_trend(const cli_group_looks *l) {
    double sum = 0;
    for (uint32_t i = 0; i < seg_group_info_partitions(l->now); i++) {
        cli_look look = cli_look_at(l, i);
        sum += cli_trend(&look);
    }
    return sum;
}

char *cli_ranges(const uint32_t *list, size_t n) {
    size_t cap = 24 * n + 1, used = 0;
    char *out = cli_alloc(cap, 1);
    for (size_t i = 0; i < n;) {
        size_t last = i;
        while (last + 1 < n && list[last + 1] == list[last] + 1) {
            last++;
        }
        used += (size_t)snprintf(out + used, cap - used, "%s%" PRIu32, i ? "," : "", list[i]);
        if (last > i) {
            used += (size_t)snprintf(out + used, cap - used, "-%" PRIu32, list[last]);
        }
        i = last + 1;
    }
    return out;
}

void cli_print_ranges(char *out, size_t cap, const uint32_t *list, size_t n) {
    char *all = cli_ranges(list, n);
    if (strlen(all) >= cap) {
        size_t end = cap - sizeof ",...";
        while (end > 0 && all[end] != ',') {
            end--;
        }
        strcpy(all + end, end > 0 ? ",..." : "...");
    }
    snprintf(out, cap, "%s", all);
    free(all);
}
