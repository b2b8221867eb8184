/* names.h - which names are allowed, and every key on the server. Keys are built here and nowhere
 * else. {NS/S} and {NS/S/P} are hash tags: all keys with one tag live in one slot. */
#ifndef SG_CORE_NAMES_H
#define SG_CORE_NAMES_H
#include <segmenter/segmenter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SG_NAME_MAX 200
#define SG_KEY_MAX  832 /* longest key with its NUL: four names of 200 and the fixed parts */

typedef struct sg_key {
    char text[SG_KEY_MAX];
    size_t len;
} sg_key;

/* 1..200 of [A-Za-z0-9._-]. */
bool sg_name_ok(const char *name);
/* SEG_OK, or SEG_EINVAL with `what` ("stream", "group" ...) and the fault in the text: NULL, empty,
 * too long (with its length), or the first bad byte with its place. The name is quoted, cut to 60.
 */
seg_status sg_name_check(const char *what, const char *name, seg_error *err);

/* The names must have passed sg_name_check: a key that would not fit is empty, so that no two names
 * can ever share one. */
sg_key sg_key_streams(const char *ns);                                      /* sg:{NS}:streams */
sg_key sg_key_meta(const char *ns, const char *stream);                     /* sg:{NS/S}:meta */
sg_key sg_key_groups(const char *ns, const char *stream);                   /* sg:{NS/S}:groups */
sg_key sg_key_group(const char *ns, const char *stream, const char *group); /* sg:{NS/S}:group:G */
sg_key sg_key_leases(const char *ns, const char *stream,
                     const char *group); /* sg:{NS/S}:group:G:leases */
sg_key sg_key_parts(const char *ns, const char *stream,
                    const char *group);                                /* sg:{NS/S}:group:G:parts */
sg_key sg_key_log(const char *ns, const char *stream, uint32_t p);     /* sg:{NS/S/P}:log */
sg_key sg_key_state(const char *ns, const char *stream, uint32_t p);   /* sg:{NS/S/P}:state */
sg_key sg_key_cursors(const char *ns, const char *stream, uint32_t p); /* sg:{NS/S/P}:cursors */
sg_key sg_key_committed(const char *ns, const char *stream, uint32_t p); /* sg:{NS/S/P}:committed */
sg_key sg_key_forwards(const char *ns, const char *stream, uint32_t p);  /* sg:{NS/S/P}:forwards */
/* The slot of a cluster that a key is in: CRC16 (XMODEM) of its hash tag, modulo 16384. */
uint16_t sg_key_slot(const sg_key *key);
/* The sharded Pub/Sub channel on which a member is woken: sg:{NS/S}:wake:G:MEMBER */
sg_key sg_key_wake(const char *ns, const char *stream, const char *group, const char *member);
#endif
