/* tale.c - see tale.h. */
#include "tale.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "table.h"
#include "test.h"

enum { MS = 1000000, TALE_PROCESS = 50 };

tale *tale_new(unsigned stream_flags, unsigned group_flags) {
    tale *t = calloc(1, sizeof *t);
    CHECK(t != NULL);
    t->now = 1000 * (uint64_t)MS;
    tale_add(t, (history_record){.kind = HISTORY_STREAM,
                                 .stream = TALE_STREAM,
                                 .partition = 2,
                                 .flags = (uint16_t)stream_flags});
    tale_add(t, (history_record){.kind = HISTORY_GROUP,
                                 .stream = TALE_STREAM,
                                 .group = TALE_GROUP,
                                 .partition = HISTORY_ALL,
                                 .end = 1000 * (uint64_t)MS,
                                 .first = 100 * (uint64_t)MS,
                                 .flags = (uint16_t)group_flags});
    return t;
}

void tale_free(tale *t) {
    history_log_fini(&t->log);
    free(t);
}

void tale_wait(tale *t, uint64_t ms) {
    t->now += ms * MS;
}

size_t tale_add(tale *t, history_record r) {
    t->now += MS;
    r.at = t->now;
    if (!r.process)
        r.process = r.member ? r.member + 100 : r.producer ? r.producer + 100 : TALE_PROCESS;
    if (r.phase == HISTORY_INVOKE)
        r.call = ++t->calls;
    t->log.records = array_grow(t->log.records, t->log.n, &t->cap, sizeof *t->log.records);
    t->log.records[t->log.n] = r;
    return t->log.n++;
}

void tale_answer(tale *t, size_t invoke, history_phase outcome) {
    history_record r = t->log.records[invoke];
    uint64_t call = r.call;
    r.phase = (uint16_t)outcome;
    r.status = outcome == HISTORY_FAIL ? SEG_ETIMEDOUT : SEG_OK;
    size_t i = tale_add(t, r);
    t->log.records[i].call = call;
}

history_record *tale_find(tale *t, history_kind kind, history_phase phase, uint64_t offset,
                          size_t n) {
    for (size_t i = 0; i < t->log.n; i++) {
        history_record *r = &t->log.records[i];
        if (r->kind == kind && r->phase == phase && r->offset == offset && n-- == 0)
            return r;
    }
    FAIL("there is no %s at %" PRIu64, history_kind_name(kind), offset);
}

void tale_drop(tale *t, history_kind kind, history_phase phase, uint64_t offset) {
    tale_find(t, kind, phase, offset, 0)->kind = 0;
}

history_record tale_message(history_kind kind, spot at) {
    return (history_record){
        .kind = (uint16_t)kind,
        .stream = TALE_STREAM,
        .partition = at.partition,
        .era = at.era,
        .offset = at.offset,
        .producer = TALE_PRODUCER + at.era,
        .key = 1 + at.offset % 2,
        .sequence = 1 + at.offset / 2,
        .crc = (uint32_t)(at.offset * 7 + at.era),
    };
}

/* ---- Producers ------------------------------------------------------------------------------- */

size_t tale_invoke_send(tale *t, spot at) {
    history_record r = tale_message(HISTORY_SEND, at);
    r.phase = HISTORY_INVOKE;
    return tale_add(t, r);
}

void tale_send(tale *t, spot at) {
    tale_answer(t, tale_invoke_send(t, at), HISTORY_OK);
}

/* ---- Consumers ------------------------------------------------------------------------------- */

static history_record of_member(history_kind kind, uint64_t member, spot at) {
    return (history_record){.kind = (uint16_t)kind,
                            .stream = TALE_STREAM,
                            .group = TALE_GROUP,
                            .member = member,
                            .partition = at.partition,
                            .era = at.era,
                            .offset = at.offset};
}

static size_t call_of_member(tale *t, history_kind kind, uint64_t member, unsigned flags) {
    history_record r = of_member(kind, member, AT(0));
    r.phase = HISTORY_INVOKE;
    r.flags = (uint16_t)flags;
    return tale_add(t, r);
}

void tale_join(tale *t, uint64_t member, unsigned flags) {
    tale_answer(t, call_of_member(t, HISTORY_JOIN, member, flags), HISTORY_OK);
}

void tale_leave(tale *t, uint64_t member) {
    tale_answer(t, call_of_member(t, HISTORY_LEAVE, member, 0), HISTORY_OK);
}

void tale_poll(tale *t) {
    t->now += MS;
    t->poll = t->now;
}

void tale_deliver_again(tale *t, uint64_t member, uint64_t epoch, spot at, uint32_t attempt) {
    history_record r = tale_message(HISTORY_DELIVERED, at);
    r.group = TALE_GROUP;
    r.member = member;
    r.process = member + 100;
    r.epoch = epoch;
    r.attempt = attempt;
    r.first = t->poll;
    tale_add(t, r);
}

void tale_deliver(tale *t, uint64_t member, uint64_t epoch, spot at) {
    tale_deliver_again(t, member, epoch, at, 1);
}

void tale_settle(tale *t, uint64_t member, uint64_t epoch, spot at, seg_verdict how) {
    history_record r = of_member(HISTORY_SETTLE, member, at);
    r.epoch = epoch;
    r.what = (uint8_t)how;
    r.phase = HISTORY_INVOKE;
    tale_answer(t, tale_add(t, r), HISTORY_OK);
}

void tale_ack(tale *t, uint64_t member, uint64_t epoch, spot at) {
    tale_settle(t, member, epoch, at, SEG_ACK);
}

void tale_commit(tale *t, uint64_t member) {
    tale_answer(t, call_of_member(t, HISTORY_COMMIT, member, 0), HISTORY_OK);
}

void tale_observe(tale *t, spot committed, uint64_t epoch, uint64_t owner) {
    history_record r = of_member(HISTORY_OBSERVED, owner, committed);
    r.process = TALE_PROCESS;
    r.epoch = epoch;
    r.phase = HISTORY_INVOKE;
    tale_answer(t, tale_add(t, r), HISTORY_OK);
}

void tale_loss(tale *t, uint64_t member, unsigned what, spot first, uint64_t end) {
    history_record r = of_member(HISTORY_LOSS, member, first);
    r.what = (uint8_t)what;
    r.first = first.offset;
    r.end = end;
    r.offset = 0;
    if (!member) {
        r.group = 0;
        r.producer = TALE_PRODUCER + first.era;
    }
    tale_add(t, r);
}

size_t tale_fault(tale *t, uint64_t target, unsigned flags) {
    return tale_add(t, (history_record){.kind = HISTORY_FAULT,
                                        .phase = HISTORY_INVOKE,
                                        .target = target,
                                        .flags = (uint16_t)flags});
}

/* ---- The end --------------------------------------------------------------------------------- */

void tale_entry(tale *t, spot at) {
    history_record r = tale_message(HISTORY_ENTRY, at);
    r.process = TALE_PROCESS;
    tale_add(t, r);
}

void tale_logs(tale *t, uint64_t era, uint64_t first, uint64_t end) {
    for (uint32_t i = 0; i < 2; i++) {
        tale_add(t, (history_record){.kind = HISTORY_LOG,
                                     .stream = TALE_STREAM,
                                     .partition = i,
                                     .era = i ? 1 : era,
                                     .first = i ? 0 : first,
                                     .end = i ? 0 : end});
    }
}

void tale_place(tale *t, uint64_t era, uint64_t committed) {
    for (uint32_t i = 0; i < 2; i++) {
        tale_add(t, (history_record){.kind = HISTORY_PLACE,
                                     .stream = TALE_STREAM,
                                     .group = TALE_GROUP,
                                     .partition = i,
                                     .era = i ? 1 : era,
                                     .offset = i ? 0 : committed,
                                     .flags = HISTORY_DRAINED});
    }
}

void tale_end(tale *t, uint64_t n, uint64_t committed) {
    for (uint64_t i = 0; i < n; i++)
        tale_entry(t, AT(i));
    tale_logs(t, 1, 0, n);
    tale_place(t, 1, committed);
}

void tale_plain(tale *t) {
    for (uint64_t i = 0; i < 6; i++)
        tale_send(t, AT(i));
    tale_join(t, M1, 0);
    tale_poll(t);
    for (uint64_t i = 0; i < 6; i++)
        tale_deliver(t, M1, 1, AT(i));
    for (uint64_t i = 0; i < 6; i++)
        tale_ack(t, M1, 1, AT(i));
    tale_commit(t, M1);
}

/* ---- Verdicts -------------------------------------------------------------------------------- */

void tale_judge(tale *t, verdict *out) {
    history_sort(&t->log);
    checker_judge(out, &t->log);
}

void tale_expect(tale *t, anomaly a) {
    verdict *v = calloc(1, sizeof *v);
    CHECK(v != NULL);
    tale_judge(t, v);
    verdict_print(v, stdout);
    CHECK_EQ(v->counts[a], 1);
    CHECK_EQ(verdict_total(v), 1);
    free(v);
    tale_free(t);
}

void tale_expect_good(tale *t) {
    verdict *v = calloc(1, sizeof *v);
    CHECK(v != NULL);
    tale_judge(t, v);
    verdict_print(v, stdout);
    CHECK_EQ(verdict_total(v), 0);
    free(v);
    tale_free(t);
}
