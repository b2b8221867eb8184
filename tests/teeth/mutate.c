/* mutate.c - the scripts, each with one check less.
 *
 *     teeth_mutate SCRIPTS                  a line for each mutant: its name, tab, what it changes
 *     teeth_mutate SCRIPTS NAME DIRECTORY   writes the bodies of the scripts that NAME changes
 *
 * SCRIPTS is src/redis/scripts. A name is file:line:kind, and :2 and so on behind it for more of a
 * kind in a line; what it changes does not tell the line, so that it stays the same when lines
 * move, and has " #2" and so on behind it for more of the same in a file.
 *
 * Mutants are made of the bodies as they are embedded. Those have the lines of their files, but for
 * A_B, which is A with B in the place of one line: a mutant of A changes both A and A_B. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lua.h"
#include "redis/script_text.h"

enum { MUTANTS_MAX = 4096, BODIES_MAX = 2, SHOWN_MAX = 160 };

/* A place in one body. */
typedef struct place {
    const struct sg_script_text *script;
    size_t from, to;
} place;

typedef struct mutant {
    char file[32], name[128], change[2 * SHOWN_MAX + 64], put[4096];
    int line;
    size_t n;
    place places[BODIES_MAX];
} mutant;

static mutant *mutants;
static size_t mutants_count;

/* The body that is being read, and where the lines of its part stand in it. */
static struct {
    const struct sg_script_text *script;
    char file[32], part[32];
    int part_line, part_lines; /* the line that it stands for; 0: it has none */
} current;

_Noreturn static void fail(const char *what, const char *name) {
    fprintf(stderr, "teeth_mutate: %s: \"%s\"\n", what, name);
    exit(2);
}

/* ---- where a line comes from ----------------------------------------------------------------- */

static FILE *open_script(const char *directory, const char *name) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s.lua", directory, name);
    return fopen(path, "r");
}

static void look_at_parts(const char *directory, const struct sg_script_text *t) {
    char line[1024], mark[64];
    memset(&current, 0, sizeof current);
    current.script = t;
    snprintf(current.file, sizeof current.file, "%s", t->name);
    FILE *f = open_script(directory, t->name);
    if (f != NULL) {
        fclose(f);
        return;
    }
    char *last = strrchr(current.file, '_');
    if (last == NULL) {
        fail("no file of it", t->name);
    }
    snprintf(current.part, sizeof current.part, "%s", last + 1);
    *last = '\0';
    snprintf(mark, sizeof mark, "--%s: all\n", current.part);
    f = open_script(directory, current.file);
    FILE *part = open_script(directory, current.part);
    if (f == NULL || part == NULL) {
        fail("no files of its parts", t->name);
    }
    for (int i = 1; fgets(line, sizeof line, f) != NULL; i++) {
        if (strcmp(line + strspn(line, " "), mark) == 0) {
            current.part_line = i;
        }
    }
    while (fgets(line, sizeof line, part) != NULL) {
        current.part_lines++;
    }
    fclose(part);
    fclose(f);
}

static void locate(size_t at, mutant *m) {
    int line = 1;
    for (size_t i = 0; i < at; i++) {
        line += current.script->body[i] == '\n';
    }
    strcpy(m->file, current.file);
    m->line = line;
    if (current.part_line > 0 && line >= current.part_line) {
        if (line < current.part_line + current.part_lines) {
            strcpy(m->file, current.part);
            m->line = line - current.part_line + 1;
        } else {
            m->line = line - current.part_lines + 1;
        }
    }
}

/* ---- names ----------------------------------------------------------------------------------- */

/* In one line, and cut where it is long. */
static void shorten(char *out, const char *text, size_t len) {
    size_t n = 0;
    for (size_t i = 0; i < len && n < SHOWN_MAX; i++) {
        char c = text[i] == '\n' ? ' ' : text[i];
        if (c != ' ' || (n > 0 && out[n - 1] != ' ')) {
            out[n++] = c;
        }
    }
    if (n == SHOWN_MAX) {
        memcpy(out + n - 3, "...", 3);
    }
    out[n] = '\0';
}

static mutant *by_name(const char *name) {
    for (size_t i = 0; i < mutants_count; i++) {
        if (strcmp(mutants[i].name, name) == 0) {
            return &mutants[i];
        }
    }
    return NULL;
}

/* Has this body a mutant of that name already? Then it is another one of its kind in the line. */
static bool taken(const char *name) {
    const mutant *m = by_name(name);
    return m != NULL && m->places[m->n - 1].script == current.script;
}

static int same_changes(const mutant *m) {
    int n = 0;
    for (size_t i = 0; i < mutants_count; i++) {
        const char *other = mutants[i].change;
        n += strcmp(mutants[i].file, m->file) == 0 &&
             strncmp(other, m->change, strlen(m->change)) == 0 &&
             (other[strlen(m->change)] == '\0' || strncmp(other + strlen(m->change), " #", 2) == 0);
    }
    return n;
}

static void found(const lua_find *find, void *arg) {
    char before[SHOWN_MAX + 1], after[SHOWN_MAX + 1];
    mutant *m = &mutants[mutants_count];
    (void)arg;
    if (mutants_count == MUTANTS_MAX) {
        fail("too many mutants", current.script->name);
    }
    memset(m, 0, sizeof *m);
    locate(find->from, m);
    snprintf(m->name, sizeof m->name, "%s:%d:%s", m->file, m->line, find->kind);
    for (int i = 2; taken(m->name); i++) {
        snprintf(m->name, sizeof m->name, "%s:%d:%s:%d", m->file, m->line, find->kind, i);
    }
    place at = {current.script, find->from, find->to};
    mutant *known = by_name(m->name);
    if (known != NULL) {
        if (known->n == BODIES_MAX) {
            fail("in too many scripts", m->name);
        }
        known->places[known->n++] = at;
        return;
    }
    shorten(before, current.script->body + find->from, find->to - find->from);
    shorten(after, find->put, strlen(find->put));
    snprintf(m->change, sizeof m->change, "%s: %s -> %s", m->file, before,
             *after ? after : "nothing");
    int n = same_changes(m);
    if (n > 0) {
        size_t len = strlen(m->change);
        snprintf(m->change + len, sizeof m->change - len, " #%d", n + 1);
    }
    strcpy(m->put, find->put);
    m->places[m->n++] = at;
    mutants_count++;
}

/* ---- output ---------------------------------------------------------------------------------- */

static void write_bodies(const mutant *m, const char *directory) {
    char path[1024];
    for (size_t i = 0; i < m->n; i++) {
        const place *at = &m->places[i];
        snprintf(path, sizeof path, "%s/%s", directory, at->script->name);
        FILE *f = fopen(path, "wb");
        if (f == NULL) {
            fail("cannot write it", path);
        }
        fwrite(at->script->body, 1, at->from, f);
        fputs(m->put, f);
        fwrite(at->script->body + at->to, 1, at->script->len - at->to, f);
        if (fclose(f) != 0) {
            fail("cannot write it", path);
        }
    }
}

int main(int argc, char **argv) {
    if (argc != 2 && argc != 4) {
        fprintf(stderr, "usage: %s SCRIPTS [NAME DIRECTORY]\n", argv[0]);
        return 2;
    }
    mutants = calloc(MUTANTS_MAX, sizeof *mutants);
    if (mutants == NULL) {
        fail("no memory", argv[0]);
    }
    for (size_t i = 0; i < sg_script_texts_count; i++) {
        look_at_parts(argv[1], &sg_script_texts[i]);
        lua_read(sg_script_texts[i].name, sg_script_texts[i].body, found, NULL);
    }
    if (argc == 4) {
        const mutant *m = by_name(argv[2]);
        if (m == NULL) {
            fail("no such mutant", argv[2]);
        }
        write_bodies(m, argv[3]);
    }
    for (size_t i = 0; argc == 2 && i < mutants_count; i++) {
        printf("%s\t%s\n", mutants[i].name, mutants[i].change);
    }
    free(mutants);
    return fflush(stdout) == 0 ? 0 : 2;
}
