/* group_describe.c - segmenter group describe and members: how a group does. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "group.h"
#include "json.h"
#include "listing.h"

typedef struct describe_opts {
    const char *stream;
    int64_t window;
    int64_t age_warn;
} describe_opts;

#define STREAM_OPTION                                                                              \
    {                                                                                              \
        .name = "stream", .letter = 's', .type = CLI_NAME, .arg = "STREAM",                        \
        .at = offsetof(describe_opts, stream), .required = true, .text = "the group's stream"      \
    }

/* ---- describe -------------------------------------------------------------------------------- */

static const cli_opt describe_table[] = {
    STREAM_OPTION,
    {.name = "window",
     .type = CLI_DURATION,
     .arg = "DURATION",
     .at = offsetof(describe_opts, window),
     .min = 0,
     .max = 3600000,
     .fallback = "1s",
     .text = "look twice, so far apart, to see where things go; 0: once, and the trend is unknown"},
    {.name = "age-warn",
     .type = CLI_DURATION,
     .arg = "DURATION",
     .at = offsetof(describe_opts, age_warn),
     .min = 0,
     .max = INT64_MAX,
     .fallback = "1m",
     .text = "a message that waits for longer is worth a warning"},
};

static json_t *json_member(const seg_group_info *g, size_t i) {
    size_t n;
    const uint32_t *owned = seg_group_info_owned(g, i, &n);
    json_t *partitions = json_array(), *member = json_object();
    for (size_t k = 0; k < n; k++) {
        json_array_append_new(partitions, json_integer(owned[k]));
    }
    cli_json_text(member, "id", seg_group_info_member(g, i));
    cli_json_text(member, "host", seg_group_info_host(g, i));
    cli_json_number(member, "session_ms", (uint64_t)seg_group_info_session(g, i));
    cli_json_number(member, "lease_ms", (uint64_t)seg_group_info_lease(g, i));
    cli_json_add(member, "partitions", partitions);
    return member;
}

/* All in one object. */
static void print_json(const cli_group_looks *looks) {
    const seg_group_info *g = looks->now;
    json_t *object = cli_json_object(), *members = json_array();
    for (size_t i = 0; i < seg_group_info_members(g); i++) {
        json_array_append_new(members, json_member(g, i));
    }
    cli_json_text(object, "group", seg_group_info_name(g));
    cli_json_text(object, "stream", seg_group_info_stream(g));
    cli_json_text(object, "status", cli_health_name(cli_group_judge(looks)));
    cli_json_number(object, "epoch", seg_group_info_epoch(g));
    cli_json_span(object, "lag_ms", cli_group_age(looks));
    cli_json_rate(object, "lag_per_s", cli_group_trend(looks));
    cli_json_number(object, "lag", seg_group_info_lag(g));
    cli_json_add(object, "members", members);
    cli_json_add(object, "partitions", cli_partitions_json(looks));
    cli_json_print(stdout, object);
}

static void print_head(const cli_group_looks *looks) {
    const seg_group_info *g = looks->now;
    size_t members = seg_group_info_members(g);
    uint64_t lag = seg_group_info_lag(g);
    printf("group %s of stream %s: ", seg_group_info_name(g), seg_group_info_stream(g));
    if (lag == SEG_UNKNOWN) {
        fputs("lag unknown", stdout);
    } else {
        printf("lag %" PRIu64, lag);
    }
    printf(", %zu member%s, %s\n\n", members, members == 1 ? "" : "s",
           cli_health_name(cli_group_judge(looks)));
}

static const cli_column member_columns[] = {
    {"MEMBER", "id", CLI_COLUMN_TEXT, 0, 200, "its name"},
    {"HOST", "host", CLI_COLUMN_TEXT, 0, 200, "the machine that it runs on"},
    {"SESSION", "session_ms", CLI_COLUMN_SPAN, 0, 0,
     "a member that was not heard of for so long is dead"},
    {"LEASE", "lease_ms", CLI_COLUMN_SPAN, 0, 0, "what is left of that"},
    {"COUNT", "partition_count", CLI_COLUMN_COUNT, 0, 0, "partitions that it owns"},
    {"LAG", "lag", CLI_COLUMN_COUNT, 0, 0, "of these partitions"},
    {"PARTITIONS", "partitions", CLI_COLUMN_RANGES, 0, 200, "which they are"},
};

static uint64_t lag_of(const seg_group_info *g, const uint32_t *owned, size_t n) {
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum = cli_known_sum(sum, seg_group_info_partition(g, owned[i])->lag);
    }
    return sum;
}

static void list_members(const cli_output *output, const seg_group_info *g) {
    cli_listing l;
    cli_listing_init_with(&l, output, member_columns, CLI_COUNT(member_columns));
    for (size_t i = 0; i < seg_group_info_members(g); i++) {
        size_t n;
        const uint32_t *owned = seg_group_info_owned(g, i, &n);
        char *ranges = cli_ranges(owned, n);
        cli_put_text(&l, seg_group_info_member(g, i));
        cli_put_text(&l, seg_group_info_host(g, i));
        cli_put_span(&l, seg_group_info_session(g, i));
        cli_put_span(&l, seg_group_info_lease(g, i));
        cli_put_count(&l, n);
        cli_put_count(&l, lag_of(g, owned, n));
        cli_put_text(&l, ranges);
        free(ranges);
    }
    cli_listing_end(&l);
}

static void describe(const cli_run *run, const cli_group_looks *looks) {
    static const cli_output table = {.sort_by = SIZE_MAX};
    const cli_output *out = run->output;
    if (out->json && !out->columns && !out->sort) {
        print_json(looks);
        return;
    }
    if (!out->json && !out->csv && !out->columns) {
        print_head(looks);
        if (seg_group_info_members(looks->now) > 0) {
            list_members(&table, looks->now);
            fputc('\n', stdout);
        }
    }
    cli_listing l;
    cli_listing_init(&l, run);
    cli_put_partitions(&l, looks);
}

typedef void show_fn(const cli_run *run, const cli_group_looks *looks);

static int look_and_show(const cli_run *run, int64_t window, int64_t age_warn, show_fn *show) {
    const describe_opts *o = run->opts;
    seg_client *client;
    int code = cli_open(&client, run->globals, false);
    if (code != CLI_OK) {
        return code;
    }
    cli_group_looks looks;
    code = cli_group_look(&looks, client, o->stream, run->args[0], window, age_warn);
    if (code == CLI_OK) {
        show(run, &looks);
        cli_group_looks_fini(&looks);
    }
    seg_client_close(client);
    return code;
}

static int run_describe(const cli_run *run) {
    const describe_opts *o = run->opts;
    return look_and_show(run, o->window, o->age_warn, describe);
}

const cli_command cli_group_describe = {
    .name = "group describe",
    .args = "GROUP",
    .min_args = 1,
    .max_args = 1,
    .brief = "Show a group's members, owners and lag",
    .about =
        "Show who is in the group, who owns which partition, how far the group has read it, "
        "and how it does. With --json that is one object, unless --columns or --sort is given: "
        "they and --csv are about the partitions. A value that cannot be told is \"-\" or null.\n\n"
        "STATUS is the worst that is true:\n"
        "  ok        nothing is wrong\n"
        "  warn      a message waits for longer than --age-warn, or was delivered again\n"
        "  stalled   as warn, and nothing was committed between the two looks\n"
        "  rewound   the group went back between the looks: a seek, or lost data\n"
        "  orphaned  messages wait, and no live member owns the partition\n"
        "  damaged   a part of the data is missing on the server; the lag is unknown",
    .opts = describe_table,
    .n_opts = CLI_COUNT(describe_table),
    .opts_size = sizeof(describe_opts),
    .columns = cli_partition_columns,
    .n_columns = CLI_PARTITION_COLUMNS,
    .run = run_describe,
};

/* ---- members --------------------------------------------------------------------------------- */

static const cli_opt members_table[] = {STREAM_OPTION};

static void show_members(const cli_run *run, const cli_group_looks *looks) {
    list_members(run->output, looks->now);
}

static int run_members(const cli_run *run) {
    return look_and_show(run, 0, 0, show_members);
}

const cli_command cli_group_members = {
    .name = "group members",
    .args = "GROUP",
    .min_args = 1,
    .max_args = 1,
    .brief = "List a group's live members",
    .about = "List a group's live members, with the partitions that each owns.",
    .opts = members_table,
    .n_opts = CLI_COUNT(members_table),
    .opts_size = sizeof(describe_opts),
    .columns = member_columns,
    .n_columns = CLI_COUNT(member_columns),
    .run = run_members,
};
