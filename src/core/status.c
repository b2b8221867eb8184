/* status.c - the public functions that need no server: what the header's tables say, and small
 * arithmetic. */
#include <segmenter/segmenter.h>
#include <string.h>

#include "base/hash.h"
#include "core/partitioner.h"

static const struct {
    const char *name, *text;
    bool retriable;
} statuses[] = {
#define X(name, value, retriable, text) [value] = {#name, text, retriable},
    SEG_STATUS_MAP(X)
#undef X
};

static bool is_known(seg_status s) {
    return (size_t)s < sizeof statuses / sizeof statuses[0];
}

const char *seg_version(void) {
    return SEG_VERSION_TEXT;
}

const char *seg_status_name(seg_status s) {
    return is_known(s) ? statuses[s].name : "?";
}

const char *seg_status_text(seg_status s) {
    return is_known(s) ? statuses[s].text : "unknown status";
}

bool seg_status_retriable(seg_status s) {
    return is_known(s) && statuses[s].retriable;
}

void seg_init(void *options, size_t size) {
    memset(options, 0, size);
    if (size >= sizeof size)
        memcpy(options, &size, sizeof size);
}

const char *seg_on_full_name(seg_on_full policy) {
    switch (policy) {
    case SEG_BLOCK:
        return "block";
    case SEG_FAIL:
        return "reject";
    case SEG_DROP_OLDEST:
        return "drop-oldest";
    }
    return NULL;
}

const char *seg_codec_name(seg_codec codec) {
    switch (codec) {
    case SEG_PLAIN:
        return "plain";
    case SEG_LZ4:
        return "lz4";
    case SEG_ZSTD:
        return "zstd";
    }
    return NULL;
}

uint32_t seg_hash_of(seg_bytes key) {
    return sg_fnv1a32(key.data, key.len);
}

uint32_t seg_partition_of(seg_bytes key, uint32_t partitions) {
    return sg_partition_of(key.data, key.len, partitions);
}
