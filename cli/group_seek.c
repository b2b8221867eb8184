/* group_seek.c - segmenter group seek: move a group to another place in its stream. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "listing.h"
#include "partitions.h"
#include "place.h"

typedef struct seek_opts {
    const char *stream;
    const char *to;
    cli_list partitions;
    bool execute;
    bool while_active;
} seek_opts;

static const cli_opt seek_table[] = {
    {.name = "stream",
     .letter = 's',
     .type = CLI_NAME,
     .arg = "STREAM",
     .at = offsetof(seek_opts, stream),
     .required = true,
     .text = "the group's stream"},
    {.name = "to",
     .type = CLI_TEXT,
     .arg = "PLACE",
     .at = offsetof(seek_opts, to),
     .required = true,
     .text = "start, end, an OFFSET, a @TIME, -DURATION ago, or N messages on or back: +N, -N"},
    {.name = "partition",
     .type = CLI_LIST,
     .arg = "P",
     .at = offsetof(seek_opts, partitions),
     .text = "only this partition; may be repeated (default: all)"},
    {.name = "execute",
     .type = CLI_FLAG,
     .at = offsetof(seek_opts, execute),
     .text = "really do it; without this it only shows what it would do"},
    {.name = "while-active",
     .type = CLI_FLAG,
     .at = offsetof(seek_opts, while_active),
     .text = "also while the group has live members: they lose what they hold, and go on from the "
             "new place"},
};

static const cli_column columns[] = {
    {"GROUP", "group", CLI_COLUMN_TEXT, CLI_COLUMN_DATA, 0, "the group"},
    {"STREAM", "stream", CLI_COLUMN_TEXT, CLI_COLUMN_DATA, 0, "its stream"},
    {"PARTITION", "partition", CLI_COLUMN_COUNT, 0, 0, "a partition of it"},
    {"ERA", "era", CLI_COLUMN_COUNT, CLI_COLUMN_DATA, 0, "the generation of its log"},
    {"BEFORE", "before", CLI_COLUMN_COUNT, 0, 0, "the offset that the group would read next"},
    {"AFTER", "after", CLI_COLUMN_COUNT, 0, 0, "the one that it reads next now, or would"},
    {"DELTA", "delta", CLI_COLUMN_CHANGE, 0, 0, "from before to after"},
    {"EXECUTED", "executed", CLI_COLUMN_FLAG, CLI_COLUMN_DATA, 0, "was it done?"},
};

/* ---- What is asked for ----------------------------------------------------------------------- */

static bool read_place(seg_seek_options *opts, const char *text) {
    /* consume -o calls them earliest and latest. */
    if (strcmp(text, "start") == 0 || strcmp(text, "earliest") == 0) {
        opts->to = SEG_SEEK_START;
        return true;
    }
    if (strcmp(text, "end") == 0 || strcmp(text, "latest") == 0) {
        opts->to = SEG_SEEK_END;
        return true;
    }
    cli_place place;
    if (!cli_place_parse(&place, text, cli_wall_ms())) {
        cli_usage("--to takes start, end, OFFSET, @TIME (unix seconds, 13 digits of ms, or "
                  "2026-11-22T10:00:00Z), -DURATION with a unit (-5m), +N or -N, not '%s'",
                  text);
        return false;
    }
    opts->to = place.kind == CLI_AT_OFFSET ? SEG_SEEK_OFFSET
               : place.kind == CLI_AT_TIME ? SEG_SEEK_TIME
                                           : SEG_SEEK_BY;
    opts->value = place.value;
    return true;
}

/* ---- What comes of it ------------------------------------------------------------------------ */

static void print_plan(const cli_run *run, const seg_seek_plan *plan) {
    const seek_opts *o = run->opts;
    cli_listing l;
    cli_listing_init(&l, run);
    for (size_t i = 0; i < seg_seek_plan_count(plan); i++) {
        const seg_seek_step *step = seg_seek_plan_at(plan, i);
        cli_put_text(&l, run->args[0]);
        cli_put_text(&l, o->stream);
        cli_put_count(&l, step->partition);
        cli_put_count(&l, step->era);
        cli_put_count(&l, step->before);
        cli_put_count(&l, step->after);
        if (step->before == SEG_UNKNOWN) {
            cli_put_unknown(&l);
        } else {
            cli_put_signed(&l, (int64_t)(step->after - step->before));
        }
        cli_put_flag(&l, o->execute);
    }
    cli_listing_end(&l);
    if (!o->execute) {
        cli_note("nothing was done; add --execute to do it");
    }
}

static int seek(const cli_run *run, const seg_seek_options *opts) {
    const seek_opts *o = run->opts;
    seg_client *client;
    int code = cli_open(&client, run->globals, false);
    if (code != CLI_OK) {
        return code;
    }
    seg_error err;
    seg_seek_plan *plan;
    seg_status status = seg_group_seek(&plan, client, o->stream, run->args[0], opts, &err);
    if (status == SEG_OK) {
        print_plan(run, plan);
        seg_seek_plan_free(plan);
    } else {
        code = status == SEG_EINVAL && opts->n_partitions
                   ? cli_partitions_blame(client, o->stream, opts->partitions, opts->n_partitions)
                   : CLI_OK;
        code = code == CLI_OK ? cli_error(&err) : code;
        if (status == SEG_EEXIST) {
            cli_note("stop its members first, or add --while-active");
        }
    }
    seg_client_close(client);
    return code;
}

static int run_seek(const cli_run *run) {
    const seek_opts *o = run->opts;
    seg_seek_options opts;
    SEG_INIT(&opts);
    opts.execute = o->execute;
    opts.while_active = o->while_active;
    uint32_t *partitions;
    if (!read_place(&opts, o->to) || !cli_partitions_parse(&partitions, &o->partitions)) {
        return CLI_USAGE;
    }
    opts.partitions = o->partitions.n ? partitions : NULL;
    opts.n_partitions = o->partitions.n;
    int code = seek(run, &opts);
    free(partitions);
    return code;
}

const cli_command cli_group_seek = {
    .name = "group seek",
    .args = "GROUP",
    .min_args = 1,
    .max_args = 1,
    .brief = "Move a group to another place in the stream",
    .about = "Move a group to another place in its stream, and show for each partition the offset "
             "that it reads next BEFORE and AFTER that. Without --execute it only shows it. What "
             "the group had acknowledged past the new place comes again. A group that does not "
             "exist is created there.\n\n"
             "PLACE is cut to what a partition holds:\n"
             "  start, end            its oldest message; behind its newest\n"
             "  1000                  this offset\n"
             "  +100, -100            so many messages on or back\n"
             "  -5m                   the first message not older than that (ms, s, m or h)\n"
             "  @1732269600           the first message not older than this time: unix seconds,\n"
             "  @1732269600000        milliseconds (13 digits),\n"
             "  @2026-11-22T10:00:00Z or a date, with or without time and zone (UTC)\n\n"
             "While the group has live members that is a conflict (exit 4), unless --while-active "
             "is given.",
    .opts = seek_table,
    .n_opts = CLI_COUNT(seek_table),
    .opts_size = sizeof(seek_opts),
    .columns = columns,
    .n_columns = CLI_COUNT(columns),
    .run = run_seek,
};
