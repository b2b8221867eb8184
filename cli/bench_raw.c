/* bench_raw.c - see bench_raw.h. The only file of the command that knows the protocol: hiredis
 * formats the commands and parses the replies. Its reader is given functions that make no objects,
 * which would cost the baseline more than the rest of its work. */
#include "bench_raw.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli.h"
#include "signals.h"
#include "url.h"

#if HIREDIS_MAJOR < 1
typedef int array_length;
#else
typedef size_t array_length;
#endif

enum {
    CHUNK = 256 * 1024,
    /* The reader moves what is left to the front of its buffer after each reply: little at a time,
     * or that is what it is busy with. */
    SLICE = 16 * 1024,
    WORDS_MAX = 16,
    LOOK_MS = 200,      /* between two looks whether a signal came */
    PATIENCE_MS = 60000 /* a server that says nothing for so long is not waited for */
};

struct bench_raw {
    int fd;
    redisReader *reader;
    redisReplyObjectFunctions makers;
    char *chunk;
    size_t at, have; /* what of the chunk the reader has not seen */
    bool failed;
    bool stubborn;  /* signals do not end it */
    bool keep_text; /* where millions of IDs come, nobody asks for the last */
    char *text;
    int64_t integer, sum;
    char stream[256]; /* the one whose entries are being read */
    size_t stream_len;
    bench_entry_fn *on_entry;
    void *arg;
};

static bool fail(bench_raw *r, const char *what, const char *why) {
    if (!r->failed) {
        r->failed = true;
        cli_failure("%s: %s", what, why);
    }
    return false;
}

static bool interrupted(bench_raw *r) {
    if (!r->stubborn && cli_signal_caught()) {
        r->failed = true; /* whoever runs the whole says so, once */
    }
    return r->failed;
}

/* ---- Replies --------------------------------------------------------------------------------- */

/* [[stream, [[id, [field, value ...]] ...]] ...]: a stream's name is the first of an array in an
 * array, an ID two arrays further in. */
enum { STREAM_DEPTH = 2, ID_DEPTH = 4 };

static int depth_of(const redisReadTask *task) {
    int depth = 0;
    for (const redisReadTask *t = task->parent; t; t = t->parent) {
        depth++;
    }
    return depth;
}

static void take_entry_part(bench_raw *r, const redisReadTask *task, const char *text, size_t len) {
    int depth = task->idx == 0 ? depth_of(task) : 0;
    if (depth == ID_DEPTH) {
        r->on_entry((seg_bytes){r->stream, r->stream_len}, (seg_bytes){text, len}, r->arg);
    } else if (depth == STREAM_DEPTH) {
        r->stream_len = len < sizeof r->stream ? len : sizeof r->stream;
        memcpy(r->stream, text, r->stream_len);
    }
}

/* What is returned stands for an object, and is never looked at: only NULL means something. */
static void *make_string(const redisReadTask *task, char *text, size_t len) {
    bench_raw *r = task->privdata;
    if (task->type == REDIS_REPLY_ERROR) {
        char *why = cli_format("%.*s", (int)len, text);
        fail(r, "the server refused a command", why);
        free(why);
    } else if (r->on_entry) {
        take_entry_part(r, task, text, len);
    } else if (!task->parent && r->keep_text) {
        free(r->text);
        r->text = cli_format("%.*s", (int)len, text);
    }
    return r;
}

static void *make_array(const redisReadTask *task, array_length n) {
    (void)n;
    return task->privdata;
}

static void *make_integer(const redisReadTask *task, long long n) {
    bench_raw *r = task->privdata;
    r->integer = n;
    r->sum += n;
    return r;
}

static void *make_nil(const redisReadTask *task) {
    return task->privdata;
}

static void free_nothing(void *object) {
    (void)object;
}

/* ---- Connecting ------------------------------------------------------------------------------ */

static int dial_unix(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static int dial_tcp(const cli_url *u) {
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *list;
    if (getaddrinfo(u->host, u->port, &hints, &list) != 0) {
        errno = EHOSTUNREACH;
        return -1;
    }
    int fd = -1;
    for (struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
        if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(list);
    int yes = 1;
    if (fd >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    }
    return fd;
}

static void init(bench_raw *r, int fd) {
    r->fd = fd;
    r->makers.createString = make_string;
    r->makers.createArray = make_array;
    r->makers.createInteger = make_integer;
    r->makers.createNil = make_nil;
    r->makers.freeObject = free_nothing;
    r->chunk = cli_alloc(CHUNK, 1);
    r->text = cli_format("%s", "");
    r->reader = redisReaderCreate();
    if (!r->reader) {
        cli_failure("out of memory");
        exit(CLI_FAILURE);
    }
    r->reader->fn = &r->makers;
    r->reader->privdata = r;
    struct timeval look = {.tv_usec = LOOK_MS * 1000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &look, sizeof look);
}

static bool greet(bench_raw *r, const cli_url *u) {
    bench_commands c = {0};
    seg_bytes words[3] = {{"AUTH", 4}};
    size_t n = 1;
    if (u->user) {
        words[n++] = (seg_bytes){u->user, strlen(u->user)};
    }
    if (u->password) {
        words[n++] = (seg_bytes){u->password, strlen(u->password)};
        bench_commands_add(&c, words, n);
    }
    bench_commands_say(&c, "SELECT %s", u->db);
    bool ok = bench_raw_send(r, c.data, c.len) && bench_raw_read(r, u->password ? 2 : 1);
    bench_commands_fini(&c);
    return ok;
}

int bench_raw_open(bench_raw **out, const char *url) {
    cli_url u;
    if (!cli_url_parse(&u, url)) {
        return cli_usage("the URL is neither redis:// nor unix://");
    }
    int fd = u.path ? dial_unix(u.path) : dial_tcp(&u);
    int code = CLI_OK;
    if (fd < 0) {
        cli_note("cannot connect to '%s': %s", u.path ? u.path : u.host, strerror(errno));
        code = CLI_CONNECTION;
    } else {
        bench_raw *r = cli_alloc(1, sizeof *r);
        init(r, fd);
        if (greet(r, &u)) {
            *out = r;
        } else {
            bench_raw_close(r);
            code = CLI_CONNECTION;
        }
    }
    cli_url_fini(&u);
    return code;
}

void bench_raw_close(bench_raw *r) {
    if (!r) {
        return;
    }
    close(r->fd);
    redisReaderFree(r->reader);
    free(r->chunk);
    free(r->text);
    free(r);
}

/* ---- Commands -------------------------------------------------------------------------------- */

static void add_bytes(bench_commands *c, const char *data, size_t len) {
    if (c->capacity - c->len < len) {
        c->capacity = 2 * (c->len + len);
        c->data = cli_grow(c->data, c->capacity, 1);
    }
    memcpy(c->data + c->len, data, len);
    c->len += len;
}

void bench_commands_add(bench_commands *c, const seg_bytes *words, size_t n) {
    const char **argv = cli_alloc(n, sizeof *argv);
    size_t *lens = cli_alloc(n, sizeof *lens);
    for (size_t i = 0; i < n; i++) {
        argv[i] = words[i].data;
        lens[i] = words[i].len;
    }
    char *command;
    long long len = redisFormatCommandArgv(&command, (int)n, argv, lens);
    if (len < 0) {
        cli_failure("out of memory");
        exit(CLI_FAILURE);
    }
    add_bytes(c, command, (size_t)len);
    redisFreeCommand(command);
    free(argv);
    free(lens);
}

__attribute__((format(printf, 2, 0))) static void say(bench_commands *c, const char *format,
                                                      va_list args) {
    char text[1024];
    seg_bytes words[WORDS_MAX];
    size_t n = 0;
    vsnprintf(text, sizeof text, format, args);
    for (char *rest = text, *word; n < WORDS_MAX && (word = strsep(&rest, " "));) {
        words[n++] = (seg_bytes){word, strlen(word)};
    }
    bench_commands_add(c, words, n);
}

void bench_commands_say(bench_commands *c, const char *format, ...) {
    va_list args;
    va_start(args, format);
    say(c, format, args);
    va_end(args);
}

void bench_commands_fini(bench_commands *c) {
    free(c->data);
    *c = (bench_commands){0};
}

/* ---- The wire -------------------------------------------------------------------------------- */

/* The server takes what it is sent also while nobody reads its replies: so this blocks for no longer
 * than the server is busy. */
bool bench_raw_send(bench_raw *r, const char *data, size_t len) {
    while (len > 0 && !r->failed) {
        ssize_t n = send(r->fd, data, len, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR) {
            return fail(r, "cannot send", strerror(errno));
        }
        if (interrupted(r)) {
            return false;
        }
        data += n < 0 ? 0 : n;
        len -= n < 0 ? 0 : (size_t)n;
    }
    return !r->failed;
}

/* Fill the chunk. False also where nothing is there and `flags` say not to wait. */
static bool fill(bench_raw *r, int flags) {
    for (int waited = 0; waited < PATIENCE_MS; waited += LOOK_MS) {
        ssize_t n = recv(r->fd, r->chunk, CHUNK, flags);
        if (n > 0) {
            r->at = 0;
            r->have = (size_t)n;
            return true;
        }
        if (n == 0) {
            return fail(r, "cannot receive", "the server closed the connection");
        }
        if (errno != EAGAIN && errno != EINTR) {
            return fail(r, "cannot receive", strerror(errno));
        }
        if (interrupted(r)) {
            return false;
        }
        if (flags & MSG_DONTWAIT) {
            return false;
        }
    }
    return fail(r, "cannot receive", "the server has not answered for a minute");
}

/* Read up to `n` replies, all where `flags` are 0. Returns how many. */
static size_t read_replies(bench_raw *r, size_t n, int flags) {
    for (size_t done = 0;;) {
        void *reply = NULL;
        if (done == n) {
            return done;
        }
        if (redisReaderGetReply(r->reader, &reply) != REDIS_OK) {
            fail(r, "cannot read a reply", r->reader->errstr);
        }
        if (r->failed) {
            return done;
        }
        if (reply) {
            done++;
            continue;
        }
        if (r->at == r->have && !fill(r, flags)) {
            return done;
        }
        size_t len = r->have - r->at < SLICE ? r->have - r->at : SLICE;
        redisReaderFeed(r->reader, r->chunk + r->at, len);
        r->at += len;
    }
}

bool bench_raw_read(bench_raw *r, size_t n) {
    return !r->failed && read_replies(r, n, 0) == n;
}

bool bench_raw_glance(bench_raw *r, size_t *waiting) {
    if (!r->failed) {
        *waiting -= read_replies(r, *waiting, MSG_DONTWAIT);
    }
    return !r->failed;
}

int64_t bench_raw_integer(const bench_raw *r) {
    return r->integer;
}

const char *bench_raw_text(const bench_raw *r) {
    return r->text;
}

int64_t bench_raw_sum(bench_raw *r) {
    int64_t sum = r->sum;
    r->sum = 0;
    return sum;
}

bool bench_raw_ask(bench_raw *r, const char *format, ...) {
    bench_commands c = {0};
    va_list args;
    va_start(args, format);
    say(&c, format, args);
    va_end(args);
    r->keep_text = true;
    bool ok = bench_raw_send(r, c.data, c.len) && bench_raw_read(r, 1);
    r->keep_text = false;
    bench_commands_fini(&c);
    return ok;
}

void bench_raw_ignore_signals(bench_raw *r) {
    r->stubborn = true;
    r->failed = false;
}

void bench_raw_on_entry(bench_raw *r, bench_entry_fn *fn, void *arg) {
    r->on_entry = fn;
    r->arg = arg;
}
