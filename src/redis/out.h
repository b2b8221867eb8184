/* out.h - commands on their way to the socket: encoded in place, sent as far as it takes them. Large
 * arguments stay where they are, and are sent from there. */
#ifndef SG_REDIS_OUT_H
#define SG_REDIS_OUT_H
#include "base/buf.h"

/* Somebody's bytes, which come at `at` in the stream of all that is sent. */
typedef struct sg_slice {
    uint64_t at;
    const uint8_t *data;
    size_t len;
    uint8_t *own; /* the same, copied (sg_out_keep); else NULL */
} sg_slice;

typedef struct sg_out {
    sg_buf buf;     /* all but the slices; [0, sent) is gone already */
    size_t sent;    /* bytes of buf */
    uint64_t total; /* bytes that the socket took since init or clear */
    uint64_t end;   /* of the stream: total, and what is not yet sent */
    int64_t big_at; /* when much of the memory was last in use */
    sg_slice *slices;
    size_t first_slice, n_slices, slices_room; /* not wholly sent: [first_slice, n_slices) */
} sg_out;

void sg_out_init(sg_out *o);
void sg_out_fini(sg_out *o);
void sg_out_clear(sg_out *o); /* for a new connection; gives the memory back */

/* The head of a command with `argc` arguments, and one argument. False: no memory, or past 1 GiB;
 * nothing is changed then. */
bool sg_out_command(sg_out *o, size_t argc);
bool sg_out_arg(sg_out *o, const void *data, size_t len);
/* As sg_out_arg, but large bytes are not copied: they have to stay until the socket took what was
 * then the end of the stream, or clear. */
bool sg_out_arg_there(sg_out *o, const void *data, size_t len);

/* Copy what is not yet sent of slices up to `end`: their bytes need not stay any longer. False: no
 * memory. */
bool sg_out_keep(sg_out *o, uint64_t end);

/* Where the stream of bytes ends now, and back to there (nothing was sent in between). */
uint64_t sg_out_end(const sg_out *o);
void sg_out_rewind(sg_out *o, uint64_t end);

size_t sg_out_unsent(const sg_out *o);

/* Send what the socket takes. 0, or the errno that ended the connection. */
int sg_out_send(sg_out *o, int fd, int64_t now);
#endif
