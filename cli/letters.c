/* letters.c - see letters.h. */
#include "letters.h"

seg_status cli_letters_left(uint64_t *out, bool *ever, seg_client *client, const char *stream,
                            const char *group, seg_error *err) {
    char name[512];
    snprintf(name, sizeof name, "%s.%s.dlq", stream, group);
    *out = 0;
    *ever = false;
    if (!cli_name_ok(name)) {
        return SEG_OK; /* too long: there can be none */
    }
    seg_group_info *g = NULL;
    seg_status status = seg_group_describe(&g, client, name, "dlq", err);
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
    return status;
}
