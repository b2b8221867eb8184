/* test_names.c - which names are allowed, and the keys. */
#include "core/names.h"

#include <string.h>

#include "base/random.h"
#include "test.h"

static const char *fault(const char *name) {
    static seg_error err;
    memset(&err, 0, sizeof err);
    CHECK_EQ(sg_name_check("stream", name, &err), SEG_EINVAL);
    CHECK_EQ(sg_name_check("stream", name, NULL), SEG_EINVAL);
    CHECK_EQ(err.status, SEG_EINVAL);
    CHECK(!sg_name_ok(name));
    return err.text;
}

TEST(faults_are_named) {
    CHECK_STR(fault(NULL), "stream name is missing (NULL)");
    CHECK_STR(fault(""), "stream name is empty: 1 to 200 of A-Z a-z 0-9 . _ - expected");
    CHECK_STR(fault("a b"),
              "stream name 'a b' has a space at byte 2: only A-Z a-z 0-9 . _ - are allowed");
    CHECK_STR(fault("a{b"),
              "stream name 'a{b' has '{' at byte 2: only A-Z a-z 0-9 . _ - are allowed");
    CHECK_STR(fault("\n"),
              "stream name '?' has 0x0a at byte 1: only A-Z a-z 0-9 . _ - are allowed");
    CHECK_STR(fault("gr\xc3\xb6n"), "stream name 'gr\xc3\xb6n' has 0xc3 at byte 3: only A-Z a-z "
                                    "0-9 . _ - are allowed");
}

TEST(long_names_are_cut) {
    char name[300];
    memset(name, 'n', sizeof name);
    name[200] = '\0';
    CHECK(sg_name_ok(name));
    CHECK_EQ(sg_name_check("group", name, NULL), SEG_OK);
    name[200] = 'n';
    name[201] = '\0';
    CHECK_CONTAINS(fault(name), "nnn...' has 201 bytes: at most 200 are allowed");
    CHECK_LT(strlen(fault(name)), 140);
    memcpy(name + 59, "\xc3\xb6", 2); /* across the cut */
    CHECK_CONTAINS(fault(name), "nnn...' has 0xc3 at byte 60");
}

TEST(only_the_allowed_bytes_pass) {
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    for (int c = 1; c < 256; c++) {
        char name[] = {'x', (char)c, 'y', '\0'};
        CHECK_EQ(sg_name_ok(name), strchr(allowed, c) != NULL);
    }
}

TEST(random_names) {
    sg_rng rng = {test_seed()};
    for (int i = 0; i < 20000; i++) {
        char name[256];
        size_t len = sg_rng_below(&rng, 255);
        bool odd = sg_rng_below(&rng, 2) == 0;
        for (size_t k = 0; k < len; k++)
            name[k] =
                odd ? (char)(1 + sg_rng_below(&rng, 255)) : (char)('a' + sg_rng_below(&rng, 26));
        name[len] = '\0';
        seg_error err = {SEG_OK, ""};
        CHECK_EQ(sg_name_check("member", name, &err), sg_name_ok(name) ? SEG_OK : SEG_EINVAL);
        if (!odd)
            CHECK_EQ(sg_name_ok(name), len >= 1 && len <= 200);
        CHECK_EQ(err.text[0] == '\0', sg_name_ok(name));
    }
}

static void check_key(sg_key key, const char *text) {
    CHECK_STR(key.text, text);
    CHECK_EQ(key.len, strlen(text));
}

TEST(keys) {
    check_key(sg_key_streams("n"), "sg:{n}:streams");
    check_key(sg_key_meta("n", "s"), "sg:{n/s}:meta");
    check_key(sg_key_groups("n", "s"), "sg:{n/s}:groups");
    check_key(sg_key_group("n", "s", "g"), "sg:{n/s}:group:g");
    check_key(sg_key_leases("n", "s", "g"), "sg:{n/s}:group:g:leases");
    check_key(sg_key_parts("n", "s", "g"), "sg:{n/s}:group:g:parts");
    check_key(sg_key_log("n", "s", 0), "sg:{n/s/0}:log");
    check_key(sg_key_state("n", "s", 4095), "sg:{n/s/4095}:state");
    check_key(sg_key_cursors("n", "s", 7), "sg:{n/s/7}:cursors");
    check_key(sg_key_committed("n", "s", 7), "sg:{n/s/7}:committed");
    check_key(sg_key_forwards("n", "s", 7), "sg:{n/s/7}:forwards");
    check_key(sg_key_wake("n", "s", "g", "m"), "sg:{n/s}:wake:g:m");
}

TEST(the_longest_names_fit) {
    char name[SG_NAME_MAX + 1];
    memset(name, 'n', SG_NAME_MAX);
    name[SG_NAME_MAX] = '\0';
    sg_key wake = sg_key_wake(name, name, name, name);
    CHECK_EQ(wake.len, 4 * SG_NAME_MAX + strlen("sg:{/}:wake::"));
    CHECK_EQ(strlen(wake.text), wake.len);
    sg_key leases = sg_key_leases(name, name, name);
    CHECK_EQ(leases.len, 3 * SG_NAME_MAX + strlen("sg:{/}:group::leases"));
}

TEST(a_key_that_would_not_fit_is_empty) {
    char name[SG_KEY_MAX + 1];
    memset(name, 'n', SG_KEY_MAX);
    name[SG_KEY_MAX] = '\0';
    check_key(sg_key_streams(name), "");
}

static uint16_t slot(const char *text) {
    sg_key key;
    key.len = strlen(text);
    memcpy(key.text, text, key.len + 1);
    return sg_key_slot(&key);
}

/* What CLUSTER KEYSLOT says of these tags. */
TEST(the_slot_is_that_of_the_tag) {
    CHECK_EQ(slot("sg:{123456789}:x"), 12739);
    CHECK_EQ(slot("{foo}"), 12182);
    CHECK_EQ(slot("foo{hash_tag}"), 2515);
    CHECK_EQ(slot("sg:{default/s/1}:log"), 12710);
    sg_key log = sg_key_log("default", "s", 1), state = sg_key_state("default", "s", 1);
    CHECK_EQ(sg_key_slot(&log), 12710);
    CHECK_EQ(sg_key_slot(&state), 12710);
}
