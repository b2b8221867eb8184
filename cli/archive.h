/* archive.h - a file of lines, plain or compressed with zstd, which is written so that it can be cut
 * anywhere and continued: compressed, it is a row of frames, each of whole lines and independent of the
 * others. Any zstd reads it (zstdcat), and what any zstd wrote is read.
 *
 * A descriptor is the caller's, and is written and read from where it stands. */
#ifndef SEGMENTER_CLI_ARCHIVE_H
#define SEGMENTER_CLI_ARCHIVE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <segmenter/segmenter.h>

typedef struct cli_archive cli_archive;

/* ---- Writing --------------------------------------------------------------------------------- */

cli_archive *cli_archive_write(int fd, bool zstd);
/* Add a line, with its newline. It is written later, with others. False: a write failed (errno), or a
 * signal came while it waited (EINTR). */
bool cli_archive_put(cli_archive *a, seg_bytes line);
/* Write all of it out; what follows begins a new frame. */
bool cli_archive_flush(cli_archive *a);

/* ---- Reading --------------------------------------------------------------------------------- */

typedef enum cli_archived {
    CLI_ARCHIVED_LINE,     /* one line, without its newline, borrowed until the next call */
    CLI_ARCHIVED_END,      /* all were returned */
    CLI_ARCHIVED_TORN,     /* it ends within a line or frame */
    CLI_ARCHIVED_DAMAGED,  /* it is not what zstd wrote, or a line is too long */
    CLI_ARCHIVED_ERROR,    /* a read failed (errno) */
    CLI_ARCHIVED_INTERRUPT /* a signal came */
} cli_archived;

/* Whether it is compressed, its first bytes tell. */
cli_archive *cli_archive_read(int fd);
cli_archived cli_archive_next(cli_archive *a, seg_bytes *line);
/* The number of the line that was returned last; the first is 1. */
uint64_t cli_archive_line(const cli_archive *a);
/* May the file be cut behind the line that was returned last, and continued? Then `*at` is how many
 * bytes it would have. */
bool cli_archive_cut(const cli_archive *a, uint64_t *at);
bool cli_archive_compressed(const cli_archive *a);
/* What there is behind the last line, where it was torn. Borrowed. */
seg_bytes cli_archive_rest(const cli_archive *a);

void cli_archive_free(cli_archive *a);

#endif
