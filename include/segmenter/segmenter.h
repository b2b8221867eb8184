/* segmenter.h - partitioned streams and consumer groups on Redis or Valkey.
 *
 * A stream is split into partitions. A message's key picks its partition, so messages of one key
 * stay in order. Each consumer group gives every partition to exactly one live consumer, which
 * gets its messages in order, acknowledges them, and hands the partition over when it leaves,
 * crashes, or another consumer joins. docs/guarantees.md says what is promised and what is not.
 *
 *     client ──┬── producer ──> stream: partition 0 │ 0 1 2 3 4 5 6 ...   offsets
 *              │                        partition 1 │ 0 1 2 3 ...
 *              └── consumer <── group ──┘ (owner, epoch, committed offset of each partition)
 *
 * What operators and tools need (looking, moving, repairing) is in admin.h,
 * and what joins messages to distributed traces in trace.h; this includes both.
 *
 * Ownership  Each seg_X_open() is matched by one seg_X_close(); each function with an `out`
 *            object by that object's _free(). Both accept NULL. Every other returned pointer is
 *            borrowed from the object that it was asked of, and dies with it.
 * Inputs     Copied before the call returns; nothing has to outlive it.
 * Options    Structs whose first member is `size`: set them with SEG_INIT(&opts), then assign
 *            what differs. Zero or NULL means the default. New members only come at the end; a
 *            member that this library is too old to know, set to non-zero, is SEG_EINVAL.
 * Errors     SEG_OK is 0. `out` is written only on success, `err` (the last parameter, may be
 *            NULL) only on failure. The text is for people: the fault first, then the way out.
 *            Every function that takes `err` can also return SEG_EINVAL for a NULL or malformed
 *            argument and SEG_ENOMEM; those are not repeated below.
 * Threads    client: any thread. producer: seg_send, seg_send_async and seg_forward from any
 *            thread; poll and flush from one at a time. consumer: one thread at a time, except
 *            settling (seg_ack, seg_settle, seg_forward), seg_consumer_pause, seg_consumer_stop
 *            and the plain questions (active, member, assignment, counters).
 *            A breach returns SEG_EBUSY where the function returns a status, and is undefined
 *            where it does not (the closes and frees). Handles do not survive fork().
 * Callbacks  Run only inside a poll, flush, run or close call, on its thread, with no lock held;
 *            only the log callback may run on any thread, and handlers run on the threads of
 *            seg_consumer_run. They may call anything but poll, flush, run and close on the
 *            handle that called them.
 * Time       Milliseconds, int64_t. A wait of 0 does not block; SEG_FOREVER never gives up.
 *            Time stamps of messages are milliseconds since 1970-01-01 UTC.
 * Names      Namespaces, streams, groups and members: 1 to 200 of [A-Za-z0-9._-].
 * Outcomes   A call that failed was certainly not done, except where its status is SEG_EUNKNOWN:
 *            then the server may or may not have done it. */
#ifndef SEGMENTER_SEGMENTER_H
#define SEGMENTER_SEGMENTER_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <segmenter/version.h>

#if defined(__cplusplus)
extern "C" {
#endif

/* ---- Status ------------------------------------------------------------------------------- */

/* Name, value, retriable, text. Values are permanent; new ones are added at the end.
 * Retriable: the same call, made again later, can succeed with nothing else changed. */
#define SEG_STATUS_MAP(X)                                                                          \
    X(OK, 0, false, "success")                                                                     \
    X(ENOMEM, 1, false, "out of memory")                                                           \
    X(EINVAL, 2, false, "invalid argument or option")                                              \
    X(ENOENT, 3, false, "no such stream or group")                                                 \
    X(EEXIST, 4, false, "exists with other settings, or is in use")                                \
    X(EBUSY, 5, false, "handle is in use on another thread")                                       \
    X(ETIMEDOUT, 6, true, "timed out")                                                             \
    X(ECONN, 7, true, "no connection to the server")                                               \
    X(EFULL, 8, true, "stream or producer queue is full")                                          \
    X(EFENCED, 9, false, "partition has moved to another member")                                  \
    X(ECLOSED, 10, false, "handle is closing")                                                     \
    X(ESERVER, 11, false, "server refused the command")                                            \
    X(EPROTO, 12, false, "stored data is not ours")                                                \
    X(ELOST, 13, false, "the server lost data that it had acknowledged")                           \
    X(EUNKNOWN, 14, false, "the outcome is unknown")                                               \
    X(EACCES, 15, false, "the server's user may not do this")                                      \
    X(EOOM, 16, true, "the server is out of memory")

typedef enum seg_status {
#define X(name, value, retriable, text) SEG_##name = value,
    SEG_STATUS_MAP(X)
#undef X
} seg_status;

/* What went wrong. The caller's storage; the layout is frozen. */
typedef struct seg_error {
    seg_status status;
    char text[508]; /* NUL-terminated, no newline, cut to fit */
} seg_error;

SEG_API const char *seg_status_name(seg_status s); /* "ETIMEDOUT"; "?" for an unknown value */
SEG_API const char *seg_status_text(seg_status s); /* "timed out" */
SEG_API bool seg_status_retriable(seg_status s);

/* ---- Options ------------------------------------------------------------------------------ */

#define SEG_FOREVER       INT64_MAX
#define SEG_INIT(options) seg_init((options), sizeof *(options))

/* Zero an options struct or record of `size` bytes and set its `size` member. */
SEG_API void seg_init(void *options, size_t size);

/* ---- Plain values ------------------------------------------------------------------------- */

/* Bytes of somebody else. The layout is frozen. */
typedef struct seg_bytes {
    const void *data; /* may be NULL where len is 0 */
    size_t len;
} seg_bytes;

/* In place of a number that cannot be told, because the server lost what it is made of. */
#define SEG_UNKNOWN UINT64_MAX

/* A message's place in its partition. Ordered by era, then offset. The layout is frozen. */
typedef struct seg_id {
    uint64_t era;    /* generation of the partition's log: 1, later the time when it began (ms) */
    uint64_t offset; /* 0, 1, 2 ... */
} seg_id;

/* Where a sent message was stored. The offset is UINT64_MAX where it is stored, but the server was
 * asked so late, after a lost answer, that it no longer knows where. The layout is frozen. */
typedef struct seg_position {
    seg_id id;
    uint32_t partition;
} seg_position;

/* One delivery of one message: copy it, acknowledge it later. The layout is frozen. */
typedef struct seg_delivery {
    seg_id id;
    uint64_t epoch; /* of the ownership under which it was delivered: grows with each new owner
                       of the partition, so it can fence writes to other systems as well */
    uint32_t partition;
    uint32_t attempt; /* 1 at first, one more with each delivery to the group: also across crashes,
                         where it may be too large by one for each, never too small. A delivery
                         that is given back unhandled (SEG_RELEASE) does not count. */
} seg_delivery;

/* ---- Client ------------------------------------------------------------------------------- */

typedef struct seg_client seg_client;

typedef enum seg_log_level {
    SEG_LOG_ERROR = 0,
    SEG_LOG_WARN,
    SEG_LOG_INFO,
    SEG_LOG_DEBUG
} seg_log_level;

/* `event` is a stable word ("connected", "rebalance"), `text` a sentence. Runs on any thread,
 * also the library's own, and one of the application's that waits in a call of this library, one
 * call at a time: be quick, take no lock that is held around such a call, and call nothing of this
 * library. */
typedef void seg_log_fn(seg_log_level level, const char *event, const char *text, void *arg);

typedef struct seg_client_options {
    size_t size;
    const char *url;         /* redis://[user[:password]@]host[:port][/db] or
                                unix://[user[:password]@]/path[?db=n]; user, password and path may
                                be %-encoded. Default
                                "redis://127.0.0.1:6379" */
    const char *name_space;  /* a logical container of streams; default "default" */
    int64_t connect_timeout; /* for one connection, with its handshake; default 5000 */
    int64_t command_timeout; /* for one answer of the server; default 5000 */
    seg_log_fn *log;         /* default: silent. The library never prints. */
    void *log_arg;
    /* The least important level that is logged; default SEG_LOG_ERROR. SEG_LOG_DEBUG tells of each
     * request to the server (event "request"): its name, size, time; never what is in it. */
    seg_log_level log_level;
    const struct seg_tracer *tracer; /* trace.h; copied. Default: none */
} seg_client_options;

/* Connect and check the server: Redis 7.0 or Valkey 7.2 at least, a primary, and a
 * maxmemory-policy that evicts nothing of ours (noeviction or volatile-*, where maxmemory is
 * set). Starts one background thread. Later disconnections are mended by it, with backoff.
 * Errors: ECONN (names the address), EACCES (wrong password, missing right), ESERVER (too old,
 * read-only, evicting: names the setting), ETIMEDOUT.
 * Any thread. Costs one connection and a handful of commands. */
SEG_API seg_status seg_client_open(seg_client **out, const seg_client_options *opts,
                                   seg_error *err);

/* Close the connections. Close its producers and consumers before: those still open are cut off,
 * their calls return SEG_ECLOSED, and they must still be closed; the background thread ends with
 * the last of them. Never waits for the server. */
SEG_API void seg_client_close(seg_client *c);

/* The server as it introduced itself, "redis 7.0.15" or "valkey 8.0.1". Any thread. */
SEG_API const char *seg_client_server(const seg_client *c);

/* All its connections, since open; handshakes are not counted as requests. Set `size` with
 * SEG_INIT. Any thread. No server operation, no lock. */
typedef struct seg_client_stats {
    size_t size;
    uint64_t connections;         /* now: that are up */
    uint64_t reconnects;          /* times that one which was lost came up again */
    uint64_t connect_failures;    /* attempts that failed */
    uint64_t bytes_out, bytes_in; /* sent and received */
    uint64_t requests;            /* a transaction counts as one */
    uint64_t refusals;            /* requests that the server answered with an error */
    uint64_t lost;                /* requests whose connection ended before the answer */
    uint64_t under_way;           /* now: requests without an answer */
} seg_client_stats;
SEG_API void seg_client_get_stats(const seg_client *c, seg_client_stats *out);

/* ---- Streams ------------------------------------------------------------------------------ */

/* What an append does when every message that its bound leaves room for is still unread. */
typedef enum seg_on_full {
    SEG_BLOCK = 0,  /* the producer keeps it and tries again until its delivery timeout */
    SEG_FAIL,       /* "reject": the send fails at once with SEG_EFULL */
    SEG_DROP_OLDEST /* the oldest messages make room, read or not: a ring buffer */
} seg_on_full;

typedef struct seg_stream_options {
    size_t size;
    uint32_t partitions; /* 1 to 4096; no default */
    /* The size: messages kept for each partition; 1 to 2^40; default 100000. */
    uint64_t max_messages;
    seg_on_full on_full;
    bool accept_existing; /* an existing stream is success whatever its settings are */
} seg_stream_options;

/* Register a stream. Its settings are fixed then. Creating it again with the same settings is
 * success. Errors: EEXIST (other settings; the text names both; or it is being deleted), EUNKNOWN
 * (no answer: make the call again), ECONN, ETIMEDOUT (nothing was asked yet), EACCES, ESERVER. Any
 * thread. One script, and one for each partition, pipelined. */
SEG_API seg_status seg_stream_create(seg_client *c, const char *stream,
                                     const seg_stream_options *opts, seg_error *err);

/* Delete a stream with its messages and groups. Its producers and consumers get SEG_ENOENT, at
 * their next send and heartbeat. Errors: ENOENT, EUNKNOWN (no answer: make the call again). Any
 * thread. One script, and one for each partition, pipelined. */
SEG_API seg_status seg_stream_delete(seg_client *c, const char *stream, seg_error *err);

/* "block", "reject", "drop-oldest"; NULL for an unknown value. */
SEG_API const char *seg_on_full_name(seg_on_full policy);

/* The hash of a key: FNV-1a, 32 bits, of its bytes. */
SEG_API uint32_t seg_hash_of(seg_bytes key);
/* The partition of a key: its hash modulo `partitions` (which is not 0). */
SEG_API uint32_t seg_partition_of(seg_bytes key, uint32_t partitions);

/* ---- Loss ----------------------------------------------------------------------------------- */

/* A server that crashes, is restored, or is replaced by a replica may lose what it had acknowledged
 * (see docs/guarantees.md). Then a new era begins in each partition with its next message: no offset
 * of an era is ever given to another message. Whoever knows of what is gone is told, before anything
 * else is delivered or sent, and goes on. */
typedef enum seg_loss_what {
    /* The messages first .. end - 1, which this producer had sent, or this consumer had read, are
     * gone; all before them are there. The newest was of `era`, others may be of older ones. */
    SEG_LOST_MESSAGES = 1,
    /* The group had acknowledged up to `end`, and the server knows only of what is before `first`:
     * what lies between may be delivered again. */
    SEG_LOST_ACKS
} seg_loss_what;

/* What was lost of one partition. Members are only added at the end. */
typedef struct seg_loss {
    seg_loss_what what;
    uint32_t partition;
    uint64_t era, first, end;
} seg_loss;

/* Run by the calls that run the other callbacks. */
typedef void seg_loss_fn(const seg_loss *loss, void *arg);

/* ---- Producer ----------------------------------------------------------------------------- */

/* A message to send. */
typedef struct seg_record {
    size_t size;
    seg_bytes key;            /* at most 64 KiB; empty: partitions take turns, batch by batch */
    seg_bytes value;          /* at most the producer's max_message, with key and headers */
    const seg_bytes *headers; /* name, value, name, value ... in order, names may repeat */
    size_t n_headers;         /* pairs */
    int64_t timestamp;        /* ms since 1970; 0: now */
    const uint32_t
        *partition; /* goes there, whatever its key says; NULL: by the key. A partition that
                                  the stream does not have is EINVAL. Consumers keep the order of a
                                  key only within one partition. Not for seg_forward (EINVAL) */
    bool
        exact_timestamp; /* take `timestamp` as it is, also 0 and those before 1970, which is what a
                             copy of another message needs. Without it a negative one is EINVAL */
} seg_record;

/* How a producer's batches are compressed, on the way to the server and on it. Consumers read any,
 * with no option. Batches that do not get smaller are stored plain. Values are permanent: they
 * are those in the batches (docs/protocol.md). */
typedef enum seg_codec {
    SEG_PLAIN = 0,
    SEG_LZ4, /* costs little time */
    SEG_ZSTD /* takes less room */
} seg_codec;

/* "plain", "lz4", "zstd"; NULL for an unknown value. */
SEG_API const char *seg_codec_name(seg_codec codec);

typedef struct seg_producer seg_producer;

typedef struct seg_producer_options {
    size_t size;
    int64_t linger;           /* how long a batch waits for more messages; default 0: only while
                                 the batches before it are under way */
    int64_t delivery_timeout; /* from send to outcome; default 120000; SEG_FOREVER */
    size_t max_batch;         /* bytes of one batch; 1 KiB to 64 MiB; default 261632, which fills a
                                 piece of the server's memory. A message that is larger travels
                                 alone. */
    size_t max_message;       /* bytes of key, value and headers; default 1 MiB; up to 64 MiB */
    size_t max_queued;        /* bytes of all that is not yet acknowledged; default 32 MiB */
    seg_loss_fn *on_loss; /* run by poll, flush and close. Without it a send ends with ELOST, once
                                 for each loss: the next one, or the first that waits */
    void *loss_arg;
    seg_codec codec; /* default SEG_PLAIN. Compressed by the background thread, batch by batch:
                        max_batch, and max_queued, are bytes before that */
} seg_producer_options;

/* Errors: ENOENT (no such stream), EACCES (a right is missing), and the client's.
 * Any thread. Two commands. */
SEG_API seg_status seg_producer_open(seg_producer **out, seg_client *c, const char *stream,
                                     const seg_producer_options *opts, seg_error *err);

/* Send and wait for the outcome: at most the delivery timeout for room in the queue, and as long
 * for the outcome. `where` may be NULL. Errors: EFULL (policy reject; or the queue was full, or
 * with policy block the stream, until the delivery timeout), ETIMEDOUT (never reached the server),
 * EUNKNOWN (the answer did not come in time), ENOENT (stream deleted), ELOST, EOOM, EACCES,
 * ESERVER, ECLOSED. Any thread, also many at once: their messages share batches. */
SEG_API seg_status seg_send(seg_producer *p, const seg_record *r, seg_position *where,
                            seg_error *err);

/* The outcome of one seg_send_async. `where` is NULL and `err` is set where it failed. */
typedef void seg_sent_fn(seg_status status, const seg_position *where, const seg_error *err,
                         void *arg);

/* Queue a message. SEG_OK promises exactly one call of `done` (may be NULL) with the outcome, from
 * a later poll, flush or close; any other status promises none. Messages of one key are
 * stored in the order of their calls: where one fails, those queued behind it are stored after it
 * would have been, or fail too. Errors: EFULL (max_queued reached: poll, then call again),
 * ECLOSED, ENOENT, ELOST. Any thread. Never blocks. No server operation of its own: a batch is
 * one transaction. */
SEG_API seg_status seg_send_async(seg_producer *p, const seg_record *r, seg_sent_fn *done,
                                  void *arg, seg_error *err);

/* Run the callbacks of what has finished; wait for the first at most `wait` ms while anything is
 * under way. SEG_OK, also where there was nothing. Errors: EBUSY (another thread polls or
 * flushes, or this is a callback). One thread at a time. No server operation. */
SEG_API seg_status seg_producer_poll(seg_producer *p, int64_t wait, seg_error *err);

/* Send what lingers and wait, at most `wait` ms, until everything queued before has an outcome,
 * running the callbacks. A message that failed is no error of the flush: its callback tells.
 * Errors: ETIMEDOUT (something is still under way), EBUSY as for poll. One thread at a time. No
 * server operation of its own. */
SEG_API seg_status seg_producer_flush(seg_producer *p, int64_t wait, seg_error *err);

/* Sent, failed, waiting: messages since open. Set `size` with SEG_INIT. Any thread. */
typedef struct seg_producer_stats {
    size_t size;
    uint64_t stored, failed, queued, batches, retries, full; /* full: FULL answers */
    uint64_t queued_bytes;
    uint64_t losses;       /* times that it was found out that the server had lost something */
    uint64_t stored_bytes; /* of messages, as they are in batches before compression */
    uint64_t batch_bytes;  /* of `batches`, as they go to the log, those sent again too */
    uint64_t duplicates;   /* batches that were sent again and turned out to be stored */
    uint64_t fenced;       /* forwarded messages that a later owner of their input has to send */
} seg_producer_stats;
SEG_API void seg_producer_get_stats(const seg_producer *p, seg_producer_stats *out);

/* A descriptor for poll(2) and event loops, readable exactly while seg_producer_poll has
 * callbacks to run. Only wait on it; it is closed with the producer. -1: none to be had. Any
 * thread. */
SEG_API int seg_producer_fd(seg_producer *p);

/* Close; what is still unsent gets SEG_ECLOSED, what is under way and unanswered SEG_EUNKNOWN, by
 * their callbacks, in this call. Flush before, if it must arrive. Never waits for the server. */
SEG_API void seg_producer_close(seg_producer *p);

/* ---- Consumer ----------------------------------------------------------------------------- */

typedef struct seg_consumer seg_consumer;

typedef enum seg_rebalance {
    SEG_ASSIGNED = 1, /* these partitions are this consumer's now */
    SEG_REVOKED,      /* they will be handed over: no more is delivered from them; what was
                         delivered can be settled until the drain timeout. From seg_consumer_close:
                         they have been handed over. */
    SEG_LOST          /* they are another member's already: acknowledging fails with EFENCED */
} seg_rebalance;

typedef void seg_rebalance_fn(seg_rebalance what, const uint32_t *partitions, size_t n, void *arg);

/* `count` messages from `first` on were dropped from the stream before this group read them (the
 * policy drop-oldest), and will not be delivered. */
typedef void seg_overtaken_fn(uint32_t partition, seg_id first, uint64_t count, void *arg);

/* Where a group starts that a consumer creates. */
typedef enum seg_start {
    SEG_EARLIEST = 0, /* at the oldest message that is kept */
    SEG_LATEST,       /* behind the newest one */
    SEG_AT_OFFSET,    /* at the offset start_at in every partition, or the nearest there is */
    SEG_AT_TIME /* at the first message whose timestamp is start_at (ms since 1970) or later */
} seg_start;

/* What waits while a message waits for its retry. */
typedef enum seg_ordering {
    SEG_BY_KEY = 0,   /* the later messages of its key; those without a key wait for nothing */
    SEG_BY_PARTITION, /* the later messages of its partition */
    SEG_UNORDERED     /* nothing */
} seg_ordering;

typedef struct seg_consumer_options {
    size_t size;
    const char *group;       /* created on first use; no default */
    const char *name;        /* member id, unique in the group; default random. A newer consumer of
                                the same name replaces the older one, which gets EFENCED. */
    int64_t session_timeout; /* a member not heard of for so long is dead; 100 to 3600000;
                                default 10000 */
    int64_t ack_timeout;     /* a message not acknowledged in time is delivered again; at least
                                10; default 30000; SEG_FOREVER */
    int64_t drain_timeout;   /* how long a hand-over waits for what is in flight; default 10000;
                                negative: not at all */
    seg_start start;         /* where a group starts that this consumer creates */
    size_t max_prefetch;     /* bytes fetched ahead of poll, decompressed; default 8 MiB; at least
                                64 KiB */
    uint32_t max_in_flight;  /* messages of one partition delivered past the first that is not
                                acknowledged; default 16384; up to 65536 */
    seg_rebalance_fn *on_rebalance; /* run by poll and close */
    void *rebalance_arg;
    seg_overtaken_fn *on_overtaken; /* run by poll */
    void *overtaken_arg;
    int64_t start_at;     /* of SEG_AT_OFFSET and SEG_AT_TIME */
    const char *instance; /* a static member: its name, as `name`, and closing it does not leave the
                              group: for one session timeout its partitions wait for a consumer of
                              the same instance, and nothing moves. Not together with `name`. */
    seg_ordering ordering; /* default SEG_BY_KEY */
    uint32_t max_attempts; /* a message that has failed so often is dead-lettered; default 0: never.
                              It counts as failed when it is settled with SEG_RETRY, when its ack
                              timeout runs out, and when its consumer dies with it. */
    int64_t retry_delay; /* before the second attempt; doubles with each further one, less a random
                              part of up to a half; default 100 */
    int64_t retry_delay_max; /* default 30000 */
    size_t max_parked;       /* bytes of messages that are delivered or wait behind others, and not
                                  settled, shared evenly by the partitions owned: past its share a
                                  partition is not read on; default 64 MiB; at least 64 KiB */
    int64_t max_poll_interval; /* a consumer whose application takes nothing for so long, while
                                  messages wait, gives its partitions back and joins again with its
                                  next poll; at least 100; default 300000; SEG_FOREVER */
    seg_loss_fn *on_loss; /* run by poll and seg_consumer_run. Without it the next poll, or the run,
                             ends with ELOST, once for each loss, and the one after that goes on */
    void *loss_arg;
} seg_consumer_options;

/* Join `group` on `stream`; the group is created on first use. Returns once the member is known to
 * the server; partitions come while polling. Errors: ENOENT (no such stream), ELOST, and the
 * client's. Any thread. One script, and one for each partition where the group is new (with
 * SEG_AT_TIME a search in each before, of some reads). */
SEG_API seg_status seg_consumer_open(seg_consumer **out, seg_client *c, const char *stream,
                                     const seg_consumer_options *opts, seg_error *err);

/* A delivered message, part of its batch: read from any thread while the batch lives. */
typedef struct seg_message seg_message;
/* Empty where it was sent without a key. */
SEG_API seg_bytes seg_message_key(const seg_message *m);
SEG_API seg_bytes seg_message_value(const seg_message *m);
SEG_API int64_t
seg_message_timestamp(const seg_message *m); /* ms since 1970, as the producer set it */
SEG_API size_t seg_message_headers(const seg_message *m); /* pairs */
/* Header `i`; either out may be NULL. False past the end. */
SEG_API bool seg_message_header(const seg_message *m, size_t i, seg_bytes *name, seg_bytes *value);
/* Its place, epoch and attempt: what seg_ack takes. A plain value, to keep beyond the batch. */
SEG_API seg_delivery seg_message_delivery(const seg_message *m);

/* Messages that one poll returned. Reading it needs no lock; one thread at a time frees it. Its
 * messages live until it is freed, also after they were acknowledged or the consumer closed. */
typedef struct seg_batch seg_batch;
SEG_API size_t seg_batch_count(const seg_batch *b);                    /* 0 for NULL */
SEG_API const seg_message *seg_batch_at(const seg_batch *b, size_t i); /* NULL past the end */
SEG_API void seg_batch_free(seg_batch *b);                             /* acknowledges nothing */

/* Return up to `max` (1 to 1000000) messages, waiting for the first at most `wait`; the batch
 * may be empty. Those of one key (or of one partition, or none: see seg_ordering) come in offset
 * order: no message is returned while an earlier one waits for its retry. One that is in the
 * application's hands does not hold up others: after SEG_RETRY settle the later messages of its
 * key that you hold with SEG_RELEASE, unhandled, and they come again in order. Runs the
 * callbacks. `*out` is always set on SEG_OK. Errors, each meaning that this consumer is over,
 * has left its group and wants closing: ENOENT (stream or group deleted), ELOST (a part of the
 * stream's data is missing), EFENCED (replaced by a newer consumer of its name), ECLOSED (after
 * seg_consumer_stop), EACCES, ESERVER, EPROTO. Not so where on_loss is NULL: then one ELOST tells of
 * a loss, and the next poll goes on. A lost connection is no error: poll returns empty batches and
 * the consumer reconnects. One thread at a time (SEG_EBUSY). */
SEG_API seg_status seg_consumer_poll(seg_batch **out, seg_consumer *c, size_t max, int64_t wait,
                                     seg_error *err);

/* Acknowledge `n` deliveries, in any order. Queued: the background thread commits it at once,
 * seg_consumer_commit waits for that. A delivery that is acknowledged already is no error.
 * Errors: EFENCED (at least one belongs to a partition that this consumer no longer owns; the
 * others are acknowledged), EINVAL (a message that was never delivered). Any thread. Never
 * blocks: commits are scripts of the background thread, at most one under way for each
 * partition. */
SEG_API seg_status seg_ack(seg_consumer *c, const seg_delivery *d, size_t n, seg_error *err);

/* seg_ack for all messages of a batch. Any thread. */
SEG_API seg_status seg_ack_batch(seg_consumer *c, const seg_batch *b, seg_error *err);

/* The fate of a delivery. */
typedef enum seg_verdict {
    SEG_ACK = 1, /* done */
    SEG_RETRY,   /* failed: deliver it again after a delay, or dead-letter it after max_attempts */
    SEG_RELEASE, /* not handled: deliver it again in its turn; the attempt does not count */
    SEG_REJECT,  /* hopeless: to the dead letters, now */
    SEG_EXTEND,  /* still at work: the ack timeout begins anew */
    SEG_DEFER    /* from a handler: seg_settle will be called later. Not for seg_settle itself. */
} seg_verdict;

typedef struct seg_settlement {
    size_t size;
    int64_t delay; /* SEG_RETRY: ms until it comes again; 0: by retry_delay; negative: at once.
                           SEG_EXTEND: ms from now; 0: ack_timeout */
    const char
        *reason; /* SEG_RETRY, SEG_REJECT: for people, kept with the dead letter; the first 255
                           bytes */
} seg_settlement;

/* Settle `n` deliveries; `how` may be NULL. Queued, like seg_ack. Dead letters go to the stream
 * "<stream>.<group>.dlq", each once; until one is stored there its message stays unsettled.
 * Errors: EFENCED (at least one is not in this consumer's hands any more: its partition moved,
 * or its ack timeout ran out and the verdict was not final; the others are settled), EINVAL (one
 * was never delivered; SEG_DEFER; SEG_REJECT where the dead letters' name would be longer than
 * 200). Any thread. Never blocks. */
SEG_API seg_status seg_settle(seg_consumer *c, const seg_delivery *d, size_t n, seg_verdict verdict,
                              const seg_settlement *how, seg_error *err);

/* Send a message that results from the delivery `d`, exactly once: however often the delivery is
 * repeated, by whichever consumer, after whichever crash, the producer's stream gets it once.
 * The delivery's SEG_ACK takes effect once all that was forwarded for it is stored; settle it
 * after the last call. What the application must keep: the same input gives the same outputs
 * (key, value, headers; timestamps are set from the input's where 0) in the same order of calls.
 * Another output in the place of a stored one is found and refused: the delivery then fails as
 * with SEG_RETRY, and event "forward-differs" is logged. Plain
 * messages of this producer behind it wait with it. A forwarded message is tried until it
 * is stored: it knows no delivery timeout. seg_group_seek makes all outputs after it new ones.
 * Errors: EFENCED (the partition has moved), EINVAL (not in flight), EFULL (no room in the
 * producer's queue within its delivery timeout), and seg_send_async's. Any thread; waits for
 * room. */
SEG_API seg_status seg_forward(seg_consumer *c, const seg_delivery *d, seg_producer *p,
                               const seg_record *r, seg_error *err);

/* ---- Handlers ----------------------------------------------------------------------------- */

/* Handle one message; return its fate, with details in `how` (zeroed before; copied after). The
 * message lives until the handler returns. */
typedef seg_verdict seg_handler_fn(const seg_message *m, seg_settlement *how, void *arg);

typedef struct seg_run_options {
    size_t size;
    seg_handler_fn *handler; /* no default; runs on the workers' threads, many at once */
    void *arg;
    uint32_t workers; /* threads; default 1; up to 1024 */
} seg_run_options;

/* Poll, handle and settle until stopped. Messages of one key are handled one after another (of
 * one partition with SEG_BY_PARTITION), all others in parallel, however many partitions there
 * are. The ack timeout does not run while a handler runs: only for what it deferred. Callbacks
 * run on the calling thread. Returns SEG_OK after seg_consumer_stop, when the handlers under way
 * have returned and their verdicts are stored or command_timeout has passed; and poll's errors.
 * It can be run again, but not polled (EINVAL), and has to be closed. One thread at a time, in
 * the place of polling. */
SEG_API seg_status seg_consumer_run(seg_consumer *c, const seg_run_options *opts, seg_error *err);

/* ---- Flow ---------------------------------------------------------------------------------- */

#define SEG_ALL_PARTITIONS UINT32_MAX

/* Deliver nothing more from a partition (or all) until it is resumed; its ownership, what is in
 * flight and heartbeats go on. Kept while the partition is elsewhere. EINVAL: no such partition.
 * Any thread. */
SEG_API seg_status seg_consumer_pause(seg_consumer *c, uint32_t partition, bool paused,
                                      seg_error *err);
/* Is this partition paused (SEG_ALL_PARTITIONS: are all)? Any thread. */
SEG_API bool seg_consumer_paused(const seg_consumer *c, uint32_t partition);

/* A descriptor for poll(2) and event loops, readable exactly while seg_consumer_poll has
 * something to do: a message, a callback, an end. Only wait on it; it is closed with the
 * consumer. -1: none to be had. Any thread. */
SEG_API int seg_consumer_fd(seg_consumer *c);

/* Wait until the server has stored every acknowledgement made so far: none of these messages is
 * delivered to the group again. Errors: ETIMEDOUT, EFENCED (a partition moved before), and poll's.
 * Any thread. */
SEG_API seg_status seg_consumer_commit(seg_consumer *c, int64_t wait, seg_error *err);

/* True while the member is known to the server and its lease runs. Any thread. */
SEG_API bool seg_consumer_active(const seg_consumer *c);

/* Its member id. Any thread. */
SEG_API const char *seg_consumer_member(const seg_consumer *c);

/* Write up to `cap` of the partitions it owns to `out` (may be NULL where cap is 0), ascending;
 * returns how many there are. Any thread. No server operation. */
SEG_API size_t seg_consumer_assignment(const seg_consumer *c, uint32_t *out, size_t cap);

/* Counters since open: set `size` with SEG_INIT. Any thread. */
typedef struct seg_consumer_stats {
    size_t size;
    uint64_t delivered, redelivered, acked; /* messages */
    uint64_t overtaken;                     /* messages dropped before this consumer read them */
    uint64_t foreign;                       /* log entries that were not ours, skipped */
    uint64_t fenced;                        /* commits that the server refused */
    uint64_t rebalances;                    /* partitions gained and lost */
    uint64_t prefetched_bytes;              /* now */
    uint64_t retried, rejected;             /* verdicts */
    uint64_t dead_lettered;                 /* messages stored with the dead letters */
    uint64_t forwarded;                     /* messages stored by seg_forward */
    uint64_t parked;                        /* now: messages that wait for a retry, or behind one */
    uint64_t parked_bytes;                  /* now: what counts against max_parked */
    /* Now: partitions that are not read on, as the first unsettled message is too far behind
     * (max_in_flight), or too much is unsettled (max_parked). */
    uint64_t blocked;
    uint64_t poll_timeouts;              /* times that max_poll_interval ran out */
    uint64_t handled;                    /* handlers that have returned */
    uint64_t handler_us, handler_us_max; /* their time: sum, longest */
    uint64_t
        handler_us_log2[24]; /* how many took less than 2^(i+1) us; the last one has the rest */
    uint64_t losses;         /* times that it was found out that the server had lost something */
    uint64_t fetches;        /* reads of the log, those that found nothing too */
    uint64_t entries, entry_bytes; /* batches received, as they are in the log */
    uint64_t commits;              /* that the server has stored */
    uint64_t syncs;                /* heartbeats that were answered */
    uint64_t partitions;           /* now: owned */
    uint64_t in_flight;            /* now: messages delivered and not settled */
} seg_consumer_stats;
SEG_API void seg_consumer_get_stats(const seg_consumer *c, seg_consumer_stats *out);

/* Make the running and every later poll return SEG_ECLOSED, and seg_consumer_run SEG_OK. Any
 * thread; async-signal-safe. */
SEG_API void seg_consumer_stop(seg_consumer *c);

/* Stop delivering, commit what was acknowledged, hand the partitions back, leave the group (a
 * static member stays in it for its session timeout). Unacknowledged messages go to the next
 * owner at once. Waits for the server at most command_timeout; past it, the lease runs out. */
SEG_API void seg_consumer_close(seg_consumer *c);

#if defined(__cplusplus)
}
#endif

#include <segmenter/admin.h>
#include <segmenter/trace.h>

#endif
