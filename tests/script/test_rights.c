/* The table of rights: no script runs a command that is not in it, and what the server answers about
 * rights is read as what it means. */
#include "redis/rights.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "redis/script.h"
#include "redis/script_text.h"
#include "scripts_rig.h"
#include "test.h"

static bool is_right(const char *name) {
    for (size_t i = 0; i < sg_right_commands; i++)
        if (strcmp(sg_right_name(i) + 1, name) == 0)
            return true;
    return false;
}

/* The word in quotes at `from`, in lower case; what follows it. */
static const char *quoted(const char *from, const char *end, char out[32]) {
    size_t n = 0;
    if (from >= end || *from != '\'')
        return NULL;
    for (from++; from < end && *from != '\'' && n < 31; from++)
        out[n++] = (char)tolower((unsigned char)*from);
    out[n] = '\0';
    return from + 1;
}

static size_t check_calls(const struct sg_script_text *t, const char *function) {
    const char *at = t->body, *end = t->body + t->len;
    size_t calls = 0;
    while ((at = memmem(at, (size_t)(end - at), function, strlen(function))) != NULL) {
        char name[80], word[32];
        at += strlen(function);
        const char *next = quoted(at, end, name);
        if (next == NULL)
            FAIL("%s: a command that is not written out: \"%.40s\"", t->name, at);
        if (!is_right(name) && quoted(next + 2, end, word) != NULL) {
            strcat(name, "|");
            strcat(name, word);
        }
        if (!is_right(name))
            FAIL("%s runs '%s', which is no right in src/redis/rights.h", t->name, name);
        calls++;
    }
    return calls;
}

TEST(no_script_runs_a_command_that_is_no_right) {
    size_t calls = 0;
    for (size_t i = 0; i < sg_script_texts_count; i++) {
        const struct sg_script_text *t = &sg_script_texts[i];
        calls += check_calls(t, "redis.call(") + check_calls(t, "redis.pcall(");
    }
    CHECK_GE(calls, 150);
}

TEST(the_script_tells_what_the_caller_may) {
    raw r;
    size_t len;
    const char *body = sg_script_body(sg_script_find("rights"), &len);
    raw_start(&r);
    CHECK_STR(raw_cmd(&r, "ACL SETUSER u reset on >pw %%R~a:* ~b:* &c +@all -hdel -xgroup|create"),
              "OK");
    CHECK_STR(raw_cmd(&r, "AUTH u pw"), "OK");
    CHECK_STR(raw_cmd(&r,
                      "EVAL %b 0 1 PING 3 HGET a:x f 4 HSET a:x f v 4 HSET b:x f v 3 HDEL b:x f "
                      "1 HDEL 5 XGROUP CREATE b:x g 0 2 XGROUP CREATE 2 XGROUP SETID "
                      "3 SPUBLISH c m 3 SPUBLISH d m 1 NOSUCHCOMMAND 1 HSET",
                      body, len),
              "1 1 0 1 0 0 0 0 1 1 0 0 1");
    CHECK_STR(raw_cmd(&r, "EVAL %b 0", body, len), "");
    CHECK_STR(raw_cmd(&r, "EVAL %b 0 1 PING 0", body, len), "1 0"); /* no command is none */
    raw_stop(&r);
}
