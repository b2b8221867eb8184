/* rig.c - see rig.h. */
#include "rig.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "codec.h"

/* ---- Client, stream, producer --------------------------------------------------------------- */

seg_client *rig_client(const server *s) {
    return rig_client_within(s, 0);
}

seg_client *rig_client_within(const server *s, int64_t timeout) {
    seg_client_options o;
    seg_client *c = NULL;
    seg_error err;
    SEG_INIT(&o);
    o.url = server_url(s);
    o.connect_timeout = o.command_timeout = timeout;
    CHECK_OK(seg_client_open(&c, &o, &err), &err);
    return c;
}

void rig_stream(seg_client *c, const char *stream, uint32_t partitions) {
    seg_stream_options o;
    seg_error err;
    SEG_INIT(&o);
    o.partitions = partitions;
    o.max_messages = 100000;
    CHECK_OK(seg_stream_create(c, stream, &o, &err), &err);
}

seg_producer *rig_producer(seg_client *c, const char *stream) {
    seg_producer_options o;
    seg_producer *p = NULL;
    seg_error err;
    SEG_INIT(&o);
    o.linger = 60000;
    o.max_batch = 65024; /* what tests say of bytes goes by 64 KiB for a batch */
    o.codec = test_codec();
    CHECK_OK(seg_producer_open(&p, c, stream, &o, &err), &err);
    return p;
}

const char *rig_key(char out[24], uint32_t partition, uint32_t partitions) {
    for (unsigned salt = 0;; salt++) {
        int len = snprintf(out, 24, "k%u-%u", partition, salt);
        if (seg_partition_of((seg_bytes){out, (size_t)len}, partitions) == partition) {
            return out;
        }
    }
}

static void must_be_stored(seg_status status, const seg_position *where, const seg_error *err,
                           void *arg) {
    (void)where;
    (void)arg;
    CHECK_OK(status, err);
}

void rig_queue(seg_producer *p, const char *key, unsigned number, size_t bytes) {
    char digits[16];
    seg_record r;
    seg_error err;
    int len = snprintf(digits, sizeof digits, "%u", number);
    size_t size = bytes > (size_t)len ? bytes : (size_t)len;
    char *value = malloc(size);
    CHECK(value != NULL);
    memset(value, ' ', size);
    memcpy(value, digits, (size_t)len);
    SEG_INIT(&r);
    r.key = (seg_bytes){key, strlen(key)};
    r.value = (seg_bytes){value, size};
    CHECK_OK(seg_send_async(p, &r, must_be_stored, NULL, &err), &err);
    free(value);
}

void rig_flush(seg_producer *p) {
    seg_error err;
    CHECK_OK(seg_producer_flush(p, RIG_MS, &err), &err);
}

void rig_put(seg_producer *p, rig_run run) {
    char key[24];
    rig_key(key, run.partition, run.partitions);
    for (unsigned i = 0; i < run.count; i++) {
        rig_queue(p, key, run.first + i, run.bytes);
    }
    rig_flush(p);
}

void rig_put_singly(seg_producer *p, rig_run run) {
    for (unsigned i = 0; i < run.count; i++) {
        rig_run one = run;
        one.first = run.first + i;
        one.count = 1;
        rig_put(p, one);
    }
}

void rig_spread(seg_producer *p, uint32_t partitions, unsigned first, unsigned count) {
    char key[24];
    for (unsigned i = first; i < first + count; i++) {
        rig_queue(p, rig_key(key, i % partitions, partitions), i, 0);
    }
    rig_flush(p);
}

void rig_put_keys(seg_producer *p, const char *const keys[], size_t n_keys, unsigned first,
                  unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        rig_queue(p, keys[i % n_keys], first + i, 0);
    }
    rig_flush(p);
}

/* ---- Consumer ------------------------------------------------------------------------------- */

seg_status rig_try_consumer(seg_consumer **out, seg_client *c, const char *stream,
                            const rig_join *j, seg_error *err) {
    seg_consumer_options o;
    SEG_INIT(&o);
    o.group = j->group;
    o.name = j->name;
    o.session_timeout = j->session_timeout;
    o.ack_timeout = j->ack_timeout;
    o.drain_timeout = j->drain_timeout;
    o.start = j->start;
    o.max_prefetch = j->max_prefetch;
    o.max_in_flight = j->max_in_flight;
    o.on_rebalance = j->on_rebalance;
    o.rebalance_arg = j->arg;
    o.on_overtaken = j->on_overtaken;
    o.overtaken_arg = j->arg;
    o.on_loss = j->on_loss;
    o.loss_arg = j->arg;
    o.start_at = j->start_at;
    o.instance = j->instance;
    o.ordering = j->ordering;
    o.max_attempts = j->max_attempts;
    o.retry_delay = j->retry_delay;
    o.retry_delay_max = j->retry_delay_max;
    o.max_parked = j->max_parked;
    o.max_poll_interval = j->max_poll_interval;
    return seg_consumer_open(out, c, stream, &o, err);
}

seg_consumer *rig_consumer(seg_client *c, const char *stream, const rig_join *j) {
    seg_consumer *k = NULL;
    seg_error err;
    CHECK_OK(rig_try_consumer(&k, c, stream, j, &err), &err);
    return k;
}

unsigned rig_number(const seg_message *m) {
    char text[16] = "";
    seg_bytes v = seg_message_value(m);
    memcpy(text, v.data, v.len < sizeof text - 1 ? v.len : sizeof text - 1);
    return (unsigned)strtoul(text, NULL, 10);
}

size_t rig_poll(seg_consumer *k, rig_inbox *in, size_t max, int64_t wait) {
    seg_batch *b = NULL;
    seg_error err;
    CHECK_OK(seg_consumer_poll(&b, k, max, wait, &err), &err);
    size_t n = seg_batch_count(b);
    CHECK_LE(n, max);
    CHECK_LE(in->n + n, RIG_INBOX);
    for (size_t i = 0; i < n; i++) {
        const seg_message *m = seg_batch_at(b, i);
        in->d[in->n] = seg_message_delivery(m);
        in->number[in->n++] = rig_number(m);
    }
    seg_batch_free(b);
    return n;
}

void rig_take(seg_consumer *k, rig_inbox *in, size_t want) {
    int64_t end = test_now_ms() + RIG_MS;
    while (in->n < want) {
        if (rig_poll(k, in, 1000, 200) == 0 && test_now_ms() > end) {
            FAIL("%zu of %zu messages after %d ms", in->n, want, RIG_MS);
        }
    }
    CHECK_EQ(in->n, want);
}

void rig_settle(seg_consumer *k, size_t n) {
    int64_t end = test_now_ms() + RIG_MS;
    rig_inbox *none = calloc(1, sizeof *none);
    CHECK(none != NULL);
    while (seg_consumer_assignment(k, NULL, 0) != n) {
        CHECK_EQ(rig_poll(k, none, 1, 5), 0);
        if (test_now_ms() > end) {
            FAIL("it owns %zu partitions, not %zu, after %d ms",
                 seg_consumer_assignment(k, NULL, 0), n, RIG_MS);
        }
    }
    CHECK_EQ(rig_poll(k, none, 1, 0), 0); /* runs the callbacks of the last change */
    free(none);
}

void rig_expect_end(seg_consumer *k, seg_status status, seg_error *err) {
    int64_t end = test_now_ms() + RIG_MS;
    for (;;) {
        seg_batch *b = NULL;
        seg_status s = seg_consumer_poll(&b, k, 100, 200, err);
        if (s != SEG_OK) {
            CHECK_STATUS(s, status, err);
            return;
        }
        seg_batch_free(b);
        if (test_now_ms() > end) {
            FAIL("still no %s after %d ms", test_status_name(status), RIG_MS);
        }
    }
}

void rig_ack(seg_consumer *k, const seg_delivery *d, size_t n) {
    seg_error err;
    CHECK_OK(seg_ack(k, d, n, &err), &err);
}

void rig_commit(seg_consumer *k) {
    seg_error err;
    CHECK_OK(seg_consumer_commit(k, RIG_MS, &err), &err);
}

void rig_drain(seg_consumer *k, rig_inbox *in, size_t want) {
    size_t from = in->n;
    rig_take(k, in, want);
    rig_ack(k, in->d + from, in->n - from);
    rig_commit(k);
}

seg_status rig_verdict(seg_consumer *k, const seg_delivery *d, seg_verdict verdict, int64_t delay,
                       const char *reason) {
    seg_settlement how;
    SEG_INIT(&how);
    how.delay = delay;
    how.reason = reason;
    return seg_settle(k, d, 1, verdict, &how, NULL);
}

void rig_settle_as(seg_consumer *k, const seg_delivery *d, seg_verdict verdict, int64_t delay,
                   const char *reason) {
    CHECK_OK(rig_verdict(k, d, verdict, delay, reason), NULL);
}

seg_consumer_stats rig_stats(const seg_consumer *k) {
    seg_consumer_stats st;
    SEG_INIT(&st);
    seg_consumer_get_stats(k, &st);
    return st;
}

void rig_check_run(const rig_inbox *in, size_t from, size_t n, unsigned first) {
    CHECK_LE(from + n, in->n);
    for (size_t i = 0; i < n; i++) {
        CHECK_EQ(in->number[from + i], first + i);
    }
}

/* ---- Dead letters --------------------------------------------------------------------------- */

enum { LETTER_HEADERS = 10 };

static void copy_text(char *out, size_t cap, seg_bytes v) {
    CHECK_LT(v.len, cap);
    memcpy(out, v.data, v.len);
    out[v.len] = '\0';
}

/* The value of header `i`, which has to be called `name`. */
static seg_bytes header(const seg_message *m, size_t i, const char *name) {
    seg_bytes n, v;
    CHECK(seg_message_header(m, i, &n, &v));
    CHECK_MEM(n.data, n.len, name, strlen(name));
    return v;
}

static uint64_t number_header(const seg_message *m, size_t i, const char *name) {
    char text[32], *end;
    copy_text(text, sizeof text, header(m, i, name));
    uint64_t value = strtoull(text, &end, 10);
    CHECK(end != text && *end == '\0');
    return value;
}

static void read_letter(const seg_message *m, rig_letter *l) {
    size_t n = seg_message_headers(m);
    CHECK_GE(n, LETTER_HEADERS);
    size_t i = n - LETTER_HEADERS;
    *l = (rig_letter){.number = rig_number(m),
                      .bytes = seg_message_value(m).len,
                      .timestamp = seg_message_timestamp(m),
                      .own_headers = i};
    copy_text(l->key, sizeof l->key, seg_message_key(m));
    copy_text(l->stream, sizeof l->stream, header(m, i++, "sg-origin-stream"));
    l->partition = (uint32_t)number_header(m, i++, "sg-origin-partition");
    l->era = number_header(m, i++, "sg-origin-era");
    l->offset = number_header(m, i++, "sg-origin-offset");
    copy_text(l->group, sizeof l->group, header(m, i++, "sg-group"));
    l->attempts = (uint32_t)number_header(m, i++, "sg-attempts");
    copy_text(l->reason, sizeof l->reason, header(m, i++, "sg-reason"));
    copy_text(l->error, sizeof l->error, header(m, i++, "sg-error"));
    l->first_failed = (int64_t)number_header(m, i++, "sg-first-failed");
    l->last_failed = (int64_t)number_header(m, i++, "sg-last-failed");
    CHECK_LE(l->first_failed, l->last_failed);
}

uint64_t rig_messages(seg_client *c, const char *stream) {
    seg_stream_info *info = NULL;
    seg_error err;
    seg_status s = seg_stream_describe(&info, c, stream, &err);
    if (s == SEG_ENOENT) {
        return 0;
    }
    CHECK_OK(s, &err);
    uint64_t n = seg_stream_info_messages(info);
    seg_stream_info_free(info);
    return n;
}

size_t rig_letters(seg_client *c, const char *stream, const char *group, rig_letter *out,
                   size_t cap) {
    static unsigned readers;
    char dlq[256], reader[32];
    size_t n = 0;
    snprintf(dlq, sizeof dlq, "%s.%s.dlq", stream, group);
    snprintf(reader, sizeof reader, "reader-%d-%u", (int)getpid(), readers++);
    uint64_t all = rig_messages(c, dlq);
    if (all == 0) {
        return 0;
    }
    CHECK_LE(all, cap);
    seg_consumer *k = rig_consumer(c, dlq, &(rig_join){.group = reader});
    int64_t end = test_now_ms() + RIG_MS;
    while (n < all) {
        seg_batch *b = NULL;
        seg_error err;
        CHECK_LT(test_now_ms(), end);
        CHECK_OK(seg_consumer_poll(&b, k, (size_t)all - n, 200, &err), &err);
        for (size_t i = 0; i < seg_batch_count(b); i++) {
            read_letter(seg_batch_at(b, i), &out[n++]);
        }
        seg_batch_free(b);
    }
    seg_consumer_close(k);
    return n;
}

/* ---- Processes that die --------------------------------------------------------------------- */

void *rig_shared(size_t size) {
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(at != MAP_FAILED);
    return at;
}

pid_t rig_fork(void (*fn)(void *arg), void *arg) {
    pid_t parent = getpid();
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == parent) {
            fn(arg);
        }
        _exit(0);
    }
    return child;
}

int rig_wait(pid_t child) {
    int how = 0;
    pid_t got;
    while ((got = waitpid(child, &how, 0)) < 0 && errno == EINTR) {
    }
    CHECK_EQ(got, child);
    return WIFSIGNALED(how) ? -WTERMSIG(how) : WEXITSTATUS(how);
}

void rig_kill(pid_t child) {
    CHECK_EQ(kill(child, SIGKILL), 0);
    int how = rig_wait(child);
    CHECK(how == -SIGKILL || how == 0);
}

/* ---- The server's view ---------------------------------------------------------------------- */

static seg_group_info *describe(seg_client *c, const char *stream, const char *group) {
    seg_group_info *g = NULL;
    seg_error err;
    CHECK_OK(seg_group_describe(&g, c, stream, group, &err), &err);
    return g;
}

/* The owner's name does not outlive the description: `owner` is only NULL or not. */
seg_group_partition rig_cursor(seg_client *c, const char *stream, const char *group, uint32_t p) {
    seg_group_info *g = describe(c, stream, group);
    const seg_group_partition *one = seg_group_info_partition(g, p);
    CHECK(one != NULL);
    seg_group_partition copy = *one;
    copy.owner = one->owner ? "somebody" : NULL;
    seg_group_info_free(g);
    return copy;
}

uint64_t rig_lag(seg_client *c, const char *stream, const char *group) {
    seg_group_info *g = describe(c, stream, group);
    uint64_t lag = seg_group_info_lag(g);
    seg_group_info_free(g);
    return lag;
}

long long rig_calls(server *s, const char *command) {
    char name[64];
    char *text = server_str(s, "INFO commandstats");
    CHECK(text != NULL);
    snprintf(name, sizeof name, "cmdstat_%s:calls=", command);
    const char *at = strstr(text, name);
    long long calls = at ? strtoll(at + strlen(name), NULL, 10) : 0;
    free(text);
    return calls;
}
