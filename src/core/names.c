/* names.c - the only place that knows what keys look like. */
#include "core/names.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "core/error.h"

#define QUOTED_MAX 60

/* Not isalnum(): the locale has no say in what a name is. */
static bool is_name_byte(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

/* Length of the part from the start that a name may consist of. */
static size_t good_prefix(const char *name) {
    size_t n = 0;
    while (is_name_byte(name[n]))
        n++;
    return n;
}

bool sg_name_ok(const char *name) {
    if (name == NULL)
        return false;
    size_t n = good_prefix(name);
    return name[n] == '\0' && n >= 1 && n <= SG_NAME_MAX;
}

/* The fault of a byte that is not allowed, as it can be shown. */
static seg_status fail_byte(const char *what, const char *name, size_t len, size_t at,
                            seg_error *err) {
    int quoted = (int)sg_text_cut(name, len, QUOTED_MAX);
    const char *dots = len > QUOTED_MAX ? "..." : "";
    unsigned char c = (unsigned char)name[at];
    char shown[8];
    if (c > 0x20 && c < 0x7f)
        snprintf(shown, sizeof shown, "'%c'", c);
    else
        snprintf(shown, sizeof shown, "0x%02x", c);
    return sg_fail(err, SEG_EINVAL,
                   "%s name '%.*s%s' has %s at byte %zu: only A-Z a-z 0-9 . _ - are allowed", what,
                   quoted, name, dots, c == ' ' ? "a space" : shown, at + 1);
}

seg_status sg_name_check(const char *what, const char *name, seg_error *err) {
    if (sg_name_ok(name))
        return SEG_OK;
    if (name == NULL)
        return sg_fail(err, SEG_EINVAL, "%s name is missing (NULL)", what);
    size_t len = strlen(name);
    if (len == 0)
        return sg_fail(err, SEG_EINVAL, "%s name is empty: 1 to %d of A-Z a-z 0-9 . _ - expected",
                       what, SG_NAME_MAX);
    size_t good = good_prefix(name);
    if (good < len)
        return fail_byte(what, name, len, good, err);
    return sg_fail(err, SEG_EINVAL, "%s name '%.*s...' has %zu bytes: at most %d are allowed", what,
                   QUOTED_MAX, name, len, SG_NAME_MAX);
}

__attribute__((format(printf, 1, 2))) static sg_key make(const char *fmt, ...) {
    sg_key key;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(key.text, sizeof key.text, fmt, ap);
    va_end(ap);
    bool fits = n >= 0 && (size_t)n < sizeof key.text;
    key.len = fits ? (size_t)n : 0;
    key.text[key.len] = '\0';
    return key;
}

sg_key sg_key_streams(const char *ns) {
    return make("sg:{%s}:streams", ns);
}

sg_key sg_key_meta(const char *ns, const char *stream) {
    return make("sg:{%s/%s}:meta", ns, stream);
}

sg_key sg_key_groups(const char *ns, const char *stream) {
    return make("sg:{%s/%s}:groups", ns, stream);
}

sg_key sg_key_group(const char *ns, const char *stream, const char *group) {
    return make("sg:{%s/%s}:group:%s", ns, stream, group);
}

sg_key sg_key_leases(const char *ns, const char *stream, const char *group) {
    return make("sg:{%s/%s}:group:%s:leases", ns, stream, group);
}

sg_key sg_key_parts(const char *ns, const char *stream, const char *group) {
    return make("sg:{%s/%s}:group:%s:parts", ns, stream, group);
}

sg_key sg_key_log(const char *ns, const char *stream, uint32_t p) {
    return make("sg:{%s/%s/%u}:log", ns, stream, p);
}

sg_key sg_key_state(const char *ns, const char *stream, uint32_t p) {
    return make("sg:{%s/%s/%u}:state", ns, stream, p);
}

sg_key sg_key_cursors(const char *ns, const char *stream, uint32_t p) {
    return make("sg:{%s/%s/%u}:cursors", ns, stream, p);
}

sg_key sg_key_committed(const char *ns, const char *stream, uint32_t p) {
    return make("sg:{%s/%s/%u}:committed", ns, stream, p);
}

sg_key sg_key_forwards(const char *ns, const char *stream, uint32_t p) {
    return make("sg:{%s/%s/%u}:forwards", ns, stream, p);
}

sg_key sg_key_wake(const char *ns, const char *stream, const char *group, const char *member) {
    return make("sg:{%s/%s}:wake:%s:%s", ns, stream, group, member);
}

uint16_t sg_key_slot(const sg_key *key) {
    const char *at = strchr(key->text, '{');
    uint16_t crc = 0;
    /* Names have no braces, so the first pair is the tag; and it is never empty. */
    for (at = at != NULL ? at + 1 : ""; *at != '\0' && *at != '}'; at++) {
        crc = (uint16_t)(crc ^ (uint16_t)((unsigned char)*at << 8));
        for (int bit = 0; bit < 8; bit++)
            crc = (uint16_t)((crc & 0x8000) != 0 ? (crc << 1) ^ 0x1021 : crc << 1);
    }
    return crc % 16384;
}
