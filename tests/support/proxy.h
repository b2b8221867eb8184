/* proxy.h - a proxy on a unix socket between a client and a server, to break what is between them.
 *
 *     proxy *p = proxy_start(server_socket(s));
 *     opts.url = proxy_url(p);
 *     proxy_cut_after(p, PROXY_REPLIES, 0);      // the next request is executed, its reply is lost
 *     proxy_stop(p);
 *
 * It begins by passing all bytes both ways. Each call has taken full effect when it returns: what a
 * test does next finds the connections so. From any thread. */
#ifndef SG_TEST_PROXY_H
#define SG_TEST_PROXY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct proxy proxy;

typedef enum proxy_way { PROXY_REQUESTS, PROXY_REPLIES } proxy_way;

/* Listens in test_dir(), connects to `server_socket` once for each connection that it accepts. */
proxy *proxy_start(const char *server_socket);
void proxy_stop(proxy *p); /* closes all connections; NULL is fine */
const char *proxy_url(const proxy *p);

/* Close all connections there are, both sides; what was under way is dropped. */
void proxy_cut(proxy *p);
/* Cut all as soon as `bytes` more have passed this way and another one comes: it, and what follows
 * it, is dropped. Once. 0: the next byte that comes is not passed on any more. */
void proxy_cut_after(proxy *p, proxy_way way, size_t bytes);
/* True once the cut that was ordered last has happened. */
bool proxy_has_cut(proxy *p);
/* The first bytes like `what` that come this way are passed on as `with`, which is as long: an answer
 * that nobody may give. Once. The texts stay until then. Those that come in two pieces are missed. */
void proxy_falsify(proxy *p, proxy_way way, const char *what, const char *with);
/* True once that has happened. */
bool proxy_has_falsified(proxy *p);
/* Close what connects from now on at once, or no longer. */
void proxy_refuse(proxy *p, bool on);

/* Connect to another server from now on. Those connections that are there stay where they are, until
 * proxy_cut: two servers that both take themselves for the primary. */
void proxy_retarget(proxy *p, const char *server_socket);

/* Keep what comes this way, until proxy_release: a black hole that gives back. On the connections
 * that are there now; those that are made later pass. Where a client closes a connection whose
 * requests are held, they are still owed to the server. */
void proxy_hold(proxy *p, proxy_way way);
/* The same, on connections that are made later too. */
void proxy_hold_all(proxy *p, proxy_way way);
/* Hold no longer what comes this way. */
void proxy_pass(proxy *p, proxy_way way);
/* Pass on what is held, both ways and in order, and wait until the server has executed the requests
 * of the clients that have gone: late requests. */
void proxy_release(proxy *p);
/* Bytes that came this way and were not passed on yet. */
size_t proxy_held(proxy *p, proxy_way way);

/* Pass what comes this way so much later; 0: at once. */
void proxy_delay(proxy *p, proxy_way way, int64_t ms);
/* And up to `ms` more, at random, each time. */
void proxy_jitter(proxy *p, proxy_way way, int64_t ms);
/* Pass one byte at a time this way. */
void proxy_bytewise(proxy *p, proxy_way way, bool on);

size_t proxy_accepted(proxy *p); /* connections since the start */
size_t proxy_open(proxy *p);     /* connections of clients, now */
/* Bytes passed this way since the start. */
size_t proxy_passed(proxy *p, proxy_way way);

#endif
