/* demo_view.c - the demo as it runs: a table that is redrawn on a terminal, else a line a second.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "demo.h"

enum { TABLE_US = 200000, LINE_US = 1000000, BAR_WIDTH = 24 };

void demo_view_init(demo_view *v) {
    const char *term = getenv("TERM");
    const char *no_color = getenv("NO_COLOR");
    *v = (demo_view){0};
    v->ansi = isatty(STDOUT_FILENO) && term && strcmp(term, "dumb") != 0;
    v->color = v->ansi && !(no_color && *no_color);
}

bool demo_view_due(const demo_view *v, int64_t now_us) {
    return now_us - v->last_us >= (v->ansi ? TABLE_US : LINE_US);
}

/* Back to where the table began, and clear what is below. */
static void erase(demo_view *v) {
    if (v->drawn > 0) {
        printf("\033[%dA\033[J", v->drawn);
        v->drawn = 0;
    }
}

void demo_view_event(demo_view *v, int64_t elapsed_us, const char *format, ...) {
    erase(v);
    printf("%5.1f s  ", (double)elapsed_us / 1e6);
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    fflush(stdout);
}

static void update_rate(demo_view *v, int64_t now_us, uint64_t handled) {
    int64_t passed = now_us - v->rate_us;
    if (v->rate_us && passed < LINE_US * 9 / 10) {
        return;
    }
    if (v->rate_us && handled >= v->rate_handled) {
        v->rate = (double)(handled - v->rate_handled) * 1e6 / (double)passed;
    }
    v->rate_us = now_us;
    v->rate_handled = handled;
}

static void print_totals(const demo_view *v, const demo_status *s) {
    printf("%5.1f s  sent %-7" PRIu64 " handled %-7" PRIu64 " %5.0f/s  lag %-6" PRIu64
           " redelivered %" PRIu64 " uncommitted",
           (double)s->elapsed_us / 1e6, s->sent, s->check->distinct, v->rate,
           s->group ? seg_group_info_lag(s->group) : 0, s->check->redelivered);
}

/* "c1:0,3 c2:1,4" */
static void print_owners(const seg_group_info *g) {
    for (size_t i = 0; i < seg_group_info_members(g); i++) {
        size_t n;
        const uint32_t *owned = seg_group_info_owned(g, i, &n);
        printf("%s%s:", i ? " " : "  ", seg_group_info_member(g, i));
        for (size_t k = 0; k < n; k++) {
            printf("%s%" PRIu32, k ? "," : "", owned[k]);
        }
        if (n == 0) {
            putchar('-');
        }
    }
}

/* Members are named c1, c2 ...: each has its own colour. */
static void print_owner(const demo_view *v, const char *owner) {
    const char *name = owner ? owner : "-";
    if (v->color && owner && owner[0] && owner[1] >= '1' && owner[1] <= '6') {
        printf("\033[3%dm%-8s\033[0m", owner[1] - '0' + 1, name);
    } else {
        printf("%-8s", name);
    }
}

static void print_lag(uint64_t lag) {
    /* One more # each time the lag doubles. */
    int width = 0;
    for (uint64_t rest = lag; rest > 0 && width < BAR_WIDTH; rest /= 2) {
        width++;
    }
    printf("%7" PRIu64 "  %.*s", lag, width, "########################");
}

static int print_table(const demo_view *v, const seg_group_info *g) {
    printf("\n  partition  owner    epoch  committed     next     lag\n");
    uint32_t n = seg_group_info_partitions(g);
    for (uint32_t i = 0; i < n; i++) {
        const seg_group_partition *p = seg_group_info_partition(g, i);
        printf("  %9" PRIu32 "  ", i);
        print_owner(v, p->owner);
        printf(" %5" PRIu64 "  %9" PRIu64 "  %7" PRIu64 " ", p->epoch, p->committed, p->next);
        print_lag(p->lag);
        putchar('\n');
    }
    return (int)n + 2;
}

void demo_view_draw(demo_view *v, int64_t now_us, const demo_status *s) {
    v->last_us = now_us;
    update_rate(v, now_us, s->check->distinct);
    erase(v);
    print_totals(v, s);
    if (!v->ansi && s->group) {
        print_owners(s->group);
    }
    putchar('\n');
    if (v->ansi) {
        v->drawn = 1 + (s->group ? print_table(v, s->group) : 0);
    }
    fflush(stdout);
}
