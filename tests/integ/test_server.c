/* The private server for tests: what server.h says, seen from outside. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server.h"
#include "test.h"

TEST(starts_answers_and_is_removed) {
    server *s = server_start(NULL);
    char dir[128];
    strcpy(dir, server_dir(s));
    pid_t pid = server_pid(s);
    CHECK_CONTAINS(server_url(s), "unix:///tmp/sg");
    CHECK_LT(strlen(server_socket(s)), 30);
    CHECK_EQ(server_port(s), 0);
    server_do(s, "SET %s %b", "k", "a\0b", (size_t)3);
    CHECK_EQ(server_int(s, "STRLEN k"), 3);
    CHECK_EQ(server_info(s, "process_id"), pid);
    CHECK_PTR(server_str(s, "GET none"), NULL);
    redisReply *r = server_cmd(s, "NOSUCHCOMMAND");
    CHECK_EQ(r->type, REDIS_REPLY_ERROR);
    freeReplyObject(r);
    server_stop(s);
    CHECK(access(dir, F_OK) != 0);
    CHECK(kill(pid, 0) != 0 && errno == ESRCH);
    server_stop(NULL);
}

TEST(two_servers_know_nothing_of_each_other) {
    server *a = server_start(NULL), *b = server_start(NULL);
    server_do(a, "SET k 1");
    CHECK_EQ(server_int(a, "DBSIZE"), 1);
    CHECK_EQ(server_int(b, "DBSIZE"), 0);
    server_stop(a);
    server_do(b, "PING");
    server_stop(b);
}

TEST(listens_on_tcp_when_asked) {
    server *s = server_start_tcp(NULL);
    CHECK_CONTAINS(server_url(s), "redis://127.0.0.1:");
    redisContext *c = redisConnect("127.0.0.1", server_port(s));
    CHECK(c && !c->err);
    redisReply *r = redisCommand(c, "PING");
    CHECK(r != NULL);
    CHECK_STR(r->str, "PONG");
    freeReplyObject(r);
    redisFree(c);
    int port = server_port(s);
    server_restart(s);
    CHECK_EQ(server_port(s), port);
    server_stop(s);
}

TEST(extra_arguments_win) {
    const char *const args[] = {"--appendonly", "yes", "--maxmemory", "64mb", NULL};
    server *s = server_start(args);
    CHECK_EQ(server_info(s, "aof_enabled"), 1);
    CHECK_EQ(server_info(s, "maxmemory"), 64 << 20);
    server_stop(s);
}

TEST(a_password_keeps_ping_from_answering) {
    const char *const args[] = {"--requirepass", "secret", NULL};
    server *s = server_start_unready(args);
    redisReply *r = server_cmd(s, "PING");
    CHECK_EQ(r->type, REDIS_REPLY_ERROR);
    CHECK_CONTAINS(r->str, "NOAUTH");
    freeReplyObject(r);
    server_stop(s);
}

TEST(killed_and_restarted_it_keeps_its_directory) {
    const char *const args[] = {"--appendonly", "yes", "--appendfsync", "always", NULL};
    server *s = server_start(args);
    pid_t first = server_pid(s);
    server_do(s, "SET k before");
    server_kill9(s);
    CHECK_EQ(server_pid(s), 0);
    server_restart(s);
    CHECK_NE(server_pid(s), first);
    char *value = server_str(s, "GET k");
    CHECK_STR(value, "before");
    free(value);
    server_stop(s);
}

TEST(without_persistence_a_restart_forgets) {
    server *s = server_start(NULL);
    server_do(s, "SET k 1");
    server_restart(s);
    CHECK_EQ(server_int(s, "DBSIZE"), 0);
    server_stop(s);
}

TEST(paused_it_does_not_answer) {
    server *s = server_start(NULL);
    redisContext *c = server_connect(s);
    server_pause(s);
    struct timeval limit = {0, 100000};
    redisSetTimeout(c, limit);
    CHECK_PTR(redisCommand(c, "PING"), NULL);
    server_resume(s);
    server_do(s, "PING");
    redisFree(c);
    server_pause(s);
    server_stop(s); /* also a stopped one */
}

/* A case that is killed takes its servers with it. */
TEST(dies_with_its_parent) {
    int pipes[2];
    CHECK_EQ(pipe(pipes), 0);
    pid_t pid = fork();
    CHECK_GE(pid, 0);
    if (pid == 0) {
        server *s = server_start(NULL);
        pid_t born = server_pid(s);
        CHECK_EQ(write(pipes[1], &born, sizeof born), sizeof born);
        raise(SIGKILL);
    }
    pid_t born = 0;
    CHECK_EQ(read(pipes[0], &born, sizeof born), sizeof born);
    CHECK_EQ(waitpid(pid, NULL, 0), pid);
    /* It becomes a child of whoever collects orphans, and is gone once that has collected it;
     * where nobody does, a zombie is as dead. */
    close(pipes[1]);
    char state[64], path[64];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)born);
    for (struct test_wait w = test_wait_start(10000);;) {
        FILE *f = fopen(path, "r");
        bool zombie = f && fscanf(f, "%*d (%*[^)]) %63s", state) == 1 && state[0] == 'Z';
        if (f) {
            fclose(f);
        }
        if (zombie || kill(born, 0) != 0) {
            break;
        }
        CHECK(test_wait_more(&w));
    }
}
