/* stream_where.c - segmenter stream where: the place of a key. */
#include <inttypes.h>
#include <string.h>

#include "listing.h"

typedef struct where_opts {
    const char *group;
} where_opts;

static const cli_opt table[] = {
    {.name = "group",
     .letter = 'g',
     .type = CLI_NAME,
     .arg = "GROUP",
     .at = offsetof(where_opts, group),
     .text = "only this group's owner; otherwise those of all groups of the stream"},
};

static const cli_column columns[] = {
    {"KEY", "key", CLI_COLUMN_BYTES, 0, 64, "the key"},
    {"HASH", "hash", CLI_COLUMN_TEXT, 0, 0, "FNV-1a, 32 bits, of the key, in hex"},
    {"PARTITION", "partition", CLI_COLUMN_COUNT, 0, 0, "the hash modulo the number of partitions"},
    {"SLOT", "slot", CLI_COLUMN_COUNT, 0, 0, "where the partition's keys are in a cluster"},
    {"GROUP", "group", CLI_COLUMN_TEXT, 0, 0, "a group of the stream"},
    {"OWNER", "owner", CLI_COLUMN_TEXT, 0, 200, "its member that has the partition"},
    {"HOST", "host", CLI_COLUMN_TEXT, 0, 200, "the machine that this member runs on"},
    {"LAG", "lag", CLI_COLUMN_COUNT, 0, 0, "what the group has not committed of the partition"},
};

typedef struct place {
    cli_listing rows;
    seg_client *client;
    const char *stream;
    seg_bytes key;
    uint32_t partition;
    uint16_t slot;
} place;

static const char *host_of(const seg_group_info *g, const char *member) {
    for (size_t i = 0; member && i < seg_group_info_members(g); i++) {
        if (strcmp(seg_group_info_member(g, i), member) == 0) {
            return seg_group_info_host(g, i);
        }
    }
    return NULL;
}

/* `g`: NULL where the stream has none. */
static void put_row(place *at, const seg_group_info *g) {
    const seg_group_partition *p = g ? seg_group_info_partition(g, at->partition) : NULL;
    char hash[16];
    snprintf(hash, sizeof hash, "%08" PRIx32, seg_hash_of(at->key));
    cli_put_bytes(&at->rows, at->key);
    cli_put_text(&at->rows, hash);
    cli_put_count(&at->rows, at->partition);
    cli_put_count(&at->rows, at->slot);
    cli_put_text(&at->rows, g ? seg_group_info_name(g) : NULL);
    cli_put_text(&at->rows, p ? p->owner : NULL);
    cli_put_text(&at->rows, p ? host_of(g, p->owner) : NULL);
    cli_put_count(&at->rows, p ? p->lag : SEG_UNKNOWN);
}

static int put_group(place *at, const char *group, bool must_exist) {
    seg_error err;
    seg_group_info *g;
    seg_status status = seg_group_describe(&g, at->client, at->stream, group, &err);
    if (status == SEG_OK) {
        put_row(at, g);
        seg_group_info_free(g);
        return CLI_OK;
    }
    return status == SEG_ENOENT && !must_exist ? CLI_OK : cli_error(&err);
}

static int put_groups(place *at) {
    seg_error err;
    seg_names *groups;
    if (seg_group_list(&groups, at->client, at->stream, &err) != SEG_OK) {
        return cli_error(&err);
    }
    int code = CLI_OK;
    for (size_t i = 0; i < seg_names_count(groups) && code == CLI_OK; i++) {
        code = put_group(at, seg_names_at(groups, i), false);
    }
    if (seg_names_count(groups) == 0) {
        put_row(at, NULL);
    }
    seg_names_free(groups);
    return code;
}

static int where(const cli_run *run, seg_client *client) {
    const where_opts *o = run->opts;
    seg_error err;
    seg_stream_info *info;
    if (seg_stream_describe(&info, client, run->args[0], &err) != SEG_OK) {
        return cli_error(&err);
    }
    place at = {
        .client = client, .stream = run->args[0], .key = {run->args[1], strlen(run->args[1])}};
    at.partition = seg_partition_of(at.key, seg_stream_info_partitions(info));
    at.slot = seg_stream_info_partition(info, at.partition)->slot;
    seg_stream_info_free(info);
    cli_listing_init(&at.rows, run);
    int code = o->group ? put_group(&at, o->group, true) : put_groups(&at);
    if (code == CLI_OK) {
        cli_listing_end(&at.rows);
    } else {
        cli_listing_drop(&at.rows);
    }
    return code;
}

static int run_where(const cli_run *run) {
    seg_client *client;
    int code = cli_open(&client, run->globals, false);
    if (code == CLI_OK) {
        code = where(run, client);
        seg_client_close(client);
    }
    return code;
}

const cli_command cli_stream_where = {
    .name = "stream where",
    .args = "NAME KEY",
    .min_args = 2,
    .max_args = 2,
    .brief = "Show the partition of a key, and who has it",
    .about = "Show to which partition of a stream the messages of a key go, where that lies in a "
             "cluster, and which member of each group has it: who handled this customer's order? "
             "The messages are found with 'segmenter grep NAME --key'.",
    .opts = table,
    .n_opts = CLI_COUNT(table),
    .opts_size = sizeof(where_opts),
    .columns = columns,
    .n_columns = CLI_COUNT(columns),
    .run = run_where,
};
