/* digest.h - checksums of what a dump holds: XXH64 (https://xxhash.com), chained. A digest of several
 * things is that of the last with the digest of those before it as its seed; it begins with 0. So it
 * tells of each byte, and of the order. */
#ifndef SEGMENTER_CLI_DIGEST_H
#define SEGMENTER_CLI_DIGEST_H
#include "buf.h"

uint64_t cli_xxh64(const void *data, size_t len, uint64_t seed);

/* What a producer gave, as bytes: timestamp; length and bytes of key and value; number of headers, and
 * length and bytes of their names and values. Numbers have 8 bytes, the lowest first. `b` is scratch.
 * Both return the digest with this message added to `before`. */
uint64_t cli_digest_record(uint64_t before, const seg_record *r, cli_buf *b);
uint64_t cli_digest_message(uint64_t before, const seg_message *m, cli_buf *b);

#endif
