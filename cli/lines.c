/* lines.c - see lines.h. */
#include "lines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

enum { READ_SIZE = 65536 };

void cli_lines_init(cli_lines *l, int fd, size_t limit) {
    *l = (cli_lines){.fd = fd, .limit = limit};
}

void cli_lines_fini(cli_lines *l) {
    free(l->buffer);
    l->buffer = NULL;
}

static cli_line take(cli_lines *l, size_t len, size_t newline, seg_bytes *line) {
    l->number++;
    if (len > l->limit) {
        return CLI_LINE_TOO_LONG;
    }
    *line = (seg_bytes){l->buffer + l->start, len};
    l->start += len + newline;
    l->scanned = l->start;
    return CLI_LINE_READY;
}

cli_line cli_lines_next(cli_lines *l, seg_bytes *line) {
    /* `scanned` remembers how far there is no newline, so a long line is looked through once. */
    size_t rest = l->end - l->scanned;
    const char *newline = rest ? memchr(l->buffer + l->scanned, '\n', rest) : NULL;
    if (newline) {
        return take(l, (size_t)(newline - l->buffer) - l->start, 1, line);
    }
    l->scanned = l->end;
    size_t len = l->end - l->start;
    if (len > l->limit) {
        l->number++;
        return CLI_LINE_TOO_LONG;
    }
    if (l->error) {
        return CLI_LINE_ERROR;
    }
    if (!l->at_end) {
        return CLI_LINE_MORE;
    }
    return len ? take(l, len, 0, line) : CLI_LINE_END;
}

static void make_room(cli_lines *l) {
    if (l->start > 0) {
        memmove(l->buffer, l->buffer + l->start, l->end - l->start);
        l->end -= l->start;
        l->scanned -= l->start;
        l->start = 0;
    }
    if (l->capacity - l->end < READ_SIZE) {
        l->capacity = l->capacity < READ_SIZE ? 2 * READ_SIZE : 2 * l->capacity;
        l->buffer = cli_grow(l->buffer, l->capacity, 1);
    }
}

void cli_lines_fill(cli_lines *l) {
    make_room(l);
    ssize_t n = read(l->fd, l->buffer + l->end, l->capacity - l->end);
    if (n > 0) {
        l->end += (size_t)n;
    } else if (n == 0) {
        l->at_end = 1;
    } else if (errno != EINTR && errno != EAGAIN) {
        l->error = errno;
    }
}
