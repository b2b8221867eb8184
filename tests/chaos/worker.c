/* worker.c - see worker.h: how a worker starts and ends, and what its roles share. */
#include "worker.h"

#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

enum { OPEN_PAUSE_MS = 50, CONNECT_MS = 1000, COMMAND_MS = 1500, STEP_MS = 10 };

atomic_bool work_over;

/* Who is told when SIGTERM comes; the lock keeps a consumer from being closed meanwhile. */
static pthread_mutex_t stop_lock = PTHREAD_MUTEX_INITIALIZER;
static seg_consumer *stoppable;

/* ---- What it is started with ---------------------------------------------------------------- */

typedef enum field_type { TEXT, NUMBER, SMALL, TIME } field_type;

static const struct {
    const char *name;
    field_type type;
    size_t at;
} fields[] = {
    {"role", TEXT, offsetof(work, role)},
    {"name", TEXT, offsetof(work, name)},
    {"dir", TEXT, offsetof(work, dir)},
    {"url", TEXT, offsetof(work, url)},
    {"stream", TEXT, offsetof(work, stream)},
    {"target", TEXT, offsetof(work, target)},
    {"group", TEXT, offsetof(work, group)},
    {"alias", TEXT, offsetof(work, alias)},
    {"target-alias", TEXT, offsetof(work, target_alias)},
    {"socket", TEXT, offsetof(work, socket)},
    {"seed", NUMBER, offsetof(work, seed)},
    {"keys", SMALL, offsetof(work, keys)},
    {"rate", SMALL, offsetof(work, rate)},
    {"session", TIME, offsetof(work, session)},
    {"timeout", TIME, offsetof(work, timeout)},
    {"deadline", TIME, offsetof(work, deadline)},
    {"bare", SMALL, offsetof(work, bare)},
    {"outputs", SMALL, offsetof(work, outputs)},
    {"retry", SMALL, offsetof(work, retry)},
    {"reject", SMALL, offsetof(work, reject)},
    {"partitions", SMALL, offsetof(work, partitions)},
    {"bound", NUMBER, offsetof(work, bound)},
    {"drop", SMALL, offsetof(work, drop)},
};

static bool set_field(work *w, const char *text) {
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        size_t n = strlen(fields[i].name);
        if (strncmp(text, fields[i].name, n) != 0 || text[n] != '=')
            continue;
        const char *given = text + n + 1;
        char *at = (char *)w + fields[i].at;
        uint64_t number = strtoull(given, NULL, 10);
        switch (fields[i].type) {
        case TEXT:
            memcpy(at, &given, sizeof given);
            break;
        case NUMBER:
            memcpy(at, &number, sizeof number);
            break;
        case SMALL:
            memcpy(at, &(unsigned){(unsigned)number}, sizeof(unsigned));
            break;
        case TIME:
            memcpy(at, &(int64_t){(int64_t)number}, sizeof(int64_t));
            break;
        }
        return true;
    }
    return false;
}

/* ---- Saying --------------------------------------------------------------------------------- */

void work_say(const work *w, const char *what, seg_status s, const seg_error *err) {
    fprintf(stderr, "%llu %s: %s: %s%s%s\n", (unsigned long long)history_now() / 1000000, w->name,
            what, seg_status_name(s), s != SEG_OK && err != NULL ? ": " : "",
            s != SEG_OK && err != NULL ? err->text : "");
}

void work_broken(const work *w, const char *what, const char *detail) {
    fprintf(stderr, "%s: BROKEN: %s: %s\n", w->name, what, detail);
    fflush(NULL);
    _Exit(3);
}

static void on_log(seg_log_level level, const char *event, const char *text, void *arg) {
    static const char *const levels[] = {"error", "warn", "info", "debug"};
    const work *w = arg;
    fprintf(stderr, "%llu %s: %s %s: %s\n", (unsigned long long)history_now() / 1000000, w->name,
            levels[level], event, text);
}

/* ---- Shared by the roles -------------------------------------------------------------------- */

uint64_t work_chance(work *w, uint64_t below) {
    w->chance = w->chance * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (w->chance >> 33) % below;
}

int64_t work_now_ms(void) {
    return (int64_t)(history_now() / 1000000);
}

void work_pause(int64_t ms) {
    int64_t end = work_now_ms() + ms;
    while (!atomic_load(&work_over) && work_now_ms() < end) {
        int64_t left = end - work_now_ms();
        int64_t step = left < STEP_MS ? left : STEP_MS;
        nanosleep(&(struct timespec){0, (long)step * 1000000}, NULL);
    }
}

seg_client *work_client(work *w) {
    seg_client_options o;
    seg_client *c = NULL;
    seg_error err;
    SEG_INIT(&o);
    o.url = w->url;
    o.connect_timeout = CONNECT_MS;
    o.command_timeout = COMMAND_MS;
    o.log = on_log;
    o.log_arg = w;
    o.log_level = SEG_LOG_WARN;
    while (!atomic_load(&work_over)) {
        seg_status s = seg_client_open(&c, &o, &err);
        if (s == SEG_OK)
            return c;
        work_say(w, "client", s, &err);
        work_pause(OPEN_PAUSE_MS);
    }
    return NULL;
}

seg_producer *work_producer(work *w, seg_client *c, const char *stream, char name[VALUE_NAME],
                            work_loss *loss) {
    seg_producer_options o;
    seg_producer *p = NULL;
    seg_error err;
    SEG_INIT(&o);
    o.delivery_timeout = w->timeout;
    o.max_queued = (size_t)256 * 1024;
    o.linger = (int64_t)work_chance(w, 4);
    o.codec = (seg_codec)work_chance(w, SEG_ZSTD + 1);
    o.on_loss = loss != NULL ? work_on_loss : NULL;
    o.loss_arg = loss;
    snprintf(name, VALUE_NAME, "%s:%u", w->name, ++w->opened);
    if (loss != NULL)
        loss->producer = history_name(w->h, name);
    while (!atomic_load(&work_over)) {
        seg_status s = seg_producer_open(&p, c, stream, &o, &err);
        if (s == SEG_OK)
            return p;
        work_say(w, "producer", s, &err);
        work_pause(OPEN_PAUSE_MS);
    }
    return NULL;
}

bool work_ruined(seg_status s) {
    return s == SEG_ENOENT || s == SEG_ELOST || s == SEG_ECLOSED || s == SEG_EACCES ||
           s == SEG_ESERVER || s == SEG_EPROTO;
}

void work_message_init(work_message *m, const value *v) {
    SEG_INIT(&m->record);
    size_t n = value_write(v, m->bytes);
    m->record.key = value_key(v->key, m->key);
    m->record.value = (seg_bytes){m->bytes, n};
    m->crc = history_crc(m->bytes, n);
}

/* ---- Starting and ending -------------------------------------------------------------------- */

void work_may_stop(seg_consumer *c) {
    pthread_mutex_lock(&stop_lock);
    stoppable = c;
    if (c != NULL && atomic_load(&work_over))
        seg_consumer_stop(c);
    pthread_mutex_unlock(&stop_lock);
}

static void *wait_for_end(void *arg) {
    const sigset_t *set = arg;
    int got;
    while (sigwait(set, &got) != 0) {
    }
    pthread_mutex_lock(&stop_lock);
    atomic_store(&work_over, true);
    if (stoppable != NULL)
        seg_consumer_stop(stoppable);
    pthread_mutex_unlock(&stop_lock);
    return NULL;
}

static const struct {
    const char *name;
    void (*run)(work *w);
} roles[] = {
    {"produce", work_produce},
    {"produce-sync", work_produce_sync},
    {"poll", work_poll},
    {"come-and-go", work_come_and_go},
    {"handle", work_handle},
    {"forward", work_forward},
    {"forward-run", work_forward_run},
    {"watch", work_watch},
    {"create", work_create},
    {"final", work_final},
};

static work the_work = {
    .url = "redis://127.0.0.1:6379",
    .stream = "in",
    .group = "g",
    .keys = 20,
    .rate = 200,
    .session = 1500,
    .timeout = 120000,
    .deadline = 30000,
    .partitions = 4,
    .bound = 10000000,
    .outputs = 2,
};

int main(int argc, char **argv) {
    static sigset_t set;
    pthread_t waiter;
    work *w = &the_work;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int i = 1; i < argc; i++)
        if (!set_field(w, argv[i])) {
            fprintf(stderr, "worker: \"%s\" is no field=value that it knows\n", argv[i]);
            return 2;
        }
    if (w->role == NULL || w->name == NULL || w->dir == NULL) {
        fprintf(stderr, "worker: role, name and dir have to be given\n");
        return 2;
    }
    w->alias = w->alias != NULL ? w->alias : w->stream;
    w->target_alias = w->target_alias != NULL ? w->target_alias : w->target;
    w->chance = w->seed;
    w->h = history_open(w->dir, w->name);
    w->in = history_name(w->h, w->alias);
    w->out = history_name(w->h, w->target_alias);
    w->of_group = history_name(w->h, w->group);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (pthread_create(&waiter, NULL, wait_for_end, &set) != 0)
        return 2;
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (strcmp(roles[i].name, w->role) == 0) {
            roles[i].run(w);
            history_close(w->h);
            return 0;
        }
    fprintf(stderr, "worker: there is no role \"%s\"\n", w->role);
    return 2;
}
