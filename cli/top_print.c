/* top_print.c - a tick as tables and as JSON. */
#include <inttypes.h>
#include <math.h>

#include "json.h"
#include "listing.h"
#include "text.h"
#include "top.h"

const cli_column top_columns[TOP_COLUMNS] = {
    {"STREAM", "stream", CLI_COLUMN_TEXT, 0, 60, "the group's stream"},
    {"GROUP", "group", CLI_COLUMN_TEXT, 0, 60, "its name"},
    {"STATUS", "status", CLI_COLUMN_TEXT, 0, 0,
     "ok, warn, stalled, rewound, orphaned or damaged: see 'segmenter group describe --help'"},
    {"LAG", "lag", CLI_COLUMN_COUNT, 0, 0, "messages that are not committed"},
    {"AGE", "lag_ms", CLI_COLUMN_SPAN, 0, 0, "how old the oldest of them is"},
    {"TREND", "lag_per_s", CLI_COLUMN_RATE, CLI_SPARE(3), 0, "how the lag changes"},
    {"IN/S", "in_per_s", CLI_COLUMN_REAL, CLI_SPARE(2), 0, "messages appended a second"},
    {"OUT/S", "out_per_s", CLI_COLUMN_REAL, CLI_SPARE(2), 0, "messages committed a second"},
    {"MEMBERS", "member_count", CLI_COLUMN_COUNT, CLI_SPARE(4), 0, "live members"},
    {"PARTS", "partition_count", CLI_COLUMN_COUNT, CLI_SPARE(5), 0, "partitions of the stream"},
    {"UNOWNED", "unowned", CLI_COLUMN_COUNT, CLI_COLUMN_DATA, 0,
     "of these, those that no live member owns"},
    {"FLIGHT", "in_flight", CLI_COLUMN_COUNT, CLI_SPARE(6), 0,
     "messages delivered and not settled, at most"},
    {"TRIES", "attempts", CLI_COLUMN_COUNT, CLI_SPARE(7), 0,
     "deliveries of the unacknowledged message that was delivered most often: more than 1 is a "
     "redelivery"},
    {"MOVED", "rebalances", CLI_COLUMN_COUNT, CLI_SPARE(8), 0,
     "partitions that were given to a member since the look before"},
};

static void put_group(cli_listing *l, const top_row *row) {
    const seg_group_summary *g = row->group;
    cli_put_text(l, g->stream);
    cli_put_text(l, g->group);
    cli_put_text(l, cli_health_name(row->health));
    cli_put_colour(l, cli_health_colour(row->health));
    cli_put_count(l, g->lag);
    cli_put_span(l, row->age);
    cli_put_real(l, row->trend);
    cli_put_real(l, row->in);
    cli_put_real(l, row->out);
    cli_put_count(l, g->members);
    cli_put_count(l, g->partitions);
    cli_put_count(l, g->unowned);
    cli_put_count(l, row->in_flight);
    cli_put_count(l, row->attempts);
    cli_put_count(l, row->rebalances);
}

static void put_groups(cli_listing *l, const top_tick *t) {
    for (size_t i = 0; i < t->n_rows; i++) {
        put_group(l, &t->rows[i]);
    }
    cli_listing_end(l);
}

static void print_head(FILE *out, const top_tick *t) {
    char when[32];
    uint64_t lag = 0;
    for (size_t i = 0; i < t->n_rows; i++) {
        lag = cli_known_sum(lag, t->rows[i].group->lag);
    }
    cli_text_time(when, t->at_ms);
    fprintf(out, "%s  %zu group%s, lag ", when, t->n_rows, t->n_rows == 1 ? "" : "s");
    if (lag == SEG_UNKNOWN) {
        fputs("unknown\n\n", out);
    } else {
        fprintf(out, "%" PRIu64 "\n\n", lag);
    }
}

void top_print_tables(FILE *out, const top_tick *t, const cli_output *output) {
    static const cli_output plain = {.sort_by = SIZE_MAX};
    cli_listing l;
    if (!output->csv) {
        print_head(out, t);
    }
    cli_listing_init_with(&l, output, top_columns, TOP_COLUMNS);
    l.out = out;
    put_groups(&l, t);
    const cli_group_looks *looks = top_one(t);
    if (looks && !output->csv) {
        fputc('\n', out);
        cli_listing_init_with(&l, &plain, cli_partition_columns, CLI_PARTITION_COLUMNS);
        l.out = out;
        cli_put_partitions(&l, looks);
    }
}

/* ---- JSON ------------------------------------------------------------------------------------ */

void top_print_json(FILE *out, const top_tick *t) {
    static const uint16_t order[] = {0, 1, 8, 9, 10, 3, 4, 5, 6, 7, 11, 12, 13, 2};
    static const cli_output rows = {
        .json = true, .sort_by = SIZE_MAX, .shown = order, .n_shown = CLI_COUNT(order)};
    json_t *object = cli_json_object(), *groups = json_array();
    cli_json_add(object, "at_ms", json_integer(t->at_ms));
    cli_json_add(object, "between_ms", t->between_ms ? json_integer(t->between_ms) : json_null());
    cli_json_add(object, "groups", groups);
    cli_listing l;
    cli_listing_init_with(&l, &rows, top_columns, TOP_COLUMNS);
    l.into = groups;
    put_groups(&l, t);
    const cli_group_looks *looks = top_one(t);
    if (looks) {
        cli_json_add(object, "partitions", cli_partitions_json(looks));
    }
    cli_json_print(out, object);
}
