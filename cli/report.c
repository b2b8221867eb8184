/* report.c - what the command tells people: one line each on stderr, never a password.
 *
 * A password reaches the command inside a URL, and could come out again in many ways: the library
 * quoting a malformed URL, a server naming the command that it refused, a usage error echoing a
 * word that was a URL in the wrong place. So instead of trusting each place, main() shows every
 * word of the command line to cli_hide_password(), and every report is masked as it is written. */
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "json.h"
#include "text.h"
#include "url.h"

enum { MAX_SECRETS = 32, MIN_SECRET = 3, REPORT_MAX = 4096 };

static const char *who = "segmenter";
static bool as_json;
static char *secrets[MAX_SECRETS];
static size_t n_secrets;
static char first_fault[REPORT_MAX]; /* as it was reported */

void cli_set_who(const char *name) {
    who = name;
}

void cli_report_json(void) {
    as_json = true;
}

/* ---- Passwords ------------------------------------------------------------------------------ */

/* A secret of one or two characters would mask half of every report, and protects nothing. */
static void add_secret(const char *from, size_t len) {
    if (len < MIN_SECRET || n_secrets + 2 > MAX_SECRETS) {
        return;
    }
    char *raw = cli_format("%.*s", (int)len, from);
    secrets[n_secrets++] = raw;
    secrets[n_secrets++] = cli_url_decode(raw, len);
}

/* A malformed URL may be cut elsewhere than it was meant, so the pieces of the password between
 * the characters that separate the parts of a URL are secrets too. */
static void add_secret_and_pieces(const char *from, size_t len) {
    add_secret(from, len);
    size_t start = 0;
    for (size_t i = 0; i <= len; i++) {
        if (i == len || strchr("/?#@:&=", from[i])) {
            if (i - start < len) {
                add_secret(from + start, i - start);
            }
            start = i + 1;
        }
    }
}

void cli_hide_password(const char *text) {
    const char *rest = strstr(text, "://");
    if (!rest) {
        return;
    }
    rest += 3;
    const char *at = strrchr(rest, '@');
    const char *colon = at ? memchr(rest, ':', (size_t)(at - rest)) : NULL;
    if (colon) {
        add_secret_and_pieces(colon + 1, (size_t)(at - colon - 1));
    }
    const char *query = strchr(at ? at : rest, '?');
    while (query && *query) {
        query++;
        size_t len = strcspn(query, "&");
        const char *equals = memchr(query, '=', len);
        if (equals && strncmp(query, "db=", 3) != 0) {
            add_secret(equals + 1, len - (size_t)(equals + 1 - query));
        }
        query += len;
    }
}

void cli_cover_password(char *text) {
    char *rest = strstr(text, "://");
    char *at = rest ? strrchr(rest, '@') : NULL;
    char *colon = at ? memchr(rest + 3, ':', (size_t)(at - rest - 3)) : NULL;
    if (colon) {
        memset(colon + 1, '*', (size_t)(at - colon - 1));
    }
}

static size_t secret_at(const char *text) {
    size_t longest = 0;
    for (size_t i = 0; i < n_secrets; i++) {
        size_t len = strlen(secrets[i]);
        if (len > longest && strncmp(text, secrets[i], len) == 0) {
            longest = len;
        }
    }
    return longest;
}

void cli_mask_passwords(char *out, size_t cap, const char *text) {
    size_t used = 0;
    while (*text && used + 4 < cap) {
        size_t secret = secret_at(text);
        if (secret > 0) {
            memcpy(out + used, "***", 3);
            used += 3;
            text += secret;
        } else {
            /* One report is one line, whatever a server or a file name put into it. */
            out[used++] = *text == '\n' || *text == '\r' ? ' ' : *text;
            text++;
        }
    }
    out[used] = '\0';
}

/* ---- Reports --------------------------------------------------------------------------------- */

/* What to do next, where the message does not know. */
static const char *hint_for(seg_status status) {
    switch (status) {
    case SEG_EINVAL:
        return "see --help";
    case SEG_ENOENT:
        return "see what there is: segmenter stream ls, segmenter group ls";
    case SEG_EEXIST:
        return "look at what is there: segmenter stream info, segmenter group describe";
    case SEG_ECONN:
    case SEG_ETIMEDOUT:
        return "see whether the server runs and the URL is right: segmenter check connection";
    case SEG_EACCES:
        return "--password-file names a file with the password; segmenter doctor says which rights "
               "the user lacks";
    case SEG_ESERVER:
    case SEG_EOOM:
        return "see what the server lacks: segmenter doctor";
    case SEG_EUNKNOWN:
        return "look whether it was done, and give the command again";
    default:
        return NULL;
    }
}

static void print_json(const char *kind, const char *code, const char *message, const char *hint) {
    json_t *inner = json_object(), *object = json_object();
    if (code) {
        cli_json_text(inner, "code", code);
    }
    cli_json_text(inner, "message", message);
    if (code) {
        cli_json_text(inner, "hint", hint);
    }
    cli_json_add(object, kind, inner);
    cli_json_print(stderr, object);
}

/* What a report quotes can come from anywhere: it must not command the terminal. */
void cli_report_text(char *out, size_t cap, const char *text) {
    char masked[REPORT_MAX];
    cli_mask_passwords(masked, sizeof masked, text);
    cli_text_clean(out, cap, (seg_bytes){masked, strlen(masked)});
}

/* `code`: of an error; NULL for what is none. */
__attribute__((format(printf, 3, 0))) static void say(const char *code, const char *hint,
                                                      const char *format, va_list args) {
    char text[REPORT_MAX], clean[REPORT_MAX];
    vsnprintf(text, sizeof text, format, args);
    cli_report_text(clean, sizeof clean, text);
    if (code && !first_fault[0]) {
        memcpy(first_fault, clean, sizeof clean);
    }
    if (as_json) {
        print_json(code ? "error" : "note", code, clean, hint);
    } else {
        fprintf(stderr, "%s: %s\n", who, clean);
    }
}

const char *cli_first_fault(void) {
    return first_fault;
}

void cli_note(const char *format, ...) {
    va_list args;
    va_start(args, format);
    say(NULL, NULL, format, args);
    va_end(args);
}

int cli_usage(const char *format, ...) {
    va_list args;
    va_start(args, format);
    char hint[160];
    snprintf(hint, sizeof hint, "see %s --help", who);
    say("usage", hint, format, args);
    va_end(args);
    return CLI_USAGE;
}

int cli_failure(const char *format, ...) {
    va_list args;
    va_start(args, format);
    say("failure", NULL, format, args);
    va_end(args);
    return CLI_FAILURE;
}

int cli_exit_code(seg_status status) {
    switch (status) {
    case SEG_OK:
        return CLI_OK;
    case SEG_EINVAL:
        return CLI_USAGE;
    case SEG_ENOENT:
        return CLI_NOT_FOUND;
    case SEG_EEXIST:
    case SEG_EFENCED: /* another consumer took this one's name */
        return CLI_CONFLICT;
    case SEG_ECONN:
    case SEG_EACCES:
        return CLI_CONNECTION;
    default:
        return CLI_FAILURE;
    }
}

__attribute__((format(printf, 2, 3))) static void say_error(seg_status status, const char *format,
                                                            ...) {
    va_list args;
    va_start(args, format);
    say(seg_status_name(status), hint_for(status), format, args);
    va_end(args);
}

int cli_error(const seg_error *err) {
    say_error(err->status, "%s", err->text[0] ? err->text : seg_status_text(err->status));
    return cli_exit_code(err->status);
}

/* ---- Output ---------------------------------------------------------------------------------- */

/* Why the first write failed: by the time that it is told, errno is something else's, or another
 * thread's. */
static atomic_int write_error;

bool cli_stdout_failed(void) {
    if (!ferror(stdout)) {
        return false;
    }
    int none = 0;
    atomic_compare_exchange_strong(&write_error, &none, errno);
    return true;
}

static int say_unwritten(void) {
    int none = 0;
    atomic_compare_exchange_strong(&write_error, &none, errno);
    return cli_failure("cannot write the output: %s", strerror(atomic_load(&write_error)));
}

bool cli_flush_stdout(void) {
    if (fflush(stdout) != 0 || ferror(stdout)) {
        say_unwritten();
        clearerr(stdout);
        return false;
    }
    return true;
}

int cli_close_stdout(int code) {
    if (!cli_flush_stdout()) {
        return code == CLI_OK ? CLI_FAILURE : code;
    }
    /* A stdout that was closed from the start is no fault where nothing was written to it. */
    if (fclose(stdout) != 0 && errno != EBADF) {
        say_unwritten();
        return code == CLI_OK ? CLI_FAILURE : code;
    }
    return code;
}

void cli_forget_passwords(void) {
    for (size_t i = 0; i < n_secrets; i++) {
        free(secrets[i]);
    }
    n_secrets = 0;
}
