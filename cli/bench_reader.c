/* bench_reader.c - see bench_reader.h. */
#include "bench_reader.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { AT_ONCE = 1000, ID_MAX = 48, UNDER_WAY = 2 };

static void flush_acks(bench_reader *r) {
    if (r->n_words > 3) {
        bench_commands_add(&r->acks, r->words, r->n_words);
        r->n_acks++;
    }
    r->n_words = 0;
}

static void on_entry(seg_bytes stream, seg_bytes id, void *arg) {
    bench_reader *r = arg;
    if (stream.len > sizeof r->stream || id.len > ID_MAX) {
        return; /* not what was asked for: it is missed in the end */
    }
    if (r->n_words == 0 || r->words[1].len != stream.len ||
        memcmp(r->words[1].data, stream.data, stream.len) != 0) {
        flush_acks(r);
        memcpy(r->stream, stream.data, stream.len);
        r->words[0] = (seg_bytes){"XACK", 4};
        r->words[1] = (seg_bytes){r->stream, stream.len};
        r->words[2] = (seg_bytes){r->group, strlen(r->group)};
        r->n_words = 3;
    }
    if (r->n_words == 3 + AT_ONCE) {
        return; /* nor this */
    }
    char *copy = r->ids.data + r->ids.len;
    memcpy(copy, id.data, id.len);
    r->ids.len += id.len;
    r->words[r->n_words++] = (seg_bytes){copy, id.len};
    r->entries++;
}

/* XREADGROUP over every so many-th stream, from the index-th on. Returns how many those are. */
static size_t make_read(bench_reader *r, const bench *b, uint32_t index) {
    static const char *const head[] = {"XREADGROUP", "GROUP", "",       "reader",
                                       "COUNT",      "1000",  "STREAMS"};
    size_t partitions = (size_t)b->opts->partitions, step = (size_t)b->opts->clients, n = 0;
    char(*keys)[64] = cli_alloc(partitions, sizeof *keys);
    seg_bytes *words = cli_alloc(CLI_COUNT(head) + 2 * partitions, sizeof *words);
    for (; n < CLI_COUNT(head); n++) {
        words[n] = (seg_bytes){head[n], strlen(head[n])};
    }
    words[2] = (seg_bytes){r->group, strlen(r->group)};
    for (size_t i = index; i < partitions; i += step) {
        bench_key(b, keys[i], (uint32_t)i);
        words[n++] = (seg_bytes){keys[i], strlen(keys[i])};
    }
    size_t streams = n - CLI_COUNT(head);
    for (size_t i = 0; i < streams; i++) {
        words[n++] = (seg_bytes){">", 1};
    }
    bench_commands_add(&r->read, words, n);
    free(words);
    free(keys);
    return streams;
}

/* Make the groups, and count what is to come. */
static bool prepare(bench_reader *r, const bench *b, uint32_t index) {
    for (uint32_t i = index; i < b->opts->partitions; i += (uint32_t)b->opts->clients) {
        char key[64];
        bench_key(b, key, i);
        if (!bench_raw_ask(r->raw, "XGROUP CREATE %s %s 0 MKSTREAM", key, r->group) ||
            !bench_raw_ask(r->raw, "XLEN %s", key)) {
            return false;
        }
        r->total += (uint64_t)bench_raw_integer(r->raw);
    }
    return true;
}

int bench_reader_init(bench_reader *r, const bench *b, const char *group, uint32_t index) {
    *r = (bench_reader){.group = group};
    int code = bench_raw_open(&r->raw, b->globals.url);
    if (code != CLI_OK) {
        return code;
    }
    size_t streams = make_read(r, b, index);
    r->words = cli_alloc(3 + AT_ONCE, sizeof *r->words);
    r->ids.data = cli_alloc(streams * AT_ONCE, ID_MAX);
    return prepare(r, b, index) ? CLI_OK : CLI_FAILURE;
}

void bench_reader_fini(bench_reader *r) {
    bench_raw_close(r->raw);
    bench_commands_fini(&r->read);
    bench_commands_fini(&r->ids);
    bench_commands_fini(&r->acks);
    free(r->words);
}

/* Read an answer, acknowledge it and ask for the next one. `acks`: the replies that come before it;
 * then those that come before the next one. */
static bool step(bench_reader *r, size_t *acks) {
    r->acks.len = 0;
    r->ids.len = 0;
    r->n_acks = 0;
    if (!bench_raw_read(r->raw, *acks + 1)) {
        return false;
    }
    flush_acks(r);
    *acks = r->n_acks;
    return bench_raw_send(r->raw, r->acks.data, r->acks.len) &&
           bench_raw_send(r->raw, r->read.data, r->read.len);
}

/* UNDER_WAY answers are asked for at any time, so that the server never waits for us. */
static bool read_all(bench_reader *r) {
    size_t acks[UNDER_WAY] = {0}, turn = 0;
    for (size_t i = 0; i < UNDER_WAY; i++) {
        if (!bench_raw_send(r->raw, r->read.data, r->read.len)) {
            return false;
        }
    }
    for (; r->entries < r->total; turn++) {
        uint64_t before = r->entries;
        if (!step(r, &acks[turn % UNDER_WAY])) {
            return false;
        }
        if (r->entries == before) {
            cli_failure("%" PRIu64 " entries came to the baseline, %" PRIu64 " were there",
                        r->entries, r->total);
            return false;
        }
    }
    for (size_t i = 0; i < UNDER_WAY; i++, turn++) {
        if (!bench_raw_read(r->raw, acks[turn % UNDER_WAY] + 1)) {
            return false;
        }
    }
    return true;
}

int bench_reader_run(bench_reader *r) {
    if (r->total == 0) {
        return CLI_OK;
    }
    bench_raw_sum(r->raw);
    bench_raw_on_entry(r->raw, on_entry, r);
    if (!read_all(r)) {
        return CLI_FAILURE;
    }
    int64_t acked = bench_raw_sum(r->raw);
    return acked == (int64_t)r->total
               ? CLI_OK
               : cli_failure("%" PRId64 " entries were acknowledged by the baseline, %" PRIu64
                             " were there",
                             acked, r->total);
}
