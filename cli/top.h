/* top.h - what segmenter top shows: all groups as they are now, and how fast things go. */
#ifndef SEGMENTER_CLI_TOP_H
#define SEGMENTER_CLI_TOP_H
#include "group.h"
#include "listing.h"

typedef struct top_opts {
    const char *stream;
    const char *group;
    int64_t delay;
    int64_t count; /* -1: without an end */
    int64_t age_warn;
    bool once;
} top_opts;

/* One group. */
typedef struct top_row {
    cli_group_looks
        looks; /* `now` is NULL where it was not looked at; `before` is the tick's before */
    const seg_group_summary *group; /* borrowed from the tick */
    cli_health health;
    int64_t age;        /* ms; -1: nothing waits, or it is not known */
    uint64_t in_flight; /* SEG_UNKNOWN: not known */
    uint64_t attempts;
    double in, out;      /* messages a second, appended and committed; NAN: not known */
    double trend;        /* of the lag */
    uint64_t rebalances; /* partitions given to a member since the tick before; SEG_UNKNOWN */
} top_row;

/* One look at all. */
typedef struct top_tick {
    int64_t at_ms;      /* since 1970 */
    int64_t at_us;      /* monotonic: clocks step */
    int64_t between_ms; /* since the tick before; 0: there is none */
    seg_streams *streams;
    seg_groups *groups;
    top_row *rows;
    size_t n_rows;
    bool one; /* group was asked for */
} top_tick;

/* Look; `before` (NULL: none) is the tick before, which has to outlive `out`. False with the fault. */
bool top_look(top_tick *out, const top_tick *before, seg_client *client, const top_opts *o,
              seg_error *err);
/* The look at the one group that was asked for, or NULL. */
const cli_group_looks *top_one(const top_tick *t);
void top_tick_fini(top_tick *t);

/* Write a tick as one object of JSON, or as tables. */
void top_print_json(FILE *out, const top_tick *t);
void top_print_tables(FILE *out, const top_tick *t, const cli_output *output);

enum { TOP_COLUMNS = 14 };
extern const cli_column top_columns[TOP_COLUMNS]; /* of the groups */

/* ---- The terminal (top_screen.c) ------------------------------------------------------------- */

/* Take over the terminal, and give it back. */
void top_screen_begin(void);
void top_screen_end(void);
/* Show these lines from the top, as many as there is room for. */
void top_screen_draw(const char *text);
/* Wait for `ms`, or until a signal or the key q: then true. */
bool top_screen_wait(int64_t ms);

#endif
