/* health.c - see health.h. */
#include "health.h"

#include <math.h>

#include "letters.h"

const char *cli_health_name(cli_health h) {
    static const char *const names[] = {
#define X(name, word, text) word,
        CLI_HEALTH_MAP(X)
#undef X
    };
    return names[h];
}

cli_colour cli_health_colour(cli_health h) {
    return h == CLI_HEALTH_OK ? CLI_GREEN : h == CLI_HEALTH_WARN ? CLI_YELLOW : CLI_RED;
}

uint64_t cli_known_sum(uint64_t a, uint64_t b) {
    return a == SEG_UNKNOWN || b == SEG_UNKNOWN || b > SEG_UNKNOWN - 1 - a ? SEG_UNKNOWN : a + b;
}

int64_t cli_age(const seg_group_partition *p, int64_t now_ms) {
    if (p->oldest_ms <= 0) {
        return -1;
    }
    return now_ms > p->oldest_ms ? now_ms - p->oldest_ms : 0;
}

double cli_trend(const cli_look *l) {
    if (!l->before || l->between_ms <= 0 || l->now->lag == SEG_UNKNOWN ||
        l->before->lag == SEG_UNKNOWN) {
        return NAN;
    }
    return ((double)l->now->lag - (double)l->before->lag) * 1000 / (double)l->between_ms;
}

/* Committed less than before, or elsewhere by a seek. Eras only grow, so an offset that is smaller is
 * earlier. */
static bool went_back(const cli_look *l) {
    return l->before && l->before->status == SEG_OK &&
           (l->now->committed < l->before->committed || l->now->moved > l->before->moved);
}

static bool stands_still(const cli_look *l) {
    return l->before && l->before->status == SEG_OK && l->now->committed == l->before->committed &&
           l->now->acked == l->before->acked;
}

cli_health cli_judge(const cli_look *l) {
    const seg_group_partition *p = l->now;
    if (p->status != SEG_OK || p->lag == SEG_UNKNOWN) {
        return CLI_HEALTH_DAMAGED;
    }
    if (p->lag > p->acked && !p->owner) {
        return CLI_HEALTH_ORPHANED;
    }
    if (went_back(l)) {
        return CLI_HEALTH_REWOUND;
    }
    bool late = cli_age(p, l->now_ms) > l->age_warn;
    if (p->lag > p->acked && late && stands_still(l)) {
        return CLI_HEALTH_STALLED;
    }
    return late || p->attempts > 1 ? CLI_HEALTH_WARN : CLI_HEALTH_OK;
}

cli_health cli_judge_summary(const seg_group_summary *g) {
    if (g->status != SEG_OK || g->lag == SEG_UNKNOWN) {
        return CLI_HEALTH_DAMAGED;
    }
    if (g->lag > 0 && cli_is_letters_group(g->stream, g->group)) {
        return CLI_HEALTH_WARN;
    }
    return g->lag > 0 && g->unowned > 0 ? CLI_HEALTH_ORPHANED : CLI_HEALTH_OK;
}
