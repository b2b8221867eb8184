/* exec_stream.c - see exec_stream.h.
 *
 * Nothing but their order ties the answers to the messages. So whatever leaves a doubt which message
 * the next line is about (a line too many, none in time, one that is no answer) ends the process, and
 * a new one starts from nothing. A command that is broken altogether is started anew after pauses
 * that grow. */
#include "exec_stream.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "env.h"
#include "lines.h"
#include "process.h"
#include "text.h"

enum {
    ANSWER_MAX = 65536,
    PAUSE_MS = 100,
    PAUSE_MAX_MS = 10000,
    END_MS = 5000, /* how long a process may take to end after its input did */
    TICK_MS = 20
};

typedef struct worker {
    cli_process process; /* pid 0: none */
    cli_lines answers;
    int faults; /* in a row */
    bool busy;
} worker;

struct cli_exec_stream {
    cli_exec_stream_plan plan;
    cli_env env;
    pthread_mutex_t lock;
    worker *workers; /* `busy` under the lock; the rest is whose worker it is */
};

cli_exec_stream *cli_exec_stream_new(const cli_exec_stream_plan *plan) {
    cli_exec_stream *s = cli_alloc(1, sizeof *s);
    s->plan = *plan;
    cli_env_init(&s->env, plan->origin, NULL);
    pthread_mutex_init(&s->lock, NULL);
    s->workers = cli_alloc(plan->workers, sizeof *s->workers);
    return s;
}

/* ---- Answers --------------------------------------------------------------------------------- */

static bool take_word(seg_bytes *rest, const char *word) {
    size_t len = strlen(word);
    if (rest->len < len || memcmp(rest->data, word, len) != 0) {
        return false;
    }
    const char *at = rest->data;
    if (rest->len > len && at[len] != ' ') {
        return false;
    }
    for (; len < rest->len && at[len] == ' '; len++) {
    }
    *rest = (seg_bytes){at + len, rest->len - len};
    return true;
}

/* The delay, if that is the first word: a number with its unit, as a bare number may begin a reason. */
static void take_delay(seg_bytes *rest, int64_t *delay) {
    char word[24];
    const char *at = rest->data;
    size_t len = 0;
    for (; len < rest->len && len < sizeof word - 1 && at[len] != ' '; len++) {
        word[len] = at[len];
    }
    word[len] = '\0';
    int64_t ms;
    if (len == 0 || (word[len - 1] >= '0' && word[len - 1] <= '9') ||
        !cli_duration_parse(word, &ms) || !take_word(rest, word)) {
        return;
    }
    *delay = ms > 0 ? ms : -1; /* 0 is "as configured" there */
}

bool cli_answer_parse(cli_outcome *out, seg_bytes line) {
    *out = (cli_outcome){0};
    const char *at = line.data;
    while (line.len > 0 && (at[line.len - 1] == ' ' || at[line.len - 1] == '\r')) {
        line.len--;
    }
    if (take_word(&line, "ack")) {
        out->verdict = SEG_ACK;
        return line.len == 0;
    }
    if (take_word(&line, "retry")) {
        out->verdict = SEG_RETRY;
        take_delay(&line, &out->delay);
    } else if (take_word(&line, "reject")) {
        out->verdict = SEG_REJECT;
    } else {
        return false;
    }
    cli_text_clean(out->reason, sizeof out->reason, line);
    return true;
}

/* ---- One process ----------------------------------------------------------------------------- */

static void end_process(worker *w, int *status) {
    *status = cli_process_finish(&w->process);
    cli_lines_fini(&w->answers);
}

static int start_process(const cli_exec_stream *s, worker *w) {
    cli_process_plan plan = {s->plan.command, s->env.vars, -1, true, false};
    int error = cli_process_start(&w->process, &plan);
    if (!error) {
        cli_lines_init(&w->answers, w->process.out, ANSWER_MAX);
    }
    return error;
}

/* Anything that it says before it was asked is a line too many. */
static bool is_quiet(const worker *w) {
    struct pollfd out = {.fd = w->process.out, .events = POLLIN};
    return w->answers.end == w->answers.start && poll(&out, 1, 0) <= 0 &&
           !cli_process_ended(&w->process);
}

typedef enum exchange { ANSWERED, GONE, TIMED_OUT, TOO_LONG } exchange;

/* Send what is left of the message; it may be answered before it was read. False: nobody reads. */
static bool send_some(worker *w, seg_bytes *left) {
    ssize_t n = left->len ? write(w->process.in, left->data, left->len) : 0;
    if (n > 0) {
        *left = (seg_bytes){(const char *)left->data + n, left->len - (size_t)n};
    }
    return n >= 0 || errno == EAGAIN || errno == EINTR;
}

typedef enum reading { NOT_YET, WHOLE, NO_MORE, ENDLESS } reading;

/* A line without its newline is not whole: "ack" may be the beginning of anything. */
static reading next_answer(worker *w, seg_bytes *line) {
    switch (cli_lines_next(&w->answers, line)) {
    case CLI_LINE_READY:
        return w->answers.buffer + w->answers.start > (const char *)line->data + line->len
                   ? WHOLE
                   : NO_MORE;
    case CLI_LINE_MORE:
        return NOT_YET;
    case CLI_LINE_TOO_LONG:
        return ENDLESS;
    case CLI_LINE_END:
    case CLI_LINE_ERROR:
        break;
    }
    return NO_MORE;
}

/* One turn of waiting. `left_ms` more than 0. False: nobody is there, or nobody reads. */
static bool exchange_some(worker *w, seg_bytes *message, bool answered, int64_t left_ms) {
    struct pollfd fds[] = {
        {.fd = answered ? -1 : w->process.out, .events = POLLIN},
        {.fd = message->len ? w->process.in : -1, .events = POLLOUT},
        {.fd = w->process.alive, .events = POLLIN},
    };
    /* Asked before we look at its output: what it says at its very end is not missed. */
    bool ended = cli_process_ended(&w->process);
    int64_t most = ended ? 0 : w->process.alive < 0 ? TICK_MS : INT32_MAX;
    poll(fds, CLI_COUNT(fds), (int)(left_ms < most ? left_ms : most));
    if (fds[0].revents) {
        cli_lines_fill(&w->answers);
        return true;
    }
    if (ended) {
        return false; /* whoever else holds its output has nothing to say for it */
    }
    return !fds[1].revents || send_some(w, message);
}

static exchange ask(worker *w, seg_bytes message, int64_t timeout, seg_bytes *answer) {
    int64_t deadline =
        timeout < INT64_MAX / 2000 ? cli_now_us() + timeout * 1000 : INT64_MAX - 1000;
    reading read_so_far = NOT_YET;
    for (;;) {
        if (read_so_far == NOT_YET) {
            read_so_far = next_answer(w, answer);
        }
        if (read_so_far == NO_MORE || read_so_far == ENDLESS) {
            return read_so_far == NO_MORE ? GONE : TOO_LONG;
        }
        if (read_so_far == WHOLE && message.len == 0) {
            return ANSWERED;
        }
        int64_t left = (deadline - cli_now_us() + 999) / 1000;
        if (left <= 0) {
            return TIMED_OUT;
        }
        if (!exchange_some(w, &message, read_so_far == WHOLE, left)) {
            return GONE;
        }
    }
}

/* ---- Faults ---------------------------------------------------------------------------------- */

static void blame(cli_outcome *out, worker *w, exchange fault, int64_t timeout) {
    char limit[24], end[32];
    int status;
    *out = (cli_outcome){.verdict = SEG_RETRY};
    if (fault == GONE && !cli_process_ended(&w->process)) {
        /* It may be about to end; or it has closed its output, and is of no use any more. */
        struct pollfd alive = {.fd = w->process.alive, .events = POLLIN};
        poll(&alive, 1, TICK_MS);
    }
    bool ended = cli_process_ended(&w->process);
    if (!ended) {
        cli_process_kill(&w->process);
    }
    end_process(w, &status);
    cli_process_tell(end, status);
    cli_duration_print(limit, timeout);
    if (fault == TIMED_OUT) {
        snprintf(out->reason, sizeof out->reason, "no answer within %s", limit);
    } else if (fault == TOO_LONG) {
        snprintf(out->reason, sizeof out->reason, "answered with more than %d bytes", ANSWER_MAX);
    } else {
        snprintf(out->reason, sizeof out->reason, "ended without an answer: %s",
                 ended ? end : "it closed its output");
    }
}

static void blame_answer(cli_outcome *out, worker *w, seg_bytes answer) {
    char said[81];
    int status;
    cli_text_clean(said, sizeof said, answer);
    *out = (cli_outcome){.verdict = SEG_RETRY};
    snprintf(out->reason, sizeof out->reason,
             "answered '%s', expected ack, retry [DURATION] [REASON] or reject [REASON]", said);
    cli_process_kill(&w->process);
    end_process(w, &status);
}

static bool pause_after_faults(const cli_exec_stream *s, const worker *w) {
    int64_t pause = w->faults ? PAUSE_MS : 0;
    for (int i = 1; i < w->faults && pause < PAUSE_MAX_MS; i++) {
        pause *= 2;
    }
    return s->plan.pause(s->plan.arg, pause < PAUSE_MAX_MS ? pause : PAUSE_MAX_MS);
}

/* A process that is ready for a message. False where the message is not to be handled, or failed. */
static bool get_ready(cli_exec_stream *s, worker *w, cli_outcome *out) {
    if (w->process.pid && !is_quiet(w)) {
        int status;
        if (!cli_process_ended(&w->process)) {
            cli_note("the command said something that it was not asked for; it is started anew");
            cli_process_kill(&w->process);
            w->faults++;
        }
        end_process(w, &status);
    }
    if (w->process.pid) {
        return true;
    }
    if (!pause_after_faults(s, w)) {
        out->verdict = SEG_RELEASE;
        return false;
    }
    int error = start_process(s, w);
    if (error) {
        w->faults++;
        *out = (cli_outcome){.verdict = SEG_RETRY};
        snprintf(out->reason, sizeof out->reason, "cannot start the command: %s", strerror(error));
        cli_note("%s", out->reason);
        return false;
    }
    return true;
}

static void handle(cli_exec_stream *s, worker *w, const seg_message *m, cli_outcome *out) {
    *out = (cli_outcome){.verdict = SEG_RETRY};
    if (!get_ready(s, w, out)) {
        return;
    }
    char *line = NULL;
    size_t len = 0;
    FILE *memory = open_memstream(&line, &len);
    if (memory) {
        cli_json_message(memory, m, s->plan.origin);
    }
    if (!memory || fclose(memory) != 0) {
        free(line);
        snprintf(out->reason, sizeof out->reason, "out of memory");
        return;
    }
    seg_bytes answer;
    exchange how = ask(w, (seg_bytes){line, len}, s->plan.timeout, &answer);
    free(line);
    if (how != ANSWERED) {
        blame(out, w, how, s->plan.timeout);
    } else if (cli_answer_parse(out, answer)) {
        w->faults = 0;
        return;
    } else {
        blame_answer(out, w, answer);
    }
    w->faults++;
    seg_delivery d = seg_message_delivery(m);
    cli_note("partition %" PRIu32 ", offset %" PRIu64
             ": the command failed: %s; it is started anew",
             d.partition, d.id.offset, out->reason);
}

/* ---- All of them ----------------------------------------------------------------------------- */

void cli_exec_stream_message(cli_exec_stream *s, const seg_message *m, cli_outcome *out) {
    pthread_mutex_lock(&s->lock);
    worker *w = NULL;
    for (size_t i = 0; i < s->plan.workers && !w; i++) {
        w = s->workers[i].busy ? NULL : &s->workers[i];
    }
    if (w) {
        w->busy = true;
    }
    pthread_mutex_unlock(&s->lock);
    if (!w) { /* more at once than was said */
        *out = (cli_outcome){.verdict = SEG_RELEASE};
        return;
    }
    handle(s, w, m, out);
    pthread_mutex_lock(&s->lock);
    w->busy = false;
    pthread_mutex_unlock(&s->lock);
}

static void await_end(worker *w, int64_t deadline_us) {
    while (!cli_process_ended(&w->process)) {
        int64_t left = (deadline_us - cli_now_us() + 999) / 1000;
        if (left <= 0) {
            cli_note("the command did not end within %d s after its input; it is killed",
                     END_MS / 1000);
            cli_process_kill(&w->process);
            return;
        }
        struct pollfd alive = {.fd = w->process.alive, .events = POLLIN};
        poll(&alive, 1, (int)(w->process.alive < 0 && left > TICK_MS ? TICK_MS : left));
    }
}

void cli_exec_stream_free(cli_exec_stream *s) {
    if (!s) {
        return;
    }
    for (size_t i = 0; i < s->plan.workers; i++) {
        if (s->workers[i].process.pid) {
            cli_process_close_in(&s->workers[i].process);
        }
    }
    int64_t deadline = cli_now_us() + INT64_C(1000) * END_MS;
    for (size_t i = 0; i < s->plan.workers; i++) {
        worker *w = &s->workers[i];
        int status;
        if (w->process.pid) {
            await_end(w, deadline);
            end_process(w, &status);
        }
    }
    pthread_mutex_destroy(&s->lock);
    cli_env_fini(&s->env);
    free(s->workers);
    free(s);
}
