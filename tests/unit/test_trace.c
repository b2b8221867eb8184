/* Trace contexts as text: the specification's examples, what it forbids, and all that is printed is read. */
#include "core/trace.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/random.h"
#include "test.h"

static bool parse(const char *text, seg_trace_context *out) {
    return seg_trace_parse(out, (seg_bytes){text, strlen(text)});
}

#define TRACE "4bf92f3577b34da6a3ce929d0e0e4736"
#define SPAN  "00f067aa0ba902b7"
#define PLAIN "00-" TRACE "-" SPAN "-01"

static void check_refused(const char *text) {
    seg_trace_context t = {.flags = 77};
    if (parse(text, &t))
        FAIL("\"%s\" is read", text);
    CHECK_EQ(t.flags, 77); /* nothing is written */
}

TEST(the_example_is_read_and_printed) {
    seg_trace_context t;
    char text[SEG_TRACEPARENT + 1];
    const uint8_t span[] = {0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7};
    CHECK(parse(PLAIN, &t));
    CHECK_EQ(t.trace_id[0], 0x4b);
    CHECK_EQ(t.trace_id[15], 0x36);
    CHECK_EQ(memcmp(t.span_id, span, 8), 0);
    CHECK_EQ(t.flags, SEG_TRACE_SAMPLED);
    seg_trace_print(text, &t);
    CHECK_STR(text, PLAIN);
}

TEST(what_is_malformed_is_refused) {
    check_refused("");
    check_refused("00");
    check_refused("00-" TRACE "-" SPAN "-0");
    check_refused(PLAIN "-");
    check_refused(PLAIN "-what-comes-later");
    check_refused(PLAIN " ");
    check_refused(" " PLAIN);
    check_refused("ff-" TRACE "-" SPAN "-01");
    check_refused("0-" TRACE "-" SPAN "-001");
    check_refused("00_" TRACE "-" SPAN "-01");
    check_refused("00-" TRACE "_" SPAN "-01");
    check_refused("00-" TRACE "-" SPAN "_01");
    check_refused("00-4BF92F3577B34DA6A3CE929D0E0E4736-" SPAN "-01");
    check_refused("00-" TRACE "-00F067AA0BA902B7-01");
    check_refused("00-" TRACE "-" SPAN "-0A");
    check_refused("0X-" TRACE "-" SPAN "-01");
    check_refused("00-00000000000000000000000000000000-" SPAN "-01");
    check_refused("00-" TRACE "-0000000000000000-01");
    check_refused("01-" TRACE "-" SPAN "-01x");
    check_refused("01-" TRACE "-" SPAN "-0");
}

/* A NUL, and bytes past seven bits, are digits no more than letters are. */
TEST(every_other_byte_in_any_place_is_refused) {
    seg_trace_context t;
    for (size_t at = 0; at < SEG_TRACEPARENT; at++)
        for (int c = 0; c < 256; c++) {
            char text[] = PLAIN;
            bool digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
            bool dash = text[at] == '-';
            text[at] = (char)c;
            bool good =
                dash ? c == '-' : digit; /* no single digit makes an id zero, or version ff */
            if (seg_trace_parse(&t, (seg_bytes){text, SEG_TRACEPARENT}) != good)
                FAIL("byte %d at %zu: %d", c, at, !good);
        }
}

TEST(later_versions_are_read_as_far_as_they_are_known) {
    seg_trace_context t;
    char text[SEG_TRACEPARENT + 1];
    CHECK(parse("01-" TRACE "-" SPAN "-01", &t));
    CHECK(parse("cc-" TRACE "-" SPAN "-ff-and-more", &t));
    CHECK_EQ(t.flags, SEG_TRACE_SAMPLED);
    CHECK(parse("cc-" TRACE "-" SPAN "-fe-", &t));
    CHECK_EQ(t.flags, 0);
    seg_trace_print(text, &t);
    CHECK_STR(text, "00-" TRACE "-" SPAN "-00");
}

TEST(all_flags_are_kept) {
    for (unsigned flags = 0; flags < 256; flags++) {
        char text[SEG_TRACEPARENT + 1], again[SEG_TRACEPARENT + 1];
        seg_trace_context t;
        snprintf(text, sizeof text, "00-" TRACE "-" SPAN "-%02x", flags);
        CHECK(parse(text, &t));
        CHECK_EQ(t.flags, flags);
        seg_trace_print(again, &t);
        CHECK_STR(again, text);
    }
}

TEST(whatever_is_printed_is_read) {
    sg_rng rng = {test_seed()};
    for (int i = 0; i < 10000; i++) {
        seg_trace_context t, again;
        char text[SEG_TRACEPARENT + 1];
        for (size_t k = 0; k < sizeof t; k++)
            ((uint8_t *)&t)[k] = (uint8_t)sg_rng_below(&rng, 256);
        t.trace_id[i % 16] |= 1;
        t.span_id[i % 8] |= 1;
        seg_trace_print(text, &t);
        CHECK(parse(text, &again));
        CHECK_EQ(memcmp(&t, &again, sizeof t), 0);
    }
}

/* ---- Headers ---------------------------------------------------------------------------------- */

/* Name, value, ..., up to NULL: as one record's headers. */
static bool of_headers(seg_trace_context *out, const char *const *texts) {
    sg_buf b;
    sg_record_view r = {.n_headers = 0};
    sg_buf_init(&b, 4096);
    for (size_t i = 0; texts[i] != NULL; i++) {
        CHECK(sg_buf_varint(&b, strlen(texts[i])) && sg_buf_str(&b, texts[i]));
        r.n_headers += i % 2;
    }
    r.headers = (seg_bytes){b.data, b.len};
    bool found = sg_trace_of(&r, out);
    sg_buf_fini(&b);
    return found;
}

#define OF(t, ...) of_headers(t, (const char *const[]){__VA_ARGS__, NULL})

TEST(one_header_of_the_name_counts) {
    seg_trace_context t;
    CHECK(OF(&t, "a", "b", "traceparent", PLAIN, "tracestate", "x=1"));
    CHECK_EQ(t.span_id[1], 0xf0);
    CHECK(!OF(&t, "a", "b"));
    CHECK(!OF(&t, "Traceparent", PLAIN));
    CHECK(!OF(&t, "traceparent2", PLAIN, "raceparent", PLAIN, "", PLAIN));
    CHECK(!OF(&t, "traceparent", "nonsense"));
    CHECK(!OF(&t, "traceparent", PLAIN, "traceparent", PLAIN));
    CHECK(!OF(&t, "traceparent", PLAIN, "traceparent", ""));
    CHECK(!OF(&t, "traceparent", "", "traceparent", PLAIN));
}
