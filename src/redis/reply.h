/* reply.h - a server's answer. Hides the protocol library's type: sg_reply is its reply object.
 * Every accessor accepts NULL and a reply of another type, and then gives the empty value, so that
 * parsing hostile or unexpected answers needs no checks in between. */
#ifndef SG_REDIS_REPLY_H
#define SG_REDIS_REPLY_H
#include <segmenter/segmenter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct sg_reply sg_reply;

/* "<era>-<offset>", an entry's ID; false for anything else. */
bool sg_entry_id_parse(const char *s, size_t n, uint64_t *era, uint64_t *offset);
/* Decimal digits only, at least one, and a value of at most `max`. */
bool sg_digits_read(const char *s, size_t n, uint64_t max, uint64_t *out);

bool sg_reply_is_nil(const sg_reply *r); /* also of NULL: what is not there */
bool sg_reply_is_array(const sg_reply *r);
const char *sg_reply_error(const sg_reply *r); /* the text of an error answer, else NULL */
size_t sg_reply_count(const sg_reply *r);      /* elements of an array */
const sg_reply *sg_reply_at(const sg_reply *r, size_t i); /* NULL past the end */
seg_bytes sg_reply_bytes(const sg_reply *r);  /* of a string or status; NUL-terminated as well */
const char *sg_reply_text(const sg_reply *r); /* the same; "" where it is neither */
bool sg_reply_is(const sg_reply *r, const char *text); /* a string or status of just this text */
/* An integer, or a string of nothing but decimal digits (with a '-' before them for i64), that
 * fits. False otherwise; nothing is written then. */
bool sg_reply_u64(const sg_reply *r, uint64_t *out);
bool sg_reply_i64(const sg_reply *r, int64_t *out);

/* What ACL DRYRUN says: unknown where it is refused. */
seg_known sg_dryrun_read(const sg_reply *r);

/* What kind of refusal an error answer's text is, by its first word:
 *
 *   EACCES   NOPERM, NOAUTH, WRONGPASS, DENIED (protected mode), and the ERR of an AUTH where no
 *            password is set
 *   EOOM     OOM
 *   EPROTO   WRONGTYPE
 *   ECONN    READONLY, LOADING, MASTERDOWN, CLUSTERDOWN, TRYAGAIN, NOREPLICAS, BUSY, MISCONF,
 *            UNBLOCKED, and the ERR of too many clients: it may pass by itself
 *   ESERVER  anything else
 *
 * An EXECABORT that tells what the transaction was discarded for counts as that. */
seg_status sg_reply_error_status(const char *text);
#endif
