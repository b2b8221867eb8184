/* partitions.c - see partitions.h. */
#include "partitions.h"

#include <inttypes.h>
#include <stdlib.h>

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
