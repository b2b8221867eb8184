/* admin.h - looking at streams and groups, and moving and repairing them: what operators and their
 * tools use. Included by segmenter.h, whose opening words hold here too.
 *
 * What is asked of the server comes back as a snapshot: immutable, read by any thread, freed by
 * whoever asked. */
#ifndef SEGMENTER_ADMIN_H
#define SEGMENTER_ADMIN_H
#include <segmenter/segmenter.h>

#if defined(__cplusplus)
extern "C" {
#endif

/* ---- Streams ------------------------------------------------------------------------------ */

/* A sorted list of names, an immutable snapshot; any thread. */
typedef struct seg_names seg_names;
SEG_API size_t seg_names_count(const seg_names *n);
SEG_API const char *seg_names_at(const seg_names *n, size_t i); /* NULL past the end */
SEG_API void seg_names_free(seg_names *n);

/* The namespace's streams. Any thread. One command. */
SEG_API seg_status seg_stream_list(seg_names **out, seg_client *c, seg_error *err);

/* One partition of a stream, as it was when asked. Members are only added at the end. */
typedef struct seg_stream_partition {
    uint64_t era;
    uint64_t first;     /* offset of the oldest message that is kept */
    uint64_t next;      /* offset that the next message will get */
    uint64_t messages;  /* next - first */
    seg_status status;  /* SEG_OK, or SEG_ELOST: its state is missing or makes no sense. Its numbers
                           are SEG_UNKNOWN then, but for the slot */
    uint16_t slot;      /* of its keys in a cluster, 0 to 16383 */
    uint64_t foreign;   /* entries of somebody else that were found in its log and taken out */
    uint64_t producers; /* that it knows: those in use, and those of the last hour */
} seg_stream_partition;

/* A stream's settings and partitions, an immutable snapshot; any thread. */
typedef struct seg_stream_info seg_stream_info;
/* A partition that is damaged has that in its `status` and hides no other. Errors: ENOENT. Any
 * thread. One script for each partition, pipelined. */
SEG_API seg_status seg_stream_describe(seg_stream_info **out, seg_client *c, const char *stream,
                                       seg_error *err);
SEG_API const char *seg_stream_info_name(const seg_stream_info *s);
SEG_API uint32_t seg_stream_info_partitions(const seg_stream_info *s);
SEG_API uint64_t seg_stream_info_max_messages(const seg_stream_info *s); /* for each partition */
SEG_API seg_on_full seg_stream_info_on_full(const seg_stream_info *s);
SEG_API int64_t seg_stream_info_created(const seg_stream_info *s); /* ms since 1970 */
/* Kept, all partitions. SEG_UNKNOWN where one is damaged. */
SEG_API uint64_t seg_stream_info_messages(const seg_stream_info *s);
/* NULL where `partition` is not below seg_stream_info_partitions(). */
SEG_API const seg_stream_partition *seg_stream_info_partition(const seg_stream_info *s,
                                                              uint32_t partition);
SEG_API void seg_stream_info_free(seg_stream_info *s);

/* One stream of a listing, as it was when asked. Members are only added at the end. */
typedef struct seg_stream_summary {
    const char *name;
    /* SEG_OK; SEG_ELOST: a partition, or the list of its groups, is damaged; SEG_EPROTO: its settings
     * are, and all that follows is 0 or SEG_UNKNOWN. */
    seg_status status;
    uint32_t partitions;
    seg_on_full on_full;
    uint64_t max_messages; /* for each partition */
    int64_t created;       /* ms since 1970 */
    uint64_t messages;     /* kept, all partitions; SEG_UNKNOWN where one is damaged */
    uint64_t appended;     /* since it was created; the same */
    uint64_t groups;       /* how many; SEG_UNKNOWN where the list of them is damaged */
} seg_stream_summary;

/* Streams in the order of their names, an immutable snapshot; any thread. */
typedef struct seg_streams seg_streams;
/* All streams of the namespace. Those that are deleted meanwhile are left out. The command timeout
 * is for each step of it, of 256 commands at most. Any thread. Two commands for each stream and one
 * script for each partition, pipelined. */
SEG_API seg_status seg_stream_overview(seg_streams **out, seg_client *c, seg_error *err);
SEG_API size_t seg_streams_count(const seg_streams *s);
SEG_API const seg_stream_summary *seg_streams_at(const seg_streams *s,
                                                 size_t i); /* NULL past the end */
SEG_API void seg_streams_free(seg_streams *s);

/* ---- Reading without a group ---------------------------------------------------------------- */

/* Reads a stream's partitions from any place, takes part in no group and changes nothing: only
 * reads are sent, and entries that are not ours are passed over and left where they are. What a
 * group has not acknowledged is not kept for a reader: the stream's bound may drop messages before
 * it comes to them. It is told of those, as of all that it passes without returning it. */
typedef struct seg_reader seg_reader;

typedef enum seg_skip_why {
    SEG_SKIP_DROPPED = 1, /* dropped to keep the stream's bound, before they were read */
    SEG_SKIP_MISSING,     /* they should be there: the server lost them, or somebody removed them */
    SEG_SKIP_DAMAGED,     /* as MISSING, and there is an entry in their place that cannot be read */
    SEG_SKIP_LOST /* they were there, and the server has lost them since; those before the reader's
                     place it may have returned. Told when it is found out. Reading goes on at the
                     first of them, or where it was if that is before, with messages of a new era */
} seg_skip_why;

/* The messages first .. first + count - 1 of a partition. Members are only added at the end. */
typedef struct seg_skip {
    seg_skip_why why;
    uint32_t partition;
    uint64_t era, first, count; /* era: of the first */
} seg_skip;

/* Run by seg_reader_next, in the place of those messages in the partition's order. */
typedef void seg_skip_fn(const seg_skip *skip, void *arg);

typedef struct seg_reader_options {
    size_t size;
    const uint32_t *partitions; /* only these, in this order; default: all, ascending */
    size_t n_partitions;
    seg_start start;
    int64_t start_at; /* of SEG_AT_OFFSET and SEG_AT_TIME */
    uint64_t last;    /* of SEG_LATEST: begin so many messages before the end of each partition */
    bool ends; /* read up to where the partitions ended when this was opened, and no further */
    size_t max_prefetch; /* bytes read ahead, decompressed; default 8 MiB; at least 64 KiB */
    seg_skip_fn
        *on_skip; /* default: each skip ends one call with ELOST, and the next one goes on */
    void *skip_arg;
} seg_reader_options;

/* Errors: ENOENT (no such stream), ELOST (a part of its data is missing), EACCES, ESERVER, and the
 * client's. Any thread. One command, one read-only script for each partition, pipelined (with
 * SEG_AT_TIME a search in each, of some reads), and one connection, which is kept. */
SEG_API seg_status seg_reader_open(seg_reader **out, seg_client *c, const char *stream,
                                   const seg_reader_options *opts, seg_error *err);

/* The next message, borrowed until the next call for the handle. Its delivery
 * (seg_message_delivery) says where it lies; epoch and attempt are 0.
 *
 * Partition by partition in the order of the options: each up to where it was known to end when
 * its turn came, in the order of offsets. Behind the ends, messages come as they are stored, in
 * the order of offsets in each partition.
 *
 * `*out` is NULL at the end: nothing more was there at a moment during this call, and nothing came
 * within `wait` ms from its beginning on (with `ends`: nothing comes any more). So a `wait` of 0
 * reads all there is, and waits only for the server's answers; SEG_FOREVER follows the stream.
 *
 * A lost connection is made anew, also to a server that was restarted, and reading goes on.
 * Errors, after which the call may be made again: ECONN and ETIMEDOUT (no server, or no answer,
 * within the command timeout, or `wait` where that is longer), ELOST where on_skip is NULL (see
 * there), EBUSY (another thread is in a call, or this is its callback). Errors that mean that this
 * reader is over: ENOENT (the stream was deleted, also where another one has its name by now; at
 * the end of all that was read it is found out within 5 s), ELOST (a part of its data is missing),
 * EACCES, ESERVER, EPROTO, ECLOSED (after seg_reader_stop). One thread at a time.
 *
 * Messages read ahead cost no server operation; a read fetches up to half of max_prefetch, of one
 * partition or many. At the end the server goes over all partitions for each read, 1 to 2 us for
 * each of them, and nothing while it waits, but for a look every 5 s whether all is still there. */
SEG_API seg_status seg_reader_next(const seg_message **out, seg_reader *r, int64_t wait,
                                   seg_error *err);

/* Go on at this offset of this partition: messages read ahead of it are forgotten, and those of
 * other partitions stay. An offset that is dropped already is reported as a skip by
 * seg_reader_next. With `ends`, the partition's end stays what it was. What seg_reader_next
 * returned before is not valid any more. Nothing is read before the first seg_reader_next, so a
 * seek right after the opening costs no reading elsewhere. Errors: EINVAL (not one of its
 * partitions; behind the partition's end), EBUSY, ETIMEDOUT, and seg_reader_next's. One thread at
 * a time. One read-only script. */
SEG_API seg_status seg_reader_seek(seg_reader *r, uint32_t partition, uint64_t offset,
                                   seg_error *err);

/* One partition of a reader. Members are only added at the end. */
typedef struct seg_reader_place {
    uint32_t partition;
    uint64_t era;   /* the newest, as of opening */
    uint64_t first; /* offset of the oldest message that was kept when the reader was opened */
    uint64_t next;  /* offset that the next message would have got then */
    uint64_t at;    /* the next message that is returned has this offset, or a later one */
} seg_reader_place;
/* The i-th of its partitions, in the order of the options, borrowed until the next call of
 * seg_reader_next, _seek or _close. NULL past the end. One thread at a time, as the other calls. No
 * server operation. */
SEG_API const seg_reader_place *seg_reader_place_at(const seg_reader *r, size_t i);

/* Counters since open: set `size` with SEG_INIT. Any thread. */
typedef struct seg_reader_stats {
    size_t size;
    uint64_t messages;         /* returned */
    uint64_t skipped;          /* messages dropped, missing and damaged */
    uint64_t lost;             /* messages of SEG_SKIP_LOST */
    uint64_t foreign;          /* log entries that were not ours, or damaged */
    uint64_t prefetched_bytes; /* now */
} seg_reader_stats;
SEG_API void seg_reader_get_stats(const seg_reader *r, seg_reader_stats *out);

/* Make the waiting and every later seg_reader_next return SEG_ECLOSED. Any thread;
 * async-signal-safe. */
SEG_API void seg_reader_stop(seg_reader *r);

/* Never waits for the server. */
SEG_API void seg_reader_close(seg_reader *r);

/* ---- Groups ------------------------------------------------------------------------------- */

/* The stream's groups. Errors: ENOENT. Any thread. Two commands. */
SEG_API seg_status seg_group_list(seg_names **out, seg_client *c, const char *stream,
                                  seg_error *err);

/* Delete a group and its cursors, also one that is damaged or whose state is gone: that is the
 * only way to repair it. Where the damage is such that nobody can tell whether it has live
 * members, it is deleted whoever is in it. Errors: ENOENT, EEXIST (it has live members),
 * EUNKNOWN (no answer: make the call again). Any thread. One script, and one for each partition,
 * pipelined. */
SEG_API seg_status seg_group_delete(seg_client *c, const char *stream, const char *group,
                                    seg_error *err);

/* One partition in a group, as it was when asked. Members are only added at the end. */
typedef struct seg_group_partition {
    uint64_t era;
    uint64_t committed; /* offset of the first message that is not acknowledged */
    uint64_t next;      /* offset that the next message will get */
    uint64_t lag;       /* next - committed, or next - first where the group was overtaken.
                           SEG_UNKNOWN: damaged, or `committed` is past `next`, as the server lost
                           messages that were acknowledged */
    uint64_t acked;     /* messages acknowledged out of order, at or past `committed` */
    uint64_t epoch;     /* of its latest owner; 0 before the first */
    const char *owner;  /* member id; NULL where there is none */
    uint64_t first;     /* offset of the oldest message that is kept */
    uint64_t in_flight; /* messages that were delivered and are not settled, at most: how far the
                           owner is with what it fetched, the server does not know */
    uint32_t
        attempts; /* largest number of deliveries of a message that is not acknowledged: 0 where
                           none was delivered, 1 where none had to be again */
    int64_t oldest_ms; /* timestamp (ms since 1970) of the first message in the batch that holds the
                           first one not acknowledged; the latter may be younger, by what a batch
                           gathers. 0: nothing is left, or it is not known */
    uint64_t moved;    /* the epoch under which a seek moved the group here last; 0: never */
    seg_status status; /* SEG_OK, or SEG_ELOST: the partition's state or the group's place in it is
                           missing or makes no sense. The offsets, `lag`, `acked`, `in_flight` and
                           `moved` are SEG_UNKNOWN then, `attempts` and `oldest_ms` 0; `epoch` and
                           `owner` are what the group knows */
} seg_group_partition;

/* A group's members and partitions, an immutable snapshot; any thread. */
typedef struct seg_group_info seg_group_info;
/* A partition that is damaged has that in its `status` and hides no other. Errors: ENOENT
 * (stream or group), EPROTO (what the server has of the group itself makes no sense; the text
 * names the way out), ELOST (it is listed, and its state is gone: it still holds the stream
 * back, and is repaired in the same way). Any thread. One script for each partition and one for
 * the group, pipelined. On the server a partition costs a look at one batch as well; only the
 * batch's header is sent. */
SEG_API seg_status seg_group_describe(seg_group_info **out, seg_client *c, const char *stream,
                                      const char *group, seg_error *err);
SEG_API const char *seg_group_info_name(const seg_group_info *g);
SEG_API const char *seg_group_info_stream(const seg_group_info *g);
SEG_API uint32_t seg_group_info_partitions(const seg_group_info *g);
/* Messages, exact, of all partitions. SEG_UNKNOWN where that of one is. */
SEG_API uint64_t seg_group_info_lag(const seg_group_info *g);
/* The largest epoch that was given: how often a partition was granted to a member, or moved by a
 * seek, since the group was created. It only rises (but where the server lost the group's last
 * moments). */
SEG_API uint64_t seg_group_info_epoch(const seg_group_info *g);
/* NULL where `partition` is not below seg_group_info_partitions(). */
SEG_API const seg_group_partition *seg_group_info_partition(const seg_group_info *g,
                                                            uint32_t partition);
/* Its members with a live lease, in the order of their ids; `i` from 0. Past the last: NULL. */
SEG_API size_t seg_group_info_members(const seg_group_info *g);
SEG_API const char *seg_group_info_member(const seg_group_info *g, size_t i); /* its id */
SEG_API const char *seg_group_info_host(const seg_group_info *g, size_t i);   /* host name */
/* Its session timeout, and how much of its lease was left when asked; ms. Past the last: 0. */
SEG_API int64_t seg_group_info_session(const seg_group_info *g, size_t i);
SEG_API int64_t seg_group_info_lease(const seg_group_info *g, size_t i);
/* The partitions that member `i` owns, ascending; their number in `*n`. NULL and 0 past the
 * last. */
SEG_API const uint32_t *seg_group_info_owned(const seg_group_info *g, size_t i, size_t *n);
SEG_API void seg_group_info_free(seg_group_info *g);

/* One group of a listing, as it was when asked. Members are only added at the end. */
typedef struct seg_group_summary {
    const char *stream, *group;
    seg_status status; /* SEG_OK; SEG_ELOST: the group, its place in a partition, or a partition is
                            damaged, or the group is listed and its state is gone */
    uint32_t partitions; /* of the stream */
    uint32_t unowned;    /* of these, partitions that no member with a live lease owns */
    uint64_t members;    /* with a live lease; SEG_UNKNOWN where the group itself is damaged */
    uint64_t lag;   /* messages, exact, all partitions; SEG_UNKNOWN as in seg_group_partition */
    uint64_t epoch; /* seg_group_info_epoch(); SEG_UNKNOWN as `members` */
    /* Committed offsets, added up over all partitions: what it grows by between two overviews is
     * what was committed meanwhile (a seek moves it as well, also back). SEG_UNKNOWN where the
     * group's place in a partition is not known. */
    uint64_t committed;
} seg_group_summary;

/* Groups in the order of their streams and names, an immutable snapshot; any thread. */
typedef struct seg_groups seg_groups;
/* All groups of a stream, or of all streams of the namespace where `stream` is NULL. Groups and
 * streams that are deleted meanwhile are left out; of all streams also those whose settings or
 * list of groups is damaged, which seg_stream_overview tells. A group that is listed while its
 * state is gone is there, as SEG_ELOST: it still holds the stream back. The command timeout is
 * for each step of it, of 256 commands at most. Errors: ENOENT (no such stream), EPROTO (its
 * settings, or that list). Any thread. Two commands for each stream, a script for every so many
 * groups (200, with few partitions), and one for every so many groups in each partition,
 * pipelined. */
SEG_API seg_status seg_group_overview(seg_groups **out, seg_client *c, const char *stream,
                                      seg_error *err);
SEG_API size_t seg_groups_count(const seg_groups *g);
SEG_API const seg_group_summary *seg_groups_at(const seg_groups *g,
                                               size_t i); /* NULL past the end */
SEG_API void seg_groups_free(seg_groups *g);

/* ---- Moving a group ------------------------------------------------------------------------ */

typedef enum seg_seek_to {
    SEG_SEEK_START = 1, /* the oldest message that is kept */
    SEG_SEEK_END,       /* behind the newest one */
    SEG_SEEK_OFFSET,    /* the offset `value` */
    SEG_SEEK_TIME, /* the first message with a timestamp of `value` (ms since 1970) or later, taken
                           as rising along the partition */
    SEG_SEEK_BY    /* `value` messages on from where the group is; negative: back */
} seg_seek_to;

typedef struct seg_seek_options {
    size_t size;
    seg_seek_to to; /* no default */
    int64_t value;
    const uint32_t *partitions; /* only these; default: all */
    size_t n_partitions;
    bool execute;      /* do it; otherwise only plan */
    bool while_active; /* also while the group has live members: they lose what they hold, and go on
                          from the new place */
} seg_seek_options;

/* One partition's move. Members are only added at the end. */
typedef struct seg_seek_step {
    uint32_t partition;
    uint64_t era;
    uint64_t before; /* committed offset; UINT64_MAX where the group does not exist yet */
    uint64_t after;  /* cut to what the partition holds */
} seg_seek_step;

/* What a seek does, or did; an immutable snapshot, by partition; any thread. */
typedef struct seg_seek_plan seg_seek_plan;
SEG_API size_t seg_seek_plan_count(const seg_seek_plan *p);
SEG_API const seg_seek_step *seg_seek_plan_at(const seg_seek_plan *p,
                                              size_t i); /* NULL past the end */
SEG_API void seg_seek_plan_free(seg_seek_plan *p);

/* Move a group's place in a stream. All that it had acknowledged past the new place is
 * forgotten. A group that does not exist is created there, where `execute` is set. Errors:
 * ENOENT (no such stream; SEG_SEEK_BY with no group), EEXIST (the group has live members),
 * EUNKNOWN (no answer: make the call again, but for SEG_SEEK_BY look first where the group is,
 * as it would move on from there), ELOST, EPROTO (the group is damaged, see seg_group_describe).
 * Any thread. A script for each partition, and some reads for SEG_SEEK_TIME, pipelined. */
SEG_API seg_status seg_group_seek(seg_seek_plan **out, seg_client *c, const char *stream,
                                  const char *group, const seg_seek_options *opts, seg_error *err);

/* ---- Dead letters -------------------------------------------------------------------------- */

/* The dead letters of one group of one stream: the stream "<stream>.<group>.dlq", which is
 * created with the first of them (one partition, 1000000 messages, policy block), or before by
 * whoever wants other settings. Its group "dlq" is what is still there: a letter that is
 * replayed or dropped is acknowledged by it. */
typedef struct seg_dlq seg_dlq;

/* One dead letter. Members are only added at the end. */
typedef struct seg_letter {
    seg_position at;     /* its place in the dead letters: what replay and drop take */
    seg_position origin; /* where it came from */
    uint32_t attempts;
    const char *reason; /* "rejected", "max-attempts", "ack-timeout" or "crashed" */
    const char *error;  /* the last reason that the application gave; "" where there is none */
    int64_t first_failed, last_failed; /* ms since 1970 */
    const seg_message *message;        /* as it was, without the headers that make a dead letter */
    const char
        *replaying; /* to this stream, by a replay that was interrupted: the next replay or drop
                              finishes it. NULL mostly */
} seg_letter;

/* Errors: ENOENT (no such stream; no such dead letters: nothing was ever dead-lettered). One
 * thread at a time for the handle. Two scripts. */
SEG_API seg_status seg_dlq_open(seg_dlq **out, seg_client *c, const char *stream, const char *group,
                                seg_error *err);

/* The next letter, in the order of its partition, of what is there; `*out` is NULL past the
 * last. Borrowed until the next call for the handle. Takes no part in any group and changes
 * nothing. A read now and then. Errors: ENOENT (deleted), ELOST. */
SEG_API seg_status seg_dlq_next(const seg_letter **out, seg_dlq *q, seg_error *err);
/* Begin again with the first. */
SEG_API void seg_dlq_rewind(seg_dlq *q);

/* Send letters to the stream `to` (NULL: where they came from) and remove them here: each is in
 * one of both places in the end, once, also where this is interrupted anywhere and called again.
 * `done`: how many, also on failure. Those that are not there (any more) are passed over.
 * Errors: EEXIST (somebody else is at it; one who died at it is waited for, 6 s at most), EFULL
 * and ETIMEDOUT (what was begun is finished by the next call), ENOENT (no such stream), EPROTO
 * (a letter that no stream takes: drop it), ELOST. Waits. */
SEG_API seg_status seg_dlq_replay(seg_dlq *q, const seg_position *at, size_t n, const char *to,
                                  size_t *done, seg_error *err);
/* Remove letters. As seg_dlq_replay. */
SEG_API seg_status seg_dlq_drop(seg_dlq *q, const seg_position *at, size_t n, size_t *done,
                                seg_error *err);
SEG_API void seg_dlq_close(seg_dlq *q);

/* ---- The server ---------------------------------------------------------------------------- */

/* What the server tells of itself, its settings and its user's rights, an immutable snapshot;
 * any thread. Whatever the user may not ask, or a managed server hides, is unknown, and fails
 * nothing. Of NULL all is unknown, and there are no rights. */
typedef struct seg_server_info seg_server_info;
/* Errors: the client's. Any thread. Some dozens of small commands, among them INFO, in eight round
 * trips. */
SEG_API seg_status seg_server_describe(seg_server_info **out, seg_client *c, seg_error *err);
SEG_API void seg_server_info_free(seg_server_info *s);

/* The text of a field of INFO ("maxmemory_policy"), of a setting ("maxmemory-policy", as CONFIG GET
 * names it). NULL: unknown, or one that is not asked for. */
SEG_API const char *seg_server_info_get(const seg_server_info *s, const char *field);
SEG_API const char *seg_server_info_config(const seg_server_info *s, const char *setting);
/* The name that the connection is authenticated as, "default"; NULL: unknown. */
SEG_API const char *seg_server_info_user(const seg_server_info *s);
/* A PING and its answer, the quickest of three, in us; -1: unknown. Other requests of this client
 * that are under way are waited for. */
SEG_API int64_t seg_server_info_round_trip(const seg_server_info *s);
/* How far the server's clock is ahead of ours (negative: behind), in ms, and how far off that may
 * be. False: unknown. Either out may be NULL. */
SEG_API bool seg_server_info_clock(const seg_server_info *s, int64_t *ahead, int64_t *off);

typedef enum seg_known { SEG_MAYBE = 0, SEG_YES, SEG_NO } seg_known;

/* May the default user do all that we write? A server that loads its AOF does that as this user,
 * and leaves out what it may not: with appendonly on, SEG_NO means that a restart loses what was
 * written. seg_client_open refuses such a server where it can see it. Asked by ACL DRYRUN. */
SEG_API seg_known seg_server_info_default_user_fit(const seg_server_info *s);

/* One right that the library needs of the server's user, in this client's namespace. Members are
 * only added at the end. */
typedef struct seg_right {
    const char *rule;    /* as ACL SETUSER grants it: "+hset", "~sg:{orders}:*" */
    const char *purpose; /* what it is for, in some words */
    bool optional;       /* the library does without it, worse in the way that `purpose` tells */
    bool reading;        /* those who only look need it too: see SEG_RIGHTS_READ */
    seg_known granted;
} seg_right;
/* All of them, `i` from 0; NULL past the last. */
SEG_API const seg_right *seg_server_info_right(const seg_server_info *s, size_t i);
/* Those that are not granted (`granted` is SEG_NO). */
SEG_API const seg_right *seg_server_info_missing(const seg_server_info *s, size_t i);

typedef enum seg_rights {
    SEG_RIGHTS_ALL = 0, /* all that this library and its command do */
    SEG_RIGHTS_READ     /* looking: lists, descriptions, dead letters; no write to anything */
} seg_rights;

#define SEG_RULE_MAX 2048 /* bytes that hold every rule, with its end */

/* Write to `out`, of `cap` bytes, the least rule for a user who works in a namespace and in no
 * other, for ACL SETUSER NAME on >PASSWORD RULE. It takes away whatever else the user had. Errors:
 * EINVAL (also where it does not fit). Any thread. No server operation. */
SEG_API seg_status seg_rights_rule(char *out, size_t cap, const char *name_space, seg_rights which,
                                   seg_error *err);

#if defined(__cplusplus)
}
#endif
#endif
