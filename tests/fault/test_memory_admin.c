/* Every allocation of the administrative calls fails in its turn. */
#include "groups.h"

static seg_stream_options two_partitions(void) {
    seg_stream_options o;
    SEG_INIT(&o);
    o.partitions = 2;
    return o;
}

static bool has(const seg_names *names, const char *name) {
    for (size_t i = 0; i < seg_names_count(names); i++) {
        if (strcmp(seg_names_at(names, i), name) == 0) {
            return true;
        }
    }
    return false;
}

static bool stream_exists(seg_client *c, const char *name) {
    seg_stream_info *info = NULL;
    seg_error err;
    seg_status s = seg_stream_describe(&info, c, name, &err);
    seg_stream_info_free(info);
    if (s != SEG_ENOENT) {
        CHECK_OK(s, &err);
    }
    return s == SEG_OK;
}

static bool is_listed(seg_client *c, const char *name) {
    seg_names *names = NULL;
    seg_error err;
    CHECK_OK(seg_stream_list(&names, c, &err), &err);
    bool found = has(names, name);
    seg_names_free(names);
    return found;
}

/* ---- Clients -------------------------------------------------------------------------------- */

TEST(opening_a_client) {
    seg_error err;
    sweep s;
    sweep_init(&s, false);
    while (sweep_more(&s)) {
        seg_client_options o;
        seg_client *c = NULL;
        SEG_INIT(&o);
        o.url = server_url(s.server);
        o.name_space = "elsewhere";
        sweep_arm(&s);
        seg_status status = seg_client_open(&c, &o, &err);
        sweep_disarm(&s);
        sweep_judge(&s, status, ASKS, &err);
        CHECK_EQ(status == SEG_OK, c != NULL);
        if (c != NULL) {
            CHECK(works(c));
        }
        seg_client_close(c);
    }
    sweep_end(&s);
}

static void check_described(const seg_server_info *info) {
    CHECK_STR(seg_server_info_get(info, "role"), "master");
    CHECK_STR(seg_server_info_config(info, "appendonly"), "no");
    CHECK_STR(seg_server_info_user(info), "default");
    CHECK_PTR(seg_server_info_missing(info, 0), NULL);
    CHECK_EQ(seg_server_info_right(info, 0)->granted, SEG_YES);
}

TEST(describing_a_server) {
    seg_error err;
    sweep s;
    sweep_init(&s, false);
    while (sweep_more(&s)) {
        seg_server_info *info = NULL;
        sweep_arm(&s);
        seg_status status = seg_server_describe(&info, s.client, &err);
        sweep_disarm(&s);
        sweep_judge(&s, status, ASKS, &err);
        CHECK_EQ(status == SEG_OK, info != NULL);
        if (info != NULL)
            check_described(info);
        seg_server_info_free(info);
    }
    sweep_end(&s);
}

TEST(writing_a_rule) {
    char rule[SEG_RULE_MAX];
    seg_error err;
    for (uint64_t n = 1;; n++) {
        strcpy(rule, "untouched");
        sg_alloc_fail_at(n, 0);
        seg_status status = seg_rights_rule(rule, sizeof rule, "a", SEG_RIGHTS_ALL, &err);
        sg_alloc_fail_at(0, 0);
        if (status == SEG_OK)
            break;
        CHECK_STATUS(status, SEG_ENOMEM, &err);
        CHECK_STR(rule, "untouched");
        CHECK_LT(n, 100);
    }
}

/* ---- Streams -------------------------------------------------------------------------------- */

TEST(creating_a_stream) {
    seg_stream_options o = two_partitions();
    seg_error err;
    char name[24];
    sweep s;
    sweep_init(&s, false);
    while (sweep_more(&s)) {
        sweep_name(&s, name);
        sweep_arm(&s);
        seg_status status = seg_stream_create(s.client, name, &o, &err);
        sweep_disarm(&s);
        sweep_judge(&s, status, CHANGES, &err);
        if (status != SEG_EUNKNOWN) {
            CHECK_EQ(stream_exists(s.calm, name), status == SEG_OK);
            CHECK_EQ(is_listed(s.calm, name), status == SEG_OK);
        }
        WAIT_FOR(RIG_MS, seg_stream_create(s.client, name, &o, &err) == SEG_OK);
        CHECK(stream_exists(s.calm, name));
    }
    sweep_end(&s);
}

TEST(listing_streams) {
    seg_error err;
    sweep s;
    sweep_init(&s, false);
    rig_stream(s.calm, "one", 2);
    rig_stream(s.calm, "two", 1);
    while (sweep_more(&s)) {
        seg_names *names = NULL;
        sweep_arm(&s);
        seg_status status = seg_stream_list(&names, s.client, &err);
        sweep_disarm(&s);
        sweep_judge(&s, status, ASKS, &err);
        CHECK_EQ(status == SEG_OK, names != NULL);
        if (names != NULL) {
            CHECK_EQ(seg_names_count(names), 2);
            CHECK(has(names, "one") && has(names, "two"));
        }
        seg_names_free(names);
    }
    sweep_end(&s);
}

TEST(describing_a_stream) {
    seg_error err;
    sweep s;
    sweep_init(&s, false);
    rig_stream(s.calm, "s", 2);
    seg_producer *p = rig_producer(s.calm, "s");
    rig_spread(p, 2, 0, 10);
    seg_producer_close(p);
    while (sweep_more(&s)) {
        seg_stream_info *info = NULL;
        sweep_arm(&s);
        seg_status status = seg_stream_describe(&info, s.client, "s", &err);
        sweep_disarm(&s);
        sweep_judge(&s, status, ASKS, &err);
        CHECK_EQ(status == SEG_OK, info != NULL);
        if (info != NULL) {
            CHECK_EQ(seg_stream_info_partitions(info), 2);
            CHECK_EQ(seg_stream_info_messages(info), 10);
        }
        seg_stream_info_free(info);
    }
    sweep_end(&s);
}

TEST(deleting_a_stream) {
    seg_error err;
    char name[24];
    sweep s;
    sweep_init(&s, false);
    while (sweep_more(&s)) {
        rig_stream(s.calm, sweep_name(&s, name), 2);
        make_group(s.calm, name, "g");
        make_group(s.calm, name, "h");
        sweep_arm(&s);
        seg_status status = seg_stream_delete(s.client, name, &err);
        sweep_disarm(&s);
        sweep_judge(&s, status, CHANGES, &err);
        if (status != SEG_EUNKNOWN) {
            CHECK_EQ(stream_exists(s.calm, name), status != SEG_OK);
            CHECK_EQ(is_listed(s.calm, name), status != SEG_OK);
        }
        WAIT_FOR(RIG_MS, status == SEG_OK || status == SEG_ENOENT ||
                             (status = seg_stream_delete(s.client, name, &err)) == SEG_OK);
        CHECK(!stream_exists(s.calm, name));
        CHECK(!is_listed(s.calm, name));
        CHECK_EQ(server_int(s.server, "DBSIZE"), 0);
    }
    sweep_end(&s);
}

/* ---- Groups --------------------------------------------------------------------------------- */

TEST(listing_groups) {
    seg_error err;
    sweep s;
    sweep_init(&s, false);
    rig_stream(s.calm, "s", 2);
    make_group(s.calm, "s", "g");
    make_group(s.calm, "s", "h");
    while (sweep_more(&s)) {
        seg_names *names = NULL;
        sweep_arm(&s);
        seg_status status = seg_group_list(&names, s.client, "s", &err);
        sweep_disarm(&s);
        sweep_judge(&s, status, ASKS, &err);
        CHECK_EQ(status == SEG_OK, names != NULL);
        if (names != NULL) {
            CHECK_EQ(seg_names_count(names), 2);
            CHECK(has(names, "g") && has(names, "h"));
        }
        seg_names_free(names);
    }
    sweep_end(&s);
}

TEST(describing_a_group) {
    seg_error err;
    sweep s;
    sweep_init(&s, true);
    rig_stream(s.calm, "s", 3);
    seg_producer *p = rig_producer(s.calm, "s");
    rig_spread(p, 3, 0, 12);
    seg_producer_close(p);
    seg_consumer *k = rig_consumer(s.calm, "s", &(rig_join){.group = "g", .name = "one"});
    rig_inbox *in = calloc(1, sizeof *in);
    CHECK(in != NULL);
    rig_take(k, in, 12);
    rig_ack(k, in->d, 5);
    rig_commit(k);
    while (sweep_more(&s)) {
        seg_group_info *info = NULL;
        sweep_arm(&s);
        seg_status status = seg_group_describe(&info, s.client, "s", "g", &err);
        sweep_disarm(&s);
        sweep_judge(&s, status, ASKS, &err);
        CHECK_EQ(status == SEG_OK, info != NULL);
        if (info != NULL) {
            size_t owned;
            CHECK_EQ(seg_group_info_members(info), 1);
            CHECK_STR(seg_group_info_member(info, 0), "one");
            CHECK(seg_group_info_owned(info, 0, &owned) != NULL);
            CHECK_EQ(owned, 3);
            uint64_t acked = 0;
            for (uint32_t i = 0; i < 3; i++) {
                const seg_group_partition *part = seg_group_info_partition(info, i);
                acked += part->committed + part->acked;
            }
            CHECK_EQ(acked, 5);
        }
        seg_group_info_free(info);
    }
    free(in);
    seg_consumer_close(k);
    sweep_end(&s);
}

TEST(deleting_a_group) {
    seg_error err;
    char name[24];
    sweep s;
    sweep_init(&s, false);
    rig_stream(s.calm, "s", 2);
    make_group(s.calm, "s", "other");
    long long keys = server_int(s.server, "DBSIZE");
    while (sweep_more(&s)) {
        make_group(s.calm, "s", sweep_name(&s, name));
        sweep_arm(&s);
        seg_status status = seg_group_delete(s.client, "s", name, &err);
        sweep_disarm(&s);
        sweep_judge(&s, status, CHANGES, &err);
        if (status != SEG_EUNKNOWN) {
            CHECK_EQ(group_exists(s.calm, "s", name), status != SEG_OK);
        }
        WAIT_FOR(RIG_MS, status == SEG_OK || status == SEG_ENOENT ||
                             (status = seg_group_delete(s.client, "s", name, &err)) == SEG_OK);
        CHECK(!group_exists(s.calm, "s", name));
        CHECK(group_exists(s.calm, "s", "other"));
        CHECK_EQ(server_int(s.server, "DBSIZE"), keys);
    }
    sweep_end(&s);
}
