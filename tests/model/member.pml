/* member.pml - the consumers: src/core/member.c, and as much of engine/coordinate.c and engine/cursor.c as decides what
 * is asked when. An incarnation is one consumer; the next one of the same name has another nonce.
 *
 * A question to the coordinator and the reading of its answer are two steps, with anything between them. A request
 * to a cursor is one step: what its answer changes is the asker's own, and an answer that comes late finds
 * its epoch still held, or is passed over. Either may lose its answer, and either may itself be left behind on a
 * dead connection, to be run later or never. */

/* life */
#define UNBORN 0
#define ALIVE 1
#define DEAD 2  /* crashed: its lease is still there */
#define ENDED 3 /* left, replaced, or without its group */

/* hold */
#define NONE 0
#define HELD 1
#define GIVING 2
#define RELEASED 3
#define SENT 4

typedef member {
    byte life;
    byte id; /* of the group that it opened */
    bool joined, leaving, awaiting;
    bool safe; /* its lease has not run out by its own clock: it delivers */
    byte version, floor;
    byte word, next_version; /* the answer that is on its way */
    bool listed, fresh, farewell; /* the answer to its good-bye */
    byte list_epoch[PARTITIONS];
    bool list_give[PARTITIONS];
    byte hold[PARTITIONS], epoch[PARTITIONS], seq[PARTITIONS], acks[PARTITIONS];
    bool acquired[PARTITIONS], dirty[PARTITIONS];
#if CURSOR_ROLLBACKS > 0
    bool unverified[PARTITIONS];
    byte stored[PARTITIONS]; /* committed offset */
#endif
}

member m[INCARNATIONS];

#define ACQUIRE 4
#define COMMIT 5
typedef request {
    byte kind; /* JOIN to COMMIT, 0: none */
    byte from, partition, epoch, seq, acks, floor;
    byte back[PARTITIONS];
}
request late[LATE_SLOTS];
hidden byte free_slot, alone, i1, i2;

#define delivers(i, p) \
    (m[i].life == ALIVE && m[i].safe && !m[i].leaving && m[i].acquired[p] && \
     (m[i].hold[p] == HELD || m[i].hold[p] == GIVING))

/* Nobody delivers what somebody else delivers, as long as no server forgot anything, names are not used
 * twice, and the group is the same. */
inline check_alone(i, p) {
    i1 = 0;
    do
    :: i1 < INCARNATIONS ->
        alone = i1 == i || rolled_back || name_of(i1) == name_of(i) || m[i1].id != m[i].id || ousted[i1] ||
            ousted[i] || !delivers(i1, p) || !delivers(i, p);
        assert(alone);
        i1++
    :: else -> break
    od
}

inline drop(i, p) {
    m[i].hold[p] = NONE; m[i].epoch[p] = 0; m[i].seq[p] = 0; m[i].acks[p] = 0;
    m[i].acquired[p] = false; m[i].dirty[p] = false
#if CURSOR_ROLLBACKS > 0
    ; m[i].unverified[p] = false; m[i].stored[p] = 0
#endif
}

inline release(i, p) {
    printf("%d releases %d, epoch %d\n", i, p, m[i].epoch[p]);
    m[i].hold[p] = RELEASED; m[i].seq[p] = 0; m[i].acks[p] = 0;
    m[i].acquired[p] = false; m[i].dirty[p] = false
#if CURSOR_ROLLBACKS > 0
    ; m[i].unverified[p] = false; m[i].stored[p] = 0
#endif
}

inline forget_answer(i) {
    m[i].awaiting = false;
    m[i].word = 0; m[i].next_version = 0; m[i].listed = false; m[i].fresh = false; m[i].farewell = false;
    p2 = 0;
    do
    :: p2 < PARTITIONS -> m[i].list_epoch[p2] = 0; m[i].list_give[p2] = false; p2++
    :: else -> break
    od
}

inline lose_all(i) {
    p2 = 0;
    do
    :: p2 < PARTITIONS -> drop(i, p2); p2++
    :: else -> break
    od;
    m[i].safe = false; m[i].joined = false; m[i].version = 0
}

inline end_life(i, how) {
    forget_answer(i);
    lose_all(i);
    m[i].floor = 0; m[i].leaving = false; ousted[i] = false; m[i].life = how
}

inline unanswered(i) {
    forget_answer(i);
    m[i].version = 0
}

/* ---- asking ----------------------------------------------------------------------------------- */

#if NAMES == 2
#define others_over(n) ((n != 0 && c.over[0]) || (n != 1 && c.over[1]))
#elif NAMES == 3
#define others_over(n) ((n != 0 && c.over[0]) || (n != 1 && c.over[1]) || (n != 2 && c.over[2]))
#endif
#define back(i, p) (m[i].hold[p] == RELEASED || m[i].hold[p] == SENT)
#if PARTITIONS == 1
#define any_back(i) back(i, 0)
#elif PARTITIONS == 2
#define any_back(i) (back(i, 0) || back(i, 1))
#endif

/* A question that would change something, here or there. What a wake-up tells, the next heartbeat
 * finds as well. */
#define due(i) \
    (m[i].life == ALIVE && !m[i].awaiting && \
     (!m[i].joined || m[i].leaving || !m[i].safe || any_back(i) || c.gone || c.id != m[i].id || \
      c.nonce[name_of(i)] == 0 || another(name_of(i), nonce_of(i)) || \
      c.version[name_of(i)] != m[i].version || c.over[name_of(i)] || others_over(name_of(i))))

inline compose(i) {
    q_name = name_of(i); q_nonce = nonce_of(i); q_id = m[i].id;
    q_op = (m[i].leaving -> LEAVE : (m[i].joined -> BEAT : JOIN));
    q_version = (m[i].joined -> m[i].version : 0);
    q_floor = m[i].floor;
    p2 = 0;
    do
    :: p2 < PARTITIONS ->
        q_back[p2] = (back(i, p2) -> m[i].epoch[p2] : 0);
        m[i].hold[p2] = (back(i, p2) -> SENT : m[i].hold[p2]);
        p2++
    :: else -> break
    od
}

inline ask(i) {
    printf("%d asks\n", i);
    compose(i);
    sync();
    p2 = 0;
    do
    :: p2 < PARTITIONS -> m[i].list_epoch[p2] = a_epoch[p2]; m[i].list_give[p2] = a_give[p2]; p2++
    :: else -> break
    od;
    m[i].awaiting = true; m[i].fresh = true; m[i].farewell = m[i].leaving;
    m[i].word = a_word; m[i].next_version = a_version; m[i].listed = a_listed
}

inline ask_in_vain(i) {
    printf("%d asks, the answer is lost\n", i);
    compose(i);
    sync();
    unanswered(i)
}

inline find_slot() {
    free_slot = (late[0].kind == 0 -> 0 : LATE_SLOTS - 1)
}
#define slot_free() (late[0].kind == 0 || late[LATE_SLOTS - 1].kind == 0)

inline ask_late(i) {
    printf("%d asks, and the question is late\n", i);
    compose(i);
    find_slot();
    late[free_slot].kind = q_op; late[free_slot].from = i; late[free_slot].floor = q_floor;
    p2 = 0;
    do
    :: p2 < PARTITIONS -> late[free_slot].back[p2] = q_back[p2]; p2++
    :: else -> break
    od;
    unanswered(i)
}

/* ---- the answer ------------------------------------------------------------------------------- */

#if MUTANT == OLDER_GRANT_PASSED_OVER
#define other_grant(mine, theirs) (mine < theirs)
#else
#define other_grant(mine, theirs) (mine != theirs)
#endif

inline learn(i, p, e, give_it) {
    if
    :: e == 0 ->
        if
        :: m[i].hold[p] != NONE -> drop(i, p)
        :: else
        fi
    :: else ->
        if
        :: m[i].hold[p] != NONE && other_grant(m[i].epoch[p], e) -> drop(i, p)
        :: else
        fi;
        if
        :: m[i].hold[p] == NONE -> m[i].hold[p] = HELD; m[i].epoch[p] = e
        :: else
        fi;
        if
        :: give_it && m[i].hold[p] == HELD && m[i].epoch[p] == e -> m[i].hold[p] = GIVING
        :: else
        fi
    fi
}

inline read_ok(i) {
    m[i].joined = true;
    m[i].version = m[i].next_version;
    m[i].safe = m[i].fresh;
    p1 = 0;
    do
    :: p1 < PARTITIONS ->
        if
        :: m[i].hold[p1] == SENT -> drop(i, p1)
        :: else
        fi;
        if
        :: m[i].listed -> learn(i, p1, m[i].list_epoch[p1], m[i].list_give[p1])
        :: else
        fi;
        check_alone(i, p1);
        p1++
    :: else -> break
    od;
    forget_answer(i)
}

/* `returning`: the application was stuck and has come back, under the same nonce. */
inline read_answer(i, returning) {
    printf("%d reads its answer\n", i);
    if
    :: (m[i].farewell && m[i].word == OK) || (m[i].leaving && m[i].word == UNKNOWN) ->
        if
        :: returning ->
            returns--;
            forget_answer(i); lose_all(i); m[i].leaving = false
        :: else -> end_life(i, ENDED)
        fi
    :: else ->
        if
        :: m[i].word == OK -> read_ok(i)
        :: m[i].word == UNKNOWN -> forget_answer(i); lose_all(i)
        :: else -> end_life(i, ENDED)
        fi
    fi
}

/* ---- cursors ---------------------------------------------------------------------------------- */

#define holds(i, p) (m[i].hold[p] == HELD || m[i].hold[p] == GIVING)
#if CURSOR_ROLLBACKS > 0
#define verified(i, p) (!m[i].unverified[p])
#else
#define verified(i, p) (true)
#endif

inline visit(i, p) {
    q_part = p; q_nonce = nonce_of(i); q_id = m[i].id;
    q_epoch = m[i].epoch[p]; q_seq = m[i].seq[p]; q_acks = m[i].acks[p]
}

inline begin(i, p) {
    printf("%d begins %d, epoch %d\n", i, p, m[i].epoch[p]);
    visit(i, p);
    acquire();
    if
    :: r_word == OK ->
        m[i].acquired[p] = true; m[i].acks[p] = cur[p].acks; m[i].seq[p] = 0;
#if CURSOR_ROLLBACKS > 0
        m[i].stored[p] = committed_of(cur[p].acks);
#endif
        check_alone(i, p)
    :: r_word == STALE ->
        m[i].floor = (m[i].floor < cur[p].epoch -> cur[p].epoch : m[i].floor);
        release(i, p)
    :: else -> end_life(i, ENDED)
    fi
}

inline begin_in_vain(i, p) {
    printf("%d begins, the answer is lost %d, epoch %d\n", i, p, m[i].epoch[p]);
    visit(i, p);
    acquire()
}

inline begin_late(i, p) {
    printf("%d begins, late %d, epoch %d\n", i, p, m[i].epoch[p]);
    find_slot();
    late[free_slot].kind = ACQUIRE; late[free_slot].from = i; late[free_slot].partition = p;
    late[free_slot].epoch = m[i].epoch[p]
}

inline store(i, p, more) {
    printf("%d commits %d, epoch %d\n", i, p, m[i].epoch[p]);
    m[i].seq[p]++;
    m[i].acks[p] = m[i].acks[p] | more;
    visit(i, p);
    commit();
    if
    :: r_word == OK ->
        cur[p].answered = cur[p].answered | m[i].acks[p];
        m[i].dirty[p] = false;
#if CURSOR_ROLLBACKS > 0
        m[i].stored[p] = committed_of(m[i].acks[p])
#endif
    :: r_word == LOST -> end_life(i, ENDED)
    :: else -> release(i, p)
    fi
}

inline store_in_vain(i, p, more) {
    printf("%d commits, the answer is lost %d, epoch %d\n", i, p, m[i].epoch[p]);
    m[i].seq[p]++;
    m[i].acks[p] = m[i].acks[p] | more;
    m[i].dirty[p] = true;
    visit(i, p);
    commit()
}

inline store_late(i, p, more) {
    printf("%d commits, late %d, epoch %d\n", i, p, m[i].epoch[p]);
    m[i].seq[p]++;
    m[i].acks[p] = m[i].acks[p] | more;
    m[i].dirty[p] = true;
    find_slot();
    late[free_slot].kind = COMMIT; late[free_slot].from = i; late[free_slot].partition = p;
    late[free_slot].epoch = m[i].epoch[p]; late[free_slot].seq = m[i].seq[p];
    late[free_slot].acks = m[i].acks[p]
}

/* cursor_read, after a new connection: is the cursor still where we left it? */
inline verify(i, p) {
    printf("%d compares %d, epoch %d\n", i, p, m[i].epoch[p]);
#if CURSOR_ROLLBACKS > 0
    if
    :: cur[p].epoch != m[i].epoch[p] || committed_of(cur[p].acks) < m[i].stored[p] -> release(i, p)
    :: else -> m[i].unverified[p] = false
    fi
#else
    skip
#endif
}

/* ---- a life ----------------------------------------------------------------------------------- */

inline birth(i) {
    printf("%d is born\n", i);
    if
    :: c.gone -> empty_group(c.id + 1); create_cursors(c.id)
    :: else
    fi;
    m[i].id = c.id;
    m[i].life = ALIVE
}

#define may_be_born(i) (m[i].life == UNBORN && (i < NAMES || m[i % NAMES].life != UNBORN))
#define to_begin(i, p) (holds(i, p) && !m[i].acquired[p] && !m[i].leaving)
#define to_verify(i, p) (m[i].acquired[p] && !verified(i, p))
/* There will always be another message: so who has been fenced commits once more, and hears it. */
#define refused(i, p) (cur[p].epoch != m[i].epoch[p] || cur[p].owner != nonce_of(i))
#define to_store(i, p) \
    (m[i].acquired[p] && verified(i, p) && (m[i].dirty[p] || m[i].acks[p] != ALL_ACKS || refused(i, p)))
#define to_release(i, p) (m[i].hold[p] == GIVING && (!m[i].acquired[p] || (verified(i, p) && !m[i].dirty[p])))

/* The partition for which `what` holds, or any of them. */
#if PARTITIONS == 1
#define some_partition(p, what, i) \
    if \
    :: what(i, 0) -> p = 0 \
    fi
#elif PARTITIONS == 2
#define some_partition(p, what, i) \
    if \
    :: what(i, 0) -> p = 0 \
    :: what(i, 1) -> p = 1 \
    fi
#endif

/* One message more, or only what is not known to be stored. */
#define some_acks(more, i, p) \
    if \
    :: (m[i].acks[p] & 1) == 0 && MESSAGES > 0 -> more = 1 \
    :: (m[i].acks[p] & 2) == 0 && MESSAGES > 1 -> more = 2 \
    :: (m[i].acks[p] & 4) == 0 && MESSAGES > 2 -> more = 4 \
    :: m[i].dirty[p] || m[i].acks[p] == ALL_ACKS -> more = 0 \
    fi

proctype Member(byte i) {
    byte p, more;
end:
    do
    :: atomic { may_be_born(i) -> d_step { birth(i) } }
    :: atomic {
        due(i) ->
        if
        :: true -> d_step { ask(i) }
        :: lost_answers > 0 -> d_step { lost_answers--; ask_in_vain(i) }
        :: late_requests > 0 && slot_free() -> d_step { late_requests--; ask_late(i) }
        fi
    }
    :: atomic {
        m[i].awaiting ->
        if
        :: true -> d_step { read_answer(i, false) }
        :: m[i].farewell && returns > 0 -> d_step { read_answer(i, true) }
        fi
    }
    :: atomic {
        leaves > 0 && m[i].joined && !m[i].leaving ->
        d_step { leaves--; m[i].leaving = true; printf("%d wants to leave\n", i) }
    }
    :: atomic {
        some_partition(p, to_begin, i);
        if
        :: true -> d_step { begin(i, p) }
        :: lost_answers > 0 -> d_step { lost_answers--; begin_in_vain(i, p) }
        :: late_requests > 0 && slot_free() -> d_step { late_requests--; begin_late(i, p) }
        fi;
        p = 0
    }
    :: atomic { some_partition(p, to_verify, i); d_step { verify(i, p); p = 0 } }
    :: atomic {
        some_partition(p, to_store, i);
        some_acks(more, i, p);
        if
        :: true -> d_step { store(i, p, more) }
        :: lost_answers > 0 -> d_step { lost_answers--; store_in_vain(i, p, more) }
        :: late_requests > 0 && slot_free() -> d_step { late_requests--; store_late(i, p, more) }
        fi;
        p = 0; more = 0
    }
    :: atomic { some_partition(p, to_release, i); d_step { release(i, p); p = 0 } }
    od
}
