/* partitions.h - the partitions that --partition names. */
#ifndef SEGMENTER_CLI_PARTITIONS_H
#define SEGMENTER_CLI_PARTITIONS_H
#include "cli.h"

enum { CLI_PARTITIONS_MAX = 4096 };

/* False, with a report. The caller frees `*out`, which has as many as the list. */
bool cli_partitions_parse(uint32_t **out, const cli_list *list);

/* One number of a partition: 0 to 4095. */
bool cli_partition_parse(uint32_t *out, const char *text);

#endif
