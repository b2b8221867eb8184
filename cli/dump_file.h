/* dump_file.h - what a dump holds: lines of JSON, in the order of partitions, and of offsets in each.
 *
 *     {"v":1,"dump":"begin","stream":"orders", its settings, "partitions":[{"partition":0,"era":1,
 *      "first":0,"next":2},...]}                           where each began and ended at the start
 *     {"v":1,"stream":"orders","partition":0,"era":1,"offset":0,"ts_ms":...}   as consume -J writes it
 *     {"v":1,"dump":"skip","partition":0,"era":1,"first":5,"count":3,"why":"dropped"}
 *     {"v":1,"dump":"end","messages":2,"skipped":3,"xxh64":"...","partitions":[{"partition":0,
 *      "messages":2,"skipped":3,"xxh64":"..."},...]}
 *
 * "partition_count" is how many the stream has. A dump of some of them is described by those alone, in
 * its first line and its last.
 *
 * Two kinds of checksums (digest.h) are in the last line: one of all lines before it, each with its
 * newline, which tells whether the file is whole; and one of each partition's messages, whatever their
 * places are, which tells whether a copy holds the same. */
#ifndef SEGMENTER_CLI_DUMP_FILE_H
#define SEGMENTER_CLI_DUMP_FILE_H
#include "archive.h"
#include "buf.h"
#include "json.h"
#include "json_scan.h"

typedef struct cli_dump_part {
    uint64_t era, first, next; /* when the dump began */
    uint64_t messages, skipped;
    uint64_t digest;
    seg_id at;     /* behind what the file has of it */
    bool left_out; /* the dump is of others alone */
} cli_dump_part;

/* A dump so far, as it is written or read. */
typedef struct cli_dump {
    char *stream, *name_space, *server, *tool;
    int64_t made_ms, created_ms; /* the dump, the stream; ms since 1970 */
    uint32_t partitions;
    uint64_t max_messages;
    seg_on_full on_full;
    cli_dump_part *parts;
    uint32_t at; /* the partition of the last line */
    uint64_t messages, skipped;
    uint64_t digest; /* of the lines */
} cli_dump;

void cli_dump_fini(cli_dump *d);
cli_dump cli_dump_copy(const cli_dump *d);

/* How many it is of: all, or less. */
uint32_t cli_dump_chosen(const cli_dump *d);
/* "partitions 0,2 of 3"; the caller frees it. */
char *cli_dump_extent(const cli_dump *d);

/* ---- Writing: these add a line to `b`, and to what the dump holds ------------------------------ */

void cli_dump_begin(cli_dump *d, cli_buf *b);
void cli_dump_message(cli_dump *d, cli_buf *b, const seg_message *m, cli_buf *scratch);
void cli_dump_skip(cli_dump *d, cli_buf *b, const seg_skip *skip);
void cli_dump_end(cli_dump *d, cli_buf *b);

/* ---- Reading --------------------------------------------------------------------------------- */

typedef enum cli_dump_item {
    CLI_DUMP_MESSAGE,  /* in `message`, until the next call */
    CLI_DUMP_SKIP,     /* some are not in it */
    CLI_DUMP_COMPLETE, /* that was the end, and all is right */
    CLI_DUMP_TORN,     /* it is right so far, and has no end */
    CLI_DUMP_FAULT,    /* `fault` says what is wrong */
    CLI_DUMP_STOPPED   /* a signal came */
} cli_dump_item;

typedef struct cli_dump_file {
    const char *name; /* for reports */
    cli_archive *archive;
    cli_dump dump;
    seg_record message;
    uint32_t partition;
    seg_id id;
    cli_json_scan scan;
    cli_json_record json; /* of a line that `scan` does not know */
    cli_buf scratch;
    char fault[400];
} cli_dump_file;

/* Read its first line. COMPLETE where that is a dump's (and no more than that is said by it), otherwise
 * TORN, FAULT or STOPPED. To be freed in any case. */
cli_dump_item cli_dump_file_open(cli_dump_file *f, int fd, const char *name);
cli_dump_item cli_dump_file_next(cli_dump_file *f);
void cli_dump_file_fini(cli_dump_file *f);

/* What a file of that begins with: is it a part of the first line of a dump? */
bool cli_dump_may_begin(seg_bytes start);

#endif
