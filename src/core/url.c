/* url.c - no fault quotes more of the text than an unknown query key of unix://, which has no
 * password: who forgets the '@', or leaves a '/' in a password as it is, has the password where the
 * host, the port or the path is looked for. */
#include "core/url.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "core/error.h"

#define DEFAULT_PORT 6379
#define HOST_MAX     253 /* of a DNS name */
#define PATH_MAX_UN  107 /* of a unix socket, without its NUL */
#define DB_MAX       INT32_MAX
#define FORMS        "redis://[user[:password]@]host[:port][/db] or unix://[user[:password]@]/path[?db=n]"

/* A part of the text. */
typedef struct span {
    const char *at;
    size_t len;
} span;

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_alnum(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static int hex_value(char c) {
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Split at the first `c`: *s keeps what is before it, *rest gets what follows. */
static bool split(span *s, char c, span *rest) {
    const char *p = memchr(s->at, c, s->len);
    if (p == NULL)
        return false;
    size_t before = (size_t)(p - s->at);
    *rest = (span){p + 1, s->len - before - 1};
    s->len = before;
    return true;
}

/* A decimal number up to `max`: digits only, at least one. */
static bool parse_number(span s, uint32_t max, uint32_t *out) {
    uint64_t v = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (!is_digit(s.at[i]))
            return false;
        v = v * 10 + (uint64_t)(s.at[i] - '0');
        if (v > max)
            return false;
    }
    *out = (uint32_t)v;
    return s.len > 0;
}

/* The byte at the start of `s`, its %-escape decoded, and in `used` how much of `s` it took; -1
 * where an escape is malformed. */
static int decode_byte(span s, size_t *used) {
    *used = 1;
    if (s.at[0] != '%')
        return (unsigned char)s.at[0];
    int high = s.len > 2 ? hex_value(s.at[1]) : -1;
    int low = s.len > 2 ? hex_value(s.at[2]) : -1;
    *used = 3;
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

static void wipe_and_free(char *text, size_t len) {
    if (text != NULL)
        explicit_bzero(text, len);
    sg_free(text);
}

/* A new string of `s` with its %-escapes decoded; `what` names the part. */
static seg_status decode(char **out, span s, const char *what, seg_error *err) {
    char *text = sg_alloc(s.len + 1);
    if (text == NULL)
        return sg_fail_nomem(err);
    size_t n = 0;
    while (s.len > 0) {
        size_t used;
        int c = decode_byte(s, &used);
        if (c < 0x20 || c == 0x7f) {
            wipe_and_free(text, n);
            if (c < 0)
                return sg_fail(err, SEG_EINVAL,
                               "url's %s has a '%%' that two hex digits do not follow: write %%25 "
                               "for a '%%' itself",
                               what);
            return sg_fail(err, SEG_EINVAL, "url's %s has a control byte", what);
        }
        text[n++] = (char)c;
        s = (span){s.at + used, s.len - used};
    }
    text[n] = '\0';
    *out = text;
    return SEG_OK;
}

static seg_status parse_db(uint32_t *db, span s, seg_error *err) {
    if (!parse_number(s, DB_MAX, db))
        return sg_fail(err, SEG_EINVAL, "url's db is no number from 0 to %d", (int)DB_MAX);
    return SEG_OK;
}

/* ---- unix:// ------------------------------------------------------------------------------ */

static seg_status parse_unix_query(sg_url *u, span query, seg_error *err) {
    bool seen = false;
    for (bool more = true; more;) {
        span pair = query, value = {"", 0};
        more = split(&pair, '&', &query);
        split(&pair, '=', &value);
        if (pair.len != 2 || memcmp(pair.at, "db", 2) != 0)
            return sg_fail(err, SEG_EINVAL, "url's query key '%.*s' is unknown: only db=n is known",
                           (int)(pair.len < 40 ? pair.len : 40), pair.at);
        if (seen)
            return sg_fail(err, SEG_EINVAL, "url's db is given twice");
        seen = true;
        seg_status rc = parse_db(&u->db, value, err);
        if (rc != SEG_OK)
            return rc;
    }
    return SEG_OK;
}

/* user[:password]; an empty user, as in redis://:password@host, is none. */
static seg_status parse_user(sg_url *u, span s, seg_error *err) {
    span password;
    bool has_password = split(&s, ':', &password);
    if (s.len > 0) {
        seg_status rc = decode(&u->user, s, "user", err);
        if (rc != SEG_OK)
            return rc;
    }
    return has_password ? decode(&u->password, password, "password", err) : SEG_OK;
}

/* What stands before the path: nothing, or the user and an '@'. */
static seg_status parse_unix_user(sg_url *u, span *s, seg_error *err) {
    const char *slash = s->len > 0 ? memchr(s->at, '/', s->len) : NULL;
    size_t before = slash != NULL ? (size_t)(slash - s->at) : 0;
    if (slash == NULL || (before > 0 && slash[-1] != '@'))
        return sg_fail(err, SEG_EINVAL,
                       "url's socket path is not absolute: unix:///path (three slashes) or "
                       "unix://user:password@/path expected");
    span user = {s->at, before > 0 ? before - 1 : 0};
    *s = (span){slash, s->len - before};
    return before > 0 ? parse_user(u, user, err) : SEG_OK;
}

static seg_status parse_unix(sg_url *u, span s, seg_error *err) {
    seg_status status = parse_unix_user(u, &s, err);
    if (status != SEG_OK)
        return status;
    span query;
    bool has_query = split(&s, '?', &query);
    seg_status rc = decode(&u->path, s, "path", err);
    if (rc != SEG_OK)
        return rc;
    size_t len = strlen(u->path);
    if (len > PATH_MAX_UN)
        return sg_fail(err, SEG_EINVAL, "url's socket path has %zu bytes: at most %d are allowed",
                       len, PATH_MAX_UN);
    return has_query ? parse_unix_query(u, query, err) : SEG_OK;
}

/* ---- redis:// ----------------------------------------------------------------------------- */

static bool is_zone_byte(char c) {
    return is_alnum(c) || c == '.' || c == '_' || c == '-';
}

/* What stands between brackets: an IPv6 address, maybe with a zone ("fe80::1%25eth0"). */
static seg_status parse_ipv6(sg_url *u, span s, seg_error *err) {
    seg_status rc = decode(&u->host, s, "host", err);
    if (rc != SEG_OK)
        return rc;
    size_t len = strcspn(u->host, "%");
    const char *zone = u->host + len;
    bool zone_ok = *zone == '\0' || zone[1] != '\0';
    for (const char *z = zone; zone_ok && *z != '\0'; z++)
        zone_ok = z == zone || is_zone_byte(*z);
    char address[INET6_ADDRSTRLEN];
    struct in6_addr ignored;
    if (len < sizeof address) {
        memcpy(address, u->host, len);
        address[len] = '\0';
    }
    if (!zone_ok || len >= sizeof address || inet_pton(AF_INET6, address, &ignored) != 1)
        return sg_fail(err, SEG_EINVAL, "url's host in brackets is no IPv6 address");
    return SEG_OK;
}

static seg_status parse_host_name(sg_url *u, span s, seg_error *err) {
    if (s.len == 0)
        return sg_fail(err, SEG_EINVAL, "url has no host: " FORMS " expected");
    if (s.len > HOST_MAX)
        return sg_fail(err, SEG_EINVAL, "url's host has %zu bytes: at most %d are allowed", s.len,
                       HOST_MAX);
    for (size_t i = 0; i < s.len; i++)
        if (!is_zone_byte(s.at[i]))
            return sg_fail(err, SEG_EINVAL,
                           "url's host has a byte that is none of A-Z a-z 0-9 . _ -: %%-encode "
                           "what is special in user and password");
    return decode(&u->host, s, "host", err);
}

static seg_status parse_port(sg_url *u, span s, seg_error *err) {
    uint32_t port;
    if (!parse_number(s, UINT16_MAX, &port) || port == 0)
        return sg_fail(err, SEG_EINVAL, "url's port is no number from 1 to %d", (int)UINT16_MAX);
    u->port = (uint16_t)port;
    return SEG_OK;
}

static seg_status parse_host_port(sg_url *u, span s, seg_error *err) {
    span port = {"", 0};
    bool has_port;
    seg_status rc;
    if (s.len > 0 && s.at[0] == '[') {
        span address = {s.at + 1, s.len - 1}, after;
        if (!split(&address, ']', &after))
            return sg_fail(err, SEG_EINVAL, "url's host has '[' without ']'");
        has_port = after.len > 0;
        if (has_port && after.at[0] != ':')
            return sg_fail(err, SEG_EINVAL, "url's host goes on after ']': ':port' expected");
        port = has_port ? (span){after.at + 1, after.len - 1} : after;
        rc = parse_ipv6(u, address, err);
    } else {
        has_port = split(&s, ':', &port);
        if (has_port && memchr(port.at, ':', port.len) != NULL)
            return sg_fail(err, SEG_EINVAL,
                           "url's host has more than one ':': an IPv6 address goes in brackets, "
                           "redis://[::1]:6379");
        rc = parse_host_name(u, s, err);
    }
    if (rc != SEG_OK || !has_port)
        return rc;
    return parse_port(u, port, err);
}

static seg_status parse_redis(sg_url *u, span s, seg_error *err) {
    u->port = DEFAULT_PORT;
    size_t authority = 0;
    while (authority < s.len && strchr("/?", s.at[authority]) == NULL)
        authority++;
    span tail = {s.at + authority, s.len - authority};
    s.len = authority;
    /* Looked for first: a '/' or '?' in a password ends the authority too early. */
    if (memchr(tail.at, '@', tail.len) != NULL)
        return sg_fail(err, SEG_EINVAL,
                       "url has an '@' after the host: in user and password write %%2F for '/' and "
                       "%%3F for '?'");
    const char *at = s.len > 0 ? memrchr(s.at, '@', s.len) : NULL;
    if (at != NULL) {
        span user = {s.at, (size_t)(at - s.at)};
        s = (span){at + 1, s.len - user.len - 1};
        seg_status rc = parse_user(u, user, err);
        if (rc != SEG_OK)
            return rc;
    }
    seg_status rc = parse_host_port(u, s, err);
    if (rc != SEG_OK)
        return rc;
    if (memchr(tail.at, '?', tail.len) != NULL)
        return sg_fail(err, SEG_EINVAL,
                       "url has a query: the db of redis:// is its path, as in "
                       "redis://host/2");
    return tail.len > 1 ? parse_db(&u->db, (span){tail.at + 1, tail.len - 1}, err) : SEG_OK;
}

/* ---- Both --------------------------------------------------------------------------------- */

static bool has_scheme(const char *text, const char *scheme) {
    return strncasecmp(text, scheme, strlen(scheme)) == 0;
}

static seg_status parse_any(sg_url *u, const char *text, seg_error *err) {
    if (strchr(text, '#') != NULL)
        return sg_fail(err, SEG_EINVAL,
                       "url has a '#': there are no fragments here, write %%23 for a '#' itself");
    for (const char *s = text; *s != '\0'; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            return sg_fail(err, SEG_EINVAL, "url has a control byte at byte %zu",
                           (size_t)(s - text) + 1);
    if (has_scheme(text, "redis://"))
        return parse_redis(u, (span){text + 8, strlen(text) - 8}, err);
    if (has_scheme(text, "unix://"))
        return parse_unix(u, (span){text + 7, strlen(text) - 7}, err);
    if (has_scheme(text, "rediss://"))
        return sg_fail(err, SEG_EINVAL,
                       "rediss:// needs TLS, which this release does not have: use "
                       "redis:// or unix://");
    return sg_fail(err, SEG_EINVAL, "url has an unknown scheme: " FORMS " expected");
}

seg_status sg_url_parse(sg_url *out, const char *text, seg_error *err) {
    if (text == NULL)
        return sg_fail(err, SEG_EINVAL, "url is missing (NULL)");
    sg_url u = {0};
    seg_status rc = parse_any(&u, text, err);
    if (rc == SEG_OK)
        *out = u;
    else
        sg_url_fini(&u);
    return rc;
}

void sg_url_fini(sg_url *u) {
    if (u == NULL)
        return;
    wipe_and_free(u->password, u->password != NULL ? strlen(u->password) : 0);
    sg_free(u->host);
    sg_free(u->path);
    sg_free(u->user);
    *u = (sg_url){0};
}

void sg_url_show(const sg_url *u, char *out, size_t size) {
    if (u->path != NULL)
        snprintf(out, size, "%s", u->path);
    else if (strchr(u->host, ':') != NULL)
        snprintf(out, size, "[%s]:%u", u->host, (unsigned)u->port);
    else
        snprintf(out, size, "%s:%u", u->host, (unsigned)u->port);
}
