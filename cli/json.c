/* json.c - see json.h. */
#include "json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base64.h"
#include "cli.h"
#include "json_line.h"

static json_t *must(json_t *value) {
    if (!value) {
        cli_no_memory();
    }
    return value;
}

void cli_json_add(json_t *object, const char *name, json_t *value) {
    if (json_object_set_new_nocheck(object, name, must(value)) != 0) {
        must(NULL);
    }
}

void cli_json_number(json_t *object, const char *name, uint64_t value) {
    cli_json_add(object, name,
                 value != SEG_UNKNOWN ? json_integer((json_int_t)value) : json_null());
}

void cli_json_real(json_t *object, const char *name, double value) {
    cli_json_add(object, name, json_real(value));
}

void cli_json_span(json_t *object, const char *name, int64_t ms) {
    cli_json_add(object, name, ms < 0 ? json_null() : json_integer(ms));
}

void cli_json_rate(json_t *object, const char *name, double value) {
    cli_json_add(object, name, isfinite(value) ? json_real(value) : json_null());
}

void cli_json_text(json_t *object, const char *name, const char *text) {
    json_t *value = text ? json_string(text) : NULL; /* NULL also where it is not UTF-8 */
    cli_json_add(object, name, value ? value : json_null());
}

json_t *cli_json_object(void) {
    json_t *object = must(json_object());
    cli_json_number(object, "v", 1);
    return object;
}

void cli_json_print(FILE *out, json_t *object) {
    /* A failed write stays in the FILE's error flag, which every caller checks in the end. */
    json_dumpf(object, out, JSON_COMPACT | JSON_REAL_PRECISION(6));
    fputc('\n', out);
    json_decref(object);
}

/* ---- Writing messages ------------------------------------------------------------------------ */

/* NULL where the bytes are not UTF-8. */
static json_t *text_of(seg_bytes bytes) {
    return json_stringn(bytes.len ? bytes.data : "", bytes.len);
}

static json_t *base64_of(seg_bytes bytes) {
    char *encoded = cli_base64_encode(bytes);
    json_t *text = must(json_string(encoded));
    free(encoded);
    return text;
}

void cli_json_bytes(json_t *object, const char *name, seg_bytes bytes) {
    json_t *text = text_of(bytes);
    if (text) {
        cli_json_add(object, name, text);
    } else {
        char *other = cli_format("%s_b64", name);
        cli_json_add(object, other, base64_of(bytes));
        free(other);
    }
}

/* In a header each of name and value is a string or {"b64":"..."}. */
static json_t *header_part(seg_bytes bytes) {
    json_t *text = text_of(bytes);
    if (text) {
        return text;
    }
    json_t *object = must(json_object());
    cli_json_add(object, "b64", base64_of(bytes));
    return object;
}

static json_t *headers_of(const seg_message *m) {
    json_t *headers = must(json_array());
    seg_bytes name, value;
    for (size_t i = 0; seg_message_header(m, i, &name, &value); i++) {
        json_t *pair = must(json_array());
        json_array_append_new(pair, header_part(name));
        json_array_append_new(pair, header_part(value));
        json_array_append_new(headers, pair);
    }
    return headers;
}

void cli_json_key(json_t *object, const seg_message *m) {
    cli_json_bytes(object, "key", seg_message_key(m));
}

void cli_json_content(json_t *object, const seg_message *m) {
    cli_json_add(object, "ts_ms", json_integer(seg_message_timestamp(m)));
    cli_json_key(object, m);
    cli_json_bytes(object, "value", seg_message_value(m));
    cli_json_add(object, "headers", headers_of(m));
}

void cli_json_message(FILE *out, const seg_message *m, const cli_json_origin *origin) {
    cli_buf line = {0};
    cli_json_line(&line, m, origin);
    fwrite(line.data, 1, line.len, out);
    cli_buf_fini(&line);
}

/* ---- Reading messages ------------------------------------------------------------------------ */

static bool decode(cli_json_record *r, const json_t *text, seg_bytes *out) {
    if (!json_is_string(text) ||
        !cli_base64_decode(json_string_value(text), json_string_length(text), out)) {
        return false;
    }
    r->decoded = cli_grow(r->decoded, r->n_decoded + 1, sizeof *r->decoded);
    r->decoded[r->n_decoded++] = (void *)(uintptr_t)out->data;
    return true;
}

static bool plain(const json_t *value, seg_bytes *out) {
    if (!json_is_string(value)) {
        return false;
    }
    *out = (seg_bytes){json_string_value(value), json_string_length(value)};
    return true;
}

/* The field `name` or `name_b64`; neither, or null, is empty. */
static bool read_bytes(cli_json_record *r, const char *name, const char *name_b64, seg_bytes *out,
                       char fault[256]) {
    const json_t *text = json_object_get(r->root, name);
    const json_t *encoded = json_object_get(r->root, name_b64);
    if (text && encoded) {
        snprintf(fault, 256, "both \"%s\" and \"%s\" are given", name, name_b64);
        return false;
    }
    if (encoded) {
        if (!decode(r, encoded, out)) {
            snprintf(fault, 256, "\"%s\" is not a base64 string", name_b64);
            return false;
        }
    } else if (text && !json_is_null(text) && !plain(text, out)) {
        snprintf(fault, 256, "\"%s\" is not a string", name);
        return false;
    }
    return true;
}

static bool read_header_part(cli_json_record *r, const json_t *part, seg_bytes *out) {
    return json_is_object(part) ? decode(r, json_object_get(part, "b64"), out) : plain(part, out);
}

static bool read_headers(cli_json_record *r, const seg_bytes *extra, size_t n_extra,
                         char fault[256]) {
    const json_t *headers = json_object_get(r->root, "headers");
    if (headers && !json_is_array(headers) && !json_is_null(headers)) {
        snprintf(fault, 256, "\"headers\" is not an array of [name, value] pairs");
        return false;
    }
    size_t n = json_array_size(headers);
    if (n + n_extra == 0) {
        return true;
    }
    r->headers = cli_alloc(n + n_extra, 2 * sizeof *r->headers);
    for (size_t i = 0; i < n; i++) {
        const json_t *pair = json_array_get(headers, i);
        if (json_array_size(pair) != 2 ||
            !read_header_part(r, json_array_get(pair, 0), &r->headers[2 * i]) ||
            !read_header_part(r, json_array_get(pair, 1), &r->headers[2 * i + 1])) {
            snprintf(fault, 256,
                     "header %zu is not a pair of strings or of {\"b64\": base64} objects", i + 1);
            return false;
        }
    }
    if (n_extra) {
        memcpy(r->headers + 2 * n, extra, 2 * n_extra * sizeof *extra);
    }
    r->record.headers = r->headers;
    r->record.n_headers = n + n_extra;
    return true;
}

static bool read_timestamp(cli_json_record *r, char fault[256]) {
    const json_t *ts = json_object_get(r->root, "ts_ms");
    if (ts && !json_is_null(ts)) {
        if (!json_is_integer(ts)) {
            snprintf(fault, 256, "\"ts_ms\" is not an integer");
            return false;
        }
        r->record.timestamp = json_integer_value(ts);
    }
    return true;
}

static bool read_version(const cli_json_record *r, char fault[256]) {
    const json_t *version = json_object_get(r->root, "v");
    if (version && json_integer_value(version) != 1) {
        snprintf(fault, 256, "\"v\" is not 1, the version of the format that this command reads");
        return false;
    }
    return true;
}

bool cli_json_record_read(cli_json_record *r, seg_bytes line, const seg_bytes *extra,
                          size_t n_extra, char fault[256]) {
    *r = (cli_json_record){0};
    SEG_INIT(&r->record);
    json_error_t error;
    r->root = json_loadb(line.len ? line.data : "", line.len,
                         JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &error);
    if (!r->root) {
        snprintf(fault, 256, "not a JSON object: %.160s, at byte %d", error.text, error.position);
        return false;
    }
    if (!json_is_object(r->root)) {
        snprintf(fault, 256, "not a JSON object");
    } else if (read_version(r, fault) && read_bytes(r, "key", "key_b64", &r->record.key, fault) &&
               read_bytes(r, "value", "value_b64", &r->record.value, fault) &&
               read_headers(r, extra, n_extra, fault) && read_timestamp(r, fault)) {
        return true;
    }
    cli_json_record_fini(r);
    return false;
}

void cli_json_record_fini(cli_json_record *r) {
    json_decref(r->root);
    free(r->headers);
    for (size_t i = 0; i < r->n_decoded; i++) {
        free(r->decoded[i]);
    }
    free(r->decoded);
    *r = (cli_json_record){0};
}
