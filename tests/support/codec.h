/* codec.h - how the rigs' producers compress, where a case does not say: SEGMENTER_TEST_CODEC, by
 * name. Whatever a test shows holds for each of them. */
#ifndef SG_TEST_CODEC_H
#define SG_TEST_CODEC_H

#include <segmenter/segmenter.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"

static inline seg_codec test_codec(void) {
    const char *wanted = getenv("SEGMENTER_TEST_CODEC"), *name;
    if (wanted == NULL) {
        return SEG_PLAIN;
    }
    for (seg_codec c = SEG_PLAIN; (name = seg_codec_name(c)) != NULL; c++) {
        if (strcmp(name, wanted) == 0) {
            return c;
        }
    }
    FAIL("SEGMENTER_TEST_CODEC is \"%s\": plain, lz4 or zstd", wanted);
}

#endif
