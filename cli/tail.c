/* tail.c - segmenter tail: the newest messages, and those that come, without a group.
 *
 * The reader goes through the partitions one by one, and the newest messages are those of the latest
 * timestamps over all of them. So what it reads of each is kept, as text, until the others are read,
 * and no more than so many of all. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "partitions.h"
#include "printer.h"
#include "reading.h"
#include "signals.h"

enum {
    COUNT_DEFAULT = 10,
    COUNT_MAX = 100000,
    KEY_LOOK = 1000, /* messages of a partition that are looked through for a key at first ... */
    KEY_LOOK_FACTOR = 16 /* ... and so many times more where they do not suffice */
};

typedef struct tail_opts {
    int64_t count;
    bool follow;
    cli_list partitions;
    const char *key;
    const char *offset;
    const char *format;
    bool json;
} tail_opts;

static const cli_opt table[] = {
    {.name = "count",
     .letter = 'n',
     .type = CLI_NUMBER,
     .arg = "COUNT",
     .at = offsetof(tail_opts, count),
     .max = COUNT_MAX,
     .text = "the newest COUNT messages of all partitions (default 10); with -o the first COUNT "
             "from there (default: all)"},
    {.name = "follow",
     .letter = 'F',
     .type = CLI_FLAG,
     .at = offsetof(tail_opts, follow),
     .text = "go on with what comes, until a signal"},
    {.name = "offset",
     .letter = 'o',
     .type = CLI_TEXT,
     .arg = "PLACE",
     .at = offsetof(tail_opts, offset),
     .text = "start here in each partition: " CLI_READ_PLACES},
    {.name = "partition",
     .type = CLI_LIST,
     .arg = "P",
     .at = offsetof(tail_opts, partitions),
     .text = "only this partition; may be repeated (default: all)"},
    {.name = "key",
     .type = CLI_TEXT,
     .arg = "KEY",
     .at = offsetof(tail_opts, key),
     .text = "only messages of this key, in the partition that it belongs to, or those of "
             "--partition"},
    CLI_PRINTER_OPTS(tail_opts),
};

/* A message that may be one of the newest. */
typedef struct kept {
    int64_t
        time; /* no less than that of the message before it in its partition, which it follows */
    uint32_t partition;
    uint64_t serial; /* the order of reading, which is that of offsets */
    char *text;
    size_t len;
} kept;

typedef struct tailing {
    const tail_opts *opts;
    seg_client *client;
    cli_reading reading;
    cli_printer printer;
    const char *stream;
    uint32_t *partitions;
    size_t n_partitions;
    kept *kept;
    size_t n_kept;
    uint64_t serial;
    int64_t latest; /* time of the partition being read */
    uint32_t at;
    uint64_t shown;
} tailing;

static bool wanted(const tailing *t, const seg_message *m) {
    seg_bytes key = seg_message_key(m);
    return !t->opts->key ||
           (key.len == strlen(t->opts->key) && memcmp(key.data, t->opts->key, key.len) == 0);
}

/* ---- The newest ------------------------------------------------------------------------------ */

static int by_time(const void *a, const void *b) {
    const kept *x = a, *y = b;
    if (x->time != y->time) {
        return x->time < y->time ? -1 : 1;
    }
    return x->serial < y->serial ? -1 : x->serial > y->serial;
}

/* Forget all but the newest. */
static void thin_out(tailing *t, size_t limit) {
    qsort(t->kept, t->n_kept, sizeof *t->kept, by_time);
    size_t over = t->n_kept > limit ? t->n_kept - limit : 0;
    for (size_t i = 0; i < over; i++) {
        free(t->kept[i].text);
    }
    memmove(t->kept, t->kept + over, (t->n_kept - over) * sizeof *t->kept);
    t->n_kept -= over;
}

static void keep(tailing *t, const seg_message *m, size_t limit) {
    seg_delivery d = seg_message_delivery(m);
    int64_t time = seg_message_timestamp(m);
    if (t->serial == 0 || d.partition != t->at) {
        t->at = d.partition;
        t->latest = time;
    }
    t->latest = time > t->latest ? time : t->latest;
    kept *k = &t->kept[t->n_kept++];
    *k = (kept){.time = t->latest, .partition = d.partition, .serial = ++t->serial};
    FILE *out = open_memstream(&k->text, &k->len);
    if (out) {
        cli_printer_write(&t->printer, out, m);
    }
    if (!out || fclose(out) != 0) {
        fputs("segmenter: out of memory\n", stderr);
        exit(CLI_FAILURE);
    }
    if (t->n_kept == 2 * limit) {
        thin_out(t, limit);
    }
}

static void forget(tailing *t) {
    for (size_t i = 0; i < t->n_kept; i++) {
        free(t->kept[i].text);
    }
    t->n_kept = 0;
    t->serial = 0;
}

static void print_kept(tailing *t, size_t limit) {
    thin_out(t, limit);
    for (size_t i = 0; i < t->n_kept; i++) {
        fwrite(t->kept[i].text, 1, t->kept[i].len, stdout);
    }
    t->shown += t->n_kept;
    forget(t);
}

static int open_last(tailing *t, uint64_t last) {
    seg_reader_options opts;
    SEG_INIT(&opts);
    opts.partitions = t->n_partitions ? t->partitions : NULL;
    opts.n_partitions = t->n_partitions;
    opts.start = SEG_LATEST;
    opts.last = last;
    return cli_reading_open(&t->reading, t->client, t->stream, &opts);
}

/* Do the last so many of each partition reach back to the first that it keeps? */
static bool reached_back(const tailing *t, uint64_t last) {
    const seg_reader_place *place;
    for (size_t i = 0; (place = seg_reader_place_at(t->reading.reader, i)); i++) {
        if (place->next - place->first > last) {
            return false;
        }
    }
    return true;
}

static int read_newest(tailing *t, size_t limit) {
    const seg_message *m;
    int code;
    while ((code = cli_reading_next(&t->reading, &m, 0)) == CLI_OK && m) {
        if (limit > 0 && wanted(t, m)) {
            keep(t, m, limit);
        }
    }
    return code;
}

/* Show the newest, and leave the reader open behind them. A key's messages can lie far back: where the
 * first look finds too few of them, it looks further. */
static int show_newest(tailing *t) {
    size_t limit = t->opts->count >= 0 ? (size_t)t->opts->count : COUNT_DEFAULT;
    uint64_t last = limit;
    if (t->opts->key && limit > 0) {
        last = limit > KEY_LOOK ? limit : KEY_LOOK;
    }
    t->kept = cli_alloc(2 * limit, sizeof *t->kept);
    for (;;) {
        int code = open_last(t, last);
        if (code == CLI_OK) {
            code = read_newest(t, limit);
        }
        bool enough = !t->opts->key || t->n_kept >= limit || cli_signal_caught();
        if (code != CLI_OK || enough || reached_back(t, last)) {
            print_kept(t, limit);
            return code;
        }
        cli_reading_close(&t->reading);
        forget(t);
        last = last > UINT64_MAX / KEY_LOOK_FACTOR ? UINT64_MAX : last * KEY_LOOK_FACTOR;
    }
}

/* ---- From a place on, and what comes --------------------------------------------------------- */

static int open_at(tailing *t) {
    seg_reader_options opts;
    SEG_INIT(&opts);
    opts.partitions = t->n_partitions ? t->partitions : NULL;
    opts.n_partitions = t->n_partitions;
    if (!cli_reading_place(&opts, t->opts->offset, "-o")) {
        return CLI_USAGE;
    }
    return cli_reading_open(&t->reading, t->client, t->stream, &opts);
}

/* Write what is there; flush before each wait, so that whoever looks sees all of it. */
static int show_all(tailing *t, uint64_t limit) {
    while (t->shown < limit) {
        const seg_message *m;
        int code = cli_reading_next(&t->reading, &m, 0);
        if (code == CLI_OK && !m && t->opts->follow && !cli_signal_caught()) {
            if (!cli_flush_stdout()) {
                return CLI_FAILURE;
            }
            code = cli_reading_next(&t->reading, &m, SEG_FOREVER);
        }
        if (code != CLI_OK || !m) {
            return code;
        }
        if (wanted(t, m)) {
            cli_printer_write(&t->printer, stdout, m);
            t->shown++;
        }
    }
    return CLI_OK;
}

static int show(tailing *t) {
    if (t->opts->offset) {
        int code = open_at(t);
        uint64_t limit = t->opts->count >= 0 ? (uint64_t)t->opts->count : UINT64_MAX;
        return code == CLI_OK ? show_all(t, limit) : code;
    }
    int code = show_newest(t);
    return code == CLI_OK && t->opts->follow ? show_all(t, UINT64_MAX) : code;
}

/* A key's messages lie in one partition, unless their sender chose another. */
static int find_key(tailing *t) {
    seg_stream_info *info;
    seg_error err;
    if (!t->opts->key || t->n_partitions) {
        return CLI_OK;
    }
    if (seg_stream_describe(&info, t->client, t->stream, &err) != SEG_OK) {
        return cli_error(&err);
    }
    seg_bytes key = {t->opts->key, strlen(t->opts->key)};
    t->partitions = cli_grow(t->partitions, 1, sizeof *t->partitions);
    t->partitions[0] = seg_partition_of(key, seg_stream_info_partitions(info));
    t->n_partitions = 1;
    seg_stream_info_free(info);
    return CLI_OK;
}

static int run_tail(const cli_run *run) {
    const tail_opts *o = run->opts;
    tailing t = {.opts = o, .stream = run->args[0], .n_partitions = o->partitions.n};
    seg_reader_options probe;
    SEG_INIT(&probe);
    if ((o->offset && !cli_reading_place(&probe, o->offset, "-o")) ||
        !cli_partitions_parse(&t.partitions, &o->partitions)) {
        return CLI_USAGE;
    }
    int code = CLI_USAGE;
    if (cli_printer_init(&t.printer, t.stream, o->format, o->json)) {
        cli_signals_catch();
        code = cli_open(&t.client, run->globals, o->follow);
        if (code == CLI_OK) {
            code = find_key(&t);
            code = code == CLI_OK ? show(&t) : code;
            cli_reading_close(&t.reading);
            seg_client_close(t.client);
        }
        cli_printer_fini(&t.printer);
    }
    forget(&t);
    free(t.kept);
    free(t.partitions);
    return code;
}

const cli_command cli_tail = {
    .name = "tail",
    .args = "STREAM",
    .min_args = 1,
    .max_args = 1,
    .excess = "-f takes a format, and what follows the stream is -F",
    .brief = "Show the newest messages, and those that come",
    .about =
        "Show messages without a group: nothing is acknowledged, and nothing changes on the "
        "server. "
        "First come the newest of all partitions, in the order of their timestamps (those of one "
        "partition in its own order); with -F (-f is the format, as with consume) then whatever "
        "comes, until SIGINT or SIGTERM, which is its normal end. With -o messages are shown from "
        "there on, partition by partition.\n\n"
        "A line has partition:offset, time, key and value; what is no text in them is shown as "
        "'?', and on a terminal what is too long is cut. What was dropped or is damaged is said "
        "on stderr.\n\n" CLI_PRINTER_HELP,
    .opts = table,
    .n_opts = CLI_COUNT(table),
    .opts_size = sizeof(tail_opts),
    .run = run_tail,
};
