/* rebalance.pml - the rebalance protocol of docs/protocol.md ("Groups", "Leases and time", "Cursors"), as the
 * scripts group_sync, cursor_acquire, cursor_commit and cursor_read and the state machine of core/member.c do it.
 * tests/model/README.md says what is modelled, what is left out, and why that may be. scripts/model runs it.
 *
 *     member.pml        consumers: incarnations of names, each with its state machine and its partitions
 *     coordinator.pml   group_sync
 *     cursor.pml        cursor_acquire, cursor_commit
 *     choices.pml       which of several; what faults do; what must hold at the end
 *     rebalance.pml     sizes, budgets and mutants; the network, the faults and time
 *
 * Every step is atomic, as every script is. A step that would change nothing is not enabled; so a
 * run that goes on for ever is a cycle, and a run that ends is one in which nobody has anything left to
 * do. "Once the faults stop, every partition gets an owner who reads it" is then: there is no cycle, and where
 * a run ends, `judge` finds nothing. That asks less of the scheduler than weak fairness would. */

#ifndef NAMES
#define NAMES 2 /* members of the group, by name */
#endif
#ifndef INCARNATIONS
#define INCARNATIONS 3 /* consumers: the first NAMES are the first of their names, then come the second ones */
#endif
#ifndef PARTITIONS
#define PARTITIONS 1
#endif
#ifndef LATE_SLOTS
#define LATE_SLOTS 1 /* requests of dead connections that the server may still run */
#endif

/* Budgets: how often each fault may happen in a run. */
#ifndef LOST_ANSWERS
#define LOST_ANSWERS 0
#endif
#ifndef LATE_REQUESTS
#define LATE_REQUESTS 0
#endif
#ifndef LAPSES
#define LAPSES 0 /* leases that run out while their member lives */
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#ifndef LEAVES
#define LEAVES 0
#endif
#ifndef RETURNS
#define RETURNS 0 /* members that left and join again, as the same consumer */
#endif
#ifndef GROUP_ROLLBACKS
#define GROUP_ROLLBACKS 0 /* failovers that lose the coordinator's last writes */
#endif
#ifndef CURSOR_ROLLBACKS
#define CURSOR_ROLLBACKS 0
#endif
#ifndef WIPES
#define WIPES 0 /* the group's keys are deleted; who starts later makes the group anew */
#endif
#ifndef MESSAGES
#define MESSAGES 2 /* of each partition: bits of the ack map, 3 at most */
#endif

/* Each mutant breaks one rule; the model must notice. */
#define NO_MUTANT 0
#define ACQUIRE_RAISES_NO_EPOCH 1
#define ACQUIRE_IGNORES_NONCE 2
#define ACQUIRE_IGNORES_EPOCH 3
#define COMMIT_IGNORES_EPOCH 4
#define COMMIT_IGNORES_SEQUENCE 5
#define COMMIT_IGNORES_NONCE 6
#define GROUP_ID_IGNORED 7
#define GRANT_WITHOUT_RELEASE 8
#define GRANT_KEEPS_EPOCH 9
#define ZOMBIE_GOES_ON 10
#define FLOOR_IGNORED 11
#define REPLACED_MEMBER_STAYS 12
#define HAND_BACK_IGNORES_EPOCH 13
#define CHANGE_RAISES_NO_VERSION 14
#define VERSIONS_BEGIN_AGAIN 15
#define DEAD_MEMBER_STAYS 16
#define TARGETS_STAY 17
#define NO_RECALL 18
#define NO_VERIFY 19
#define OLDER_GRANT_PASSED_OVER 20
#ifndef DEAD_JOINS
#define DEAD_JOINS 0 /* see README.md, known gaps */
#endif
#ifndef MUTANT
#define MUTANT NO_MUTANT
#endif

#define name_of(i) ((i) % NAMES)
#define nonce_of(i) ((i) + 1)

byte lost_answers = LOST_ANSWERS, late_requests = LATE_REQUESTS, lapses = LAPSES, crashes = CRASHES;
byte leaves = LEAVES, returns = RETURNS, wipes = WIPES;
byte group_rollbacks = GROUP_ROLLBACKS, cursor_rollbacks = CURSOR_ROLLBACKS;
bool rolled_back; /* the coordinator or a cursor was: two may hold a partition for a while */

#include "coordinator.pml"
#include "cursor.pml"
#include "member.pml"
#include "choices.pml"

/* What dead connections still hold: run, or lost with them. */
proctype Network() {
    byte k;
end:
    do
    :: atomic {
        some_late(k);
        if
        :: true -> d_step { run_late(k); forget_late(k); k = 0 }
        :: true -> d_step { forget_late(k); k = 0 }
        fi
    }
    od
}

proctype Faults() {
    byte i;
end:
    do
    :: atomic { some_member(i, crashes > 0); d_step { crashes--; printf("%d crashes\n", i); end_life(i, DEAD); i = 0 } }
    :: atomic { some_lease(i, true, lapses > 0); d_step { lapses--; lapse(i); i = 0 } }
    :: atomic { wipes > 0 && !c.gone -> d_step { wipes--; wipe() } }
#if GROUP_ROLLBACKS > 0
    :: atomic {
        group_rollbacks > 0 && !group_saved ->
        d_step { group_saved = true; printf("the coordinator is copied\n"); copy_group(saved_group, c); i = 0 }
    }
    :: atomic { group_rollbacks > 0 && group_saved -> d_step { group_rollbacks--; roll_group_back(); i = 0 } }
#endif
#if CURSOR_ROLLBACKS > 0
    :: atomic {
        cursor_rollbacks > 0 && !cursor_saved ->
        d_step { cursor_saved = true; printf("the cursors are copied\n"); save_cursors(); i = 0 }
    }
    :: atomic { cursor_rollbacks > 0 && cursor_saved -> d_step { cursor_rollbacks--; roll_cursors_back(); i = 0 } }
#endif
    :: atomic { budget_left() -> d_step { calm() } }
    od
}

/* The lease of a consumer that is gone runs out by itself: that is no fault, and it is certain. */
proctype Time() {
    byte n;
end:
    do
    :: atomic {
        some_lease(n, false, MUTANT != DEAD_MEMBER_STAYS);
        d_step { printf("the lease of name %d runs out, nobody is there\n", n); c.over[n] = true; n = 0 }
    }
    od
}

active proctype Judge() {
    byte i;
    atomic {
        do
        :: i < INCARNATIONS -> run Member(i); i++
        :: else -> break
        od;
        i = 0;
        run Network();
        run Faults();
        run Time()
    }
    timeout -> d_step { judge() }
}
