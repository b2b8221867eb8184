/* json_scan.c - see json_scan.h. */
#include "json_scan.h"

#include <stdlib.h>
#include <string.h>

#include "base64.h"
#include "cli.h"
#include "json_line.h"

typedef struct walk {
    const unsigned char *at, *end;
    cli_buf *text; /* decoded; with room for all of it, so that it never moves */
} walk;

static bool expect(walk *w, const char *text) {
    size_t len = strlen(text);
    if ((size_t)(w->end - w->at) < len || memcmp(w->at, text, len) != 0) {
        return false;
    }
    w->at += len;
    return true;
}

static bool next_is(walk *w, char c) {
    if (w->at == w->end || *w->at != (unsigned char)c) {
        return false;
    }
    w->at++;
    return true;
}

/* At most `max`, without zeros before it. */
static bool number(walk *w, uint64_t max, uint64_t *out) {
    const unsigned char *start = w->at;
    uint64_t value = 0;
    for (; w->at < w->end && *w->at >= '0' && *w->at <= '9'; w->at++) {
        uint64_t digit = (uint64_t)(*w->at - '0');
        if (value > (max - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
    }
    *out = value;
    return w->at > start && (*start != '0' || w->at - start == 1);
}

static bool signed_number(walk *w, int64_t *out) {
    bool negative = next_is(w, '-');
    uint64_t value;
    if (!number(w, (uint64_t)INT64_MAX + negative, &value) || (negative && value == 0)) {
        return false;
    }
    *out = negative ? -(int64_t)(value - 1) - 1 : (int64_t)value;
    return true;
}

/* What stands behind a backslash. */
static bool escape(walk *w, char **to) {
    static const char names[] = "\"\\bfnrt", values[] = "\"\\\b\f\n\r\t";
    if (w->at == w->end) {
        return false;
    }
    const char *name = *w->at ? strchr(names, *w->at) : NULL;
    if (name) {
        *(*to)++ = values[name - names];
        w->at++;
        return true;
    }
    static const char digits[] = "0123456789ABCDEF";
    if (!expect(w, "u00") || w->end - w->at < 2 || w->at[0] > '1' || w->at[0] < '0') {
        return false;
    }
    const char *digit = w->at[1] ? strchr(digits, w->at[1]) : NULL;
    if (!digit) {
        return false;
    }
    *(*to)++ = (char)(16 * (w->at[0] - '0') + (digit - digits));
    w->at += 2;
    return true;
}

static bool string(walk *w, seg_bytes *out) {
    char *start = w->text->data + w->text->len, *to = start;
    if (!next_is(w, '"')) {
        return false;
    }
    while (w->at < w->end && *w->at != '"') {
        unsigned char c = *w->at;
        if (c == '\\') {
            w->at++;
            if (!escape(w, &to)) {
                return false;
            }
            continue;
        }
        size_t len = c < 0x20 ? 0 : c < 0x80 ? 1 : cli_utf8_wide(w->at, (size_t)(w->end - w->at));
        if (len == 0) {
            return false;
        }
        for (size_t i = 0; i < len; i++) {
            *to++ = (char)*w->at++;
        }
    }
    *out = (seg_bytes){start, (size_t)(to - start)};
    w->text->len += out->len;
    return next_is(w, '"');
}

static bool base64(walk *w, seg_bytes *out) {
    seg_bytes text, decoded;
    if (!string(w, &text) || !cli_base64_decode(text.data, text.len, &decoded)) {
        return false;
    }
    char *to = w->text->data + w->text->len - text.len; /* in its place: it is shorter */
    if (decoded.len > 0) {
        memcpy(to, decoded.data, decoded.len);
    }
    free((void *)(uintptr_t)decoded.data);
    w->text->len -= text.len - decoded.len;
    *out = (seg_bytes){to, decoded.len};
    return true;
}

/* Behind the field's name: ":"text" or _b64":"base64" */
static bool field(walk *w, seg_bytes *out) {
    return expect(w, "_b64\":") ? base64(w, out) : expect(w, "\":") && string(w, out);
}

static bool header_part(walk *w, seg_bytes *out) {
    return expect(w, "{\"b64\":") ? base64(w, out) && next_is(w, '}') : string(w, out);
}

static bool headers(walk *w, cli_json_scan *s) {
    size_t n = 0;
    if (!next_is(w, ']')) {
        do {
            if (2 * n + 2 > s->headers_room) {
                s->headers_room = 2 * s->headers_room + 8;
                s->headers = cli_grow(s->headers, s->headers_room, sizeof *s->headers);
            }
            if (!next_is(w, '[') || !header_part(w, &s->headers[2 * n]) || !next_is(w, ',') ||
                !header_part(w, &s->headers[2 * n + 1]) || !next_is(w, ']')) {
                return false;
            }
            n++;
        } while (next_is(w, ','));
        if (!next_is(w, ']')) {
            return false;
        }
    }
    s->record.headers = s->headers;
    s->record.n_headers = n;
    return true;
}

bool cli_json_scan_line(cli_json_scan *s, seg_bytes line) {
    walk w = {.at = line.len ? line.data : (const unsigned char *)"", .text = &s->text};
    seg_bytes stream;
    w.end = w.at + line.len;
    s->text.len = 0;
    cli_buf_room(&s->text, line.len);
    SEG_INIT(&s->record);
    return expect(&w, "{\"v\":1,\"stream\":") && string(&w, &stream) &&
           expect(&w, ",\"partition\":") && number(&w, INT64_MAX, &s->partition) &&
           expect(&w, ",\"era\":") && number(&w, INT64_MAX, &s->era) &&
           expect(&w, ",\"offset\":") && number(&w, INT64_MAX, &s->offset) &&
           expect(&w, ",\"ts_ms\":") && signed_number(&w, &s->record.timestamp) &&
           expect(&w, ",\"key") && field(&w, &s->record.key) && expect(&w, ",\"value") &&
           field(&w, &s->record.value) && expect(&w, ",\"headers\":[") && headers(&w, s) &&
           expect(&w, "}") && w.at == w.end;
}

void cli_json_scan_fini(cli_json_scan *s) {
    free(s->headers);
    cli_buf_fini(&s->text);
    *s = (cli_json_scan){0};
}
