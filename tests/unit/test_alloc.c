/* test_alloc.c - the heap's door, and the failures that tests ask of it. */
#include "base/alloc.h"

#include <string.h>

#include "test.h"

TEST(returns_usable_memory) {
    char *p = sg_alloc(0);
    CHECK(p != NULL);
    p = sg_realloc(p, 100);
    CHECK(p != NULL);
    memset(p, 'x', 100);
    p = sg_realloc(p, 0);
    CHECK(p != NULL);
    sg_free(p);
    sg_free(NULL);
}

TEST(zeroes_what_calloc_returns) {
    unsigned char *p = sg_calloc(100, 7);
    CHECK(p != NULL);
    for (size_t i = 0; i < 700; i++)
        CHECK_EQ(p[i], 0);
    sg_free(p);
    p = sg_calloc(0, 7);
    CHECK(p != NULL);
    sg_free(p);
}

TEST(refuses_products_that_overflow) {
    volatile size_t half = SIZE_MAX / 2 + 1; /* volatile: the compiler would warn of the constant */
    CHECK(sg_calloc(half, 2) == NULL);
    CHECK(sg_reallocarray(NULL, half, 2) == NULL);
    char *p = sg_reallocarray(NULL, 10, 10);
    CHECK(p != NULL);
    memset(p, 'x', 100);
    CHECK(sg_reallocarray(p, half, 2) == NULL); /* and p is still there */
    CHECK_EQ(p[99], 'x');
    sg_free(p);
}

TEST(copies) {
    char *s = sg_strdup("some text");
    CHECK_STR(s, "some text");
    char *copy = sg_memdup(s, 4);
    CHECK_MEM(copy, 4, "some", 4);
    void *nothing = sg_memdup(NULL, 0);
    CHECK(nothing != NULL);
    sg_free(s);
    sg_free(copy);
    sg_free(nothing);
}

/* One allocation of each kind; returns how many worked. */
static int allocate_five(void) {
    void *p[5] = {sg_alloc(1), sg_calloc(1, 1), sg_realloc(NULL, 1), sg_strdup("x"),
                  sg_memdup("x", 1)};
    int worked = 0;
    for (int i = 0; i < 5; i++) {
        worked += p[i] != NULL;
        sg_free(p[i]);
    }
    return worked;
}

TEST(fails_the_nth_once) {
    sg_alloc_fail_at(0, 0);
    for (uint64_t n = 1; n <= 5; n++) {
        sg_alloc_fail_at(n, 0);
        CHECK_EQ(allocate_five(), 4);
        CHECK_EQ(sg_alloc_fail_at(0, 0), 5);
        CHECK_EQ(allocate_five(), 5);
    }
}

TEST(fails_from_the_nth_on) {
    for (uint64_t n = 1; n <= 6; n++) {
        sg_alloc_fail_at(n, 1);
        CHECK_EQ(allocate_five(), n - 1);
        CHECK_EQ(sg_alloc_fail_at(0, 0), 5);
    }
}
