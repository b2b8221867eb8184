/* bench_e2e_raw.c - the baseline of bench e2e: XADD with an ID that says which message it is, and XREAD
 * BLOCK, whose command has the last IDs in it written over. */
#include <stdlib.h>
#include <string.h>

#include "bench_e2e.h"

enum {
    ID_DIGITS = 12,
    BACKLOG = 10000 /* replies that the sender leaves unread */
};

#define ID_BASE INT64_C(100000000000) /* so that all IDs are equally long */

static void put_id(char *at, int64_t number) {
    for (int i = ID_DIGITS - 1; i >= 0; i--, number /= 10) {
        at[i] = (char)('0' + number % 10);
    }
}

/* Messages that are due together go in one write; their replies are read when there are any. */
static int send_raw_due(bench_e2e *j, uint64_t from, uint64_t due) {
    bench_xadds *x = &j->xadds;
    for (uint64_t i = from; i < due;) {
        size_t at = i % x->n, n = x->n - at < due - i ? x->n - at : (size_t)(due - i);
        n = n < x->window ? n : x->window;
        for (size_t k = 0; k < n; k++) {
            put_id(x->commands.data + x->id_at[at + k], ID_BASE + (int64_t)(i + k) + 1);
        }
        if (!bench_raw_send(j->sender, x->commands.data + x->at[at], x->at[at + n] - x->at[at])) {
            return CLI_FAILURE;
        }
        j->unread += n;
        if (j->unread > BACKLOG) {
            if (!bench_raw_read(j->sender, j->unread - BACKLOG)) {
                return CLI_FAILURE;
            }
            j->unread = BACKLOG;
        }
        i += n;
    }
    return bench_raw_glance(j->sender, &j->unread) ? CLI_OK : CLI_FAILURE;
}

int bench_e2e_raw_send(bench_e2e *j) {
    j->unread = 0;
    int code = bench_e2e_send(j, send_raw_due);
    return code != CLI_OK || bench_raw_read(j->sender, j->unread) ? code : CLI_FAILURE;
}

/* Take the number out of "100000000017-0", and read on behind it. */
static void on_entry(seg_bytes stream, seg_bytes id, void *arg) {
    bench_e2e *j = arg;
    const char *text = id.data, *name = stream.data;
    size_t prefix = strlen(j->b.id) + 1, partition = 0;
    int64_t number = 0;
    if (id.len < ID_DIGITS) {
        return;
    }
    for (int i = 0; i < ID_DIGITS; i++) {
        number = number * 10 + (text[i] - '0');
    }
    bench_e2e_note(j, number - ID_BASE, bench_now_ns());
    for (size_t i = prefix; i < stream.len; i++) {
        partition = partition * 10 + (size_t)(name[i] - '0');
    }
    if (partition >= (size_t)j->b.opts->partitions) {
        return;
    }
    memcpy(j->read.data + j->last_ids[partition], text, ID_DIGITS);
}

int bench_e2e_raw_receive(bench_e2e *j) {
    bench_raw_on_entry(j->reader, on_entry, j);
    for (int64_t sent_ns = 0; bench_e2e_expects_more(j, &sent_ns);) {
        if (!bench_raw_send(j->reader, j->read.data, j->read.len) ||
            !bench_raw_read(j->reader, 1)) {
            return CLI_FAILURE;
        }
    }
    return CLI_OK;
}

/* XREAD over all streams, each with an ID that is written over later. */
static void make_read(bench_e2e *j) {
    size_t n = (size_t)j->b.opts->partitions;
    char(*keys)[64] = cli_alloc(n, sizeof *keys);
    seg_bytes *words = cli_alloc(6 + 2 * n, sizeof *words);
    static const char first[] = BENCH_E2E_ID;
    static const char *const head[] = {"XREAD", "COUNT", "1000", "BLOCK", "100", "STREAMS"};
    for (size_t i = 0; i < CLI_COUNT(head); i++) {
        words[i] = (seg_bytes){head[i], strlen(head[i])};
    }
    for (size_t i = 0; i < n; i++) {
        bench_key(&j->b, keys[i], (uint32_t)i);
        words[6 + i] = (seg_bytes){keys[i], strlen(keys[i])};
        words[6 + n + i] = (seg_bytes){first, sizeof first - 1};
    }
    bench_commands_add(&j->read, words, 6 + 2 * n);
    /* The IDs are the last words: "$14\r\n100000000000-0\r\n" each. */
    size_t each = sizeof first - 1 + sizeof "$14\r\n\r\n" - 1;
    j->last_ids = cli_alloc(n, sizeof *j->last_ids);
    for (size_t i = 0; i < n; i++) {
        j->last_ids[i] = j->read.len - (n - i) * each + sizeof "$14\r\n" - 1;
    }
    free(words);
    free(keys);
}

int bench_e2e_raw_open(bench_e2e *j) {
    make_read(j);
    int code = bench_raw_open(&j->sender, j->b.globals.url);
    return code == CLI_OK ? bench_raw_open(&j->reader, j->b.globals.url) : code;
}

void bench_e2e_raw_close(bench_e2e *j) {
    bench_raw_close(j->sender);
    bench_raw_close(j->reader);
    j->sender = j->reader = NULL;
    bench_commands_fini(&j->read);
    free(j->last_ids);
    j->last_ids = NULL;
}
