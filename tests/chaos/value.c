/* value.c - see value.h. */
#include "value.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "history.h"

enum { PAD_MAX = 200 };

size_t value_write(const value *v, char out[VALUE_MAX]) {
    int n = snprintf(out, VALUE_MAX, "%s %" PRIu64 " %" PRIu64 " %" PRIu32 "|", v->producer, v->key,
                     v->sequence, v->index);
    uint32_t crc = history_crc(out, (size_t)n);
    size_t pad = crc % PAD_MAX;
    memset(out + n, 'a' + (int)(crc % 26), pad);
    return (size_t)n + pad;
}

bool value_read(value *v, seg_bytes bytes) {
    char text[160], again[VALUE_MAX];
    const char *end = bytes.len > 0 ? memchr(bytes.data, '|', bytes.len) : NULL;
    size_t n = end != NULL ? (size_t)(end - (const char *)bytes.data) : sizeof text;
    if (n >= sizeof text)
        return false;
    memcpy(text, bytes.data, n);
    text[n] = '\0';
    if (sscanf(text, "%47s %" SCNu64 " %" SCNu64 " %" SCNu32, v->producer, &v->key, &v->sequence,
               &v->index) != 4)
        return false;
    size_t len = value_write(v, again);
    return len == bytes.len && memcmp(again, bytes.data, len) == 0;
}

seg_bytes value_key(uint64_t key, char out[32]) {
    int n = snprintf(out, 32, "k%" PRIu64, key);
    return (seg_bytes){out, (size_t)n};
}
