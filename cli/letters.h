/* letters.h - how many dead letters of a group wait. */
#ifndef SEGMENTER_CLI_LETTERS_H
#define SEGMENTER_CLI_LETTERS_H
#include "cli.h"

/* Dead letters of group G of stream S are a stream of their own, "S.G.dlq", and what is left of them is
 * what its group "dlq" has not acknowledged: nobody is meant to be a member of that. */
#define CLI_LETTERS_GROUP  "dlq"
#define CLI_LETTERS_SUFFIX "." CLI_LETTERS_GROUP

/* Is that the name of a stream of dead letters, "STREAM.GROUP.dlq"? Which of its dots parts both nobody
 * knows where there are several: `stream_len` is up to the last one. */
bool cli_letters_name(const char *name, size_t *stream_len, size_t *group_len);
/* The same, for who need not know whose they are. */
bool cli_is_letters_stream(const char *name);
/* Is it the group by which dead letters are counted? */
bool cli_is_letters_group(const char *stream, const char *group);
/* The name of their stream; the caller frees it. It may be longer than a name can be. */
char *cli_letters_stream(const char *stream, const char *group);

/* Those that were neither replayed nor dropped; SEG_UNKNOWN: they are damaged. `*ever`: was there
 * any? */
seg_status cli_letters_left(uint64_t *out, bool *ever, seg_client *client, const char *stream,
                            const char *group, seg_error *err);

#endif
