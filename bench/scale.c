/* What many partitions, streams and members cost. Every figure is processor time, of the server's main
 * thread and of this process, since wall time says little on a machine that others use too.
 * Usage: scale URL WHAT [NUMBER]...   (see `usage`)
 * Each run makes streams of its own, or keys, and removes them. */
#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <pthread.h>
#include <segmenter/segmenter.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define LATENCIES_MAX 1000000
#define VALUE         100

static const char *const usage =
    "usage: scale URL idle    PARTITIONS [SECONDS]         a consumer that gets nothing\n"
    "       scale URL load    PARTITIONS BATCH [MESSAGES]  BATCH messages of 100 bytes in an "
    "entry\n"
    "       scale URL read    PARTITIONS BATCH [MESSAGES]  the same, read without a group\n"
    "       scale URL follow  PARTITIONS RATE [SECONDS]    and at the end, as they come\n"
    "       scale URL live    PARTITIONS RATE [SECONDS]    RATE messages a second, read as they "
    "come\n"
    "       scale URL streams STREAMS RATE [SECONDS]       the same, a producer and a consumer of "
    "each\n"
    "       scale URL members PARTITIONS MEMBERS           all join, one goes, all leave\n"
    "       scale URL sync    FILE...                      a beat in groups of several sizes: "
    "server\n"
    "                         time of versions of group_sync.lua, which take turns\n";

static const char *url;

/* ---- ends ----------------------------------------------------------------------------------- */

static void die(const char *what) {
    fprintf(stderr, "scale: %s\n", what);
    exit(1);
}

static void must(seg_status s, const seg_error *err) {
    if (s != SEG_OK)
        die(err->text);
}

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void pause_ms(int64_t ms) {
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

/* ---- what it costs -------------------------------------------------------------------------- */

typedef struct meter {
    double at, server, client; /* seconds */
    double commands, reads, commits, syncs;
} meter;

static redisContext *server(void) {
    static redisContext *c;
    if (c == NULL && strncmp(url, "unix://", 7) == 0) {
        c = redisConnectUnix(url + 7);
    } else if (c == NULL) {
        char host[200] = "127.0.0.1";
        int port = 6379;
        if (sscanf(url, "redis://%199[^:/]:%d", host, &port) < 1)
            die("the URL is neither unix://PATH nor redis://HOST:PORT");
        c = redisConnect(host, port);
    }
    if (c == NULL || c->err != 0)
        die("no connection to the server");
    return c;
}

static char *info(const char *section) {
    redisReply *r = redisCommand(server(), "INFO %s", section);
    char *text = r != NULL && r->type == REDIS_REPLY_STRING ? strdup(r->str) : NULL;
    if (text == NULL)
        die("the server refused INFO");
    freeReplyObject(r);
    return text;
}

static double number(const char *text, const char *name) {
    const char *at = strstr(text, name);
    return at != NULL ? strtod(at + strlen(name), NULL) : 0;
}

static meter look(void) {
    struct rusage u;
    char *cpu = info("cpu"), *stats = info("commandstats");
    getrusage(RUSAGE_SELF, &u);
    meter m = {.at = seconds(),
               .server = number(cpu, "used_cpu_sys_main_thread:") +
                         number(cpu, "used_cpu_user_main_thread:"),
               .client = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
                         1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec),
               .reads = number(stats, "cmdstat_xread:calls="),
               .commits = number(stats, "cmdstat_evalsha:calls=")};
    free(cpu);
    free(stats);
    return m;
}

static meter since(meter from) {
    meter to = look();
    return (meter){.at = to.at - from.at,
                   .server = to.server - from.server,
                   .client = to.client - from.client,
                   .reads = to.reads - from.reads,
                   .commits = to.commits - from.commits};
}

static void say_time(const char *what, meter m) {
    printf("%-28s %7.2f s   server %6.2f %%   client %6.2f %%   %.0f XREAD, %.0f EVALSHA\n", what,
           m.at, 100 * m.server / m.at, 100 * m.client / m.at, m.reads, m.commits);
}

static void say_messages(const char *what, meter m, double n) {
    printf(
        "%-28s %7.2f s   server %6.2f us   client %6.2f us a message   %.0f XREAD, %.0f EVALSHA\n",
        what, m.at, 1e6 * m.server / n, 1e6 * m.client / n, m.reads, m.commits);
}

/* ---- streams -------------------------------------------------------------------------------- */

static seg_client *connect_client(void) {
    seg_client *c;
    seg_error err;
    seg_client_options o;
    SEG_INIT(&o);
    o.url = url;
    must(seg_client_open(&c, &o, &err), &err);
    return c;
}

static void make_stream(seg_client *c, const char *name, long partitions) {
    seg_error err;
    seg_stream_options o;
    SEG_INIT(&o);
    o.partitions = (uint32_t)partitions;
    o.max_messages = 10000000;
    seg_stream_delete(c, name, NULL);
    must(seg_stream_create(c, name, &o, &err), &err);
}

static seg_producer *make_producer(seg_client *c, const char *stream, size_t max_batch,
                                   int64_t linger) {
    seg_producer *p;
    seg_error err;
    seg_producer_options o;
    SEG_INIT(&o);
    o.linger = linger;
    o.max_batch = max_batch;
    must(seg_producer_open(&p, c, stream, &o, &err), &err);
    return p;
}

static seg_consumer *make_consumer(seg_client *c, const char *stream) {
    seg_consumer *k;
    seg_error err;
    seg_consumer_options o;
    SEG_INIT(&o);
    o.group = "g";
    must(seg_consumer_open(&k, c, stream, &o, &err), &err);
    return k;
}

/* Take what there is and acknowledge it. */
static size_t poll_once(seg_consumer *k, int64_t wait, void (*each)(const seg_message *m)) {
    seg_batch *b;
    seg_error err;
    must(seg_consumer_poll(&b, k, 10000, wait, &err), &err);
    size_t n = seg_batch_count(b);
    for (size_t i = 0; each != NULL && i < n; i++)
        each(seg_batch_at(b, i));
    if (n > 0)
        must(seg_ack_batch(k, b, &err), &err);
    seg_batch_free(b);
    return n;
}

static void await_partitions(seg_consumer *k, size_t n) {
    while (seg_consumer_assignment(k, NULL, 0) < n)
        pause_ms(5);
}

/* ---- idle ----------------------------------------------------------------------------------- */

static void idle(long partitions, long time) {
    seg_client *c = connect_client();
    make_stream(c, "scale", partitions);
    seg_consumer *k = make_consumer(c, "scale");
    await_partitions(k, (size_t)partitions);
    pause_ms(1000);
    meter from = look();
    for (double end = seconds() + (double)time; seconds() < end;)
        poll_once(k, 1000, NULL);
    say_time("idle", since(from));
    seg_consumer_close(k);
    seg_stream_delete(c, "scale", NULL);
    seg_client_close(c);
}

/* ---- load ----------------------------------------------------------------------------------- */

static long failures;

static void sent(seg_status status, const seg_position *where, const seg_error *err, void *arg) {
    (void)where;
    (void)arg;
    if (status != SEG_OK && failures++ == 0)
        fprintf(stderr, "scale: %s\n", err->text);
}

static void send_one(seg_producer *p, const void *value, size_t len) {
    seg_error err;
    seg_record r;
    seg_status s;
    SEG_INIT(&r);
    r.value = (seg_bytes){value, len};
    while ((s = seg_send_async(p, &r, sent, NULL, &err)) == SEG_EFULL)
        seg_producer_poll(p, 1000, NULL);
    must(s, &err);
}

/* Messages without a key: partitions take turns, batch by batch, and a batch lingers until it is full. */
static void produce(seg_producer *p, long messages) {
    static const char value[VALUE];
    seg_error err;
    for (long i = 0; i < messages; i++)
        send_one(p, value, sizeof value);
    must(seg_producer_flush(p, SEG_FOREVER, &err), &err);
}

static void load(long partitions, long batch, long messages) {
    seg_client *c = connect_client();
    seg_error err;
    make_stream(c, "scale", partitions);
    size_t bytes = 24 + (size_t)batch * (VALUE + 8);
    seg_producer *p = make_producer(c, "scale", bytes > 1024 ? bytes : 1024, 1000);
    produce(p, partitions * batch); /* to each partition once: probes, scripts, memory */
    meter from = look();
    produce(p, messages);
    say_messages("produce", since(from), (double)messages);
    seg_producer_stats stats;
    SEG_INIT(&stats);
    seg_producer_get_stats(p, &stats);
    seg_consumer *k = make_consumer(c, "scale");
    must(seg_consumer_pause(k, SEG_ALL_PARTITIONS, true, &err), &err);
    await_partitions(k, (size_t)partitions);
    from = look();
    must(seg_consumer_pause(k, SEG_ALL_PARTITIONS, false, &err), &err);
    long got = 0, polls = 0;
    for (; got < partitions * batch + messages; polls++)
        got += (long)poll_once(k, 1000, NULL);
    must(seg_consumer_commit(k, SEG_FOREVER, &err), &err);
    say_messages("consume and acknowledge", since(from), (double)got);
    printf("%-28s %ld messages in entries of %.0f, %.0f a poll, %ld failed\n", "", got,
           (double)stats.stored / (double)stats.batches, (double)got / (double)polls, failures);
    seg_consumer_close(k);
    seg_producer_close(p);
    seg_stream_delete(c, "scale", NULL);
    seg_client_close(c);
}

/* ---- live ----------------------------------------------------------------------------------- */

typedef struct sender {
    seg_producer **producers;
    long n, rate, partitions;
    double time;
} sender;

/* Messages with keys, evenly in time and over partitions and streams; the value is when it was sent. */
static void *send_evenly(void *arg) {
    sender *s = arg;
    double begin = seconds();
    for (long i = 0; (double)i < s->time * (double)s->rate; i++) {
        double due = begin + (double)i / (double)s->rate, now = seconds();
        if (due > now)
            usleep((useconds_t)(1e6 * (due - now)));
        char key[32];
        seg_record r;
        seg_error err;
        double at = seconds();
        SEG_INIT(&r);
        r.key = (seg_bytes){key, (size_t)snprintf(key, sizeof key, "%ld", i)};
        char value[VALUE] = {0};
        memcpy(value, &at, sizeof at);
        r.value = (seg_bytes){value, sizeof value};
        must(seg_send_async(s->producers[i % s->n], &r, sent, NULL, &err), &err);
        if (i % 64 == 0)
            for (long k = 0; k < s->n; k++)
                seg_producer_poll(s->producers[k], 0, NULL);
    }
    for (long k = 0; k < s->n; k++)
        seg_producer_flush(s->producers[k], SEG_FOREVER, NULL);
    return NULL;
}

static double latencies[LATENCIES_MAX];
static atomic_size_t n_latencies;

static void take_latency(const seg_message *m) {
    double at;
    memcpy(&at, seg_message_value(m).data, sizeof at);
    size_t i = atomic_fetch_add(&n_latencies, 1);
    if (i < LATENCIES_MAX)
        latencies[i] = seconds() - at;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void say_latencies(void) {
    size_t n = n_latencies < LATENCIES_MAX ? n_latencies : LATENCIES_MAX;
    if (n == 0)
        return;
    qsort(latencies, n, sizeof *latencies, ascending);
    printf("latency, ms: %.2f half, %.2f p90, %.2f p99, %.2f longest, of %zu\n",
           1e3 * latencies[n / 2], 1e3 * latencies[n * 9 / 10], 1e3 * latencies[n * 99 / 100],
           1e3 * latencies[n - 1], n);
}

typedef struct reader {
    seg_consumer *consumer;
    atomic_bool *stop;
} reader;

static void *read_all(void *arg) {
    reader *r = arg;
    while (!*r->stop)
        poll_once(r->consumer, 100, take_latency);
    return NULL;
}

/* Send without readers, then with: what the readers cost is the difference. */
static void run_live(sender *s, seg_consumer **consumers) {
    atomic_bool stop = false;
    pthread_t sending, *threads = calloc((size_t)s->n, sizeof *threads);
    reader *readers = calloc((size_t)s->n, sizeof *readers);
    double n = s->time * (double)s->rate;
    if (threads == NULL || readers == NULL)
        die("out of memory");
    for (long i = 0; i < s->n; i++) {
        readers[i] = (reader){consumers[i], &stop};
        pthread_create(&threads[i], NULL, read_all, &readers[i]);
    }
    meter from = look();
    pthread_create(&sending, NULL, send_evenly, s);
    pthread_join(sending, NULL);
    pause_ms(100);
    meter m = since(from);
    say_messages("produce and consume", m, n);
    say_time("", m);
    stop = true;
    for (long i = 0; i < s->n; i++)
        pthread_join(threads[i], NULL);
    say_latencies();
    free(threads);
    free(readers);
}

static void send_only(sender *s) {
    meter from = look();
    send_evenly(s);
    say_messages("produce alone", since(from), s->time * (double)s->rate);
}

static void live(long partitions, long rate, long time) {
    seg_client *c = connect_client();
    make_stream(c, "scale", partitions);
    seg_producer *p = make_producer(c, "scale", 0, 0);
    sender s = {&p, 1, rate, partitions, (double)time};
    send_only(&s);
    seg_consumer *k = make_consumer(c, "scale");
    await_partitions(k, (size_t)partitions);
    while (poll_once(k, 1000, NULL) > 0)
        ;
    run_live(&s, &k);
    seg_consumer_close(k);
    seg_producer_close(p);
    seg_stream_delete(c, "scale", NULL);
    seg_client_close(c);
}

/* ---- without a group ------------------------------------------------------------------------ */

static seg_reader *make_reader(seg_client *c, seg_start start) {
    seg_reader *r;
    seg_error err;
    seg_reader_options o;
    SEG_INIT(&o);
    o.start = start;
    must(seg_reader_open(&r, c, "scale", &o, &err), &err);
    return r;
}

/* All there is, three times. */
static void read_back(long partitions, long batch, long messages) {
    seg_client *c = connect_client();
    make_stream(c, "scale", partitions);
    size_t bytes = 24 + (size_t)batch * (VALUE + 8);
    seg_producer *p = make_producer(c, "scale", bytes > 1024 ? bytes : 1024, 1000);
    produce(p, messages);
    seg_producer_close(p);
    for (int round = 0; round < 3; round++) {
        const seg_message *m;
        seg_error err;
        long got = 0;
        seg_reader *r = make_reader(c, SEG_EARLIEST);
        meter from = look();
        for (;; got++) {
            must(seg_reader_next(&m, r, 0, &err), &err);
            if (m == NULL)
                break;
        }
        meter cost = since(from);
        say_messages("read without a group", cost, (double)got);
        printf("%-28s %ld of %ld messages, %.0f a second\n", "", got, messages,
               (double)got / cost.at);
        seg_reader_close(r);
    }
    seg_stream_delete(c, "scale", NULL);
    seg_client_close(c);
}

static void *read_on(void *arg) {
    const seg_message *m;
    while (seg_reader_next(&m, arg, SEG_FOREVER, NULL) == SEG_OK)
        take_latency(m);
    return NULL;
}

static void follow(long partitions, long rate, long time) {
    seg_client *c = connect_client();
    make_stream(c, "scale", partitions);
    seg_producer *p = make_producer(c, "scale", 0, 0);
    sender s = {&p, 1, rate, partitions, (double)time};
    pthread_t reading;
    send_only(&s);
    seg_reader *r = make_reader(c, SEG_LATEST);
    pthread_create(&reading, NULL, read_on, r);
    pause_ms(1000);
    meter from = look();
    pause_ms(10000);
    say_time("nothing comes", since(from));
    from = look();
    send_evenly(&s);
    pause_ms(100);
    meter m = since(from);
    say_messages("produce and follow", m, s.time * (double)s.rate);
    say_time("", m);
    seg_reader_stop(r);
    pthread_join(reading, NULL);
    say_latencies();
    seg_reader_close(r);
    seg_producer_close(p);
    seg_stream_delete(c, "scale", NULL);
    seg_client_close(c);
}

/* ---- streams -------------------------------------------------------------------------------- */

static void streams(long n, long rate, long time) {
    seg_client *c = connect_client();
    seg_producer **producers = calloc((size_t)n, sizeof(seg_producer *));
    seg_consumer **consumers = calloc((size_t)n, sizeof(seg_consumer *));
    char name[32];
    if (producers == NULL || consumers == NULL)
        die("out of memory");
    double begin = seconds();
    for (long i = 0; i < n; i++) {
        snprintf(name, sizeof name, "scale-%ld", i);
        make_stream(c, name, 4);
        producers[i] = make_producer(c, name, 0, 0);
        consumers[i] = make_consumer(c, name);
    }
    printf("%ld streams opened in %.2f s\n", n, seconds() - begin);
    for (long i = 0; i < n; i++)
        await_partitions(consumers[i], 4);
    meter from = look();
    pause_ms(10000);
    say_time("idle", since(from));
    sender s = {producers, n, rate, 4, (double)time};
    run_live(&s, consumers);
    for (long i = 0; i < n; i++) {
        snprintf(name, sizeof name, "scale-%ld", i);
        seg_consumer_close(consumers[i]);
        seg_producer_close(producers[i]);
        seg_stream_delete(c, name, NULL);
    }
    seg_client_close(c);
    free(producers);
    free(consumers);
}

/* ---- members -------------------------------------------------------------------------------- */

typedef struct crew {
    seg_client *client; /* each has its own, as in a process of its own */
    seg_consumer *consumer;
    pthread_t thread;
    atomic_bool stop;
} crew;

static void *serve(void *arg) {
    crew *m = arg;
    while (!m->stop)
        poll_once(m->consumer, 100, NULL);
    return NULL;
}

/* All partitions are owned, and no two members' numbers differ by more than one. */
static bool is_balanced(crew *members, long n, long partitions) {
    size_t least = SIZE_MAX, most = 0, sum = 0;
    for (long i = 0; i < n; i++) {
        if (members[i].consumer == NULL)
            continue;
        size_t k = seg_consumer_assignment(members[i].consumer, NULL, 0);
        sum += k;
        least = k < least ? k : least;
        most = k > most ? k : most;
    }
    return sum == (size_t)partitions && most - least <= 1;
}

static void await_balance(crew *members, long n, long partitions, const char *what, meter from) {
    double end = seconds() + 120;
    while (!is_balanced(members, n, partitions)) {
        if (seconds() > end)
            die("no balance within two minutes");
        pause_ms(5);
    }
    meter m = since(from);
    printf("%-28s %7.2f s   server %6.2f ms   client %6.2f ms   %.0f EVALSHA\n", what, m.at,
           1e3 * m.server, 1e3 * m.client, m.commits);
}

static void leave(crew *m) {
    m->stop = true;
    pthread_join(m->thread, NULL);
    seg_consumer_close(m->consumer);
    seg_client_close(m->client);
    m->consumer = NULL;
}

static void come(crew *m) {
    m->client = connect_client();
    m->consumer = make_consumer(m->client, "scale");
    m->stop = false;
    pthread_create(&m->thread, NULL, serve, m);
}

static void members(long partitions, long n) {
    seg_client *c = connect_client();
    crew *all = calloc((size_t)n, sizeof *all);
    if (all == NULL)
        die("out of memory");
    make_stream(c, "scale", partitions);
    come(&all[0]);
    await_balance(all, 1, partitions, "the first member", look());
    meter from = look();
    for (long i = 1; i < n; i++)
        come(&all[i]);
    await_balance(all, n, partitions, "all the others join", from);
    from = look();
    pause_ms(10000);
    say_time("idle", since(from));
    from = look();
    leave(&all[n - 1]);
    await_balance(all, n, partitions, "one leaves", from);
    from = look();
    come(&all[n - 1]);
    await_balance(all, n, partitions, "one joins", from);
    from = look();
    for (long i = 0; i < n; i++)
        leave(&all[i]);
    await_balance(all, 0, 0, "all leave", from);
    seg_stream_delete(c, "scale", NULL);
    seg_client_close(c);
    free(all);
}

/* ---- sync ----------------------------------------------------------------------------------- */

enum { SYNC_FILES = 4, SYNC_RUNS = 31, SYNC_BEATS = 1000, SYNC_PIPELINE = 100 };

/* The keys of a group. The tag in them is this run's own. */
enum { SYNC_STREAM, SYNC_GROUP, SYNC_LEASES, SYNC_PLACES, SYNC_KEYS };
static char sync_keys[SYNC_KEYS][40], sync_tag[30];

static void name_keys(void) {
    snprintf(sync_tag, sizeof sync_tag, "scale:%lx:%lx", (long)time(NULL), (long)getpid());
    for (int i = 0; i < SYNC_KEYS; i++)
        snprintf(sync_keys[i], sizeof sync_keys[i], "{%s}%c", sync_tag, "mglp"[i]);
}

__attribute__((format(printf, 1, 2))) static void command(const char *format, ...) {
    va_list args;
    va_start(args, format);
    redisReply *r = redisvCommand(server(), format, args);
    va_end(args);
    if (r == NULL || r->type == REDIS_REPLY_ERROR)
        die(r != NULL ? r->str : "the connection to the server was lost");
    freeReplyObject(r);
}

static void load_script(const char *path, char digest[41]) {
    static char text[1 << 17];
    FILE *f = fopen(path, "rb");
    size_t len = f != NULL ? fread(text, 1, sizeof text, f) : 0;
    if (len == 0 || len == sizeof text)
        die("a script cannot be read, or is longer than 128 KiB");
    fclose(f);
    redisReply *r = redisCommand(server(), "SCRIPT LOAD %b", text, len);
    if (r == NULL || r->type != REDIS_REPLY_STRING)
        die(r != NULL ? r->str : "the connection to the server was lost");
    snprintf(digest, 41, "%s", r->str);
    freeReplyObject(r);
}

static void delete_keys(void) {
    for (int i = 0; i < SYNC_KEYS; i++)
        command("DEL %s", sync_keys[i]);
}

/* A settled group, written as docs/protocol.md has it: to let each join shares everything out as often. */
static void gather(long partitions, long members) {
    const char *stream = sync_keys[SYNC_STREAM], *group = sync_keys[SYNC_GROUP];
    delete_keys();
    command("HSET %s inc i phase ready partitions %ld", stream, partitions);
    command("HSET %s gid g phase ready start earliest format 1 epoch %ld life x", group,
            partitions);
    for (long i = 0; i < members; i++) {
        command("HSET %s m:member-%04ld 0123456789abcdef|10000|2|some.host:12345", group, i);
        command("ZADD %s %ld member-%04ld", sync_keys[SYNC_LEASES], 10000 + i, i);
    }
    for (long p = 0; p < partitions; p++)
        command("HSET %s %ld member-%04ld|%ld|member-%04ld", sync_keys[SYNC_PLACES], p, p % members,
                p + 1, p % members);
    redisReply *r = redisCommand(server(), "TIME");
    if (r == NULL || r->type != REDIS_REPLY_ARRAY)
        die("the server does not tell the time");
    command("HSET %s clock 0 cap 5000 used 0 wall %s000", group, r->element[0]->str);
    freeReplyObject(r);
}

/* Of all scripts up to now. */
static double script_us(void) {
    char *stats = info("commandstats"), *line = strstr(stats, "cmdstat_evalsha:");
    double us = line != NULL ? number(line, "usec=") : 0;
    free(stats);
    return us;
}

/* Each member in turn; in pipelines, so that the server's caches are warm. Microseconds a call. */
static double beats(const char *digest, long members) {
    static long next;
    redisReply *r;
    double before = script_us();
    for (int i = 0; i < SYNC_BEATS; i += SYNC_PIPELINE) {
        for (int k = 0; k < SYNC_PIPELINE; k++)
            redisAppendCommand(server(),
                               "EVALSHA %s 4 %s %s %s %s i g beat member-%04ld 0123456789abcdef "
                               "10000 2 some.host:12345 0 {%s}w:",
                               digest, sync_keys[0], sync_keys[1], sync_keys[2], sync_keys[3],
                               next++ % members, sync_tag);
        for (int k = 0; k < SYNC_PIPELINE; k++) {
            if (redisGetReply(server(), (void **)&r) != REDIS_OK)
                die("the connection to the server was lost");
            if (r->type != REDIS_REPLY_ARRAY || r->elements != 4)
                die(r->type == REDIS_REPLY_ERROR ? r->str : "a beat that is not as usual");
            freeReplyObject(r);
        }
    }
    return (script_us() - before) / SYNC_BEATS;
}

static void sync_beats(int n, char **paths) {
    static const long sizes[][2] = {{16, 4}, {1024, 100}, {4096, 1000}};
    static double us[SYNC_FILES][SYNC_RUNS];
    char digests[SYNC_FILES][41];
    name_keys();
    for (int i = 0; i < n; i++)
        load_script(paths[i], digests[i]);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        gather(sizes[s][0], sizes[s][1]);
        for (int run = 0; run < SYNC_RUNS; run++)
            for (int i = 0; i < n; i++)
                us[i][run] = beats(digests[i], sizes[s][1]);
        for (int i = 0; i < n; i++) {
            qsort(us[i], SYNC_RUNS, sizeof **us, ascending);
            printf("%5ld partitions, %4ld members   %6.1f us, least %6.1f   %s\n", sizes[s][0],
                   sizes[s][1], us[i][SYNC_RUNS / 2], us[i][0], paths[i]);
        }
    }
    delete_keys();
}

/* ---- all of it ------------------------------------------------------------------------------ */

int main(int argc, char **argv) {
    long n[3] = {0, 0, 0};
    bool sync = argc > 3 && argc <= 3 + SYNC_FILES && strcmp(argv[2], "sync") == 0;
    for (int i = 3; i < argc && i < 6; i++)
        n[i - 3] = strtol(argv[i], NULL, 10);
    const char *what = argc > 3 && argc < 7 && n[0] > 0 ? argv[2] : "";
    url = argv[1];
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (sync)
        sync_beats(argc - 3, argv + 3);
    else if (strcmp(what, "idle") == 0)
        idle(n[0], n[1] > 0 ? n[1] : 20);
    else if (strcmp(what, "load") == 0 && n[1] > 0)
        load(n[0], n[1], n[2] > 0 ? n[2] : 2000000);
    else if (strcmp(what, "read") == 0 && n[1] > 0)
        read_back(n[0], n[1], n[2] > 0 ? n[2] : 2000000);
    else if (strcmp(what, "follow") == 0 && n[1] > 0)
        follow(n[0], n[1], n[2] > 0 ? n[2] : 10);
    else if (strcmp(what, "live") == 0 && n[1] > 0)
        live(n[0], n[1], n[2] > 0 ? n[2] : 10);
    else if (strcmp(what, "streams") == 0 && n[1] > 0)
        streams(n[0], n[1], n[2] > 0 ? n[2] : 10);
    else if (strcmp(what, "members") == 0 && n[1] > 0)
        members(n[0], n[1]);
    else {
        fputs(usage, stderr);
        return 2;
    }
    return 0;
}
