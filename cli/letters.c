/* letters.c - see letters.h. */
#include "letters.h"

#include <stdlib.h>
#include <string.h>

bool cli_letters_name(const char *name, size_t *stream_len, size_t *group_len) {
    static const char suffix[] = CLI_LETTERS_SUFFIX;
    size_t len = strlen(name), tail = sizeof suffix - 1;
    if (len <= tail || strcmp(name + len - tail, suffix) != 0) {
        return false;
    }
    const char *dot = memrchr(name, '.', len - tail);
    if (!dot || dot == name || dot + 1 == name + len - tail) {
        return false;
    }
    *stream_len = (size_t)(dot - name);
    *group_len = len - tail - *stream_len - 1;
    return true;
}

bool cli_is_letters_stream(const char *name) {
    size_t stream_len, group_len;
    return cli_letters_name(name, &stream_len, &group_len);
}

bool cli_is_letters_group(const char *stream, const char *group) {
    return strcmp(group, CLI_LETTERS_GROUP) == 0 && cli_is_letters_stream(stream);
}

char *cli_letters_stream(const char *stream, const char *group) {
    return cli_format("%s.%s" CLI_LETTERS_SUFFIX, stream, group);
}

seg_status cli_letters_left(uint64_t *out, bool *ever, seg_client *client, const char *stream,
                            const char *group, seg_error *err) {
    char *name = cli_letters_stream(stream, group);
    *out = 0;
    *ever = false;
    if (!cli_name_ok(name)) {
        free(name);
        return SEG_OK; /* too long: there can be none */
    }
    seg_group_info *g = NULL;
    seg_status status = seg_group_describe(&g, client, name, CLI_LETTERS_GROUP, err);
    if (status == SEG_OK) {
        *ever = true;
        *out = seg_group_info_lag(g);
        for (uint32_t i = 0; i < seg_group_info_partitions(g) && *out != SEG_UNKNOWN; i++) {
            *out -= seg_group_info_partition(g, i)->acked;
        }
        seg_group_info_free(g);
    } else if (status == SEG_ENOENT) { /* nothing was taken out yet, or there is no such stream */
        seg_stream_info *s = NULL;
        status = seg_stream_describe(&s, client, name, err);
        *ever = status == SEG_OK;
        *out = status == SEG_OK ? seg_stream_info_messages(s) : 0;
        seg_stream_info_free(s);
        status = status == SEG_ENOENT ? SEG_OK : status;
    }
    free(name);
    return status;
}
