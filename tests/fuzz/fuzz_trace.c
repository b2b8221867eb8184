/* fuzz_trace.c - a traceparent that anybody may have sent: what is read is printed, and read again as the
 * same; a version 00 is printed as it came. */
#include <segmenter/segmenter.h>

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    fuzz_input in = {data, len};
    uint8_t *text = fuzz_copy(in);
    seg_trace_context t, again;
    char printed[SEG_TRACEPARENT + 1];
    if (seg_trace_parse(&t, (seg_bytes){text, len})) {
        FUZZ_CHECK(len >= SEG_TRACEPARENT);
        seg_trace_print(printed, &t);
        FUZZ_CHECK(strlen(printed) == SEG_TRACEPARENT);
        FUZZ_CHECK(seg_trace_parse(&again, (seg_bytes){printed, SEG_TRACEPARENT}));
        FUZZ_CHECK(memcmp(&t, &again, sizeof t) == 0);
        bool old = memcmp(text, "00", 2) == 0;
        FUZZ_CHECK(!old || len == SEG_TRACEPARENT);
        FUZZ_CHECK(memcmp(printed + 2, text + 2, old ? 53 : 51) == 0);
    }
    free(text);
    return 0;
}
