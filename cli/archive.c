/* archive.c - see archive.h. The only file of the command that knows a compressor: dumps are compressed
 * by the command, and batches by the library, which shows nobody how. */
#include "archive.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "buf.h"
#include "cli.h"
#include "signals.h"

enum {
    WRITE_SIZE = 1 << 20, /* of plain text, written at once */
    FRAME_SIZE = 4 << 20, /* of plain text in a frame: what an interrupted dump has to do again */
    READ_SIZE = 1 << 18
};
/* The longest message (64 MiB of key, value and headers) with every byte escaped, and its place. */
static const size_t line_max = (size_t)6 * ((64 << 20) + 65536) + 65536;

struct cli_archive {
    int fd;
    bool zstd, known; /* known: that it is, from the first bytes */
    /* Writing: what was not written yet. Reading: what was read, and decompressed; returned up to
     * `start`, without a newline up to `scanned`. */
    cli_buf text;
    size_t start, scanned;
    uint64_t line;
    /* Compressed bytes: written next, or read and not yet decompressed from `used` on. */
    cli_buf packed;
    size_t used;
    ZSTD_CCtx *pack;
    ZSTD_DCtx *unpack;
    uint64_t consumed; /* bytes of the file that were read, but for those that wait in `packed` */
    bool within;       /* a frame has begun, and has not ended */
    bool at_end;
};

static cli_archive *archive_new(int fd) {
    cli_archive *a = cli_alloc(1, sizeof *a);
    a->fd = fd;
    return a;
}

void cli_archive_free(cli_archive *a) {
    if (a) {
        ZSTD_freeCCtx(a->pack);
        ZSTD_freeDCtx(a->unpack);
        cli_buf_fini(&a->text);
        cli_buf_fini(&a->packed);
        free(a);
    }
}

/* Wait until the descriptor is ready, or a signal comes (false, EINTR). */
static bool wait_ready(const cli_archive *a, short events) {
    struct pollfd fds[] = {{.fd = a->fd, .events = events},
                           {.fd = cli_signal_fd(), .events = POLLIN}};
    for (;;) {
        if (cli_signal_caught()) {
            errno = EINTR;
            return false;
        }
        int n = poll(fds, 2, -1);
        if (n < 0 && errno != EINTR) {
            return false;
        }
        if (n > 0 && fds[0].revents) {
            return true;
        }
    }
}

/* ---- Writing --------------------------------------------------------------------------------- */

cli_archive *cli_archive_write(int fd, bool zstd) {
    cli_archive *a = archive_new(fd);
    a->zstd = zstd;
    if (zstd) {
        a->pack = ZSTD_createCCtx();
        if (!a->pack) {
            fputs("segmenter: out of memory\n", stderr);
            exit(CLI_FAILURE);
        }
        ZSTD_CCtx_setParameter(a->pack, ZSTD_c_checksumFlag, 1);
    }
    return a;
}

static bool write_all(cli_archive *a, const char *data, size_t len) {
    while (len > 0) {
        ssize_t n = write(a->fd, data, len);
        if (n < 0 && errno != EINTR && errno != EAGAIN) {
            return false;
        }
        if (n < 0 && !wait_ready(a, POLLOUT)) {
            return false;
        }
        data += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
    return true;
}

bool cli_archive_flush(cli_archive *a) {
    size_t len = a->text.len;
    const char *data = a->text.data;
    if (len == 0) {
        return true;
    }
    if (a->zstd) {
        size_t bound = ZSTD_compressBound(len);
        a->packed.len = 0;
        len = ZSTD_compress2(a->pack, cli_buf_room(&a->packed, bound), bound, data, len);
        if (ZSTD_isError(len)) {
            errno = ENOMEM;
            return false;
        }
        data = a->packed.data;
    }
    a->text.len = 0;
    return write_all(a, data, len);
}

bool cli_archive_put(cli_archive *a, seg_bytes line) {
    cli_buf_add(&a->text, line.data, line.len);
    return a->text.len < (a->zstd ? FRAME_SIZE : WRITE_SIZE) || cli_archive_flush(a);
}

/* ---- Reading --------------------------------------------------------------------------------- */

cli_archive *cli_archive_read(int fd) {
    return archive_new(fd);
}

static void make_room(cli_buf *b, size_t *start, size_t more) {
    if (*start > 0) {
        memmove(b->data, b->data + *start, b->len - *start);
        b->len -= *start;
        *start = 0;
    }
    cli_buf_room(b, more);
}

/* Read some into `b`. */
static cli_archived fill(cli_archive *a, cli_buf *b) {
    if (!wait_ready(a, POLLIN)) {
        return errno == EINTR ? CLI_ARCHIVED_INTERRUPT : CLI_ARCHIVED_ERROR;
    }
    ssize_t n = read(a->fd, b->data + b->len, READ_SIZE);
    if (n < 0) {
        return errno == EINTR || errno == EAGAIN ? CLI_ARCHIVED_LINE : CLI_ARCHIVED_ERROR;
    }
    b->len += (size_t)n;
    a->at_end = n == 0;
    return CLI_ARCHIVED_LINE;
}

/* A frame of zstd begins with these bytes; a line of JSON does not. One that is cut before them is
 * taken as text, and is no whole line of it either. */
static cli_archived detect(cli_archive *a) {
    static const char magic[] = "\x28\xb5\x2f\xfd";
    while (a->packed.len < 4 && !a->at_end) {
        make_room(&a->packed, &a->used, READ_SIZE);
        cli_archived got = fill(a, &a->packed);
        if (got != CLI_ARCHIVED_LINE) {
            return got;
        }
    }
    a->known = true;
    a->zstd = a->packed.len >= 4 && memcmp(a->packed.data, magic, 4) == 0;
    if (!a->zstd) {
        cli_buf_add(&a->text, a->packed.data, a->packed.len);
        a->consumed = a->packed.len;
        return CLI_ARCHIVED_LINE;
    }
    a->unpack = ZSTD_createDCtx();
    if (!a->unpack) {
        fputs("segmenter: out of memory\n", stderr);
        exit(CLI_FAILURE);
    }
    return CLI_ARCHIVED_LINE;
}

/* Decompress some, at most up to the end of the frame: its last line must be known as that. */
static cli_archived unpack_some(cli_archive *a) {
    if (a->used == a->packed.len && !a->at_end) {
        make_room(&a->packed, &a->used, READ_SIZE);
        cli_archived got = fill(a, &a->packed);
        if (got != CLI_ARCHIVED_LINE) {
            return got;
        }
    }
    ZSTD_inBuffer in = {a->packed.data, a->packed.len, a->used};
    ZSTD_outBuffer out = {a->text.data + a->text.len, READ_SIZE, 0};
    if (in.pos == in.size && !a->within) {
        return CLI_ARCHIVED_LINE; /* the end, between frames */
    }
    size_t left = ZSTD_decompressStream(a->unpack, &out, &in);
    if (ZSTD_isError(left)) {
        return CLI_ARCHIVED_DAMAGED;
    }
    if (a->at_end && in.pos == a->used && out.pos == 0) {
        return CLI_ARCHIVED_TORN;
    }
    a->within = left != 0;
    a->consumed += in.pos - a->used;
    a->used = in.pos;
    a->text.len += out.pos;
    return CLI_ARCHIVED_LINE;
}

static cli_archived read_some(cli_archive *a) {
    if (!a->known) {
        cli_archived got = detect(a);
        if (got != CLI_ARCHIVED_LINE) {
            return got;
        }
        if (a->text.len > 0) {
            return CLI_ARCHIVED_LINE;
        }
    }
    a->scanned -= a->start;
    make_room(&a->text, &a->start, READ_SIZE);
    if (a->zstd) {
        return unpack_some(a);
    }
    size_t before = a->text.len;
    cli_archived got = fill(a, &a->text);
    a->consumed += a->text.len - before;
    return got;
}

static bool exhausted(const cli_archive *a) {
    return a->known && a->at_end && (!a->zstd || (a->used == a->packed.len && !a->within));
}

cli_archived cli_archive_next(cli_archive *a, seg_bytes *line) {
    for (;;) {
        size_t rest = a->text.len - a->scanned;
        const char *newline = rest ? memchr(a->text.data + a->scanned, '\n', rest) : NULL;
        if (newline) {
            size_t end = (size_t)(newline - a->text.data);
            *line = (seg_bytes){a->text.data + a->start, end - a->start};
            a->start = a->scanned = end + 1;
            a->line++;
            return CLI_ARCHIVED_LINE;
        }
        a->scanned = a->text.len;
        if (exhausted(a)) {
            return a->start < a->text.len ? CLI_ARCHIVED_TORN : CLI_ARCHIVED_END;
        }
        if (a->text.len - a->start > line_max) {
            return CLI_ARCHIVED_DAMAGED;
        }
        cli_archived got = read_some(a);
        if (got != CLI_ARCHIVED_LINE) {
            return got;
        }
    }
}

uint64_t cli_archive_line(const cli_archive *a) {
    return a->line;
}

bool cli_archive_cut(const cli_archive *a, uint64_t *at) {
    size_t unread = a->text.len - a->start;
    if (a->zstd && (unread > 0 || a->within)) {
        return false;
    }
    *at = a->consumed - (a->zstd ? 0 : unread);
    return true;
}

bool cli_archive_compressed(const cli_archive *a) {
    return a->zstd;
}

seg_bytes cli_archive_rest(const cli_archive *a) {
    return (seg_bytes){a->text.data ? a->text.data + a->start : "", a->text.len - a->start};
}
