/* load_verify.c - reading back what was loaded; see load.h. */
#include <inttypes.h>
#include <stdlib.h>

#include "digest.h"
#include "load.h"
#include "reading.h"
#include "signals.h"

typedef struct part {
    uint64_t messages, digest;
} part;

typedef struct verification {
    cli_loading *load;
    cli_reading reading;
    part *parts; /* of the stream */
    uint64_t messages, sum;
} verification;

static int read_back(verification *v) {
    cli_loading *l = v->load;
    const seg_message *m;
    cli_buf scratch = {0};
    int code;
    while ((code = cli_reading_next(&v->reading, &m, 0)) == CLI_OK && m) {
        part *p = &v->parts[seg_message_delivery(m).partition];
        p->messages++;
        v->messages++;
        if (l->opts->repartition) {
            v->sum += cli_digest_message(0, m, &scratch);
        } else {
            p->digest = cli_digest_message(p->digest, m, &scratch);
        }
        cli_progress_draw(&l->progress, "verified", v->messages, l->dump.messages);
    }
    cli_buf_fini(&scratch);
    cli_progress_erase(&l->progress);
    return code;
}

static int compare(const verification *v) {
    const cli_loading *l = v->load;
    if (cli_signal_caught()) {
        return cli_failure("interrupted: all is loaded, and not verified");
    }
    if (v->reading.dropped + v->reading.broken > 0) {
        return cli_failure("all was sent, but not all of it is there to be verified (--no-verify "
                           "does not look)");
    }
    if (v->messages != l->dump.messages) {
        return cli_failure("all was sent, but stream '%s' holds %" PRIu64
                           " messages of it, and the "
                           "dump %" PRIu64 ": did somebody else send to it?",
                           l->stream, v->messages, l->dump.messages);
    }
    if (l->opts->repartition) {
        return v->sum == l->sum ? CLI_OK
                                : cli_failure("all was sent, but stream '%s' holds other messages "
                                              "than the dump",
                                              l->stream);
    }
    for (uint32_t p = 0; p < l->dump.partitions; p++) {
        const cli_dump_part *of = &l->dump.parts[p];
        if (v->parts[p].messages != of->messages || v->parts[p].digest != of->digest) {
            return cli_failure("all was sent, but partition %" PRIu32
                               " of stream '%s' does not hold what the dump has of it",
                               p, l->stream);
        }
    }
    return CLI_OK;
}

/* What was there before an --append is not looked at. */
static int start(verification *v) {
    cli_loading *l = v->load;
    seg_reader_options opts;
    seg_error err;
    SEG_INIT(&opts);
    opts.ends = true;
    uint32_t *partitions = cli_load_touched(l, &opts.n_partitions);
    opts.partitions = partitions;
    int code = cli_reading_open(&v->reading, l->client, l->stream, &opts);
    for (size_t i = 0; code == CLI_OK && l->opts->append && i < opts.n_partitions; i++) {
        uint32_t p = partitions[i];
        if (seg_reader_seek(v->reading.reader, p, l->target.next[p], &err) != SEG_OK) {
            code = cli_error(&err);
        }
    }
    free(partitions);
    return code;
}

int cli_load_verify(cli_loading *l) {
    verification v = {.load = l, .parts = cli_alloc(l->target.partitions, sizeof *v.parts)};
    int code = start(&v);
    code = code == CLI_OK ? read_back(&v) : code;
    code = code == CLI_OK ? compare(&v) : code;
    cli_reading_close(&v.reading);
    free(v.parts);
    return code;
}
