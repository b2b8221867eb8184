/* duration.c - numbers, durations and names as the command line writes them.
 *
 * All strict: "10 s", "+5", "1.5h" or "10sec" is refused rather than guessed at, because a
 * duration that is misread by a factor of 1000 looks like it works. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "options.h"

static const struct {
    const char *name;
    int64_t ms;
} units[] = {{"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};

#define N_UNITS (sizeof units / sizeof *units)

/* Digits at the start of `text`; returns what follows them, NULL where there are none or too many.
 */
static const char *digits(const char *text, int64_t *value) {
    if (*text < '0' || *text > '9') {
        return NULL;
    }
    int64_t n = 0;
    for (; *text >= '0' && *text <= '9'; text++) {
        int digit = *text - '0';
        if (n > (INT64_MAX - digit) / 10) {
            return NULL;
        }
        n = n * 10 + digit;
    }
    *value = n;
    return text;
}

bool cli_number_parse(const char *text, int64_t *value) {
    int64_t n;
    const char *rest = digits(text, &n);
    if (!rest || *rest) {
        return false;
    }
    *value = n;
    return true;
}

bool cli_duration_parse(const char *text, int64_t *ms) {
    int64_t n;
    const char *unit = digits(text, &n);
    if (!unit) {
        return false;
    }
    if (!*unit) {
        unit = "s";
    }
    for (size_t i = 0; i < N_UNITS; i++) {
        if (strcmp(unit, units[i].name) == 0 && n <= INT64_MAX / units[i].ms) {
            *ms = n * units[i].ms;
            return true;
        }
    }
    return false;
}

void cli_duration_print(char out[24], int64_t ms) {
    size_t i = ms == 0 ? 2 : 0; /* nothing is "0s" */
    while (i + 1 < N_UNITS && ms % units[i].ms != 0) {
        i++;
    }
    snprintf(out, 24, "%" PRId64 "%s", ms / units[i].ms, units[i].name);
}

bool cli_name_ok(const char *text) {
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t len = strlen(text);
    return len >= 1 && len <= 200 && strspn(text, allowed) == len;
}
