/* letters.h - how many dead letters of a group wait. */
#ifndef SEGMENTER_CLI_LETTERS_H
#define SEGMENTER_CLI_LETTERS_H
#include "cli.h"

/* Those that were neither replayed nor dropped; SEG_UNKNOWN: they are damaged. `*ever`: was there
 * any? */
seg_status cli_letters_left(uint64_t *out, bool *ever, seg_client *client, const char *stream,
                            const char *group, seg_error *err);

#endif
