/* lines.h - lines of any bytes from a descriptor, without ever blocking between them. */
#ifndef SEGMENTER_CLI_LINES_H
#define SEGMENTER_CLI_LINES_H
#include <stddef.h>
#include <stdint.h>

#include <segmenter/segmenter.h>

typedef struct cli_lines {
    int fd;          /* borrowed */
    size_t limit;    /* bytes of one line, without its newline */
    uint64_t number; /* of the line that was returned last; the first is 1 */
    int error;       /* errno of a failed read */
    char *buffer;
    size_t start, scanned, end, capacity;
    int at_end;
} cli_lines;

typedef enum cli_line {
    CLI_LINE_READY,    /* one line, without its newline; borrowed until the next call */
    CLI_LINE_MORE,     /* wait until the descriptor is readable, then cli_lines_fill() */
    CLI_LINE_END,      /* all were returned */
    CLI_LINE_TOO_LONG, /* line `number` is longer than the limit */
    CLI_LINE_ERROR     /* a read failed: `error` */
} cli_line;

void cli_lines_init(cli_lines *l, int fd, size_t limit);
void cli_lines_fini(cli_lines *l);

/* The next line of what was read so far. The last line needs no newline. */
cli_line cli_lines_next(cli_lines *l, seg_bytes *line);

/* One read(2). */
void cli_lines_fill(cli_lines *l);

#endif
