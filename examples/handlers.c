/* Handlers in parallel: WORKERS threads, one message of a key at a time. Values are numbers; others
 * are rejected, to the dead letters. Each third number fails at its first attempt, each hundredth
 * always. Ends with SIGINT or SIGTERM. Usage: handlers URL STREAM GROUP WORKERS */
#include <inttypes.h>
#include <segmenter/segmenter.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static seg_consumer *consumer;

static void on_signal(int signal) {
    (void)signal;
    seg_consumer_stop(consumer); /* may be called from a signal handler */
}

/* On a worker's thread, many at once: a thing that they share would need a lock, as stdout has. */
static seg_verdict handle(const seg_message *m, seg_settlement *how, void *arg) {
    seg_bytes key = seg_message_key(m), value = seg_message_value(m);
    seg_delivery d = seg_message_delivery(m);
    char text[24];
    (void)arg;
    snprintf(text, sizeof text, "%.*s", (int)value.len, (const char *)value.data);
    char *end;
    long number = strtol(text, &end, 10);
    if (end == text || *end != '\0') {
        how->reason = "not a number";
        return SEG_REJECT;
    }
    if ((number % 3 == 0 && d.attempt == 1) || number % 100 == 0) {
        how->reason = "nobody answers";
        how->delay = 50; /* ms; 0 would be the consumer's retry_delay, doubled each time */
        return SEG_RETRY;
    }
    printf("%" PRIu32 "/%" PRIu64 " attempt %" PRIu32 ": %.*s %ld\n", d.partition, d.id.offset,
           d.attempt, (int)key.len, (const char *)key.data, number);
    return SEG_ACK;
}

static void report(void) {
    seg_consumer_stats s;
    SEG_INIT(&s);
    seg_consumer_get_stats(consumer, &s);
    fprintf(stderr,
            "handlers: %" PRIu64 " calls, %" PRIu64 " done, %" PRIu64 " retried, %" PRIu64
            " rejected, %" PRIu64 " dead letters\n",
            s.handled, s.acked, s.retried, s.rejected, s.dead_lettered);
}

int main(int argc, char **argv) {
    seg_error err;
    seg_client *client = NULL;
    seg_client_options co;
    seg_consumer_options opts;
    seg_run_options run;
    if (argc != 5) {
        fprintf(stderr, "usage: handlers URL STREAM GROUP WORKERS\n");
        return 2;
    }
    SEG_INIT(&co);
    co.url = argv[1];
    SEG_INIT(&opts);
    opts.group = argv[3];
    opts.max_attempts = 3; /* then it is a dead letter too, and its key goes on */
    SEG_INIT(&run);
    run.handler = handle;
    run.workers = (uint32_t)strtoul(argv[4], NULL, 10);
    seg_status s = seg_client_open(&client, &co, &err);
    if (s == SEG_OK)
        s = seg_consumer_open(&consumer, client, argv[2], &opts, &err);
    if (s == SEG_OK) {
        signal(SIGINT, on_signal);
        signal(SIGTERM, on_signal);
        s = seg_consumer_run(consumer, &run, &err); /* SEG_OK: it was stopped */
        signal(SIGINT, SIG_DFL);
        signal(SIGTERM, SIG_DFL);
        report();
    }
    if (s != SEG_OK)
        fprintf(stderr, "handlers: %s\n", err.text);
    seg_consumer_close(consumer);
    seg_client_close(client);
    return s == SEG_OK ? 0 : 1;
}
