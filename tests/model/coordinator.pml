/* coordinator.pml - the coordinator: src/redis/scripts/group_sync.lua. One call of `sync` is one run of the script.
 *
 * Names are numbers from 0; in `owner` and `target` they are stored plus one, 0 is nobody. A member's
 * nonce is the number of its incarnation plus one, 0 where the name is not a member. Leases have no numbers here: one
 * that may have run out is `over` (see README.md, time). */

typedef group {
    bool gone;             /* the keys were deleted */
    byte id;               /* the group id */
    byte epoch;            /* the largest given */
    byte used;             /* the largest version of a member that is gone */
    byte nonce[NAMES];
    byte version[NAMES];
    bool over[NAMES];
    byte owner[PARTITIONS];
    byte part_epoch[PARTITIONS];
    byte target[PARTITIONS];
}

group c;
bool ousted[INCARNATIONS]; /* another consumer took the name, which the one here has not heard yet */
#if GROUP_ROLLBACKS > 0
bool group_saved;
group saved_group; /* what the replica has */
#endif

/* The answer of the last call. */
#define OK 1
#define UNKNOWN 2
#define REPLACED 3
#define GONE 4
hidden byte a_word, a_version;
hidden byte a_listed;
hidden byte a_epoch[PARTITIONS]; /* 0: not in the list */
hidden byte a_give[PARTITIONS];

/* The question. */
#define JOIN 1
#define BEAT 2
#define LEAVE 3
hidden byte q_op, q_name, q_nonce, q_id, q_version, q_floor;
hidden byte q_back[PARTITIONS]; /* epochs of what is handed back, 0 for nothing */

hidden byte told[NAMES], changed;
hidden byte held[NAMES], rank[NAMES], kept[NAMES], to[PARTITIONS];
hidden byte n1, n2, p1, p2, live, before_owner, before_target;

inline remove(n) {
#if MUTANT != VERSIONS_BEGIN_AGAIN
    c.used = (c.used < c.version[n] -> c.version[n] : c.used);
#endif
    c.nonce[n] = 0; c.version[n] = 0; c.over[n] = false
}

inline give(p) {
#if MUTANT == GRANT_KEEPS_EPOCH
    if
    :: c.part_epoch[p] == 0 -> c.epoch++; c.part_epoch[p] = c.epoch
    :: else
    fi;
#else
    c.epoch++;
    c.part_epoch[p] = c.epoch;
#endif
    assert(c.part_epoch[p] > q_floor); /* or its new owner finds its cursor ahead once more */
    c.owner[p] = c.target[p];
    told[c.target[p] - 1] = true
}

/* Into `to`: who holds a partition keeps it up to the quota, the rest fills up the others. */
inline balance() {
    live = 0;
    n1 = 0;
    do
    :: n1 < NAMES ->
        held[n1] = 0; kept[n1] = 0; rank[n1] = 0;
        live = live + (c.nonce[n1] != 0);
        n1++
    :: else -> break
    od;
    p1 = 0;
    do
    :: p1 < PARTITIONS -> /* for now its holder */
        if
        :: c.owner[p1] != 0 && c.nonce[c.owner[p1] - 1] != 0 -> to[p1] = c.owner[p1]
        :: else ->
            if
            :: c.target[p1] != 0 && c.nonce[c.target[p1] - 1] != 0 -> to[p1] = c.target[p1]
            :: else -> to[p1] = 0
            fi
        fi;
        if
        :: to[p1] != 0 -> held[to[p1] - 1]++
        :: else
        fi;
        p1++
    :: else -> break
    od;
    n1 = 0;
    do
    :: n1 < NAMES ->
        n2 = 0;
        do
        :: n2 < NAMES ->
            rank[n1] = rank[n1] + (c.nonce[n2] != 0 &&
                (held[n2] > held[n1] || (held[n2] == held[n1] && n2 < n1)));
            n2++
        :: else -> break
        od;
        n1++
    :: else -> break
    od;
    /* What is on its way elsewhere already goes first: the second time round. */
    p1 = 0;
    do
    :: p1 < 2 * PARTITIONS ->
        p2 = p1 % PARTITIONS;
        if
        :: to[p2] != 0 && (c.target[p2] == to[p2]) == (p1 < PARTITIONS) ->
            if
            :: kept[to[p2] - 1] < PARTITIONS / live + (rank[to[p2] - 1] < PARTITIONS % live) ->
                kept[to[p2] - 1]++
            :: else -> to[p2] = 0
            fi
        :: else
        fi;
        p1++
    :: else -> break
    od;
    p1 = 0;
    do
    :: p1 < PARTITIONS ->
        n1 = 0; /* by rank */
        do
        :: to[p1] == 0 && n1 < live ->
            n2 = 0;
            do
            :: c.nonce[n2] == 0 || rank[n2] != n1 -> n2++
            :: else -> break
            od;
            if
            :: kept[n2] < PARTITIONS / live + (n1 < PARTITIONS % live) -> to[p1] = n2 + 1; kept[n2]++
            :: else
            fi;
            n1++
        :: else -> break
        od;
        p1++
    :: else -> break
    od
}

inline share_out() {
    balance();
    p1 = 0;
    do
    :: p1 < PARTITIONS ->
        before_owner = c.owner[p1];
        before_target = c.target[p1];
        if
        :: before_owner != 0 && c.nonce[before_owner - 1] == 0 -> c.owner[p1] = 0
        :: else
        fi;
#if MUTANT == TARGETS_STAY
        if
        :: before_target == 0 || c.nonce[before_target - 1] == 0 -> c.target[p1] = to[p1]
        :: else
        fi;
#else
        c.target[p1] = to[p1];
#endif
        if
        :: c.owner[p1] == 0 && c.target[p1] != 0 -> give(p1)
#if MUTANT == GRANT_WITHOUT_RELEASE
        :: c.owner[p1] != 0 && c.target[p1] != c.owner[p1] -> give(p1)
#endif
        :: else ->
            if
            :: c.owner[p1] != 0 &&
               (before_target == c.owner[p1]) != (c.target[p1] == c.owner[p1]) ->
                told[c.owner[p1] - 1] = true
            :: else
            fi
        fi;
        p1++
    :: else -> break
    od
}

inline expire_the_dead() {
    n1 = 0;
    do
    :: n1 < NAMES ->
        if
        :: n1 != q_name && c.nonce[n1] != 0 && c.over[n1] ->
            remove(n1);
            changed = true
        :: else
        fi;
        n1++
    :: else -> break
    od
}

inline take_back() {
    p1 = 0;
    do
    :: p1 < PARTITIONS ->
        if
#if MUTANT == HAND_BACK_IGNORES_EPOCH
        :: q_back[p1] != 0 && c.owner[p1] == q_name + 1 ->
#else
        :: q_back[p1] != 0 && c.owner[p1] == q_name + 1 && c.part_epoch[p1] == q_back[p1] ->
#endif
            c.owner[p1] = 0;
            if
            :: c.target[p1] != 0 && !changed && q_op != LEAVE -> give(p1)
            :: else
            fi
        :: else
        fi;
        p1++
    :: else -> break
    od
}

/* Another consumer had this name: its partitions come to the new one, under new epochs. */
inline replace() {
    p1 = 0;
    do
    :: p1 < PARTITIONS ->
        if
        :: c.owner[p1] == q_name + 1 ->
            c.owner[p1] = 0;
            if
            :: c.target[p1] != 0 -> give(p1)
            :: else
            fi
        :: else
        fi;
        p1++
    :: else -> break
    od
}

inline enter() {
    if
    :: q_op == LEAVE ->
        remove(q_name);
        changed = true
    :: else ->
        c.over[q_name] = false;
        if
        :: q_op == JOIN && c.nonce[q_name] != q_nonce ->
            if
            :: c.nonce[q_name] != 0 -> ousted[c.nonce[q_name] - 1] = true; replace()
            :: else
            fi;
            c.nonce[q_name] = q_nonce;
            c.version[q_name] = (c.version[q_name] == 0 -> c.used : c.version[q_name]) + 1;
            changed = true
        :: else
        fi
    fi
}

inline tell() {
    n1 = 0;
    do
    :: n1 < NAMES ->
        if
        :: told[n1] && c.nonce[n1] != 0 ->
#if MUTANT == CHANGE_RAISES_NO_VERSION
            skip
#else
            c.version[n1]++
#endif
        :: else
        fi;
        told[n1] = false;
        n1++
    :: else -> break
    od
}

inline list() {
    p1 = 0;
    do
    :: p1 < PARTITIONS ->
        a_epoch[p1] = (a_listed && c.owner[p1] == q_name + 1 -> c.part_epoch[p1] : 0);
        a_give[p1] = a_epoch[p1] != 0 && c.target[p1] != q_name + 1;
        p1++
    :: else -> break
    od
}

#if MUTANT == REPLACED_MEMBER_STAYS
#define another(n, its) (false)
#else
#define another(n, its) (c.nonce[n] != (its))
#endif

/* One run of group_sync: q_* asks, a_* answers. */
inline sync() {
    printf("    group_sync: name %d nonce %d op %d version %d floor %d back %d\n", q_name, q_nonce, q_op, q_version,
           q_floor, q_back[0]);
    a_word = OK; a_version = 0; a_listed = false; changed = false;
    if
    :: c.gone || c.id != q_id -> a_word = GONE
    :: else ->
        if
        :: q_op != JOIN && c.nonce[q_name] == 0 -> a_word = UNKNOWN
        :: q_op != JOIN && c.nonce[q_name] != 0 && another(q_name, q_nonce) -> a_word = REPLACED
        :: else ->
#if MUTANT != FLOOR_IGNORED
            c.epoch = (c.epoch < q_floor -> q_floor : c.epoch);
#endif
            expire_the_dead();
            take_back();
            enter();
            if
            :: changed -> share_out()
            :: else
            fi;
            tell();
            a_version = c.version[q_name];
            a_listed = q_op != LEAVE && a_version != q_version;
            list();
            printf("    group_sync: OK version %d, 0: %d|%d|%d, lists %d\n", a_version, c.owner[0], c.part_epoch[0],
                   c.target[0], a_listed)
        fi
    fi
}

inline copy_group(dst, src) {
    dst.gone = src.gone; dst.id = src.id; dst.epoch = src.epoch; dst.used = src.used;
    n1 = 0;
    do
    :: n1 < NAMES ->
        dst.nonce[n1] = src.nonce[n1]; dst.version[n1] = src.version[n1]; dst.over[n1] = src.over[n1];
        n1++
    :: else -> break
    od;
    p1 = 0;
    do
    :: p1 < PARTITIONS ->
        dst.owner[p1] = src.owner[p1]; dst.part_epoch[p1] = src.part_epoch[p1];
        dst.target[p1] = src.target[p1];
        p1++
    :: else -> break
    od
}

/* Only the epoch differs for a group made anew: its id, and so nothing of the old one counts. */
inline empty_group(id_of_new) {
    c.gone = false; c.id = id_of_new; c.epoch = 0; c.used = 0;
    n1 = 0;
    do
    :: n1 < NAMES -> c.nonce[n1] = 0; c.version[n1] = 0; c.over[n1] = false; n1++
    :: else -> break
    od;
    p1 = 0;
    do
    :: p1 < PARTITIONS -> c.owner[p1] = 0; c.part_epoch[p1] = 0; c.target[p1] = 0; p1++
    :: else -> break
    od
}
