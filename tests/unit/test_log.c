/* test_log.c - the log sink, and the texts that it and errors share. */
#include "base/log.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "test.h"

typedef struct sink {
    int calls, level, inside, overlaps;
    char event[32], text[2048];
} sink;

static void take(int level, const char *event, const char *text, void *arg) {
    sink *s = arg; /* no lock: that calls do not overlap is what is tested */
    s->overlaps += s->inside++ != 0;
    s->calls++;
    s->level = level;
    snprintf(s->event, sizeof s->event, "%s", event);
    snprintf(s->text, sizeof s->text, "%s", text);
    s->inside--;
}

TEST(filters_and_formats) {
    sink s = {0};
    sg_log l;
    CHECK(sg_log_init(&l, 1, take, &s));
    sg_log_write(&l, 2, "quiet", "not seen");
    CHECK_EQ(s.calls, 0);
    sg_log_write(&l, 1, "connected", "to %s, %d tries", "host\n\x1b[31m", 3);
    CHECK_EQ(s.calls, 1);
    CHECK_EQ(s.level, 1);
    CHECK_STR(s.event, "connected");
    CHECK_STR(s.text, "to host??[31m, 3 tries");
    sg_log_write(&l, 0, "long", "%2000s", "x");
    CHECK_EQ(strlen(s.text), 1023);
    sg_log_fini(&l);
}

TEST(is_silent_without_a_callback) {
    sg_log l;
    CHECK(sg_log_init(&l, 3, NULL, NULL));
    sg_log_write(&l, 0, "event", "text");
    sg_log_fini(&l);
}

static void *write_many(void *arg) {
    for (int i = 0; i < 2000; i++)
        sg_log_write(arg, 0, "event", "text %d", i);
    return NULL;
}

TEST(calls_back_one_at_a_time) {
    sink s = {0};
    sg_log l;
    pthread_t threads[4];
    CHECK(sg_log_init(&l, 0, take, &s));
    for (int i = 0; i < 4; i++)
        CHECK(sg_thread_start(&threads[i], "a name over 15 bytes", write_many, &l));
    for (int i = 0; i < 4; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    CHECK_EQ(s.calls, 8000);
    CHECK_EQ(s.overlaps, 0);
    sg_log_fini(&l);
}

/* ---- Texts -------------------------------------------------------------------------------- */

__attribute__((format(printf, 3, 4))) static void print(char *out, size_t size, const char *fmt,
                                                        ...) {
    va_list ap;
    va_start(ap, fmt);
    sg_text_vprint(out, size, fmt, ap);
    va_end(ap);
}

TEST(texts_are_one_line_of_utf8) {
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"plain", "plain"},
        {"a\tb\r\n\x7f", "a?b???"},
        {"gr\xc3\xb6\xc3\x9f"
         "e \xe2\x82\xac \xf0\x9f\x98\x80",
         "gr\xc3\xb6\xc3\x9f"
         "e \xe2\x82\xac \xf0\x9f\x98\x80"},
        {"\xc2\x9b"
         "31m",
         "??31m"},                                     /* a control of 8-bit terminals */
        {"\xc0\x80 \xc1\xbf", "?? ??"},                /* overlong, two bytes */
        {"\xe0\x9f\xbf \xf0\x8f\xbf\xbf", "??? ????"}, /* overlong, three and four */
        {"\xed\xa0\x80", "???"},                       /* a surrogate */
        {"\xf4\x90\x80\x80 \xf5", "???? ?"},           /* past U+10FFFF */
        {"\x80 \xff \xe2\x82", "? ? ??"},              /* stray and unfinished */
        {"\xe2\x82\xc3\xb6", "??\xc3\xb6"},            /* unfinished, then whole */
    };
    char out[64];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        print(out, sizeof out, "%s", cases[i].in);
        CHECK_STR(out, cases[i].out);
    }
}

TEST(texts_are_cut_between_characters) {
    static const char text[] = "a\xc3\xb6\xe2\x82\xac\xf0\x9f\x98\x80z"; /* of 1, 2, 3, 4 bytes */
    static const size_t whole[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11};
    char out[16];
    for (size_t max = 0; max <= 11; max++) {
        CHECK_EQ(sg_text_cut(text, 11, max), whole[max]);
        print(out, max + 1, "%s", text);
        CHECK_MEM(out, strlen(out), text, whole[max]);
    }
    print(out, 0, "nothing is written");
    CHECK_EQ(sg_text_cut("\x80\x80\x80\x80\x80\x80", 6, 5), 5); /* no UTF-8: anywhere */
}
