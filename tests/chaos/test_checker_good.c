/* test_checker_good.c - histories in which everything went as promised, however badly. */
#include <stdlib.h>

#include "tale.h"
#include "test.h"

TEST(nothing_happened) {
    tale *t = tale_new(0, 0);
    tale_end(t, 0, 0);
    tale_expect_good(t);
}

TEST(all_went_well) {
    tale *t = tale_new(0, 0);
    tale_plain(t);
    tale_observe(t, AT(6), 1, M1);
    tale_leave(t, M1);
    tale_end(t, 6, 6);
    tale_expect_good(t);
}

/* ---- Outcomes -------------------------------------------------------------------------------- */

TEST(an_unknown_send_is_there) {
    tale *t = tale_new(0, 0);
    tale_plain(t);
    tale_answer(t, tale_invoke_send(t, AT(6)), HISTORY_UNKNOWN);
    tale_deliver(t, M1, 1, AT(6));
    tale_ack(t, M1, 1, AT(6));
    tale_end(t, 7, 7);
    tale_expect_good(t);
}

TEST(unknown_failed_and_unanswered_sends_are_not_there) {
    tale *t = tale_new(0, 0);
    tale_plain(t);
    tale_answer(t, tale_invoke_send(t, AT(6)), HISTORY_UNKNOWN);
    tale_answer(t, tale_invoke_send(t, AT(8)), HISTORY_FAIL);
    tale_invoke_send(t, AT(10));
    tale_end(t, 6, 6);
    tale_expect_good(t);
}

TEST(a_send_is_stored_somewhere) {
    tale *t = tale_new(0, 0);
    tale_plain(t);
    tale_end(t, 6, 6);
    tale_find(t, HISTORY_SEND, HISTORY_OK, 5, 0)->offset = UINT64_MAX;
    tale_expect_good(t);
}

/* ---- Crashes and hand-overs ------------------------------------------------------------------ */

/* M1 is killed with 0 to 3 in hand; it had acknowledged 1 and, committed, 0. */
static void die_at_work(tale *t) {
    for (uint64_t i = 0; i < 6; i++)
        tale_send(t, AT(i));
    tale_join(t, M1, 0);
    tale_join(t, M2, 0);
    tale_poll(t);
    for (uint64_t i = 0; i < 4; i++)
        tale_deliver(t, M1, 1, AT(i));
    tale_ack(t, M1, 1, AT(0));
    tale_commit(t, M1);
    tale_observe(t, AT(1), 1, M1);
    tale_ack(t, M1, 1, AT(1));
    tale_answer(t, tale_fault(t, M1 + 100, HISTORY_DEAD), HISTORY_OK);
}

static void work_on(tale *t, uint64_t from) {
    tale_poll(t);
    for (uint64_t i = from; i < 6; i++)
        tale_deliver_again(t, M2, 2, AT(i), i < 4 ? 2 : 1);
    for (uint64_t i = from; i < 6; i++)
        tale_ack(t, M2, 2, AT(i));
    tale_commit(t, M2);
    tale_observe(t, AT(6), 2, M2);
    tale_leave(t, M2);
    tale_end(t, 6, 6);
}

TEST(a_consumer_dies_and_its_messages_come_again) {
    tale *t = tale_new(0, 0);
    die_at_work(t);
    tale_wait(t, 1000);
    work_on(t, 1); /* 1 was acknowledged, and not committed */
    tale_expect_good(t);
}

TEST(a_consumer_dies_and_its_last_acknowledgement_was_stored) {
    tale *t = tale_new(0, 0);
    die_at_work(t);
    tale_wait(t, 1000);
    work_on(t, 2);
    tale_expect_good(t);
}

TEST(a_zombie_is_refused) {
    tale *t = tale_new(0, 0);
    die_at_work(t);
    t->log.records[t->log.n - 1].flags = t->log.records[t->log.n - 2].flags = HISTORY_STOPPED;
    tale_poll(t);
    tale_deliver_again(t, M2, 2, AT(1), 2);
    tale_deliver(t, M1, 1, AT(4)); /* it was on its way */
    history_record r = {.kind = HISTORY_SETTLE,
                        .phase = HISTORY_INVOKE,
                        .stream = TALE_STREAM,
                        .group = TALE_GROUP,
                        .member = M1,
                        .epoch = 1,
                        .era = 1,
                        .offset = 2,
                        .what = SEG_ACK};
    tale_answer(t, tale_add(t, r), HISTORY_FAIL);
    tale_ack(t, M1, 1, AT(3)); /* taken, and refused by the commit */
    r.kind = HISTORY_COMMIT;
    tale_answer(t, tale_add(t, r), HISTORY_FAIL);
    tale_commit(t, M1); /* of what came later: nothing */
    tale_poll(t);
    for (uint64_t i = 2; i < 6; i++)
        tale_deliver_again(t, M2, 2, AT(i), i < 5 ? 2 : 1);
    for (uint64_t i = 1; i < 6; i++)
        tale_ack(t, M2, 2, AT(i));
    tale_end(t, 6, 6);
    tale_expect_good(t);
}

TEST(a_partition_is_handed_over) {
    tale *t = tale_new(0, 0);
    for (uint64_t i = 0; i < 6; i++)
        tale_send(t, AT(i));
    tale_join(t, M1, 0);
    tale_join(t, M2, 0);
    tale_poll(t);
    for (uint64_t i = 0; i < 3; i++)
        tale_deliver(t, M1, 1, AT(i));
    tale_ack(t, M1, 1, AT(2)); /* out of order, and it is kept */
    tale_ack(t, M1, 1, AT(0));
    tale_commit(t, M1);
    tale_poll(t);
    tale_deliver_again(t, M2, 2, AT(1), 2);
    for (uint64_t i = 3; i < 6; i++)
        tale_deliver(t, M2, 2, AT(i));
    for (uint64_t i = 1; i < 6; i++) {
        if (i != 2)
            tale_ack(t, M2, 2, AT(i));
    }
    tale_end(t, 6, 6);
    tale_expect_good(t);
}

TEST(a_group_begins_later) {
    tale *t = tale_new(0, 0);
    t->log.records[1].offset = 2;
    for (uint64_t i = 0; i < 3; i++)
        tale_send(t, AT(i));
    tale_join(t, M1, 0);
    tale_poll(t);
    tale_deliver(t, M1, 1, AT(2));
    tale_ack(t, M1, 1, AT(2));
    tale_end(t, 3, 3);
    t->log.records[t->log.n - 1].offset = 2;
    tale_expect_good(t);
}

TEST(what_is_acknowledged_during_a_commit_may_come_again) {
    tale *t = tale_new(0, 0);
    tale_send(t, AT(0));
    tale_join(t, M1, 0);
    tale_poll(t);
    tale_deliver(t, M1, 1, AT(0));
    size_t commit = tale_add(t, (history_record){.kind = HISTORY_COMMIT,
                                                 .phase = HISTORY_INVOKE,
                                                 .stream = TALE_STREAM,
                                                 .group = TALE_GROUP,
                                                 .member = M1});
    tale_ack(t, M1, 1, AT(0));
    tale_answer(t, commit, HISTORY_OK);
    tale_answer(t, tale_fault(t, M1 + 100, HISTORY_DEAD), HISTORY_OK);
    tale_join(t, M2, 0);
    tale_poll(t);
    tale_deliver_again(t, M2, 2, AT(0), 2);
    tale_ack(t, M2, 2, AT(0));
    tale_end(t, 1, 1);
    tale_expect_good(t);
}

TEST(what_was_taken_before_a_refusal_may_come_again) {
    tale *t = tale_new(0, 0);
    for (uint64_t i = 0; i < 2; i++)
        tale_send(t, AT(i));
    tale_join(t, M1, 0);
    tale_poll(t);
    for (uint64_t i = 0; i < 2; i++)
        tale_deliver(t, M1, 1, AT(i));
    tale_ack(t, M1, 1, AT(0));
    tale_ack(t, M1, 1, AT(1));
    tale_find(t, HISTORY_SETTLE, HISTORY_OK, 1, 0)->phase = HISTORY_FAIL;
    tale_commit(t, M1); /* of what is still its own: nothing */
    tale_join(t, M2, 0);
    tale_poll(t);
    for (uint64_t i = 0; i < 2; i++)
        tale_deliver_again(t, M2, 2, AT(i), 2);
    for (uint64_t i = 0; i < 2; i++)
        tale_ack(t, M2, 2, AT(i));
    tale_end(t, 2, 2);
    tale_expect_good(t);
}

/* ---- Retries, handlers, dead letters --------------------------------------------------------- */

TEST(a_message_is_tried_again) {
    tale *t = tale_new(0, HISTORY_RETRIES);
    for (uint64_t i = 0; i < 6; i++)
        tale_send(t, AT(i));
    tale_join(t, M1, 0);
    tale_poll(t);
    for (uint64_t i = 0; i < 3; i++)
        tale_deliver(t, M1, 1, AT(i));
    tale_settle(t, M1, 1, AT(0), SEG_RETRY);
    tale_settle(t, M1, 1, AT(2), SEG_RELEASE); /* its key waits */
    tale_ack(t, M1, 1, AT(1));
    tale_poll(t);
    tale_deliver(t, M1, 1, AT(3));
    tale_deliver(t, M1, 1, AT(5));
    tale_poll(t);
    tale_deliver_again(t, M1, 1, AT(0), 2);
    tale_deliver_again(t, M1, 1, AT(2), 1);
    tale_deliver(t, M1, 1, AT(4));
    for (uint64_t i = 0; i < 6; i++) {
        if (i != 1)
            tale_ack(t, M1, 1, AT(i));
    }
    tale_commit(t, M1);
    tale_end(t, 6, 6);
    tale_expect_good(t);
}

TEST(handlers_run_in_parallel) {
    tale *t = tale_new(0, 0);
    static const unsigned order[] = {1, 0, 3, 5, 2, 4};
    for (uint64_t i = 0; i < 6; i++)
        tale_send(t, AT(i));
    tale_join(t, M1, HISTORY_HANDLERS);
    for (size_t i = 0; i < 6; i++) {
        tale_deliver(t, M1, 1, AT(order[i]));
        tale_ack(t, M1, 1, AT(order[i]));
    }
    tale_commit(t, M1);
    tale_end(t, 6, 6);
    tale_expect_good(t);
}

TEST(a_dead_letter_is_done) {
    tale *t = tale_new(0, HISTORY_RETRIES);
    for (uint64_t i = 0; i < 3; i++)
        tale_send(t, AT(i));
    tale_join(t, M1, 0);
    tale_poll(t);
    tale_deliver(t, M1, 1, AT(0));
    tale_settle(t, M1, 1, AT(0), SEG_RETRY); /* once too often */
    tale_poll(t);
    tale_deliver(t, M1, 1, AT(1));
    tale_deliver(t, M1, 1, AT(2));
    tale_ack(t, M1, 1, AT(1));
    tale_ack(t, M1, 1, AT(2));
    tale_end(t, 3, 3);
    tale_add(t, (history_record){.kind = HISTORY_LETTER,
                                 .stream = TALE_STREAM,
                                 .group = TALE_GROUP,
                                 .era = 1,
                                 .offset = 0});
    tale_expect_good(t);
}

/* ---- Trimming and dropping ------------------------------------------------------------------- */

TEST(what_is_consumed_is_trimmed) {
    tale *t = tale_new(0, 0);
    tale_plain(t);
    for (uint64_t i = 4; i < 6; i++)
        tale_entry(t, AT(i));
    tale_logs(t, 1, 4, 6);
    tale_place(t, 1, 6);
    tale_expect_good(t);
}

TEST(the_oldest_are_dropped) {
    tale *t = tale_new(HISTORY_DROPS, 0);
    for (uint64_t i = 0; i < 6; i++)
        tale_send(t, AT(i));
    tale_join(t, M1, 0);
    tale_poll(t);
    tale_deliver(t, M1, 1, AT(0));
    tale_add(t, (history_record){.kind = HISTORY_OVERTAKEN,
                                 .stream = TALE_STREAM,
                                 .group = TALE_GROUP,
                                 .member = M1,
                                 .era = 1,
                                 .first = 1,
                                 .end = 4});
    for (uint64_t i = 4; i < 6; i++)
        tale_deliver(t, M1, 1, AT(i));
    for (uint64_t i = 4; i < 6; i++)
        tale_ack(t, M1, 1, AT(i));
    tale_observe(t, AT(6), 1, M1);
    for (uint64_t i = 4; i < 6; i++)
        tale_entry(t, AT(i));
    tale_logs(t, 1, 4, 6);
    tale_place(t, 1, 6);
    tale_expect_good(t);
}

/* ---- Losses ---------------------------------------------------------------------------------- */

/* The server loses 4 and 5 of era 1, M1 having read and acknowledged 4; era 2 goes on at 4. */
static void lose_the_end(tale *t, bool told) {
    for (uint64_t i = 0; i < 6; i++)
        tale_send(t, AT(i));
    tale_join(t, M1, 0);
    tale_poll(t);
    for (uint64_t i = 0; i < 5; i++)
        tale_deliver(t, M1, 1, AT(i));
    for (uint64_t i = 0; i < 5; i++)
        tale_ack(t, M1, 1, AT(i));
    tale_commit(t, M1);
    tale_observe(t, AT(5), 1, M1);
    tale_answer(t, tale_fault(t, 0, HISTORY_MAY_LOSE), HISTORY_OK);
    if (told) {
        tale_loss(t, 0, HISTORY_LOST_MESSAGES, AT(4), 6);
        tale_loss(t, M1, HISTORY_LOST_MESSAGES, AT(4), 5);
        tale_loss(t, M1, HISTORY_LOST_ACKS, AT(3), 5);
    } else {
        tale_answer(t, tale_fault(t, M1 + 100, HISTORY_DEAD), HISTORY_OK);
    }
    uint64_t m = told ? M1 : M2, epoch = told ? 1 : 2;
    tale_send(t, AT_ERA(2, 4));
    tale_observe(t, AT(3), 1, M1);
    if (!told)
        tale_join(t, M2, 0);
    tale_poll(t);
    if (!told)
        tale_deliver_again(t, m, epoch, AT(3), 2);
    tale_deliver(t, m, epoch, AT_ERA(2, 4));
    tale_ack(t, m, epoch, AT(3));
    tale_ack(t, m, epoch, AT_ERA(2, 4));
    tale_commit(t, m);
    for (uint64_t i = 0; i < 5; i++)
        tale_entry(t, i < 4 ? AT(i) : AT_ERA(2, i));
    tale_logs(t, 2, 0, 5);
    tale_place(t, 2, 5);
}

TEST(everybody_was_told_of_the_loss) {
    tale *t = tale_new(0, 0);
    verdict *v = calloc(1, sizeof *v);
    CHECK(v != NULL);
    lose_the_end(t, true);
    tale_judge(t, v);
    verdict_print(v, stdout);
    CHECK_EQ(verdict_total(v), 0);
    CHECK_EQ(v->losses.messages, 2);
    CHECK_EQ(v->losses.messages_told, 2);
    CHECK_EQ(v->losses.messages_untellable, 0);
    CHECK_EQ(v->losses.events, 1);
    CHECK_EQ(v->losses.events_told, 1);
    free(v);
    tale_free(t);
}

TEST(nobody_was_left_to_be_told) {
    tale *t = tale_new(0, 0);
    verdict *v = calloc(1, sizeof *v);
    CHECK(v != NULL);
    lose_the_end(t, false);
    tale_judge(t, v);
    verdict_print(v, stdout);
    CHECK_EQ(verdict_total(v), 0);
    CHECK_EQ(v->losses.messages, 2);
    CHECK_EQ(v->losses.messages_told, 0);
    CHECK_EQ(v->losses.messages_untellable, 2);
    CHECK_EQ(v->losses.events_untellable, 1);
    CHECK_EQ(v->losses.rewinds, 1);
    CHECK_EQ(v->losses.rewinds_untellable, 1);
    free(v);
    tale_free(t);
}

/* A producer is answered in era 2, which begins behind what is lost later, and then it is dead. */
TEST(an_era_that_is_lost_too_tells_nobody) {
    tale *t = tale_new(0, 0);
    tale_plain(t);
    tale_send(t, AT(6));
    tale_answer(t, tale_fault(t, 0, HISTORY_MAY_LOSE), HISTORY_OK);
    tale_send(t, AT_ERA(2, 7));
    tale_answer(t, tale_fault(t, 0, HISTORY_MAY_LOSE), HISTORY_OK);
    tale_send(t, AT_ERA(3, 6));
    for (size_t i = 0; i < t->log.n; i++) {
        history_record *r = &t->log.records[i];
        if (r->kind == HISTORY_SEND && r->era == 2) {
            r->producer = TALE_PRODUCER + 1;
            r->sequence = 99;
        }
    }
    tale_deliver(t, M1, 1, AT_ERA(3, 6));
    tale_ack(t, M1, 1, AT_ERA(3, 6));
    for (uint64_t i = 0; i < 7; i++)
        tale_entry(t, i < 6 ? AT(i) : AT_ERA(3, i));
    tale_logs(t, 3, 0, 7);
    tale_place(t, 3, 7);
    tale_expect_good(t);
}

/* The lost end has messages of two eras: one loss, of the later one, tells of both. */
TEST(a_loss_reaches_back_into_an_older_era) {
    tale *t = tale_new(0, 0);
    tale_plain(t);
    tale_send(t, AT(6));
    tale_deliver(t, M1, 1, AT(6));
    tale_send(t, AT_ERA(2, 7));
    tale_deliver(t, M1, 1, AT_ERA(2, 7));
    tale_answer(t, tale_fault(t, 0, HISTORY_MAY_LOSE), HISTORY_OK);
    tale_loss(t, M1, HISTORY_LOST_MESSAGES, AT_ERA(2, 6), 8);
    tale_send(t, AT_ERA(3, 6));
    tale_deliver(t, M1, 1, AT_ERA(3, 6));
    tale_ack(t, M1, 1, AT_ERA(3, 6));
    for (uint64_t i = 0; i < 7; i++)
        tale_entry(t, i < 6 ? AT(i) : AT_ERA(3, i));
    tale_logs(t, 3, 0, 7);
    tale_place(t, 3, 7);
    tale_expect_good(t);
}

TEST(a_stream_is_destroyed) {
    tale *t = tale_new(0, 0);
    tale_plain(t);
    tale_answer(t, tale_fault(t, TALE_STREAM, HISTORY_DESTROYS), HISTORY_OK);
    tale_expect_good(t);
}

/* ---- Owners ---------------------------------------------------------------------------------- */

TEST(a_dead_member_is_replaced_in_time) {
    tale *t = tale_new(0, 0);
    tale_join(t, M1, 0);
    tale_join(t, M2, 0);
    tale_observe(t, AT(0), 1, M1);
    tale_answer(t, tale_fault(t, M1 + 100, HISTORY_DEAD), HISTORY_OK);
    tale_observe(t, AT(0), 1, M1);
    tale_wait(t, 1000);
    tale_observe(t, AT(0), 2, M2);
    tale_wait(t, 5000);
    tale_observe(t, AT(0), 2, M2);
    tale_leave(t, M2);
    tale_end(t, 0, 0);
    tale_expect_good(t);
}

TEST(each_new_owner_dies_in_turn) {
    tale *t = tale_new(0, 0);
    tale_join(t, M1, 0);
    tale_join(t, M2, 0);
    tale_join(t, M2 + 1, 0);
    for (uint64_t i = 0; i < 2; i++) {
        tale_answer(t, tale_fault(t, M1 + i + 100, HISTORY_DEAD), HISTORY_OK);
        tale_observe(t, AT(0), 1 + i, M1 + i);
        tale_wait(t, 900);
    }
    tale_observe(t, AT(0), 2, M2);
    tale_observe(t, AT(0), 3, M2 + 1);
    tale_leave(t, M2 + 1);
    tale_end(t, 0, 0);
    tale_expect_good(t);
}

TEST(nobody_can_own_it_while_there_is_no_server) {
    tale *t = tale_new(0, 0);
    tale_join(t, M1, 0);
    tale_observe(t, AT(0), 0, 0);
    size_t fault = tale_fault(t, 0, HISTORY_UNREACHABLE);
    tale_wait(t, 3000);
    tale_observe(t, AT(0), 0, 0); /* by somebody whom the fault does not reach */
    tale_answer(t, fault, HISTORY_OK);
    tale_wait(t, 1000);
    tale_observe(t, AT(0), 0, 0);
    tale_leave(t, M1);
    tale_end(t, 0, 0);
    tale_expect_good(t);
}

TEST(nobody_can_own_it_while_there_is_nobody) {
    tale *t = tale_new(0, 0);
    tale_join(t, M1, 0);
    tale_observe(t, AT(0), 1, M1);
    tale_leave(t, M1);
    tale_observe(t, AT(0), 1, 0);
    tale_wait(t, 9000);
    tale_observe(t, AT(0), 1, 0);
    tale_join(t, M2, 0);
    tale_wait(t, 1000);
    tale_observe(t, AT(0), 1, 0);
    tale_observe(t, AT(0), 2, M2);
    tale_leave(t, M2);
    tale_end(t, 0, 0);
    tale_expect_good(t);
}

TEST(a_stopped_member_runs_again) {
    tale *t = tale_new(0, 0);
    tale_join(t, M1, 0);
    tale_observe(t, AT(0), 1, M1);
    size_t fault = tale_fault(t, M1 + 100, HISTORY_STOPPED);
    tale_observe(t, AT(0), 1, M1);
    tale_wait(t, 3000);
    tale_observe(t, AT(0), 1, M1);
    tale_answer(t, fault, HISTORY_OK);
    tale_observe(t, AT(0), 1, 0);
    tale_wait(t, 500);
    tale_observe(t, AT(0), 2, M1);
    tale_leave(t, M1);
    tale_end(t, 0, 0);
    tale_expect_good(t);
}
