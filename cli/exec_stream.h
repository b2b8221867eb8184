/* exec_stream.h - consume --exec-stream: processes that run for long, and answer each message with
 * a line.
 *
 *     us  -> command   {"v":1,"stream":"s", ... "attempt":1, ...}     as consume -J writes it
 *     command -> us    ack | retry [DURATION] [REASON] | reject [REASON]
 *
 * One process for each message that is being handled, at most so many as there are workers. */
#ifndef SEGMENTER_CLI_EXEC_STREAM_H
#define SEGMENTER_CLI_EXEC_STREAM_H
#include "json.h"
#include "outcome.h"

typedef struct cli_exec_stream cli_exec_stream;

/* Wait so many ms; false where the whole is being ended. */
typedef bool cli_pause_fn(void *arg, int64_t ms);

typedef struct cli_exec_stream_plan {
    const char *command;
    const cli_json_origin *origin;
    int64_t timeout; /* ms for an answer */
    size_t workers;
    cli_pause_fn *pause; /* any thread */
    void *arg;
} cli_exec_stream_plan;

cli_exec_stream *cli_exec_stream_new(const cli_exec_stream_plan *plan);

/* Any thread, `workers` at once. */
void cli_exec_stream_message(cli_exec_stream *s, const seg_message *m, cli_outcome *out);

/* Close what they read from, wait until they have ended, kill those that do not. */
void cli_exec_stream_free(cli_exec_stream *s);

/* Read one answer, without its newline. False where it is none. */
bool cli_answer_parse(cli_outcome *out, seg_bytes line);

#endif
