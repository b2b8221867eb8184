/* progress.c - see progress.h. */
#include "progress.h"

#include <inttypes.h>

enum { EVERY_US = 200000 };

void cli_progress_start(cli_progress *p, bool shown) {
    *p = (cli_progress){.shown = shown, .started_us = cli_now_us()};
}

double cli_progress_seconds(const cli_progress *p) {
    return (double)(cli_now_us() - p->started_us) / 1e6;
}

void cli_progress_draw(cli_progress *p, const char *what, uint64_t done, uint64_t total) {
    int64_t now = p->shown ? cli_now_us() : 0;
    if (!p->shown || now - p->drawn_us < EVERY_US) {
        return;
    }
    p->drawn_us = now;
    double seconds = cli_progress_seconds(p);
    char of[32] = "";
    if (total > 0) {
        snprintf(of, sizeof of, " of %" PRIu64, total);
    }
    fprintf(stderr, "\r\033[K%s %" PRIu64 "%s, %.0f/s", what, done, of,
            seconds > 0 ? (double)done / seconds : 0.0);
}

void cli_progress_erase(cli_progress *p) {
    if (p->shown && p->drawn_us > 0) {
        fputs("\r\033[K", stderr);
        p->drawn_us = 0;
    }
}
