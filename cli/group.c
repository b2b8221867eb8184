/* group.c - segmenter group ls, describe, rm. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "json.h"
#include "table.h"

typedef struct group_opts {
    const char *stream;
    bool json;
    bool yes;
} group_opts;

#define STREAM_OPTION(is_required, what)                                                           \
    {                                                                                              \
        .name = "stream", .letter = 's', .type = CLI_NAME, .arg = "STREAM",                        \
        .at = offsetof(group_opts, stream), .required = (is_required), .text = (what)              \
    }
#define JSON_OPTION                                                                                \
    {                                                                                              \
        .name = "json", .type = CLI_FLAG, .at = offsetof(group_opts, json),                        \
        .text = "print one JSON object a line"                                                     \
    }

/* ---- ls -------------------------------------------------------------------------------------- */

static const cli_opt ls_table[] = {
    STREAM_OPTION(false, "only this stream's groups; otherwise those of all streams"),
    JSON_OPTION,
};

static void print_group(cli_table *table, const seg_group_info *g, bool json) {
    if (json) {
        json_t *object = cli_json_object();
        cli_json_text(object, "group", seg_group_info_name(g));
        cli_json_text(object, "stream", seg_group_info_stream(g));
        cli_json_number(object, "lag", seg_group_info_lag(g));
        cli_json_number(object, "member_count", seg_group_info_members(g));
        cli_json_number(object, "partition_count", seg_group_info_partitions(g));
        cli_json_print(stdout, object);
    } else {
        cli_table_add(table, "%s", seg_group_info_name(g));
        cli_table_add(table, "%s", seg_group_info_stream(g));
        cli_table_add(table, "%zu", seg_group_info_members(g));
        cli_table_add(table, "%" PRIu32, seg_group_info_partitions(g));
        cli_table_add(table, "%" PRIu64, seg_group_info_lag(g));
    }
}

/* What is deleted while it is being listed is left out. */
static int list_stream(cli_table *table, seg_client *client, const char *stream, bool json,
                       bool must_exist) {
    seg_error err;
    seg_names *groups;
    seg_status status = seg_group_list(&groups, client, stream, &err);
    if (status != SEG_OK) {
        return status == SEG_ENOENT && !must_exist ? CLI_OK : cli_error(&err);
    }
    int code = CLI_OK;
    for (size_t i = 0; i < seg_names_count(groups); i++) {
        seg_group_info *g;
        status = seg_group_describe(&g, client, stream, seg_names_at(groups, i), &err);
        if (status == SEG_OK) {
            print_group(table, g, json);
            seg_group_info_free(g);
        } else if (status != SEG_ENOENT) {
            code = cli_error(&err);
        }
    }
    seg_names_free(groups);
    return code;
}

static int list_all(cli_table *table, seg_client *client, bool json) {
    seg_error err;
    seg_names *streams;
    if (seg_stream_list(&streams, client, &err) != SEG_OK) {
        return cli_error(&err);
    }
    int code = CLI_OK;
    for (size_t i = 0; i < seg_names_count(streams); i++) {
        int one = list_stream(table, client, seg_names_at(streams, i), json, false);
        code = one == CLI_OK ? code : one;
    }
    seg_names_free(streams);
    return code;
}

static int run_ls(const cli_run *run) {
    static const char *const headings[] = {"GROUP", "STREAM", "MEMBERS", "PARTITIONS", "LAG"};
    const group_opts *o = run->opts;
    seg_client *client;
    int code = cli_open(&client, run->globals, false);
    if (code != CLI_OK) {
        return code;
    }
    cli_table table;
    cli_table_init(&table, "llrrr", headings);
    code = o->stream ? list_stream(&table, client, o->stream, o->json, true)
                     : list_all(&table, client, o->json);
    if (!o->json && code != CLI_NOT_FOUND) {
        cli_table_print(&table, stdout);
    }
    cli_table_fini(&table);
    seg_client_close(client);
    return code;
}

/* ---- describe -------------------------------------------------------------------------------- */

static const cli_opt describe_table[] = {
    STREAM_OPTION(true, "the group's stream"),
    JSON_OPTION,
};

static json_t *json_members(const seg_group_info *g) {
    json_t *members = json_array();
    for (size_t i = 0; i < seg_group_info_members(g); i++) {
        size_t n;
        const uint32_t *owned = seg_group_info_owned(g, i, &n);
        json_t *partitions = json_array();
        for (size_t k = 0; k < n; k++) {
            json_array_append_new(partitions, json_integer(owned[k]));
        }
        json_t *member = json_object();
        cli_json_text(member, "id", seg_group_info_member(g, i));
        cli_json_text(member, "host", seg_group_info_host(g, i));
        cli_json_add(member, "partitions", partitions);
        json_array_append_new(members, member);
    }
    return members;
}

static json_t *json_partitions(const seg_group_info *g) {
    json_t *partitions = json_array();
    for (uint32_t i = 0; i < seg_group_info_partitions(g); i++) {
        const seg_group_partition *p = seg_group_info_partition(g, i);
        json_t *one = json_object();
        cli_json_number(one, "partition", i);
        cli_json_number(one, "era", p->era);
        cli_json_number(one, "committed", p->committed);
        cli_json_number(one, "next", p->next);
        cli_json_number(one, "lag", p->lag);
        cli_json_text(one, "owner", p->owner);
        cli_json_number(one, "epoch", p->epoch);
        json_array_append_new(partitions, one);
    }
    return partitions;
}

static void describe_json(const seg_group_info *g) {
    json_t *object = cli_json_object();
    cli_json_text(object, "group", seg_group_info_name(g));
    cli_json_text(object, "stream", seg_group_info_stream(g));
    cli_json_number(object, "lag", seg_group_info_lag(g));
    cli_json_add(object, "members", json_members(g));
    cli_json_add(object, "partitions", json_partitions(g));
    cli_json_print(stdout, object);
}

/* "0-3,5": runs of partitions, cut with "..." where they do not fit. */
static void print_ranges(char *out, size_t cap, const uint32_t *list, size_t n) {
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < n;) {
        size_t last = i;
        while (last + 1 < n && list[last + 1] == list[last] + 1) {
            last++;
        }
        if (used + 32 > cap) {
            snprintf(out + used, cap - used, ",...");
            return;
        }
        const char *comma = i ? "," : "";
        int len = last == i ? snprintf(out + used, cap - used, "%s%" PRIu32, comma, list[i])
                            : snprintf(out + used, cap - used, "%s%" PRIu32 "-%" PRIu32, comma,
                                       list[i], list[last]);
        used += (size_t)len;
        i = last + 1;
    }
}

static void describe_members(const seg_group_info *g) {
    static const char *const headings[] = {"MEMBER", "HOST", "PARTITIONS"};
    cli_table table;
    cli_table_init(&table, "lll", headings);
    for (size_t i = 0; i < seg_group_info_members(g); i++) {
        size_t n;
        const uint32_t *owned = seg_group_info_owned(g, i, &n);
        char ranges[400];
        print_ranges(ranges, sizeof ranges, owned, n);
        cli_table_add(&table, "%s", seg_group_info_member(g, i));
        cli_table_add(&table, "%s", seg_group_info_host(g, i));
        cli_table_add(&table, "%s", n ? ranges : "-");
    }
    cli_table_print(&table, stdout);
    cli_table_fini(&table);
}

static void describe_text(const seg_group_info *g) {
    static const char *const headings[] = {"PARTITION", "ERA",   "COMMITTED", "NEXT",
                                           "LAG",       "EPOCH", "OWNER"};
    size_t members = seg_group_info_members(g);
    printf("group %s of stream %s: lag %" PRIu64 ", %zu member%s\n\n", seg_group_info_name(g),
           seg_group_info_stream(g), seg_group_info_lag(g), members, members == 1 ? "" : "s");
    if (members > 0) {
        describe_members(g);
        fputc('\n', stdout);
    }
    cli_table table;
    cli_table_init(&table, "rrrrrrl", headings);
    for (uint32_t i = 0; i < seg_group_info_partitions(g); i++) {
        const seg_group_partition *p = seg_group_info_partition(g, i);
        cli_table_add(&table, "%" PRIu32, i);
        cli_table_add(&table, "%" PRIu64, p->era);
        cli_table_add(&table, "%" PRIu64, p->committed);
        cli_table_add(&table, "%" PRIu64, p->next);
        cli_table_add(&table, "%" PRIu64, p->lag);
        cli_table_add(&table, "%" PRIu64, p->epoch);
        cli_table_add(&table, "%s", p->owner ? p->owner : "-");
    }
    cli_table_print(&table, stdout);
    cli_table_fini(&table);
}

static int run_describe(const cli_run *run) {
    const group_opts *o = run->opts;
    seg_client *client;
    int code = cli_open(&client, run->globals, false);
    if (code != CLI_OK) {
        return code;
    }
    seg_error err;
    seg_group_info *g;
    if (seg_group_describe(&g, client, o->stream, run->args[0], &err) != SEG_OK) {
        code = cli_error(&err);
    } else {
        if (o->json) {
            describe_json(g);
        } else {
            describe_text(g);
        }
        seg_group_info_free(g);
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
    .run = run_ls,
};

const cli_command cli_group_describe = {
    .name = "group describe",
    .args = "GROUP",
    .min_args = 1,
    .max_args = 1,
    .brief = "Show a group's members, owners and lag",
    .about = "Show who owns which partition and how far the group has read it. COMMITTED is the "
             "offset of the first message that is not acknowledged, NEXT the one that the next "
             "message will get, EPOCH grows with each new owner.",
    .opts = describe_table,
    .n_opts = CLI_COUNT(describe_table),
    .opts_size = sizeof(group_opts),
    .run = run_describe,
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
