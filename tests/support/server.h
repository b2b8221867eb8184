/* server.h - a private redis-server or valkey-server for one test case.
 *
 *     server *s = server_start(NULL);
 *     opts.url = server_url(s);
 *     CHECK_EQ(server_int(s, "XLEN %s", key), 3);
 *     server_stop(s);
 *
 * It listens on a unix socket in a directory of its own under test_dir(), holds nothing but what
 * the case writes, and dies with the case, whether that returns, fails, crashes or is killed. All
 * calls end the case as failed where they cannot do what they say.
 *
 * The binary is SEGMENTER_TEST_SERVER, else redis-server, else valkey-server.
 *
 * Start, restart and stop it on the case's main thread: the kernel ties a child's life to the
 * thread that forked it. One server's commands are for one thread at a time. */
#ifndef SG_TEST_SERVER_H
#define SG_TEST_SERVER_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

typedef struct server server;

/* Start one and wait until it answers PING. `extra_args` ends with NULL and comes last, so it
 * overrides the defaults: --port 0 --save "" --appendonly no. May be NULL. */
server *server_start(const char *const extra_args[]);
/* Also listening on 127.0.0.1, on a port that the system picked. */
server *server_start_tcp(const char *const extra_args[]);
/* Start one that may refuse to come up, or not answer PING by itself (a password): only waits until
 * it accepts a connection. */
server *server_start_unready(const char *const extra_args[]);

/* End it and wait for that, remove its directory, free `s`. NULL is fine, so is one that is down.
 */
void server_stop(server *s);

/* "unix:///tmp/sgXXXXXX/s0/sock"; "redis://127.0.0.1:PORT" where it listens on TCP. */
const char *server_url(const server *s);
const char *server_socket(const server *s); /* the path alone */
const char *server_dir(const server *s);    /* its working directory: dump, AOF, server.log */
int server_port(const server *s);           /* 0 without TCP */
pid_t server_pid(const server *s);          /* 0 while it is down */
bool server_is_valkey(const server *s);

void server_kill9(server *s);  /* SIGKILL; it is gone when this returns. Down until a restart. */
void server_pause(server *s);  /* SIGSTOP: connections stay open, nothing answers */
void server_resume(server *s); /* SIGCONT */
/* End it with SIGTERM where it runs, and start it with the same directory, port and arguments. */
void server_restart(server *s);

/* ---- Raw commands, on a connection of the test's own ---------------------------------------- */

/* hiredis' format: %s a string, %b bytes and size_t. The reply, also an error reply, is the
 * caller's: freeReplyObject(). A connection that a restart has broken is made anew. */
redisReply *server_cmd(server *s, const char *format, ...);
redisReply *server_cmd_argv(server *s, int argc, const char **argv, const size_t *lens);

/* Each fails the case on an error reply or one of another type. */
void server_do(server *s, const char *format, ...);       /* whatever it answers */
long long server_int(server *s, const char *format, ...); /* an integer */
char *server_str(server *s, const char *format, ...);     /* a string: free(); nil is NULL */
long long server_info(server *s, const char *field);      /* a number out of INFO */

/* One more connection, to be closed with redisFree(). */
redisContext *server_connect(const server *s);

#endif
