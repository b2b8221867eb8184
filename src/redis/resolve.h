/* resolve.h - host names to addresses without blocking: the system's resolver knows no deadline,
 * so it runs on a thread of its own, which may outlive the one who asked. */
#ifndef SG_REDIS_RESOLVE_H
#define SG_REDIS_RESOLVE_H
#include <netdb.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct sg_lookup sg_lookup;

/* NULL: no memory, thread or descriptor (errno). */
sg_lookup *sg_lookup_new(const char *host, uint16_t port);
/* Becomes readable when the answer is there. */
int sg_lookup_fd(const sg_lookup *l);
/* When it is there, once: 0 and the addresses (freeaddrinfo), or what getaddrinfo
 * returned (EAI_SYSTEM: with errno). */
int sg_lookup_result(sg_lookup *l, struct addrinfo **out);
/* At any time; never waits. Accepts NULL. */
void sg_lookup_free(sg_lookup *l);

/* The same at once, for a numeric address: EAI_NONAME where `host` is none. */
int sg_resolve_numeric(const char *host, uint16_t port, struct addrinfo **out);
#endif
