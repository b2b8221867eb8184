/* progress.h - a line on stderr that says how far it is, where that is a terminal. */
#ifndef SEGMENTER_CLI_PROGRESS_H
#define SEGMENTER_CLI_PROGRESS_H
#include "cli.h"

typedef struct cli_progress {
    bool shown; /* a terminal is watching */
    int64_t started_us, drawn_us;
} cli_progress;

void cli_progress_start(cli_progress *p, bool shown);
/* A few times a second: "read 1000 of 2000, 500/s". `total` 0: it is not known. */
void cli_progress_draw(cli_progress *p, const char *what, uint64_t done, uint64_t total);
void cli_progress_erase(cli_progress *p);
double cli_progress_seconds(const cli_progress *p);

#endif
