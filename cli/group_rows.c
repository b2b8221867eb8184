/* group_rows.c - a group's partitions as rows and as JSON: of group describe, and of top. */
#include "group.h"

const cli_column cli_partition_columns[CLI_PARTITION_COLUMNS] = {
    {"PARTITION", "partition", CLI_COLUMN_COUNT, 0, 0, "its number"},
    {"ERA", "era", CLI_COLUMN_COUNT, CLI_COLUMN_DATA, 0, "the generation of its log"},
    {"FIRST", "first", CLI_COLUMN_COUNT, CLI_COLUMN_DATA, 0,
     "offset of the oldest message that is kept"},
    {"COMMITTED", "committed", CLI_COLUMN_COUNT, CLI_SPARE(4), 0,
     "offset of the first message that is not acknowledged"},
    {"NEXT", "next", CLI_COLUMN_COUNT, CLI_SPARE(5), 0, "offset that the next message will get"},
    {"LAG", "lag", CLI_COLUMN_COUNT, 0, 0,
     "messages from committed to next, less those that were dropped: as XINFO GROUPS says too, but "
     "for "
     "a group that was overtaken, until its next commit"},
    {"AGE", "lag_ms", CLI_COLUMN_SPAN, 0, 0,
     "how old the oldest message is that is not acknowledged (the first of its batch)"},
    {"TREND", "lag_per_s", CLI_COLUMN_RATE, CLI_SPARE(3), 0,
     "how the lag changes, messages a second"},
    {"ACKED", "acked", CLI_COLUMN_COUNT, CLI_COLUMN_DATA, 0,
     "messages acknowledged out of order, part of the lag all the same"},
    {"FLIGHT", "in_flight", CLI_COLUMN_COUNT, CLI_SPARE(6), 0,
     "messages that were delivered and are not settled, at most"},
    {"TRIES", "attempts", CLI_COLUMN_COUNT, CLI_SPARE(7), 0,
     "deliveries of the message that was delivered most often and is not acknowledged"},
    {"EPOCH", "epoch", CLI_COLUMN_COUNT, CLI_SPARE(8), 0, "grows with each new owner"},
    {"OWNER", "owner", CLI_COLUMN_TEXT, CLI_SPARE(2), 200, "the member that has it"},
    {"STATUS", "status", CLI_COLUMN_TEXT, 0, 0, "ok, warn, stalled, rewound, orphaned or damaged"},
};

static void put_partition(cli_listing *l, const cli_group_looks *looks, uint32_t i) {
    cli_look look = cli_look_at(looks, i);
    const seg_group_partition *p = look.now;
    cli_health health = cli_judge(&look);
    cli_put_count(l, i);
    cli_put_count(l, p->era);
    cli_put_count(l, p->first);
    cli_put_count(l, p->committed);
    cli_put_count(l, p->next);
    cli_put_count(l, p->lag);
    cli_put_span(l, cli_age(p, looks->now_ms));
    cli_put_real(l, cli_trend(&look));
    cli_put_count(l, p->acked);
    cli_put_count(l, p->in_flight);
    cli_put_count(l, p->status == SEG_OK ? p->attempts : SEG_UNKNOWN);
    cli_put_count(l, p->epoch);
    cli_put_text(l, p->owner);
    cli_put_text(l, cli_health_name(health));
    cli_put_colour(l, cli_health_colour(health));
}

void cli_put_partitions(cli_listing *l, const cli_group_looks *looks) {
    for (uint32_t i = 0; i < seg_group_info_partitions(looks->now); i++) {
        put_partition(l, looks, i);
    }
    cli_listing_end(l);
}

json_t *cli_partitions_json(const cli_group_looks *looks) {
    static const uint16_t order[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 11, 13};
    static const cli_output rows = {
        .json = true, .sort_by = SIZE_MAX, .shown = order, .n_shown = CLI_COUNT(order)};
    json_t *list = json_array();
    cli_listing l;
    cli_listing_init_with(&l, &rows, cli_partition_columns, CLI_PARTITION_COLUMNS);
    l.into = list;
    cli_put_partitions(&l, looks);
    return list;
}
