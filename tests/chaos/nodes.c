/* nodes.c - see nodes.h. */
#include "nodes.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test.h"

enum { ASK_MS = 2000, SYNC_MS = 15000 };

/* ---- Questions ------------------------------------------------------------------------------ */

static redisContext *reach(const server *s) {
    struct timeval limit = {ASK_MS / 1000, 0};
    redisContext *c = redisConnectUnixWithTimeout(server_socket(s), limit);
    if (c != NULL && c->err == 0) {
        redisSetTimeout(c, limit);
        return c;
    }
    if (c != NULL)
        redisFree(c);
    return NULL;
}

redisReply *nodes_ask(server *s, const char *format, ...) {
    redisContext *c = reach(s);
    va_list args;
    if (c == NULL)
        return NULL;
    va_start(args, format);
    redisReply *r = redisvCommand(c, format, args);
    va_end(args);
    redisFree(c);
    if (r != NULL && r->type == REDIS_REPLY_ERROR) {
        fprintf(stderr, "%s: %s\n", format, r->str);
        freeReplyObject(r);
        return NULL;
    }
    return r;
}

void nodes_tell(server *s, const char *format, ...) {
    redisContext *c = reach(s);
    va_list args;
    int done = 0;
    if (c == NULL)
        return;
    va_start(args, format);
    redisvAppendCommand(c, format, args);
    va_end(args);
    while (done == 0 && redisBufferWrite(c, &done) == REDIS_OK) {
    }
    redisFree(c);
}

long long nodes_info(server *s, const char *field) {
    redisReply *r = nodes_ask(s, "INFO");
    char name[80];
    snprintf(name, sizeof name, "\n%s:", field);
    const char *at = r != NULL ? strstr(r->str, name) : NULL;
    long long value = at != NULL ? strtoll(at + strlen(name), NULL, 10) : -1;
    if (r != NULL)
        freeReplyObject(r);
    return value;
}

static void order(server *s, const char *format, const char *a, const char *b) {
    redisReply *r = nodes_ask(s, format, a, b);
    if (r != NULL)
        freeReplyObject(r);
}

/* ---- Starting and stopping ------------------------------------------------------------------ */

static void make_clock(nodes *n, const char *library) {
    int64_t zero = 0;
    snprintf(n->clock, sizeof n->clock, "%s/clock", test_dir());
    int fd = open(n->clock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    CHECK_EQ(write(fd, &zero, sizeof zero), sizeof zero);
    close(fd);
    setenv("CHAOS_CLOCK", n->clock, 1);
    setenv("CHAOS_CLOCK_LIBRARY", library, 1);
    setenv("LD_PRELOAD", library, 1);
}

void nodes_start(nodes *n, const char *clock_library, nodes_fsync fsync, bool replica) {
    const char *const args[] = {"--appendonly",
                                "yes",
                                "--appendfsync",
                                fsync == NODES_ALWAYS ? "always" : "everysec",
                                "--auto-aof-rewrite-percentage",
                                "0",
                                "--aof-load-truncated",
                                "yes",
                                "--enable-debug-command",
                                "yes",
                                "--repl-diskless-sync-delay",
                                "0",
                                "--repl-timeout",
                                "60",
                                "--busy-reply-threshold",
                                "300",
                                NULL};
    *n = (nodes){.detached = true};
    make_clock(n, clock_library);
    signal(SIGXFSZ, SIG_IGN); /* inherited: a write past the limit of nodes_limit_disk then fails */
    n->node[0] = server_start_tcp(args);
    if (replica) {
        n->node[1] = server_start_tcp(args);
        nodes_attach(n);
        WAIT_FOR(SYNC_MS, nodes_in_sync(n));
    }
    unsetenv("LD_PRELOAD");
    n->proxy = proxy_start(server_socket(n->node[0]));
}

void nodes_stop(nodes *n) {
    proxy_stop(n->proxy);
    server_stop(n->node[0]);
    server_stop(n->node[1]);
    unlink(n->clock);
    *n = (nodes){0};
}

server *nodes_primary(const nodes *n) {
    return n->node[n->primary];
}

server *nodes_other(const nodes *n) {
    return n->node[1 - n->primary];
}

void nodes_set_clock(nodes *n, int64_t ms) {
    int fd = open(n->clock, O_WRONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    CHECK_EQ(pwrite(fd, &ms, sizeof ms, 0), sizeof ms);
    close(fd);
}

/* ---- Crashes -------------------------------------------------------------------------------- */

/* The increment that is written to: the one with the largest number. */
static int64_t newest_aof(const server *s, char *path, size_t cap) {
    char dir[256];
    struct stat st;
    long best = -1;
    snprintf(dir, sizeof dir, "%s/appendonlydir", server_dir(s));
    DIR *d = opendir(dir);
    path[0] = '\0';
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        long number = -1;
        if (strstr(e->d_name, ".incr.aof") == NULL ||
            sscanf(e->d_name, "appendonly.aof.%ld", &number) != 1 || number <= best)
            continue;
        best = number;
        snprintf(path, cap, "%s/%s", dir, e->d_name);
    }
    if (d != NULL)
        closedir(d);
    return best >= 0 && stat(path, &st) == 0 ? (int64_t)st.st_size : -1;
}

void nodes_mark(nodes *n) {
    n->aof_size = newest_aof(nodes_primary(n), n->aof, sizeof n->aof);
}

void nodes_crash(nodes *n) {
    server_kill9(nodes_primary(n));
}

int64_t nodes_power_cut(nodes *n) {
    char path[512];
    nodes_crash(n);
    int64_t size = newest_aof(nodes_primary(n), path, sizeof path);
    if (n->aof_size < 0 || size < n->aof_size || strcmp(path, n->aof) != 0 ||
        truncate(path, n->aof_size) != 0)
        return 0;
    return size - n->aof_size;
}

bool nodes_answers(server *s) {
    return server_pid(s) != 0 && nodes_info(s, "uptime_in_seconds") >= 0;
}

void nodes_revive(server *s) {
    if (s == NULL || nodes_answers(s))
        return;
    setenv("LD_PRELOAD", getenv("CHAOS_CLOCK_LIBRARY"), 1);
    server_restart(s);
    unsetenv("LD_PRELOAD");
}

void nodes_limit_disk(nodes *n, int64_t room) {
    struct rlimit limit;
    char path[512];
    server *s = nodes_primary(n);
    int64_t size = newest_aof(s, path, sizeof path);
    if (server_pid(s) <= 0 || prlimit(server_pid(s), RLIMIT_FSIZE, NULL, &limit) != 0)
        return;
    limit.rlim_cur = room < 0 ? limit.rlim_max : (rlim_t)(size + room);
    prlimit(server_pid(s), RLIMIT_FSIZE, &limit, NULL);
}

/* ---- Replication ---------------------------------------------------------------------------- */

void nodes_cut_replication(nodes *n) {
    order(nodes_other(n), "REPLICAOF %s %s", "127.0.0.1", "1"); /* where nobody listens */
}

void nodes_promote(nodes *n) {
    order(nodes_other(n), "REPLICAOF %s %s", "NO", "ONE");
    n->primary = 1 - n->primary;
    n->detached = true;
    proxy_retarget(n->proxy, server_socket(nodes_primary(n)));
}

void nodes_attach(nodes *n) {
    char port[16];
    snprintf(port, sizeof port, "%d", server_port(nodes_primary(n)));
    order(nodes_other(n), "REPLICAOF %s %s", "127.0.0.1", port);
    n->detached = false;
}

bool nodes_in_sync(const nodes *n) {
    if (nodes_other(n) == NULL || n->detached)
        return false;
    redisReply *r = nodes_ask(nodes_other(n), "INFO replication");
    bool up = r != NULL && strstr(r->str, "master_link_status:up") != NULL;
    if (r != NULL)
        freeReplyObject(r);
    /* The replica's is asked first: it is no further than the primary was after that. */
    return up && nodes_info(nodes_other(n), "slave_repl_offset") >=
                     nodes_info(nodes_primary(n), "master_repl_offset") - 2000;
}
