/* completion.c - segmenter completion: scripts for shells, written from the tables.
 *
 * What is completed: commands, options, the words of options that take one of some, and the names of
 * streams and groups, which are asked of the server (two seconds at most) that the command line
 * names so far. */
#include <stdlib.h>
#include <string.h>

#include "listing.h"

/* ---- What an option or argument takes -------------------------------------------------------- */

typedef enum taken {
    TAKES_NOTHING, /* that could be completed */
    TAKES_STREAM,
    TAKES_GROUP,
    TAKES_CONTEXT,
    TAKES_FILE,
    TAKES_CHOICE,
    TAKES_COLUMN
} taken;

static bool begins(const char *text, const char *word) {
    size_t len = strlen(word);
    return strncmp(text, word, len) == 0 && !(text[len] >= 'A' && text[len] <= 'Z');
}

static taken taken_by(const cli_opt *o) {
    if (o->type == CLI_CHOICE) {
        return TAKES_CHOICE;
    }
    if (!o->arg) {
        return TAKES_NOTHING;
    }
    return strcmp(o->name, "context") == 0                               ? TAKES_CONTEXT
           : strcmp(o->name, "columns") == 0 || !strcmp(o->name, "sort") ? TAKES_COLUMN
           : begins(o->arg, "STREAM")                                    ? TAKES_STREAM
           : begins(o->arg, "GROUP")                                     ? TAKES_GROUP
           : begins(o->arg, "FILE") || begins(o->arg, "DIR") || begins(o->arg, "PROGRAM")
               ? TAKES_FILE
               : TAKES_NOTHING;
}

/* The command's first argument. */
static taken first_argument(const cli_command *c) {
    return cli_in_family(c, "context")                            ? TAKES_CONTEXT
           : begins(c->args, "NAME") || begins(c->args, "STREAM") ? TAKES_STREAM
           : begins(c->args, "GROUP")                             ? TAKES_GROUP
           : strchr(c->args, '|')                                 ? TAKES_CHOICE
                                                                  : TAKES_NOTHING;
}

/* "a|b|c" with `between` for the bars. */
static void put_choices(const char *words, const char *between) {
    for (; *words; words++) {
        if (*words == '|') {
            fputs(between, stdout);
        } else {
            putchar(*words);
        }
    }
}

static void put_columns(const cli_command *c, const char *between) {
    for (size_t i = 0; i < c->n_columns; i++) {
        printf("%s%s", i ? between : "", c->columns[i].name);
    }
}

typedef void option_fn(const cli_command *c, const cli_opt *o);

/* The options of a command, or the global ones where `c` is NULL. */
static void each_option(const cli_command *c, option_fn *fn) {
    const cli_opt *opts = c ? c->opts : cli_global_opts;
    for (size_t i = 0; i < (c ? c->n_opts : cli_n_global_opts); i++) {
        fn(c, &opts[i]);
    }
    for (size_t i = 0; c && c->columns && i < cli_n_output_opts; i++) {
        fn(c, &cli_output_opts[i]);
    }
}

typedef void command_fn(const cli_command *c);

static void each_command(command_fn *fn) {
    for (size_t i = 0; i < cli_n_commands; i++) {
        if (!cli_commands[i]->hidden) {
            fn(cli_commands[i]);
        }
    }
}

/* The first words that there are; of a family the second ones. */
static void put_words(const char *family) {
    for (size_t i = 0; !family && i < cli_n_families; i++) {
        printf("%s ", cli_families[i].name);
    }
    for (size_t i = 0; i < cli_n_commands; i++) {
        const cli_command *c = cli_commands[i];
        if (!c->hidden && (family ? cli_in_family(c, family) : !strchr(c->name, ' '))) {
            printf("%s ", family ? c->name + strlen(family) + 1 : c->name);
        }
    }
}

static void put_families(void) {
    for (size_t i = 0; i < cli_n_families; i++) {
        printf("%s%s", i ? "|" : "", cli_families[i].name);
    }
}

/* ---- bash ------------------------------------------------------------------------------------ */

static void bash_option(const cli_command *c, const cli_opt *o) {
    (void)c;
    printf(" --%s", o->name);
    if (o->letter) {
        printf(" -%c", o->letter);
    }
}

static void bash_pattern(const cli_opt *o) {
    if (o->letter) {
        printf("-%c|", o->letter);
    }
    printf("--%s", o->name);
}

static void bash_taker(const cli_command *c, const cli_opt *o) {
    (void)c;
    if (o->arg) {
        putchar('|');
        bash_pattern(o);
    }
}

static void bash_value(taken what, const cli_command *c, const char *words) {
    switch (what) {
    case TAKES_STREAM:
        fputs("_segmenter_words \"$(_segmenter_ask stream)\"", stdout);
        break;
    case TAKES_GROUP:
        fputs("_segmenter_words \"$(_segmenter_ask group)\"", stdout);
        break;
    case TAKES_CONTEXT:
        fputs("_segmenter_words \"$(_segmenter_ask context)\"", stdout);
        break;
    case TAKES_FILE:
        fputs("COMPREPLY=($(compgen -f -- \"$cur\"))", stdout);
        break;
    case TAKES_CHOICE:
        fputs("_segmenter_words \"", stdout);
        put_choices(words, " ");
        putchar('"');
        break;
    case TAKES_COLUMN:
        fputs("_segmenter_words \"", stdout);
        if (c) {
            put_columns(c, " ");
        }
        putchar('"');
        break;
    case TAKES_NOTHING:
        fputs(":", stdout);
        break;
    }
}

static void bash_option_value(const cli_command *c, const cli_opt *o) {
    if (!o->arg) {
        return;
    }
    if (c) {
        printf("    '%s '", c->name);
    } else {
        fputs("    *", stdout);
    }
    if (o->letter) {
        printf("-%c|", o->letter);
        if (c) {
            printf("'%s '", c->name);
        } else {
            putchar('*');
        }
    }
    printf("--%s) ", o->name);
    bash_value(taken_by(o), c, o->arg);
    fputs(" ; return ;;\n", stdout);
}

static void bash_command(const cli_command *c) {
    printf("    '%s') opts='", c->name);
    each_option(c, bash_option);
    fputs("' ; [[ $cur == -* ]] || ", stdout);
    bash_value(first_argument(c), c, c->args);
    fputs(" ;;\n", stdout);
}

static void bash_values(const cli_command *c) {
    each_option(c, bash_option_value);
}

static void print_bash(void) {
    fputs(
        "# bash completion for segmenter: written by 'segmenter completion bash'\n"
        "_segmenter_ask() { # stream|group|context: the names that there are\n"
        "    timeout 2 segmenter \"${globals[@]}\" \"$1\" ls --csv --columns \"$1\" 2>/dev/null |\n"
        "        tail -n +2 | sort -u\n"
        "}\n"
        "_segmenter_words() {\n"
        "    COMPREPLY=($(compgen -W \"$1\" -- \"$cur\"))\n"
        "}\n"
        "_segmenter() {\n"
        "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
        "    local name= family= opts= word i\n"
        "    local -a globals=()\n"
        "    COMPREPLY=()\n"
        "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
        "        word=${COMP_WORDS[i]}\n"
        "        case $word in\n"
        "        ''",
        stdout);
    each_option(NULL, bash_taker);
    fputs(") globals+=(\"$word\" \"${COMP_WORDS[i+1]}\") ; i=$((i + 1)) ;;\n"
          "        -*) ;;\n"
          "        *)\n"
          "            if [ -n \"$name\" ]; then break\n"
          "            elif [ -n \"$family\" ]; then name=\"$family $word\"\n"
          "            else case $word in ",
          stdout);
    put_families();
    fputs(") family=$word ;; *) name=$word ;; esac; fi ;;\n"
          "        esac\n"
          "    done\n"
          "    case \"$name $prev\" in\n",
          stdout);
    each_command(bash_values);
    each_option(NULL, bash_option_value);
    fputs("    esac\n"
          "    case $name in\n",
          stdout);
    each_command(bash_command);
    fputs("    '') case $family in\n        '') _segmenter_words '", stdout);
    put_words(NULL);
    fputs("' ;;\n", stdout);
    for (size_t i = 0; i < cli_n_families; i++) {
        printf("        %s) _segmenter_words '", cli_families[i].name);
        put_words(cli_families[i].name);
        fputs("' ;;\n", stdout);
    }
    fputs("        esac ;;\n    esac\n    [[ $cur != -* ]] || _segmenter_words \"$opts", stdout);
    each_option(NULL, bash_option);
    fputs("\"\n}\ncomplete -F _segmenter segmenter\n", stdout);
}

/* ---- zsh ------------------------------------------------------------------------------------- */

/* Within single quotes, in what _arguments reads: brackets and colons are its own. */
static void zsh_text(const char *text) {
    for (; *text; text++) {
        if (*text == '\'') {
            fputs("'\\''", stdout);
        } else {
            if (strchr("[]:\\", *text)) {
                putchar('\\');
            }
            putchar(*text);
        }
    }
}

static void zsh_value(const cli_command *c, taken what, const char *name, const char *words) {
    putchar(':');
    zsh_text(name);
    putchar(':');
    switch (what) {
    case TAKES_STREAM:
        fputs("{_segmenter_ask stream}", stdout);
        break;
    case TAKES_GROUP:
        fputs("{_segmenter_ask group}", stdout);
        break;
    case TAKES_CONTEXT:
        fputs("{_segmenter_ask context}", stdout);
        break;
    case TAKES_FILE:
        fputs("_files", stdout);
        break;
    case TAKES_CHOICE:
        putchar('(');
        put_choices(words, " ");
        putchar(')');
        break;
    case TAKES_COLUMN:
        putchar('(');
        if (c) {
            put_columns(c, " ");
        }
        putchar(')');
        break;
    case TAKES_NOTHING:
        break;
    }
}

static void zsh_option(const cli_command *c, const cli_opt *o) {
    if (o->letter) {
        printf("    '(-%c --%s)'{-%c,--%s}'[", o->letter, o->name, o->letter, o->name);
    } else {
        printf("    '--%s[", o->name);
    }
    zsh_text(o->text);
    putchar(']');
    if (o->arg) {
        zsh_value(c, taken_by(o), o->arg, o->arg);
    }
    fputs("'\n", stdout);
}

static void zsh_command(const cli_command *c) {
    printf("  ('%s') opts=(\n", c->name);
    each_option(c, zsh_option);
    fputs("    '*", stdout);
    zsh_value(c, first_argument(c), c->args[0] ? c->args : " ", c->args);
    fputs("' ) ;;\n", stdout);
}

static void zsh_list(const char *family) {
    for (size_t i = 0; !family && i < cli_n_families; i++) {
        printf(" '%s:", cli_families[i].name);
        zsh_text(cli_families[i].brief);
        putchar('\'');
    }
    for (size_t i = 0; i < cli_n_commands; i++) {
        const cli_command *c = cli_commands[i];
        if (!c->hidden && (family ? cli_in_family(c, family) : !strchr(c->name, ' '))) {
            printf(" '%s:", family ? c->name + strlen(family) + 1 : c->name);
            zsh_text(c->brief);
            putchar('\'');
        }
    }
}

static void print_zsh(void) {
    fputs("#compdef segmenter\n"
          "# zsh completion for segmenter: written by 'segmenter completion zsh'\n"
          "_segmenter_ask() { # stream|group|context: the names that there are\n"
          "  local -a names\n"
          "  names=(${(f)\"$(timeout 2 segmenter $globals $1 ls --csv --columns $1 2>/dev/null |\n"
          "    tail -n +2 | sort -u)\"})\n"
          "  compadd -a names\n"
          "}\n"
          "_segmenter() {\n"
          "  local name family word\n"
          "  local -a globals opts list common\n"
          "  integer i at=1\n"
          "  for ((i = 2; i < CURRENT; i++)); do\n"
          "    word=$words[i]\n"
          "    case $word in\n"
          "    (''",
          stdout);
    each_option(NULL, bash_taker);
    fputs(") globals+=($word $words[i+1]); ((i++)) ;;\n"
          "    (-*) ;;\n"
          "    (*) if [[ -n $name ]]; then break\n"
          "      elif [[ -n $family ]]; then name=\"$family $word\"; at=$i\n"
          "      else case $word in (",
          stdout);
    put_families();
    fputs(") family=$word ;; (*) name=$word; at=$i ;; esac; fi ;;\n"
          "    esac\n"
          "  done\n"
          "  common=(\n",
          stdout);
    each_option(NULL, zsh_option);
    fputs("  )\n"
          "  if [[ -z $name && $PREFIX != -* ]]; then\n"
          "    case $family in\n"
          "    ('') list=(",
          stdout);
    zsh_list(NULL);
    fputs(" ) ;;\n", stdout);
    for (size_t i = 0; i < cli_n_families; i++) {
        printf("    (%s) list=(", cli_families[i].name);
        zsh_list(cli_families[i].name);
        fputs(" ) ;;\n", stdout);
    }
    fputs("    esac\n"
          "    _describe command list\n"
          "    return\n"
          "  fi\n"
          "  case $name in\n",
          stdout);
    each_command(zsh_command);
    fputs("  esac\n"
          "  words=($words[1] $words[at+1,-1])\n"
          "  ((CURRENT -= at - 1))\n"
          "  _arguments -s -S $common $opts\n"
          "}\n"
          "_segmenter \"$@\"\n",
          stdout);
}

/* ---- fish ------------------------------------------------------------------------------------ */

static void fish_quoted(const char *text) {
    putchar('\'');
    for (; *text; text++) {
        if (*text == '\'' || *text == '\\') {
            putchar('\\');
        }
        putchar(*text);
    }
    putchar('\'');
}

static void fish_value(const cli_command *c, taken what, const char *words) {
    switch (what) {
    case TAKES_STREAM:
        fputs(" -a '(__segmenter_ask stream)'", stdout);
        break;
    case TAKES_GROUP:
        fputs(" -a '(__segmenter_ask group)'", stdout);
        break;
    case TAKES_CONTEXT:
        fputs(" -a '(__segmenter_ask context)'", stdout);
        break;
    case TAKES_CHOICE:
        fputs(" -a '", stdout);
        put_choices(words, " ");
        putchar('\'');
        break;
    case TAKES_COLUMN:
        fputs(" -a '", stdout);
        if (c) {
            put_columns(c, " ");
        }
        putchar('\'');
        break;
    case TAKES_FILE:
    case TAKES_NOTHING:
        break;
    }
}

static void fish_option(const cli_command *c, const cli_opt *o) {
    fputs("complete -c segmenter", stdout);
    if (c) {
        printf(" -n '__segmenter_is %s'", c->name);
    }
    if (o->letter) {
        printf(" -s %c", o->letter);
    }
    printf(" -l %s", o->name);
    if (o->arg) {
        fputs(taken_by(o) == TAKES_FILE ? " -r -F" : " -x", stdout);
        fish_value(c, taken_by(o), o->arg);
    }
    fputs(" -d ", stdout);
    fish_quoted(o->text);
    putchar('\n');
}

static void fish_command(const cli_command *c) {
    const char *space = strchr(c->name, ' ');
    if (space) {
        printf("complete -c segmenter -n '__segmenter_is %.*s' -a %s -d ", (int)(space - c->name),
               c->name, space + 1);
    } else {
        printf("complete -c segmenter -n '__segmenter_is' -a %s -d ", c->name);
    }
    fish_quoted(c->brief);
    putchar('\n');
    taken what = first_argument(c);
    if (what != TAKES_NOTHING) {
        printf("complete -c segmenter -n '__segmenter_is %s'", c->name);
        fish_value(c, what, c->args);
        putchar('\n');
    }
    each_option(c, fish_option);
}

static void fish_taker(const cli_command *c, const cli_opt *o) {
    (void)c;
    if (o->arg && o->letter) {
        printf(" -%c", o->letter);
    }
    if (o->arg) {
        printf(" --%s", o->name);
    }
}

static void print_fish(void) {
    fputs("# fish completion for segmenter: written by 'segmenter completion fish'\n"
          "function __segmenter_plain # the words that are no options, and then the options with "
          "values\n"
          "    set -g __segmenter_globals\n"
          "    set -l words (commandline -opc)[2..]\n"
          "    set -l skip 0\n"
          "    for word in $words\n"
          "        if test $skip = 1\n"
          "            set -ga __segmenter_globals $word\n"
          "            set skip 0\n"
          "        else if contains -- $word",
          stdout);
    each_option(NULL, fish_taker);
    fputs("\n"
          "            set -ga __segmenter_globals $word\n"
          "            set skip 1\n"
          "        else if not string match -q -- '-*' $word\n"
          "            echo $word\n"
          "        end\n"
          "    end\n"
          "end\n"
          "function __segmenter_is # WORD...: are these the first words?\n"
          "    set -l words (__segmenter_plain)\n"
          "    set -l n (count $argv)\n"
          "    set -l family ",
          stdout);
    for (size_t i = 0; i < cli_n_families; i++) {
        printf("%s ", cli_families[i].name);
    }
    fputs("\n"
          "    if test $n = 0 -o \\( $n = 1 -a (contains -- \"$argv[1]\" $family; and echo 1; or "
          "echo 0) = 1 \\)\n"
          "        test (count $words) = $n; or return 1\n"
          "    end\n"
          "    test (count $words) -ge $n; or return 1\n"
          "    test $n = 0; or test \"$words[1..$n]\" = \"$argv\"\n"
          "end\n"
          "function __segmenter_ask # stream|group|context: the names that there are\n"
          "    __segmenter_plain >/dev/null\n"
          "    timeout 2 segmenter $__segmenter_globals $argv[1] ls --csv --columns $argv[1] "
          "2>/dev/null |\n"
          "        tail -n +2 | sort -u\n"
          "end\n"
          "complete -c segmenter -f\n",
          stdout);
    for (size_t i = 0; i < cli_n_families; i++) {
        printf("complete -c segmenter -n '__segmenter_is' -a %s -d ", cli_families[i].name);
        fish_quoted(cli_families[i].brief);
        putchar('\n');
    }
    each_option(NULL, fish_option);
    each_command(fish_command);
}

/* ---- The command ----------------------------------------------------------------------------- */

static int run_completion(const cli_run *run) {
    if (strcmp(run->args[0], "bash") == 0) {
        print_bash();
    } else if (strcmp(run->args[0], "zsh") == 0) {
        print_zsh();
    } else if (strcmp(run->args[0], "fish") == 0) {
        print_fish();
    } else {
        return cli_usage("there is bash, zsh and fish, not '%s'", run->args[0]);
    }
    return CLI_OK;
}

const cli_command cli_completion = {
    .name = "completion",
    .args = "bash|zsh|fish",
    .min_args = 1,
    .max_args = 1,
    .brief = "Print a shell's completion script",
    .about =
        "Print the script that completes commands, options and the names of streams and groups "
        "in a shell. Packages install it; without one:\n"
        "  source <(segmenter completion bash)\n"
        "  segmenter completion zsh > \"${fpath[1]}/_segmenter\"\n"
        "  segmenter completion fish > ~/.config/fish/completions/segmenter.fish",
    .local = true,
    .run = run_completion,
};
