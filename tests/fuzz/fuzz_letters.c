/* fuzz_letters.c - what is stored with dead letters: the note of a replay, and the headers that make
 * a message one. */
#include "engine/dlq.h"

#include "core/names.h"
#include "engine/letters.h"
#include "fuzz.h"

static void check_intent(fuzz_input in) {
    static sg_intent intent, again;
    uint8_t *note = fuzz_copy(in);
    if (!sg_intent_read((seg_bytes){note, in.len}, &intent) || intent.n == 0) {
        FUZZ_CHECK(intent.n == 0);
        free(note);
        return;
    }
    FUZZ_CHECK(intent.n <= SG_INTENT_MAX && sg_name_ok(intent.target));
    for (size_t i = 0; i < intent.n; i++) {
        FUZZ_CHECK(i == 0 || intent.offsets[i - 1] < intent.offsets[i]);
        FUZZ_CHECK(sg_intent_has(&intent, intent.offsets[i]));
        bool next = i + 1 < intent.n && intent.offsets[i + 1] == intent.offsets[i] + 1;
        FUZZ_CHECK(sg_intent_has(&intent, intent.offsets[i] + 1) == next);
    }
    sg_buf out;
    sg_buf_init(&out, SIZE_MAX);
    FUZZ_CHECK(sg_intent_write(&intent, &out));
    FUZZ_CHECK(sg_intent_read((seg_bytes){out.data, out.len}, &again));
    FUZZ_CHECK(again.n == intent.n && again.era == intent.era);
    FUZZ_CHECK(strcmp(again.target, intent.target) == 0);
    FUZZ_CHECK(memcmp(again.offsets, intent.offsets, intent.n * sizeof *intent.offsets) == 0);
    sg_buf_fini(&out);
    free(note);
}

/* The message's own headers, then those that make a letter, with values of the input's: one a line.
 * Some are other than they must be, as `spoilt` says. */
static void put_headers(sg_buf *out, uint32_t own, fuzz_input in, uint8_t spoilt) {
    for (uint32_t i = 0; i < own; i++)
        FUZZ_CHECK(sg_buf_byte(out, 1) && sg_buf_str(out, "x") && sg_buf_byte(out, 0));
    for (uint8_t i = 0; i < SG_LETTER_COUNT; i++) {
        const char *name = sg_letter_names[i];
        const uint8_t *end = in.len > 0 ? memchr(in.at, '\n', in.len) : NULL;
        fuzz_input value = fuzz_take(&in, end != NULL ? (size_t)(end - in.at) : in.len);
        (void)fuzz_byte(&in);
        FUZZ_CHECK(sg_buf_varint(out, strlen(name)) && sg_buf_str(out, name));
        out->data[out->len - 1] ^= (uint8_t)(i == spoilt);
        FUZZ_CHECK(sg_buf_varint(out, value.len) && sg_buf_append(out, value.at, value.len));
    }
}

static void check_letter(fuzz_input in) {
    uint8_t spoilt = fuzz_byte(&in);
    uint32_t own = fuzz_byte(&in) % 4;
    sg_letter_facts facts;
    sg_buf headers;
    sg_buf_init(&headers, SIZE_MAX);
    put_headers(&headers, own, in, spoilt);
    sg_record_view v = {.headers = {headers.data, headers.len}, .n_headers = own + SG_LETTER_COUNT};
    if (sg_letter_read(&v, &facts)) {
        FUZZ_CHECK(spoilt >= SG_LETTER_COUNT && facts.n_headers == own);
        FUZZ_CHECK(facts.headers.len == 3 * own && facts.headers.data == headers.data);
        FUZZ_CHECK(facts.reason.len > 0 && facts.first >= 0 && facts.last >= 0);
    }
    v.n_headers = SG_LETTER_COUNT - 1;
    FUZZ_CHECK(!sg_letter_read(&v, &facts));
    sg_buf_fini(&headers);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    fuzz_input in = {data, len};
    if (len > 0 && data[0] == 'r')
        check_intent(in);
    else
        check_letter(in);
    return 0;
}
