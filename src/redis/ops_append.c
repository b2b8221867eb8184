/* ops_append.c - the append: a transaction of a guard and an XADD, and what it answers. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/error.h"
#include "redis/ops.h"
#include "redis/ops_impl.h"

/* The largest ID: no XADD can follow it. */
#define SEALED "18446744073709551615-18446744073709551615"

/* What the server was told on a connection (sg_conn_told): the bodies of the guards. */
enum { KNOWS_APPEND = 1, KNOWS_FORWARD = 2 };

/* How many messages from `i` on have the same origin, so that it is sent once. */
static uint32_t run_length(const sg_append *a, uint32_t i) {
    const sg_forward_of *f = &a->forwards[i];
    uint32_t n = 1;
    while (i + n < a->count && f[n].epoch == f->epoch && f[n].base == f->base &&
           strcmp(f[n].input, f->input) == 0)
        n++;
    return n;
}

static size_t forwards_args(const sg_append *a) {
    size_t n = 0;
    for (uint32_t i = 0; i < a->count; i += run_length(a, i))
        n += 4;
    return n + a->count;
}

__attribute__((format(printf, 2, 3))) static void arg_format(sg_conn *c, const char *format, ...) {
    char text[64];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    sg_conn_arg_str(c, text);
}

/* The widths are those of forward.lua: it compares texts. */
static void send_forwards(sg_conn *c, const sg_append *a) {
    for (uint32_t i = 0; i < a->count;) {
        const sg_forward_of *f = &a->forwards[i];
        uint32_t n = run_length(a, i);
        sg_conn_arg_str(c, f->input);
        arg_format(c, "%016" PRIu64, f->epoch);
        arg_format(c, "%016" PRIu64, f->base);
        sg_conn_arg_u64(c, n);
        for (uint32_t k = 0; k < n; k++)
            arg_format(c, "%016" PRIu64 ":%010" PRIu32 ":%08" PRIx32, f[k].offset, f[k].index,
                       f[k].crc);
        i += n;
    }
}

/* The first guard on a connection travels with its body, after which the server knows it by its
 * digest; and a probe always does. Hashing the body costs the server more than the whole guard. */
static void send_guard(sg_conn *c, const sg_append *a, sg_key log) {
    const sg_stream *s = a->stream;
    bool outputs = a->count > 0 && a->forwards != NULL;
    bool forwarding = outputs || (a->count == 0 && a->forwarding);
    const sg_script *script = sg_script_find(forwarding ? "append_forward" : "append");
    uint32_t bit = forwarding ? KNOWS_FORWARD : KNOWS_APPEND;
    bool known = a->count > 0 && (*sg_conn_told(c) & bit) != 0;
    size_t keys = forwarding ? 3 : 2;
    size_t more = outputs ? forwards_args(a) : a->count == 0 ? 1 : 0;
    size_t len;
    const char *text = known ? sg_script_digest(script, &len) : sg_script_body(script, &len);
    *sg_conn_told(c) |= bit;
    sg_conn_command(c, 9 + keys + more);
    sg_conn_arg_str(c, known ? "EVALSHA" : "EVAL");
    sg_conn_arg(c, text, len);
    sg_conn_arg_u64(c, keys);
    sg_arg_key(c, sg_key_state(s->ns, s->name, a->partition));
    sg_arg_key(c, log);
    if (forwarding)
        sg_arg_key(c, sg_key_forwards(s->ns, s->name, a->partition));
    sg_conn_arg_str(c, s->inc);
    sg_conn_arg_u64(c, a->era);
    sg_conn_arg_str(c, a->producer);
    sg_conn_arg_u64(c, a->generation);
    sg_conn_arg_u64(c, a->first_seq);
    sg_conn_arg_u64(c, a->count);
    if (outputs)
        send_forwards(c, a);
    else if (a->count == 0)
        sg_conn_arg_u64(c, a->known);
}

bool sg_append_send(sg_conn *c, const sg_append *a, sg_result_fn *fn, void *arg) {
    sg_key log = sg_key_log(a->stream->ns, a->stream->name, a->partition);
    char id[32];
    sg_conn_begin(c);
    sg_conn_name(c, a->count == 0 ? "probe" : "append");
    sg_conn_command(c, 1);
    sg_conn_arg_str(c, "MULTI");
    send_guard(c, a, log);
    /* The probe's has an ID that is always refused, but not before the right to it was checked. */
    if (a->count > 0)
        snprintf(id, sizeof id, "%" PRIu64 "-*", a->era);
    else
        snprintf(id, sizeof id, "0-0");
    sg_conn_command(c, 6);
    sg_conn_arg_str(c, "XADD");
    sg_arg_key(c, log);
    sg_conn_arg_str(c, "NOMKSTREAM");
    sg_conn_arg_str(c, id);
    sg_conn_arg_str(c, "b");
    sg_conn_arg_there(c, a->batch, a->batch_len);
    sg_conn_command(c, 3);
    sg_conn_arg_str(c, "XSETID");
    sg_arg_key(c, log);
    sg_conn_arg_str(c, SEALED);
    sg_conn_command(c, 1);
    sg_conn_arg_str(c, "EXEC");
    return sg_conn_end(c, fn, arg, 0);
}

void sg_append_unknown(sg_conn *c) {
    *sg_conn_told(c) &= ~(uint32_t)(KNOWS_APPEND | KNOWS_FORWARD);
}

static sg_append_kind append_kind(const sg_reply *word) {
    static const struct {
        const char *word;
        sg_append_kind kind;
    } words[] = {{"OK", SG_APPEND_STORED}, {"DUP", SG_APPEND_STORED},    {"FULL", SG_APPEND_FULL},
                 {"GAP", SG_APPEND_GAP},   {"STALE", SG_APPEND_STALE},   {"ERA", SG_APPEND_ERA},
                 {"LOST", SG_APPEND_LOST}, {"TOOBIG", SG_APPEND_TOOBIG}, {"HELD", SG_APPEND_HELD}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (sg_reply_is(word, words[i].word))
            return words[i].kind;
    return SG_APPEND_REFUSED;
}

static void append_refusal(const sg_reply *guard, sg_append_answer *out) {
    const char *what = sg_reply_text(sg_reply_at(guard, 1));
    switch (out->kind) {
    case SG_APPEND_FULL:
        sg_reply_u64(sg_reply_at(guard, 2), &out->room);
        sg_fail(&out->err, SEG_EFULL,
                "the partition is full: %" PRIu64 " of its %" PRIu64
                " messages are unread by at least one group, or there is none",
                out->number - out->room, out->number);
        break;
    case SG_APPEND_TOOBIG:
        sg_fail(&out->err, SEG_EINVAL, "a batch has more messages than the partition may hold (%s)",
                what);
        break;
    case SG_APPEND_GAP:
        sg_fail(&out->err, SEG_ELOST,
                "the server knows this producer's messages only up to sequence %s: "
                "it lost the later ones",
                what);
        break;
    case SG_APPEND_LOST:
        sg_fail(&out->err, SEG_ELOST,
                "the server no longer has the partition's %s: deleted, flushed, or "
                "another one was restored",
                what);
        break;
    case SG_APPEND_HELD:
        out->dups = sg_reply_bytes(sg_reply_at(guard, 1));
        out->fenced = sg_reply_bytes(sg_reply_at(guard, 2));
        out->differs = sg_reply_bytes(sg_reply_at(guard, 3));
        if (out->dups.len + out->fenced.len + out->differs.len == 0) {
            out->kind = SG_APPEND_REFUSED;
            sg_nonsense(guard, "append", &out->err);
            break;
        }
        sg_fail(&out->err, SEG_EFENCED,
                "the batch has outputs that are stored already, of an input that has another "
                "owner, or that differ from what was stored for it");
        break;
    case SG_APPEND_STALE:
    case SG_APPEND_ERA:
        sg_fail(&out->err, SEG_EPROTO, "the %s has moved on to %s",
                out->kind == SG_APPEND_ERA ? "log" : "producer", what);
        break;
    default:
        if (sg_reply_is(sg_reply_at(guard, 0), "BROKEN"))
            sg_refusal(&out->err, sg_reply_error_status(what), what);
        else
            sg_nonsense(guard, "append", &out->err);
    }
}

static bool probe_fields(const sg_reply *guard, sg_append_answer *out) {
    out->eras = sg_reply_bytes(sg_reply_at(guard, 2));
    return sg_reply_u64(sg_reply_at(guard, 1), &out->next) &&
           sg_reply_u64(sg_reply_at(guard, 3), &out->generation) &&
           sg_reply_u64(sg_reply_at(guard, 4), &out->sequence);
}

/* The transaction was refused as a whole, and nothing of it was done, if its EXEC says so. A server
 * that refused the MULTI alone has then run the other commands one by one. */
static bool discarded(const sg_result *r) {
    const char *last = sg_reply_error(r->reply);
    return last != NULL && strncmp(last, "EXECABORT", 9) == 0;
}

/* The EXEC's answer: [guard's, XADD's, the sealing's]; XADD's is an error wherever the guard's is not
 * OK. */
void sg_append_read(const sg_result *r, bool probe, sg_append_answer *out) {
    memset(out, 0, sizeof *out);
    out->kind = SG_APPEND_REFUSED;
    if (sg_base_status(r, &out->err, &out->lost) != SEG_OK) {
        out->unsure = !out->lost && !discarded(r);
        return;
    }
    const sg_reply *guard = sg_reply_at(r->reply, 0), *added = sg_reply_at(r->reply, 1);
    bool stored = sg_reply_bytes(added).len > 0;
    if (sg_reply_error(guard) != NULL) {
        /* Unguarded, into a log that somebody had opened by hand: no message of the log yet, and taken
         * out of it by the guard that comes with the same numbers. */
        if (strncmp(sg_reply_error(guard), "NOSCRIPT", 8) == 0)
            out->kind = SG_APPEND_UNKNOWN;
        sg_fail(&out->err, sg_reply_error_status(sg_reply_error(guard)), "the server refused: %s",
                sg_reply_error(guard));
        out->unsure = stored;
        return;
    }
    out->kind = append_kind(sg_reply_at(guard, 0));
    out->duplicate = sg_reply_is(sg_reply_at(guard, 0), "DUP");
    if (!sg_reply_u64(sg_reply_at(guard, 1), &out->number))
        out->number = UINT64_MAX;
    out->offset = out->number;
    if (probe && out->kind == SG_APPEND_STORED && !probe_fields(guard, out)) {
        out->kind = SG_APPEND_REFUSED;
        sg_nonsense(guard, "append", &out->err);
    } else if (out->kind != SG_APPEND_STORED)
        append_refusal(guard, out);
    /* The guard's word and what the XADD then did always agree; only where rights were taken away
     * in the middle do they not. */
    if (out->kind == SG_APPEND_STORED && !out->duplicate && out->offset == UINT64_MAX) {
        out->kind = SG_APPEND_REFUSED;
        out->unsure = stored;
        sg_nonsense(guard, "append", &out->err);
        return;
    }
    bool due = out->kind == SG_APPEND_STORED && !out->duplicate && !probe;
    if (stored != due) {
        out->kind = SG_APPEND_REFUSED;
        out->unsure = true;
        sg_fail(&out->err, SEG_EPROTO,
                "the guard and the XADD disagree: has the server's user lost a right?");
    }
}

bool sg_numbers_next(seg_bytes *list, uint32_t *n) {
    const char *text = list->data;
    uint64_t value = 0;
    size_t i = 0;
    for (; i < list->len && text[i] >= '0' && text[i] <= '9' && value <= UINT32_MAX; i++)
        value = value * 10 + (uint64_t)(text[i] - '0');
    if (i == 0 || value > UINT32_MAX || (i < list->len && text[i] != ','))
        return false;
    if (i < list->len)
        i++;
    *list = (seg_bytes){text + i, list->len - i};
    *n = (uint32_t)value;
    return true;
}
