/* out.c - one buffer and a mark: bytes are appended at its end, sent from the mark on, and moved to
 * the front only when at least half of it is behind the mark, so that each byte moves about once at
 * most. Slices lie between the buffer's bytes by their places in the stream:
 *
 *   stream   *6..XADD..$65000 | 65000 bytes | ..*1..EXEC..*6..XADD..$64990 | 64990 bytes | ..
 *   buf      *6..XADD..$65000                 ..*1..EXEC..*6..XADD..$64990                 .. */
#include "redis/out.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/alloc.h"

#define CEILING     ((size_t)1 << 30)
#define HEAD_MAX    24                /* "*18446744073709551615\r\n" and its like */
#define MOVE_MIN    (256 * 1024)      /* less behind the mark is not worth a move */
#define SEND_BUDGET (4 * 1024 * 1024) /* for one call: reading must get its turn */
#define SMALL       (1024 * 1024)     /* memory below this is kept */
#define SHRINK_MS   10000             /* larger memory is kept while it was used so lately */
#define SLICE_MIN   4096              /* smaller ones are quicker copied than looked after */
#define PIECES      64                /* of one send */

void sg_out_init(sg_out *o) {
    *o = (sg_out){0};
    sg_buf_init(&o->buf, CEILING);
}

void sg_out_fini(sg_out *o) {
    sg_buf_fini(&o->buf);
    for (size_t i = o->first_slice; i < o->n_slices; i++)
        sg_free(o->slices[i].own);
    sg_free(o->slices);
    o->slices = NULL;
}

void sg_out_clear(sg_out *o) {
    sg_out_fini(o);
    sg_out_init(o);
}

/* "<kind><n>\r\n"; there is room. */
static void put_head(sg_out *o, char kind, size_t n) {
    sg_buf *b = &o->buf;
    char digits[HEAD_MAX];
    size_t at = sizeof digits;
    digits[--at] = '\n';
    digits[--at] = '\r';
    do {
        digits[--at] = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    digits[--at] = kind;
    memcpy(b->data + b->len, digits + at, sizeof digits - at);
    b->len += sizeof digits - at;
    o->end += sizeof digits - at;
}

static void put_end(sg_out *o) {
    memcpy(o->buf.data + o->buf.len, "\r\n", 2);
    o->buf.len += 2;
    o->end += 2;
}

bool sg_out_command(sg_out *o, size_t argc) {
    if (!sg_buf_reserve(&o->buf, HEAD_MAX))
        return false;
    put_head(o, '*', argc);
    return true;
}

static bool too_much(const sg_out *o, size_t len) {
    return len > CEILING || sg_out_unsent(o) > CEILING - len;
}

bool sg_out_arg(sg_out *o, const void *data, size_t len) {
    if (too_much(o, len) || !sg_buf_reserve(&o->buf, HEAD_MAX + len + 2))
        return false;
    put_head(o, '$', len);
    if (len > 0)
        memcpy(o->buf.data + o->buf.len, data, len);
    o->buf.len += len;
    o->end += len;
    put_end(o);
    return true;
}

static bool room_for_slice(sg_out *o) {
    if (o->n_slices < o->slices_room)
        return true;
    if (o->first_slice > 0 && o->first_slice >= o->n_slices / 2) {
        o->n_slices -= o->first_slice;
        memmove(o->slices, o->slices + o->first_slice, o->n_slices * sizeof *o->slices);
        o->first_slice = 0;
        return true;
    }
    size_t room = o->slices_room == 0 ? 16 : 2 * o->slices_room;
    sg_slice *slices = sg_reallocarray(o->slices, room, sizeof *slices);
    if (slices == NULL)
        return false;
    o->slices = slices;
    o->slices_room = room;
    return true;
}

bool sg_out_arg_there(sg_out *o, const void *data, size_t len) {
    if (len < SLICE_MIN)
        return sg_out_arg(o, data, len);
    if (too_much(o, len) || !room_for_slice(o) || !sg_buf_reserve(&o->buf, HEAD_MAX + 2))
        return false;
    put_head(o, '$', len);
    o->slices[o->n_slices++] = (sg_slice){o->end, data, len, NULL};
    o->end += len;
    put_end(o);
    return true;
}

bool sg_out_keep(sg_out *o, uint64_t end) {
    for (size_t i = o->first_slice; i < o->n_slices && o->slices[i].at < end; i++) {
        sg_slice *s = &o->slices[i];
        if (s->own == NULL && (s->own = sg_memdup(s->data, s->len)) == NULL)
            return false;
        s->data = s->own;
    }
    return true;
}

uint64_t sg_out_end(const sg_out *o) {
    return o->end;
}

/* `end` is the beginning of a command, so it lies in no slice. */
void sg_out_rewind(sg_out *o, uint64_t end) {
    uint64_t sliced = 0;
    while (o->n_slices > o->first_slice && o->slices[o->n_slices - 1].at >= end)
        sliced += o->slices[--o->n_slices].len;
    o->buf.len -= (size_t)(o->end - end - sliced);
    o->end = end;
}

size_t sg_out_unsent(const sg_out *o) {
    return (size_t)(o->end - o->total);
}

static void tidy(sg_out *o, int64_t now) {
    if (o->buf.len > o->buf.cap / 4)
        o->big_at = now;
    if (o->sent == o->buf.len) {
        o->sent = 0;
        sg_buf_clear(&o->buf);
        if (o->buf.cap > SMALL && now - o->big_at > SHRINK_MS)
            sg_buf_fini(&o->buf);
    } else if (o->sent >= MOVE_MIN && o->sent >= o->buf.len / 2) {
        sg_buf_drop(&o->buf, o->sent);
        o->sent = 0;
    }
    if (o->first_slice == o->n_slices)
        o->first_slice = o->n_slices = 0;
}

/* The next pieces of the stream, `budget` bytes at most. */
static size_t next_pieces(const sg_out *o, struct iovec *pieces, size_t budget) {
    size_t n = 0, in_buf = o->sent, slice = o->first_slice;
    uint64_t at = o->total;
    while (n < PIECES && at < o->end && budget > 0) {
        const sg_slice *s = slice < o->n_slices ? &o->slices[slice] : NULL;
        const uint8_t *from;
        uint64_t len;
        if (s != NULL && s->at <= at) {
            from = s->data + (at - s->at);
            len = s->at + s->len - at;
            slice++;
        } else {
            from = o->buf.data + in_buf;
            len = (s != NULL ? s->at : o->end) - at;
            in_buf += (size_t)len;
        }
        len = len < budget ? len : budget;
        pieces[n++] = (struct iovec){(void *)(uintptr_t)from, (size_t)len};
        at += len;
        budget -= (size_t)len;
    }
    return n;
}

/* The socket took so many bytes. */
static void advance(sg_out *o, size_t done) {
    uint64_t to = o->total + done;
    while (o->total < to) {
        const sg_slice *s = o->first_slice < o->n_slices ? &o->slices[o->first_slice] : NULL;
        if (s != NULL && s->at <= o->total) {
            uint64_t over = s->at + s->len;
            o->total = over < to ? over : to;
            if (o->total == over) {
                sg_free(s->own);
                o->first_slice++;
            }
        } else {
            uint64_t stop = s != NULL && s->at < to ? s->at : to;
            o->sent += (size_t)(stop - o->total);
            o->total = stop;
        }
    }
}

int sg_out_send(sg_out *o, int fd, int64_t now) {
    int error = 0;
    size_t budget = SEND_BUDGET;
    while (sg_out_unsent(o) > 0 && budget > 0) {
        struct iovec pieces[PIECES];
        struct msghdr m = {.msg_iov = pieces};
        m.msg_iovlen = next_pieces(o, pieces, budget);
        ssize_t done = sendmsg(fd, &m, MSG_NOSIGNAL);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0) {
            error = errno == EAGAIN || errno == EWOULDBLOCK ? 0 : errno;
            break;
        }
        advance(o, (size_t)done);
        budget -= (size_t)done;
    }
    tidy(o, now);
    return error;
}
