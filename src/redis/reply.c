/* reply.c - the accessors, and what the server's error words mean to us. */
#include "redis/reply.h"

#include <hiredis/hiredis.h>
#include <string.h>

static const redisReply *raw(const sg_reply *r) {
    return (const redisReply *)(const void *)r;
}

static bool is_text(const sg_reply *r) {
    return r != NULL && (raw(r)->type == REDIS_REPLY_STRING || raw(r)->type == REDIS_REPLY_STATUS);
}

bool sg_reply_is_nil(const sg_reply *r) {
    return r == NULL || raw(r)->type == REDIS_REPLY_NIL;
}

bool sg_reply_is_array(const sg_reply *r) {
    return r != NULL && raw(r)->type == REDIS_REPLY_ARRAY;
}

const char *sg_reply_error(const sg_reply *r) {
    return r != NULL && raw(r)->type == REDIS_REPLY_ERROR ? raw(r)->str : NULL;
}

size_t sg_reply_count(const sg_reply *r) {
    return sg_reply_is_array(r) ? raw(r)->elements : 0;
}

const sg_reply *sg_reply_at(const sg_reply *r, size_t i) {
    return i < sg_reply_count(r) ? (const sg_reply *)(const void *)raw(r)->element[i] : NULL;
}

seg_bytes sg_reply_bytes(const sg_reply *r) {
    return is_text(r) ? (seg_bytes){raw(r)->str, raw(r)->len} : (seg_bytes){"", 0};
}

const char *sg_reply_text(const sg_reply *r) {
    return sg_reply_bytes(r).data;
}

bool sg_reply_is(const sg_reply *r, const char *text) {
    size_t n = strlen(text);
    return is_text(r) && raw(r)->len == n && memcmp(raw(r)->str, text, n) == 0;
}

bool sg_digits_read(const char *s, size_t n, uint64_t max, uint64_t *out) {
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned digit = (unsigned)(unsigned char)s[i] - '0';
        if (digit > 9 || v > (max - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    *out = v;
    return n > 0;
}

bool sg_entry_id_parse(const char *s, size_t n, uint64_t *era, uint64_t *offset) {
    const char *dash = n > 0 ? memchr(s, '-', n) : NULL;
    return dash != NULL && sg_digits_read(s, (size_t)(dash - s), UINT64_MAX, era) &&
           sg_digits_read(dash + 1, n - (size_t)(dash - s) - 1, UINT64_MAX, offset);
}

bool sg_reply_u64(const sg_reply *r, uint64_t *out) {
    if (r != NULL && raw(r)->type == REDIS_REPLY_INTEGER && raw(r)->integer >= 0) {
        *out = (uint64_t)raw(r)->integer;
        return true;
    }
    uint64_t v;
    if (!is_text(r) || !sg_digits_read(raw(r)->str, raw(r)->len, UINT64_MAX, &v))
        return false;
    *out = v;
    return true;
}

bool sg_reply_i64(const sg_reply *r, int64_t *out) {
    if (r != NULL && raw(r)->type == REDIS_REPLY_INTEGER) {
        *out = raw(r)->integer;
        return true;
    }
    if (!is_text(r))
        return false;
    const char *s = raw(r)->str;
    size_t n = raw(r)->len;
    bool negative = n > 0 && s[0] == '-';
    uint64_t v;
    if (!sg_digits_read(s + negative, n - negative, (uint64_t)INT64_MAX + negative, &v))
        return false;
    *out = (int64_t)(negative ? 0 - v : v);
    return true;
}

seg_known sg_dryrun_read(const sg_reply *r) {
    if (r == NULL || sg_reply_error(r) != NULL)
        return SEG_MAYBE;
    return sg_reply_is(r, "OK") ? SEG_YES : SEG_NO;
}

/* ---- The words of refusals ---------------------------------------------------------------- */

static bool starts_with(const char *text, const char *prefix) {
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

seg_status sg_reply_error_status(const char *text) {
    static const struct {
        const char *word; /* with its space, so that BUSY is not BUSYGROUP */
        seg_status status;
    } words[] = {
        {"NOPERM ", SEG_EACCES},
        {"NOAUTH ", SEG_EACCES},
        {"WRONGPASS ", SEG_EACCES},
        {"DENIED ", SEG_EACCES},
        {"ERR AUTH <password> called without any password", SEG_EACCES},
        {"OOM ", SEG_EOOM},
        {"WRONGTYPE ", SEG_EPROTO},
        {"READONLY ", SEG_ECONN},
        {"LOADING ", SEG_ECONN},
        {"MASTERDOWN ", SEG_ECONN},
        {"CLUSTERDOWN ", SEG_ECONN},
        {"TRYAGAIN ", SEG_ECONN},
        {"NOREPLICAS ", SEG_ECONN},
        {"BUSY ", SEG_ECONN},
        {"MISCONF ", SEG_ECONN},
        {"UNBLOCKED ", SEG_ECONN}, /* a blocked read, when its server became a replica */
        {"ERR max number of clients", SEG_ECONN},
        {"ERR The user executing the script can't", SEG_EACCES}, /* Redis, within a script */
        {"ERR ACL failure in script", SEG_EACCES},               /* Valkey */
    };
    static const char aborted[] = "EXECABORT Transaction discarded because of: ";
    if (starts_with(text, aborted))
        text += sizeof aborted - 1;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (starts_with(text, words[i].word))
            return words[i].status;
    }
    return SEG_ESERVER;
}
