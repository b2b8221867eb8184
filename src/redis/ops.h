/* ops.h - every operation on the server, typed: build and send, and read the answer. Nothing else
 * knows the scripts' arguments and answers. sg_X_send is false where the connection is not up or
 * memory ran out: nothing was sent then and fn is never called. sg_X_read takes what fn was given;
 * an answer that makes no sense becomes SEG_EPROTO.
 *
 * Each answer starts with how it ended:
 *   status SEG_OK            the fields are set
 *   lost                     the connection ended before the answer: it may or may not have happened
 *   otherwise                refused, and not done; err says why */
#ifndef SG_REDIS_OPS_H
#define SG_REDIS_OPS_H
#include "core/eras.h"
#include "core/names.h"
#include "redis/conn.h"
#include "redis/entries.h"

/* A stream, as everyone who works on it knows it. */
typedef struct sg_stream {
    char ns[SG_NAME_MAX + 1], name[SG_NAME_MAX + 1];
    char inc[33];  /* incarnation */
    uint32_t seed; /* of its batches' CRC: sg_batch_seed(inc) */
    uint32_t partitions;
    uint64_t bound; /* messages for each partition */
    seg_on_full on_full;
    int64_t created;
} sg_stream;

typedef struct sg_group {
    char name[SG_NAME_MAX + 1];
    char gid[33]; /* its own incarnation */
} sg_group;

/* ---- streams ------------------------------------------------------------------------------ */

typedef struct sg_stream_answer {
    seg_status status; /* ENOENT where there is none, or it is not ready or being deleted */
    bool lost, creating, deleting;
    seg_error err;
    sg_stream stream; /* ns and name are those asked for; settings */
} sg_stream_answer;

/* What is registered under s->ns, s->name. */
bool sg_stream_get_send(sg_conn *c, const sg_stream *s, sg_result_fn *fn, void *arg);
void sg_stream_get_read(const sg_result *r, const sg_stream *s, sg_stream_answer *out);

/* Register s with its settings under the incarnation s->inc. SEG_OK: `creating` tells whether the
 * partitions are still to be made; stream holds what is registered. EEXIST: other settings. */
bool sg_stream_create_send(sg_conn *c, const sg_stream *s, bool accept, sg_result_fn *fn,
                           void *arg);
void sg_stream_create_read(const sg_result *r, const sg_stream *s, sg_stream_answer *out);

/* Answers of {'OK'} or a refusal: partition_create, stream_ready, group_ready, cursor_create,
 * cursor_delete, and plain commands whose answer does not matter. */
typedef struct sg_plain_answer {
    seg_status status;
    bool lost;
    seg_error err;
} sg_plain_answer;
void sg_plain_read(const sg_result *r, const char *what, sg_plain_answer *out);

bool sg_partition_create_send(sg_conn *c, const sg_stream *s, uint32_t p, sg_result_fn *fn,
                              void *arg);
bool sg_stream_ready_send(sg_conn *c, const sg_stream *s, sg_result_fn *fn, void *arg);
bool sg_streams_add_send(sg_conn *c, const sg_stream *s, sg_result_fn *fn, void *arg);
bool sg_streams_remove_send(sg_conn *c, const sg_stream *s, sg_result_fn *fn, void *arg);
/* The deletion's steps. Each spares what a newer stream or group of the name has made. */
bool sg_partition_delete_send(sg_conn *c, const sg_stream *s, uint32_t p, sg_result_fn *fn,
                              void *arg);
/* Meta, groups and the state of all `n` groups. */
bool sg_stream_drop_send(sg_conn *c, const sg_stream *s, const char *const *groups, size_t n,
                         sg_result_fn *fn, void *arg);
bool sg_group_drop_send(sg_conn *c, const sg_stream *s, const sg_group *g, sg_result_fn *fn,
                        void *arg);
/* The reply of SMEMBERS. */
bool sg_streams_list_send(sg_conn *c, const char *ns, sg_result_fn *fn, void *arg);
bool sg_groups_list_send(sg_conn *c, const sg_stream *s, sg_result_fn *fn, void *arg);
/* {'DELETING', incarnation, partitions, {group ...}} | {'NONE'}: read with the reply's own
 * accessors. */
bool sg_stream_delete_send(sg_conn *c, const sg_stream *s, sg_result_fn *fn, void *arg);

/* ---- append ------------------------------------------------------------------------------- */

typedef enum sg_append_kind {
    SG_APPEND_STORED, /* now, or before (a duplicate) */
    SG_APPEND_FULL,
    SG_APPEND_TOOBIG,
    SG_APPEND_GAP,
    SG_APPEND_STALE,
    SG_APPEND_ERA,
    SG_APPEND_HELD,    /* forwarding: not all of its messages may be stored; none was */
    SG_APPEND_LOST,    /* the stream's state is missing: ask for its meta */
    SG_APPEND_UNKNOWN, /* the server has forgotten the guard: sg_append_unknown, and send it again */
    SG_APPEND_REFUSED  /* err says why; nothing was stored, but where `unsure` */
} sg_append_kind;

typedef struct sg_append_answer {
    sg_append_kind kind;
    bool lost;       /* the connection ended first; kind means nothing */
    bool duplicate;  /* STORED before */
    bool unsure;     /* REFUSED, UNKNOWN, but the server may have done it all the same */
    uint64_t offset; /* STORED: of the first message; UINT64_MAX where it is not known any more */
    uint64_t number; /* FULL, TOOBIG: bound; GAP: last sequence; ERA: era */
    uint64_t room;   /* FULL: messages that would still fit */
    /* STORED, of a probe: the log's end, its eras (core/eras.h; valid during the callback), and what
     * is stored of the producer, or 0. */
    uint64_t next, generation, sequence;
    seg_bytes eras;
    /* HELD: the numbers of the messages, from 0 in the batch, that must leave it, ascending; see
     * sg_numbers_next. No number is in two lists. Valid during the callback. */
    seg_bytes dups;    /* stored before, as the output of the same input */
    seg_bytes fenced;  /* their sender is no owner any more, or has sent them again since */
    seg_bytes differs; /* the output stored in their place was another one */
    seg_error err;     /* all but STORED */
} sg_append_answer;

/* Which input a message results from: the `index`-th output of `offset` of `input`. Each is stored
 * once, whoever sends it, and however often. */
typedef struct sg_forward_of {
    const char *input; /* 1 to 100 of [0-9a-z.] */
    uint64_t epoch;    /* of the input's owner: larger ones fence smaller ones */
    uint64_t base;     /* the input's committed offset, as a commit has stored it */
    uint64_t offset;
    uint32_t index, crc; /* crc: of the output; tells whether a repeated one is the same */
} sg_forward_of;

typedef struct sg_append {
    const sg_stream *stream;
    uint32_t partition;
    const char *producer; /* its id */
    uint64_t era, generation, first_seq;
    uint32_t count;    /* 0: a probe: no batch, only check rights and mend */
    uint64_t known;    /* of a probe: there were messages up to here, the last of `era`; 0: none */
    const void *batch; /* stays until fn is called */
    size_t batch_len;
    const sg_forward_of *forwards; /* `count` of them; NULL: the messages result from no input */
    bool forwarding; /* with count 0: check also the rights that messages with `forwards` need */
} sg_append;

bool sg_append_send(sg_conn *c, const sg_append *a, sg_result_fn *fn, void *arg);
/* The server answered UNKNOWN: the next guard on this connection travels with its body. */
void sg_append_unknown(sg_conn *c);
/* `probe`: it had no batch. */
void sg_append_read(const sg_result *r, bool probe, sg_append_answer *out);
/* Take the first number of a list off its front. False: there is no further one. */
bool sg_numbers_next(seg_bytes *list, uint32_t *n);

/* ---- groups ------------------------------------------------------------------------------- */

/* Where a group starts. */
typedef struct sg_start_at {
    seg_start kind;
    int64_t at; /* of SEG_AT_OFFSET and SEG_AT_TIME; at least 0 */
} sg_start_at;

typedef struct sg_group_answer {
    seg_status status; /* EEXIST: it is being deleted; EPROTO: damaged; ELOST, ENOENT */
    bool lost, creating;
    seg_error err;
    char gid[33];
    sg_start_at start; /* the one that is stored: whoever finishes a creation goes by it */
} sg_group_answer;
bool sg_group_open_send(sg_conn *c, const sg_stream *s, const sg_group *g, const sg_start_at *start,
                        sg_result_fn *fn, void *arg);
/* The stream and the group are named where it is damaged. */
void sg_group_open_read(const sg_result *r, const sg_stream *s, const char *group,
                        sg_group_answer *out);
/* What an answer DAMAGED of the group's scripts says, or LOST, group of group_open and group_describe:
 * EPROTO, ELOST, with the way out. */
seg_status sg_group_damaged(const sg_reply *reply, const sg_stream *s, const char *group,
                            seg_error *err);
bool sg_group_ready_send(sg_conn *c, const sg_stream *s, const sg_group *g, sg_result_fn *fn,
                         void *arg);
/* {'DELETING', id} | {'NONE'} | {'ACTIVE', members} */
bool sg_group_delete_send(sg_conn *c, const sg_stream *s, const char *group, sg_result_fn *fn,
                          void *arg);
bool sg_group_describe_send(sg_conn *c, const sg_stream *s, const char *group, sg_result_fn *fn,
                            void *arg);

typedef enum sg_sync_op { SG_SYNC_JOIN, SG_SYNC_BEAT, SG_SYNC_LEAVE } sg_sync_op;
typedef struct sg_handback {
    uint32_t partition;
    uint64_t epoch;
} sg_handback;
typedef struct sg_sync {
    const sg_stream *stream;
    const sg_group *group;
    sg_sync_op op;
    const char *member, *nonce, *host;
    int64_t session_timeout;
    uint64_t version, floor;
    const sg_handback *released;
    size_t n_released;
} sg_sync;
bool sg_sync_send(sg_conn *c, const sg_sync *s, sg_result_fn *fn, void *arg);
/* The answer's reading is core/member's input: see sg_sync_answer there. */

/* ---- cursors ------------------------------------------------------------------------------ */

/* start: "earliest", "latest", or an offset, which is cut to what the partition holds. */
bool sg_cursor_create_send(sg_conn *c, const sg_stream *s, const sg_group *g, const char *start,
                           uint32_t p, sg_result_fn *fn, void *arg);
bool sg_cursor_delete_send(sg_conn *c, const sg_stream *s, const sg_group *g, uint32_t p,
                           sg_result_fn *fn, void *arg);

typedef enum sg_cursor_kind {
    SG_CURSOR_OK,
    SG_CURSOR_OLD,
    SG_CURSOR_FENCED, /* `number`: the epoch that is stored */
    SG_CURSOR_AHEAD,  /* `number`: the log's next offset */
    SG_CURSOR_LOST,   /* state is missing: ask for the stream's meta */
    SG_CURSOR_REFUSED
} sg_cursor_kind;
typedef struct sg_cursor_answer {
    sg_cursor_kind kind;
    bool lost;
    uint64_t era;   /* the newest */
    seg_bytes eras; /* core/eras.h; valid during the callback */
    uint64_t committed, first, next, epoch, number;
    /* Of an acquire, or a read with a group. */
    uint64_t since;              /* the epoch of the last seek; 0: none */
    bool clean;                  /* the last owner handed over; otherwise: */
    uint64_t high;               /* all below it may have been delivered */
    seg_bytes acks, tries, note; /* valid during the callback */
    seg_bytes owner;             /* of a read with a group: the owner's nonce; the same */
    seg_error err;
} sg_cursor_answer;

bool sg_cursor_acquire_send(sg_conn *c, const sg_stream *s, const sg_group *g, uint32_t p,
                            uint64_t epoch, const char *nonce, sg_result_fn *fn, void *arg);
/* What a commit stores. */
typedef struct sg_commit {
    const sg_stream *stream;
    const sg_group *group;
    uint32_t partition;
    uint64_t epoch, seq, committed;
    uint64_t high; /* all below it may be delivered from now on */
    bool clean;    /* nothing is in hand any more: the place of `high` stays empty */
    seg_bytes acks, tries, note;
    const char *nonce; /* the owner's */
} sg_commit;
bool sg_cursor_commit_send(sg_conn *c, const sg_commit *m, sg_result_fn *fn, void *arg);
/* group may be NULL. */
bool sg_cursor_read_send(sg_conn *c, const sg_stream *s, const char *group, uint32_t p,
                         sg_result_fn *fn, void *arg);
void sg_cursor_read_answer(const sg_result *r, sg_cursor_answer *out);
/* Take the eras out of an answer that is OK. False: it is REFUSED now. */
bool sg_cursor_take_eras(sg_cursor_answer *a, sg_eras *out);

/* ---- fetch -------------------------------------------------------------------------------- */

/* XREAD COUNT count [BLOCK block, where it is not 0] STREAMS ...: what comes is in `in` when fn is
 * called, which has no reply where the status is SEG_OK. Both `in` and `from` stay until then. */
bool sg_fetch_send(sg_conn *c, sg_entries *in, const sg_fetch_from *from, size_t n, uint64_t count,
                   int64_t block, sg_result_fn *fn, void *arg);
/* "<era>-<offset>" of an entry; false for anything else. */
bool sg_entry_id_read(const sg_reply *id, uint64_t *era, uint64_t *offset);
bool sg_unblock_send(sg_conn *c, uint64_t client_id, sg_result_fn *fn, void *arg);
#endif
