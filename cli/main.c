/* main.c - the `segmenter` command: finds the subcommand, parses by its table, runs it. */
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "listing.h"

/* What the command line names: a command, or a family alone (for its help). */
typedef struct target {
    const cli_command *command;
    const char *family;
} target;

/* Read up to the command's name. Returns false where that ended in a fault; what was found before it
 * is in `*out` all the same. */
static bool parse_target(cli_parser *p, cli_globals *globals, target *out) {
    const char *word;
    target found = {0};
    for (;; *out = found) {
        cli_parsed parsed = cli_parse_word(p, &word);
        if (parsed == CLI_PARSED_FAULT) {
            return false;
        }
        if (parsed == CLI_PARSED_END) {
            if (!globals->help && !globals->version) {
                cli_usage(found.family ? "a command is missing after 'segmenter %s'; see "
                                         "segmenter %s --help"
                                       : "a command is missing; see segmenter --help",
                          found.family, found.family);
                return false;
            }
            *out = found;
            return true;
        }
        if (!found.family && !globals->help && strcmp(word, "help") == 0) {
            globals->help = true; /* "help stream create" is "stream create --help" */
            continue;
        }
        found.command = cli_find_command(found.family, word);
        if (found.command) {
            *out = found;
            return true;
        }
        if (found.family || !cli_is_family(word)) {
            cli_usage("unknown command '%s%s%s'; see segmenter %s%s--help",
                      found.family ? found.family : "", found.family ? " " : "", word,
                      found.family ? found.family : "", found.family ? " " : "");
            return false;
        }
        found.family = word;
    }
}

/* The rest of the command line: options of both kinds, and the command's arguments. */
static bool parse_args(cli_parser *p, const char **args, size_t *n_args) {
    for (;;) {
        const char *word;
        cli_parsed parsed = cli_parse_word(p, &word);
        if (parsed != CLI_PARSED_WORD) {
            return parsed == CLI_PARSED_END;
        }
        args[(*n_args)++] = word;
    }
}

static bool check_args(const cli_command *c, const char *const *args, size_t n) {
    if (n < c->min_args) {
        cli_usage("missing argument; usage: segmenter %s %s", c->name, c->args);
        return false;
    }
    if (n > c->max_args) {
        cli_usage("unexpected argument '%s'%s%s", args[c->max_args], c->excess ? "; " : "",
                  c->excess ? c->excess : "");
        return false;
    }
    if (n > 0 && !c->any_word && !cli_name_ok(args[0])) {
        cli_usage("a name has 1 to 200 of the characters A-Z a-z 0-9 . _ -, not '%s'", args[0]);
        return false;
    }
    return true;
}

/* A probe's own codes come from its run function alone: whatever else goes wrong is unknown. */
static int fault(const cli_command *c, int code) {
    return c->probe && code != CLI_OK ? CLI_PROBE_UNKNOWN : code;
}

/* Parse what follows the command's name and run it. */
static int run_parsed(cli_parser *p, cli_globals *globals, cli_run *run, cli_output *output) {
    const cli_command *c = run->command;
    if (!parse_args(p, (const char **)(uintptr_t)run->args, &run->n_args)) {
        return fault(c, CLI_USAGE);
    }
    if (globals->help) {
        cli_help_command(c);
        return CLI_OK;
    }
    if (globals->version) {
        printf("segmenter %s\n", seg_version());
        return CLI_OK;
    }
    if (!check_args(c, run->args, run->n_args) || !cli_parse_rest(&p->sets[1]) ||
        (c->columns && !cli_output_check(output, c->columns, c->n_columns))) {
        return fault(c, CLI_USAGE);
    }
    int code = c->local ? CLI_OK : cli_globals_complete(globals);
    return code == CLI_OK ? c->run(run) : fault(c, code);
}

/* Close the output. A probe whose result did not get out has told nothing. */
static int finish(const cli_command *c, int code) {
    if (!c->probe) {
        return cli_close_stdout(code);
    }
    return cli_close_stdout(CLI_OK) == CLI_OK ? code : CLI_PROBE_UNKNOWN;
}

static int run_command(cli_parser *p, cli_globals *globals, const cli_command *c) {
    char *who = cli_format("segmenter %s", c->name);
    cli_set_who(c->hidden ? "segmenter" : who);
    cli_set_fatal_code(c->probe ? CLI_PROBE_UNKNOWN : CLI_FAILURE);
    const char **args = cli_alloc((size_t)p->argc, sizeof *args);
    void *opts = cli_alloc(1, c->opts_size);
    cli_output output = {0};
    p->sets[p->n_sets++] = (cli_opt_set){c->opts, c->n_opts, opts};
    if (c->columns) {
        p->sets[p->n_sets++] = (cli_opt_set){cli_output_opts, cli_n_output_opts, &output};
    }
    cli_opts_init(&p->sets[1]);

    cli_run run = {c, globals, opts, &output, args, 0};
    int code = run_parsed(p, globals, &run, &output);
    if (c->probe && code == CLI_PROBE_UNKNOWN) {
        cli_check_say_unknown(&run, p->argc, p->argv);
    }
    code = finish(c, code);
    cli_opts_fini(&p->sets[1]);
    cli_output_fini(&output);
    free(opts);
    free(args);
    cli_set_who("segmenter");
    free(who);
    return code;
}

/* ---- The beginning --------------------------------------------------------------------------- */

/* Reports must know before anything can go wrong. */
static bool wants_json(int argc, char **argv) {
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        const char *word = argv[i];
        if (strcmp(word, "--json") == 0 ||
            (word[0] == '-' && word[1] != '-' && word[1] && word[strlen(word) - 1] == 'J')) {
            return true;
        }
    }
    return false;
}

/* Words that name a probe: also where an option before them is wrong, its monitor must not take that
 * for what it looks for. */
static bool means_probe(int argc, char **argv, const target *found) {
    bool probe = found->family && cli_has_probes(found->family);
    for (int i = 1; i + 1 < argc && !probe; i++) {
        const cli_command *c =
            cli_has_probes(argv[i]) ? cli_find_command(argv[i], argv[i + 1]) : NULL;
        probe = c && !found->family;
    }
    return probe;
}

/* No report may show a password, nor may ps(1), which reads the words of the command line from where
 * they are: so there it is covered, and what is parsed is a copy. */
static char **private_argv(int argc, char **argv) {
    char **copy = cli_alloc((size_t)argc + 1, sizeof *copy);
    for (int i = 0; i < argc; i++) {
        copy[i] = cli_format("%s", argv[i]);
        if (i > 0) {
            cli_hide_password(argv[i]);
            cli_cover_password(argv[i]);
        }
    }
    const char *url = getenv("SEGMENTER_URL");
    if (url) {
        cli_hide_password(url);
    }
    return copy;
}

/* Tables know how wide characters are, and nothing else may depend on where one lives. */
static void know_characters(void) {
    setlocale(LC_CTYPE, "");
    if (strcmp(nl_langinfo(CODESET), "UTF-8") != 0) {
        setlocale(LC_CTYPE, "C.UTF-8");
    }
}

int main(int argc, char **argv) {
    /* A reader that went away is a failed write, with a message and an exit code. */
    signal(SIGPIPE, SIG_IGN);
    know_characters();
    char **words = private_argv(argc, argv);
    if (wants_json(argc, words)) {
        cli_report_json();
    }

    cli_globals globals = {0};
    cli_parser parser = {.argv = words, .argc = argc, .next = 1, .n_sets = 1};
    parser.sets[0] = (cli_opt_set){cli_global_opts, cli_n_global_opts, &globals};
    target found = {0};
    int code = CLI_USAGE;
    if (parse_target(&parser, &globals, &found)) {
        if (found.command) {
            code = run_command(&parser, &globals, found.command);
        } else if (globals.help) {
            cli_help_all(found.family);
            code = cli_close_stdout(CLI_OK);
        } else {
            printf("segmenter %s\n", seg_version());
            code = cli_close_stdout(CLI_OK);
        }
    } else if (means_probe(argc, words, &found)) {
        cli_check_say_unknown(NULL, argc, words);
        cli_close_stdout(CLI_OK);
        code = CLI_PROBE_UNKNOWN;
    }
    cli_globals_fini(&globals);
    cli_forget_passwords();
    for (int i = 0; i < argc; i++) {
        free(words[i]);
    }
    free(words);
    return code;
}
