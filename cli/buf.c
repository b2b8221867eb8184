/* buf.c - see buf.h. */
#include "buf.h"

#include <stdlib.h>
#include <string.h>

#include "cli.h"

char *cli_buf_room(cli_buf *b, size_t more) {
    if (b->capacity - b->len < more) {
        size_t wanted = 2 * b->capacity > b->len + more ? 2 * b->capacity : b->len + more;
        b->capacity = wanted < 256 ? 256 : wanted;
        b->data = cli_grow(b->data, b->capacity, 1);
    }
    return b->data + b->len;
}

void cli_buf_add(cli_buf *b, const void *data, size_t len) {
    if (len > 0) {
        memcpy(cli_buf_room(b, len), data, len);
        b->len += len;
    }
}

void cli_buf_text(cli_buf *b, const char *text) {
    cli_buf_add(b, text, strlen(text));
}

void cli_buf_unsigned(cli_buf *b, uint64_t value) {
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    cli_buf_add(b, digits + at, sizeof digits - at);
}

void cli_buf_signed(cli_buf *b, int64_t value) {
    if (value < 0) {
        cli_buf_add(b, "-", 1);
    }
    cli_buf_unsigned(b, value < 0 ? -(uint64_t)value : (uint64_t)value);
}

seg_bytes cli_buf_bytes(const cli_buf *b) {
    return (seg_bytes){b->data, b->len};
}

void cli_buf_fini(cli_buf *b) {
    free(b->data);
    *b = (cli_buf){0};
}
