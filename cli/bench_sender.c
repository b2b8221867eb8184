/* bench_sender.c - see bench_sender.h. What is in the loops here is counted as the client's work, ours
 * and the baseline's, so it is next to nothing: all that can be made before is made before. */
#include "bench_sender.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "signals.h"

enum {
    STEP_MS = 100,
    CALLBACKS_EVERY = 1024,
    WINDOW = 1000, /* commands written at once, */
    WINDOW_BYTES = 1 << 20,
    XADD_POOL_BYTES = 64 << 20
};

/* ---- Ours ------------------------------------------------------------------------------------ */

int bench_senders_open(bench_senders *s, bench *b) {
    *s = (bench_senders){.n = (size_t)b->opts->clients};
    s->clients = cli_alloc(s->n, sizeof *s->clients);
    s->producers = cli_alloc(s->n, sizeof *s->producers);
    s->outcomes = cli_alloc(s->n, sizeof *s->outcomes);
    seg_producer_options opts = bench_producer_options(b);
    for (size_t i = 0; i < s->n; i++) {
        int code = cli_open(&s->clients[i], &b->globals, false);
        if (code != CLI_OK) {
            return code;
        }
        seg_error err;
        if (seg_producer_open(&s->producers[i], s->clients[i], b->id, &opts, &err) != SEG_OK) {
            return cli_error(&err);
        }
    }
    return CLI_OK;
}

void bench_senders_close(bench_senders *s) {
    for (size_t i = 0; i < s->n; i++) {
        seg_producer_close(s->producers[i]);
        seg_client_close(s->clients[i]);
    }
    free(s->clients);
    free(s->producers);
    free(s->outcomes);
    *s = (bench_senders){0};
}

static void on_sent(seg_status status, const seg_position *where, const seg_error *err, void *arg) {
    bench_outcomes *o = arg;
    (void)where;
    if (status == SEG_OK) {
        o->stored++;
    } else if (o->failed++ == 0) {
        o->first = *err;
    }
}

static int send_all(const bench_part *p, seg_producer *producer, bench_outcomes *o) {
    const bench_load *load = &p->b->load;
    size_t at = p->first % load->n;
    seg_error err;
    seg_record r;
    SEG_INIT(&r);
    for (uint64_t i = p->first; i < p->end; i++) {
        r.key = bench_load_key(load, at);
        r.value = bench_load_value(load, at);
        at = at + 1 == load->n ? 0 : at + 1;
        seg_status status;
        while ((status = seg_send_async(producer, &r, on_sent, o, &err)) == SEG_EFULL &&
               !cli_signal_caught()) {
            seg_producer_poll(producer, STEP_MS, NULL);
        }
        if (status != SEG_OK) {
            return cli_signal_caught() ? CLI_FAILURE : cli_error(&err);
        }
        if (i % CALLBACKS_EVERY == 0) {
            seg_producer_poll(producer, 0, NULL);
            if (o->failed || cli_signal_caught()) {
                break;
            }
        }
    }
    return bench_interrupted();
}

static int send_part(bench_part *p) {
    bench_senders *s = p->arg;
    bench_outcomes *o = &s->outcomes[p->index];
    seg_producer *producer = s->producers[p->index];
    *o = (bench_outcomes){0};
    int code = send_all(p, producer, o);
    while (code == CLI_OK && seg_producer_flush(producer, STEP_MS, NULL) == SEG_ETIMEDOUT) {
        code = bench_interrupted();
    }
    if (code == CLI_OK && o->stored != p->end - p->first) {
        code =
            cli_failure("%" PRIu64 " of %" PRIu64 " messages were stored: %s", o->stored,
                        p->end - p->first, o->failed ? o->first.text : "the others had no outcome");
    }
    return code;
}

int bench_senders_run(bench_senders *s, bench *b, uint64_t messages) {
    int code = bench_parallel(b, messages, send_part, s);
    s->batches = 0;
    for (size_t i = 0; i < s->n; i++) {
        seg_producer_stats stats;
        SEG_INIT(&stats);
        seg_producer_get_stats(s->producers[i], &stats);
        s->batches += stats.batches;
    }
    return code;
}

int bench_senders_check(bench *b, uint64_t messages) {
    seg_stream_info *info;
    seg_error err;
    if (seg_stream_describe(&info, b->client, b->id, &err) != SEG_OK) {
        return cli_error(&err);
    }
    uint64_t there = seg_stream_info_messages(info);
    seg_stream_info_free(info);
    return there == messages
               ? CLI_OK
               : cli_failure("%" PRIu64 " messages are in the stream, %" PRIu64 " were sent", there,
                             messages);
}

/* ---- The baseline's commands ----------------------------------------------------------------- */

static void begin(bench_xadds *x, size_t n) {
    *x = (bench_xadds){.n = n};
    x->at = cli_alloc(n + 1, sizeof *x->at);
    x->id_at = cli_alloc(n, sizeof *x->id_at);
}

static void finish(bench_xadds *x) {
    size_t each = x->commands.len / x->n;
    x->at[x->n] = x->commands.len;
    x->window = each > 0 && WINDOW_BYTES / each < WINDOW ? WINDOW_BYTES / each : WINDOW;
    x->window = x->window ? x->window : 1;
}

static void add_xadd(bench_xadds *x, size_t i, const char *stream, const char *id,
                     const seg_bytes *fields, size_t n) {
    seg_bytes words[8] = {{"XADD", 4}, {stream, strlen(stream)}, {id, strlen(id)}};
    memcpy(words + 3, fields, n * sizeof *fields);
    x->at[i] = x->commands.len;
    bench_commands_add(&x->commands, words, 3 + n);
    char *command = x->commands.data + x->at[i];
    char *found = memmem(command, x->commands.len - x->at[i], id, strlen(id));
    x->id_at[i] = (size_t)(found - x->commands.data);
}

void bench_xadds_init(bench_xadds *x, const bench *b, const char *id) {
    const bench_load *load = &b->load;
    begin(x, load->n);
    for (size_t i = 0; i < x->n; i++) {
        char stream[64];
        bench_key(b, stream, bench_load_partition(load, i));
        seg_bytes fields[] = {
            {"k", 1}, bench_load_key(load, i), {"v", 1}, bench_load_value(load, i)};
        add_xadd(x, i, stream, id, fields, 4);
    }
    finish(x);
}

void bench_xadds_init_large(bench_xadds *x, const bench *b, size_t size) {
    const bench_load *load = &b->load;
    size_t pool = load->n * load->value_size;
    size = size < pool ? size : pool;
    size_t partitions = (size_t)b->opts->partitions;
    size_t rounds = XADD_POOL_BYTES / size / partitions;
    begin(x, partitions * (rounds ? rounds : 1));
    for (size_t i = 0, at = 0; i < x->n; i++) {
        char stream[64];
        bench_key(b, stream, (uint32_t)(i % partitions));
        seg_bytes fields[] = {{"b", 1}, {load->values + at, size}};
        add_xadd(x, i, stream, "*", fields, 2);
        at = at + 2 * size <= pool ? at + size : 0;
    }
    finish(x);
}

void bench_xadds_fini(bench_xadds *x) {
    bench_commands_fini(&x->commands);
    free(x->at);
    free(x->id_at);
    *x = (bench_xadds){0};
}

/* ---- The baseline's connections -------------------------------------------------------------- */

int bench_raws_open(bench_raws *r, bench *b) {
    *r = (bench_raws){.n = (size_t)b->opts->clients};
    r->raws = cli_alloc(r->n, sizeof *r->raws);
    int code = CLI_OK;
    for (size_t i = 0; code == CLI_OK && i < r->n; i++) {
        code = bench_raw_open(&r->raws[i], b->globals.url);
    }
    return code;
}

void bench_raws_close(bench_raws *r) {
    for (size_t i = 0; i < r->n; i++) {
        bench_raw_close(r->raws[i]);
    }
    free(r->raws);
    *r = (bench_raws){0};
}

typedef struct raw_job {
    bench_raws *raws;
    const bench_xadds *x;
} raw_job;

/* One window is on its way while the server works on the one before: it never waits for us. */
static int send_raw(bench_part *p) {
    const raw_job *job = p->arg;
    const bench_xadds *x = job->x;
    bench_raw *raw = job->raws->raws[p->index];
    size_t at = p->first % x->n, before = 0;
    for (uint64_t i = p->first; i < p->end;) {
        uint64_t left = p->end - i;
        size_t n = x->window < left ? x->window : (size_t)left;
        n = n < x->n - at ? n : x->n - at;
        if (!bench_raw_send(raw, x->commands.data + x->at[at], x->at[at + n] - x->at[at]) ||
            !bench_raw_read(raw, before)) {
            return CLI_FAILURE;
        }
        before = n;
        at = at + n == x->n ? 0 : at + n;
        i += n;
    }
    return bench_raw_read(raw, before) ? CLI_OK : CLI_FAILURE;
}

int bench_raws_run(bench_raws *r, bench *b, const bench_xadds *x, uint64_t messages) {
    raw_job job = {r, x};
    return bench_parallel(b, messages, send_raw, &job);
}

int bench_raws_check(bench *b, uint64_t messages) {
    uint64_t there = 0;
    for (uint32_t i = 0; i < b->opts->partitions; i++) {
        char key[64];
        bench_key(b, key, i);
        if (!bench_raw_ask(b->control, "XLEN %s", key)) {
            return CLI_FAILURE;
        }
        there += (uint64_t)bench_raw_integer(b->control);
    }
    return there == messages
               ? CLI_OK
               : cli_failure("%" PRIu64 " entries are in the baseline's streams, %" PRIu64
                             " were sent",
                             there, messages);
}
