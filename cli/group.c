/* group.c - segmenter group ls, rm. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "group.h"
#include "listing.h"

typedef struct group_opts {
    const char *stream;
    bool yes;
} group_opts;

#define STREAM_OPTION(is_required, what)                                                           \
    {                                                                                              \
        .name = "stream", .letter = 's', .type = CLI_NAME, .arg = "STREAM",                        \
        .at = offsetof(group_opts, stream), .required = (is_required), .text = (what)              \
    }

/* ---- ls -------------------------------------------------------------------------------------- */

static const cli_opt ls_table[] = {
    STREAM_OPTION(false, "only this stream's groups; otherwise those of all streams"),
};

static const cli_column columns[] = {
    {"GROUP", "group", CLI_COLUMN_TEXT, 0, 0, "its name"},
    {"STREAM", "stream", CLI_COLUMN_TEXT, 0, 0, "its stream"},
    {"MEMBERS", "member_count", CLI_COLUMN_COUNT, CLI_SPARE(1), 0, "live members"},
    {"PARTITIONS", "partition_count", CLI_COLUMN_COUNT, CLI_SPARE(2), 0, "of the stream"},
    {"UNOWNED", "unowned", CLI_COLUMN_COUNT, CLI_COLUMN_DATA, 0,
     "of these, those that no live member owns"},
    {"LAG", "lag", CLI_COLUMN_COUNT, 0, 0, "messages that are not committed"},
    {"EPOCH", "epoch", CLI_COLUMN_COUNT, CLI_COLUMN_DATA, 0,
     "how often a partition was given to a member"},
    {"STATUS", "status", CLI_COLUMN_TEXT, 0, 0,
     "ok, orphaned (messages wait, and a partition has no owner) or damaged; group describe knows "
     "more"},
};

static void list(const cli_run *run, const seg_groups *groups) {
    cli_listing l;
    cli_listing_init(&l, run);
    for (size_t i = 0; i < seg_groups_count(groups); i++) {
        const seg_group_summary *g = seg_groups_at(groups, i);
        cli_put_text(&l, g->group);
        cli_put_text(&l, g->stream);
        cli_put_count(&l, g->members);
        cli_put_count(&l, g->partitions);
        cli_put_count(&l, g->unowned);
        cli_put_count(&l, g->lag);
        cli_put_count(&l, g->epoch);
        cli_health health = cli_judge_summary(g);
        cli_put_text(&l, cli_health_name(health));
        cli_put_colour(&l, cli_health_colour(health));
    }
    cli_listing_end(&l);
}

static int run_ls(const cli_run *run) {
    const group_opts *o = run->opts;
    seg_client *client;
    seg_error err;
    seg_groups *groups;
    int code = cli_open(&client, run->globals, false);
    if (code != CLI_OK) {
        return code;
    }
    if (seg_group_overview(&groups, client, o->stream, &err) == SEG_OK) {
        list(run, groups);
        seg_groups_free(groups);
    } else {
        code = cli_error(&err);
    }
    seg_client_close(client);
    return code;
}

/* ---- rm -------------------------------------------------------------------------------------- */

static const cli_opt rm_table[] = {
    STREAM_OPTION(true, "the group's stream"),
    {.name = "yes",
     .type = CLI_FLAG,
     .at = offsetof(group_opts, yes),
     .text = "really do it; nothing is deleted without this"},
};

static int run_rm(const cli_run *run) {
    const group_opts *o = run->opts;
    const char *group = run->args[0];
    if (!o->yes) {
        return cli_usage("this deletes group '%s' of stream '%s' and its place in the stream; "
                         "add --yes to do it",
                         group, o->stream);
    }
    seg_client *client;
    int code = cli_open(&client, run->globals, false);
    if (code != CLI_OK) {
        return code;
    }
    seg_error err;
    if (seg_group_delete(client, o->stream, group, &err) != SEG_OK) {
        code = cli_error(&err);
    } else {
        printf("deleted group %s of stream %s\n", group, o->stream);
    }
    seg_client_close(client);
    return code;
}

/* ---- The commands ---------------------------------------------------------------------------- */

const cli_command cli_group_ls = {
    .name = "group ls",
    .args = "",
    .brief = "List consumer groups",
    .about = "List consumer groups with their members, partitions and lag: the messages that the "
             "group has not committed.",
    .opts = ls_table,
    .n_opts = CLI_COUNT(ls_table),
    .opts_size = sizeof(group_opts),
    .columns = columns,
    .n_columns = CLI_COUNT(columns),
    .run = run_ls,
};

const cli_command cli_group_rm = {
    .name = "group rm",
    .args = "GROUP",
    .min_args = 1,
    .max_args = 1,
    .brief = "Delete a group and its place in the stream",
    .about = "Delete a group and its place in the stream. While it has live members that is a "
             "conflict (exit 4).",
    .opts = rm_table,
    .n_opts = CLI_COUNT(rm_table),
    .opts_size = sizeof(group_opts),
    .run = run_rm,
};
