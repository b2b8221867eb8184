/* digest.c - see digest.h. */
#include "digest.h"

#include <string.h>

#define P1 UINT64_C(0x9E3779B185EBCA87)
#define P2 UINT64_C(0xC2B2AE3D27D4EB4F)
#define P3 UINT64_C(0x165667B19E3779F9)
#define P4 UINT64_C(0x85EBCA77C2B2AE63)
#define P5 UINT64_C(0x27D4EB2F165667C5)

static uint64_t rotate(uint64_t x, unsigned n) {
    return x << n | x >> (64 - n);
}

static uint64_t read_le(const unsigned char *p, size_t n) {
    uint64_t value = 0;
    for (size_t i = n; i-- > 0;) {
        value = value << 8 | p[i];
    }
    return value;
}

static uint64_t mix(uint64_t lane, uint64_t input) {
    return rotate(lane + input * P2, 31) * P1;
}

static uint64_t fold(uint64_t hash, uint64_t lane) {
    return (hash ^ mix(0, lane)) * P1 + P4;
}

static uint64_t stripes(const unsigned char **at, const unsigned char *end, uint64_t seed) {
    uint64_t lanes[4] = {seed + P1 + P2, seed + P2, seed, seed - P1};
    const unsigned char *p = *at;
    for (; end - p >= 32; p += 32) {
        for (size_t i = 0; i < 4; i++) {
            lanes[i] = mix(lanes[i], read_le(p + 8 * i, 8));
        }
    }
    *at = p;
    uint64_t hash =
        rotate(lanes[0], 1) + rotate(lanes[1], 7) + rotate(lanes[2], 12) + rotate(lanes[3], 18);
    for (size_t i = 0; i < 4; i++) {
        hash = fold(hash, lanes[i]);
    }
    return hash;
}

uint64_t cli_xxh64(const void *data, size_t len, uint64_t seed) {
    const unsigned char *p = len ? data : (const unsigned char *)"", *end = p + len;
    uint64_t hash = len >= 32 ? stripes(&p, end, seed) : seed + P5;
    hash += len;
    for (; end - p >= 8; p += 8) {
        hash = rotate(hash ^ mix(0, read_le(p, 8)), 27) * P1 + P4;
    }
    if (end - p >= 4) {
        hash = rotate(hash ^ read_le(p, 4) * P1, 23) * P2 + P3;
        p += 4;
    }
    for (; p < end; p++) {
        hash = rotate(hash ^ *p * P5, 11) * P1;
    }
    hash = (hash ^ hash >> 33) * P2;
    hash = (hash ^ hash >> 29) * P3;
    return hash ^ hash >> 32;
}

static void add_number(cli_buf *b, uint64_t value) {
    char *to = cli_buf_room(b, 8);
    for (size_t i = 0; i < 8; i++) {
        to[i] = (char)(value >> 8 * i);
    }
    b->len += 8;
}

static void add_bytes(cli_buf *b, seg_bytes bytes) {
    add_number(b, bytes.len);
    cli_buf_add(b, bytes.data, bytes.len);
}

uint64_t cli_digest_record(uint64_t before, const seg_record *r, cli_buf *b) {
    b->len = 0;
    add_number(b, (uint64_t)r->timestamp);
    add_bytes(b, r->key);
    add_bytes(b, r->value);
    add_number(b, r->n_headers);
    for (size_t i = 0; i < 2 * r->n_headers; i++) {
        add_bytes(b, r->headers[i]);
    }
    return cli_xxh64(b->data, b->len, before);
}

uint64_t cli_digest_message(uint64_t before, const seg_message *m, cli_buf *b) {
    seg_bytes name, value;
    uint64_t n = 0;
    b->len = 0;
    add_number(b, (uint64_t)seg_message_timestamp(m));
    add_bytes(b, seg_message_key(m));
    add_bytes(b, seg_message_value(m));
    size_t at = b->len;
    add_number(b, 0);
    for (; seg_message_header(m, n, &name, &value); n++) {
        add_bytes(b, name);
        add_bytes(b, value);
    }
    for (size_t i = 0; i < 8; i++) {
        b->data[at + i] = (char)(n >> 8 * i);
    }
    return cli_xxh64(b->data, b->len, before);
}
