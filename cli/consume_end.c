/* consume_end.c - the end of what was there when consume started (-e). */
#include <stdlib.h>

#include "consume.h"

enum {
    CHECK_MIN_MS = 20, /* between two looks */
    CHECK_MAX_MS = 1000
};

static bool describe(const cli_end *e, seg_group_info **out, seg_error *err) {
    return seg_group_describe(out, e->client, e->stream, e->group, err) == SEG_OK;
}

int cli_end_mark_now(cli_end *e) {
    seg_error err;
    seg_group_info *g;
    if (!describe(e, &g, &err)) {
        return cli_error(&err);
    }
    e->n = seg_group_info_partitions(g);
    e->marks = cli_alloc(e->n, sizeof *e->marks);
    e->check_ms = CHECK_MIN_MS;
    for (uint32_t i = 0; i < e->n; i++) {
        const seg_group_partition *p = seg_group_info_partition(g, i);
        /* No end is known of one that is damaged: the consumer will say what is wrong. */
        e->marks[i] = (cli_end_mark){p->era, p->next};
    }
    seg_group_info_free(g);
    return CLI_OK;
}

static bool passed(const seg_group_info *g, const cli_end_mark *ends, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        const seg_group_partition *p = seg_group_info_partition(g, i);
        if (p && (p->status != SEG_OK || p->era < ends[i].era ||
                  (p->era == ends[i].era && p->committed < ends[i].next && p->lag > 0))) {
            return false;
        }
    }
    return true;
}

/* A failed question is asked again: what ends the consumer is told by the consumer. */
bool cli_end_reached(cli_end *e, bool busy) {
    int64_t now = cli_now_us();
    int64_t wait_ms = busy ? CHECK_MAX_MS : e->check_ms;
    if (!e->marks || now - e->checked_us < wait_ms * 1000) {
        return false;
    }
    e->checked_us = now;
    e->check_ms = e->check_ms * 2 < CHECK_MAX_MS ? e->check_ms * 2 : CHECK_MAX_MS;
    seg_error err;
    seg_group_info *g;
    if (!describe(e, &g, &err)) {
        return false;
    }
    bool reached = passed(g, e->marks, e->n);
    seg_group_info_free(g);
    return reached;
}

int64_t cli_end_wait(const cli_end *e) {
    return e->marks ? e->check_ms : SEG_FOREVER;
}

void cli_end_stir(cli_end *e) {
    e->check_ms = CHECK_MIN_MS;
}

void cli_end_fini(cli_end *e) {
    free(e->marks);
    e->marks = NULL;
}
