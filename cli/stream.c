/* stream.c - segmenter stream create, ls, info, rm. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "json.h"
#include "listing.h"
#include "text.h"

/* ---- create ---------------------------------------------------------------------------------- */

typedef struct create_opts {
    int64_t partitions;
    int64_t size;
    int on_full;
    bool accept_existing;
} create_opts;

static const cli_opt create_table[] = {
    {.name = "partitions",
     .letter = 'p',
     .type = CLI_NUMBER,
     .arg = "PARTITIONS",
     .at = offsetof(create_opts, partitions),
     .min = 1,
     .max = 4096,
     .required = true,
     .text = "number of partitions, fixed for good"},
    {.name = "size",
     .type = CLI_NUMBER,
     .arg = "MESSAGES",
     .at = offsetof(create_opts, size),
     .min = 1,
     .max = INT64_C(1) << 40,
     .fallback = "100000",
     .text = "messages that each partition keeps"},
    {.name = "on-full",
     .type = CLI_CHOICE,
     .arg = "block|reject|drop-oldest",
     .at = offsetof(create_opts, on_full),
     .fallback = "block",
     .text = "what an append does when all that are kept are unread: wait for a reader, fail, or "
             "drop the oldest"},
    {.name = "accept-existing",
     .type = CLI_FLAG,
     .at = offsetof(create_opts, accept_existing),
     .text = "a stream that exists is fine whatever its settings are"},
};

/* The order of the words in --on-full. */
static const seg_on_full policies[] = {SEG_BLOCK, SEG_FAIL, SEG_DROP_OLDEST};

static void print_settings(const seg_stream_info *info, const char *verb) {
    uint32_t partitions = seg_stream_info_partitions(info);
    uint64_t size = seg_stream_info_max_messages(info);
    printf("%s stream %s: %" PRIu32 " partition%s of %" PRIu64 " message%s, on full %s\n", verb,
           seg_stream_info_name(info), partitions, partitions == 1 ? "" : "s", size,
           size == 1 ? "" : "s", seg_on_full_name(seg_stream_info_on_full(info)));
}

static int create(seg_client *client, const char *name, const create_opts *o) {
    seg_stream_options opts;
    SEG_INIT(&opts);
    opts.partitions = (uint32_t)o->partitions;
    opts.max_messages = (uint64_t)o->size;
    opts.on_full = policies[o->on_full];
    opts.accept_existing = o->accept_existing;

    /* The library does not say whether it made the stream, so look before. */
    seg_error err;
    seg_stream_info *info = NULL;
    bool existed = seg_stream_describe(&info, client, name, NULL) == SEG_OK;
    seg_stream_info_free(info);
    if (seg_stream_create(client, name, &opts, &err) != SEG_OK ||
        seg_stream_describe(&info, client, name, &err) != SEG_OK) {
        return cli_error(&err);
    }
    print_settings(info, existed ? "exists already:" : "created");
    seg_stream_info_free(info);
    return CLI_OK;
}

static int run_create(const cli_run *run) {
    seg_client *client;
    int code = cli_open(&client, run->globals, false);
    if (code != CLI_OK) {
        return code;
    }
    code = create(client, run->args[0], run->opts);
    seg_client_close(client);
    return code;
}

/* ---- ls -------------------------------------------------------------------------------------- */

static const cli_column stream_columns[] = {
    {"STREAM", "stream", CLI_COLUMN_TEXT, 0, 0, "its name"},
    {"PARTITIONS", "partition_count", CLI_COLUMN_COUNT, 0, 0, "how many it has"},
    {"SIZE", "max_messages", CLI_COLUMN_COUNT, CLI_SPARE(3), 0,
     "messages that each partition keeps"},
    {"ON-FULL", "on_full", CLI_COLUMN_TEXT, CLI_SPARE(4), 0,
     "what an append to a full partition does"},
    {"MESSAGES", "messages", CLI_COLUMN_COUNT, 0, 0, "messages that are kept"},
    {"APPENDED", "appended", CLI_COLUMN_COUNT, CLI_COLUMN_DATA, 0, "since it was created"},
    {"GROUPS", "group_count", CLI_COLUMN_COUNT, CLI_SPARE(2), 0, "how many there are"},
    {"CREATED", "created_ms", CLI_COLUMN_TIME, CLI_SPARE(5), 0, "when it was created"},
    {"STATUS", "status", CLI_COLUMN_TEXT, 0, 0, "ok, or damaged: a part of its data is missing"},
};

static void put_status(cli_listing *l, seg_status status) {
    cli_put_text(l, status == SEG_OK ? "ok" : "damaged");
    cli_put_colour(l, status == SEG_OK ? CLI_GREEN : CLI_RED);
}

static int run_ls(const cli_run *run) {
    seg_client *client;
    seg_error err;
    seg_streams *streams;
    int code = cli_open(&client, run->globals, false);
    if (code != CLI_OK) {
        return code;
    }
    if (seg_stream_overview(&streams, client, &err) == SEG_OK) {
        cli_listing l;
        cli_listing_init(&l, run);
        for (size_t i = 0; i < seg_streams_count(streams); i++) {
            const seg_stream_summary *s = seg_streams_at(streams, i);
            bool known = s->status != SEG_EPROTO;
            cli_put_text(&l, s->name);
            cli_put_count(&l, known ? s->partitions : SEG_UNKNOWN);
            cli_put_count(&l, known ? s->max_messages : SEG_UNKNOWN);
            cli_put_text(&l, known ? seg_on_full_name(s->on_full) : NULL);
            cli_put_count(&l, s->messages);
            cli_put_count(&l, s->appended);
            cli_put_count(&l, s->groups);
            cli_put_time(&l, s->created);
            put_status(&l, s->status);
        }
        cli_listing_end(&l);
        seg_streams_free(streams);
    } else {
        code = cli_error(&err);
    }
    seg_client_close(client);
    return code;
}

/* ---- info ------------------------------------------------------------------------------------ */

typedef struct info_opts {
    bool partitions;
} info_opts;

static const cli_opt info_table[] = {
    {.name = "partitions",
     .type = CLI_FLAG,
     .at = offsetof(info_opts, partitions),
     .text = "only the partitions, one a line, also with --json"},
};

static const cli_column partition_columns[] = {
    {"PARTITION", "partition", CLI_COLUMN_COUNT, 0, 0, "its number"},
    {"ERA", "era", CLI_COLUMN_COUNT, 0, 0, "the generation of its log"},
    {"FIRST", "first", CLI_COLUMN_COUNT, 0, 0, "offset of the oldest message that is kept"},
    {"NEXT", "next", CLI_COLUMN_COUNT, 0, 0, "offset that the next message will get"},
    {"MESSAGES", "messages", CLI_COLUMN_COUNT, 0, 0, "messages that are kept"},
    {"SLOT", "slot", CLI_COLUMN_COUNT, CLI_COLUMN_DATA, 0, "of its keys in a cluster"},
    {"PRODUCERS", "producers", CLI_COLUMN_COUNT, CLI_COLUMN_DATA, 0,
     "those in use, and those of the last hour"},
    {"FOREIGN", "foreign", CLI_COLUMN_COUNT, CLI_COLUMN_DATA, 0,
     "entries of somebody else that were taken out of its log"},
    {"STATUS", "status", CLI_COLUMN_TEXT, 0, 0, "ok, or damaged: a part of its data is missing"},
};

static void put_partitions(cli_listing *l, const seg_stream_info *info) {
    for (uint32_t i = 0; i < seg_stream_info_partitions(info); i++) {
        const seg_stream_partition *p = seg_stream_info_partition(info, i);
        cli_put_count(l, i);
        cli_put_count(l, p->era);
        cli_put_count(l, p->first);
        cli_put_count(l, p->next);
        cli_put_count(l, p->messages);
        cli_put_count(l, p->slot);
        cli_put_count(l, p->producers);
        cli_put_count(l, p->foreign);
        put_status(l, p->status);
    }
    cli_listing_end(l);
}

/* The settings, in a table of one line above that of the partitions. */
static void print_head(const seg_stream_info *info) {
    static const char *const headings[] = {"STREAM",  "PARTITIONS", "SIZE",
                                           "ON-FULL", "MESSAGES",   "CREATED"};
    char created[32];
    cli_text_time(created, seg_stream_info_created(info));
    cli_table t;
    cli_table_init(&t, "lrrlrl", headings);
    cli_table_add(&t, "%s", seg_stream_info_name(info));
    cli_table_add(&t, "%" PRIu32, seg_stream_info_partitions(info));
    cli_table_add(&t, "%" PRIu64, seg_stream_info_max_messages(info));
    cli_table_add(&t, "%s", seg_on_full_name(seg_stream_info_on_full(info)));
    if (seg_stream_info_messages(info) == SEG_UNKNOWN) {
        cli_table_add(&t, "-");
    } else {
        cli_table_add(&t, "%" PRIu64, seg_stream_info_messages(info));
    }
    cli_table_add(&t, "%s", created);
    cli_table_print(&t, stdout);
    cli_table_fini(&t);
    fputc('\n', stdout);
}

/* All in one object. */
static void print_json(const seg_stream_info *info) {
    static const cli_output rows = {.json = true, .sort_by = SIZE_MAX};
    json_t *object = cli_json_object(), *partitions = json_array();
    cli_listing l;
    cli_json_text(object, "stream", seg_stream_info_name(info));
    cli_json_number(object, "partition_count", seg_stream_info_partitions(info));
    cli_json_number(object, "max_messages", seg_stream_info_max_messages(info));
    cli_json_text(object, "on_full", seg_on_full_name(seg_stream_info_on_full(info)));
    cli_json_number(object, "messages", seg_stream_info_messages(info));
    cli_json_add(object, "created_ms", json_integer(seg_stream_info_created(info)));
    cli_json_add(object, "partitions", partitions);
    cli_listing_init_with(&l, &rows, partition_columns, CLI_COUNT(partition_columns));
    l.into = partitions;
    put_partitions(&l, info);
    cli_json_print(stdout, object);
}

static int run_info(const cli_run *run) {
    const info_opts *o = run->opts;
    const cli_output *out = run->output;
    seg_client *client;
    int code = cli_open(&client, run->globals, false);
    if (code != CLI_OK) {
        return code;
    }
    seg_error err;
    seg_stream_info *info;
    if (seg_stream_describe(&info, client, run->args[0], &err) != SEG_OK) {
        code = cli_error(&err);
    } else {
        if (out->json && !o->partitions && !out->columns && !out->sort) {
            print_json(info);
        } else {
            if (!out->json && !out->csv && !out->columns && !o->partitions) {
                print_head(info);
            }
            cli_listing l;
            cli_listing_init(&l, run);
            put_partitions(&l, info);
        }
        seg_stream_info_free(info);
    }
    seg_client_close(client);
    return code;
}

/* ---- rm -------------------------------------------------------------------------------------- */

typedef struct rm_opts {
    bool yes;
} rm_opts;

static const cli_opt rm_table[] = {
    {.name = "yes",
     .type = CLI_FLAG,
     .at = offsetof(rm_opts, yes),
     .text = "really do it; nothing is deleted without this"},
};

static int run_rm(const cli_run *run) {
    const rm_opts *o = run->opts;
    if (!o->yes) {
        return cli_usage(
            "this deletes stream '%s' with its messages and groups; add --yes to do it",
            run->args[0]);
    }
    seg_client *client;
    int code = cli_open(&client, run->globals, false);
    if (code != CLI_OK) {
        return code;
    }
    seg_error err;
    if (seg_stream_delete(client, run->args[0], &err) != SEG_OK) {
        code = cli_error(&err);
    } else {
        printf("deleted stream %s\n", run->args[0]);
    }
    seg_client_close(client);
    return code;
}

/* ---- The commands ---------------------------------------------------------------------------- */

const cli_command cli_stream_create = {
    .name = "stream create",
    .args = "NAME",
    .min_args = 1,
    .max_args = 1,
    .brief = "Create a stream",
    .about = "Create a stream. Its settings are fixed then. Creating it again with the same "
             "settings is success and says so; with other settings it is a conflict (exit 4).",
    .opts = create_table,
    .n_opts = CLI_COUNT(create_table),
    .opts_size = sizeof(create_opts),
    .run = run_create,
};

const cli_command cli_stream_ls = {
    .name = "stream ls",
    .args = "",
    .brief = "List the streams of the namespace",
    .about = "List the streams of the namespace with their settings and the messages they keep.",
    .columns = stream_columns,
    .n_columns = CLI_COUNT(stream_columns),
    .run = run_ls,
};

const cli_command cli_stream_info = {
    .name = "stream info",
    .args = "NAME",
    .min_args = 1,
    .max_args = 1,
    .brief = "Show a stream and its partitions",
    .about = "Show a stream's settings and, for each partition, the offsets of the oldest message "
             "that is kept (FIRST) and of the message that comes next (NEXT). With --json that is "
             "one object, unless --columns or --sort is given: they and --csv are about the "
             "partitions.",
    .opts = info_table,
    .n_opts = CLI_COUNT(info_table),
    .opts_size = sizeof(info_opts),
    .columns = partition_columns,
    .n_columns = CLI_COUNT(partition_columns),
    .run = run_info,
};

const cli_command cli_stream_rm = {
    .name = "stream rm",
    .args = "NAME",
    .min_args = 1,
    .max_args = 1,
    .brief = "Delete a stream, its messages and groups",
    .about = "Delete a stream with its messages and its groups. Its producers and consumers fail "
             "with \"no such stream\".",
    .opts = rm_table,
    .n_opts = CLI_COUNT(rm_table),
    .opts_size = sizeof(rm_opts),
    .run = run_rm,
};
