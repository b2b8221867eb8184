/* place.c - see place.h. As strict as numbers and durations: a place that is misread moves a group
 * where nobody wanted it. */
#include "place.h"

#include <string.h>
#include <time.h>

#include "options.h"

enum { MILLISECOND_DIGITS = 13, SECOND_DIGITS_MAX = 11, DAY_MS = 86400000 };

int64_t cli_wall_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Exactly `n` digits, from `low` to `high`; moves `*at` behind them. */
static bool field(const char **at, int n, int low, int high, int *out) {
    int value = 0;
    for (int i = 0; i < n; i++, (*at)++) {
        if (**at < '0' || **at > '9') {
            return false;
        }
        value = value * 10 + (**at - '0');
    }
    *out = value;
    return value >= low && value <= high;
}

static bool skip(const char **at, char c) {
    if (**at != c) {
        return false;
    }
    (*at)++;
    return true;
}

static int days_in(int year, int month) {
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : days[month - 1];
}

/* "2026-11-22" */
static bool date(const char **at, int64_t *ms) {
    int year, month, day;
    if (!field(at, 4, 1970, 9999, &year) || !skip(at, '-') || !field(at, 2, 1, 12, &month) ||
        !skip(at, '-') || !field(at, 2, 1, days_in(year, month), &day)) {
        return false;
    }
    int64_t days = day - 1;
    for (int y = 1970; y < year; y++) {
        days += 337 + days_in(y, 2);
    }
    for (int m = 1; m < month; m++) {
        days += days_in(year, m);
    }
    *ms = days * DAY_MS;
    return true;
}

/* "10:00", "10:00:00", "10:00:00.5": digits past the milliseconds are dropped. */
static bool time_of_day(const char **at, int64_t *ms) {
    int hour, minute, second = 0, fraction = 0;
    if (!field(at, 2, 0, 23, &hour) || !skip(at, ':') || !field(at, 2, 0, 59, &minute)) {
        return false;
    }
    if (skip(at, ':')) {
        if (!field(at, 2, 0, 59, &second)) {
            return false;
        }
        if (skip(at, '.')) {
            int scale = 100;
            if (**at < '0' || **at > '9') {
                return false;
            }
            for (; **at >= '0' && **at <= '9'; (*at)++, scale /= 10) {
                fraction += (**at - '0') * scale;
            }
        }
    }
    *ms += ((hour * 60 + minute) * INT64_C(60) + second) * 1000 + fraction;
    return true;
}

/* "", "Z", "+01:00" */
static bool zone(const char **at, int64_t *ms) {
    if (!**at || skip(at, 'Z')) {
        return true;
    }
    int sign = skip(at, '+') ? 1 : skip(at, '-') ? -1 : 0;
    int hour, minute;
    if (sign == 0 || !field(at, 2, 0, 23, &hour) || !skip(at, ':') ||
        !field(at, 2, 0, 59, &minute)) {
        return false;
    }
    *ms -= sign * (hour * 60 + minute) * INT64_C(60000);
    return true;
}

static bool iso(const char *text, int64_t *ms) {
    return date(&text, ms) &&
           (!*text || (skip(&text, 'T') && time_of_day(&text, ms) && zone(&text, ms))) && !*text &&
           *ms >= 0;
}

static bool parse_time(const char *text, int64_t *ms) {
    size_t len = strlen(text);
    int64_t n;
    if (!cli_number_parse(text, &n)) {
        return iso(text, ms);
    }
    if (len != MILLISECOND_DIGITS && len > SECOND_DIGITS_MAX) {
        return false;
    }
    *ms = len == MILLISECOND_DIGITS ? n : n * 1000;
    return true;
}

bool cli_place_parse(cli_place *out, const char *text, int64_t now_ms) {
    int64_t n;
    if (text[0] == '@') {
        if (!parse_time(text + 1, &n)) {
            return false;
        }
        *out = (cli_place){CLI_AT_TIME, n};
        return true;
    }
    bool back = text[0] == '-';
    if (back || text[0] == '+') {
        if (cli_number_parse(text + 1, &n)) {
            *out = (cli_place){CLI_AT_DISTANCE, back ? -n : n};
            return true;
        }
        if (!back || !cli_duration_parse(text + 1, &n)) {
            return false;
        }
        *out = (cli_place){CLI_AT_TIME, n < now_ms ? now_ms - n : 0};
        return true;
    }
    if (!cli_number_parse(text, &n)) {
        return false;
    }
    *out = (cli_place){CLI_AT_OFFSET, n};
    return true;
}
