/* json_line.h - messages as lines of JSON, written without building an object of each first, which
 * would take several times as long. What comes out is what json.h describes, byte for byte what
 * jansson would write. */
#ifndef SEGMENTER_CLI_JSON_LINE_H
#define SEGMENTER_CLI_JSON_LINE_H
#include "buf.h"
#include "json.h"

/* Length of the UTF-8 character of more than one byte at `at`, of which `left` bytes are there; 0: it is
 * none. */
size_t cli_utf8_wide(const unsigned char *at, size_t left);

/* Add a string with its quotes. False, with nothing added, where `bytes` is not UTF-8. */
bool cli_json_line_string(cli_buf *b, seg_bytes bytes);

/* Add the line of the message, with its newline. Without a group in `origin` it was no delivery, and
 * attempt, group, member and epoch are left out. */
void cli_json_line(cli_buf *b, const seg_message *m, const cli_json_origin *origin);

#endif
