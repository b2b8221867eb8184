/* test_records.c - what is written is read, by whom and however it was written. */
#include "history.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

static history_log load(void) {
    history_log l;
    char error[512];
    if (!history_load(&l, test_dir(), error, sizeof error))
        FAIL("%s", error);
    return l;
}

static size_t count(const history_log *l, history_kind kind, history_phase phase) {
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++)
        n += l->records[i].kind == kind && l->records[i].phase == phase;
    return n;
}

TEST(a_call_is_an_invoke_and_an_outcome) {
    history *h = history_open(test_dir(), "p1");
    history_record r = {.kind = HISTORY_SEND, .stream = history_name(h, "in"), .sequence = 7};
    uint64_t before = history_now();
    history_invoke(h, &r);
    r.offset = 5;
    history_done(h, &r, history_outcome(SEG_EUNKNOWN), SEG_EUNKNOWN);
    history_event(h, &(history_record){.kind = HISTORY_LOG});
    history_close(h);
    history_log l = load();
    char text[64];
    CHECK_EQ(l.n, 5); /* with two names */
    CHECK_EQ(l.files, 1);
    CHECK_EQ(l.torn, 0);
    CHECK_STR(history_text(&l, l.records[0].process, text, sizeof text), "p1");
    CHECK_STR(history_text(&l, l.records[2].stream, text, sizeof text), "in");
    CHECK_STR(history_text(&l, 99, text, sizeof text), "99");
    CHECK_EQ(l.records[2].phase, HISTORY_INVOKE);
    CHECK_EQ(l.records[2].sequence, 7);
    CHECK_GE(l.records[2].at, before);
    CHECK_EQ(l.records[3].phase, HISTORY_UNKNOWN);
    CHECK_EQ(l.records[3].status, SEG_EUNKNOWN);
    CHECK_EQ(l.records[3].call, l.records[2].call);
    CHECK_EQ(l.records[3].offset, 5);
    CHECK_GE(l.records[3].at, l.records[2].at);
    CHECK_EQ(l.records[4].call, 0);
    CHECK_STR(history_kind_name(l.records[4].kind), "LOG");
    history_log_fini(&l);
}

TEST(outcomes_of_statuses) {
    CHECK_EQ(history_outcome(SEG_OK), HISTORY_OK);
    CHECK_EQ(history_outcome(SEG_EUNKNOWN), HISTORY_UNKNOWN);
    CHECK_EQ(history_outcome(SEG_ETIMEDOUT), HISTORY_FAIL);
}

enum { THREADS = 4, EACH = 2000 };

static void *write_many(void *arg) {
    for (int i = 0; i < EACH; i++) {
        history_record r = {.kind = HISTORY_SEND, .stream = history_name(arg, "in")};
        history_invoke(arg, &r);
        history_done(arg, &r, HISTORY_OK, SEG_OK);
    }
    return NULL;
}

TEST(threads_write_at_once) {
    history *h = history_open(test_dir(), "p1");
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, write_many, h), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    history_close(h);
    history_log l = load();
    CHECK_EQ(l.torn, 0);
    CHECK_EQ(count(&l, HISTORY_NAME, HISTORY_EVENT), 2);
    CHECK_EQ(count(&l, HISTORY_SEND, HISTORY_INVOKE), THREADS * EACH);
    CHECK_EQ(count(&l, HISTORY_SEND, HISTORY_OK), THREADS * EACH);
    bool *called = calloc(THREADS * EACH + 1, sizeof *called);
    for (size_t i = 0; i < l.n; i++) {
        CHECK(i == 0 || l.records[i].at >= l.records[i - 1].at);
        if (l.records[i].phase == HISTORY_INVOKE) {
            CHECK_LE(l.records[i].call, THREADS * EACH);
            CHECK(!called[l.records[i].call]);
            called[l.records[i].call] = true;
        }
    }
    free(called);
    history_log_fini(&l);
}

static bool is_there(void *path) {
    struct stat st;
    return stat(path, &st) == 0 && st.st_size > 100 * (off_t)sizeof(history_record);
}

TEST(a_killed_process_leaves_all_that_it_wrote) {
    char path[4096];
    snprintf(path, sizeof path, "%s/child.history", test_dir());
    pid_t child = fork();
    CHECK_GE(child, 0);
    if (child == 0) {
        history *h = history_open(test_dir(), "child");
        for (;;)
            history_event(h, &(history_record){.kind = HISTORY_LOG});
    }
    CHECK(wait_until(20000, is_there, path));
    CHECK_EQ(kill(child, SIGKILL), 0);
    CHECK_EQ(waitpid(child, NULL, 0), child);
    history *h = history_open(test_dir(), "parent");
    history_event(h, &(history_record){.kind = HISTORY_LOG});
    history_close(h);
    history_log l = load();
    CHECK_EQ(l.files, 2);
    CHECK_LE(l.torn, 1); /* what it was writing just then */
    CHECK_GE(l.n, 100);
    CHECK_EQ(l.records[l.n - 1].process, l.records[l.n - 2].process); /* the parent's, last */
    CHECK_NE(l.records[0].process, l.records[l.n - 1].process);
    history_log_fini(&l);
}

static void change(off_t at, size_t len, bool cut) {
    char path[4096];
    snprintf(path, sizeof path, "%s/p1.history", test_dir());
    int file = open(path, O_RDWR);
    CHECK_GE(file, 0);
    if (cut)
        CHECK_EQ(ftruncate(file, at), 0);
    else
        CHECK_EQ(pwrite(file, "\x55", len, at), (ssize_t)len);
    close(file);
}

static void write_ten(void) {
    history *h = history_open(test_dir(), "p1");
    for (int i = 0; i < 9; i++)
        history_event(h, &(history_record){.kind = HISTORY_LOG});
    history_close(h);
}

TEST(a_torn_end_is_passed_over_and_counted) {
    write_ten();
    change(9 * (off_t)sizeof(history_record) + 17, 0, true);
    history_log l = load();
    CHECK_EQ(l.n, 9);
    CHECK_EQ(l.torn, 1);
    history_log_fini(&l);
}

TEST(a_damaged_record_ends_its_file) {
    write_ten();
    change(4 * (off_t)sizeof(history_record) + 40, 1, false);
    history_log l = load();
    CHECK_EQ(l.n, 4);
    CHECK_EQ(l.torn, 1);
    history_log_fini(&l);
}

TEST(a_directory_without_history_is_refused) {
    history_log l;
    char error[512];
    CHECK(!history_load(&l, test_dir(), error, sizeof error));
    CHECK_CONTAINS(error, "has no file *.history");
    CHECK(!history_load(&l, "/nonexistent", error, sizeof error));
    CHECK_CONTAINS(error, "No such file");
}

/* ---- The program ----------------------------------------------------------------------------- */

static int run_judge(const char *dir, char *out, size_t cap) {
    char command[8192];
    snprintf(command, sizeof command, "'%s/tests/chaos/judge' '%s' 2>&1",
             getenv("SEGMENTER_BINARY_DIR"), dir);
    FILE *f = popen(command, "r");
    CHECK(f != NULL);
    size_t n = fread(out, 1, cap - 1, f);
    out[n] = '\0';
    int status = pclose(f);
    CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
}

TEST(the_program_judges_a_directory) {
    if (!getenv("SEGMENTER_BINARY_DIR"))
        SKIP("SEGMENTER_BINARY_DIR is not set");
    char out[16384];
    CHECK_EQ(run_judge("/nonexistent", out, sizeof out), 2);
    history *h = history_open(test_dir(), "p1");
    uint64_t in = history_name(h, "in");
    history_record send = {.kind = HISTORY_SEND,
                           .stream = in,
                           .producer = history_name(h, "a"),
                           .key = 1,
                           .sequence = 1};
    history_invoke(h, &send);
    send.era = 1;
    history_done(h, &send, HISTORY_OK, SEG_OK);
    history_record entry = send;
    entry.kind = HISTORY_ENTRY;
    history_event(h, &entry);
    history_event(h, &(history_record){.kind = HISTORY_LOG, .stream = in, .era = 1, .end = 1});
    CHECK_EQ(run_judge(test_dir(), out, sizeof out), 0);
    CHECK_CONTAINS(out, "verdict: good, 0 anomalies");
    entry.offset = 1;
    history_event(h, &entry);
    history_event(h, &(history_record){.kind = HISTORY_LOG, .stream = in, .era = 1, .end = 2});
    CHECK_EQ(run_judge(test_dir(), out, sizeof out), 1);
    CHECK_CONTAINS(out, "a key 1 #1 is stored 2 times, at in/0 offset 1-0 and in/0 offset 1-1");
    CHECK_CONTAINS(out, "verdict: bad, 1 anomalies, duplicate 1");
    history_close(h);
}
