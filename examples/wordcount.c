/* Counts words, each exactly once, in three stages that may be killed at any moment:
 *
 *     lines ──split──> words ──clean──> tidy ──count──> a file in DIR for each partition of tidy
 *
 *     wordcount URL create PARTITIONS     the three streams
 *     wordcount URL split NAME            a line in, a message for each of its words out
 *     wordcount URL clean NAME            a word in, out in lower case and without punctuation
 *     wordcount URL count NAME DIR        a word in, counted in DIR
 *     wordcount URL result DIR            what was counted so far, the most frequent first
 *
 * Each stage runs until SIGINT or SIGTERM. It may run several times at once, under other NAMEs:
 * they share the partitions. One that is started again under its NAME takes its partitions back at
 * once.
 *
 * What makes it exact:
 *
 *   split, clean   seg_forward. However often an input comes, each of its outputs is stored once,
 *                  and the input is acknowledged once they all are. What a stage has to keep for
 *                  that: the same input gives the same outputs in the same order. It needs no
 *                  state of its own.
 *   count          Its effect is outside of the server, so it has to know by itself what it did.
 *                  The file holds the counts of a partition together with the place up to which
 *                  they go. It is replaced as a whole, and only then are its messages acknowledged:
 *
 *                      killed before rename()       nothing happened; the messages come again
 *                      between it and the commit    they come again, lie below the file's place,
 *                                                   and are acknowledged without being counted
 *
 *                  A stage that was only stopped (SIGSTOP, a paused machine) may wake up when its
 *                  partition has long been another's. Its acknowledgements are refused by the
 *                  server, its file by the epoch: that of a smaller one never replaces a larger's.
 *
 * DIR belongs to the streams: begin with an empty one where they were created anew. */
#define _POSIX_C_SOURCE 200809L
#define _DEFAULT_SOURCE /* flock */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <segmenter/segmenter.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define WORD_MAX 200   /* bytes; longer ones count by their beginning */
#define BATCH    10000 /* messages of one poll */
#define ROOM_MS  1000  /* how often a stage that waits for room looks whether it should end */

static void die(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("wordcount: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

static void check(seg_status s, const seg_error *err) {
    if (s != SEG_OK)
        die("%s", err->text);
}

/* ---- Words and their counts --------------------------------------------------------------- */

typedef struct entry {
    char *text; /* NULL: a free slot */
    uint64_t count;
} entry;

typedef struct table { /* open addressing, at most half full */
    entry *slots;
    size_t capacity, used;
} table;

static void table_free(table *t) {
    for (size_t i = 0; i < t->capacity; i++)
        free(t->slots[i].text);
    free(t->slots);
    *t = (table){0};
}

static entry *table_slot(const table *t, const char *text) {
    uint64_t hash = 14695981039346656037u;
    for (const char *c = text; *c != '\0'; c++)
        hash = (hash ^ (unsigned char)*c) * 1099511628211u;
    size_t i = (size_t)(hash ^ hash >> 32) & (t->capacity - 1);
    while (t->slots[i].text != NULL && strcmp(t->slots[i].text, text) != 0)
        i = (i + 1) & (t->capacity - 1);
    return &t->slots[i];
}

static void table_grow(table *t) {
    table larger = {.capacity = t->capacity == 0 ? 1024 : 2 * t->capacity, .used = t->used};
    larger.slots = calloc(larger.capacity, sizeof *larger.slots);
    if (larger.slots == NULL)
        die("out of memory");
    for (size_t i = 0; i < t->capacity; i++)
        if (t->slots[i].text != NULL)
            *table_slot(&larger, t->slots[i].text) = t->slots[i];
    free(t->slots);
    *t = larger;
}

static void table_add(table *t, const char *text, uint64_t count) {
    if (2 * (t->used + 1) > t->capacity)
        table_grow(t);
    entry *e = table_slot(t, text);
    if (e->text == NULL) {
        if ((e->text = strdup(text)) == NULL)
            die("out of memory");
        t->used++;
    }
    e->count += count;
}

/* ---- What is counted of one partition, and its file --------------------------------------- */

typedef struct tally {
    uint64_t epoch; /* of the ownership under which it was counted; 0: not loaded */
    seg_id next;    /* the first message that is not counted */
    table words;
    bool changed; /* not in the file yet */
} tally;

/* "DIR/PARTITION.SUFFIX" */
static const char *path_of(char path[4096], const char *dir, uint32_t partition,
                           const char *suffix) {
    if (snprintf(path, 4096, "%s/%" PRIu32 "%s", dir, partition, suffix) >= 4096)
        die("\"%s\" is too long a name", dir);
    return path;
}

/* Replaces `t`. Without a file nothing is counted yet. */
static void tally_load(tally *t, const char *dir, uint32_t partition) {
    char path[4096], text[WORD_MAX + 1];
    uint64_t count;
    size_t words = 0;
    table_free(&t->words);
    *t = (tally){0};
    FILE *f = fopen(path_of(path, dir, partition, ".counts"), "r");
    if (f == NULL && errno == ENOENT)
        return;
    if (f == NULL)
        die("cannot read \"%s\": %s", path, strerror(errno));
    int n = fscanf(f, "epoch %" SCNu64 " era %" SCNu64 " next %" SCNu64 " words %zu\n", &t->epoch,
                   &t->next.era, &t->next.offset, &words);
    while (n == 4 && t->words.used < words) {
        if (fscanf(f, "%" SCNu64 " %200s\n", &count, text) != 2)
            break;
        table_add(&t->words, text, count);
    }
    if (n != 4 || t->words.used != words)
        die("\"%s\" has %zu words, expected %zu: it is not ours, or damaged", path, t->words.used,
            words);
    fclose(f);
}

static void tally_write(const tally *t, const char *path) {
    FILE *f = fopen(path, "w");
    if (f == NULL)
        die("cannot write \"%s\": %s", path, strerror(errno));
    fprintf(f, "epoch %" PRIu64 " era %" PRIu64 " next %" PRIu64 " words %zu\n", t->epoch,
            t->next.era, t->next.offset, t->words.used);
    for (size_t i = 0; i < t->words.capacity; i++)
        if (t->words.slots[i].text != NULL)
            fprintf(f, "%" PRIu64 " %s\n", t->words.slots[i].count, t->words.slots[i].text);
    if (fflush(f) != 0 || fsync(fileno(f)) != 0 || fclose(f) != 0)
        die("cannot write \"%s\": %s", path, strerror(errno));
}

static uint64_t epoch_of_file(const char *path) {
    uint64_t epoch = 0;
    FILE *f = fopen(path, "r");
    if (f != NULL) {
        if (fscanf(f, "epoch %" SCNu64, &epoch) != 1)
            die("\"%s\" is not ours, or damaged", path);
        fclose(f);
    } else if (errno != ENOENT) {
        die("cannot read \"%s\": %s", path, strerror(errno));
    }
    return epoch;
}

static void sync_directory(const char *dir) {
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0)
        die("cannot sync \"%s\": %s", dir, strerror(errno));
    close(fd);
}

/* Replace the file, unless a later owner has written it: then what is counted here is not wanted.
 * The lock makes one step of looking and replacing; it goes with its holder, however that ends. */
static void tally_save(tally *t, const char *dir, uint32_t partition) {
    char path[4096], temporary[4096], lock[4096];
    int fd = open(path_of(lock, dir, partition, ".lock"), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0 || flock(fd, LOCK_EX) != 0)
        die("cannot lock \"%s\": %s", lock, strerror(errno));
    path_of(path, dir, partition, ".counts");
    if (epoch_of_file(path) <= t->epoch) {
        tally_write(t, path_of(temporary, dir, partition, ".new"));
        if (rename(temporary, path) != 0)
            die("cannot replace \"%s\": %s", path, strerror(errno));
        t->changed = false;
    }
    close(fd);
}

/* ---- The stages --------------------------------------------------------------------------- */

typedef struct stage {
    const char *name, *from, *to;
    void (*handle)(struct stage *s, const seg_message *m);
    void (*finish)(
        struct stage *s); /* what has to be done before a batch is acknowledged, or NULL */
    seg_client *client;
    seg_consumer *consumer;
    seg_producer *producer;
    const char *dir;
    tally *tallies;
    uint32_t partitions;
} stage;

static volatile sig_atomic_t stopping;
static seg_consumer *stoppable;

static void on_signal(int signal) {
    (void)signal;
    stopping = 1;
    seg_consumer_stop(stoppable); /* may be called from a signal handler */
}

/* Where the next stream is full this waits: that is what keeps a fast stage from running away. */
static void forward(stage *s, const seg_delivery *d, const char *word, size_t len) {
    seg_error err;
    seg_status status;
    seg_record r;
    SEG_INIT(&r);
    r.key = r.value = (seg_bytes){word, len};
    do
        status = seg_forward(s->consumer, d, s->producer, &r, &err);
    while (status == SEG_EFULL && !stopping);
    /* EFENCED: its partition has moved, and so has the work. */
    if (status != SEG_OK && status != SEG_EFENCED && !stopping)
        die("%s", err.text);
}

static void split(stage *s, const seg_message *m) {
    seg_bytes line = seg_message_value(m);
    seg_delivery d = seg_message_delivery(m);
    const unsigned char *c = line.data, *end = c + line.len;
    while (c < end) {
        const unsigned char *word = c;
        while (c < end && !isspace(*c))
            c++;
        size_t len = (size_t)(c - word);
        if (len > 0)
            forward(s, &d, (const char *)word, len < WORD_MAX ? len : WORD_MAX);
        else
            c++;
    }
}

/* Letters, digits and what is not ASCII, in lower case. Tidy already: nothing changes. */
static size_t tidy(char out[WORD_MAX + 1], seg_bytes word) {
    const unsigned char *c = word.data;
    size_t len = 0;
    for (size_t i = 0; i < word.len && len < WORD_MAX; i++)
        if (isalnum(c[i]) || c[i] >= 0x80)
            out[len++] = (char)tolower(c[i]);
    out[len] = '\0';
    return len;
}

static void clean(stage *s, const seg_message *m) {
    char word[WORD_MAX + 1];
    seg_delivery d = seg_message_delivery(m);
    size_t len = tidy(word, seg_message_value(m));
    if (len > 0)
        forward(s, &d, word, len);
}

/* The file is read at the first message of an ownership, when no earlier owner can acknowledge any
 * more. */
static tally *tally_of(stage *s, const seg_delivery *d) {
    tally *t = &s->tallies[d->partition];
    if (t->epoch < d->epoch) {
        tally_load(t, s->dir, d->partition);
        if (t->epoch < d->epoch)
            t->epoch = d->epoch;
    }
    return t->epoch == d->epoch ? t : NULL; /* NULL: there is a later owner */
}

static bool is_counted(const tally *t, seg_id id) {
    return id.era < t->next.era || (id.era == t->next.era && id.offset < t->next.offset);
}

static void count(stage *s, const seg_message *m) {
    char word[WORD_MAX + 1];
    seg_delivery d = seg_message_delivery(m);
    tally *t = tally_of(s, &d);
    if (t == NULL || is_counted(t, d.id))
        return;
    if (tidy(word, seg_message_value(m)) > 0)
        table_add(&t->words, word, 1);
    t->next = (seg_id){d.id.era, d.id.offset + 1};
    t->changed = true;
}

static void count_finish(stage *s) {
    for (uint32_t p = 0; p < s->partitions; p++)
        if (s->tallies[p].changed)
            tally_save(&s->tallies[p], s->dir, p);
    sync_directory(s->dir);
}

static seg_status work(stage *s, seg_error *err) {
    for (;;) {
        seg_batch *batch;
        seg_status status = seg_consumer_poll(&batch, s->consumer, BATCH, SEG_FOREVER, err);
        if (status != SEG_OK)
            return status;
        for (size_t i = 0; i < seg_batch_count(batch) && !stopping; i++)
            s->handle(s, seg_batch_at(batch, i));
        if (s->finish != NULL && seg_batch_count(batch) > 0)
            s->finish(s);
        /* Where this is interrupted, some may be without their outputs. */
        if (!stopping)
            seg_ack_batch(s->consumer, batch, NULL); /* EFENCED: its new owner does it again */
        seg_batch_free(batch);
    }
}

static void log_line(seg_log_level level, const char *event, const char *text, void *arg) {
    (void)level;
    fprintf(stderr, "wordcount %s: %s: %s\n", (const char *)arg, event, text);
}

static seg_client *open_client(const char *url, const char *who) {
    seg_error err;
    seg_client *client;
    seg_client_options co;
    SEG_INIT(&co);
    co.url = url;
    co.log = log_line;
    co.log_arg = (void *)(uintptr_t)who;
    co.log_level = SEG_LOG_WARN;
    check(seg_client_open(&client, &co, &err), &err);
    return client;
}

static uint32_t partitions_of(seg_client *client, const char *stream) {
    seg_error err;
    seg_stream_info *info;
    check(seg_stream_describe(&info, client, stream, &err), &err);
    uint32_t partitions = seg_stream_info_partitions(info);
    seg_stream_info_free(info);
    return partitions;
}

static void open_stage(stage *s, const char *name) {
    seg_error err;
    seg_consumer_options o;
    SEG_INIT(&o);
    o.group = s->name;
    o.instance = name;
    o.session_timeout = 2000;
    o.ordering = SEG_BY_PARTITION; /* `count` remembers one place for each partition */
    o.ack_timeout = SEG_FOREVER;   /* waiting for room downstream is no failure */
    if (s->to != NULL) {
        seg_producer_options po;
        SEG_INIT(&po);
        po.delivery_timeout = ROOM_MS;
        check(seg_producer_open(&s->producer, s->client, s->to, &po, &err), &err);
    } else {
        s->partitions = partitions_of(s->client, s->from);
        if ((s->tallies = calloc(s->partitions, sizeof *s->tallies)) == NULL)
            die("out of memory");
    }
    check(seg_consumer_open(&s->consumer, s->client, s->from, &o, &err), &err);
}

static int run_stage(stage *s, const char *url, const char *name) {
    seg_error err;
    s->client = open_client(url, s->name);
    open_stage(s, name);
    stoppable = s->consumer;
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    if (work(s, &err) != SEG_ECLOSED)
        die("%s", err.text);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    if (s->producer != NULL) /* what is acknowledged counts once its outputs are stored */
        seg_producer_flush(s->producer, 5000, NULL);
    seg_consumer_close(s->consumer);
    seg_producer_close(s->producer);
    seg_client_close(s->client);
    for (uint32_t p = 0; p < s->partitions; p++)
        table_free(&s->tallies[p].words);
    free(s->tallies);
    return 0;
}

/* ---- The other commands ------------------------------------------------------------------- */

static int create(const char *url, const char *partitions) {
    static const char *const names[] = {"lines", "words", "tidy"};
    seg_error err;
    seg_client *client = open_client(url, "create");
    seg_stream_options o;
    SEG_INIT(&o);
    o.partitions = (uint32_t)strtoul(partitions, NULL, 10);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        check(seg_stream_create(client, names[i], &o, &err), &err);
    seg_client_close(client);
    return 0;
}

static int by_count(const void *a, const void *b) {
    const entry *x = a, *y = b;
    if (x->count != y->count)
        return x->count < y->count ? 1 : -1;
    return x->text == NULL || y->text == NULL ? 0 : strcmp(x->text, y->text);
}

static int result(const char *url, const char *dir) {
    table all = {0};
    seg_client *client = open_client(url, "result");
    for (uint32_t p = 0, n = partitions_of(client, "tidy"); p < n; p++) {
        tally t = {0};
        tally_load(&t, dir, p);
        for (size_t i = 0; i < t.words.capacity; i++)
            if (t.words.slots[i].text != NULL)
                table_add(&all, t.words.slots[i].text, t.words.slots[i].count);
        table_free(&t.words);
    }
    seg_client_close(client);
    if (all.used > 0)
        qsort(all.slots, all.capacity, sizeof *all.slots, by_count); /* the free ones count 0 */
    for (size_t i = 0; i < all.used; i++)
        printf("%" PRIu64 " %s\n", all.slots[i].count, all.slots[i].text);
    table_free(&all);
    return fflush(stdout) == 0 ? 0 : 1;
}

int main(int argc, char **argv) {
    stage stages[] = {
        {.name = "split", .from = "lines", .to = "words", .handle = split},
        {.name = "clean", .from = "words", .to = "tidy", .handle = clean},
        {.name = "count", .from = "tidy", .handle = count, .finish = count_finish},
    };
    const char *what = argc > 3 ? argv[2] : "";
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++)
        if (strcmp(what, stages[i].name) == 0 && argc == (stages[i].to != NULL ? 4 : 5)) {
            stages[i].dir = argv[4];
            return run_stage(&stages[i], argv[1], argv[3]);
        }
    if (strcmp(what, "create") == 0 && argc == 4)
        return create(argv[1], argv[3]);
    if (strcmp(what, "result") == 0 && argc == 4)
        return result(argv[1], argv[3]);
    fprintf(stderr, "usage: wordcount URL create PARTITIONS\n"
                    "       wordcount URL split|clean NAME\n"
                    "       wordcount URL count NAME DIR\n"
                    "       wordcount URL result DIR\n");
    return 2;
}
