/* url.h - where the server is: redis://[user[:password]@]host[:port][/db] or unix:///path[?db=n].
 * Pure. */
#ifndef SG_CORE_URL_H
#define SG_CORE_URL_H
#include <segmenter/segmenter.h>

typedef struct sg_url {
    char *host;            /* NULL for a unix socket; an IPv6 address without its brackets */
    char *path;            /* NULL for TCP */
    char *user, *password; /* NULL where not given */
    uint16_t port;         /* default 6379 */
    uint32_t db;           /* default 0 */
} sg_url;

/* Parse; parts are %-decoded. SEG_EINVAL names the fault and never shows the password. Unknown
 * query keys, a fragment, an empty host, a port outside 1..65535, a db that is no number up to
 * 2^31-1, a path over 107 bytes, NUL and control bytes are errors; "redis://host?db=n" too (the db
 * of TCP is its path). rediss:// says that TLS is not in this release. */
seg_status sg_url_parse(sg_url *out, const char *text, seg_error *err);
void sg_url_fini(sg_url *u);
/* "host:port", "[::1]:6379" or the socket's path: for people, no secret in it. Cut to fit. */
void sg_url_show(const sg_url *u, char *out, size_t size);
#endif
