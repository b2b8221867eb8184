/* dlq_select.c - see dlq.h: which dead letters a command is about. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "dlq.h"
#include "json.h"
#include "text.h"

/* ---- Names ----------------------------------------------------------------------------------- */

void cli_letter_id(char out[CLI_LETTER_ID_MAX], const seg_position *at) {
    if (at->id.era == 1) {
        snprintf(out, CLI_LETTER_ID_MAX, "%" PRIu32 ":%" PRIu64, at->partition, at->id.offset);
    } else {
        snprintf(out, CLI_LETTER_ID_MAX, "%" PRIu32 ":%" PRIu64 "-%" PRIu64, at->partition,
                 at->id.era, at->id.offset);
    }
}

/* The number before `end`, or before the end where that is 0; moves `*at` behind it. */
static bool number_before(const char **at, char end, int64_t *out) {
    const char *stop = end ? strchr(*at, end) : *at + strlen(*at);
    char text[24];
    if (!stop || (size_t)(stop - *at) >= sizeof text) {
        return false;
    }
    memcpy(text, *at, (size_t)(stop - *at));
    text[stop - *at] = '\0';
    *at = end ? stop + 1 : stop;
    return cli_number_parse(text, out);
}

static bool parse_name(cli_letter_name *out, const char *text) {
    const char *at = text;
    int64_t partition, era = 1, offset;
    if (!number_before(&at, ':', &partition) || partition >= UINT32_MAX ||
        (strchr(at, '-') && !number_before(&at, '-', &era)) || !number_before(&at, 0, &offset)) {
        cli_usage("a dead letter is named PARTITION:OFFSET, as dlq ls shows it, not '%s'", text);
        return false;
    }
    *out = (cli_letter_name){
        .at = {.id = {(uint64_t)era, (uint64_t)offset}, .partition = (uint32_t)partition},
        .text = text};
    return true;
}

static int by_place(const void *left, const void *right) {
    const seg_position *a = &((const cli_letter_name *)left)->at;
    const seg_position *b = &((const cli_letter_name *)right)->at;
    if (a->partition != b->partition) {
        return a->partition < b->partition ? -1 : 1;
    }
    if (a->id.era != b->id.era) {
        return a->id.era < b->id.era ? -1 : 1;
    }
    return a->id.offset < b->id.offset ? -1 : a->id.offset > b->id.offset;
}

static void sort_names(cli_selection *s) {
    if (s->n_names == 0) {
        return;
    }
    qsort(s->names, s->n_names, sizeof *s->names, by_place);
    size_t kept = 1;
    for (size_t i = 1; i < s->n_names; i++) {
        if (by_place(&s->names[i], &s->names[kept - 1]) != 0) {
            s->names[kept++] = s->names[i];
        }
    }
    s->n_names = kept;
}

bool cli_selection_init(cli_selection *s, const cli_run *run) {
    const cli_dlq_opts *o = run->opts;
    *s = (cli_selection){.key = o->match,
                         .text = o->reason,
                         .limit = o->count > 0 ? (uint64_t)o->count : UINT64_MAX};
    s->names = cli_alloc(run->n_args - 1, sizeof *s->names);
    for (size_t i = 1; i < run->n_args; i++) {
        if (!parse_name(&s->names[s->n_names++], run->args[i])) {
            cli_selection_fini(s);
            return false;
        }
    }
    sort_names(s);
    return true;
}

void cli_selection_fini(cli_selection *s) {
    free(s->names);
    *s = (cli_selection){0};
}

bool cli_selection_misses(const cli_selection *s) {
    for (size_t i = 0; i < s->n_names; i++) {
        if (!s->names[i].found) {
            cli_note("no dead letter '%s'", s->names[i].text);
        }
    }
    return s->n_found < s->n_names;
}

/* ---- Letters --------------------------------------------------------------------------------- */

static bool is_meant(cli_selection *s, const seg_letter *letter) {
    if (s->n_names > 0) {
        cli_letter_name key = {.at = letter->at};
        cli_letter_name *name = bsearch(&key, s->names, s->n_names, sizeof key, by_place);
        if (!name) {
            return false;
        }
        s->n_found += !name->found;
        name->found = true;
        return true;
    }
    if (s->key) {
        seg_bytes key = seg_message_key(letter->message);
        size_t len = strlen(s->key);
        if (key.len != len || memcmp(key.data, s->key, len) != 0) {
            return false;
        }
    }
    return !s->text || strstr(letter->reason, s->text) || strstr(letter->error, s->text);
}

static bool is_complete(const cli_selection *s, uint64_t taken) {
    return taken >= s->limit || (s->n_names > 0 && s->n_found == s->n_names);
}

int cli_dlq_walk(seg_dlq *q, cli_selection *s, cli_letter_fn *fn, void *arg, uint64_t *seen,
                 uint64_t *taken) {
    seg_error err;
    *seen = *taken = 0;
    while (!is_complete(s, *taken)) {
        const seg_letter *letter;
        if (seg_dlq_next(&letter, q, &err) != SEG_OK) {
            return cli_error(&err);
        }
        if (!letter) {
            break;
        }
        (*seen)++;
        if (is_meant(s, letter)) {
            (*taken)++;
            if (!fn(letter, arg)) {
                break;
            }
        }
    }
    return CLI_OK;
}

/* The library calls it the same whether the stream is not there, the group, or a dead letter: a name
 * with a slip in it must not look like a group without faults. */
int cli_dlq_open(seg_dlq **out, seg_client *client, const cli_run *run) {
    const cli_dlq_opts *o = run->opts;
    seg_error err;
    *out = NULL;
    seg_status status = seg_dlq_open(out, client, run->args[0], o->group, &err);
    if (status == SEG_OK) {
        return CLI_OK;
    }
    if (status != SEG_ENOENT) {
        return cli_error(&err);
    }
    seg_group_info *group;
    if (seg_group_describe(&group, client, run->args[0], o->group, &err) != SEG_OK) {
        return cli_error(&err);
    }
    seg_group_info_free(group);
    *out = NULL;
    return CLI_OK;
}

int cli_dlq_nothing(const cli_run *run) {
    const cli_dlq_opts *o = run->opts;
    cli_note("group '%s' of stream '%s' has no dead letters", o->group, run->args[0]);
    return CLI_NOT_FOUND;
}

json_t *cli_letter_json(const seg_letter *letter, const cli_run *run) {
    const cli_dlq_opts *o = run->opts;
    char id[CLI_LETTER_ID_MAX], error[512];
    cli_letter_id(id, &letter->at);
    cli_text_clean(error, sizeof error, (seg_bytes){letter->error, strlen(letter->error)});
    json_t *object = cli_json_object();
    cli_json_text(object, "id", id);
    cli_json_text(object, "stream", run->args[0]);
    cli_json_text(object, "group", o->group);
    cli_json_number(object, "partition", letter->origin.partition);
    cli_json_number(object, "era", letter->origin.id.era);
    cli_json_number(object, "offset", letter->origin.id.offset);
    cli_json_number(object, "attempts", letter->attempts);
    cli_json_text(object, "reason", letter->reason);
    cli_json_text(object, "error", error);
    cli_json_add(object, "first_failed_ms", json_integer(letter->first_failed));
    cli_json_add(object, "last_failed_ms", json_integer(letter->last_failed));
    cli_json_text(object, "replaying", letter->replaying);
    return object;
}
