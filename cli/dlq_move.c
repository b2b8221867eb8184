/* dlq_move.c - segmenter dlq replay and drop: take dead letters away.
 *
 * Which letters are meant is found out first, and all of them, before any is touched: those that fail
 * again while a replay runs, and come back as new letters, are not part of it, or it might not end. */
#include <inttypes.h>
#include <stdlib.h>

#include "child.h"
#include "dlq.h"
#include "json.h"
#include "signals.h"

enum {
    CHUNK_MAX = 500,
    CHUNKS_A_SECOND = 10, /* of a paced replay */
    RATE_MAX = 1000000
};

static const cli_opt replay_table[] = {
    CLI_DLQ_GROUP,
    {.name = "to",
     .type = CLI_NAME,
     .arg = "STREAM",
     .at = offsetof(cli_dlq_opts, to),
     .text = "send them to this stream (default: where they came from)"},
    {.name = "all", .type = CLI_FLAG, .at = offsetof(cli_dlq_opts, all), .text = "all of them"},
    CLI_DLQ_FILTERS,
    {.name = "rate",
     .type = CLI_NUMBER,
     .arg = "N",
     .at = offsetof(cli_dlq_opts, rate),
     .min = 1,
     .max = RATE_MAX,
     .text = "at most so many a second"},
    {.name = "dry-run",
     .type = CLI_FLAG,
     .at = offsetof(cli_dlq_opts, dry_run),
     .text = "only print the ids of those that it would be"},
    CLI_DLQ_JSON,
};

static const cli_opt drop_table[] = {
    CLI_DLQ_GROUP,
    {.name = "all", .type = CLI_FLAG, .at = offsetof(cli_dlq_opts, all), .text = "all of them"},
    CLI_DLQ_FILTERS,
    {.name = "dry-run",
     .type = CLI_FLAG,
     .at = offsetof(cli_dlq_opts, dry_run),
     .text = "only print the ids of those that it would be"},
    {.name = "yes",
     .type = CLI_FLAG,
     .at = offsetof(cli_dlq_opts, yes),
     .text = "really do it; nothing is dropped without this"},
    CLI_DLQ_JSON,
};

typedef struct move {
    const cli_run *run;
    const cli_dlq_opts *opts;
    bool drop;
    seg_dlq *q;
    seg_position *at;
    size_t n, capacity, done;
    int64_t started_us;
} move;

static const char *verb(const move *m) {
    return m->drop ? "dropped" : "replayed";
}

/* ---- Which ----------------------------------------------------------------------------------- */

static bool collect(const seg_letter *letter, void *arg) {
    move *m = arg;
    if (m->n == m->capacity) {
        m->capacity = m->capacity ? 2 * m->capacity : 256;
        m->at = cli_grow(m->at, m->capacity, sizeof *m->at);
    }
    m->at[m->n++] = letter->at;
    return cli_signal_caught() == 0;
}

static int check(const cli_run *run, bool drop) {
    const cli_dlq_opts *o = run->opts;
    bool filtered = o->all || o->match || o->reason || o->count > 0;
    if (run->n_args > 1 && filtered) {
        return cli_usage("ids exclude --all, --match, --reason and -n");
    }
    if (run->n_args == 1 && !filtered) {
        return cli_usage("which ones? name ids (see segmenter dlq ls), or give --all, --match, "
                         "--reason or -n");
    }
    if (drop && !o->yes && !o->dry_run) {
        return cli_usage("this deletes messages that group '%s' of stream '%s' never handled; add "
                         "--yes to do it, or --dry-run to see which",
                         o->group, run->args[0]);
    }
    return CLI_OK;
}

/* ---- Moving ---------------------------------------------------------------------------------- */

/* `moved` false: it only would be. */
static void tell(const move *m, const seg_position *at, bool moved) {
    char id[CLI_LETTER_ID_MAX];
    cli_letter_id(id, at);
    if (m->opts->json) {
        json_t *object = cli_json_object();
        cli_json_text(object, "id", id);
        cli_json_text(object, "stream", m->run->args[0]);
        cli_json_text(object, "group", m->opts->group);
        cli_json_text(object, "action", m->drop ? "drop" : "replay");
        if (!m->drop) {
            cli_json_text(object, "to", m->opts->to ? m->opts->to : m->run->args[0]);
        }
        cli_json_add(object, "done", json_boolean(moved));
        cli_json_print(stdout, object);
    } else if (moved) {
        printf("%s %s\n", verb(m), id);
    } else {
        printf("%s\n", id);
    }
}

static size_t chunk_size(const move *m) {
    size_t size = CHUNK_MAX;
    if (m->opts->rate > 0 && m->opts->rate < (int64_t)CHUNK_MAX * CHUNKS_A_SECOND) {
        size = m->opts->rate < CHUNKS_A_SECOND ? 1 : (size_t)m->opts->rate / CHUNKS_A_SECOND;
    }
    return m->n - m->done < size ? m->n - m->done : size;
}

/* The next chunk may go when those before it have had their time. */
static void pace(const move *m) {
    if (m->opts->rate <= 0) {
        return;
    }
    int64_t due = m->started_us + (int64_t)((double)m->done * 1e6 / (double)m->opts->rate);
    for (int64_t left = due - cli_now_us(); left > 0 && !cli_signal_caught();
         left = due - cli_now_us()) {
        cli_pause(left / 1000 + 1 < 60000 ? left / 1000 + 1 : 60000);
    }
}

/* One chunk; `*gone` counts those that were taken away by somebody else since we looked. */
static seg_status move_chunk(move *m, size_t *moved, size_t *gone, seg_error *err) {
    const seg_position *at = m->at + m->done;
    size_t n = chunk_size(m), done = 0;
    seg_status status = m->drop ? seg_dlq_drop(m->q, at, n, &done, err)
                                : seg_dlq_replay(m->q, at, n, m->opts->to, &done, err);
    bool talk = m->opts->json || m->run->globals->verbose;
    size_t handled = status == SEG_OK ? n : done;
    for (size_t i = 0; talk && i < handled; i++) {
        tell(m, &at[i], true);
    }
    *moved += done;
    *gone += handled - done;
    m->done += handled;
    return status;
}

static int move_all(move *m) {
    size_t moved = 0, gone = 0;
    int code = CLI_OK;
    m->started_us = cli_now_us();
    while (m->done < m->n && code == CLI_OK) {
        pace(m);
        if (cli_signal_caught()) {
            break;
        }
        seg_error err;
        if (move_chunk(m, &moved, &gone, &err) != SEG_OK) {
            code = cli_error(&err);
        } else if (!cli_flush_stdout()) {
            code = CLI_FAILURE;
        }
    }
    if (gone > 0) {
        cli_note("%zu of them were gone already", gone);
    }
    if (m->done < m->n) {
        cli_note("%s %zu of %zu dead letters", verb(m), moved, m->n);
        return code == CLI_OK ? cli_failure("interrupted") : code;
    }
    cli_note("%s %zu dead letter%s", verb(m), moved, moved == 1 ? "" : "s");
    return code;
}

static int dry_run(move *m) {
    for (size_t i = 0; i < m->n; i++) {
        tell(m, &m->at[i], false);
    }
    cli_note("would be %s: %zu dead letter%s", verb(m), m->n, m->n == 1 ? "" : "s");
    return CLI_OK;
}

/* ---- The commands ---------------------------------------------------------------------------- */

static int move_letters(move *m, seg_client *client, cli_selection *selection) {
    int code = cli_dlq_open(&m->q, client, m->run);
    if (code != CLI_OK || !m->q) {
        return code == CLI_OK ? cli_dlq_nothing(m->run) : code;
    }
    uint64_t seen, taken;
    code = cli_dlq_walk(m->q, selection, collect, m, &seen, &taken);
    if (code == CLI_OK && seen == 0 && selection->n_names == 0) {
        code = cli_dlq_nothing(m->run);
    } else if (code == CLI_OK) {
        code = m->opts->dry_run ? dry_run(m) : move_all(m);
        if (cli_selection_misses(selection) && code == CLI_OK) {
            code = CLI_NOT_FOUND;
        }
    }
    seg_dlq_close(m->q);
    return code;
}

static int run_move(const cli_run *run, bool drop) {
    move m = {.run = run, .opts = run->opts, .drop = drop};
    cli_selection selection;
    int code = check(run, drop);
    if (code != CLI_OK || !cli_selection_init(&selection, run)) {
        return CLI_USAGE;
    }
    cli_signals_catch();
    seg_client *client;
    code = cli_open(&client, run->globals, false);
    if (code == CLI_OK) {
        code = move_letters(&m, client, &selection);
        seg_client_close(client);
    }
    cli_selection_fini(&selection);
    free(m.at);
    return code;
}

static int run_replay(const cli_run *run) {
    return run_move(run, false);
}

static int run_drop(const cli_run *run) {
    return run_move(run, true);
}

const cli_command cli_dlq_replay = {
    .name = "dlq replay",
    .args = "STREAM [ID...]",
    .min_args = 1,
    .max_args = SIZE_MAX,
    .brief = "Send dead letters back to their stream",
    .about = "Send dead letters back to the stream that they came from, or to another one, and "
             "remove them here. Each is in one of both places in the end, once, also where this is "
             "interrupted and called again. Their messages get new places at the stream's end.\n\n"
             "Say which: by ids, by --match, --reason or -n, or --all.",
    .opts = replay_table,
    .n_opts = CLI_COUNT(replay_table),
    .opts_size = sizeof(cli_dlq_opts),
    .run = run_replay,
};

const cli_command cli_dlq_drop = {
    .name = "dlq drop",
    .args = "STREAM [ID...]",
    .min_args = 1,
    .max_args = SIZE_MAX,
    .brief = "Remove dead letters for good",
    .about = "Remove dead letters for good.\n\n"
             "Say which: by ids, by --match, --reason or -n, or --all.",
    .opts = drop_table,
    .n_opts = CLI_COUNT(drop_table),
    .opts_size = sizeof(cli_dlq_opts),
    .run = run_drop,
};
