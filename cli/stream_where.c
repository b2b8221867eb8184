/* stream_where.c - segmenter stream where: the place of a key. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "damage.h"
#include "each.h"
#include "listing.h"

enum { GROUPS_MAX = 50 }; /* where none is named: each takes a look at all of its partitions */

typedef struct where_opts {
    const char *group;
} where_opts;

static const cli_opt table[] = {
    {.name = "group",
     .letter = 'g',
     .type = CLI_NAME,
     .arg = "GROUP",
     .at = offsetof(where_opts, group),
     .text = "only this group's owner; otherwise those of all groups of the stream, of 50 at most"},
};

static const cli_column columns[] = {
    {"KEY", "key", CLI_COLUMN_BYTES, 0, 64, "the key"},
    {"HASH", "hash", CLI_COLUMN_TEXT, CLI_SPARE(4), 0, "FNV-1a, 32 bits, of the key, in hex"},
    {"PARTITION", "partition", CLI_COLUMN_COUNT, 0, 0, "the hash modulo the number of partitions"},
    {"SLOT", "slot", CLI_COLUMN_COUNT, CLI_SPARE(3), 0,
     "where the partition's keys are in a cluster"},
    {"GROUP", "group", CLI_COLUMN_TEXT, 0, 0, "a group of the stream"},
    {"OWNER", "owner", CLI_COLUMN_TEXT, 0, 200, "its member that has the partition"},
    {"HOST", "host", CLI_COLUMN_TEXT, CLI_SPARE(2), 200, "the machine that this member runs on"},
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

/* One group, asked for beside others. */
typedef struct found {
    seg_group_info *info;
    seg_status status;
    seg_error err;
} found;

typedef struct search {
    const place *at;
    const char *const *groups;
    found *found;
} search;

static void ask(size_t i, void *arg) {
    search *s = arg;
    found *f = &s->found[i];
    f->status = seg_group_describe(&f->info, s->at->client, s->at->stream, s->groups[i], &f->err);
}

/* What was deleted meanwhile is left out, what is damaged is told. */
static int put_all(place *at, const char *const *groups, size_t n, bool must_exist) {
    search s = {at, groups, cli_alloc(n, sizeof *s.found)};
    int code = CLI_OK;
    cli_each(n, ask, &s);
    for (size_t i = 0; i < n; i++) {
        found *f = &s.found[i];
        if (f->status == SEG_OK) {
            put_row(at, f->info);
            seg_group_info_free(f->info);
        } else if (must_exist || f->status != SEG_ENOENT) {
            int one = cli_error(&f->err);
            code = must_exist || !cli_is_damage(f->status) ? one : code;
        }
    }
    free(s.found);
    return code;
}

static int put_groups(place *at) {
    seg_error err;
    seg_names *names;
    if (seg_group_list(&names, at->client, at->stream, &err) != SEG_OK) {
        return cli_error(&err);
    }
    size_t n = seg_names_count(names), shown = n < GROUPS_MAX ? n : GROUPS_MAX;
    const char **groups = cli_alloc(shown, sizeof *groups);
    for (size_t i = 0; i < shown; i++) {
        groups[i] = seg_names_at(names, i);
    }
    int code = put_all(at, groups, shown, false);
    if (n == 0) {
        put_row(at, NULL);
    }
    if (n > shown) {
        cli_note("these are %zu of %zu groups; -g GROUP shows any", shown, n);
    }
    free(groups);
    seg_names_free(names);
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
    int code = o->group ? put_all(&at, &o->group, 1, true) : put_groups(&at);
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
