/* What each answer of the server means, and that one which makes no sense is refused: an answer
 * that is half understood would become a wrong offset, epoch or owner. */
#include <stdio.h>
#include <string.h>

#include "redis/ops.h"
#include "redis/ops_range.h"
#include "redis/ops_seek.h"
#include "redis/reader.h"
#include "status.h"
#include "test.h"

/* ---- Answers as text ------------------------------------------------------------------------ */

/* "[OK 5 [b x] _ '']": an array of strings, with an array, a nil and an empty string in it.
 * "-OOM~x": an error. A '~' becomes a space. "(lost)": the connection ended. */
typedef struct answer {
    sg_reader reader;
    sg_reply *reply;
    sg_result result;
} answer;

static const char *word_end(const char *at) {
    return at + strcspn(at, " []");
}

/* The elements from `at`, which is behind a '[', to its ']'. */
static size_t count_elements(const char *at) {
    size_t n = 0;
    for (int depth = 1;;) {
        at += strspn(at, " ");
        CHECK(*at != '\0');
        if (*at == ']') {
            if (--depth == 0)
                return n;
            at++;
        } else if (*at == '[') {
            n += depth == 1 ? 1 : 0;
            depth++;
            at++;
        } else {
            n += depth == 1 ? 1 : 0;
            at = word_end(at);
        }
    }
}

static size_t write_word(char *out, size_t size, const char *word, int len) {
    size_t n;
    if (len == 1 && *word == '_')
        n = (size_t)snprintf(out, size, "$-1\r\n");
    else if (*word == '-')
        n = (size_t)snprintf(out, size, "%.*s\r\n", len, word);
    else if (len == 2 && memcmp(word, "''", 2) == 0)
        n = (size_t)snprintf(out, size, "$0\r\n\r\n");
    else
        n = (size_t)snprintf(out, size, "$%d\r\n%.*s\r\n", len, len, word);
    for (char *tilde; (tilde = strchr(out, '~')) != NULL;)
        *tilde = ' ';
    return n;
}

static void begin(answer *a, const char *text) {
    char wire[4096];
    size_t n = 0;
    *a = (answer){.reply = NULL};
    CHECK(sg_reader_init(&a->reader));
    if (strcmp(text, "(lost)") == 0) {
        a->result = (sg_result){.status = SEG_ECONN, .lost = true};
        return;
    }
    for (const char *at = text; *at != '\0';) {
        if (*at == '[') {
            n += (size_t)snprintf(wire + n, sizeof wire - n, "*%zu\r\n", count_elements(at + 1));
        } else if (*at != ']' && *at != ' ') {
            n += write_word(wire + n, sizeof wire - n, at, (int)(word_end(at) - at));
            at = word_end(at);
            continue;
        }
        at++;
    }
    CHECK_LT(n, sizeof wire);
    memcpy(a->reader.chunk, wire, n);
    a->reader.have = n;
    const char *why;
    a->reply = sg_reader_next(&a->reader, &why);
    if (a->reply == NULL)
        FAIL("%s is no answer", text);
    const char *error = sg_reply_error(a->reply);
    a->result = (sg_result){.status = SEG_OK, .reply = a->reply};
    if (error != NULL)
        a->result = (sg_result){sg_reply_error_status(error), false, a->reply, error};
}

static void end(answer *a) {
    sg_reply_free(a->reply);
    sg_reader_fini(&a->reader);
}

/* What an answer is read as. */
typedef struct line {
    const char *answer, *expected;
} line;

typedef void show_fn(answer *a, char *out, size_t size);

static void check_lines(const line *lines, size_t n, show_fn *show) {
    for (size_t i = 0; i < n; i++) {
        answer a;
        char got[900];
        begin(&a, lines[i].answer);
        show(&a, got, sizeof got);
        if (strcmp(got, lines[i].expected) != 0)
            FAIL("%s\n  is read as: %s\n  expected:   %s", lines[i].answer, got, lines[i].expected);
        end(&a);
    }
}

#define CHECK_LINES(lines, show) check_lines(lines, sizeof(lines) / sizeof *(lines), show)

static const char *lost_word(bool lost) {
    return lost ? " lost" : "";
}

/* ---- Moving a group ------------------------------------------------------------------------- */

static void show_seek(answer *a, char *out, size_t size) {
    sg_seek_answer s;
    sg_seek_read(&a->result, &s);
    static const char *const kinds[] = {"ok", "active", "stale", "gone", "refused"};
    if (s.kind == SG_SEEK_GONE || s.kind == SG_SEEK_REFUSED)
        snprintf(out, size, "%s%s %s", kinds[s.kind], lost_word(s.lost),
                 test_status_name(s.err.status));
    else
        snprintf(out, size, "%s epoch %d members %d %d..%d", kinds[s.kind], (int)s.epoch,
                 (int)s.members, (int)s.before, (int)s.after);
}

TEST(moving_a_group) {
    static const line lines[] = {
        {"[OK 7]", "ok epoch 7 members 0 0..0"},
        {"[OK 3 9]", "ok epoch 0 members 0 3..9"},
        {"[ACTIVE 2]", "active epoch 0 members 2 0..0"},
        {"[STALE 6]", "stale epoch 6 members 0 0..0"},
        {"[LOST state]", "gone ELOST"},
        {"[GONE group]", "gone ENOENT"},
        {"[OK]", "refused EPROTO"},
        {"[OK x]", "refused EPROTO"},
        {"[OK x 9]", "refused EPROTO"},
        {"[OK 3 x]", "refused EPROTO"},
        {"[OK 3 9 9]", "refused EPROTO"},
        {"[ACTIVE x]", "refused EPROTO"},
        {"[STALE]", "refused EPROTO"},
        {"[WHAT 1]", "refused EPROTO"},
        {"OK", "refused EPROTO"},
        {"_", "refused EPROTO"},
        {"-OOM~no", "refused EOOM"},
        {"(lost)", "refused lost ECONN"},
    };
    CHECK_LINES(lines, show_seek);
}

/* ---- Entries -------------------------------------------------------------------------------- */

static void show_entry(answer *a, char *out, size_t size) {
    sg_entry_answer e;
    sg_entry_find_read(&a->result, &e);
    snprintf(out, size, "%s%s%s %d '%.*s'", test_status_name(e.status), lost_word(e.lost),
             e.found ? " found" : "", (int)e.last, (int)e.batch.len,
             e.batch.len > 0 ? (const char *)e.batch.data : "");
}

TEST(one_entry) {
    static const line lines[] = {
        {"[]", "OK 0 ''"},
        {"[[1-9 [b batch]]]", "OK found 9 'batch'"},
        {"[[1-9 [c batch]]]", "OK found 9 ''"},
        {"[[1-9 [b batch b batch]]]", "OK found 9 ''"},
        {"[[1-9 [b]]]", "OK found 9 ''"},
        {"[[1-9]]", "OK found 9 ''"},
        {"[[9 [b batch]]]", "EPROTO 0 ''"},
        {"[[x-9 [b batch]]]", "EPROTO 0 ''"},
        {"[[1- [b batch]]]", "EPROTO 0 ''"},
        {"[['' [b batch]]]", "EPROTO 0 ''"},
        {"[[_ [b batch]]]", "EPROTO 0 ''"},
        {"[x]", "EPROTO 0 ''"},
        {"_", "EPROTO 0 ''"},
        {"-NOPERM~no", "EACCES 0 ''"},
        {"(lost)", "ECONN lost 0 ''"},
    };
    CHECK_LINES(lines, show_entry);
}

static sg_era two_eras[] = {{1, 0}, {5, 100}};
static const sg_eras eras = {two_eras, 2};

static void show_range(answer *a, char *out, size_t size) {
    sg_range_answer g;
    sg_range_read(&a->result, &g);
    size_t n = (size_t)snprintf(out, size, "%s%s", test_status_name(g.status), lost_word(g.lost));
    for (size_t i = 0; i < g.count; i++) {
        uint64_t last;
        seg_bytes b;
        bool ours = sg_range_entry(&g, i, &eras, &last, &b);
        n += (size_t)snprintf(out + n, size - n, " %lld", (long long)last);
        if (ours)
            n += (size_t)snprintf(out + n, size - n, "=%.*s", (int)b.len, (const char *)b.data);
    }
}

/* An entry of an era that has no such offset is none of ours. */
TEST(a_stretch_of_the_log) {
    static const line lines[] = {
        {"[]", "OK"},
        {"[[1-9 [b x]] [1-99 [b y]] [5-100 [b z]]]", "OK 9=x 99=y 100=z"},
        {"[[5-99 [b x]] [1-100 [b y]] [5-200 [b z]]]", "OK -1 -1 200=z"},
        {"[[1-9 [c x]] [1-10 [b x b y]] [1-11 [b _]] [1-12]]", "OK 9 10 11 12"},
        {"[[x [b x]] x _]", "OK -1 -1 -1"},
        {"x", "EPROTO"},
        {"_", "EPROTO"},
        {"-LOADING~yet", "ECONN"},
        {"(lost)", "ECONN lost"},
    };
    CHECK_LINES(lines, show_range);
}

/* ---- Groups --------------------------------------------------------------------------------- */

static void show_group(answer *a, char *out, size_t size) {
    static const char *const starts[] = {[SEG_EARLIEST] = "earliest",
                                         [SEG_LATEST] = "latest",
                                         [SEG_AT_OFFSET] = "offset",
                                         [SEG_AT_TIME] = "time"};
    sg_group_answer g;
    sg_stream s = {.name = "s"};
    sg_group_open_read(&a->result, &s, "g", &g);
    if (g.status != SEG_OK)
        snprintf(out, size, "%s%s", test_status_name(g.status), lost_word(g.lost));
    else
        snprintf(out, size, "%s%s %s %lld", g.creating ? "create " : "", g.gid,
                 starts[g.start.kind], (long long)g.start.at);
}

#define ID_32 "0123456789abcdef0123456789abcdef"

TEST(opening_a_group) {
    static const line lines[] = {
        {"[READY g latest]", "g latest 0"},
        {"[CREATE g earliest]", "create g earliest 0"},
        {"[READY " ID_32 " offset:12]", ID_32 " offset 12"},
        {"[READY g time:9223372036854775807]", "g time 9223372036854775807"},
        {"[READY g time:9223372036854775808]", "EPROTO"},
        {"[READY g offset:]", "EPROTO"},
        {"[READY g offset:-1]", "EPROTO"},
        {"[READY g offset:x]", "EPROTO"},
        {"[READY g offset:12x]", "EPROTO"},
        {"[READY g offset]", "EPROTO"},
        {"[READY g later:12]", "EPROTO"},
        {"[READY g '']", "EPROTO"},
        {"[READY g]", "EPROTO"},
        {"[READY '' latest]", "EPROTO"},
        {"[DAMAGED word]", "EPROTO"},
        {"[LOST group]", "ELOST"},
        {"[READY " ID_32 "0 latest]", "EPROTO"},
        {"[READY]", "EPROTO"},
        {"[OPEN g latest]", "EPROTO"},
        {"_", "EPROTO"},
        {"[DELETING]", "EEXIST"},
        {"[LOST meta]", "ELOST"},
        {"-WRONGTYPE~x", "EPROTO"},
        {"(lost)", "ECONN lost"},
    };
    CHECK_LINES(lines, show_group);
}

/* ---- Cursors -------------------------------------------------------------------------------- */

static void show_cursor(answer *a, char *out, size_t size) {
    static const char *const kinds[] = {"ok", "old", "fenced", "ahead", "lost", "refused"};
    sg_cursor_answer c;
    sg_cursor_read_answer(&a->result, &c);
    size_t n = (size_t)snprintf(out, size, "%s%s", kinds[c.kind], c.lost ? " lost" : "");
    if (c.kind == SG_CURSOR_REFUSED || c.kind == SG_CURSOR_LOST)
        snprintf(out + n, size - n, " %s", test_status_name(c.err.status));
    else if (c.kind != SG_CURSOR_OK || sg_reply_count(a->reply) == 1)
        snprintf(out + n, size - n, " %d", (int)c.number);
    else
        snprintf(out + n, size - n, " era %d [%d,%d) at %d epoch %d since %d high %d%s '%.*s' '%s'",
                 (int)c.era, (int)c.first, (int)c.next, (int)c.committed, (int)c.epoch,
                 (int)c.since, (int)c.high, c.clean ? " clean" : "", (int)c.note.len,
                 c.note.len > 0 ? (const char *)c.note.data : "",
                 c.owner.len > 0 ? (const char *)c.owner.data : "");
}

TEST(cursors) {
    static const line lines[] = {
        {"[OK]", "ok 0"},
        {"[OK 1:0~7:51 2 60]", "ok era 7 [2,60) at 0 epoch 0 since 0 high 0 '' ''"},
        {"[OK 7:51 2 60]", "ok era 7 [2,60) at 0 epoch 0 since 0 high 0 '' ''"},
        {"[OK 7:51 50 2 60 a t 55 n 4]", "ok era 7 [2,60) at 50 epoch 0 since 4 high 55 'n' ''"},
        {"[OK 7:51 50 2 60 a t '' n 4]",
         "ok era 7 [2,60) at 50 epoch 0 since 4 high 0 clean 'n' ''"},
        {"[OK 7:51 2 60 50 9 a t 55 n 4 me]",
         "ok era 7 [2,60) at 50 epoch 9 since 4 high 55 'n' 'me'"},
        {"[OLD]", "old 0"},
        {"[FENCED 8]", "fenced 8"},
        {"[STALE 8]", "fenced 8"},
        {"[AHEAD 60]", "ahead 60"},
        {"[LOST log]", "lost ELOST"},
        {"[WHAT]", "refused EPROTO"},
        {"_", "refused EPROTO"},
        {"-OOM~no", "refused EOOM"},
        {"(lost)", "refused lost ECONN"},
    };
    CHECK_LINES(lines, show_cursor);
}

/* Each field in turn that is no number, or none that the server can hold exactly. */
TEST(cursors_of_nonsense) {
    static const line lines[] = {
        {"[OK 7:51]", "refused EPROTO"},
        {"[OK 7:51 2]", "refused EPROTO"},
        {"[OK x:51 2 60]", "refused EPROTO"},
        {"[OK '' 2 60]", "refused EPROTO"},
        {"[OK 9007199254740993:51 2 60]", "refused EPROTO"},
        {"[OK 7:51 x 60]", "refused EPROTO"},
        {"[OK 7:51 2 x]", "refused EPROTO"},
        {"[OK 7:51 2 9007199254740993]", "refused EPROTO"},
        {"[OK 7:51 x 2 60 a t 55 n 4]", "refused EPROTO"},
        {"[OK 7:51 50 2 60 a t x n 4]", "refused EPROTO"},
        {"[OK 7:51 50 2 60 a t 55 n x]", "refused EPROTO"},
        {"[OK 7:51 2 60 x 9 a t 55 n 4 me]", "refused EPROTO"},
        {"[OK 7:51 2 60 50 x a t 55 n 4 me]", "refused EPROTO"},
        {"[OK 7:51 2 60 50 9 a t _ n 4 me]", "refused EPROTO"},
        {"[OK 7:51 2 60 50 9 a t 55 n 4]", "refused EPROTO"},
        {"[OK 7:51 2 60 50 9 a t 55 n 4 me me]", "refused EPROTO"},
    };
    CHECK_LINES(lines, show_cursor);
}

/* ---- Appends -------------------------------------------------------------------------------- */

static void show_append_of(answer *a, bool probe, char *out, size_t size) {
    static const char *const kinds[] = {"stored", "full", "toobig", "gap",     "stale",
                                        "era",    "held", "lost",   "unknown", "refused"};
    sg_append_answer p;
    sg_append_read(&a->result, probe, &p);
    size_t n = (size_t)snprintf(out, size, "%s%s%s%s", kinds[p.kind], p.lost ? " connection" : "",
                                p.duplicate ? " dup" : "", p.unsure ? " unsure" : "");
    if (p.kind == SG_APPEND_STORED && probe)
        snprintf(out + n, size - n, " %d '%s' %d/%d", (int)p.next, (const char *)p.eras.data,
                 (int)p.generation, (int)p.sequence);
    else if (p.kind == SG_APPEND_STORED)
        snprintf(out + n, size - n, " %lld", (long long)p.offset);
    else if (p.kind == SG_APPEND_FULL)
        snprintf(out + n, size - n, " %d room %d", (int)p.number, (int)p.room);
    else
        snprintf(out + n, size - n, " %s", test_status_name(p.err.status));
}

static void show_append(answer *a, char *out, size_t size) {
    show_append_of(a, false, out, size);
}

static void show_probe(answer *a, char *out, size_t size) {
    show_append_of(a, true, out, size);
}

TEST(appends) {
    static const line lines[] = {
        {"[[OK 5] 1-7 OK]", "stored 5"},
        {"[[OK 5] 1-7]", "stored 5"},
        {"[[DUP 5] -ERR~sealed]", "stored dup 5"},
        {"[[DUP _] -ERR~sealed]", "stored dup -1"},
        {"[[FULL 100 3] -ERR~sealed]", "full 100 room 3"},
        {"[[TOOBIG 100] -ERR~sealed]", "toobig EINVAL"},
        {"[[GAP 4] -ERR~sealed]", "gap ELOST"},
        {"[[STALE 4] -ERR~sealed]", "stale EPROTO"},
        {"[[ERA 4] -ERR~sealed]", "era EPROTO"},
        {"[[LOST log] -ERR~sealed]", "lost ELOST"},
        {"[[HELD 1 '' ''] -ERR~sealed]", "held EFENCED"},
        {"[[HELD '' '' 2] -ERR~sealed]", "held EFENCED"},
        {"[[HELD '' '' ''] -ERR~sealed]", "refused EPROTO"},
        {"[[BROKEN WRONGTYPE~x] -ERR~sealed]", "refused EPROTO"},
        {"[[BROKEN WRONGTYPE] -ERR~sealed]", "refused ESERVER"},
        {"[[WHAT] -ERR~sealed]", "refused EPROTO"},
        {"[_ -ERR~sealed]", "refused EPROTO"},
        {"_", "refused EPROTO"},
    };
    CHECK_LINES(lines, show_append);
}

/* Nothing is claimed of a batch that the server may have stored all the same. */
TEST(appends_that_may_be_stored) {
    static const line lines[] = {
        {"[[OK x] 1-7]", "refused unsure EPROTO"},
        {"[[OK x] -ERR~sealed]", "refused EPROTO"},
        {"[[OK 5] -NOPERM~xadd]", "refused unsure EPROTO"},
        {"[[DUP 5] 1-7]", "refused dup unsure EPROTO"},
        {"[[FULL 100 3] 1-7]", "refused unsure EPROTO"},
        {"[-OOM~eval 1-7]", "refused unsure EOOM"},
        {"[-OOM~eval -ERR~sealed]", "refused EOOM"},
        {"[-NOSCRIPT~No~matching~script -ERR~sealed OK]", "unknown ESERVER"},
        {"[-NOSCRIPT~No~matching~script 1-7 OK]", "unknown unsure ESERVER"},
        {"-EXECABORT~Transaction~discarded", "refused ESERVER"},
        {"-NOPERM~exec", "refused unsure EACCES"},
        {"(lost)", "refused connection ECONN"},
    };
    CHECK_LINES(lines, show_append);
}

TEST(probes) {
    static const line lines[] = {
        {"[[OK 60 1:0 3 57] -ERR~no]", "stored 60 '1:0' 3/57"},
        {"[[OK 60 1:0 0 0] 1-7]", "refused unsure EPROTO"},
        {"[[OK x 1:0 3 57] -ERR~no]", "refused EPROTO"},
        {"[[OK 60 1:0 x 57] -ERR~no]", "refused EPROTO"},
        {"[[OK 60 1:0 3 x] -ERR~no]", "refused EPROTO"},
        {"[[OK 60] -ERR~no]", "refused EPROTO"},
        {"[[LOST log] -ERR~no]", "lost ELOST"},
    };
    CHECK_LINES(lines, show_probe);
}

static void check_numbers(const char *text, const char *expected) {
    seg_bytes list = {text, strlen(text)};
    char got[100] = "";
    uint32_t n;
    for (size_t at = 0; sg_numbers_next(&list, &n);)
        at += (size_t)snprintf(got + at, sizeof got - at, "%u;", n);
    CHECK_STR(got, expected);
}

TEST(lists_of_numbers) {
    check_numbers("", "");
    check_numbers("0", "0;");
    check_numbers("1,20,300", "1;20;300;");
    check_numbers("4294967295,1", "4294967295;1;");
    check_numbers("4294967296,1", "");
    check_numbers("99999999999999999999999", "");
    check_numbers("1,,2", "1;");
    check_numbers("1;2", "");
    check_numbers("1,x", "1;");
    check_numbers("-1", "");
}

/* ---- Streams, and what has only to be done -------------------------------------------------- */

static const sg_stream asked = {.ns = "n", .name = "s", .inc = "i", .partitions = 2, .bound = 9};

static void show_stream_answer(const sg_stream_answer *s, char *out, size_t size) {
    static const char *const policies[] = {"block", "reject", "drop-oldest"};
    if (s->status != SEG_OK)
        snprintf(out, size, "%s%s%s%s", test_status_name(s->status), lost_word(s->lost),
                 s->creating ? " creating" : "", s->deleting ? " deleting" : "");
    else
        snprintf(out, size, "%s%s %u of %d %s since %d", s->creating ? "create " : "",
                 s->stream.inc, s->stream.partitions, (int)s->stream.bound,
                 policies[s->stream.on_full], (int)s->stream.created);
}

static void show_get(answer *a, char *out, size_t size) {
    sg_stream_answer s;
    sg_stream_get_read(&a->result, &asked, &s);
    show_stream_answer(&s, out, size);
}

static void show_create(answer *a, char *out, size_t size) {
    sg_stream_answer s;
    sg_stream_create_read(&a->result, &asked, &s);
    show_stream_answer(&s, out, size);
}

static void show_plain(answer *a, char *out, size_t size) {
    sg_plain_answer p;
    sg_plain_read(&a->result, "a thing", &p);
    snprintf(out, size, "%s%s", test_status_name(p.status), lost_word(p.lost));
}

TEST(what_is_registered) {
    static const line lines[] = {
        {"[ready i 4 100 drop-oldest 77 1]", "i 4 of 100 drop-oldest since 77"},
        {"[ready i 4096 1 block _ 1]", "i 4096 of 1 block since 0"},
        {"[ready i 4 100 block 77 2]", "EPROTO"},
        {"[ready i 4 100 block 77 _]", "EPROTO"},
        {"[ready '' 4 100 block 77 1]", "EPROTO"},
        {"[ready " ID_32 "0 4 100 block 77 1]", "EPROTO"},
        {"[ready i x 100 block 77 1]", "EPROTO"},
        {"[ready i 0 100 block 77 1]", "EPROTO"},
        {"[ready i 4097 100 block 77 1]", "EPROTO"},
        {"[ready i 4 x block 77 1]", "EPROTO"},
        {"[ready i 4 0 block 77 1]", "EPROTO"},
        {"[ready i 4 100 wait 77 1]", "EPROTO"},
        {"[creating i 4 100 block 77 1]", "ENOENT creating"},
        {"[deleting i 4 100 block 77 1]", "ENOENT deleting"},
        {"[_ _ _ _ _ _ _]", "ENOENT"},
        {"-WRONGTYPE~x", "EPROTO"},
        {"(lost)", "ECONN lost"},
    };
    CHECK_LINES(lines, show_get);
}

TEST(creating_a_stream) {
    static const line lines[] = {
        {"[CREATE i 4 100 reject]", "create i 4 of 100 reject since 0"},
        {"[READY i 4 100 block]", "i 4 of 100 block since 0"},
        {"[READY i 4 100 wait]", "EPROTO"},
        {"[CONFLICT i 4 100 block]", "EEXIST"},
        {"[DELETING]", "EEXIST"},
        {"[WHAT]", "EPROTO"},
        {"_", "EPROTO"},
        {"-READONLY~x", "ECONN"},
        {"(lost)", "ECONN lost"},
    };
    CHECK_LINES(lines, show_create);
}

TEST(what_has_only_to_be_done) {
    static const line lines[] = {
        {"[OK]", "OK"},           {"1", "OK"},          {"_", "OK"},
        {"[LOST meta]", "ELOST"}, {"[GONE]", "ENOENT"}, {"[FOREIGN]", "EEXIST"},
        {"[WHAT]", "EPROTO"},     {"[]", "EPROTO"},     {"-NOPERM~x", "EACCES"},
        {"(lost)", "ECONN lost"},
    };
    CHECK_LINES(lines, show_plain);
}
