/* base64.h - RFC 4648 base64 with padding. */
#ifndef SEGMENTER_CLI_BASE64_H
#define SEGMENTER_CLI_BASE64_H
#include <stdbool.h>
#include <stddef.h>

#include <segmenter/segmenter.h>

/* NUL-terminated, the caller's to free. */
char *cli_base64_encode(seg_bytes bytes);

/* Strict: no white space, padded, and no bits that encode nothing. `out->data` is the caller's to
 * free. False where the text is malformed. */
bool cli_base64_decode(const char *text, size_t len, seg_bytes *out);

#endif
