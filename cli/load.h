/* load.h - what the files of `segmenter load` share. A load goes over the file up to three times: to see
 * whether it is whole (and, resumed, how much of it the stream holds already), to send it, and over the
 * stream in the end, to see whether it holds the same. From a pipe it can only send. */
#ifndef SEGMENTER_CLI_LOAD_H
#define SEGMENTER_CLI_LOAD_H
#include "cli.h"
#include "dump_file.h"
#include "progress.h"

typedef struct cli_load_opts {
    bool check, no_create, repartition, resume, append, no_verify, force;
    int codec; /* a seg_codec */
} cli_load_opts;

/* The stream that it goes to, as it was before. */
typedef struct cli_load_target {
    uint32_t partitions;
    uint64_t max_messages;
    seg_on_full on_full;
    uint64_t *first, *next; /* of each partition */
} cli_load_target;

typedef struct cli_loading {
    const cli_load_opts *opts;
    seg_client *client;
    const char *stream;
    const char *name; /* of the file, for reports */
    int fd;
    bool again;         /* it can be read more than once */
    cli_dump_file pipe; /* where it cannot: read up to its first line */
    bool piped;
    cli_dump dump; /* once it was read: what is in it; before, what it says at its beginning */
    bool known;    /* it was read */
    cli_load_target target;
    uint64_t *held;  /* messages of each partition that the stream has already */
    uint64_t before; /* of all of them */
    uint64_t sum;    /* of the messages' digests, in whatever order */
    cli_progress progress;
    /* Sending. */
    seg_producer *producer;
    uint64_t sent, stored, failed;
    int64_t stored_us; /* when there was more of it */
    bool waits;        /* it was said that the stream is full */
    bool lossy;
    seg_error first;
} cli_loading;

/* Is the dump of some of its stream's partitions alone? Does the load go into this one of the target's?
 * Into which (the caller frees them)? (load.c) */
bool cli_load_is_part(const cli_loading *l);
bool cli_load_touches(const cli_loading *l, uint32_t p);
uint32_t *cli_load_touched(const cli_loading *l, size_t *n);

/* Read the file, and say what is wrong with it; with --resume also compare its beginning with what the
 * stream holds. Returns an exit code. (load_file.c) */
int cli_load_check(cli_loading *l);
int cli_load_compare(cli_loading *l);
/* Open the file's dump at its beginning. Returns an exit code. */
int cli_load_rewind(cli_loading *l, cli_dump_file *f);

/* Send what the stream does not hold. Returns an exit code. (load_send.c) */
int cli_load_send(cli_loading *l);
/* Does the stream hold the same as the file? (load_verify.c) */
int cli_load_verify(cli_loading *l);

#endif
