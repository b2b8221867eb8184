/* lua.c - a recursive descent over the whole grammar: every expression gives the stretch that it
 * covers, and reports on its way up what could be left out of it. */
#include "lua.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPERANDS_MAX = 32 };

typedef struct span {
    size_t from, to;
} span;

typedef struct reader {
    const char *name, *text;
    span token; /* the one that comes next; empty at the end */
    size_t end; /* of the one before */
    lua_found_fn *fn;
    void *arg;
} reader;

static void read_block(reader *r);
static span read_expression(reader *r);

/* ---- words ----------------------------------------------------------------------------------- */

_Noreturn static void fail(const reader *r, const char *expected) {
    int line = 1;
    for (size_t i = 0; i < r->token.from; i++) {
        line += r->text[i] == '\n';
    }
    fprintf(stderr, "%s:%d: expected %s at \"%.20s\"\n", r->name, line, expected,
            r->text + r->token.from);
    exit(2);
}

static bool is_name_byte(char c) {
    return isalnum((unsigned char)c) || c == '_';
}

static size_t end_of_string(const reader *r, size_t at) {
    char quote = r->text[at++];
    while (r->text[at] != quote) {
        if (r->text[at] == '\0') {
            fail(r, "the end of a string");
        }
        at += r->text[at] == '\\' ? 2 : 1;
    }
    return at + 1;
}

static size_t end_of_token(const reader *r, size_t at) {
    static const char *const LONG[] = {"...", "..", "==", "~=", "<=", ">="};
    const char *t = r->text + at;
    if (*t == '\'' || *t == '"') {
        return end_of_string(r, at);
    }
    if (is_name_byte(*t)) {
        while (is_name_byte(*t) || (*t == '.' && isdigit((unsigned char)r->text[at]))) {
            t++;
        }
        return (size_t)(t - r->text);
    }
    for (size_t i = 0; i < sizeof LONG / sizeof *LONG; i++) {
        if (strncmp(t, LONG[i], strlen(LONG[i])) == 0) {
            return at + strlen(LONG[i]);
        }
    }
    return at + 1;
}

static void advance(reader *r) {
    size_t at = r->token.to;
    r->end = at;
    for (;;) {
        at += strspn(r->text + at, " \t\r\n;");
        if (strncmp(r->text + at, "--", 2) != 0) {
            break;
        }
        at += strcspn(r->text + at, "\n");
    }
    r->token.from = at;
    r->token.to = r->text[at] == '\0' ? at : end_of_token(r, at);
}

static bool same(const reader *r, span s, const char *word) {
    return s.to - s.from == strlen(word) && memcmp(r->text + s.from, word, strlen(word)) == 0;
}

static bool next_is(const reader *r, const char *word) {
    return same(r, r->token, word);
}

static bool take(reader *r, const char *word) {
    bool there = next_is(r, word);
    if (there) {
        advance(r);
    }
    return there;
}

static void need(reader *r, const char *word) {
    if (!take(r, word)) {
        fail(r, word);
    }
}

static bool next_is_one_of(const reader *r, const char *words) { /* with a space around each */
    char word[16];
    int n = snprintf(word, sizeof word, " %.*s ", (int)(r->token.to - r->token.from),
                     r->text + r->token.from);
    return n > 2 && n < (int)sizeof word && strstr(words, word) != NULL;
}

static void need_name(reader *r) {
    char first = r->text[r->token.from];
    if (!isalpha((unsigned char)first) && first != '_') {
        fail(r, "a name");
    }
    advance(r);
}

/* ---- finds ----------------------------------------------------------------------------------- */

static void report(const reader *r, span s, const char *kind, size_t number, const char *put) {
    lua_find find = {.from = s.from, .to = s.to};
    snprintf(find.kind, sizeof find.kind, number > 0 ? "%s-%zu" : "%s", kind, number);
    if (strlen(put) >= sizeof find.put) {
        fail(r, "less text");
    }
    strcpy(find.put, put);
    r->fn(&find, r->arg);
}

/* The text of `whole` with `put` in the place of `part`. */
static const char *with(const reader *r, span whole, span part, const char *put) {
    static char text[4096];
    int n = snprintf(text, sizeof text, "%.*s%s%.*s", (int)(part.from - whole.from),
                     r->text + whole.from, put, (int)(whole.to - part.to), r->text + part.to);
    if (n >= (int)sizeof text) {
        fail(r, "less text");
    }
    return text;
}

/* The i-th of several with the operator or comma beside it, so that the others can do without. */
static span part_of(const span *operands, size_t i) {
    return i > 0 ? (span){operands[i - 1].to, operands[i].to}
                 : (span){operands[0].from, operands[1].from};
}

static void report_without(const reader *r, const char *kind, span whole, const span *operands,
                           size_t n) {
    for (size_t i = 0; i < n; i++) {
        report(r, whole, kind, i + 1, with(r, whole, part_of(operands, i), ""));
    }
}

/* ---- expressions ----------------------------------------------------------------------------- */

/* What stands between brackets. The stretches of the first ones; how many there are. */
static size_t read_arguments(reader *r, const char *close, span *arguments) {
    size_t n = 0;
    while (!next_is(r, close)) {
        span s = read_expression(r);
        if (n < OPERANDS_MAX) {
            arguments[n++] = s;
        }
        if (!take(r, ",")) {
            break;
        }
    }
    need(r, close);
    return n;
}

/* Its entries are `name = value` or values. Those of a list of tables are each worth a look. */
static void read_table(reader *r) {
    span entries[OPERANDS_MAX];
    size_t n = 0, tables = 0;
    need(r, "{");
    while (!next_is(r, "}")) {
        if (n == OPERANDS_MAX) {
            fail(r, "fewer entries");
        }
        tables += next_is(r, "{");
        entries[n++] = read_expression(r);
        if (take(r, "=")) { /* what came was the name */
            read_expression(r);
        }
        if (!take(r, ",")) {
            break;
        }
    }
    need(r, "}");
    for (size_t i = 0; n > 1 && tables == n && i < n; i++) {
        report(r, part_of(entries, i), "entry", i + 1, "");
    }
}

static void read_function(reader *r) { /* behind the word and the name */
    need(r, "(");
    while (!next_is(r, ")")) {
        advance(r);
    }
    need(r, ")");
    read_block(r);
    need(r, "end");
}

static void read_call(reader *r, span called, size_t from) {
    span arguments[OPERANDS_MAX];
    char put[4096];
    need(r, "(");
    size_t n = read_arguments(r, ")", arguments);
    span whole = {from, r->end};
    if (n > 1 && (same(r, called, "math.min") || same(r, called, "math.max"))) {
        report_without(r, "clamp", whole, arguments, n);
    }
    if (same(r, called, "redis.pcall")) {
        report(r, whole, "pcall", 0, with(r, whole, called, "redis.call"));
    } else if (n == 1 && same(r, called, "pcall")) {
        snprintf(put, sizeof put, "true, %.*s()", (int)(arguments[0].to - arguments[0].from),
                 r->text + arguments[0].from);
        report(r, whole, "pcall", 0, put);
    }
}

/* A name, or something in parentheses, with what follows it. Was the last of it a call? */
static span read_suffixed(reader *r, bool *call) {
    span s = {r->token.from, r->token.to};
    *call = false;
    if (take(r, "(")) {
        read_expression(r);
        need(r, ")");
    } else {
        need_name(r);
    }
    for (;;) {
        s.to = r->end;
        if (take(r, ".")) {
            need_name(r);
            *call = false;
        } else if (take(r, "[")) {
            read_expression(r);
            need(r, "]");
            *call = false;
        } else if (next_is(r, "(")) {
            read_call(r, s, s.from);
            *call = true;
        } else {
            return s;
        }
    }
}

static span read_operand(reader *r) {
    span s = r->token;
    char first = r->text[s.from];
    bool call;
    if (next_is_one_of(r, " not # - ")) {
        advance(r);
        read_operand(r);
    } else if (take(r, "function")) {
        read_function(r);
    } else if (next_is(r, "{")) {
        read_table(r);
    } else if (isdigit((unsigned char)first) || first == '\'' || first == '"' ||
               next_is_one_of(r, " nil true false ... ")) {
        advance(r);
    } else {
        return read_suffixed(r, &call);
    }
    s.to = r->end;
    return s;
}

static span read_sum(reader *r) { /* all of the same use here: arithmetic and .. */
    span s = read_operand(r);
    while (next_is_one_of(r, " + - * / % ^ .. ")) {
        advance(r);
        s.to = read_operand(r).to;
    }
    return s;
}

static span read_comparison(reader *r) {
    span s = read_sum(r);
    while (next_is_one_of(r, " < <= > >= == ~= ")) {
        span operator= r->token;
        char first = r->text[operator.from], put[3] = {first, '=', '\0'};
        advance(r);
        s.to = read_sum(r).to;
        if (operator.to - operator.from == 2) {
            put[1] = '\0';
        }
        if (first == '<' || first == '>') {
            report(r, s, "edge", 0, with(r, s, operator, put));
        }
    }
    return s;
}

static span read_chain(reader *r, const char *operator, span (*read_part)(reader *r)) {
    span parts[OPERANDS_MAX];
    size_t n = 0;
    do {
        if (n == OPERANDS_MAX) {
            fail(r, "fewer operands");
        }
        parts[n++] = read_part(r);
    } while (take(r, operator));
    span whole = {parts[0].from, parts[n - 1].to};
    if (n > 1) {
        report_without(r, "without", whole, parts, n);
    }
    return whole;
}

static span read_conjunction(reader *r) {
    return read_chain(r, "and", read_comparison);
}

static span read_expression(reader *r) {
    return read_chain(r, "or", read_conjunction);
}

static void read_expressions(reader *r) {
    do {
        read_expression(r);
    } while (take(r, ","));
}

/* ---- statements ------------------------------------------------------------------------------ */

static void read_if(reader *r) {
    do {
        span condition = read_expression(r);
        report(r, condition, "never", 0, "false");
        report(r, condition, "always", 0, "true");
        need(r, "then");
        read_block(r);
    } while (take(r, "elseif"));
    if (take(r, "else")) {
        read_block(r);
    }
    need(r, "end");
}

static void read_for(reader *r) {
    while (!next_is(r, "in") && !next_is(r, "=")) {
        advance(r);
    }
    advance(r);
    read_expressions(r);
    need(r, "do");
    read_block(r);
    need(r, "end");
}

static void read_local(reader *r) {
    if (take(r, "function")) {
        need_name(r);
        read_function(r);
        return;
    }
    do {
        need_name(r);
    } while (take(r, ","));
    if (take(r, "=")) {
        read_expressions(r);
    }
}

static void read_call_or_assignment(reader *r) {
    bool call;
    span s = read_suffixed(r, &call);
    if (!call) {
        while (take(r, ",")) {
            read_suffixed(r, &call);
        }
        need(r, "=");
        read_expressions(r);
    }
    s.to = r->end;
    report(r, s, "gone", 0, "");
}

static void read_block(reader *r) {
    while (r->token.to > r->token.from && !next_is_one_of(r, " end else elseif until ")) {
        if (take(r, "if")) {
            read_if(r);
        } else if (take(r, "for")) {
            read_for(r);
        } else if (take(r, "local")) {
            read_local(r);
        } else if (take(r, "while")) {
            read_expression(r);
            need(r, "do");
            read_block(r);
            need(r, "end");
        } else if (take(r, "repeat")) {
            read_block(r);
            need(r, "until");
            read_expression(r);
        } else if (take(r, "return")) {
            if (!next_is_one_of(r, " end else elseif until ")) {
                read_expressions(r);
            }
        } else if (!take(r, "break")) {
            read_call_or_assignment(r);
        }
    }
}

void lua_read(const char *name, const char *text, lua_found_fn *fn, void *arg) {
    reader r = {.name = name, .text = text, .fn = fn, .arg = arg};
    if (strncmp(text, "#!", 2) == 0) {
        r.token.to = strcspn(text, "\n");
    }
    advance(&r);
    read_block(&r);
    if (r.token.to > r.token.from) {
        fail(&r, "the end");
    }
}
