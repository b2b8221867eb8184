/* test_url.c - what a URL may look like, and that no fault shows a password. */
#include "core/url.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/random.h"
#include "test.h"

typedef struct expected {
    const char *text, *host, *path, *user, *password, *shown;
    int port, db;
} expected;

static void check_url(const expected *e) {
    sg_url u;
    seg_error err = {SEG_OK, ""};
    char shown[300];
    if (sg_url_parse(&u, e->text, &err) != SEG_OK)
        FAIL("%s: %s", e->text, err.text);
    CHECK_STR(u.host, e->host);
    CHECK_STR(u.path, e->path);
    CHECK_STR(u.user, e->user);
    CHECK_STR(u.password, e->password);
    CHECK_EQ(u.port, e->port);
    CHECK_EQ(u.db, e->db);
    sg_url_show(&u, shown, sizeof shown);
    CHECK_STR(shown, e->shown);
    sg_url_fini(&u);
    CHECK(u.host == NULL && u.path == NULL && u.password == NULL);
    sg_url_fini(&u);
    sg_url_fini(NULL);
}

TEST(good_ones) {
    static const expected all[] = {
        {"redis://127.0.0.1:6379", "127.0.0.1", NULL, NULL, NULL, "127.0.0.1:6379", 6379, 0},
        {"redis://my_host-1.local", "my_host-1.local", NULL, NULL, NULL, "my_host-1.local:6379",
         6379, 0},
        {"REDIS://h/", "h", NULL, NULL, NULL, "h:6379", 6379, 0},
        {"redis://h:1/2147483647", "h", NULL, NULL, NULL, "h:1", 1, 2147483647},
        {"redis://h:65535/0", "h", NULL, NULL, NULL, "h:65535", 65535, 0},
        {"redis://:secret@h", "h", NULL, NULL, "secret", "h:6379", 6379, 0},
        {"redis://me@h", "h", NULL, "me", NULL, "h:6379", 6379, 0},
        {"redis://me:@h", "h", NULL, "me", "", "h:6379", 6379, 0},
        {"redis://@h", "h", NULL, NULL, NULL, "h:6379", 6379, 0},
        {"redis://m%65:p%40%2f%3A%25%c3%b6@h:7/3", "h", NULL, "me", "p@/:%\xc3\xb6", "h:7", 7, 3},
        {"redis://me:a:b@c@h", "h", NULL, "me", "a:b@c", "h:6379", 6379, 0},
        {"redis://[::1]", "::1", NULL, NULL, NULL, "[::1]:6379", 6379, 0},
        {"redis://me:pw@[fe80::1%25eth0]:7000/1", "fe80::1%eth0", NULL, "me", "pw",
         "[fe80::1%eth0]:7000", 7000, 1},
        {"redis://[::ffff:10.0.0.1]:1", "::ffff:10.0.0.1", NULL, NULL, NULL, "[::ffff:10.0.0.1]:1",
         1, 0},
        {"unix:///tmp/s.sock", NULL, "/tmp/s.sock", NULL, NULL, "/tmp/s.sock", 0, 0},
        {"unix:///tmp/a%20b%3f@:?db=12", NULL, "/tmp/a b?@:", NULL, NULL, "/tmp/a b?@:", 0, 12},
        {"unix://me:a%2Fb@/s?db=1", NULL, "/s", "me", "a/b", "/s", 0, 1},
        {"unix://:pw@/s", NULL, "/s", NULL, "pw", "/s", 0, 0},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        check_url(&all[i]);
}

/* Nothing that looks like the password may be told, nor `out` be touched. */
static void check_fault(const char *text, const char *part) {
    sg_url u, before;
    seg_error err = {SEG_OK, ""};
    memset(&u, 0x5a, sizeof u);
    before = u;
    if (sg_url_parse(&u, text, &err) == SEG_OK)
        FAIL("'%s' was accepted", text);
    CHECK_EQ(err.status, SEG_EINVAL);
    CHECK_CONTAINS(err.text, part);
    CHECK(strstr(err.text, "secret") == NULL);
    CHECK_MEM(&u, sizeof u, &before, sizeof before);
    CHECK_EQ(sg_url_parse(&u, text, NULL), SEG_EINVAL);
}

TEST(faults) {
    static const char *const all[][2] = {
        {"", "unknown scheme"},
        {"localhost:6379", "unknown scheme"},
        {"http://secret@h", "unknown scheme"},
        {"rediss://h", "TLS"},
        {"redis://", "no host"},
        {"redis:///1", "no host"},
        {"redis://:secret@", "no host"},
        {"redis://:secret@:6379", "no host"},
        {"redis://:secret", "no host"},
        {"redis://me:secret", "port"},
        {"redis://h:", "port"},
        {"redis://h:0", "port"},
        {"redis://h:65536", "port"},
        {"redis://h:99999999999999999999", "port"},
        {"redis://h:+1", "port"},
        {"redis://h: 1", "port"},
        {"redis://h:1x", "port"},
        {"redis://::1", "brackets"},
        {"redis://::1:6379/0", "brackets"},
        {"redis://[::1", "']'"},
        {"redis://[::1]6379", "after ']'"},
        {"redis://[::1]:", "port"},
        {"redis://[secret]", "IPv6"},
        {"redis://[]", "IPv6"},
        {"redis://[::1%25]", "IPv6"},
        {"redis://[::1%25e/h0]", "']'"},
        {"redis://[1111:2222:3333:4444:5555:6666:7777:8888:9999:1111:2222]", "IPv6"},
        {"redis://h st", "host has a byte"},
        {"redis://h%41", "host has a byte"},
        {"redis://h/secret", "db is no number"},
        {"redis://h/-1", "db is no number"},
        {"redis://h/2147483648", "db is no number"},
        {"redis://h/1/2", "db is no number"},
        {"redis://h/1%30", "db is no number"},
        {"redis://h?db=1", "db of redis:// is its path"},
        {"redis://h/1?db=1", "db of redis:// is its path"},
        {"redis://h?", "db of redis:// is its path"},
        {"redis://h#x", "fragments"},
        {"redis://:sec#ret@h", "fragments"},
        {"redis://:sec/secret@h", "%2F"},
        {"redis://:sec?secret@h", "%2F"},
        {"redis://me:secret%@h", "password has a '%'"},
        {"redis://me:secret%4@h", "password has a '%'"},
        {"redis://me:secret%4g@h", "password has a '%'"},
        {"redis://m%zze:secret@h", "user has a '%'"},
        {"redis://me:secret%00@h", "control byte"},
        {"redis://me:secret%0a@h", "control byte"},
        {"redis://me:secret\n@h", "control byte"},
        {"redis://me\x7f:secret@h", "control byte at byte 11"},
        {"unix://", "three slashes"},
        {"unix://tmp/s", "three slashes"},
        {"unix://me:pw@", "three slashes"},
        {"unix://me:p/w@/s", "three slashes"},
        {"unix:///tmp/%00", "control byte"},
        {"unix:///tmp/s?", "key '' is unknown"},
        {"unix:///tmp/s?dbx=1", "key 'dbx' is unknown"},
        {"unix:///tmp/s?db=1&password=secret", "key 'password' is unknown"},
        {"unix:///tmp/s?db=1&db=2", "twice"},
        {"unix:///tmp/s?db=1&", "key '' is unknown"},
        {"unix:///tmp/s?db", "db is no number"},
        {"unix:///tmp/s?db=", "db is no number"},
        {"unix:///tmp/s?db=x", "db is no number"},
        {"unix:///tmp/s#x", "fragments"},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        check_fault(all[i][0], all[i][1]);
    seg_error err;
    sg_url u;
    CHECK_EQ(sg_url_parse(&u, NULL, &err), SEG_EINVAL);
    CHECK_CONTAINS(err.text, "missing");
}

TEST(long_parts) {
    char text[400], many[300];
    memset(many, 'x', sizeof many - 1);
    many[sizeof many - 1] = '\0';
    sg_url u;
    snprintf(text, sizeof text, "unix:///%.106s", many);
    CHECK_EQ(sg_url_parse(&u, text, NULL), SEG_OK);
    CHECK_EQ(strlen(u.path), 107);
    char shown[10];
    sg_url_show(&u, shown, sizeof shown);
    CHECK_STR(shown, "/xxxxxxxx");
    sg_url_fini(&u);
    snprintf(text, sizeof text, "unix:///%.107s", many);
    check_fault(text, "108 bytes: at most 107");
    snprintf(text, sizeof text, "redis://%.253s", many);
    CHECK_EQ(sg_url_parse(&u, text, NULL), SEG_OK);
    sg_url_fini(&u);
    snprintf(text, sizeof text, "redis://%.254s", many);
    check_fault(text, "254 bytes: at most 253");
}

/* Whatever the outcome: no crash, no leak, and what was accepted keeps the rules. */
static bool check_any(const char *text) {
    sg_url u;
    seg_error err = {SEG_OK, ""};
    if (sg_url_parse(&u, text, &err) != SEG_OK) {
        CHECK_EQ(err.status, SEG_EINVAL);
        CHECK(strlen(err.text) > 0);
        return false;
    }
    CHECK((u.host == NULL) != (u.path == NULL));
    CHECK(u.host == NULL || (u.port > 0 && strlen(u.host) > 0));
    CHECK(u.path == NULL || (u.path[0] == '/' && strlen(u.path) <= 107));
    CHECK_LE(u.db, INT32_MAX);
    CHECK(u.password == NULL || strlen(u.password) <= strlen(text));
    sg_url_fini(&u);
    return true;
}

TEST(random_bytes) {
    static const char likely[] = "redis://unix:/@[]?&=%#.db:1234567890abcdef";
    static const char *const starts[] = {"",         "redis://",     "unix://",
                                         "unix:///", "redis://u:p@", "redis://["};
    sg_rng rng = {test_seed()};
    int accepted = 0;
    for (int i = 0; i < 200000; i++) {
        char text[64];
        const char *start = starts[sg_rng_below(&rng, 6)];
        size_t n = strlen(start);
        memcpy(text, start, n);
        size_t end = n + sg_rng_below(&rng, sizeof text - n);
        while (n < end)
            text[n++] = sg_rng_below(&rng, 10) > 0 ? likely[sg_rng_below(&rng, sizeof likely - 1)]
                                                   : (char)(1 + sg_rng_below(&rng, 255));
        text[n] = '\0';
        accepted += check_any(text);
    }
    CHECK_GT(accepted, 100);
}

TEST(mutations) {
    static const char *const good[] = {"redis://me:p%40ss@host.local:6379/12",
                                       "redis://:pw@[fe80::1%25eth0]:7000/1",
                                       "unix:///run/redis/s.sock?db=3"};
    sg_rng rng = {test_seed()};
    for (int i = 0; i < 200000; i++) {
        char text[64] = {0};
        snprintf(text, sizeof text, "%s", good[i % 3]);
        for (uint64_t k = 1 + sg_rng_below(&rng, 3); k > 0; k--)
            text[sg_rng_below(&rng, strlen(text) + 1)] = (char)sg_rng_next(&rng);
        check_any(text);
    }
}

TEST(memory_failures) {
    static const char text[] = "redis://me:secret@[::1]:6379/1";
    for (uint64_t n = 1;; n++) {
        sg_url u;
        seg_error err = {SEG_OK, ""};
        sg_alloc_fail_at(n, 0);
        seg_status rc = sg_url_parse(&u, text, &err);
        uint64_t made = sg_alloc_fail_at(0, 0);
        if (rc == SEG_OK) {
            CHECK_LT(made, n);
            CHECK_EQ(n, 4); /* user, password, host were to fail */
            sg_url_fini(&u);
            break;
        }
        CHECK_EQ(rc, SEG_ENOMEM);
        CHECK_EQ(err.status, SEG_ENOMEM);
    }
    sg_alloc_fail_at(1, 0);
    sg_url u;
    CHECK_EQ(sg_url_parse(&u, "unix:///s", NULL), SEG_ENOMEM);
}
