/* fuzz_metrics.c - what the exporter reads and writes: the address that it listens on, a scraper's Accept
 * header, the names of dead letters, and label values, which are text from the server. */
#include "metrics.h"

#include "fuzz.h"
#include "letters.h"
#include "listen.h"
#include "text.h"

/* What is written is read again as the same. */
static void check_listen(const char *text) {
    char host[64], port[8], again_host[64], again_port[8];
    if (!cli_listen_parse(text, host, sizeof host, port)) {
        return;
    }
    FUZZ_CHECK(strlen(port) > 0 && strspn(port, "0123456789") == strlen(port) &&
               atoi(port) < 65536);
    bool brackets = strchr(host, ':') != NULL;
    char *whole = cli_format("%s%s%s:%s", brackets ? "[" : "", host, brackets ? "]" : "", port);
    FUZZ_CHECK(cli_listen_parse(whole, again_host, sizeof again_host, again_port));
    FUZZ_CHECK(strcmp(host, again_host) == 0 && strcmp(port, again_port) == 0);
    free(whole);
}

static void check_letters(const char *text) {
    size_t stream, group;
    if (cli_letters_name(text, &stream, &group)) {
        FUZZ_CHECK(stream > 0 && group > 0 && stream + group + 5 == strlen(text));
        FUZZ_CHECK(text[stream] == '.' && strcmp(text + stream + 1 + group, ".dlq") == 0);
        FUZZ_CHECK(memchr(text + stream + 1, '.', group) == NULL);
    }
}

/* Read a label's value as a scraper does; returns what follows its end. */
static const char *unescape(const char *from, char *to) {
    for (; *from != '"'; from++) {
        FUZZ_CHECK(*from != '\0' && *from != '\n');
        if (*from == '\\') {
            from++;
            FUZZ_CHECK(*from == '\\' || *from == '"' || *from == 'n');
        }
        *to++ = *from;
    }
    *to = '\0';
    return from + 1;
}

static void check_labels(const char *text) {
    char clean[512], value[512];
    cli_labels l;
    cli_text_clean(clean, sizeof clean, (seg_bytes){text, strlen(text)});
    cli_labels_init(&l, "ns");
    cli_labels_add(&l, "a", text);
    size_t one = l.len;
    FUZZ_CHECK(l.len == strlen(l.text) && strncmp(l.text, "{namespace=\"ns\",a=\"", 19) == 0);
    FUZZ_CHECK(strcmp(unescape(l.text + 19, value), "}") == 0);
    FUZZ_CHECK(strcmp(value, clean) == 0);
    /* However many there are, they end well. */
    for (int i = 0; i < 6; i++) {
        cli_labels_add(&l, "b", text);
        FUZZ_CHECK(l.len >= one && l.len == strlen(l.text) && l.len < sizeof l.text);
        FUZZ_CHECK(strcmp(l.text + l.len - 2, "\"}") == 0);
    }
}

/* The text of both formats: whole lines, the one with an end. */
static void check_text(const char *text) {
    cli_metrics_format format = cli_metrics_accepted(text);
    FUZZ_CHECK(format == CLI_METRICS_TEXT || strcasestr(text, "application/openmetrics-text"));
    cli_metrics *m = cli_metrics_new();
    cli_labels l;
    cli_labels_init(&l, text);
    cli_metrics_count(m, CLI_METRIC_UP, &l, 1);
    cli_metrics_count(m, CLI_METRIC_STREAMS, &l, SEG_UNKNOWN);
    cli_metrics_seal(m);
    struct iovec parts[CLI_METRICS_PARTS];
    size_t n = cli_metrics_parts(m, format, parts);
    FUZZ_CHECK(n == (format == CLI_METRICS_OPENMETRICS ? 3 : 2));
    const char *sample = parts[1].iov_base;
    FUZZ_CHECK(memchr(sample, '\n', parts[1].iov_len) == sample + parts[1].iov_len - 1);
    cli_metrics_drop(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    char *text = fuzz_text((fuzz_input){data, len});
    check_listen(text);
    check_letters(text);
    check_labels(text);
    check_text(text);
    free(text);
    return 0;
}
