/* out.c - one buffer and a mark: bytes are appended at its end, sent from the mark on, and moved to
 * the front only when at least half of it is behind the mark, so that each byte moves about once at
 * most. */
#include "redis/out.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define CEILING     ((size_t)1 << 30)
#define HEAD_MAX    24                /* "*18446744073709551615\r\n" and its like */
#define MOVE_MIN    (256 * 1024)      /* less behind the mark is not worth a move */
#define SEND_BUDGET (4 * 1024 * 1024) /* for one call: reading must get its turn */
#define SMALL       (1024 * 1024)     /* memory below this is kept */
#define SHRINK_MS   10000             /* larger memory is kept while it was used so lately */

void sg_out_init(sg_out *o) {
    *o = (sg_out){0};
    sg_buf_init(&o->buf, CEILING);
}

void sg_out_fini(sg_out *o) {
    sg_buf_fini(&o->buf);
}

void sg_out_clear(sg_out *o) {
    sg_buf_fini(&o->buf);
    sg_out_init(o);
}

/* "<kind><n>\r\n"; there is room. */
static void put_head(sg_buf *b, char kind, size_t n) {
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
}

bool sg_out_command(sg_out *o, size_t argc) {
    if (!sg_buf_reserve(&o->buf, HEAD_MAX))
        return false;
    put_head(&o->buf, '*', argc);
    return true;
}

bool sg_out_arg(sg_out *o, const void *data, size_t len) {
    if (len > CEILING || !sg_buf_reserve(&o->buf, HEAD_MAX + len + 2))
        return false;
    put_head(&o->buf, '$', len);
    if (len > 0)
        memcpy(o->buf.data + o->buf.len, data, len);
    memcpy(o->buf.data + o->buf.len + len, "\r\n", 2);
    o->buf.len += len + 2;
    return true;
}

uint64_t sg_out_end(const sg_out *o) {
    return o->total + sg_out_unsent(o);
}

void sg_out_rewind(sg_out *o, uint64_t end) {
    o->buf.len = o->sent + (size_t)(end - o->total);
}

size_t sg_out_unsent(const sg_out *o) {
    return o->buf.len - o->sent;
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
}

int sg_out_send(sg_out *o, int fd, int64_t now) {
    int error = 0;
    size_t budget = SEND_BUDGET;
    while (sg_out_unsent(o) > 0 && budget > 0) {
        size_t n = sg_out_unsent(o) < budget ? sg_out_unsent(o) : budget;
        ssize_t done = send(fd, o->buf.data + o->sent, n, MSG_NOSIGNAL);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0) {
            error = errno == EAGAIN || errno == EWOULDBLOCK ? 0 : errno;
            break;
        }
        o->sent += (size_t)done;
        o->total += (uint64_t)done;
        budget -= (size_t)done;
    }
    tidy(o, now);
    return error;
}
