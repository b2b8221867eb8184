/* help.c - what --help prints, from the tables. */
#include <stdlib.h>
#include <string.h>

#include "listing.h"

static void exit_codes(void) {
    puts("\nExit codes:");
#define X(name, code, text) printf("  %d  %s\n", code, text);
    CLI_EXIT_MAP(X)
#undef X
}

/* Of probes. */
static void probe_codes(void) {
    puts("\nExit codes, those of monitoring plugins:");
#define X(name, code, word, text)                                                                  \
    printf("  %d  %-9s ", code, word);                                                             \
    cli_wrap(stdout, text, 15);
    CLI_PROBE_MAP(X)
#undef X
}

/* The commands of `family`, or all where it is NULL. */
static void commands(const char *family) {
    for (size_t i = 0; i < cli_n_commands; i++) {
        const cli_command *c = cli_commands[i];
        if (c->hidden || (family && !cli_in_family(c, family))) {
            continue;
        }
        char *left = cli_format("%s%s%s", c->name, c->args[0] ? " " : "", c->args);
        if (strlen(left) < 28) {
            printf("  %-28s%s\n", left, c->brief);
        } else {
            printf("  %s\n  %28s%s\n", left, "", c->brief);
        }
        free(left);
    }
}

void cli_help_all(const char *family) {
    if (family) {
        printf("Usage: segmenter %s COMMAND [OPTION...]\n\nCommands:\n", family);
    } else {
        puts("Usage: segmenter COMMAND [OPTION...]\n\n"
             "Partitioned streams and consumer groups on Redis and Valkey.\n\nCommands:");
    }
    commands(family);
    puts("\nGlobal options, before or after the command:");
    cli_opts_help(stdout, cli_global_opts, cli_n_global_opts);
    if (family && cli_has_probes(family)) {
        probe_codes();
    } else {
        exit_codes();
    }
    const char *first = family ? family : "", *blank = family ? " " : "";
    printf("\n'segmenter help %s%sCOMMAND' describes one command, and so does 'segmenter "
           "%s%sCOMMAND\n--help'.\n",
           first, blank, first, blank);
}

void cli_help_command(const cli_command *c) {
    printf("Usage: segmenter %s%s%s%s\n\n", c->name, c->n_opts || c->columns ? " [OPTION...]" : "",
           c->args[0] ? " " : "", c->args);
    cli_wrap(stdout, c->about, 0);
    if (c->n_opts || c->columns) {
        puts("\nOptions:");
        cli_opts_help(stdout, c->opts, c->n_opts);
    }
    if (c->columns) {
        cli_opts_help(stdout, cli_output_opts, cli_n_output_opts);
        puts("\nColumns:");
        cli_columns_help(stdout, c->columns, c->n_columns);
    }
    if (c->probe) {
        probe_codes();
    }
    printf("\nGlobal options: -u URL, -N NAME, -v, -h; 'segmenter --help' describes them%s.\n",
           c->probe ? "" : " and the exit codes");
}
