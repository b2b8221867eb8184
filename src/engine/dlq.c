/* Dead letters: the handle, and looking at them. */
#include "engine/dlq.h"

#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "core/error.h"
#include "core/window.h"
#include "engine/admin.h"
#include "engine/letters.h"
#include "engine/task.h"
#include "redis/ops_range.h"

#define COUNT_MAX   128
#define CHUNK_BYTES (1024u * 1024) /* to be had with one read, about */
#define SPAN        65536          /* nothing is acknowledged further past committed */

/* ---- what a letter says ------------------------------------------------------------------- */

/* Nothing but digits, at most `max`. */
static bool number(seg_bytes text, uint64_t max, uint64_t *out) {
    const char *s = text.data;
    uint64_t v = 0;
    if (text.len == 0 || text.len > 20)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        unsigned digit = (unsigned)s[i] - '0';
        if (digit > 9 || v > (UINT64_MAX - digit) / 10)
            return false;
        v = 10 * v + digit;
    }
    *out = v;
    return v <= max;
}

static bool is_word(seg_bytes text) {
    const char *s = text.data;
    for (size_t i = 0; i < text.len; i++)
        if ((s[i] < 'a' || s[i] > 'z') && s[i] != '-')
            return false;
    return text.len > 0;
}

static bool equal(seg_bytes a, const char *b) {
    size_t len = strlen(b);
    return a.len == len && memcmp(a.data, b, len) == 0;
}

static bool read_numbers(const seg_bytes *value, sg_letter_facts *out) {
    uint64_t partition, attempts, first, last;
    if (!number(value[SG_LETTER_PARTITION], UINT32_MAX, &partition) ||
        !number(value[SG_LETTER_ERA], UINT64_MAX, &out->era) ||
        !number(value[SG_LETTER_OFFSET], UINT64_MAX, &out->offset) ||
        !number(value[SG_LETTER_ATTEMPTS], UINT32_MAX, &attempts) ||
        !number(value[SG_LETTER_FIRST], INT64_MAX, &first) ||
        !number(value[SG_LETTER_LAST], INT64_MAX, &last))
        return false;
    out->partition = (uint32_t)partition;
    out->attempts = (uint32_t)attempts;
    out->first = (int64_t)first;
    out->last = (int64_t)last;
    return true;
}

bool sg_letter_read(const sg_record_view *v, sg_letter_facts *out) {
    seg_bytes rest = v->headers, name, value[SG_LETTER_COUNT];
    /* No message of ours is that old, and no producer would take it. */
    if (v->n_headers < SG_LETTER_COUNT || v->timestamp < 0)
        return false;
    out->n_headers = v->n_headers - SG_LETTER_COUNT;
    for (uint32_t i = 0; i < out->n_headers; i++)
        if (!sg_header_next(&rest, &name, &value[0]))
            return false;
    out->headers = (seg_bytes){v->headers.data, v->headers.len - rest.len};
    for (int i = 0; i < SG_LETTER_COUNT; i++)
        if (!sg_header_next(&rest, &name, &value[i]) || !equal(name, sg_letter_names[i]))
            return false;
    out->stream = value[SG_LETTER_STREAM];
    out->group = value[SG_LETTER_GROUP];
    out->reason = value[SG_LETTER_REASON];
    out->error = value[SG_LETTER_ERROR];
    return is_word(out->reason) && read_numbers(value, out);
}

bool sg_dlq_owns(const seg_dlq *q, const sg_letter_facts *f) {
    return equal(f->stream, q->origin.name) && equal(f->group, q->of);
}

/* ---- intents ------------------------------------------------------------------------------ */

bool sg_intent_write(const sg_intent *i, sg_buf *out) {
    if (!sg_buf_printf(out, "replay 1 %s %" PRIu64, i->target, i->era))
        return false;
    for (size_t k = 0; k < i->n; k++)
        if (!sg_buf_printf(out, " %" PRIu64, i->offsets[k]))
            return false;
    return true;
}

/* The next word of the text, which shrinks; empty at the end, and where two spaces meet. */
static seg_bytes word(seg_bytes *text) {
    const char *s = text->data;
    size_t n = 0;
    while (n < text->len && s[n] != ' ')
        n++;
    seg_bytes w = {s, n};
    size_t used = n < text->len ? n + 1 : n;
    text->data = s + used;
    text->len -= used;
    return w;
}

static bool read_intent(seg_bytes note, sg_intent *out) {
    if (!equal(word(&note), "replay") || !equal(word(&note), "1"))
        return false;
    seg_bytes target = word(&note);
    if (target.len == 0 || target.len > SG_NAME_MAX || memchr(target.data, '\0', target.len))
        return false;
    memcpy(out->target, target.data, target.len);
    out->target[target.len] = '\0';
    if (!sg_name_ok(out->target) || !number(word(&note), UINT64_MAX, &out->era))
        return false;
    for (out->n = 0; note.len > 0; out->n++) {
        uint64_t *o = &out->offsets[out->n];
        if (out->n == SG_INTENT_MAX || !number(word(&note), UINT64_MAX - 1, o) ||
            (out->n > 0 && *o <= o[-1]))
            return false;
    }
    return out->n > 0;
}

bool sg_intent_read(seg_bytes note, sg_intent *out) {
    bool ok = note.len == 0 || read_intent(note, out);
    if (!ok || note.len == 0)
        out->n = 0;
    return ok;
}

bool sg_intent_has(const sg_intent *i, uint64_t offset) {
    size_t lo = 0, hi = i->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (i->offsets[mid] == offset)
            return true;
        if (i->offsets[mid] < offset)
            lo = mid + 1;
        else
            hi = mid;
    }
    return false;
}

/* ---- a chunk: some entries, and the cursor as it was just before --------------------------- */

typedef struct sg_dlq_chunk {
    sg_eras eras;
    uint64_t from, end; /* what was asked for */
    uint64_t reached;   /* all before it is in here, or not there */
    sg_window *window;  /* what is acknowledged */
    sg_intent intent;
    size_t n_blocks, at_block, bytes;
    uint32_t at_record;
    sg_block *blocks[COUNT_MAX];
} chunk;

typedef struct job {
    sg_task task;
    sg_stream stream;
    uint32_t partition;
    uint64_t from, end, count;
    chunk *chunk;
} job;

static void clear(chunk *c) {
    for (size_t i = 0; i < c->n_blocks; i++)
        sg_block_unref(c->blocks[i]);
    sg_window_free(c->window);
    sg_eras_fini(&c->eras);
    memset(c, 0, sizeof *c);
}

static job *job_of(sg_task *t) {
    return SG_OF(t, job, task);
}

static void destroy(sg_task *t) {
    job *j = job_of(t);
    if (j->chunk != NULL)
        clear(j->chunk);
    sg_free(j->chunk);
    sg_task_fini(t);
    sg_free(j);
}

static seg_status load(job *j, sg_cursor_answer *a, seg_error *err) {
    chunk *c = j->chunk;
    uint64_t acked, first = a->committed > a->first ? a->committed : a->first;
    clear(c); /* a task that starts over has been here before */
    if (!sg_cursor_take_eras(a, &c->eras)) {
        *err = a->err;
        return err->status;
    }
    c->from = j->from > first ? j->from : first;
    c->end = j->end < a->next ? j->end : a->next;
    c->reached = c->end;
    sg_intent_read(a->note, &c->intent); /* who moves letters complains of what is none */
    if (a->committed > a->next)
        return sg_fail(
            err, SEG_ELOST,
            "the server lost messages of partition %u: its log ends before offset %llu, and "
            "%llu is acknowledged",
            j->partition, (unsigned long long)a->next, (unsigned long long)a->committed);
    if (!sg_ackmap_count(a->acks.data, a->acks.len, &acked))
        return sg_fail(err, SEG_EPROTO,
                       "the cursor of partition %u is damaged: its ack map cannot be read",
                       j->partition);
    c->window = sg_window_new(a->committed, SPAN);
    if (c->window == NULL || !sg_window_load(c->window, a->acks.data, a->acks.len))
        return sg_fail_nomem(err);
    return SEG_OK;
}

static void on_cursor(void *arg, const sg_result *r) {
    job *j = arg;
    sg_cursor_answer a;
    seg_error err;
    sg_cursor_read_answer(r, &a);
    if (sg_task_answer(&j->task, a.lost)) {
        seg_status s = a.kind == SG_CURSOR_OK ? load(j, &a, &err)
                                              : sg_fail(&err, a.err.status, "partition %u: %s",
                                                        j->partition, a.err.text);
        sg_task_fault(&j->task, s, &err);
    }
    sg_task_answered(&j->task);
}

/* Few bytes may stand for many: what is compressed, and more than a chunk, is left for the next. */
static bool has_room(const chunk *c, size_t bytes, size_t len) {
    return c->n_blocks == 0 || bytes <= len || c->bytes + bytes <= CHUNK_BYTES;
}

/* NULL: as sg_block_open. */
static sg_block *make_block(const job *j, seg_bytes batch, uint64_t last, const char **why) {
    seg_client *client = j->task.client;
    sg_block *b = sg_block_new(client->pool, batch.len);
    *why = NULL;
    if (b == NULL)
        return NULL;
    if (batch.len > 0)
        memcpy(sg_block_room(b), batch.data, batch.len);
    return sg_block_open(b, last, j->stream.seed, &client->codecs, client->pool, why);
}

/* Entries that cannot be read are passed over. False: no memory. */
static bool take_entries(job *j, const sg_range_answer *a) {
    chunk *c = j->chunk;
    uint64_t last, next = c->from;
    for (size_t i = 0; i < a->count && i < COUNT_MAX; i++) {
        seg_bytes batch;
        const char *why = "";
        bool ours = sg_range_entry(a, i, &c->eras, &last, &batch);
        if (ours) {
            size_t bytes = sg_batch_weight(batch.data, batch.len);
            if (!has_room(c, bytes, batch.len)) {
                c->reached = next;
                break;
            }
            sg_block *b = make_block(j, batch, last, &why);
            if (b == NULL && why == NULL)
                return false;
            if (b != NULL)
                c->blocks[c->n_blocks++] = b;
            c->bytes += bytes;
        }
        next = last < c->end ? last + 1 : next;
        if (i + 1 == j->count && last < c->end)
            c->reached = last + 1; /* there may be more */
    }
    return true;
}

static void on_entries(void *arg, const sg_result *r) {
    job *j = arg;
    sg_range_answer a;
    seg_error err;
    sg_range_read(r, &a);
    if (sg_task_answer(&j->task, a.lost)) {
        if (a.status == SEG_OK && !take_entries(j, &a))
            a.status = sg_fail_nomem(&a.err);
        if (a.status != SEG_OK)
            sg_fail(&err, a.status, "partition %u: %s", j->partition, a.err.text);
        sg_task_fault(&j->task, a.status, &err);
    }
    sg_task_answered(&j->task);
}

static void step(sg_task *t) {
    job *j = job_of(t);
    const chunk *k = j->chunk;
    sg_conn *c = t->client->commands;
    switch (t->stage++) {
    case 0:
        sg_task_sent(t,
                     sg_cursor_read_send(c, &j->stream, SG_DLQ_GROUP, j->partition, on_cursor, j));
        break;
    case 1:
        if (k->from < k->end)
            sg_task_sent(t, sg_range_send(c, &j->stream, j->partition, &k->eras, k->from,
                                          k->end - 1, j->count, on_entries, j));
        break;
    default:
        sg_task_finish(t);
    }
}

/* ---- reading on --------------------------------------------------------------------------- */

static void forget(seg_dlq *q) {
    if (q->chunk != NULL)
        clear(q->chunk);
    sg_free(q->chunk);
    q->chunk = NULL;
}

void sg_dlq_reread(seg_dlq *q) {
    const chunk *c = q->chunk;
    if (c != NULL && c->at_block < c->n_blocks) {
        uint64_t offset = c->blocks[c->at_block]->first + c->at_record;
        q->at = offset > c->from ? offset : c->from;
    }
    forget(q);
}

/* A part of the stream is missing: was it deleted? */
static seg_status verdict(seg_dlq *q, seg_error *err) {
    sg_stream_answer now = {.stream = q->stream};
    seg_error what;
    now.status = sg_stream_find(q->client, &now.stream, false, &now.err);
    sg_stream_verdict(&now, &q->stream, &what);
    return sg_fail(err, what.status, "%s", what.text);
}

/* As many entries as would be about right if they are like those. */
static uint64_t next_count(const seg_dlq *q, const chunk *c) {
    size_t mean = c->n_blocks > 0 ? c->bytes / c->n_blocks + 1 : 1;
    uint64_t n = CHUNK_BYTES / mean;
    if (n > 2 * q->count)
        n = 2 * q->count;
    return n < 1 ? 1 : n > COUNT_MAX ? COUNT_MAX : n;
}

static seg_status read_chunk(seg_dlq *q, seg_error *err) {
    job *j = sg_calloc(1, sizeof *j);
    if (j == NULL || (j->chunk = sg_calloc(1, sizeof *j->chunk)) == NULL ||
        !sg_task_init(&j->task, q->client, step, destroy)) {
        if (j != NULL)
            sg_free(j->chunk);
        sg_free(j);
        return sg_fail_nomem(err);
    }
    j->stream = q->stream;
    j->partition = q->partition;
    j->from = q->at;
    j->end = q->end;
    j->count = q->count;
    seg_error why;
    seg_status s = sg_task_run(&j->task, q->client->command_timeout, &why);
    if (s == SEG_OK) {
        forget(q);
        q->chunk = j->chunk;
        j->chunk = NULL;
        q->at = q->chunk->reached;
        q->end = q->chunk->end; /* a round ends, however fast letters come */
        q->count = next_count(q, q->chunk);
    }
    sg_task_release(&j->task);
    if (s == SEG_ELOST && verdict(q, err) == SEG_ENOENT)
        return SEG_ENOENT;
    return s == SEG_OK ? s : sg_fail(err, s, "%s", why.text);
}

static void copy_text(char *out, size_t size, seg_bytes text) {
    size_t n = text.len < size - 1 ? text.len : size - 1;
    if (n > 0)
        memcpy(out, text.data, n);
    out[n] = '\0';
}

static void show(seg_dlq *q, const sg_record_view *v, const sg_letter_facts *f, uint64_t offset) {
    const chunk *c = q->chunk;
    q->message.view = *v;
    atomic_store(&q->message.hint, 0);
    q->message.view.headers = f->headers;
    q->message.view.n_headers = f->n_headers;
    q->message.delivery = (seg_delivery){{f->era, f->offset}, 0, f->partition, f->attempts};
    copy_text(q->reason, sizeof q->reason, f->reason);
    copy_text(q->error, sizeof q->error, f->error);
    q->letter = (seg_letter){
        .at = {{sg_eras_of(&c->eras, offset), offset}, q->partition},
        .origin = {{f->era, f->offset}, f->partition},
        .attempts = f->attempts,
        .reason = q->reason,
        .error = q->error,
        .first_failed = f->first,
        .last_failed = f->last,
        .message = &q->message,
        .replaying = sg_intent_has(&c->intent, offset) ? c->intent.target : NULL,
    };
}

/* The next letter of the chunk. False: none is left in it. */
static bool next_in_chunk(seg_dlq *q) {
    chunk *c = q->chunk;
    while (c != NULL && c->at_block < c->n_blocks) {
        const sg_block *b = c->blocks[c->at_block];
        uint64_t offset = b->first + c->at_record;
        sg_record_view v;
        sg_block_record(b, offset, &v);
        sg_letter_facts f;
        if (++c->at_record == b->count) {
            c->at_record = 0;
            c->at_block++;
        }
        if (offset >= c->from && offset < c->end && !sg_window_acked(c->window, offset) &&
            sg_letter_read(&v, &f) && sg_dlq_owns(q, &f)) {
            show(q, &v, &f, offset);
            return true;
        }
    }
    return false;
}

static void begin_partition(seg_dlq *q, uint32_t partition) {
    q->partition = partition;
    q->at = 0;
    q->end = UINT64_MAX;
    forget(q);
}

static seg_status next(seg_dlq *q, const seg_letter **out, seg_error *err) {
    while (q->partition < q->stream.partitions) {
        if (next_in_chunk(q)) {
            *out = &q->letter;
            return SEG_OK;
        }
        if (q->at >= q->end) {
            begin_partition(q, q->partition + 1);
            continue;
        }
        seg_status s = read_chunk(q, err);
        if (s != SEG_OK)
            return s;
    }
    *out = NULL;
    return SEG_OK;
}

seg_status seg_dlq_next(const seg_letter **out, seg_dlq *q, seg_error *err) {
    if (out == NULL || q == NULL)
        return sg_fail(err, SEG_EINVAL, "%s is NULL", out == NULL ? "out" : "the dead letters");
    seg_status s = sg_dlq_enter(q, err);
    if (s != SEG_OK)
        return s;
    s = next(q, out, err);
    sg_dlq_leave(q);
    return s;
}

void seg_dlq_rewind(seg_dlq *q) {
    if (q != NULL)
        begin_partition(q, 0);
}

/* ---- the handle --------------------------------------------------------------------------- */

seg_status sg_dlq_enter(seg_dlq *q, seg_error *err) {
    if (atomic_flag_test_and_set(&q->busy))
        return sg_fail(err, SEG_EBUSY, "another thread uses this handle of dead letters");
    return SEG_OK;
}

void sg_dlq_leave(seg_dlq *q) {
    atomic_flag_clear(&q->busy);
}

static seg_status find(seg_dlq *q, seg_client *c, const char *stream, const char *group,
                       seg_error *err) {
    char name[SG_NAME_MAX + 1];
    seg_status s = sg_stream_name(&q->origin, c, stream, err);
    if (s != SEG_OK || (s = sg_name_check("group", group, err)) != SEG_OK)
        return s;
    if (!sg_dlq_name(name, stream, group))
        return sg_fail(
            err, SEG_EINVAL,
            "the dead letters of stream \"%.60s\" and group \"%.60s\" would have a name of more "
            "than 200 characters, so there are none",
            stream, group);
    strcpy(q->of, group);
    strcpy(q->group.name, SG_DLQ_GROUP);
    if ((s = sg_stream_find(c, &q->origin, false, err)) != SEG_OK ||
        (s = sg_stream_name(&q->stream, c, name, err)) != SEG_OK)
        return s;
    s = sg_stream_find(c, &q->stream, false, err);
    if (s == SEG_ENOENT)
        return sg_fail(
            err, SEG_ENOENT,
            "group \"%s\" of stream \"%s\" has no dead letters: there is no stream \"%s\", which "
            "is created with the first one",
            group, stream, name);
    if (s != SEG_OK)
        return s;
    return sg_group_find(c, &q->stream, &q->group, (sg_start_at){SEG_EARLIEST, 0}, err);
}

static seg_dlq *dlq_new(void) {
    seg_dlq *q = sg_calloc(1, sizeof *q);
    if (q == NULL)
        return NULL;
    if (!sg_mutex_init(&q->lock)) {
        sg_free(q);
        return NULL;
    }
    if (!sg_cond_init(&q->changed)) {
        sg_mutex_fini(&q->lock);
        sg_free(q);
        return NULL;
    }
    atomic_flag_clear(&q->busy);
    q->count = 1;
    q->end = UINT64_MAX;
    return q;
}

static void dlq_free(seg_dlq *q) {
    forget(q);
    sg_free(q->epochs);
    sg_cond_fini(&q->changed);
    sg_mutex_fini(&q->lock);
    sg_free(q);
}

seg_status seg_dlq_open(seg_dlq **out, seg_client *c, const char *stream, const char *group,
                        seg_error *err) {
    if (out == NULL || c == NULL)
        return sg_fail(err, SEG_EINVAL, "%s is NULL", out == NULL ? "out" : "the client");
    seg_dlq *q = dlq_new();
    if (q == NULL)
        return sg_fail_nomem(err);
    seg_status s = find(q, c, stream, group, err);
    if (s == SEG_OK && (q->epochs = sg_calloc(q->stream.partitions, sizeof *q->epochs)) == NULL)
        s = sg_fail_nomem(err);
    if (s != SEG_OK) {
        dlq_free(q);
        return s;
    }
    sg_client_ref(c);
    q->client = c;
    *out = q;
    return SEG_OK;
}

void seg_dlq_close(seg_dlq *q) {
    if (q == NULL)
        return;
    sg_dlq_stop_moving(q);
    seg_client *c = q->client;
    dlq_free(q);
    sg_client_unref(c);
}
