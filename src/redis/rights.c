#include "redis/rights.h"

#include <stdio.h>
#include <string.h>

#include "redis/ops_impl.h"

#define WORDS_MAX 8

static const struct {
    const char *name, *call;
    unsigned kind;
    const char *purpose;
} RIGHTS[] = {
#define X(name, call, kind, purpose) {"+" name, call, kind, purpose},
    SG_RIGHT_MAP(X)
#undef X
};

const size_t sg_right_commands = sizeof RIGHTS / sizeof *RIGHTS;

const char *sg_right_name(size_t i) {
    return RIGHTS[i].name;
}

const char *sg_right_purpose(size_t i) {
    return RIGHTS[i].purpose;
}

unsigned sg_right_kind(size_t i) {
    return RIGHTS[i].kind;
}

void sg_right_pattern(char out[SG_PATTERN_MAX], int pattern, const char *ns) {
    static const char *const forms[] = {"~sg:{%s}:*", "~sg:{%s/*}:*", "&sg:{%s/*}:wake:*"};
    const char *form = forms[pattern], *at = strstr(form, "%s");
    snprintf(out, SG_PATTERN_MAX, "%.*s%.*s%s", (int)(at - form), form, SG_NAME_MAX, ns, at + 2);
}

/* ---- asking --------------------------------------------------------------------------------- */

/* Keys that may well be there: they are only asked about. */
typedef struct places {
    sg_key keys[SG_RIGHT_PATTERNS];
} places;

static places places_of(const char *ns) {
    return (places){{sg_key_streams(ns), sg_key_state(ns, "s", 0), sg_key_wake(ns, "s", "g", "m")}};
}

/* Where a command's key is; -1: it has none. */
static int pattern_of(size_t i) {
    static const char marks[] = "@$&";
    size_t n = strcspn(RIGHTS[i].call, marks);
    return RIGHTS[i].call[n] != '\0' ? (int)(strchr(marks, RIGHTS[i].call[n]) - marks) : -1;
}

/* The words of the call. `bare`: only those that the right names. */
static size_t words_of(size_t i, bool bare, const places *at, seg_bytes words[WORDS_MAX]) {
    const char *from = RIGHTS[i].call;
    size_t n = 0, most = !bare ? WORDS_MAX : strchr(RIGHTS[i].name, '|') != NULL ? 2 : 1;
    int pattern = pattern_of(i);
    while (*from != '\0' && n < most) {
        size_t len = strcspn(from, " ");
        bool key = len == 1 && (*from == '@' || *from == '$' || *from == '&');
        words[n++] = key ? (seg_bytes){at->keys[pattern].text, at->keys[pattern].len}
                         : (seg_bytes){from, len};
        from += len + strspn(from + len, " ");
    }
    return n;
}

static void send_words(sg_conn *c, const seg_bytes *words, size_t n) {
    for (size_t k = 0; k < n; k++)
        sg_conn_arg(c, words[k].data, words[k].len);
}

bool sg_rights_send(sg_conn *c, const char *ns, sg_result_fn *fn, void *arg) {
    seg_bytes words[WORDS_MAX];
    places at = places_of(ns);
    size_t len, total = 3;
    const char *body = sg_script_body(sg_script_find("rights"), &len);
    for (size_t i = 0; i < 2 * sg_right_commands; i++)
        total += 1 + words_of(i / 2, i % 2 == 1, &at, words);
    sg_conn_begin(c);
    sg_conn_command(c, total);
    sg_conn_arg_str(c, "EVAL");
    sg_conn_arg(c, body, len);
    sg_conn_arg_u64(c, 0);
    for (size_t i = 0; i < 2 * sg_right_commands; i++) {
        size_t n = words_of(i / 2, i % 2 == 1, &at, words);
        sg_conn_arg_u64(c, n);
        send_words(c, words, n);
    }
    return sg_conn_end(c, fn, arg, 0);
}

bool sg_rights_read(const sg_reply *reply, sg_right_answer *out) {
    if (sg_reply_count(reply) != 2 * sg_right_commands)
        return false;
    for (size_t i = 0; i < 2 * sg_right_commands; i++) {
        uint64_t may;
        if (!sg_reply_u64(sg_reply_at(reply, i), &may) || may > 1)
            return false;
        seg_known known = may == 1 ? SEG_YES : SEG_NO;
        *(i % 2 == 0 ? &out[i / 2].whole : &out[i / 2].bare) = known;
    }
    return true;
}

bool sg_right_dryrun_send(sg_conn *c, const char *ns, const char *user, size_t i, sg_result_fn *fn,
                          void *arg) {
    seg_bytes words[WORDS_MAX];
    places at = places_of(ns);
    size_t n = words_of(i, false, &at, words);
    sg_conn_begin(c);
    sg_conn_command(c, 3 + n);
    sg_conn_arg_str(c, "ACL");
    sg_conn_arg_str(c, "DRYRUN");
    sg_conn_arg_str(c, user);
    send_words(c, words, n);
    return sg_conn_end(c, fn, arg, 0);
}

/* "OK", or a sentence: "... no permissions to access the '...' key", or "... to run the '...' command". */
sg_right_answer sg_right_dryrun_read(const sg_reply *reply) {
    seg_known whole = sg_dryrun_read(reply);
    bool place = whole == SEG_NO && strstr(sg_reply_text(reply), "permissions to access") != NULL;
    return (sg_right_answer){whole, place ? SEG_YES : whole};
}

/* ---- judging -------------------------------------------------------------------------------- */

/* A command that may be run, but not on that key, tells of the key; one that may tells that all is
 * well there, but for others that tell otherwise: a key may be there to be read only. */
void sg_rights_judge(const sg_right_answer *answers, seg_known *out) {
    seg_known *patterns = out + sg_right_commands;
    memset(patterns, 0, SG_RIGHT_PATTERNS * sizeof *patterns);
    for (size_t i = 0; i < sg_right_commands; i++) {
        const sg_right_answer *a = &answers[i];
        int at = pattern_of(i);
        out[i] = a->whole == SEG_YES ? SEG_YES : a->bare;
        if (at >= 0 && a->whole == SEG_NO && a->bare == SEG_YES)
            patterns[at] = SEG_NO;
        else if (at >= 0 && a->whole == SEG_YES && patterns[at] == SEG_MAYBE)
            patterns[at] = SEG_YES;
    }
}
