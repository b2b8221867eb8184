/* fit.h - cutting a table to the terminal's width: texts that may be cut are cut, with a mark, and where
 * that is not enough the columns that can be spared go, the most sparable first. Pure. */
#ifndef SEGMENTER_CLI_FIT_H
#define SEGMENTER_CLI_FIT_H
#include <stdbool.h>
#include <stddef.h>

typedef struct cli_fit_column {
    size_t least; /* its texts may be cut to this width; 0: not at all */
    int spare;    /* 0: it stays; the larger the sooner it goes */
    size_t width; /* of its widest text; cut to it after */
    bool gone;
} cli_fit_column;

/* Columns on the screen that `text` takes. */
size_t cli_fit_width(const char *text);

/* Decide. `width`: of the terminal. */
void cli_fit(cli_fit_column *columns, size_t n, size_t width);

/* Cut `text` in place to `width` columns, of which the last is a mark. `cap`: bytes there. */
void cli_fit_cut(char *text, size_t cap, size_t width);

#endif
