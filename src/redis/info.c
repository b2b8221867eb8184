#include "redis/info.h"

#include <stdio.h>
#include <string.h>

static seg_bytes next_line(seg_bytes *rest) {
    const char *at = rest->data;
    const char *stop = memchr(at, '\n', rest->len);
    size_t len = stop != NULL ? (size_t)(stop - at) : rest->len;
    size_t used = stop != NULL ? len + 1 : len;
    *rest = (seg_bytes){at + used, rest->len - used};
    if (len > 0 && at[len - 1] == '\r')
        len--;
    return (seg_bytes){at, len};
}

bool sg_info_next(seg_bytes *rest, seg_bytes *name, seg_bytes *value) {
    while (rest->len > 0) {
        seg_bytes line = next_line(rest);
        const char *at = line.data;
        const char *colon = line.len > 0 ? memchr(at, ':', line.len) : NULL;
        if (colon == NULL || colon == at)
            continue;
        *name = (seg_bytes){at, (size_t)(colon - at)};
        *value = (seg_bytes){colon + 1, line.len - name->len - 1};
        return true;
    }
    return false;
}

const char *sg_info_field(seg_bytes info, const char *name, char *out, size_t size) {
    size_t len = strlen(name);
    seg_bytes n, v;
    out[0] = '\0';
    while (sg_info_next(&info, &n, &v))
        if (n.len == len && memcmp(n.data, name, len) == 0) {
            snprintf(out, size, "%.*s", (int)(v.len < size ? v.len : size - 1),
                     (const char *)v.data);
            break;
        }
    return out;
}
