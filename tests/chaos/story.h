/* story.h - a history as nouns: who sent what, where it lies, who had it. The first pass of the
 * checker builds it and judges nothing.
 *
 *     stream ── part ── line: the place at each offset, of the log as it is at the end
 *       │         └──── places: also those that are gone
 *     group ─── share (group x part) ── seen (share x place): what became of a message in a group
 *                        └───────────── reign (share x epoch): what one owner was delivered
 *     message: one send, or one output; where it lies */
#ifndef SG_CHAOS_STORY_H
#define SG_CHAOS_STORY_H

#include "anomalies.h"
#include "history.h"
#include "table.h"

typedef struct message {
    uint64_t stream, producer, key, sequence;
    uint32_t index, crc;
    const history_record *invoke, *done; /* done: NULL where there is none, as for all outputs */
    history_phase outcome;
    bool output;         /* of a stage, sent by seg_forward */
    uint32_t disputed;   /* what its outputs' checksums say differs */
    struct place *told;  /* where its sender was told that it is */
    struct place *first; /* where it was found; chained by `other` */
    bool explained;      /* what is wrong with it was counted */
} message;

typedef struct place {
    struct part *part;
    uint64_t era, offset;
    message *content;             /* NULL: nobody saw it, or nobody sent it */
    const history_record *source; /* the first record that says what is here: ENTRY, DELIVERED */
    bool last;                    /* it is in the final log */
    bool survives;                /* it is, or was until it was consumed and trimmed */
    bool delivered;
    bool went_on, untold; /* of a lost one: somebody who had read it went on, without being told */
    bool explained;
    struct place *other; /* of the same content */
} place;

typedef struct part {
    uint64_t stream;
    uint32_t number;
    bool drops, ruined; /* ruined: a fault destroyed it, nothing is promised of its content */
    const history_record *log;
    place **places; /* all, in no order */
    size_t n, cap;
    place **line; /* by offset; NULL where nobody knows what is there */
    uint64_t n_line;
    const history_record **losses; /* told to anybody, by time */
    size_t n_losses, cap_losses;
    bool explained; /* some loss here was counted */
} part;

typedef struct group {
    uint64_t stream, name;
    uint64_t session, bound; /* ns */
    bool known, retries, unordered, by_partition;
    uint64_t start; /* of partitions that have none of their own */
} group;

typedef struct member {
    uint64_t process, name;
    group *group;
    bool handlers;
    uint64_t since;          /* ns: runs from then on; 0: not */
    struct pending *pending; /* settled, and not yet known to be stored */
    size_t n, cap;
} member;

typedef struct pending {
    const history_record *settle;
    struct seen *what;
    bool late; /* its epoch was over when it was settled */
} pending;

typedef struct reign {
    uint64_t epoch;
    member *owner;
    uint64_t next;        /* all before was delivered to it, or done, or judged */
    uint64_t era, newest; /* the last in order that it was delivered */
    uint64_t last_poll;   /* when it last asked for messages and got some */
    bool disputed;        /* two owners: counted */
    struct seen **had;    /* all that it was delivered */
    size_t n, cap;
} reign;

typedef struct turn { /* a message under one epoch */
    uint64_t epoch;
    uint32_t deliveries, released;
    uint64_t given_back; /* when a retry or release had been told; 0: not since it was delivered */
    struct turn *older;
} turn;

typedef struct seen {
    struct share *share;
    place *at;
    const history_record *first;   /* delivery */
    const history_record *settled; /* the first that counts: acknowledged or rejected */
    uint64_t settled_epoch;
    uint64_t committed; /* when somebody was told that this is stored; 0: not */
    turn *turns;        /* the newest first */
    bool explained;
    bool letter;
    /* What looked wrong, until the end of the story explains it. Passed over by an owner; passed by
     * a later one of its key; committed while nobody had acknowledged it. */
    const history_record *passed, *passed_in_key, *ahead;
    uint64_t passed_epoch;
} seen;

/* A group's place, or what it had committed, fell; or so it looks. */
typedef struct fallback {
    struct share *share;
    uint64_t first, end; /* offsets that were committed */
    uint64_t since;      /* ns: and known to be so from then on */
    const history_record *proof;
} fallback;

typedef struct share {
    group *group;
    part *part;
    uint64_t start;
    uint64_t epoch; /* the largest that delivered anything */
    const history_record *place;
    const history_record *furthest; /* of what was observed committed */
    uint64_t checked;               /* all before is acknowledged, where it was to be */
    uint8_t *overtaken;             /* by offset: told that it was dropped */
} share;

typedef struct stage {
    uint64_t stream, group, target;
    uint32_t outputs;
} stage;

typedef struct story {
    const history_log *log;
    arena arena;
    table calls, messages, parts, places, groups, members, shares, seens, reigns, lanes, fronts,
        asked;
    const history_record **faults; /* invokes */
    size_t n_faults, cap_faults;
    stage *stages;
    size_t n_stages, cap_stages;
    fallback *fallbacks;
    size_t n_fallbacks, cap_fallbacks;
    uint64_t begin; /* ns: of the first record, for examples */
    uint64_t may_lose_until;
    bool may_lose;
} story;

void story_init(story *s, const history_log *log);
void story_fini(story *s);

/* The outcome of a call, NULL where none was written. */
const history_record *story_done(const story *s, const history_record *invoke);
part *story_part(story *s, uint64_t stream, uint32_t number); /* made where it is new */
place *story_place(story *s, uint64_t stream, uint32_t partition, uint64_t era, uint64_t offset);
message *story_message(story *s, uint64_t stream, const history_record *r); /* NULL: not sent */
group *story_group(story *s, uint64_t stream, uint64_t name);
member *story_member(story *s, uint64_t process, uint64_t name);
share *story_share(story *s, group *g, part *p);
seen *story_seen(story *s, share *h, place *at);
reign *story_reign(story *s, share *h, uint64_t epoch);
/* The surviving place at an offset, or NULL. */
place *story_at(const part *p, uint64_t offset);

/* Was the server allowed to lose what was acknowledged at `at`? */
bool story_may_lose(const story *s, uint64_t at);
/* Is a fault on by which it loses? Two servers may then be at work, of which one is forgotten. */
bool story_losing(const story *s, uint64_t at);
/* The loss that anybody was told of, which covers the place; NULL: none. */
const history_record *story_told(const place *at);
/* The same, told to this producer, or to this member. */
const history_record *story_told_to(const place *at, uint64_t producer, const member *m);
/* Was the group told, after `since`, of a loss of messages or acknowledgements in first..end-1? */
bool story_told_group(const share *h, uint64_t first, uint64_t end, uint64_t since);

/* "in/3 offset 1-57", "p2 key 14 #233", "+12.345 s": in one of a few buffers that take turns. */
const char *say_place(const story *s, const place *at);
const char *say_message(const story *s, const message *m);
const char *say_name(const story *s, uint64_t name);
const char *say_group(const story *s, const share *h); /* "group g, in/3" */
const char *say_time(const story *s, const history_record *r);

#endif
