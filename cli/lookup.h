/* lookup.h - one of a listing, by its name: listings are in the order of the names. */
#ifndef SEGMENTER_CLI_LOOKUP_H
#define SEGMENTER_CLI_LOOKUP_H
#include "cli.h"

/* Its index; SIZE_MAX: there is no such one. */
size_t cli_stream_index(const seg_streams *streams, const char *name);
size_t cli_group_index(const seg_groups *groups, const char *stream, const char *group);
/* NULL: there is no such one. */
const seg_stream_summary *cli_stream_of(const seg_streams *streams, const char *name);
const seg_group_summary *cli_group_of(const seg_groups *groups, const char *stream,
                                      const char *group);

#endif
