/* fuzz_text.c - text from anywhere on its way to people: always UTF-8, never a control character,
 * and of a URL never the password. */
#include "text.h"

#include <unistd.h>

#include "base/text.h"
#include "cli.h"
#include "core/error.h"
#include "core/url.h"
#include "fuzz.h"

/* Strictly UTF-8, and nothing that commands a terminal. */
static bool is_clean(const char *text) {
    const unsigned char *s = (const unsigned char *)text;
    while (*s != '\0') {
        uint32_t c = *s, min = 0;
        int more = c < 0x80 ? 0 : c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
        if ((c >= 0x80 && c < 0xc0) || c > 0xf7)
            return false;
        if (more > 0)
            c &= 0x3fu >> more;
        for (int i = 1; i <= more; i++) {
            if ((s[i] & 0xc0) != 0x80)
                return false;
            c = c << 6 | (s[i] & 0x3fu);
        }
        min = more == 3 ? 0x10000 : more == 2 ? 0x800 : more == 1 ? 0x80 : 0;
        if (c < min || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff) || c < 0x20 ||
            (c >= 0x7f && c < 0xa0))
            return false;
        s += more + 1;
    }
    return true;
}

static void check_clean(fuzz_input in, size_t cap) {
    uint8_t *bytes = fuzz_copy(in);
    char *out = fuzz_alloc(cap), *again = fuzz_alloc(cap);
    cli_text_clean(out, cap, (seg_bytes){bytes, in.len});
    FUZZ_CHECK(strlen(out) < cap && is_clean(out));
    cli_text_clean(again, cap, (seg_bytes){out, strlen(out)});
    FUZZ_CHECK(strcmp(out, again) == 0);
    if (in.len < cap)
        FUZZ_CHECK(strlen(out) == in.len);
    free(out);
    free(again);
    free(bytes);
}

static void check_error(const char *text) {
    seg_error err, again;
    sg_fail(&err, SEG_EPROTO, "it said %s", text);
    FUZZ_CHECK(err.status == SEG_EPROTO && strncmp(err.text, "it said ", 8) == 0);
    FUZZ_CHECK(is_clean(err.text));
    sg_fail(&again, SEG_EPROTO, "%s", err.text);
    FUZZ_CHECK(strcmp(err.text, again.text) == 0);
    size_t len = strlen(text);
    for (size_t max = 0; max < 8; max++)
        FUZZ_CHECK(sg_text_cut(text, len, max) <= max);
}

/* One that a report could not hide, as it is too short, or could make up. */
static bool is_hidden(const char *password) {
    return strlen(password) >= 3 && strpbrk(password, "*? ") == NULL;
}

static void check_report(const char *text) {
    sg_url url;
    char *said = NULL;
    size_t n = 0;
    FILE *people = stderr;
    stderr = open_memstream(&said, &n);
    FUZZ_CHECK(stderr != NULL);
    cli_hide_password(text);
    cli_note("cannot connect to '%s'", text);
    fclose(stderr);
    stderr = people;
    FUZZ_CHECK(n > 0 && said[n - 1] == '\n');
    said[n - 1] = '\0';
    FUZZ_CHECK(strlen(said) == n - 1 && is_clean(said)); /* one line */
    if (strlen(text) < 2000 && sg_url_parse(&url, text, NULL) == SEG_OK) {
        const char *quoted = strchr(said, '\'');
        if (url.password != NULL && is_hidden(url.password))
            FUZZ_CHECK(strstr(quoted, url.password) == NULL);
        sg_url_fini(&url);
    }
    cli_forget_passwords();
    free(said);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    fuzz_input in = {data, len};
    char *text = fuzz_text(in);
    check_clean(in, 1 + (len > 0 ? data[0] % 64 : 0));
    check_clean(in, len + 1);
    check_error(text);
    check_report(text);
    free(text);
    return 0;
}
