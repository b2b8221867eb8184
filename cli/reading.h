/* reading.h - what the commands share that read a stream without a group: tail, get, grep, dump and
 * the check at the end of load. They change nothing on the server. */
#ifndef SEGMENTER_CLI_READING_H
#define SEGMENTER_CLI_READING_H
#include "cli.h"

/* A reader that says on stderr what it had to pass over. */
typedef struct cli_reading {
    seg_reader *reader;
    uint64_t dropped; /* messages that the stream's bound dropped before they were read */
    uint64_t broken;  /* that are missing, damaged or lost by the server */
    bool quiet;       /* counts only */
    void (*on_skip)(const seg_skip *skip, void *arg); /* as well, or NULL */
    void *arg;
} cli_reading;

/* What the help says about it. */
#define CLI_READ_PLACES "earliest, latest, an OFFSET, a @TIME, -DURATION ago or -COUNT messages"

/* Where to start: one of the above; the last of each partition. False, with a report that names the
 * option. */
bool cli_reading_place(seg_reader_options *opts, const char *text, const char *option);

/* Open it, stopped by the signals from then on. Returns an exit code. The other members are set
 * before. */
int cli_reading_open(cli_reading *r, seg_client *client, const char *stream,
                     const seg_reader_options *opts);
/* The next message, or NULL at the end. Returns an exit code; after a signal CLI_OK and NULL. */
int cli_reading_next(cli_reading *r, const seg_message **out, int64_t wait);
void cli_reading_close(cli_reading *r);

/* The place of a partition; false where it is none of the reader's. */
bool cli_reading_at(const cli_reading *r, uint32_t partition, seg_reader_place *out);
/* Go past what is left of the partition, up to its end at the opening. Returns an exit code. */
int cli_reading_pass(cli_reading *r, uint32_t partition);

/* "dropped", "missing", "damaged", "lost". */
const char *cli_skip_name(seg_skip_why why);
/* Say it in a line. */
void cli_skip_note(const seg_skip *skip);

#endif
