/* consume.h - segmenter consume, in parts: consume.c opens the consumer and ends it, and writes
 * messages itself; consume_run.c lets commands handle them; consume_end.c knows when the end is
 * reached (-e). */
#ifndef SEGMENTER_CLI_CONSUME_H
#define SEGMENTER_CLI_CONSUME_H
#include "cli.h"
#include "format.h"
#include "json.h"

typedef struct cli_consume_opts {
    const char *group;
    const char *offset;
    int64_t count;
    bool to_end;
    int64_t idle_exit;
    const char *format;
    bool json;
    const char *exec;
    const char *exec_stream;
    int64_t workers;
    int64_t max_attempts;
    int64_t retry_delay;
    int ordering;
    int64_t ack_timeout; /* -1: not given */
    int64_t session_timeout;
    const char *member;
    const char *instance;
} cli_consume_opts;

/* Where a partition ended when the consumer started. */
typedef struct cli_end_mark {
    uint64_t era;
    uint64_t next;
} cli_end_mark;

typedef struct cli_end {
    seg_client *client;
    const char *stream, *group;
    cli_end_mark *marks; /* NULL: no end is asked for */
    uint32_t n;
    int64_t checked_us, check_ms;
} cli_end;

/* One run of consume. */
typedef struct cli_consuming {
    const cli_consume_opts *opts;
    seg_client *client;
    seg_consumer *consumer;
    uint32_t max_attempts; /* as the library was told; 0: none */
    cli_template format;
    cli_json_origin origin;
    int64_t ack_timeout;
    cli_end end;
    uint64_t handled;
    int64_t arrived_us; /* when the last message did, at first the start */
    bool verbose;
} cli_consuming;

/* ---- consume_end.c --------------------------------------------------------------------------- */

/* Note where the partitions end now. Returns an exit code. */
int cli_end_mark_now(cli_end *e);

/* Has the group, whoever of it, committed all that was there? Asks the server, less and less often
 * while the answer is no; `busy`: seldom anyway. */
bool cli_end_reached(cli_end *e, bool busy);

/* Ms until it is worth asking again. */
int64_t cli_end_wait(const cli_end *e);

/* Something happened: ask soon. */
void cli_end_stir(cli_end *e);

void cli_end_fini(cli_end *e);

/* ---- consume_run.c --------------------------------------------------------------------------- */

/* Before a signal can come. */
void cli_consume_run_prepare(void);

/* Let commands handle the messages until it is to end. Returns an exit code. */
int cli_consume_run(cli_consuming *c);

#endif
