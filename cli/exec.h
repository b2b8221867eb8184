/* exec.h - consume --exec: one process for each message. */
#ifndef SEGMENTER_CLI_EXEC_H
#define SEGMENTER_CLI_EXEC_H
#include "json.h"
#include "outcome.h"

typedef struct cli_exec {
    const char *command;
    const cli_json_origin *origin;
    int64_t timeout; /* ms; 0: as long as it likes */
} cli_exec;

/* Run the command for one message. Any thread. */
void cli_exec_message(const cli_exec *e, const seg_message *m, cli_outcome *out);

#endif
