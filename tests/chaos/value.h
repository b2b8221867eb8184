/* value.h - what a message of a run carries: who it is of, so that whoever reads it can say which
 * one it was, and bytes that follow from that, so that a mixed-up one is found.
 *
 *     "producer key sequence index|" and a padding of a length and bytes that depend on these
 */
#ifndef SG_CHAOS_VALUE_H
#define SG_CHAOS_VALUE_H

#include <segmenter/segmenter.h>
#include <stdbool.h>
#include <stdint.h>

enum { VALUE_NAME = 48, VALUE_MAX = 1024 };

typedef struct value {
    char producer[VALUE_NAME];
    uint64_t key, sequence;
    uint32_t index;
} value;

/* Into `out`; its length. */
size_t value_write(const value *v, char out[VALUE_MAX]);
/* False: these bytes are not a whole value. */
bool value_read(value *v, seg_bytes bytes);

/* "k" and the number: the message's key. */
seg_bytes value_key(uint64_t key, char out[32]);

#endif
