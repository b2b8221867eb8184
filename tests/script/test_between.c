/* What may come between the commands of an append, or cut it off: memory that runs out, rights that are
 * withdrawn, a server that is a replica now, a script that is killed, a connection or a file that ends in the
 * middle. Either all of it happens or nothing, and the log is sealed after it. */
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "scripts_rig.h"
#include "test.h"

static void start(raw *r) {
    raw_start(r);
    raw_create_stream(r, 1, 100000, "block");
    CHECK_STR(raw_append(r, (raw_batch){.first = 1, .n = 3}), "[OK 0] 1-2");
}

static const raw_output OUTPUTS[] = {{.input = "i", .epoch = 1, .offset = 7},
                                     {.input = "i", .epoch = 1, .offset = 8}};

/* Of the plain append and of the one of outputs. */
static const raw_output *const BOTH[] = {NULL, OUTPUTS};

static const raw_batch NEXT = {.first = 4, .n = 2};

/* Nothing has happened; the same batch again is stored. (In another era, if it was a replica.) */
static void check_nothing_happened(const raw *r, char *before, const raw_output *from) {
    raw_batch b = NEXT;
    raw_check_contents(r, before);
    free(before);
    raw_check_sealed(r);
    CHECK_EQ(strncmp(raw_probe(r), "OK 3 ", 5), 0);
    b.era = (uint64_t)raw_number(r, 'S', "era");
    CHECK_STR(from == NULL ? raw_append(r, b) : raw_forward(r, b, from),
              raw_line("[OK 3] %" PRIu64 "-4", b.era));
    raw_check_log(r);
}

/* ---- between the queuing and EXEC --------------------------------------------------------- */

/* The transaction is queued whole, then `command` is done by another connection: EXEC answers `refused`, and
 * `after` undoes that. */
static void refused_at_exec(const char *command, const char *refused, const char *after) {
    for (size_t i = 0; i < 2; i++) {
        raw r;
        start(&r);
        raw other = raw_other(&r);
        char *before = raw_contents(&r);
        raw_queue(&r, NEXT, BOTH[i]);
        CHECK_STR(raw_cmd(&other, command), "OK");
        CHECK_CONTAINS(raw_cmd(&r, "EXEC"), refused);
        CHECK_STR(raw_cmd(&other, after), "OK");
        check_nothing_happened(&r, before, BOTH[i]);
        redisFree(other.c);
        raw_stop(&r);
    }
}

TEST(memory_runs_out) {
    refused_at_exec("CONFIG SET maxmemory-policy noeviction maxmemory 1000", "-EXECABORT",
                    "CONFIG SET maxmemory 0");
}

TEST(too_few_replicas) {
    refused_at_exec("CONFIG SET min-replicas-to-write 1", "-EXECABORT",
                    "CONFIG SET min-replicas-to-write 0");
}

TEST(it_is_a_replica_now) {
    refused_at_exec("REPLICAOF 127.0.0.1 1", "-EXECABORT", "REPLICAOF NO ONE");
}

/* Each right that an append needs, withdrawn when its commands are queued: EXEC asks for them again, for
 * each command by itself. So the guard must be sure of what comes behind it, and what comes behind it must
 * not happen without the guard.
 *
 *     MULTI   guard   XADD   XSETID        EXEC
 *                                     ^ -xadd
 */
static void withdrawn(const char *rule, const char *guard, const char *xadd, const char *xsetid) {
    for (size_t i = 0; i < 2; i++) {
        raw r;
        start(&r);
        raw user = raw_other(&r);
        char *before = raw_contents(&r);
        CHECK_STR(raw_cmd(&r, "ACL SETUSER u reset on >pw ~* &* +@all"), "OK");
        CHECK_STR(raw_cmd(&user, "AUTH u pw"), "OK");
        raw_queue(&user, NEXT, BOTH[i]);
        CHECK_STR(raw_cmd(&r, raw_line("ACL SETUSER u %s", rule)), "OK");
        redisReply *exec = raw_cmd_reply(&user, "EXEC");
        CHECK_EQ(exec->type, REDIS_REPLY_ARRAY);
        CHECK_EQ(exec->elements, 3);
        const char *const expected[] = {guard, xadd, xsetid};
        for (size_t k = 0; k < 3; k++) {
            const redisReply *one = exec->element[k];
            const char *text = one->type == REDIS_REPLY_ARRAY ? one->element[0]->str : one->str;
            if (strncmp(text, expected[k], strlen(expected[k])) != 0) {
                FAIL("%s: answer %zu is \"%s\", not \"%s\"", rule, k, text, expected[k]);
            }
        }
        freeReplyObject(exec);
        check_nothing_happened(&r, before, BOTH[i]);
        redisFree(user.c);
        raw_stop(&r);
    }
}

#define EXHAUSTED "ERR The stream has exhausted"

TEST(the_right_to_xadd_is_withdrawn) {
    withdrawn("-xadd", "BROKEN", "NOPERM", "OK");
}

/* The guard has used it before it lets anything pass. */
TEST(the_right_to_xsetid_is_withdrawn) {
    withdrawn("-xsetid", "BROKEN", EXHAUSTED, "NOPERM");
}

TEST(the_right_to_the_guard_is_withdrawn) {
    withdrawn("-eval", "NOPERM", EXHAUSTED, "OK");
}

TEST(a_right_of_the_guard_is_withdrawn) {
    withdrawn("-hset", "BROKEN", EXHAUSTED, "OK");
}

/* Without its keys the guard does not run; what comes behind it has another one less. */
TEST(the_state_is_withdrawn) {
    withdrawn("resetkeys ~*:log", "NOPERM", EXHAUSTED, "OK");
}

TEST(the_log_is_withdrawn) {
    withdrawn("resetkeys ~*:state ~*:forwards", "NOPERM", "NOPERM", "NOPERM");
}

TEST(writing_to_the_log_is_withdrawn) {
    withdrawn("resetkeys ~*:state ~*:forwards %%R~*:log", "NOPERM", "NOPERM", "NOPERM");
}

TEST(everything_is_withdrawn) {
    withdrawn("-@all +exec", "NOPERM", "NOPERM", "NOPERM");
}

/* ---- a transaction that is none ----------------------------------------------------------- */

/* A MULTI that is refused alone: the server runs the rest one by one. It stays in order, so the guard still
 * comes first, and the log is sealed at the end. */
TEST(the_right_to_multi_is_withdrawn) {
    for (size_t i = 0; i < 2; i++) {
        raw r;
        start(&r);
        raw user = raw_other(&r);
        CHECK_STR(raw_cmd(&r, "ACL SETUSER u reset on >pw ~* &* +@all -multi"), "OK");
        CHECK_STR(raw_cmd(&user, "AUTH u pw"), "OK");
        char *before = raw_contents(&r);
        raw_batch b = NEXT;
        b.by_digest = true;
        CHECK_STR(raw_cmd(&r, "SCRIPT FLUSH SYNC"), "OK");
        const char *answer = i == 0 ? raw_append(&user, b) : raw_forward(&user, b, OUTPUTS);
        CHECK_STR(answer, "-ERR EXEC without MULTI");
        raw_check_contents(&r, before);
        free(before);
        raw_check_sealed(&r);
        answer = i == 0 ? raw_append(&user, NEXT) : raw_forward(&user, NEXT, OUTPUTS);
        CHECK_STR(answer, "-ERR EXEC without MULTI"); /* and yet it is stored: nobody can tell */
        raw_check_log(&r);
        CHECK_EQ(raw_number(&r, 'S', "next"), 5);
        redisFree(user.c);
        raw_stop(&r);
    }
}

/* And if the connection ends behind the guard, it stays open until the next guard of anybody. */
TEST(a_guard_with_nothing_behind_it) {
    raw r;
    start(&r);
    CHECK_STR(raw_guard(&r, NEXT), "OK 3");
    CHECK_STR(raw_probe(&r), "OK 5 1:0 0 0");
    raw_check_sealed(&r);
    CHECK_STR(raw_append(&r, (raw_batch){.first = 6, .n = 1}), "[OK 5] 1-5");
    raw_check_sealed(&r);
    raw_stop(&r);
}

TEST(a_connection_that_ends_before_exec) {
    for (size_t i = 0; i < 2; i++) {
        raw r;
        start(&r);
        char *before = raw_contents(&r);
        raw other = raw_other(&r);
        raw_queue(&other, NEXT, BOTH[i]);
        redisFree(other.c);
        WAIT_FOR(20000, server_info(r.server, "connected_clients") <= 2);
        check_nothing_happened(&r, before, BOTH[i]);
        raw_stop(&r);
    }
}

/* ---- scripts that take too long ----------------------------------------------------------- */

/* A script of somebody else that does not end, until it is killed. */
static void make_busy(const raw *r, const raw *other) {
    int done = 0;
    CHECK_STR(raw_cmd(r, "CONFIG SET lua-time-limit 1"), "OK");
    redisAppendCommand(other->c, "EVAL %s 0", "while true do end");
    CHECK_EQ(redisBufferWrite(other->c, &done), REDIS_OK);
    WAIT_FOR(20000, strncmp(raw_cmd(r, "PING"), "-BUSY", 5) == 0);
}

static void end_busy(const raw *r, const raw *other) {
    redisReply *reply = NULL;
    CHECK_STR(raw_cmd(r, "SCRIPT KILL"), "OK");
    CHECK_EQ(redisGetReply(other->c, (void **)&reply), REDIS_OK);
    freeReplyObject(reply);
    WAIT_FOR(20000, strcmp(raw_cmd(r, "PING"), "PONG") == 0);
}

TEST(another_script_is_busy) {
    for (size_t i = 0; i < 2; i++) {
        raw r;
        start(&r);
        raw busy = raw_other(&r), queued = raw_other(&r), killer = raw_other(&r);
        char *before = raw_contents(&r);
        raw_queue(&queued, NEXT, BOTH[i]); /* one that was queued before, and one now */
        make_busy(&killer, &busy);
        CHECK_CONTAINS(raw_cmd(&queued, "EXEC"), "BUSY");
        const char *answer = i == 0 ? raw_append(&r, NEXT) : raw_forward(&r, NEXT, OUTPUTS);
        CHECK_CONTAINS(answer, "-EXECABORT");
        end_busy(&killer, &busy);
        raw_check_contents(&r, before);
        raw_check_sealed(&r);
        CHECK_CONTAINS(raw_cmd(&queued, "EXEC"), "-ERR EXEC without MULTI");
        check_nothing_happened(&r, before, BOTH[i]);
        redisFree(busy.c);
        redisFree(queued.c);
        redisFree(killer.c);
        raw_stop(&r);
    }
}

typedef struct killer {
    const server *server;
    atomic_bool stop;
} killer;

static void *kill_scripts(void *arg) {
    killer *k = arg;
    redisContext *c = server_connect(k->server);
    while (!atomic_load(&k->stop)) {
        redisReply *reply = redisCommand(c, "SCRIPT KILL");
        CHECK(reply != NULL);
        freeReplyObject(reply);
    }
    redisFree(c);
    return NULL;
}

/* The guard itself is killed, while it has changed nothing yet: it cannot forbid any more. */
TEST(the_guard_is_killed) {
    enum { N = 6000 };
    raw r;
    raw_output *many = calloc(N, sizeof *many);
    killer k;
    pthread_t thread;
    CHECK(many != NULL);
    for (uint32_t i = 0; i < N; i++) {
        many[i] = (raw_output){.input = "i", .epoch = 1, .offset = i};
    }
    start(&r);
    CHECK_STR(raw_cmd(&r, "CONFIG SET lua-time-limit 1"), "OK");
    k.server = r.server;
    atomic_init(&k.stop, false);
    CHECK_EQ(pthread_create(&thread, NULL, kill_scripts, &k), 0);
    bool killed = false;
    int64_t end = test_now_ms() + 30000;
    for (uint64_t first = 4; !killed && test_now_ms() < end;) {
        char *before = raw_contents(&r);
        const char *answer = raw_forward(&r, (raw_batch){.first = first, .n = N}, many);
        killed = strstr(answer, "killed") != NULL;
        if (killed) {
            CHECK_EQ(answer[0], '-');
            CHECK_CONTAINS(answer, " " RAW_SEALED);
            raw_check_contents(&r, before);
        } else { /* it was faster */
            CHECK_EQ(strncmp(answer, "[OK ", 4), 0);
            first += N;
            for (uint32_t i = 0; i < N; i++) {
                many[i].offset += N;
            }
        }
        raw_check_sealed(&r);
        free(before);
    }
    atomic_store(&k.stop, true);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK(killed);
    free(many);
    raw_stop(&r);
}

/* ---- a file that ends in the middle ------------------------------------------------------- */

static char *read_file(const char *path, size_t *size) {
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK_GE(fd, 0);
    CHECK_EQ(fstat(fd, &st), 0);
    *size = (size_t)st.st_size;
    char *bytes = malloc(*size + 1);
    CHECK(bytes != NULL);
    CHECK_EQ(read(fd, bytes, *size), st.st_size);
    bytes[*size] = '\0';
    close(fd);
    return bytes;
}

static void write_file(const char *path, const char *bytes, size_t size) {
    int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    CHECK_GE(fd, 0);
    CHECK_EQ(write(fd, bytes, size), (ssize_t)size);
    close(fd);
}

/* A power cut while the server writes its AOF: at the beginning of each command of an append, and within
 * it. The transaction is dropped whole then. */
TEST_DEADLINE(the_aof_ends_within_an_append, 120) {
    raw r;
    char path[300];
    size_t from, size, places = 0;
    raw_start_with(&r, (const char *const[]){"--appendonly", "yes", "--appendfsync", "always",
                                             "--aof-load-truncated", "yes", NULL});
    raw_create_stream(&r, 1, 100, "block");
    CHECK_STR(raw_append(&r, (raw_batch){.first = 1, .n = 3}), "[OK 0] 1-2");
    snprintf(path, sizeof path, "%s/appendonlydir/appendonly.aof.1.incr.aof", server_dir(r.server));
    free(read_file(path, &from));
    char *before = raw_contents(&r);
    CHECK_STR(raw_append(&r, NEXT), "[OK 3] 1-4");
    char *bytes = read_file(path, &size);
    CHECK_CONTAINS(bytes + from, "XADD");
    for (size_t at = from + 1; at < size; at++) {
        bool begins = bytes[at] == '*' && bytes[at - 1] == '\n';
        if (!begins && (at + 1 == size || bytes[at + 1] != '*') && at != from + 1) {
            continue;
        }
        places++;
        redisFree(r.c);
        server_kill9(r.server);
        write_file(path, bytes, at);
        server_restart(r.server);
        r.c = server_connect(r.server);
        raw_check_contents(&r, before);
        raw_check_unguarded(&r);
        raw_check_log(&r);
    }
    CHECK_GE(places, 7);
    free(bytes);
    free(before);
    raw_stop(&r);
}
