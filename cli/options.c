/* options.c - the table parser. Its habits are GNU's: long options take `=value` or the next word,
 * short ones bundle (-eJ, -n5), `--` ends the options, a lone `-` is a word. The last of a repeated
 * option wins, except for lists. */
#include "options.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static void *value_at(const cli_opt_set *set, const cli_opt *opt) {
    return (char *)set->values + opt->at;
}

static bool choose(const char *words, const char *text, int *index) {
    size_t len = strlen(text);
    int i = 0;
    for (const char *w = words;; w += strcspn(w, "|") + 1, i++) {
        size_t n = strcspn(w, "|");
        if (n == len && memcmp(w, text, n) == 0) {
            *index = i;
            return true;
        }
        if (!w[n]) {
            return false;
        }
    }
}

static bool fault_range(const char *as, const cli_opt *opt, const char *text) {
    if (opt->type == CLI_DURATION) {
        char low[24], high[24];
        cli_duration_print(low, opt->min);
        cli_duration_print(high, opt->max);
        if (opt->max == INT64_MAX) {
            cli_usage("%s takes a duration of at least %s (500ms, 10s, 5m, 1h), not '%s'", as, low,
                      text);
        } else {
            cli_usage("%s takes a duration from %s to %s (500ms, 10s, 5m, 1h), not '%s'", as, low,
                      high, text);
        }
    } else if (opt->max == INT64_MAX) {
        cli_usage("%s takes a number of at least %" PRId64 ", not '%s'", as, opt->min, text);
    } else {
        cli_usage("%s takes a number from %" PRId64 " to %" PRId64 ", not '%s'", as, opt->min,
                  opt->max, text);
    }
    return false;
}

static bool set_number(const char *as, const cli_opt *opt, const char *text, int64_t *out) {
    int64_t n;
    bool ok = opt->type == CLI_DURATION ? cli_duration_parse(text, &n) : cli_number_parse(text, &n);
    if (!ok || n < opt->min || n > opt->max) {
        return fault_range(as, opt, text);
    }
    *out = n;
    return true;
}

static bool set_text(const char *as, const cli_opt *opt, const char *text, const char **out) {
    if (opt->type == CLI_NAME && !cli_name_ok(text)) {
        cli_usage("%s takes 1 to 200 of the characters A-Z a-z 0-9 . _ -, not '%s'", as, text);
        return false;
    }
    if (!*text) {
        cli_usage("%s takes a value, not an empty one", as);
        return false;
    }
    *out = text;
    return true;
}

/* `as` is the option as the user wrote it, for the fault. */
static bool set_value(const cli_opt_set *set, const cli_opt *opt, const char *as,
                      const char *text) {
    void *at = value_at(set, opt);
    switch (opt->type) {
    case CLI_FLAG:
        *(bool *)at = true;
        return true;
    case CLI_TEXT:
    case CLI_NAME:
        return set_text(as, opt, text, at);
    case CLI_NUMBER:
    case CLI_DURATION:
        return set_number(as, opt, text, at);
    case CLI_CHOICE:
        if (!choose(opt->arg, text, at)) {
            cli_usage("%s takes %s, not '%s'", as, opt->arg, text);
            return false;
        }
        return true;
    case CLI_LIST: {
        cli_list *list = at;
        list->items = cli_grow(list->items, list->n + 1, sizeof *list->items);
        list->items[list->n++] = text;
        return true;
    }
    }
    return false;
}

/* A value that was not set yet: parsing starts from a zeroed struct, except that numbers and
 * choices, where zero means something, start from -1. */
static bool is_unset(const cli_opt_set *set, const cli_opt *opt) {
    const void *at = value_at(set, opt);
    switch (opt->type) {
    case CLI_FLAG:
        return !*(const bool *)at;
    case CLI_TEXT:
    case CLI_NAME:
        return !*(const char *const *)at;
    case CLI_NUMBER:
    case CLI_DURATION:
        return *(const int64_t *)at == -1;
    case CLI_CHOICE:
        return *(const int *)at == -1;
    case CLI_LIST:
        return ((const cli_list *)at)->n == 0;
    }
    return true;
}

void cli_opts_init(cli_opt_set *set) {
    for (size_t i = 0; i < set->n; i++) {
        const cli_opt *opt = &set->opts[i];
        if (opt->type == CLI_NUMBER || opt->type == CLI_DURATION) {
            *(int64_t *)value_at(set, opt) = -1;
        } else if (opt->type == CLI_CHOICE) {
            *(int *)value_at(set, opt) = -1;
        }
    }
}

void cli_opts_fini(cli_opt_set *set) {
    for (size_t i = 0; i < set->n; i++) {
        if (set->opts[i].type == CLI_LIST) {
            free(((cli_list *)value_at(set, &set->opts[i]))->items);
        }
    }
}

bool cli_parse_environment(cli_opt_set *set) {
    for (size_t i = 0; i < set->n; i++) {
        const cli_opt *opt = &set->opts[i];
        const char *env = opt->env && is_unset(set, opt) ? getenv(opt->env) : NULL;
        if (env && *env && !set_value(set, opt, opt->env, env)) {
            return false;
        }
    }
    return true;
}

bool cli_parse_rest(cli_opt_set *set) {
    if (!cli_parse_environment(set)) {
        return false;
    }
    for (size_t i = 0; i < set->n; i++) {
        const cli_opt *opt = &set->opts[i];
        if (!is_unset(set, opt)) {
            continue;
        }
        if (opt->fallback && !set_value(set, opt, opt->name, opt->fallback)) {
            return false;
        }
        if (opt->required) {
            if (opt->letter) {
                cli_usage("missing option -%c %s", opt->letter, opt->arg);
            } else {
                cli_usage("missing option --%s %s", opt->name, opt->arg);
            }
            return false;
        }
    }
    return true;
}

/* ---- The walk over argv -------------------------------------------------------------------- */

static const cli_opt *find(const cli_parser *p, const char *name, size_t len, char letter,
                           const cli_opt_set **set) {
    /* The command's own come first: grep -v is what everybody takes it for. */
    for (size_t s = p->n_sets; s-- > 0;) {
        for (size_t i = 0; i < p->sets[s].n; i++) {
            const cli_opt *opt = &p->sets[s].opts[i];
            bool hit = name ? strlen(opt->name) == len && memcmp(opt->name, name, len) == 0
                            : opt->letter == letter;
            if (hit) {
                *set = &p->sets[s];
                return opt;
            }
        }
    }
    return NULL;
}

static const char *take_word(cli_parser *p) {
    return p->next < p->argc ? p->argv[p->next++] : NULL;
}

/* `word` is "--name" or "--name=value". */
static bool parse_long(cli_parser *p, const char *word) {
    const char *name = word + 2;
    size_t len = strcspn(name, "=");
    const char *value = name[len] ? name + len + 1 : NULL;
    const cli_opt_set *set;
    const cli_opt *opt = find(p, name, len, 0, &set);
    if (!opt) {
        cli_usage("unknown option --%.*s", (int)len, name);
        return false;
    }
    char as[64];
    snprintf(as, sizeof as, "--%s", opt->name);
    if (opt->type == CLI_FLAG) {
        if (value) {
            cli_usage("%s takes no value, not '%s'", as, value);
            return false;
        }
        return set_value(set, opt, as, NULL);
    }
    if (!value && !(value = take_word(p))) {
        cli_usage("%s takes %s, but nothing follows it", as, opt->arg);
        return false;
    }
    return set_value(set, opt, as, value);
}

/* One option of the bundle that p->bundle points into. */
static bool parse_short(cli_parser *p) {
    char letter = *p->bundle++;
    const char *value = *p->bundle ? p->bundle : NULL;
    const cli_opt_set *set;
    const cli_opt *opt = find(p, NULL, 0, letter, &set);
    char as[8];
    snprintf(as, sizeof as, "-%c", letter);
    if (!opt) {
        cli_usage("unknown option %s", as);
        return false;
    }
    if (opt->type == CLI_FLAG) {
        p->bundle = value;
        return set_value(set, opt, as, NULL);
    }
    p->bundle = NULL;
    if (!value && !(value = take_word(p))) {
        cli_usage("%s takes %s, but nothing follows it", as, opt->arg);
        return false;
    }
    return set_value(set, opt, as, value);
}

cli_parsed cli_parse_word(cli_parser *p, const char **word) {
    for (;;) {
        if (p->bundle) {
            if (!parse_short(p)) {
                return CLI_PARSED_FAULT;
            }
            continue;
        }
        const char *w = take_word(p);
        if (!w) {
            return CLI_PARSED_END;
        }
        if (p->ended || w[0] != '-' || !w[1]) {
            *word = w;
            return CLI_PARSED_WORD;
        }
        if (w[1] != '-') {
            p->bundle = w + 1;
        } else if (!w[2]) {
            p->ended = true;
        } else if (!parse_long(p, w)) {
            return CLI_PARSED_FAULT;
        }
    }
}

/* ---- Help ---------------------------------------------------------------------------------- */

enum { HELP_TEXT_COLUMN = 30, HELP_WIDTH = 80 };

void cli_wrap(FILE *out, const char *text, size_t indent) {
    size_t column = indent;
    while (*text) {
        size_t len = strcspn(text, " \n");
        if (column > indent && column + 1 + len > HELP_WIDTH) {
            fprintf(out, "\n%*s", (int)indent, "");
            column = indent;
        } else if (column > indent && len > 0) {
            fputc(' ', out);
            column++;
        }
        fprintf(out, "%.*s", (int)len, text);
        column += len;
        text += len;
        if (*text == '\n') {
            /* A line that starts with a space is an example or a list: kept as it is. */
            fputc('\n', out);
            text++;
            size_t verbatim = *text == ' ' ? strcspn(text, "\n") : 0;
            if (*text && *text != '\n') {
                fprintf(out, "%*s%.*s", (int)indent, "", (int)verbatim, text);
            }
            text += verbatim;
            column = indent;
        } else if (*text == ' ') {
            text++;
        }
    }
    fputc('\n', out);
}

/* Range, default and environment variable, as one sentence after the option's text. */
char *cli_opt_limits(const cli_opt *opt) {
    char range[96] = "", low[24], high[24];
    if (opt->type == CLI_NUMBER && opt->max == INT64_MAX) {
        snprintf(range, sizeof range, "at least %" PRId64, opt->min);
    } else if (opt->type == CLI_NUMBER) {
        snprintf(range, sizeof range, "%" PRId64 " to %" PRId64, opt->min, opt->max);
    } else if (opt->type == CLI_DURATION && opt->max != INT64_MAX) {
        cli_duration_print(low, opt->min);
        cli_duration_print(high, opt->max);
        snprintf(range, sizeof range, "%s to %s", low, high);
    }
    const char *parts[4];
    size_t n = 0;
    char *fallback = opt->fallback ? cli_format("default %s", opt->fallback) : NULL;
    char *env = opt->env ? cli_format("or %s", opt->env) : NULL;
    if (range[0]) {
        parts[n++] = range;
    }
    if (opt->required) {
        parts[n++] = "required";
    }
    if (fallback) {
        parts[n++] = fallback;
    }
    if (env) {
        parts[n++] = env;
    }
    char *all =
        cli_format("%s%s%s%s%s%s%s%s%s", n ? " (" : "", n > 0 ? parts[0] : "", n > 1 ? "; " : "",
                   n > 1 ? parts[1] : "", n > 2 ? "; " : "", n > 2 ? parts[2] : "",
                   n > 3 ? "; " : "", n > 3 ? parts[3] : "", n ? ")" : "");
    free(fallback);
    free(env);
    return all;
}

void cli_opts_help(FILE *out, const cli_opt *opts, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const cli_opt *opt = &opts[i];
        char letter[8] = "    ";
        if (opt->letter) {
            snprintf(letter, sizeof letter, "-%c, ", opt->letter);
        }
        char *left = cli_format("  %s--%s%s%s", letter, opt->name, opt->arg ? " " : "",
                                opt->arg ? opt->arg : "");
        char *range = cli_opt_limits(opt);
        char *right = cli_format("%s%s", opt->text, range);
        int width = HELP_TEXT_COLUMN;
        if (strlen(left) + 2 > HELP_TEXT_COLUMN) {
            fprintf(out, "%s\n%*s", left, width, "");
        } else {
            fprintf(out, "%-*s", width, left);
        }
        cli_wrap(out, right, HELP_TEXT_COLUMN);
        free(left);
        free(range);
        free(right);
    }
}
