/* stream.c - segmenter stream create, ls, info, rm. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "json.h"
#include "table.h"
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

typedef struct json_opts {
    bool json;
} json_opts;

static const cli_opt json_table[] = {
    {.name = "json",
     .type = CLI_FLAG,
     .at = offsetof(json_opts, json),
     .text = "print one JSON object a line"},
};

static void add_row(cli_table *t, const seg_stream_info *info) {
    char created[32];
    cli_text_time(created, seg_stream_info_created(info));
    cli_table_add(t, "%s", seg_stream_info_name(info));
    cli_table_add(t, "%" PRIu32, seg_stream_info_partitions(info));
    cli_table_add(t, "%" PRIu64, seg_stream_info_max_messages(info));
    cli_table_add(t, "%s", seg_on_full_name(seg_stream_info_on_full(info)));
    cli_table_add(t, "%" PRIu64, seg_stream_info_messages(info));
    cli_table_add(t, "%s", created);
}

static json_t *json_settings(const seg_stream_info *info) {
    json_t *object = cli_json_object();
    cli_json_text(object, "stream", seg_stream_info_name(info));
    cli_json_number(object, "partition_count", seg_stream_info_partitions(info));
    cli_json_number(object, "max_messages", seg_stream_info_max_messages(info));
    cli_json_text(object, "on_full", seg_on_full_name(seg_stream_info_on_full(info)));
    cli_json_number(object, "messages", seg_stream_info_messages(info));
    cli_json_add(object, "created_ms", json_integer(seg_stream_info_created(info)));
    return object;
}

static int list(seg_client *client, bool json) {
    static const char *const headings[] = {"STREAM",  "PARTITIONS", "SIZE",
                                           "ON-FULL", "MESSAGES",   "CREATED"};
    seg_error err;
    seg_names *names;
    if (seg_stream_list(&names, client, &err) != SEG_OK) {
        return cli_error(&err);
    }
    cli_table table;
    cli_table_init(&table, "lrrlrl", headings);
    int code = CLI_OK;
    for (size_t i = 0; i < seg_names_count(names); i++) {
        seg_stream_info *info;
        seg_status status = seg_stream_describe(&info, client, seg_names_at(names, i), &err);
        if (status == SEG_ENOENT) {
            continue; /* deleted since the names were read */
        }
        if (status != SEG_OK) {
            code = cli_error(&err);
            continue;
        }
        if (json) {
            cli_json_print(stdout, json_settings(info));
        } else {
            add_row(&table, info);
        }
        seg_stream_info_free(info);
    }
    if (!json) {
        cli_table_print(&table, stdout);
    }
    cli_table_fini(&table);
    seg_names_free(names);
    return code;
}

static int run_ls(const cli_run *run) {
    const json_opts *o = run->opts;
    seg_client *client;
    int code = cli_open(&client, run->globals, false);
    if (code != CLI_OK) {
        return code;
    }
    code = list(client, o->json);
    seg_client_close(client);
    return code;
}

/* ---- info ------------------------------------------------------------------------------------ */

static void print_info(const seg_stream_info *info) {
    static const char *const settings[] = {"STREAM",  "PARTITIONS", "SIZE",
                                           "ON-FULL", "MESSAGES",   "CREATED"};
    static const char *const columns[] = {"PARTITION", "ERA", "FIRST", "NEXT", "MESSAGES"};
    cli_table table;
    cli_table_init(&table, "lrrlrl", settings);
    add_row(&table, info);
    cli_table_print(&table, stdout);
    cli_table_fini(&table);

    fputc('\n', stdout);
    cli_table_init(&table, "rrrrr", columns);
    for (uint32_t i = 0; i < seg_stream_info_partitions(info); i++) {
        const seg_stream_partition *p = seg_stream_info_partition(info, i);
        cli_table_add(&table, "%" PRIu32, i);
        cli_table_add(&table, "%" PRIu64, p->era);
        cli_table_add(&table, "%" PRIu64, p->first);
        cli_table_add(&table, "%" PRIu64, p->next);
        cli_table_add(&table, "%" PRIu64, p->messages);
    }
    cli_table_print(&table, stdout);
    cli_table_fini(&table);
}

static void print_info_json(const seg_stream_info *info) {
    json_t *object = json_settings(info);
    json_t *partitions = json_array();
    cli_json_add(object, "partitions", partitions);
    for (uint32_t i = 0; i < seg_stream_info_partitions(info); i++) {
        const seg_stream_partition *p = seg_stream_info_partition(info, i);
        json_t *one = json_object();
        cli_json_number(one, "partition", i);
        cli_json_number(one, "era", p->era);
        cli_json_number(one, "first", p->first);
        cli_json_number(one, "next", p->next);
        cli_json_number(one, "messages", p->messages);
        json_array_append_new(partitions, one);
    }
    cli_json_print(stdout, object);
}

static int run_info(const cli_run *run) {
    const json_opts *o = run->opts;
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
        if (o->json) {
            print_info_json(info);
        } else {
            print_info(info);
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
    .opts = json_table,
    .n_opts = CLI_COUNT(json_table),
    .opts_size = sizeof(json_opts),
    .run = run_ls,
};

const cli_command cli_stream_info = {
    .name = "stream info",
    .args = "NAME",
    .min_args = 1,
    .max_args = 1,
    .brief = "Show a stream and its partitions",
    .about = "Show a stream's settings and, for each partition, the offsets of the oldest message "
             "that is kept (FIRST) and of the message that comes next (NEXT).",
    .opts = json_table,
    .n_opts = CLI_COUNT(json_table),
    .opts_size = sizeof(json_opts),
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
