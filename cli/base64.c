/* base64.c - see base64.h. */
#include "base64.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *cli_base64_encode(seg_bytes bytes) {
    const unsigned char *in = bytes.data;
    char *text = cli_alloc(bytes.len / 3 + 2, 4);
    char *to = text;
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t left = bytes.len - i;
        uint32_t group = (uint32_t)in[i] << 16;
        group |= left > 1 ? (uint32_t)in[i + 1] << 8 : 0;
        group |= left > 2 ? (uint32_t)in[i + 2] : 0;
        *to++ = alphabet[group >> 18 & 63];
        *to++ = alphabet[group >> 12 & 63];
        *to++ = left > 1 ? alphabet[group >> 6 & 63] : '=';
        *to++ = left > 2 ? alphabet[group & 63] : '=';
    }
    *to = '\0';
    return text;
}

static int value_of(char c) {
    const char *at = c ? strchr(alphabet, c) : NULL;
    return at ? (int)(at - alphabet) : -1;
}

/* Four characters to `n` bytes (3, or 2 or 1 before padding). */
static bool decode_group(const char *text, size_t n, unsigned char *out) {
    uint32_t group = 0;
    for (size_t i = 0; i < 4; i++) {
        int value = i <= n ? value_of(text[i]) : 0;
        if (value < 0) {
            return false;
        }
        group = group << 6 | (uint32_t)value;
    }
    for (size_t i = 0; i < 3; i++) {
        unsigned char byte = (unsigned char)(group >> (16 - 8 * i));
        if (i < n) {
            out[i] = byte;
        } else if (byte) {
            return false;
        }
    }
    return true;
}

bool cli_base64_decode(const char *text, size_t len, seg_bytes *out) {
    if (len % 4 != 0) {
        return false;
    }
    size_t padding = 0;
    while (padding < 2 && padding < len && text[len - 1 - padding] == '=') {
        padding++;
    }
    unsigned char *bytes = cli_alloc(len / 4 + 1, 3);
    for (size_t i = 0; i < len; i += 4) {
        size_t n = i + 4 == len ? 3 - padding : 3;
        if (!decode_group(text + i, n, bytes + i / 4 * 3)) {
            free(bytes);
            return false;
        }
    }
    *out = (seg_bytes){bytes, len / 4 * 3 - padding};
    return true;
}
