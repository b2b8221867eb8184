/* man.c - segmenter man: the command's man pages in mdoc(7), written from the tables that also give
 * the help. Run by the build. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "listing.h"

enum { LINE_MAX_BYTES = 76 };

typedef struct man_opts {
    const char *dir;
} man_opts;

static const cli_opt table[] = {
    {.name = "dir",
     .type = CLI_TEXT,
     .arg = "DIR",
     .at = offsetof(man_opts, dir),
     .required = true,
     .text = "write the pages into DIR"},
};

/* ---- mdoc ------------------------------------------------------------------------------------ */

/* Characters that roff would take for its own. `start`: of an input line. */
static void put_escaped(FILE *out, const char *text, size_t len, bool start) {
    if (start && len && (text[0] == '.' || text[0] == '\'')) {
        fputs("\\&", out);
    }
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\\') {
            fputs("\\e", out);
        } else {
            fputc(text[i], out);
        }
    }
}

static bool ends_sentence(const char *word, size_t len) {
    while (len && strchr(")'\"", word[len - 1])) {
        len--;
    }
    return len > 1 && strchr(".!?", word[len - 1]) && word[len - 2] != '.';
}

/* One paragraph: a sentence begins on a line of its own, as roff likes it. */
static void put_sentences(FILE *out, const char *text, size_t len) {
    size_t column = 0;
    for (size_t i = 0; i < len;) {
        size_t word = 0;
        while (i + word < len && text[i + word] != ' ') {
            word++;
        }
        if (column > 0 && column + 1 + word > LINE_MAX_BYTES) {
            fputc('\n', out);
            column = 0;
        } else if (column > 0) {
            fputc(' ', out);
            column++;
        }
        put_escaped(out, text + i, word, column == 0);
        column += word;
        bool end = ends_sentence(text + i, word);
        i += word;
        while (i < len && text[i] == ' ') {
            i++;
        }
        if (end && i < len) {
            fputc('\n', out);
            column = 0;
        }
    }
    fputc('\n', out);
}

/* Text as the help has it: lines that begin with a space are kept as they are. */
static void put_text(FILE *out, const char *text) {
    bool literal = false, gap = false;
    while (*text) {
        size_t len = strcspn(text, "\n");
        bool kept = text[0] == ' ';
        if (kept && !literal) {
            fputs(".Bd -literal -offset indent\n", out);
        } else if (!kept && literal) {
            fputs(".Ed\n", out);
        }
        literal = kept;
        if (kept) {
            put_escaped(out, text + 2, len > 2 ? len - 2 : 0, true);
            fputc('\n', out);
        } else if (len == 0) {
            gap = true;
        } else {
            if (gap) {
                fputs(".Pp\n", out);
            }
            gap = false;
            put_sentences(out, text, len);
        }
        text += len + (text[len] == '\n');
    }
    if (literal) {
        fputs(".Ed\n", out);
    }
}

static void put_upper(FILE *out, const char *text) {
    for (; *text; text++) {
        fputc(*text == ' ' ? '-' : toupper((unsigned char)*text), out);
    }
}

/* As a file is called: "segmenter-stream-create". */
static char *page_name(const char *command) {
    char *name = command ? cli_format("segmenter-%s", command) : cli_format("segmenter");
    for (char *c = name; *c; c++) {
        *c = *c == ' ' ? '-' : *c;
    }
    return name;
}

static void put_date(FILE *out) {
    const char *epoch = getenv("SOURCE_DATE_EPOCH"); /* reproducible-builds.org */
    time_t when = epoch ? (time_t)strtoll(epoch, NULL, 10) : time(NULL);
    struct tm utc;
    char text[64];
    gmtime_r(&when, &utc);
    strftime(text, sizeof text, "%B", &utc);
    fprintf(out, ".Dd %s %d, %d\n", text, utc.tm_mday, utc.tm_year + 1900);
}

static void put_head(FILE *out, const char *name, const char *brief) {
    put_date(out);
    fputs(".Dt ", out);
    put_upper(out, name);
    fprintf(out, " 1\n.Os\n.Sh NAME\n.Nm %s\n.Nd ", name);
    fputc(tolower((unsigned char)brief[0]), out);
    fprintf(out, "%s\n.Sh SYNOPSIS\n", brief + 1);
}

/* ---- The parts of a page --------------------------------------------------------------------- */

static void put_options(FILE *out, const cli_opt *opts, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const cli_opt *o = &opts[i];
        fputs(".It ", out);
        if (o->letter) {
            fprintf(out, "Fl %c , ", o->letter);
        }
        fprintf(out, "Fl -%s", o->name);
        if (o->arg) {
            fprintf(out, " Ar %s", o->arg);
        }
        fputc('\n', out);
        char *limits = cli_opt_limits(o);
        char *text = cli_format("%s%s", o->text, limits);
        put_sentences(out, text, strlen(text));
        free(text);
        free(limits);
    }
}

static void put_columns(FILE *out, const cli_command *c) {
    fputs(".Sh COLUMNS\n.Bl -tag -width Ds\n", out);
    for (size_t i = 0; i < c->n_columns; i++) {
        char *text = cli_column_help(&c->columns[i]);
        fprintf(out, ".It Cm %s\n", c->columns[i].name);
        put_sentences(out, text, strlen(text));
        free(text);
    }
    fputs(".El\n", out);
}

static void put_environment(FILE *out, const cli_opt *opts, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (opts[i].env) {
            fprintf(out, ".It Ev %s\nstands in for\n.Fl -%s .\n", opts[i].env, opts[i].name);
        }
    }
}

static bool has_environment(const cli_command *c) {
    for (size_t i = 0; i < c->n_opts; i++) {
        if (c->opts[i].env) {
            return true;
        }
    }
    return false;
}

static void put_exit_codes(FILE *out) {
    fputs(".Sh EXIT STATUS\n.Bl -tag -width Ds\n", out);
#define X(name, code, text) fprintf(out, ".It %d\n%s\n", code, text);
    CLI_EXIT_MAP(X)
#undef X
    fputs(".El\n", out);
}

static void put_probe_codes(FILE *out) {
    static const struct {
        int code;
        const char *text;
    } codes[] = {
#define X(name, code, word, text) {code, word ": " text "."},
        CLI_PROBE_MAP(X)
#undef X
    };
    fputs(".Sh EXIT STATUS\nThose of monitoring plugins:\n.Bl -tag -width Ds\n", out);
    for (size_t i = 0; i < CLI_COUNT(codes); i++) {
        fprintf(out, ".It %d\n", codes[i].code);
        put_sentences(out, codes[i].text, strlen(codes[i].text));
    }
    fputs(".El\n", out);
}

static void put_command(FILE *out, const cli_command *c) {
    char *name = page_name(c->name);
    put_head(out, name, c->brief);
    fprintf(out, ".Nm segmenter %s\n", c->name);
    if (c->n_opts || c->columns) {
        fputs(".Op Ar option ...\n", out);
    }
    if (c->args[0]) {
        fprintf(out, ".Ar %s\n", c->args);
    }
    fputs(".Sh DESCRIPTION\n", out);
    put_text(out, c->about);
    fputs(".Pp\nThe options of all commands are described in\n.Xr segmenter 1 .\n", out);
    if (c->n_opts || c->columns) {
        fputs(".Bl -tag -width Ds\n", out);
        put_options(out, c->opts, c->n_opts);
        if (c->columns) {
            put_options(out, cli_output_opts, cli_n_output_opts);
        }
        fputs(".El\n", out);
    }
    if (c->columns) {
        put_columns(out, c);
    }
    if (has_environment(c)) {
        fputs(".Sh ENVIRONMENT\n.Bl -tag -width Ds\n", out);
        put_environment(out, c->opts, c->n_opts);
        fputs(".El\n", out);
    }
    if (c->probe) {
        put_probe_codes(out);
    } else {
        fputs(".Sh EXIT STATUS\nSee\n.Xr segmenter 1 .\n", out);
    }
    fputs(".Sh SEE ALSO\n.Xr segmenter 1\n", out);
    free(name);
}

/* The commands of a family (or those of none), each with its page. */
static void put_list(FILE *out, const char *family) {
    fputs(".Bl -tag -width Ds\n", out);
    for (size_t i = 0; i < cli_n_commands; i++) {
        const cli_command *c = cli_commands[i];
        if (!c->hidden && (family ? cli_in_family(c, family) : !strchr(c->name, ' '))) {
            char *name = page_name(c->name);
            fprintf(out, ".It Xr %s 1\n%s.\n", name, c->brief);
            free(name);
        }
    }
    fputs(".El\n", out);
}

static void put_main(FILE *out) {
    put_head(out, "segmenter", "Partitioned streams and consumer groups on Redis and Valkey");
    fputs(".Nm\n.Op Ar option ...\n.Ar command\n.Op Ar argument ...\n.Sh DESCRIPTION\n", out);
    put_text(
        out,
        "A stream is split into partitions. The key of a message picks its partition, so the "
        "messages of one key stay in order. Each consumer group gives every partition to "
        "exactly one live consumer, which handles its messages in order, through joins, leaves "
        "and crashes.\n\nThe first steps, on a private server:\n"
        "  segmenter server --dir ./try &\n"
        "  export SEGMENTER_URL=unix://$PWD/try/redis.sock\n"
        "  segmenter stream create orders -p 2\n"
        "  printf 'ann:tea\\neve:milk\\n' | segmenter produce orders -K :\n"
        "  segmenter consume orders -g kitchen -e -f '%k wants %v\\n'\n");
    fputs(".Pp\nThe options of all commands stand before or after the command:\n"
          ".Bl -tag -width Ds\n",
          out);
    put_options(out, cli_global_opts, cli_n_global_opts);
    fputs(".El\n.Sh COMMANDS\n", out);
    put_list(out, NULL);
    for (size_t i = 0; i < cli_n_families; i++) {
        fprintf(out, ".Ss %s: %c%s\n", cli_families[i].name,
                tolower((unsigned char)cli_families[i].brief[0]), cli_families[i].brief + 1);
        put_list(out, cli_families[i].name);
    }
    fputs(".Sh ENVIRONMENT\n.Bl -tag -width Ds\n", out);
    put_environment(out, cli_global_opts, cli_n_global_opts);
    fputs(".It Ev NO_COLOR\nset and not empty: no colours.\n.El\n", out);
    fputs(".Sh FILES\n.Bl -tag -width Ds\n"
          ".It Pa ${XDG_CONFIG_HOME:-~/.config}/segmenter/contexts.json\n"
          "servers that are kept by name; see\n.Xr segmenter-context-add 1 .\n.El\n",
          out);
    put_exit_codes(out);
    fputs(".Sh DIAGNOSTICS\nData goes to the standard output, everything else to the standard "
          "error,\n"
          "one line each.\nWith\n.Fl -json\nan error is an object:\n"
          ".Dl {\\(dqerror\\(dq:{\\(dqcode\\(dq:\\(dqENOENT\\(dq,\\(dqmessage\\(dq:...,"
          "\\(dqhint\\(dq:...}}\n"
          ".Sh SEE ALSO\n.Xr libsegmenter 3 ,\n.Xr segmenter-protocol 7\n",
          out);
}

/* ---- The command ----------------------------------------------------------------------------- */

/* `c`: NULL for the page of all. */
static int write_page(const char *dir, const cli_command *c) {
    char *name = page_name(c ? c->name : NULL);
    char *path = cli_format("%s/%s.1", dir, name);
    FILE *out = fopen(path, "we");
    int code = CLI_OK;
    if (out) {
        if (c) {
            put_command(out, c);
        } else {
            put_main(out);
        }
    }
    bool failed = !out || ferror(out);
    if (out && fclose(out) != 0) {
        failed = true;
    }
    if (failed) {
        code = cli_failure("cannot write '%s': %s", path, strerror(errno));
    }
    free(path);
    free(name);
    return code;
}

static int run_man(const cli_run *run) {
    const man_opts *o = run->opts;
    if (mkdir(o->dir, 0777) != 0 && errno != EEXIST) {
        return cli_failure("cannot create the directory '%s': %s", o->dir, strerror(errno));
    }
    int code = write_page(o->dir, NULL);
    for (size_t i = 0; i < cli_n_commands && code == CLI_OK; i++) {
        if (!cli_commands[i]->hidden) {
            code = write_page(o->dir, cli_commands[i]);
        }
    }
    return code;
}

const cli_command cli_man = {
    .name = "man",
    .args = "",
    .brief = "Write the man pages",
    .about = "Write the man pages of the command, in mdoc(7).",
    .opts = table,
    .n_opts = CLI_COUNT(table),
    .opts_size = sizeof(man_opts),
    .hidden = true,
    .local = true,
    .run = run_man,
};
