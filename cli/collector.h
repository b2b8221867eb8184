/* collector.h - a thread that asks the server, one thing after another, so that nobody else waits for it.
 *
 * Whoever owns it gives it a job, goes on, and takes what came of it when the descriptor says so. It opens
 * the client itself, again and again where the server is away. */
#ifndef SEGMENTER_CLI_COLLECTOR_H
#define SEGMENTER_CLI_COLLECTOR_H
#include "collect.h"

typedef struct cli_collector cli_collector;

typedef enum cli_collector_job {
    CLI_JOB_NONE,
    CLI_JOB_PROBE,  /* is the server there? One command */
    CLI_JOB_COLLECT /* all of it */
} cli_collector_job;

typedef struct cli_collected {
    cli_collector_job job;
    cli_metrics *metrics; /* of a collection; NULL: it failed */
    seg_error err;        /* status SEG_OK: it did not */
    int64_t took_us;
} cli_collected;

/* `plan` and `globals` outlive it; `timeout`, ms, is for each question. NULL, with a report, where there
 * is no thread to be had. */
cli_collector *cli_collector_start(const cli_collect_plan *plan, const cli_globals *globals,
                                   int64_t timeout);

/* Only while nothing is under way: after the start, or after cli_collector_take(). */
void cli_collector_ask(cli_collector *c, cli_collector_job job);

/* Readable when a job is done. */
int cli_collector_fd(const cli_collector *c);
/* False: it is not done yet. The metrics are the caller's then. */
bool cli_collector_take(cli_collector *c, cli_collected *out);

/* End the thread. False: it hangs on the server for longer than `patience` ms; it is left as it is, with
 * all that it uses, and the process has to end with _exit(). */
bool cli_collector_stop(cli_collector *c, int64_t patience);

#endif
