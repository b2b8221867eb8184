/* text.c - texts carry bytes from servers, files and command lines: an escape sequence in one must
 * not reach the terminal, and half a character must not spoil a JSON line. */
#include "base/text.h"

#include <stdbool.h>
#include <stdio.h>

static bool is_continuation(unsigned char c) {
    return (c & 0xc0) == 0x80;
}

/* Bytes of the character at `s`: 1 to 4, or 0 where it is no valid UTF-8 or a control character.
 * The text ends in NUL, which is no continuation byte, so nothing past it is read. */
static size_t char_size(const unsigned char *s) {
    if (s[0] < 0x20 || s[0] == 0x7f)
        return 0;
    if (s[0] < 0x80)
        return 1;
    if (s[0] < 0xc2 || s[0] > 0xf4 || !is_continuation(s[1]))
        return 0;
    if (s[0] < 0xe0)
        return s[0] == 0xc2 && s[1] < 0xa0 ? 0 : 2; /* U+0080..9F are controls too */
    if (!is_continuation(s[2]))
        return 0;
    if (s[0] < 0xf0) {
        bool overlong = s[0] == 0xe0 && s[1] < 0xa0;
        bool surrogate = s[0] == 0xed && s[1] > 0x9f;
        return overlong || surrogate ? 0 : 3;
    }
    bool overlong = s[0] == 0xf0 && s[1] < 0x90;
    bool too_large = s[0] == 0xf4 && s[1] > 0x8f;
    return overlong || too_large || !is_continuation(s[3]) ? 0 : 4;
}

size_t sg_text_cut(const char *s, size_t len, size_t max) {
    if (len <= max)
        return len;
    size_t n = max;
    while (n > 0 && max - n < 3 && is_continuation((unsigned char)s[n]))
        n--;
    return is_continuation((unsigned char)s[n]) ? max : n;
}

void sg_text_vprint(char *out, size_t size, const char *fmt, va_list ap) {
    if (size == 0)
        return;
    int n = vsnprintf(out, size, fmt, ap);
    if (n < 0)
        out[0] = '\0';
    else if ((size_t)n >= size) {
        /* The byte that decides whether the cut splits a character is gone: drop the last
         * character unless it is whole. */
        size_t last = size - 1;
        while (last > 0 && size - last < 4 && is_continuation((unsigned char)out[last - 1]))
            last--;
        if (last > 0 && char_size((unsigned char *)out + last - 1) == 0 &&
            (unsigned char)out[last - 1] >= 0xc2)
            out[last - 1] = '\0';
    }
    for (unsigned char *s = (unsigned char *)out; *s != '\0';) {
        size_t k = char_size(s);
        if (k == 0)
            *s = '?';
        s += k == 0 ? 1 : k;
    }
}
