/* fuzz_format.c - the template of consume -f: what is refused says why; what is taken writes the
 * literals byte for byte, and a message's parts where they belong. */
#include "format.h"

#include "engine/message.h"
#include "fuzz.h"

/* "n", "v" as one header: lengths and bytes. */
static const uint8_t header[] = {1, 'n', 1, 'v'};

static const seg_message sample = {
    .view = {.key = {"key", 3},
             .value = {"va\0lue", 6},
             .headers = {header, sizeof header},
             .n_headers = 1,
             .timestamp = -5},
    .delivery = {.id = {.era = 3, .offset = 12}, .epoch = 7, .partition = 4, .attempt = 2}};

/* What the template writes; the caller frees it. */
static char *written(const cli_template *t, size_t *len) {
    char *text = NULL;
    FILE *out = open_memstream(&text, len);
    FUZZ_CHECK(out != NULL);
    const seg_message m = sample; /* reading its headers leaves a hint in it */
    cli_template_write(t, out, &m, &m.delivery);
    FUZZ_CHECK(fclose(out) == 0);
    return text;
}

static void check_text(const char *text) {
    cli_template t;
    char fault[128] = "";
    size_t len;
    if (!cli_template_parse(&t, text, fault)) {
        FUZZ_CHECK(fault[0] != '\0' && memchr(fault, '\0', sizeof fault) != NULL);
        return;
    }
    char *out = written(&t, &len);
    FUZZ_CHECK(len <= 24 * strlen(text));
    free(out);
    cli_template_fini(&t);
}

/* Any bytes can be written: each as an escape, or as it is. */
static void check_literal(fuzz_input bytes) {
    char *text = fuzz_alloc(4 * bytes.len + 1), *at = text, fault[128];
    for (size_t i = 0; i < bytes.len; i++) {
        uint8_t c = bytes.at[i];
        if (c == '%')
            at += sprintf(at, "%%%%");
        else if (c == '\\')
            at += sprintf(at, "\\\\");
        else if (c == 0)
            at += sprintf(at, "\\0");
        else if (c < 0x20 || c == 'x')
            at += sprintf(at, "\\x%02X", c);
        else
            *at++ = (char)c;
    }
    *at = '\0';
    cli_template t;
    size_t len;
    FUZZ_CHECK(cli_template_parse(&t, text, fault));
    char *out = written(&t, &len);
    FUZZ_CHECK(len == bytes.len && (len == 0 || memcmp(out, bytes.at, len) == 0));
    free(out);
    cli_template_fini(&t);
    free(text);
}

static void check_unescape(const char *text) {
    char *out = fuzz_alloc(strlen(text) + 1), fault[128] = "";
    size_t n = cli_unescape(out, text, fault);
    FUZZ_CHECK(n == SIZE_MAX ? fault[0] != '\0' : n <= strlen(text) && out[n] == '\0');
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    fuzz_input in = {data, len};
    char *text = fuzz_text(in);
    check_text(text);
    check_unescape(text);
    check_literal(in);
    free(text);
    return 0;
}
