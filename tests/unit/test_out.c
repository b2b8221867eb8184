/* Commands on their way to a socket: copied bytes and slices come out as one stream, however the socket takes
 * them. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/random.h"
#include "redis/out.h"
#include "test.h"

enum { LARGE = 70000, COMMANDS = 12 };

/* What should arrive. */
typedef struct expected {
    uint8_t *data;
    size_t len;
} expected;

static void expect(expected *e, const void *data, size_t len) {
    e->data = realloc(e->data, e->len + len);
    CHECK(e->data != NULL);
    memcpy(e->data + e->len, data, len);
    e->len += len;
}

static void expect_text(expected *e, const char *text) {
    expect(e, text, strlen(text));
}

static void pair(int fds[2]) {
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    CHECK_EQ(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    CHECK_EQ(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
}

/* Send all, and read it in pieces of up to `most` bytes meanwhile. */
static void drain(sg_out *o, const int fds[2], const expected *e, size_t most) {
    uint8_t *got = malloc(e->len + 1);
    size_t n = 0;
    CHECK(got != NULL);
    while (n < e->len) {
        CHECK_EQ(sg_out_send(o, fds[0], 0), 0);
        size_t room = e->len + 1 - n;
        ssize_t r = read(fds[1], got + n, room < most ? room : most);
        n += r > 0 ? (size_t)r : 0;
    }
    CHECK_EQ(n, e->len);
    CHECK(memcmp(got, e->data, n) == 0);
    CHECK_EQ(sg_out_unsent(o), 0);
    free(got);
}

static void put(sg_out *o, expected *e, const uint8_t *large, size_t len) {
    char head[64];
    CHECK(sg_out_command(o, 2));
    CHECK(sg_out_arg(o, "SET", 3));
    CHECK(sg_out_arg_there(o, large, len));
    expect_text(e, "*2\r\n$3\r\nSET\r\n");
    snprintf(head, sizeof head, "$%zu\r\n", len);
    expect_text(e, head);
    expect(e, large, len);
    expect_text(e, "\r\n");
}

static uint8_t *noise(size_t len) {
    uint8_t *p = malloc(len);
    CHECK(p != NULL);
    for (size_t i = 0; i < len; i++)
        p[i] = (uint8_t)(i * 2654435761u >> 13);
    return p;
}

TEST(slices_come_in_their_places) {
    static const size_t most[] = {1000, 4096, 65536, 1 << 20};
    sg_rng rng = {.state = test_seed()};
    uint8_t *large = noise(LARGE);
    for (size_t k = 0; k < sizeof most / sizeof *most; k++) {
        int fds[2];
        sg_out o;
        expected e = {NULL, 0};
        pair(fds);
        sg_out_init(&o);
        for (int i = 0; i < COMMANDS; i++)
            put(&o, &e, large, (size_t)sg_rng_below(&rng, LARGE));
        CHECK_EQ(sg_out_end(&o), e.len);
        drain(&o, fds, &e, most[k]);
        put(&o, &e, large, LARGE); /* and on, after the stream was empty */
        e.len = 0;
        sg_out_clear(&o);
        put(&o, &e, large, LARGE);
        drain(&o, fds, &e, most[k]);
        sg_out_fini(&o);
        close(fds[0]);
        close(fds[1]);
        free(e.data);
    }
    free(large);
}

TEST(a_command_that_is_taken_back_leaves_nothing) {
    uint8_t *large = noise(LARGE);
    int fds[2];
    sg_out o;
    expected e = {NULL, 0}, ignored = {NULL, 0};
    pair(fds);
    sg_out_init(&o);
    put(&o, &e, large, LARGE);
    uint64_t end = sg_out_end(&o);
    put(&o, &ignored, large, LARGE);
    put(&o, &ignored, large, 10);
    sg_out_rewind(&o, end);
    CHECK_EQ(sg_out_end(&o), end);
    put(&o, &e, large + 1, LARGE - 1);
    drain(&o, fds, &e, 5000);
    sg_out_fini(&o);
    close(fds[0]);
    close(fds[1]);
    free(e.data);
    free(ignored.data);
    free(large);
}

/* Kept bytes need not stay where they were, also when a part of them is sent. */
TEST(what_is_kept_may_go) {
    uint8_t *large = noise(LARGE), *copy = malloc(LARGE);
    CHECK(copy != NULL);
    for (int sent_before = 0; sent_before < 2; sent_before++) {
        int fds[2];
        sg_out o;
        expected e = {NULL, 0};
        pair(fds);
        sg_out_init(&o);
        memcpy(copy, large, LARGE);
        for (int i = 0; i < 10; i++)
            put(&o, &e, copy, LARGE);
        if (sent_before) {
            CHECK_EQ(sg_out_send(&o, fds[0], 0), 0); /* as far as it goes */
            CHECK(sg_out_unsent(&o) > 0);
        }
        sg_alloc_fail_at(1, 1);
        CHECK(!sg_out_keep(&o, sg_out_end(&o)));
        sg_alloc_fail_at(0, 0);
        CHECK(sg_out_keep(&o, sg_out_end(&o)));
        memset(copy, 0, LARGE);
        drain(&o, fds, &e, 30000);
        put(&o, &e, large, LARGE);
        CHECK(sg_out_keep(&o, sg_out_end(&o)));
        sg_out_fini(&o); /* with something kept and not sent */
        close(fds[0]);
        close(fds[1]);
        free(e.data);
    }
    free(copy);
    free(large);
}
