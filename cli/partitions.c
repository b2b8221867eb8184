/* partitions.c - see partitions.h. */
#include "partitions.h"

#include <inttypes.h>
#include <stdlib.h>

#include "group.h"

bool cli_partition_parse(uint32_t *out, const char *text) {
    int64_t n;
    if (!cli_number_parse(text, &n) || n >= CLI_PARTITIONS_MAX) {
        return false;
    }
    *out = (uint32_t)n;
    return true;
}

static bool is_new(const uint32_t *partitions, size_t n, uint32_t p) {
    for (size_t i = 0; i < n; i++) {
        if (partitions[i] == p) {
            return false;
        }
    }
    return true;
}

bool cli_partitions_parse(uint32_t **out, const cli_list *list) {
    uint32_t *partitions = cli_alloc(list->n, sizeof *partitions);
    for (size_t i = 0; i < list->n; i++) {
        if (!cli_partition_parse(&partitions[i], list->items[i])) {
            cli_usage("--partition takes a number from 0 to %d, not '%s'", CLI_PARTITIONS_MAX - 1,
                      list->items[i]);
            goto failed;
        }
        if (!is_new(partitions, i, partitions[i])) {
            cli_usage("--partition %" PRIu32 " is given twice", partitions[i]);
            goto failed;
        }
    }
    *out = partitions;
    return true;
failed:
    free(partitions);
    return false;
}

/* Those that are damaged, by their ranges. */
static int say_damaged(const seg_stream_info *stream, const uint32_t *damaged, size_t n,
                       bool option) {
    char ranges[200];
    uint32_t total = seg_stream_info_partitions(stream), whole = 0;
    for (uint32_t p = 0; p < total; p++) {
        whole += seg_stream_info_partition(stream, p)->status == SEG_OK;
    }
    cli_print_ranges(ranges, sizeof ranges, damaged, n);
    return cli_failure("partition%s %s of stream '%s' %s damaged: a part of %s data is missing on "
                       "the server%s",
                       n > 1 ? "s" : "", ranges, seg_stream_info_name(stream), n > 1 ? "are" : "is",
                       n > 1 ? "their" : "its",
                       whole > 0 && option ? "; the others can be read with --partition" : "");
}

int cli_partitions_judge(const seg_stream_info *stream, const uint32_t *partitions, size_t n,
                         bool option) {
    uint32_t total = seg_stream_info_partitions(stream);
    n = partitions ? n : total;
    uint32_t *damaged = cli_alloc(n, sizeof *damaged);
    size_t n_damaged = 0;
    int code = CLI_OK;
    for (size_t i = 0; i < n && code == CLI_OK; i++) {
        uint32_t p = partitions ? partitions[i] : (uint32_t)i;
        if (p >= total) {
            cli_failure("stream '%s' has no partition %" PRIu32 ": they are 0 to %" PRIu32,
                        seg_stream_info_name(stream), p, total - 1);
            code = CLI_NOT_FOUND;
        } else if (seg_stream_info_partition(stream, p)->status != SEG_OK) {
            damaged[n_damaged++] = p;
        }
    }
    if (code == CLI_OK && n_damaged > 0) {
        code = say_damaged(stream, damaged, n_damaged, option);
    }
    free(damaged);
    return code;
}

int cli_partitions_blame(seg_client *client, const char *stream, const uint32_t *partitions,
                         size_t n) {
    seg_stream_info *info;
    seg_error err;
    if (seg_stream_describe(&info, client, stream, &err) != SEG_OK) {
        return CLI_OK;
    }
    int code = cli_partitions_judge(info, partitions, n, true);
    seg_stream_info_free(info);
    return code;
}
