/* fit.c - see fit.h. */
#define _XOPEN_SOURCE 700
#include "fit.h"

#include <stdint.h>
#include <string.h>
#include <wchar.h>

enum { GAP = 2 };

static const char mark[] = "\xe2\x80\xa6"; /* an ellipsis */

/* The next character's bytes, and in `*columns` what it takes on the screen. */
static size_t next_character(const char *text, size_t *columns) {
    mbstate_t state = {0};
    wchar_t c;
    size_t len = mbrtowc(&c, text, strlen(text), &state);
    if (len == 0 || len > strlen(text)) {
        *columns = 1;
        return 1;
    }
    int width = wcwidth(c);
    *columns = width > 0 ? (size_t)width : 0;
    return len;
}

size_t cli_fit_width(const char *text) {
    size_t width = 0, columns;
    while (*text) {
        text += next_character(text, &columns);
        width += columns;
    }
    return width;
}

void cli_fit_cut(char *text, size_t cap, size_t width) {
    if (cli_fit_width(text) <= width) {
        return;
    }
    size_t used = 0, at = 0, columns;
    while (text[at]) {
        size_t len = next_character(text + at, &columns);
        if (used + columns + 1 > width || at + sizeof mark > cap) {
            break;
        }
        used += columns;
        at += len;
    }
    memcpy(text + at, mark, sizeof mark);
}

static size_t total(const cli_fit_column *columns, size_t n) {
    size_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        if (!columns[i].gone) {
            sum += (sum ? GAP : 0) + columns[i].width;
        }
    }
    return sum;
}

/* The widest text that can be cut; NULL: none can. */
static cli_fit_column *widest(cli_fit_column *columns, size_t n) {
    cli_fit_column *found = NULL;
    for (size_t i = 0; i < n; i++) {
        cli_fit_column *c = &columns[i];
        if (!c->gone && c->least > 0 && c->width > c->least &&
            (!found || c->width > found->width)) {
            found = c;
        }
    }
    return found;
}

static cli_fit_column *most_sparable(cli_fit_column *columns, size_t n) {
    cli_fit_column *found = NULL;
    for (size_t i = 0; i < n; i++) {
        cli_fit_column *c = &columns[i];
        if (!c->gone && c->spare > 0 && (!found || c->spare > found->spare)) {
            found = c;
        }
    }
    return found;
}

void cli_fit(cli_fit_column *columns, size_t n, size_t width) {
    while (total(columns, n) > width) {
        cli_fit_column *c = widest(columns, n);
        if (c) {
            c->width--;
        } else if ((c = most_sparable(columns, n))) {
            c->gone = true;
        } else {
            return; /* as narrow as it gets */
        }
    }
}
