/* reading.c - see reading.h. */
#include "reading.h"

#include <inttypes.h>
#include <string.h>

#include "partitions.h"
#include "place.h"
#include "signals.h"

const char *cli_skip_name(seg_skip_why why) {
    return why == SEG_SKIP_DROPPED   ? "dropped"
           : why == SEG_SKIP_MISSING ? "missing"
           : why == SEG_SKIP_DAMAGED ? "damaged"
                                     : "lost";
}

void cli_skip_note(const seg_skip *s) {
    static const char *const what[] = {
        [SEG_SKIP_DROPPED] = "dropped to keep the stream's bound before they were read",
        [SEG_SKIP_MISSING] = "missing on the server",
        [SEG_SKIP_DAMAGED] = "damaged on the server",
        [SEG_SKIP_LOST] = "lost by the server since they were stored",
    };
    const char *text =
        s->why >= SEG_SKIP_DROPPED && s->why <= SEG_SKIP_LOST ? what[s->why] : "gone";
    char last[48] = "";
    if (s->count > 1) {
        snprintf(last, sizeof last, " to %" PRIu64, s->first + (s->count - 1));
    }
    cli_note("partition %" PRIu32 ", offset %" PRIu64 "%s: %s", s->partition, s->first, last, text);
}

static void on_skip(const seg_skip *skip, void *arg) {
    cli_reading *r = arg;
    *(skip->why == SEG_SKIP_DROPPED ? &r->dropped : &r->broken) += skip->count;
    if (!r->quiet) {
        cli_skip_note(skip);
    }
    if (r->on_skip) {
        r->on_skip(skip, r->arg);
    }
}

bool cli_reading_place(seg_reader_options *opts, const char *text, const char *option) {
    cli_place place;
    if (strcmp(text, "earliest") == 0 || strcmp(text, "start") == 0) {
        opts->start = SEG_EARLIEST;
        return true;
    }
    if (strcmp(text, "latest") == 0 || strcmp(text, "end") == 0) {
        opts->start = SEG_LATEST;
        return true;
    }
    bool known = cli_place_parse(&place, text, cli_wall_ms());
    if (!known || (place.kind == CLI_AT_DISTANCE && place.value > 0)) {
        cli_usage("%s takes %s, not '%s'", option, CLI_READ_PLACES, text);
        return false;
    }
    if (place.kind == CLI_AT_DISTANCE) {
        opts->start = SEG_LATEST;
        opts->last = (uint64_t)-place.value;
        return true;
    }
    opts->start = place.kind == CLI_AT_TIME ? SEG_AT_TIME : SEG_AT_OFFSET;
    opts->start_at = place.value;
    return true;
}

int cli_reading_open(cli_reading *r, seg_client *client, const char *stream,
                     const seg_reader_options *opts) {
    seg_reader_options with = *opts;
    seg_error err;
    with.on_skip = on_skip;
    with.skip_arg = r;
    if (seg_reader_open(&r->reader, client, stream, &with, &err) != SEG_OK) {
        r->reader = NULL;
        int code = CLI_OK;
        if (err.status == SEG_EINVAL || err.status == SEG_ELOST) {
            code = cli_partitions_blame(client, stream, opts->partitions, opts->n_partitions);
        }
        return code == CLI_OK ? cli_error(&err) : code;
    }
    cli_signals_stop_reader(r->reader);
    return CLI_OK;
}

/* A connection that is lost is mended by the library; what it could not mend within a call, the next
 * call goes on with. */
int cli_reading_next(cli_reading *r, const seg_message **out, int64_t wait) {
    seg_error err;
    *out = NULL;
    if (cli_signal_caught()) {
        return CLI_OK;
    }
    if (seg_reader_next(out, r->reader, wait, &err) == SEG_OK) {
        return CLI_OK;
    }
    *out = NULL;
    return err.status == SEG_ECLOSED && cli_signal_caught() ? CLI_OK : cli_error(&err);
}

void cli_reading_close(cli_reading *r) {
    cli_signals_stop_reader(NULL);
    seg_reader_close(r->reader);
    r->reader = NULL;
}

bool cli_reading_at(const cli_reading *r, uint32_t partition, seg_reader_place *out) {
    /* Usually it reads all of them, and the partition's place is that of its number. */
    const seg_reader_place *place = seg_reader_place_at(r->reader, partition);
    for (size_t i = 0; !place || place->partition != partition; i++) {
        place = seg_reader_place_at(r->reader, i);
        if (!place) {
            return false;
        }
    }
    *out = *place;
    return true;
}

int cli_reading_pass(cli_reading *r, uint32_t partition) {
    seg_reader_place place;
    seg_error err;
    if (!cli_reading_at(r, partition, &place) ||
        seg_reader_seek(r->reader, partition, place.next, &err) == SEG_OK) {
        return CLI_OK;
    }
    return err.status == SEG_ECLOSED && cli_signal_caught() ? CLI_OK : cli_error(&err);
}
