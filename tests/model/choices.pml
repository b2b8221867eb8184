/* choices.pml - which of several consumers or requests; what the faults do; and what must hold at the end. */

/* ---- the network ------------------------------------------------------------------------------ */

#define some_late(k) \
    if \
    :: late[0].kind != 0 -> k = 0 \
    :: LATE_SLOTS > 1 && late[LATE_SLOTS - 1].kind != 0 -> k = LATE_SLOTS - 1 \
    fi

/* Nobody is behind this join any more, and somebody alive has the name. */
#define throws_out(i) \
    (m[i].life != ALIVE && c.nonce[name_of(i)] != 0 && c.nonce[name_of(i)] != nonce_of(i) && \
     m[c.nonce[name_of(i)] - 1].life == ALIVE)

inline run_late(k) {
    printf("what was late is run: kind %d of %d\n", late[k].kind, late[k].from);
    i2 = late[k].from;
    q_op = late[k].kind; q_name = name_of(i2); q_nonce = nonce_of(i2); q_id = m[i2].id;
    q_version = 0; q_floor = late[k].floor;
    q_part = late[k].partition; q_epoch = late[k].epoch; q_seq = late[k].seq; q_acks = late[k].acks;
    p2 = 0;
    do
    :: p2 < PARTITIONS -> q_back[p2] = late[k].back[p2]; p2++
    :: else -> break
    od;
    if
    :: q_op == ACQUIRE -> acquire()
    :: q_op == COMMIT -> commit()
    :: q_op == JOIN && throws_out(i2) -> assert(!DEAD_JOINS) /* see README.md, known gaps */
    :: else -> sync()
    fi
}
inline forget_late(k) {
    late[k].kind = 0; late[k].from = 0; late[k].partition = 0; late[k].epoch = 0; late[k].seq = 0;
    late[k].acks = 0; late[k].floor = 0;
    p2 = 0;
    do
    :: p2 < PARTITIONS -> late[k].back[p2] = 0; p2++
    :: else -> break
    od
}

/* ---- the faults ------------------------------------------------------------------------------- */

#if INCARNATIONS == 2
#define some_member(i, when) \
    if \
    :: (when) && m[0].life == ALIVE -> i = 0 \
    :: (when) && m[1].life == ALIVE -> i = 1 \
    fi
#elif INCARNATIONS == 3
#define some_member(i, when) \
    if \
    :: (when) && m[0].life == ALIVE -> i = 0 \
    :: (when) && m[1].life == ALIVE -> i = 1 \
    :: (when) && m[2].life == ALIVE -> i = 2 \
    fi
#elif INCARNATIONS == 4
#define some_member(i, when) \
    if \
    :: (when) && m[0].life == ALIVE -> i = 0 \
    :: (when) && m[1].life == ALIVE -> i = 1 \
    :: (when) && m[2].life == ALIVE -> i = 2 \
    :: (when) && m[3].life == ALIVE -> i = 3 \
    fi
#endif

/* A name's lease that has not run out, of a consumer that lives, or of one that does not. */
#define lease(n, lives) (c.nonce[n] != 0 && !c.over[n] && (m[c.nonce[n] - 1].life == ALIVE) == (lives))
#if NAMES == 2
#define some_lease(n, lives, when) \
    if \
    :: (when) && lease(0, lives) -> n = 0 \
    :: (when) && lease(1, lives) -> n = 1 \
    fi
#elif NAMES == 3
#define some_lease(n, lives, when) \
    if \
    :: (when) && lease(0, lives) -> n = 0 \
    :: (when) && lease(1, lives) -> n = 1 \
    :: (when) && lease(2, lives) -> n = 2 \
    fi
#endif

/* By its own clock, which began earlier and runs a tenth shorter, it has run out before. */
inline lapse(n) {
    printf("the lease of name %d runs out\n", n);
    c.over[n] = true;
#if MUTANT != ZOMBIE_GOES_ON
    m[c.nonce[n] - 1].safe = false;
    m[c.nonce[n] - 1].fresh = false
#endif
}

inline wipe() {
    printf("the group is deleted\n");
    empty_group(c.id);
    c.gone = true
}

/* Who loses the connection to the coordinator asks it for everything, and what was under way is gone. */
inline roll_group_back() {
    printf("the coordinator is rolled back\n");
    rolled_back = true;
    copy_group(c, saved_group);
    i1 = 0;
    do
    :: i1 < INCARNATIONS ->
        if
        :: m[i1].life == ALIVE ->
#if MUTANT == NO_RECALL
            forget_answer(i1)
#else
            unanswered(i1)
#endif
        :: else
        fi;
        i1++
    :: else -> break
    od;
    i1 = 0;
    do
    :: i1 < LATE_SLOTS ->
        if
        :: late[i1].kind != ACQUIRE && late[i1].kind != COMMIT -> forget_late(i1)
        :: else
        fi;
        i1++
    :: else -> break
    od
}

/* Who loses the connection to a cursor compares it before it goes on. */
inline roll_cursors_back() {
    printf("the cursors are rolled back\n");
    rolled_back = true;
    p1 = 0;
    do
    :: p1 < PARTITIONS ->
        /* What an owner did that the server forgot, it forgot. */
        copy_place(cur[p1], saved_cursor[p1]);
#if MUTANT != NO_VERIFY
        i1 = 0;
        do
        :: i1 < INCARNATIONS -> m[i1].unverified[p1] = m[i1].acquired[p1]; i1++
        :: else -> break
        od;
#endif
        p1++
    :: else -> break
    od;
    i1 = 0;
    do
    :: i1 < LATE_SLOTS ->
        if
        :: late[i1].kind == ACQUIRE || late[i1].kind == COMMIT -> forget_late(i1)
        :: else
        fi;
        i1++
    :: else -> break
    od
}

#define budget_left() \
    (lost_answers + late_requests + lapses + crashes + leaves + returns + wipes + group_rollbacks + \
         cursor_rollbacks > 0)

inline calm() {
    lost_answers = 0; late_requests = 0; lapses = 0; crashes = 0; leaves = 0; returns = 0; wipes = 0;
    group_rollbacks = 0; cursor_rollbacks = 0
}

/* ---- the end ---------------------------------------------------------------------------------- */

/* Nobody has anything left to do, and no fault comes. Then, if anybody lives: */
inline judge() {
    printf("the end\n");
    live = 0;
    i1 = 0;
    do
    :: i1 < INCARNATIONS ->
        if
        :: m[i1].life == ALIVE ->
            live++;
            /* who lives is a member, and delivers; */
            assert(m[i1].joined && m[i1].safe && c.nonce[name_of(i1)] == nonce_of(i1));
        :: else
        fi;
        i1++
    :: else -> break
    od;
    n1 = 0;
    do
    :: n1 < NAMES -> held[n1] = 0; n1++
    :: else -> break
    od;
    p1 = 0;
    do
    :: live > 0 && p1 < PARTITIONS ->
        /* every partition has an owner, who is meant to have it, lives, ... */
        assert(c.owner[p1] != 0 && c.owner[p1] == c.target[p1]);
        n1 = c.owner[p1] - 1;
        assert(c.nonce[n1] != 0);
        i1 = c.nonce[n1] - 1;
        /* ... knows it, has begun, ... */
        assert(m[i1].life == ALIVE && m[i1].hold[p1] == HELD && m[i1].epoch[p1] == c.part_epoch[p1]);
        assert(m[i1].acquired[p1] && verified(i1, p1));
        /* ... and whose commits are taken; */
        assert(cur[p1].id == m[i1].id && cur[p1].epoch == m[i1].epoch[p1] && cur[p1].owner == nonce_of(i1));
        /* all messages are acknowledged; */
        assert(cur[p1].acks == ALL_ACKS);
        held[n1]++;
        p1++
    :: else -> break
    od;
    /* and the partitions are spread evenly. */
    n1 = 0;
    do
    :: live > 0 && n1 < NAMES ->
        assert(c.nonce[n1] == 0 || (held[n1] >= PARTITIONS / live && held[n1] * live < PARTITIONS + live));
        n1++
    :: else -> break
    od
}
