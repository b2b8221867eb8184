/* cursor.pml - the cursors: src/redis/scripts/cursor_acquire.lua and cursor_commit.lua, and what must hold of them.
 *
 * The ack map is a set of bits, one for each message; `committed` follows from it. What an answered
 * commit has acknowledged is remembered in `answered`. */

typedef place {
    byte id;    /* of the group */
    byte epoch;
    byte owner; /* its nonce */
    byte seq;
    byte acks;
    /* Not on the server; what is true of it. */
    byte newest;   /* nonce of whom an acquire was answered last */
    byte user;     /* whose commit was taken under this epoch, 0: nobody's */
    byte answered;
}

place cur[PARTITIONS];
#if CURSOR_ROLLBACKS > 0
bool cursor_saved;
place saved_cursor[PARTITIONS];
#endif

#define STALE 2
#define FENCED 3
#define OLD 4
#define LOST 5
#define ALL_ACKS ((1 << MESSAGES) - 1)
/* The offset that follows from a set. */
#define committed_of(acks) (((acks) & 1) + (((acks) & 3) == 3) + ((acks) == 7))

/* The question besides q_nonce and q_id, and the answer. */
hidden byte q_part, q_epoch, q_seq, q_acks;
hidden byte r_word;

#if MUTANT == GROUP_ID_IGNORED
#define other_group() (false)
#else
#define other_group() (cur[q_part].id != q_id)
#endif

inline acquire() {
    printf("    cursor_acquire: %d by nonce %d, epoch %d; the cursor has %d of %d\n", q_part, q_nonce, q_epoch,
           cur[q_part].epoch, cur[q_part].owner);
    r_word = OK;
    if
    :: other_group() -> r_word = LOST
    :: else ->
        if
#if MUTANT == ACQUIRE_IGNORES_EPOCH
        :: false
#elif MUTANT == ACQUIRE_IGNORES_NONCE
        :: cur[q_part].epoch > q_epoch -> r_word = STALE
#else
        :: cur[q_part].epoch > q_epoch || (cur[q_part].epoch == q_epoch && cur[q_part].owner != q_nonce) ->
            r_word = STALE
#endif
        :: else ->
            if
            :: cur[q_part].epoch != q_epoch ->
                cur[q_part].seq = 0;
                cur[q_part].owner = q_nonce;
                cur[q_part].user = 0;
#if MUTANT != ACQUIRE_RAISES_NO_EPOCH
                assert(q_epoch > cur[q_part].epoch); /* the epoch of a cursor never falls */
                cur[q_part].epoch = q_epoch;
#endif
            :: else
            fi;
            cur[q_part].newest = q_nonce
        fi
    fi
}

#if MUTANT == COMMIT_IGNORES_EPOCH
#define fenced() (false)
#elif MUTANT == COMMIT_IGNORES_NONCE
#define fenced() (cur[q_part].epoch != q_epoch)
#else
#define fenced() (cur[q_part].epoch != q_epoch || cur[q_part].owner != q_nonce)
#endif
#if MUTANT == COMMIT_IGNORES_SEQUENCE
#define late_commit() (committed_of(q_acks) < committed_of(cur[q_part].acks))
#else
#define late_commit() (q_seq <= cur[q_part].seq || committed_of(q_acks) < committed_of(cur[q_part].acks))
#endif

inline commit() {
    printf("    cursor_commit: %d by nonce %d, epoch %d.%d, acks %d; the cursor has %d.%d of %d, acks %d\n", q_part,
           q_nonce, q_epoch, q_seq, q_acks, cur[q_part].epoch, cur[q_part].seq, cur[q_part].owner,
           cur[q_part].acks);
    r_word = OK;
    if
    :: other_group() -> r_word = LOST
    :: else ->
        if
        :: fenced() -> r_word = FENCED
        :: else ->
            if
            :: late_commit() -> r_word = OLD
            :: else ->
                /* Taken only from whom an acquire was answered last, ... */
                assert(cur[q_part].newest == q_nonce);
                /* ... of one consumer for each epoch, ... */
                assert(cur[q_part].user == 0 || cur[q_part].user == q_nonce);
                /* ... of this group, ... */
                assert(cur[q_part].id == q_id);
                /* ... and nothing that was answered is forgotten. */
                assert((q_acks & cur[q_part].answered) == cur[q_part].answered);
                cur[q_part].user = q_nonce;
                cur[q_part].seq = q_seq;
                cur[q_part].acks = q_acks
            fi
        fi
    fi
}

inline copy_place(dst, src) {
    dst.id = src.id; dst.epoch = src.epoch; dst.owner = src.owner; dst.seq = src.seq; dst.acks = src.acks;
    dst.newest = src.newest; dst.user = src.user; dst.answered = src.answered
}

inline save_cursors() {
    p2 = 0;
    do
    :: p2 < PARTITIONS -> copy_place(saved_cursor[p2], cur[p2]); p2++
    :: else -> break
    od
}

/* cursor_create, for a group that was made anew. */
inline create_cursors(gid) {
    p2 = 0;
    do
    :: p2 < PARTITIONS ->
        cur[p2].id = gid; cur[p2].epoch = 0; cur[p2].owner = 0; cur[p2].seq = 0; cur[p2].acks = 0;
        cur[p2].newest = 0; cur[p2].user = 0; cur[p2].answered = 0;
        p2++
    :: else -> break
    od
}
