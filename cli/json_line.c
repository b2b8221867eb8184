/* json_line.c - see json_line.h. */
#include "json_line.h"

#include <stdlib.h>
#include <string.h>

#include "base64.h"

/* What stands for a byte within a string: 0 itself, 1 a part of a longer character, 'u' \u00XX,
 * otherwise a backslash and this. */
static char escape_of(unsigned char c) {
    switch (c) {
    case '"':
    case '\\':
        return (char)c;
    case '\b':
        return 'b';
    case '\f':
        return 'f';
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    default:
        return c < 0x20 ? 'u' : c < 0x80 ? 0 : 1;
    }
}

size_t cli_utf8_wide(const unsigned char *at, size_t left) {
    size_t len = at[0] < 0xc2 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : at[0] < 0xf5 ? 4 : 0;
    if (len == 0 || len > left) {
        return 0;
    }
    for (size_t i = 1; i < len; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    /* Longer than needed, surrogates, past U+10FFFF. */
    if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f) ||
        (at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f)) {
        return 0;
    }
    return len;
}

/* Most bytes are themselves: they are copied as they are read, into room for the worst of them. */
bool cli_json_line_string(cli_buf *b, seg_bytes bytes) {
    static const char digits[] = "0123456789ABCDEF";
    const unsigned char *from = bytes.data;
    size_t left = bytes.len, wide;
    size_t most = left > SIZE_MAX / 8 ? SIZE_MAX : 6 * left + 2;
    char *start = cli_buf_room(b, most), *to = start;
    *to++ = '"';
    while (left > 0) {
        char escape = escape_of(*from);
        size_t step = 1;
        if (escape == 0) {
            *to++ = (char)*from;
        } else if (escape == 1) {
            wide = cli_utf8_wide(from, left);
            if (wide == 0) {
                return false;
            }
            for (step = 0; step < wide; step++) {
                *to++ = (char)from[step];
            }
        } else {
            *to++ = '\\';
            *to++ = escape;
            if (escape == 'u') {
                *to++ = '0';
                *to++ = '0';
                *to++ = digits[*from >> 4];
                *to++ = digits[*from & 15];
            }
        }
        from += step;
        left -= step;
    }
    *to++ = '"';
    b->len += (size_t)(to - start);
    return true;
}

static void add_base64(cli_buf *b, seg_bytes bytes) {
    char *text = cli_base64_encode(bytes);
    cli_buf_text(b, "\"");
    cli_buf_text(b, text);
    cli_buf_text(b, "\"");
    free(text);
}

/* ,"name":"..." or ,"name_b64":"..." */
static void add_bytes(cli_buf *b, const char *name, seg_bytes bytes) {
    size_t before = b->len;
    cli_buf_text(b, ",\"");
    cli_buf_text(b, name);
    cli_buf_text(b, "\":");
    if (!cli_json_line_string(b, bytes)) {
        b->len = before;
        cli_buf_text(b, ",\"");
        cli_buf_text(b, name);
        cli_buf_text(b, "_b64\":");
        add_base64(b, bytes);
    }
}

static void add_part(cli_buf *b, seg_bytes bytes) {
    if (!cli_json_line_string(b, bytes)) {
        cli_buf_text(b, "{\"b64\":");
        add_base64(b, bytes);
        cli_buf_text(b, "}");
    }
}

static void add_headers(cli_buf *b, const seg_message *m) {
    seg_bytes name, value;
    cli_buf_text(b, ",\"headers\":[");
    for (size_t i = 0; seg_message_header(m, i, &name, &value); i++) {
        cli_buf_text(b, i > 0 ? ",[" : "[");
        add_part(b, name);
        cli_buf_text(b, ",");
        add_part(b, value);
        cli_buf_text(b, "]");
    }
    cli_buf_text(b, "]");
}

static void add_number(cli_buf *b, const char *before, uint64_t value) {
    cli_buf_text(b, before);
    cli_buf_unsigned(b, value);
}

static void add_name(cli_buf *b, const char *before, const char *name) {
    cli_buf_text(b, before);
    if (!name || !cli_json_line_string(b, (seg_bytes){name, strlen(name)})) {
        cli_buf_text(b, "null");
    }
}

void cli_json_line(cli_buf *b, const seg_message *m, const cli_json_origin *origin) {
    seg_delivery d = seg_message_delivery(m);
    add_name(b, "{\"v\":1,\"stream\":", origin->stream);
    add_number(b, ",\"partition\":", d.partition);
    add_number(b, ",\"era\":", d.id.era);
    add_number(b, ",\"offset\":", d.id.offset);
    cli_buf_text(b, ",\"ts_ms\":");
    cli_buf_signed(b, seg_message_timestamp(m));
    add_bytes(b, "key", seg_message_key(m));
    add_bytes(b, "value", seg_message_value(m));
    add_headers(b, m);
    if (origin->group) {
        add_number(b, ",\"attempt\":", d.attempt);
        add_name(b, ",\"group\":", origin->group);
        add_name(b, ",\"member\":", origin->member);
        add_number(b, ",\"epoch\":", d.epoch);
    }
    cli_buf_text(b, "}\n");
}
