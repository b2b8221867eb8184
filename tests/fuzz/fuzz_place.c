/* fuzz_place.c - what the command line may say: places, numbers, durations, names, dead letters.
 * What is understood and written down again is the same, and the command and the library agree on
 * what a name is. */
#include "place.h"

#include <inttypes.h>

#include "core/names.h"
#include "dlq.h"
#include "fuzz.h"
#include "options.h"
#include "text.h"

enum { LAST_YEAR = 9999 };
static const int64_t now_ms = INT64_C(1795341600000); /* 2026-11-22T10:00:00Z */

static void check_place(const char *text) {
    cli_place p, again;
    char shown[64];
    if (!cli_place_parse(&p, text, now_ms))
        return;
    FUZZ_CHECK(p.kind == CLI_AT_DISTANCE || p.value >= 0);
    if (p.kind == CLI_AT_TIME) {
        char time[32];
        cli_text_time(time, p.value);
        if (strcmp(time, "-") == 0 || strlen(time) != strlen("2026-11-22T10:00:00Z"))
            return; /* 1970, or a year of five digits */
        snprintf(shown, sizeof shown, "@%s", time);
        p.value -= p.value % 1000;
    } else {
        snprintf(shown, sizeof shown, p.kind == CLI_AT_OFFSET ? "%" PRId64 : "%+" PRId64, p.value);
    }
    FUZZ_CHECK(cli_place_parse(&again, shown, now_ms));
    FUZZ_CHECK(again.kind == p.kind && again.value == p.value);
}

static void check_number(const char *text) {
    int64_t n, again;
    char shown[32];
    if (cli_number_parse(text, &n)) {
        snprintf(shown, sizeof shown, "%" PRId64, n);
        FUZZ_CHECK(n >= 0 && cli_number_parse(shown, &again) && again == n);
    }
    if (cli_duration_parse(text, &n)) {
        char duration[24];
        cli_duration_print(duration, n);
        FUZZ_CHECK(n >= 0 && cli_duration_parse(duration, &again) && again == n);
    }
}

static void check_name(const char *text) {
    seg_error err;
    bool ok = sg_name_ok(text);
    FUZZ_CHECK(ok == cli_name_ok(text));
    FUZZ_CHECK(ok == (sg_name_check("stream", text, &err) == SEG_OK));
    if (!ok) {
        FUZZ_CHECK(err.status == SEG_EINVAL && err.text[0] != '\0');
        return;
    }
    sg_key wake = sg_key_wake(text, text, text, text), log = sg_key_log(text, text, 4095);
    FUZZ_CHECK(wake.len > 4 * strlen(text) && strlen(wake.text) == wake.len);
    FUZZ_CHECK(log.len > 2 * strlen(text) && strstr(log.text, "/4095}:log") != NULL);
}

/* As the arguments of segmenter dlq show. Returns true where all are names of letters. */
static bool select_letters(cli_selection *s, const char *a, const char *b) {
    const char *args[] = {"stream", a, b};
    cli_dlq_opts opts = {.count = -1};
    cli_run run = {.opts = &opts, .args = args, .n_args = b != NULL ? 3 : 2};
    return cli_selection_init(s, &run);
}

static void check_letter(const char *text) {
    cli_selection s, again;
    char id[CLI_LETTER_ID_MAX];
    if (!select_letters(&s, text, NULL))
        return;
    FUZZ_CHECK(s.n_names == 1);
    cli_letter_id(id, &s.names[0].at);
    FUZZ_CHECK(select_letters(&again, id, text));
    FUZZ_CHECK(again.n_names == 1); /* one and the same */
    FUZZ_CHECK(again.names[0].at.partition == s.names[0].at.partition);
    FUZZ_CHECK(again.names[0].at.id.era == s.names[0].at.id.era);
    FUZZ_CHECK(again.names[0].at.id.offset == s.names[0].at.id.offset);
    cli_selection_fini(&s);
    cli_selection_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    char *text = fuzz_text((fuzz_input){data, len});
    FILE *people = stderr; /* reports of wrong usage are not for this */
    char *said = NULL;
    size_t n = 0;
    stderr = open_memstream(&said, &n);
    FUZZ_CHECK(stderr != NULL);
    check_place(text);
    check_number(text);
    check_name(text);
    check_letter(text);
    fclose(stderr);
    stderr = people;
    free(said);
    free(text);
    return 0;
}
