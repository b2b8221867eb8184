/* top.c - segmenter top: groups as they live. */
#include "top.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "json.h"
#include "listing.h"
#include "signals.h"

static const cli_opt table[] = {
    {.name = "stream",
     .letter = 's',
     .type = CLI_NAME,
     .arg = "STREAM",
     .at = offsetof(top_opts, stream),
     .text = "only this stream's groups"},
    {.name = "group",
     .letter = 'g',
     .type = CLI_NAME,
     .arg = "GROUP",
     .at = offsetof(top_opts, group),
     .text = "only this group of the stream, with its partitions and their owners; needs -s"},
    {.name = "delay",
     .letter = 'd',
     .type = CLI_DURATION,
     .arg = "DURATION",
     .at = offsetof(top_opts, delay),
     .min = 100,
     .max = 3600000,
     .fallback = "2s",
     .text = "time between two looks"},
    {.name = "count",
     .letter = 'n',
     .type = CLI_NUMBER,
     .arg = "COUNT",
     .at = offsetof(top_opts, count),
     .min = 1,
     .max = INT64_MAX,
     .text = "end after so many looks"},
    {.name = "once",
     .type = CLI_FLAG,
     .at = offsetof(top_opts, once),
     .text = "look twice, print what there is then as a table, and end"},
    {.name = "age-warn",
     .type = CLI_DURATION,
     .arg = "DURATION",
     .at = offsetof(top_opts, age_warn),
     .min = 0,
     .max = INT64_MAX,
     .fallback = "1m",
     .text = "a message that waits for longer is worth a warning"},
};

typedef struct top {
    const cli_run *run;
    const top_opts *opts;
    seg_client *client;
    top_tick tick, before;
    bool has_tick, has_before;
    bool json;   /* ticks of JSON */
    bool screen; /* the terminal is ours */
} top;

static void draw(const top *t, const seg_error *fault) {
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    if (!out) {
        return;
    }
    if (fault) {
        fprintf(out, "no answer: %s\n", fault->text);
    }
    if (t->has_tick) {
        top_print_tables(out, &t->tick, t->run->output);
    }
    if (fclose(out) == 0) {
        top_screen_draw(text);
    }
    free(text);
}

/* Look, and keep the look before. */
static bool look(top *t, seg_error *err) {
    top_tick next;
    if (!top_look(&next, t->has_tick ? &t->tick : NULL, t->client, t->opts, err)) {
        return false;
    }
    if (t->has_before) {
        top_tick_fini(&t->before);
    }
    t->before = t->tick;
    t->has_before = t->has_tick;
    t->tick = next;
    t->has_tick = true;
    return true;
}

static void show(const top *t) {
    if (t->json) {
        top_print_json(stdout, &t->tick);
    } else if (t->screen) {
        draw(t, NULL);
    } else {
        top_print_tables(stdout, &t->tick, t->run->output);
    }
}

/* A server that is away for a while comes back; what is gone for good, or refused, ends it. */
static bool may_pass(seg_status status) {
    return status == SEG_ECONN || status == SEG_ETIMEDOUT || status == SEG_EUNKNOWN;
}

static int watch(top *t) {
    int64_t looks = t->opts->once ? 2 : t->opts->count;
    int code = CLI_OK;
    for (int64_t i = 0; code == CLI_OK && !cli_signal_caught(); i++) {
        seg_error err;
        bool last = looks > 0 && i + 1 >= looks;
        if (look(t, &err)) {
            if (!t->opts->once || last) {
                show(t);
            }
        } else if (!may_pass(err.status) || !t->has_tick || last) {
            code = cli_error(&err);
        } else if (t->screen) {
            draw(t, &err);
        } else {
            cli_note("%s", err.text);
        }
        if (code == CLI_OK && !cli_flush_stdout()) {
            code = CLI_FAILURE;
        }
        if (last || top_screen_wait(t->opts->delay)) {
            break;
        }
    }
    return code;
}

static int run_top(const cli_run *run) {
    const top_opts *o = run->opts;
    top t = {.run = run, .opts = o};
    if (o->group && !o->stream) {
        return cli_usage("-g needs -s: groups of one name can be on many streams");
    }
    if (run->output->csv && !o->once) {
        return cli_usage("--csv needs --once; what goes on is JSON, one object for each look");
    }
    bool terminal = isatty(STDOUT_FILENO);
    t.json = run->output->json || (!terminal && !o->once);
    if (t.json && (run->output->columns || run->output->sort)) {
        return cli_usage("--columns and --sort are for tables; JSON has it all");
    }
    cli_signals_catch();
    int code = cli_open(&t.client, run->globals, false);
    if (code != CLI_OK) {
        return code;
    }
    t.screen = terminal && !t.json && !o->once;
    if (t.screen) {
        top_screen_begin();
    }
    code = watch(&t);
    if (t.screen) {
        top_screen_end();
    }
    if (t.has_tick) {
        top_tick_fini(&t.tick);
    }
    if (t.has_before) {
        top_tick_fini(&t.before);
    }
    seg_client_close(t.client);
    return code;
}

const cli_command cli_top = {
    .name = "top",
    .args = "",
    .brief = "Watch groups live: lag, rates, owners",
    .about =
        "Show all groups with their lag and how fast things go, again and again; with -s and -g "
        "one group with its partitions and their owners. On a terminal it is a table that is "
        "redrawn until q or Ctrl-C; --sort and --columns are about the groups. Elsewhere, and "
        "with --json, each look is one JSON object on a line, {\"at_ms\",\"between_ms\","
        "\"groups\":[...]}, with \"partitions\" where -g is given. Rates are null in the first. "
        "AGE, IN-FLIGHT and ATTEMPTS are looked at for the 200 groups with the largest lag.",
    .opts = table,
    .n_opts = CLI_COUNT(table),
    .opts_size = sizeof(top_opts),
    .columns = top_columns,
    .n_columns = TOP_COLUMNS,
    .run = run_top,
};
