/* partitions.h - the partitions that --partition names. */
#ifndef SEGMENTER_CLI_PARTITIONS_H
#define SEGMENTER_CLI_PARTITIONS_H
#include "cli.h"

enum { CLI_PARTITIONS_MAX = 4096 };

/* False, with a report. The caller frees `*out`, which has as many as the list. */
bool cli_partitions_parse(uint32_t **out, const cli_list *list);

/* One number of a partition: 0 to 4095. */
bool cli_partition_parse(uint32_t *out, const char *text);

/* Are they there, and whole? NULL: all of the stream's. Otherwise a report that names them, and an exit
 * code; `option`: it tells of --partition as the way to the others. */
int cli_partitions_judge(const seg_stream_info *stream, const uint32_t *partitions, size_t n,
                         bool option);
/* The same where something failed, perhaps for that reason. CLI_OK: it was another. */
int cli_partitions_blame(seg_client *client, const char *stream, const uint32_t *partitions,
                         size_t n);

#endif
