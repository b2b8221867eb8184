/* dlq.c - segmenter dlq ls and show: what a group could not handle. */
#include <inttypes.h>
#include <string.h>

#include "dlq.h"
#include "format.h"
#include "json.h"
#include "listing.h"
#include "printer.h"
#include "text.h"

enum {
    ROWS_MAX = 1000, /* of the table, which is held in memory, where nobody says how many */
    KEY_SHOWN = 32,
    ERROR_SHOWN = 120
};

/* ---- ls -------------------------------------------------------------------------------------- */

static const cli_opt ls_table[] = {
    CLI_DLQ_GROUP,
    CLI_DLQ_FILTERS,
};

static const cli_column columns[] = {
    {"ID", "id", CLI_COLUMN_TEXT, 0, 0, "what show, replay and drop take"},
    {"STREAM", "stream", CLI_COLUMN_TEXT, CLI_COLUMN_DATA, 0, "where it comes from"},
    {"GROUP", "group", CLI_COLUMN_TEXT, CLI_COLUMN_DATA, 0, "the group that could not handle it"},
    {"ORIGIN", "origin", CLI_COLUMN_TEXT, CLI_COLUMN_TABLE, 0, "its partition and offset there"},
    {"PARTITION", "partition", CLI_COLUMN_COUNT, CLI_COLUMN_DATA, 0, "its partition there"},
    {"ERA", "era", CLI_COLUMN_COUNT, CLI_COLUMN_DATA, 0, "its era there"},
    {"OFFSET", "offset", CLI_COLUMN_COUNT, CLI_COLUMN_DATA, 0, "its offset there"},
    {"ATTEMPTS", "attempts", CLI_COLUMN_COUNT, CLI_SPARE(4), 0, "how often it was delivered"},
    {"REASON", "reason", CLI_COLUMN_TEXT, 0, 0, "rejected, max-attempts, ack-timeout or crashed"},
    {"KEY", "key", CLI_COLUMN_BYTES, 0, KEY_SHOWN, "its key"},
    {"FIRST-FAILED", "first_failed_ms", CLI_COLUMN_TIME, CLI_COLUMN_DATA, 0,
     "when it failed first"},
    {"FAILED", "last_failed_ms", CLI_COLUMN_TIME, CLI_SPARE(3), 0, "when it failed last"},
    {"REPLAYING", "replaying", CLI_COLUMN_TEXT, CLI_COLUMN_DATA, 0,
     "the stream that an interrupted replay is sending it to"},
    {"ERROR", "error", CLI_COLUMN_TEXT, 0, ERROR_SHOWN, "what was said last"},
};

typedef struct listing {
    const cli_run *run;
    cli_listing rows;
} listing;

static bool add_letter(const seg_letter *letter, void *arg) {
    listing *l = arg;
    char id[CLI_LETTER_ID_MAX], origin[CLI_LETTER_ID_MAX];
    cli_letter_id(id, &letter->at);
    cli_letter_id(origin, &letter->origin);
    cli_put_text(&l->rows, id);
    cli_put_text(&l->rows, l->run->args[0]);
    cli_put_text(&l->rows, ((const cli_dlq_opts *)l->run->opts)->group);
    cli_put_text(&l->rows, origin);
    cli_put_count(&l->rows, letter->origin.partition);
    cli_put_count(&l->rows, letter->origin.id.era);
    cli_put_count(&l->rows, letter->origin.id.offset);
    cli_put_count(&l->rows, letter->attempts);
    cli_put_text(&l->rows, letter->reason);
    cli_put_bytes(&l->rows, seg_message_key(letter->message));
    cli_put_time(&l->rows, letter->first_failed);
    cli_put_time(&l->rows, letter->last_failed);
    cli_put_text(&l->rows, letter->replaying);
    cli_put_text(&l->rows, letter->error);
    return true;
}

static int list(seg_dlq *q, cli_selection *s, listing *l) {
    const cli_dlq_opts *o = l->run->opts;
    bool cut = !cli_listing_flows(&l->rows) && o->count < 0;
    if (cut) {
        s->limit = ROWS_MAX;
    }
    uint64_t seen = 0, taken = 0;
    int code = q ? cli_dlq_walk(q, s, add_letter, l, &seen, &taken) : CLI_OK;
    if (cut && taken == ROWS_MAX) {
        cli_note("these are the first %d; -n shows as many as you like, --json and --csv without "
                 "--sort all",
                 ROWS_MAX);
    }
    return code;
}

static int run_ls(const cli_run *run) {
    cli_selection selection;
    if (!cli_selection_init(&selection, run)) {
        return CLI_USAGE;
    }
    seg_client *client;
    int code = cli_open(&client, run->globals, false);
    if (code == CLI_OK) {
        seg_dlq *q;
        code = cli_dlq_open(&q, client, run);
        if (code == CLI_OK) {
            listing l = {.run = run};
            cli_listing_init(&l.rows, run);
            code = list(q, &selection, &l);
            cli_listing_end(&l.rows);
            seg_dlq_close(q);
        }
        seg_client_close(client);
    }
    cli_selection_fini(&selection);
    return code;
}

/* ---- show ------------------------------------------------------------------------------------ */

static const cli_opt show_table[] = {
    CLI_DLQ_GROUP,
    {.name = "format",
     .letter = 'f',
     .type = CLI_TEXT,
     .arg = "FORMAT",
     .at = offsetof(cli_dlq_opts, format),
     .text = "write only the message, as consume -f does; place and attempt are those that it had"},
    CLI_DLQ_JSON,
};

typedef struct showing {
    const cli_run *run;
    cli_template format;
    uint64_t shown;
    bool json, templated;
} showing;

static void show_block(const seg_letter *letter) {
    char text[1024];
    cli_letter_id(text, &letter->at);
    cli_show_text("letter", text);
    cli_letter_id(text, &letter->origin);
    cli_show_text("origin", text);
    printf("%-13s %" PRIu32 "\n", "attempts", letter->attempts);
    cli_show_text("reason", letter->reason);
    cli_shorten(text, sizeof text, (seg_bytes){letter->error, strlen(letter->error)});
    cli_show_text("error", text);
    cli_text_time(text, letter->first_failed);
    cli_show_text("first failed", text);
    cli_text_time(text, letter->last_failed);
    cli_show_text("last failed", text);
    if (letter->replaying) {
        printf("%-13s to %s, interrupted\n", "replaying", letter->replaying);
    }
    cli_show_content(letter->message);
}

static bool show_letter(const seg_letter *letter, void *arg) {
    showing *s = arg;
    if (s->json) {
        json_t *object = cli_letter_json(letter, s->run);
        cli_json_content(object, letter->message);
        cli_json_print(stdout, object);
    } else if (s->templated) {
        seg_delivery d = {.id = letter->origin.id,
                          .partition = letter->origin.partition,
                          .attempt = letter->attempts};
        cli_template_write(&s->format, stdout, letter->message, &d);
    } else {
        if (s->shown > 0) {
            fputc('\n', stdout);
        }
        show_block(letter);
    }
    s->shown++;
    return true;
}

static int show(seg_client *client, const cli_run *run, cli_selection *selection, showing *s) {
    seg_dlq *q;
    int code = cli_dlq_open(&q, client, run);
    if (code != CLI_OK || !q) {
        return code == CLI_OK ? cli_dlq_nothing(run) : code;
    }
    uint64_t seen, taken;
    code = cli_dlq_walk(q, selection, show_letter, s, &seen, &taken);
    seg_dlq_close(q);
    if (code == CLI_OK && cli_selection_misses(selection)) {
        code = CLI_NOT_FOUND;
    }
    return code;
}

static int run_show(const cli_run *run) {
    const cli_dlq_opts *o = run->opts;
    char fault[128];
    showing s = {.run = run, .json = o->json, .templated = o->format != NULL};
    cli_selection selection;
    if (o->json && o->format) {
        return cli_usage("-f and --json exclude each other");
    }
    if (!cli_template_parse(&s.format, o->format ? o->format : "", fault)) {
        return cli_usage("-f: %s", fault);
    }
    int code = CLI_USAGE;
    if (cli_selection_init(&selection, run)) {
        seg_client *client;
        code = cli_open(&client, run->globals, false);
        if (code == CLI_OK) {
            code = show(client, run, &selection, &s);
            seg_client_close(client);
        }
        cli_selection_fini(&selection);
    }
    cli_template_fini(&s.format);
    return code;
}

/* ---- The commands ---------------------------------------------------------------------------- */

const cli_command cli_dlq_ls = {
    .name = "dlq ls",
    .args = "STREAM",
    .min_args = 1,
    .max_args = 1,
    .brief = "List the messages that a group could not handle",
    .about = "List a group's dead letters: the messages that were rejected, or failed too often, "
             "with the place that they came from, why they are here (REASON) and what was said "
             "last (ERROR). ID is what show, replay and drop take.",
    .opts = ls_table,
    .n_opts = CLI_COUNT(ls_table),
    .opts_size = sizeof(cli_dlq_opts),
    .columns = columns,
    .n_columns = CLI_COUNT(columns),
    .run = run_ls,
};

const cli_command cli_dlq_show = {
    .name = "dlq show",
    .args = "STREAM ID...",
    .min_args = 2,
    .max_args = SIZE_MAX,
    .brief = "Show dead letters in full",
    .about = "Show all of a dead letter: where it came from and why it is here, its key, headers "
             "and value. With --json the message is as consume -J writes it, so that produce -J "
             "can send it.",
    .opts = show_table,
    .n_opts = CLI_COUNT(show_table),
    .opts_size = sizeof(cli_dlq_opts),
    .run = run_show,
};
