/* text.h - text from anywhere, made fit for a line, a table or a terminal. */
#ifndef SEGMENTER_CLI_TEXT_H
#define SEGMENTER_CLI_TEXT_H
#include <stddef.h>
#include <stdint.h>

#include <segmenter/segmenter.h>

/* Copy what fits of `bytes` to `out`, NUL-terminated. Control characters, and bytes that are not
 * UTF-8, become '?'; no character is cut in two. */
void cli_text_clean(char *out, size_t cap, seg_bytes bytes);

/* "2026-11-22T10:00:00Z"; "-" for 0 or a time that has no such form. */
void cli_text_time(char out[32], int64_t ms);

#endif
