/* main.c - the `segmenter` command: finds the subcommand, parses by its table, runs it. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static const cli_command *const commands[] = {
    &cli_stream_create, &cli_stream_ls,       &cli_stream_info,   &cli_stream_rm,
    &cli_produce,       &cli_consume,         &cli_group_ls,      &cli_group_describe,
    &cli_group_seek,    &cli_group_rm,        &cli_dlq_ls,        &cli_dlq_show,
    &cli_dlq_replay,    &cli_dlq_drop,        &cli_demo,          &cli_server_command,
    &cli_demo_consumer, &cli_bench_produce,   &cli_bench_consume, &cli_bench_sync,
    &cli_bench_e2e,     &cli_bench_rebalance, &cli_bench_idle,    &cli_bench_member,
};

static const cli_opt global_opts[] = {
    {.name = "url",
     .letter = 'u',
     .type = CLI_TEXT,
     .arg = "URL",
     .at = offsetof(cli_globals, url),
     .fallback = "redis://127.0.0.1:6379",
     .env = "SEGMENTER_URL",
     .text = "server: redis://[user[:password]@]host[:port][/db] or unix:///path[?db=n]"},
    {.name = "namespace",
     .letter = 'N',
     .type = CLI_NAME,
     .arg = "NAME",
     .at = offsetof(cli_globals, name_space),
     .fallback = "default",
     .env = "SEGMENTER_NAMESPACE",
     .text = "the container of the streams"},
    {.name = "verbose",
     .letter = 'v',
     .type = CLI_FLAG,
     .at = offsetof(cli_globals, verbose),
     .text = "report connections, rebalances and totals on stderr"},
    {.name = "help",
     .letter = 'h',
     .type = CLI_FLAG,
     .at = offsetof(cli_globals, help),
     .text = "print this help"},
    {.name = "version",
     .type = CLI_FLAG,
     .at = offsetof(cli_globals, version),
     .text = "print the version"},
};

/* ---- Help ------------------------------------------------------------------------------------ */

static void help_exit_codes(void) {
    puts("\nExit codes:");
#define X(name, code, text) printf("  %d  %s\n", code, text);
    CLI_EXIT_MAP(X)
#undef X
}

/* The commands that start with `family`, or all where it is NULL. */
static void help_commands(const char *family) {
    size_t len = family ? strlen(family) : 0;
    for (size_t i = 0; i < CLI_COUNT(commands); i++) {
        const cli_command *c = commands[i];
        if (c->hidden || (family && (strncmp(c->name, family, len) != 0 || c->name[len] != ' '))) {
            continue;
        }
        char *left = cli_format("%s%s%s", c->name, c->args[0] ? " " : "", c->args);
        printf("  %-28s%s\n", left, c->brief);
        free(left);
    }
}

static void help_globals(void) {
    puts("\nGlobal options, before or after the command:");
    cli_opts_help(stdout, global_opts, CLI_COUNT(global_opts));
}

static void help_all(const char *family) {
    if (family) {
        printf("Usage: segmenter %s COMMAND [OPTION...]\n\nCommands:\n", family);
    } else {
        puts("Usage: segmenter COMMAND [OPTION...]\n\n"
             "Partitioned streams and consumer groups on Redis and Valkey.\n\nCommands:");
    }
    help_commands(family);
    help_globals();
    help_exit_codes();
    printf("\n'segmenter %s%sCOMMAND --help' describes one command.\n", family ? family : "",
           family ? " " : "");
}

static void help_command(const cli_command *c) {
    printf("Usage: segmenter %s%s%s%s\n\n", c->name, c->n_opts ? " [OPTION...]" : "",
           c->args[0] ? " " : "", c->args);
    cli_wrap(stdout, c->about, 0);
    if (c->n_opts) {
        puts("\nOptions:");
        cli_opts_help(stdout, c->opts, c->n_opts);
    }
    puts(
        "\nGlobal options: -u URL, -N NAME, -v, -h; 'segmenter --help' describes them and the exit "
        "codes.");
}

/* ---- Dispatch -------------------------------------------------------------------------------- */

static const cli_command *find_command(const char *family, const char *word) {
    for (size_t i = 0; i < CLI_COUNT(commands); i++) {
        const char *name = commands[i]->name;
        size_t len = family ? strlen(family) : 0;
        if (family && (strncmp(name, family, len) != 0 || name[len] != ' ')) {
            continue;
        }
        if (strcmp(family ? name + len + 1 : name, word) == 0) {
            return commands[i];
        }
    }
    return NULL;
}

static bool is_family(const char *word) {
    return strcmp(word, "stream") == 0 || strcmp(word, "group") == 0 || strcmp(word, "dlq") == 0 ||
           strcmp(word, "bench") == 0;
}

/* What the command line names: a command, or a family alone (for its help). */
typedef struct target {
    const cli_command *command;
    const char *family;
} target;

/* Read up to the command's name. Returns false where that ended in a fault. */
static bool parse_target(cli_parser *p, const cli_globals *globals, target *out) {
    const char *word;
    target found = {0};
    for (;;) {
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
        found.command = find_command(found.family, word);
        if (found.command) {
            *out = found;
            return true;
        }
        if (found.family || !is_family(word)) {
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
        cli_usage("unexpected argument '%s'", args[c->max_args]);
        return false;
    }
    if (n > 0 && !cli_name_ok(args[0])) {
        cli_usage("a name has 1 to 200 of the characters A-Z a-z 0-9 . _ -, not '%s'", args[0]);
        return false;
    }
    return true;
}

static bool in_environment(const char *name) {
    const char *value = getenv(name);
    return value && *value;
}

/* Asked before the defaults take the place of what is missing. */
static void note_given(cli_globals *g) {
    g->url_given = g->url || in_environment("SEGMENTER_URL");
    g->name_space_given = g->name_space || in_environment("SEGMENTER_NAMESPACE");
}

static int run_command(cli_parser *p, cli_globals *globals, const cli_command *c) {
    char *who = cli_format("segmenter %s", c->name);
    cli_set_who(c->hidden ? "segmenter" : who);
    const char **args = cli_alloc((size_t)p->argc, sizeof *args);
    size_t n_args = 0;
    cli_opt_set own = {c->opts, c->n_opts, cli_alloc(1, c->opts_size)};
    cli_opts_init(&own);
    p->sets[1] = own;
    p->n_sets = 2;

    int code = CLI_USAGE;
    if (parse_args(p, args, &n_args)) {
        note_given(globals);
        if (globals->help) {
            help_command(c);
            code = CLI_OK;
        } else if (globals->version) {
            printf("segmenter %s\n", seg_version());
            code = CLI_OK;
        } else if (check_args(c, args, n_args) && cli_parse_rest(&own) &&
                   cli_parse_rest(&p->sets[0])) {
            cli_run run = {globals, own.values, args, n_args};
            code = c->run(&run);
        }
    }
    code = cli_close_stdout(code);
    cli_opts_fini(&own);
    free(own.values);
    free(args);
    cli_set_who("segmenter");
    free(who);
    return code;
}

static void hide_passwords(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        cli_hide_password(argv[i]);
    }
    const char *url = getenv("SEGMENTER_URL");
    if (url) {
        cli_hide_password(url);
    }
}

int main(int argc, char **argv) {
    /* A reader that went away is a failed write, with a message and an exit code. */
    signal(SIGPIPE, SIG_IGN);
    hide_passwords(argc, argv);

    cli_globals globals = {0};
    cli_parser parser = {.argv = argv, .argc = argc, .next = 1, .n_sets = 1};
    parser.sets[0] = (cli_opt_set){global_opts, CLI_COUNT(global_opts), &globals};
    target found;
    int code = CLI_USAGE;
    if (parse_target(&parser, &globals, &found)) {
        if (found.command) {
            code = run_command(&parser, &globals, found.command);
        } else if (globals.help) {
            help_all(found.family);
            code = cli_close_stdout(CLI_OK);
        } else {
            printf("segmenter %s\n", seg_version());
            code = cli_close_stdout(CLI_OK);
        }
    }
    cli_forget_passwords();
    return code;
}
