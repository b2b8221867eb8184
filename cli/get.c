/* get.c - segmenter get: messages by their place. */
#include <inttypes.h>

#include "partitions.h"
#include "printer.h"
#include "reading.h"
#include "signals.h"

typedef struct get_opts {
    int64_t count;
    const char *format;
    bool json;
} get_opts;

static const cli_opt table[] = {
    {.name = "count",
     .letter = 'n',
     .type = CLI_NUMBER,
     .arg = "COUNT",
     .at = offsetof(get_opts, count),
     .min = 1,
     .max = INT64_MAX,
     .fallback = "1",
     .text = "so many from there on"},
    CLI_PRINTER_OPTS(get_opts),
};

typedef struct getting {
    const get_opts *opts;
    const char *stream;
    uint32_t partition;
    uint64_t offset, end;
    cli_printer printer;
    cli_reading reading;
    uint64_t shown, gone;
} getting;

static void show_block(getting *g, const seg_message *m) {
    seg_delivery d = seg_message_delivery(m);
    if (g->shown > 0) {
        fputc('\n', stdout);
    }
    printf("%-13s %" PRIu32 ":%" PRIu64 "\n", "place", d.partition, d.id.offset);
    printf("%-13s %" PRIu64 "\n", "era", d.id.era);
    cli_show_content(m);
}

static void show_one(getting *g, const seg_message *m) {
    if (g->opts->json || g->opts->format) {
        cli_printer_write(&g->printer, stdout, m);
    } else {
        show_block(g, m);
    }
    g->shown++;
}

/* Those of them that were asked for are said to be gone; the others are nobody's business. */
static void on_skip(const seg_skip *s, void *arg) {
    getting *g = arg;
    seg_skip cut = *s;
    uint64_t end = s->first + s->count < g->end ? s->first + s->count : g->end;
    cut.first = s->first > g->offset ? s->first : g->offset;
    if (cut.first < end) {
        cut.count = end - cut.first;
        g->gone += cut.count;
        cli_skip_note(&cut);
    }
}

static int show_all(getting *g) {
    for (;;) {
        const seg_message *m;
        int code = cli_reading_next(&g->reading, &m, 0);
        if (code != CLI_OK) {
            return code;
        }
        if (cli_signal_caught()) {
            return cli_failure("interrupted: %" PRIu64 " shown", g->shown);
        }
        if (!m || seg_message_delivery(m).id.offset >= g->end) {
            return g->gone ? CLI_NOT_FOUND : CLI_OK;
        }
        show_one(g, m);
        if (seg_message_delivery(m).id.offset + 1 == g->end) {
            return g->gone ? CLI_NOT_FOUND : CLI_OK;
        }
    }
}

/* Is it within what the partition keeps? */
static int check_place(getting *g) {
    seg_reader_place place;
    if (!cli_reading_at(&g->reading, g->partition, &place)) {
        return cli_failure("the reader does not know partition %" PRIu32, g->partition);
    }
    if (g->offset >= place.next) {
        cli_failure("partition %" PRIu32 " has no offset %" PRIu64
                    " yet: its next message will get %" PRIu64,
                    g->partition, g->offset, place.next);
        return CLI_NOT_FOUND;
    }
    if (g->offset < place.first) {
        cli_failure("offset %" PRIu64 " of partition %" PRIu32
                    " was dropped from the stream: the oldest that it keeps is %" PRIu64,
                    g->offset, g->partition, place.first);
        return CLI_NOT_FOUND;
    }
    uint64_t left = place.next - g->offset;
    g->end = g->offset + ((uint64_t)g->opts->count < left ? (uint64_t)g->opts->count : left);
    if (left < (uint64_t)g->opts->count) {
        cli_note("there are %" PRIu64 " of %" PRId64 ": the next message of partition %" PRIu32
                 " will get offset %" PRIu64,
                 left, g->opts->count, g->partition, place.next);
    }
    return CLI_OK;
}

/* The library would call it a wrong argument; to whoever asks, it is a place that is not there. */
static int check_partition(const getting *g, seg_client *client) {
    seg_stream_info *info;
    seg_error err;
    if (seg_stream_describe(&info, client, g->stream, &err) != SEG_OK) {
        return cli_error(&err);
    }
    int code = cli_partitions_judge(info, &g->partition, 1, false);
    seg_stream_info_free(info);
    return code;
}

static int get(getting *g, seg_client *client) {
    seg_reader_options opts;
    int code = check_partition(g, client);
    if (code != CLI_OK) {
        return code;
    }
    SEG_INIT(&opts);
    opts.partitions = &g->partition;
    opts.n_partitions = 1;
    opts.start = SEG_AT_OFFSET;
    opts.start_at = (int64_t)g->offset;
    opts.ends = true;
    g->reading = (cli_reading){.quiet = true, .on_skip = on_skip, .arg = g};
    code = cli_reading_open(&g->reading, client, g->stream, &opts);
    if (code == CLI_OK) {
        code = check_place(g);
        code = code == CLI_OK ? show_all(g) : code;
    }
    cli_reading_close(&g->reading);
    return code;
}

static int run_get(const cli_run *run) {
    getting g = {.opts = run->opts, .stream = run->args[0]};
    int64_t offset;
    if (!cli_partition_parse(&g.partition, run->args[1])) {
        return cli_usage("a partition is a number from 0 to %d, not '%s'", CLI_PARTITIONS_MAX - 1,
                         run->args[1]);
    }
    if (!cli_number_parse(run->args[2], &offset)) {
        return cli_usage("an offset is a number, not '%s'", run->args[2]);
    }
    g.offset = (uint64_t)offset;
    if (!cli_printer_init(&g.printer, g.stream, g.opts->format, g.opts->json)) {
        return CLI_USAGE;
    }
    seg_client *client;
    cli_signals_catch();
    int code = cli_open(&client, run->globals, false);
    if (code == CLI_OK) {
        code = get(&g, client);
        seg_client_close(client);
    }
    cli_printer_fini(&g.printer);
    return code;
}

const cli_command cli_get = {
    .name = "get",
    .args = "STREAM PARTITION OFFSET",
    .min_args = 3,
    .max_args = 3,
    .brief = "Show the message at a place",
    .about =
        "Show all of the message at this offset of this partition: its timestamp, key, headers "
        "and value; with -n so many from there on. A message that was dropped, is damaged or "
        "is not there yet is named, and the exit code is 3.\n\n" CLI_PRINTER_HELP,
    .opts = table,
    .n_opts = CLI_COUNT(table),
    .opts_size = sizeof(get_opts),
    .run = run_get,
};
