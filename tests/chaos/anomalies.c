/* anomalies.c - the table's texts, and how a verdict reads. */
#include "anomalies.h"

#include <inttypes.h>
#include <stdarg.h>

static const char *const words[] = {
#define X(name, words, text) words,
    ANOMALIES(X)
#undef X
};

static const char *const texts[] = {
#define X(name, words, text) text,
    ANOMALIES(X)
#undef X
};

const char *anomaly_words(anomaly a) {
    return words[a];
}

const char *anomaly_text(anomaly a) {
    return texts[a];
}

uint64_t verdict_total(const verdict *v) {
    uint64_t total = 0;
    for (size_t i = 0; i < ANOMALY_KINDS; i++)
        total += v->counts[i];
    return total;
}

void verdict_note(verdict *v, anomaly a, const char *format, ...) {
    uint64_t n = v->counts[a]++;
    if (n >= VERDICT_EXAMPLES)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(v->examples[a][n], VERDICT_TEXT, format, args);
    va_end(args);
}

static double percent(uint64_t part, uint64_t untellable, uint64_t whole) {
    return whole > untellable ? 100.0 * (double)part / (double)(whole - untellable) : 100.0;
}

static void print_losses(const losses *l, FILE *out) {
    fprintf(out,
            "losses allowed: %" PRIu64 " messages in %" PRIu64 " events, told %" PRIu64
            " and %" PRIu64 ", nobody left to tell %" PRIu64 " and %" PRIu64
            "; recall %.1f %% and %.1f %%\n",
            l->messages, l->events, l->messages_told, l->events_told, l->messages_untellable,
            l->events_untellable, percent(l->messages_told, l->messages_untellable, l->messages),
            percent(l->events_told, l->events_untellable, l->events));
    fprintf(out,
            "group positions that fell: %" PRIu64 ", told %" PRIu64 ", nobody left to tell %" PRIu64
            "\n",
            l->rewinds, l->rewinds_told, l->rewinds_untellable);
}

void verdict_print(const verdict *v, FILE *out) {
    fprintf(out,
            "history: %" PRIu64 " records of %" PRIu64 " processes, %" PRIu64 " files torn\n"
            "sends: %" PRIu64 ", stored %" PRIu64 ", failed %" PRIu64 ", unknown %" PRIu64 "\n"
            "deliveries: %" PRIu64 ", of them again %" PRIu64 "; settled %" PRIu64
            ", commits %" PRIu64 "; faults %" PRIu64 "\n",
            v->records, v->processes, v->torn, v->sends, v->stored, v->failed, v->unknown,
            v->deliveries, v->redeliveries, v->settled, v->commits, v->faults);
    print_losses(&v->losses, out);
    for (size_t i = 0; i < ANOMALY_KINDS; i++) {
        if (v->counts[i] == 0)
            continue;
        fprintf(out, "%s: %" PRIu64 ": %s\n", words[i], v->counts[i], texts[i]);
        for (size_t k = 0; k < VERDICT_EXAMPLES && k < v->counts[i]; k++)
            fprintf(out, "    %s\n", v->examples[i][k]);
    }
    fprintf(out, "verdict: %s, %" PRIu64 " anomalies", verdict_total(v) ? "bad" : "good",
            verdict_total(v));
    for (size_t i = 0; i < ANOMALY_KINDS; i++) {
        if (v->counts[i])
            fprintf(out, ", %s %" PRIu64, words[i], v->counts[i]);
    }
    fprintf(out,
            "; %" PRIu64 " sends, %" PRIu64 " deliveries, %" PRIu64 " messages lost, %" PRIu64
            " told\n",
            v->sends, v->deliveries, v->losses.messages, v->losses.messages_told);
}
