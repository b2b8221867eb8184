/* test_checker.c - for each anomaly, histories that have it once, and nothing else. */
#include <stdlib.h>

#include "tale.h"
#include "test.h"

/* Offset 6, of which the case says what is wrong, is delivered and acknowledged too. */
static void seventh(tale *t) {
    tale_deliver(t, M1, 1, AT(6));
    tale_ack(t, M1, 1, AT(6));
}

/* ---- What is in the log ---------------------------------------------------------------------- */

TEST(other_bytes_than_were_sent) {
    tale *t = tale_new(0, 0);
    tale_plain(t);
    tale_end(t, 6, 6);
    tale_find(t, HISTORY_ENTRY, HISTORY_EVENT, 3, 0)->crc ^= 1;
    tale_expect(t, ANOMALY_PHANTOM);
}

TEST(a_message_that_nobody_sent) {
    tale *t = tale_new(0, 0);
    tale_plain(t);
    seventh(t);
    tale_end(t, 7, 7);
    tale_expect(t, ANOMALY_PHANTOM);
}

TEST(a_failed_send_is_there) {
    tale *t = tale_new(0, 0);
    tale_plain(t);
    tale_answer(t, tale_invoke_send(t, AT(6)), HISTORY_FAIL);
    seventh(t);
    tale_end(t, 7, 7);
    tale_expect(t, ANOMALY_ABORTED_READ);
}

TEST(a_failed_send_was_delivered) {
    tale *t = tale_new(0, 0);
    tale_plain(t);
    tale_answer(t, tale_invoke_send(t, AT(6)), HISTORY_FAIL);
    tale_deliver(t, M1, 1, AT(6));
    tale_end(t, 6, 6);
    tale_expect(t, ANOMALY_ABORTED_READ);
}

TEST(an_offset_was_another_message) {
    tale *t = tale_new(0, 0);
    tale_plain(t);
    tale_invoke_send(t, AT(8)); /* of the same key, and not in the log */
    tale_end(t, 6, 6);
    history_record *r = tale_find(t, HISTORY_DELIVERED, HISTORY_EVENT, 4, 0);
    history_record other = tale_message(HISTORY_DELIVERED, AT(8));
    r->sequence = other.sequence;
    r->crc = other.crc;
    tale_expect(t, ANOMALY_INCONSISTENT_OFFSET);
}

TEST(a_sender_was_told_another_offset) {
    tale *t = tale_new(0, 0);
    tale_plain(t);
    tale_end(t, 6, 6);
    tale_find(t, HISTORY_SEND, HISTORY_OK, 5, 0)->offset = 7;
    tale_expect(t, ANOMALY_INCONSISTENT_OFFSET);
}

TEST(one_send_is_stored_twice) {
    tale *t = tale_new(0, 0);
    tale_plain(t);
    tale_invoke_send(t, AT(6));
    seventh(t);
    tale_deliver(t, M1, 1, AT(7));
    tale_ack(t, M1, 1, AT(7));
    tale_end(t, 8, 8);
    for (size_t i = 0; i < t->log.n; i++) {
        history_record *r = &t->log.records[i];
        if (r->offset == 7 && (r->kind == HISTORY_DELIVERED || r->kind == HISTORY_ENTRY)) {
            history_record six = tale_message(HISTORY_ENTRY, AT(6));
            r->key = six.key;
            r->sequence = six.sequence;
            r->crc = six.crc;
        }
    }
    tale_expect(t, ANOMALY_DUPLICATE);
}

TEST(messages_of_a_key_are_stored_backwards) {
    tale *t = tale_new(0, 0);
    tale_plain(t);
    tale_end(t, 6, 6);
    for (size_t i = 0; i < t->log.n; i++) {
        history_record *r = &t->log.records[i];
        if (r->sequence && (r->offset == 2 || r->offset == 4)) {
            history_record other = tale_message(HISTORY_ENTRY, AT(6 - r->offset));
            r->sequence = other.sequence;
            r->crc = other.crc;
        }
    }
    tale_expect(t, ANOMALY_NONMONOTONIC_SEND);
}

TEST(the_log_has_a_hole) {
    tale *t = tale_new(0, 0);
    tale_plain(t);
    tale_send(t, AT(7));
    tale_deliver(t, M1, 1, AT(7));
    tale_ack(t, M1, 1, AT(7));
    tale_end(t, 8, 8);
    tale_drop(t, HISTORY_ENTRY, HISTORY_EVENT, 6);
    tale_expect(t, ANOMALY_SILENT_GAP);
}

/* ---- What is lost ---------------------------------------------------------------------------- */

TEST(an_acknowledged_message_is_gone) {
    tale *t = tale_new(0, 0);
    tale_plain(t);
    tale_send(t, AT(6));
    tale_end(t, 6, 6);
    tale_expect(t, ANOMALY_LOST_WRITE);
}

TEST(told_of_a_loss_where_nothing_had_happened) {
    tale *t = tale_new(0, 0);
    tale_plain(t);
    tale_send(t, AT(6));
    tale_loss(t, 0, HISTORY_LOST_MESSAGES, AT(6), 7);
    tale_end(t, 6, 6);
    tale_expect(t, ANOMALY_LOST_WRITE);
}

TEST(an_acknowledged_message_is_gone_from_the_middle) {
    tale *t = tale_new(0, 0);
    tale_plain(t);
    tale_send(t, AT(6));
    tale_send(t, AT(7));
    tale_deliver(t, M1, 1, AT(7));
    tale_ack(t, M1, 1, AT(7));
    tale_end(t, 8, 8);
    tale_drop(t, HISTORY_ENTRY, HISTORY_EVENT, 6);
    tale_expect(t, ANOMALY_LOST_WRITE);
}

TEST(stored_somewhere_and_nowhere) {
    tale *t = tale_new(0, 0);
    tale_plain(t);
    tale_send(t, AT(6));
    tale_find(t, HISTORY_SEND, HISTORY_OK, 6, 0)->offset = UINT64_MAX;
    tale_end(t, 6, 6);
    tale_expect(t, ANOMALY_LOST_WRITE);
}

/* Offset 5 is lost with the server, and era 2 goes on there. */
static void lose_the_last(tale *t, bool same_producer) {
    for (uint64_t i = 0; i < 6; i++)
        tale_send(t, AT(i));
    tale_answer(t, tale_fault(t, 0, HISTORY_MAY_LOSE), HISTORY_OK);
    tale_send(t, AT_ERA(2, 5));
    tale_join(t, M1, 0);
    tale_poll(t);
    for (uint64_t i = 0; i < 6; i++)
        tale_deliver(t, M1, 1, i < 5 ? AT(i) : AT_ERA(2, i));
    for (uint64_t i = 0; i < 6; i++)
        tale_ack(t, M1, 1, i < 5 ? AT(i) : AT_ERA(2, i));
    for (uint64_t i = 0; i < 6; i++)
        tale_entry(t, i < 5 ? AT(i) : AT_ERA(2, i));
    tale_logs(t, 2, 0, 6);
    tale_place(t, 2, 6);
    for (size_t i = 0; same_producer && i < t->log.n; i++) {
        history_record *r = &t->log.records[i];
        if (r->era == 2 && r->producer) {
            r->producer = TALE_PRODUCER + 1;
            r->sequence = 4;
            if (r->kind == HISTORY_SEND)
                r->process = t->log.records[2].process;
        }
    }
}

TEST(its_producer_went_on_and_nobody_was_told) {
    tale *t = tale_new(0, 0);
    lose_the_last(t, true);
    tale_expect(t, ANOMALY_LOST_WRITE);
}

TEST(its_producer_went_on_and_only_somebody_else_was_told) {
    tale *t = tale_new(0, 0);
    lose_the_last(t, true);
    tale_loss(t, M2, HISTORY_LOST_MESSAGES, AT(5), 6);
    tale_expect(t, ANOMALY_UNTOLD);
}

TEST(told_of_too_little) {
    tale *t = tale_new(0, 0);
    lose_the_last(t, true);
    tale_loss(t, 0, HISTORY_LOST_MESSAGES, AT(6), 7);
    tale_expect(t, ANOMALY_LOST_WRITE);
}

TEST(told_of_the_loss_of_what_is_there) {
    tale *t = tale_new(0, 0);
    lose_the_last(t, true);
    tale_loss(t, 0, HISTORY_LOST_MESSAGES, AT(4), 6);
    tale_expect(t, ANOMALY_FALSE_LOSS);
}

TEST(what_was_read_is_gone) {
    tale *t = tale_new(0, 0);
    tale_plain(t);
    tale_invoke_send(t, AT(6));
    seventh(t);
    tale_end(t, 6, 6);
    tale_expect(t, ANOMALY_SILENT_TRUNCATION);
}

/* A consumer that had read offset 6 of era 1 goes on with that of era 2. */
static void read_on(tale *t) {
    tale_plain(t);
    tale_invoke_send(t, AT(6));
    tale_deliver(t, M1, 1, AT(6));
    tale_answer(t, tale_fault(t, 0, HISTORY_MAY_LOSE), HISTORY_OK);
}

static void end_read_on(tale *t) {
    tale_send(t, AT_ERA(2, 6));
    tale_deliver(t, M1, 1, AT_ERA(2, 6));
    tale_ack(t, M1, 1, AT_ERA(2, 6));
    for (uint64_t i = 0; i < 7; i++)
        tale_entry(t, i < 6 ? AT(i) : AT_ERA(2, i));
    tale_logs(t, 2, 0, 7);
    tale_place(t, 2, 7);
}

TEST(a_reader_went_on_behind_a_lost_end) {
    tale *t = tale_new(0, 0);
    read_on(t);
    end_read_on(t);
    tale_expect(t, ANOMALY_SILENT_TRUNCATION);
}

TEST(a_reader_went_on_and_only_somebody_else_was_told) {
    tale *t = tale_new(0, 0);
    read_on(t);
    tale_loss(t, M2, HISTORY_LOST_MESSAGES, AT(6), 7);
    end_read_on(t);
    tale_expect(t, ANOMALY_UNTOLD);
}

TEST(a_reader_is_told_and_passed_over_the_new_era) {
    tale *t = tale_new(0, 0);
    read_on(t);
    tale_loss(t, M1, HISTORY_LOST_MESSAGES, AT(6), 7);
    tale_send(t, AT_ERA(2, 6));
    tale_send(t, AT_ERA(2, 7));
    tale_deliver(t, M1, 1, AT_ERA(2, 7));
    tale_ack(t, M1, 1, AT_ERA(2, 7));
    tale_join(t, M2, 0);
    tale_poll(t);
    tale_deliver(t, M2, 2, AT_ERA(2, 6));
    tale_ack(t, M2, 2, AT_ERA(2, 6));
    for (uint64_t i = 0; i < 8; i++)
        tale_entry(t, i < 6 ? AT(i) : AT_ERA(2, i));
    tale_logs(t, 2, 0, 8);
    tale_place(t, 2, 8);
    tale_expect(t, ANOMALY_SKIPPED_POLL);
}

/* ---- What is delivered ----------------------------------------------------------------------- */

/* All six under epoch 1, in this order; what is left out comes to M2 under epoch 2. */
static tale *in_order(const unsigned *order, size_t n, unsigned group_flags, unsigned join_flags) {
    tale *t = tale_new(0, group_flags);
    bool had[6] = {false};
    for (uint64_t i = 0; i < 6; i++)
        tale_send(t, AT(i));
    tale_join(t, M1, join_flags);
    if (!join_flags)
        tale_poll(t);
    for (size_t i = 0; i < n; i++) {
        tale_deliver(t, M1, 1, AT(order[i]));
        had[order[i]] = true;
    }
    for (uint64_t i = 0; i < 6; i++) {
        if (had[i])
            tale_ack(t, M1, 1, AT(i));
    }
    tale_join(t, M2, 0);
    tale_poll(t);
    for (uint64_t i = 0; i < 6; i++) {
        if (!had[i]) {
            tale_deliver(t, M2, 2, AT(i));
            tale_ack(t, M2, 2, AT(i));
        }
    }
    tale_end(t, 6, 6);
    return t;
}

TEST(an_owner_is_passed_over_a_message) {
    tale_expect(in_order((unsigned[]){0, 1, 2, 4, 5}, 5, 0, 0), ANOMALY_SKIPPED_POLL);
}

TEST(an_owner_is_delivered_backwards) {
    tale_expect(in_order((unsigned[]){0, 1, 3, 2, 4, 5}, 6, 0, 0), ANOMALY_NONMONOTONIC_POLL);
}

TEST(an_owner_is_delivered_one_twice) {
    tale *t = tale_new(0, 0);
    tale_plain(t);
    tale_find(t, HISTORY_COMMIT, HISTORY_OK, 0, 0)->phase = HISTORY_UNKNOWN;
    tale_poll(t);
    tale_deliver_again(t, M1, 1, AT(5), 2);
    tale_end(t, 6, 6);
    tale_expect(t, ANOMALY_NONMONOTONIC_POLL);
}

TEST(a_key_is_delivered_backwards) {
    tale_expect(in_order((unsigned[]){0, 1, 3, 4, 2, 5}, 6, 0, 0), ANOMALY_KEY_REORDER);
}

TEST(handlers_get_a_key_backwards) {
    tale_expect(in_order((unsigned[]){0, 1, 3, 4, 2, 5}, 6, 0, HISTORY_HANDLERS),
                ANOMALY_KEY_REORDER);
}

TEST(a_partition_in_order_is_delivered_to_handlers_backwards) {
    tale_expect(in_order((unsigned[]){0, 1, 3, 2, 4, 5}, 6, HISTORY_BY_PARTITION, HISTORY_HANDLERS),
                ANOMALY_KEY_REORDER);
}

TEST(a_later_one_does_not_wait_for_the_retry) {
    tale *t = tale_new(0, HISTORY_RETRIES);
    for (uint64_t i = 0; i < 3; i++)
        tale_send(t, AT(i));
    tale_join(t, M1, 0);
    tale_poll(t);
    tale_deliver(t, M1, 1, AT(0));
    tale_settle(t, M1, 1, AT(0), SEG_RETRY);
    tale_poll(t);
    tale_deliver(t, M1, 1, AT(1));
    tale_deliver(t, M1, 1, AT(2)); /* of the key of 0 */
    tale_deliver_again(t, M1, 1, AT(0), 2);
    for (uint64_t i = 0; i < 3; i++)
        tale_ack(t, M1, 1, AT(i));
    tale_end(t, 3, 3);
    tale_expect(t, ANOMALY_KEY_REORDER);
}

TEST(never_delivered) {
    tale *t = tale_new(0, 0);
    tale_plain(t);
    tale_send(t, AT(6));
    tale_end(t, 7, 6);
    tale_expect(t, ANOMALY_UNSEEN);
}

TEST(never_delivered_and_consumed) {
    tale *t = tale_new(0, 0);
    tale_plain(t);
    tale_send(t, AT(6));
    tale_end(t, 7, 7);
    tale_expect(t, ANOMALY_UNSEEN);
}

TEST(never_delivered_and_trimmed) {
    tale *t = tale_new(0, 0);
    tale_send(t, AT(0));
    tale_logs(t, 1, 1, 1);
    tale_place(t, 1, 1);
    tale_expect(t, ANOMALY_UNSEEN);
}

TEST(an_attempt_too_few) {
    tale *t = tale_new(0, 0);
    tale_send(t, AT(0));
    tale_join(t, M1, 0);
    tale_poll(t);
    tale_deliver(t, M1, 1, AT(0));
    tale_answer(t, tale_fault(t, M1 + 100, HISTORY_DEAD), HISTORY_OK);
    tale_join(t, M2, 0);
    tale_poll(t);
    tale_deliver_again(t, M2, 2, AT(0), 1);
    tale_ack(t, M2, 2, AT(0));
    tale_end(t, 1, 1);
    tale_expect(t, ANOMALY_FALSE_ATTEMPT);
}

TEST(dropped_and_not_told) {
    tale *t = tale_new(HISTORY_DROPS, 0);
    for (uint64_t i = 0; i < 6; i++)
        tale_send(t, AT(i));
    tale_join(t, M1, 0);
    tale_poll(t);
    tale_deliver(t, M1, 1, AT(0));
    for (uint64_t i = 4; i < 6; i++)
        tale_deliver(t, M1, 1, AT(i));
    tale_ack(t, M1, 1, AT(0));
    for (uint64_t i = 4; i < 6; i++)
        tale_ack(t, M1, 1, AT(i));
    for (uint64_t i = 4; i < 6; i++)
        tale_entry(t, AT(i));
    tale_logs(t, 1, 4, 6);
    tale_place(t, 1, 6);
    tale_expect(t, ANOMALY_SILENT_GAP);
}

TEST(told_that_it_was_dropped_and_it_is_there) {
    tale *t = tale_new(HISTORY_DROPS, 0);
    for (uint64_t i = 0; i < 2; i++)
        tale_send(t, AT(i));
    tale_join(t, M1, 0);
    tale_add(t, (history_record){.kind = HISTORY_OVERTAKEN,
                                 .stream = TALE_STREAM,
                                 .group = TALE_GROUP,
                                 .member = M1,
                                 .era = 1,
                                 .first = 0,
                                 .end = 1});
    tale_poll(t);
    tale_deliver(t, M1, 1, AT(1));
    tale_ack(t, M1, 1, AT(1));
    tale_end(t, 2, 2);
    tale_expect(t, ANOMALY_SKIPPED_POLL);
}

/* ---- What is committed ----------------------------------------------------------------------- */

TEST(two_members_under_one_epoch) {
    tale *t = tale_new(0, 0);
    tale_plain(t);
    tale_join(t, M2, 0);
    tale_poll(t);
    tale_send(t, AT(6));
    tale_deliver(t, M2, 1, AT(6));
    tale_ack(t, M2, 1, AT(6));
    tale_end(t, 7, 7);
    tale_expect(t, ANOMALY_TWO_OWNERS);
}

/* M1 was stopped with offset 0 in hand, and M2 has it now. */
static void take_over(tale *t) {
    tale_send(t, AT(0));
    tale_join(t, M1, 0);
    tale_poll(t);
    tale_deliver(t, M1, 1, AT(0));
    tale_join(t, M2, 0);
    tale_poll(t);
    tale_deliver_again(t, M2, 2, AT(0), 2);
}

TEST(a_zombie_commits) {
    tale *t = tale_new(0, 0);
    take_over(t);
    tale_ack(t, M1, 1, AT(0));
    tale_commit(t, M1);
    tale_ack(t, M2, 2, AT(0));
    tale_end(t, 1, 1);
    tale_expect(t, ANOMALY_ZOMBIE_COMMIT);
}

TEST(committed_past_what_is_in_hand) {
    tale *t = tale_new(0, 0);
    tale_plain(t);
    tale_send(t, AT(6));
    tale_deliver(t, M1, 1, AT(6));
    tale_end(t, 7, 7);
    tale_expect(t, ANOMALY_COMMIT_AHEAD);
}

TEST(committed_before_it_was_acknowledged) {
    tale *t = tale_new(0, 0);
    tale_plain(t);
    tale_send(t, AT(6));
    tale_deliver(t, M1, 1, AT(6));
    tale_observe(t, AT(7), 1, M1);
    tale_ack(t, M1, 1, AT(6));
    tale_end(t, 7, 7);
    tale_expect(t, ANOMALY_COMMIT_AHEAD);
}

TEST(only_a_zombie_acknowledged_it) {
    tale *t = tale_new(0, 0);
    take_over(t);
    tale_ack(t, M1, 1, AT(0));
    tale_end(t, 1, 1);
    tale_expect(t, ANOMALY_COMMIT_AHEAD);
}

TEST(a_group_falls_back) {
    tale *t = tale_new(0, 0);
    tale_plain(t);
    tale_observe(t, AT(6), 1, M1);
    tale_observe(t, AT(4), 1, M1);
    tale_observe(t, AT(6), 1, M1);
    tale_end(t, 6, 6);
    tale_expect(t, ANOMALY_COMMIT_REWIND);
}

TEST(a_group_is_behind_its_commits_at_the_end) {
    tale *t = tale_new(0, 0);
    tale_plain(t);
    tale_end(t, 6, 5);
    tale_expect(t, ANOMALY_COMMIT_REWIND);
}

TEST(what_was_committed_comes_again) {
    tale *t = tale_new(0, 0);
    tale_plain(t);
    tale_join(t, M2, 0);
    tale_poll(t);
    tale_deliver_again(t, M2, 2, AT(5), 2);
    tale_ack(t, M2, 2, AT(5));
    tale_end(t, 6, 6);
    tale_expect(t, ANOMALY_COMMIT_REWIND);
}

TEST(acknowledgements_are_lost_and_their_owner_goes_on) {
    tale *t = tale_new(0, 0);
    tale_plain(t);
    tale_answer(t, tale_fault(t, 0, HISTORY_MAY_LOSE), HISTORY_OK);
    tale_poll(t);
    tale_deliver_again(t, M1, 1, AT(5), 2);
    tale_ack(t, M1, 1, AT(5));
    tale_send(t, AT(6));
    tale_poll(t);
    seventh(t);
    tale_end(t, 7, 7);
    tale_expect(t, ANOMALY_COMMIT_REWIND);
}

TEST(only_a_refused_acknowledgement) {
    tale *t = tale_new(0, 0);
    take_over(t);
    tale_ack(t, M2, 2, AT(0));
    tale_find(t, HISTORY_SETTLE, HISTORY_OK, 0, 0)->phase = HISTORY_FAIL;
    tale_end(t, 1, 1);
    tale_expect(t, ANOMALY_COMMIT_AHEAD);
}

TEST(the_new_era_is_committed_by_what_was_lost) {
    tale *t = tale_new(0, 0);
    read_on(t);
    tale_ack(t, M1, 1, AT(6));
    tale_observe(t, AT(7), 1, M1);
    tale_loss(t, M1, HISTORY_LOST_MESSAGES, AT(6), 7);
    tale_observe(t, AT_ERA(2, 6), 1, M1);
    end_read_on(t);
    for (size_t i = 0; i < t->log.n; i++) {
        history_record *r = &t->log.records[i];
        if (r->kind == HISTORY_SETTLE && r->era == 2)
            r->kind = 0;
    }
    tale_expect(t, ANOMALY_COMMIT_AHEAD);
}

/* ---- Who owns it ----------------------------------------------------------------------------- */

TEST(a_dead_member_is_not_replaced) {
    tale *t = tale_new(0, 0);
    tale_join(t, M1, 0);
    tale_join(t, M2, 0);
    tale_observe(t, AT(0), 1, M1);
    tale_answer(t, tale_fault(t, M1 + 100, HISTORY_DEAD), HISTORY_OK);
    for (int i = 0; i < 13; i++) {
        tale_wait(t, 100);
        tale_observe(t, AT(0), 1, M1);
    }
    tale_leave(t, M2);
    tale_end(t, 0, 0);
    tale_expect(t, ANOMALY_ORPHANED);
}

TEST(nobody_is_given_a_partition) {
    tale *t = tale_new(0, 0);
    tale_join(t, M1, 0);
    tale_observe(t, AT(0), 0, 0);
    tale_wait(t, 1200);
    tale_observe(t, AT(0), 0, 0);
    tale_leave(t, M1);
    tale_end(t, 0, 0);
    tale_expect(t, ANOMALY_ORPHANED);
}

TEST(nobody_owns_it_at_the_end) {
    tale *t = tale_new(0, 0);
    tale_join(t, M1, 0);
    tale_observe(t, AT(0), 0, 0);
    tale_wait(t, 1200);
    tale_end(t, 0, 0);
    tale_expect(t, ANOMALY_ORPHANED);
}

/* ---- Outputs --------------------------------------------------------------------------------- */

/* One input with two outputs, at offsets 0 and 1 of the other stream. */
static void stage(tale *t) {
    tale_add(t, (history_record){.kind = HISTORY_STREAM, .stream = TALE_TARGET, .partition = 1});
    tale_add(t, (history_record){.kind = HISTORY_STAGE,
                                 .stream = TALE_STREAM,
                                 .group = TALE_GROUP,
                                 .target = TALE_TARGET,
                                 .index = 2});
    tale_send(t, AT(0));
    tale_join(t, M1, 0);
    tale_poll(t);
    tale_deliver(t, M1, 1, AT(0));
    history_record r = tale_message(HISTORY_FORWARD, AT(0));
    r.group = TALE_GROUP;
    r.member = M1;
    r.target = TALE_TARGET;
    r.phase = HISTORY_INVOKE;
    for (r.index = 0; r.index < 2; r.index++) {
        r.crc = 1000 + r.index;
        tale_answer(t, tale_add(t, r), HISTORY_OK);
    }
    tale_ack(t, M1, 1, AT(0));
    tale_end(t, 1, 1);
}

static void output(tale *t, uint64_t offset, uint32_t index) {
    history_record r = tale_message(HISTORY_ENTRY, AT(0));
    r.stream = TALE_TARGET;
    r.offset = offset;
    r.index = index;
    r.crc = 1000 + index;
    tale_add(t, r);
}

static void end_stage(tale *t, uint64_t n) {
    tale_add(t, (history_record){.kind = HISTORY_LOG, .stream = TALE_TARGET, .era = 1, .end = n});
}

TEST(an_output_is_missing) {
    tale *t = tale_new(0, 0);
    stage(t);
    output(t, 0, 0);
    end_stage(t, 1);
    tale_expect(t, ANOMALY_WRONG_OUTPUT);
}

TEST(an_output_is_there_twice) {
    tale *t = tale_new(0, 0);
    stage(t);
    output(t, 0, 0);
    output(t, 1, 1);
    output(t, 2, 1);
    end_stage(t, 3);
    tale_expect(t, ANOMALY_WRONG_OUTPUT);
}

TEST(an_output_has_other_bytes) {
    tale *t = tale_new(0, 0);
    stage(t);
    output(t, 0, 0);
    output(t, 1, 1);
    end_stage(t, 2);
    t->log.records[t->log.n - 2].crc ^= 1;
    tale_expect(t, ANOMALY_WRONG_OUTPUT);
}

/* The handler is called again and sends this. */
static void forward_again(tale *t, uint32_t index, uint32_t crc) {
    history_record r = tale_message(HISTORY_FORWARD, AT(0));
    r.group = TALE_GROUP;
    r.member = M1;
    r.target = TALE_TARGET;
    r.index = index;
    r.crc = crc;
    r.phase = HISTORY_INVOKE;
    tale_answer(t, tale_add(t, r), HISTORY_OK);
}

TEST(an_output_is_one_too_many) {
    tale *t = tale_new(0, 0);
    stage(t);
    forward_again(t, 2, 1002);
    for (uint32_t i = 0; i < 3; i++)
        output(t, i, i);
    end_stage(t, 3);
    tale_expect(t, ANOMALY_WRONG_OUTPUT);
}

TEST(an_output_is_another_the_second_time) {
    tale *t = tale_new(0, 0);
    stage(t);
    forward_again(t, 1, 7);
    output(t, 0, 0);
    output(t, 1, 1);
    end_stage(t, 2);
    tale_expect(t, ANOMALY_WRONG_OUTPUT);
}

TEST(each_output_once_is_good) {
    tale *t = tale_new(0, 0);
    stage(t);
    output(t, 0, 0);
    output(t, 1, 1);
    end_stage(t, 2);
    tale_expect_good(t);
}

/* ---- What is not known ----------------------------------------------------------------------- */

TEST(a_log_was_not_read) {
    tale *t = tale_new(0, 0);
    tale_plain(t);
    tale_end(t, 6, 6);
    tale_drop(t, HISTORY_LOG, HISTORY_EVENT, 0);
    tale_expect(t, ANOMALY_NO_FINAL_STATE);
}

TEST(a_group_was_not_read) {
    tale *t = tale_new(0, 0);
    tale_plain(t);
    tale_end(t, 6, 6);
    tale_drop(t, HISTORY_PLACE, HISTORY_EVENT, 6);
    tale_expect(t, ANOMALY_NO_FINAL_STATE);
}
