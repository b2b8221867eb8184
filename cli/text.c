/* text.c - see text.h. */
#include "text.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* Length of the UTF-8 character at `at`, of which `left` bytes are there; 0 where it is none. */
static size_t utf8_len(const unsigned char *at, size_t left) {
    size_t len = at[0] < 0x80 ? 1 : at[0] < 0xc2 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
    if (len == 0 || len > left || at[0] > 0xf4) {
        return 0;
    }
    for (size_t i = 1; i < len; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    /* Longer than needed, a surrogate, past the last character: none of these is UTF-8. U+0080 to
     * U+009F are control characters too. */
    if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f) ||
        (at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f) ||
        (at[0] == 0xc2 && at[1] < 0xa0)) {
        return 0;
    }
    return len;
}

void cli_text_clean(char *out, size_t cap, seg_bytes bytes) {
    const unsigned char *from = bytes.data;
    size_t used = 0;
    for (size_t i = 0; i < bytes.len;) {
        size_t len = utf8_len(from + i, bytes.len - i);
        bool shown = len > 1 || (len == 1 && from[i] >= 0x20 && from[i] != 0x7f);
        size_t step = shown ? len : 1;
        if (used + step + 1 > cap) {
            break;
        }
        if (shown) {
            memcpy(out + used, from + i, step);
        } else {
            out[used] = '?';
        }
        used += step;
        i += step;
    }
    out[used] = '\0';
}

void cli_text_time(char out[32], int64_t ms) {
    time_t seconds = (time_t)(ms / 1000);
    struct tm utc;
    if (ms <= 0 || !gmtime_r(&seconds, &utc) ||
        strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0) {
        snprintf(out, 32, "-");
    }
}
