/* fuzz_hello.c - what a server says of itself in INFO: it is fit for use, or there is a reason why
 * it is not, and no reason shows the password. */
#include "redis/hello.h"

#include "fuzz.h"

static const char *const urls[] = {"redis://h", "redis://:hunter2@h:1/3",
                                   "redis://me:hunter2@[::1]", "unix:///s?db=1"};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    fuzz_input in = {data, len};
    uint8_t choice = fuzz_byte(&in);
    const char *text = urls[choice % 4];
    uint8_t *info = fuzz_copy(in);
    sg_url url;
    sg_out out;
    sg_hello h;
    seg_error err = {.status = SEG_OK};
    sg_out_init(&out);
    FUZZ_CHECK(sg_url_parse(&url, text, NULL) == SEG_OK);
    FUZZ_CHECK(sg_hello_ask(&h, &url, "fuzz", &out) && h.asked <= SG_HELLO_STEPS);
    h.forgets = (choice & 4) != 0; /* as an answer before would have said */
    sg_hello_outcome outcome = sg_hello_check(&h, (seg_bytes){info, in.len}, &err);
    FUZZ_CHECK(outcome != SG_HELLO_MORE);
    if (outcome == SG_HELLO_DONE) {
        bool valkey = strncmp(h.server, "valkey ", 7) == 0;
        FUZZ_CHECK(err.status == SEG_OK);
        FUZZ_CHECK((valkey || strncmp(h.server, "redis ", 6) == 0) && strlen(h.server) > 6);
    } else {
        FUZZ_CHECK(err.status == SEG_ESERVER || err.status == SEG_ECONN);
        FUZZ_CHECK(strstr(err.text, h.where) != NULL);
        FUZZ_CHECK(memmem(info, in.len, "hunter2", 7) != NULL ||
                   strstr(err.text, "hunter2") == NULL);
    }
    sg_out_fini(&out);
    sg_url_fini(&url);
    free(info);
    return 0;
}
