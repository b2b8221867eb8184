/* context.c - segmenter context add, ls, select, rm; see context.h. */
#include "context.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "json.h"
#include "listing.h"
#include "url.h"

/* ---- The file -------------------------------------------------------------------------------- */

/* NULL: there is no home to keep it in. */
static char *file_path(void) {
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    if (config && config[0] == '/') {
        return cli_format("%s/segmenter/contexts.json", config);
    }
    return home && home[0] == '/' ? cli_format("%s/.config/segmenter/contexts.json", home) : NULL;
}

static json_t *empty_file(void) {
    json_t *root = cli_json_object();
    cli_json_add(root, "selected", json_null());
    cli_json_add(root, "contexts", json_object());
    return root;
}

/* NULL with a report where it is there and makes no sense. */
static json_t *read_file(const char *path) {
    json_error_t fault;
    if (access(path, F_OK) != 0 && (errno == ENOENT || errno == ENOTDIR)) {
        return empty_file();
    }
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &fault);
    if (root && json_integer_value(json_object_get(root, "v")) == 1 &&
        json_is_object(json_object_get(root, "contexts"))) {
        return root;
    }
    cli_failure("'%s' is no file of contexts: %s; mend or remove it", path,
                root ? "it is of another version" : fault.text);
    json_decref(root);
    return NULL;
}

static bool make_directory(const char *path) {
    char *directory = cli_format("%s", path);
    bool ok = true;
    for (char *slash = strchr(directory + 1, '/'); slash && ok; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        ok = mkdir(directory, 0700) == 0 || errno == EEXIST;
        *slash = '/';
    }
    free(directory);
    return ok;
}

/* In one step: whoever reads meanwhile sees the old file or the new one. */
static int write_file(const char *path, const json_t *root) {
    char *next = cli_format("%s.XXXXXX", path);
    int fd = make_directory(path) ? mkstemp(next) : -1; /* 0600 */
    bool ok = fd >= 0 && json_dumpfd(root, fd, JSON_INDENT(2)) == 0 && write(fd, "\n", 1) == 1 &&
              fsync(fd) == 0 && rename(next, path) == 0;
    int code = ok ? CLI_OK : cli_failure("cannot write '%s': %s", path, strerror(errno));
    if (fd >= 0) {
        close(fd);
        if (!ok) {
            unlink(next);
        }
    }
    free(next);
    return code;
}

/* ---- Reading one ----------------------------------------------------------------------------- */

static char *copy_of(const json_t *object, const char *name) {
    const char *text = json_string_value(json_object_get(object, name));
    return text ? cli_format("%s", text) : NULL;
}

static int load(cli_context *out, const json_t *root, const char *name, const char *path) {
    const char *selected = json_string_value(json_object_get(root, "selected"));
    if (!name && !selected) {
        return CLI_OK;
    }
    const json_t *found =
        json_object_get(json_object_get(root, "contexts"), name ? name : selected);
    out->url = copy_of(found, "url");
    out->name_space = copy_of(found, "namespace");
    out->password_file = copy_of(found, "password_file");
    if (out->url) {
        return CLI_OK;
    }
    return cli_usage("there is no context '%s' in '%s'; see segmenter context ls",
                     name ? name : selected, path);
}

int cli_context_load(cli_context *out, const char *name) {
    *out = (cli_context){0};
    char *path = file_path();
    if (!path) {
        return name ? cli_usage("there are no contexts: neither HOME nor XDG_CONFIG_HOME is set")
                    : CLI_OK;
    }
    json_t *root = read_file(path);
    int code = root ? load(out, root, name, path) : CLI_FAILURE;
    json_decref(root);
    free(path);
    return code;
}

void cli_context_fini(cli_context *c) {
    free(c->url);
    free(c->name_space);
    free(c->password_file);
    *c = (cli_context){0};
}

/* ---- The commands ---------------------------------------------------------------------------- */

typedef int change_fn(json_t *root, const cli_run *run);

static int change(const cli_run *run, change_fn *fn) {
    char *path = file_path();
    if (!path) {
        return cli_failure("there is no place for contexts: set HOME or XDG_CONFIG_HOME");
    }
    json_t *root = read_file(path);
    int code = root ? fn(root, run) : CLI_FAILURE;
    if (code == CLI_OK) {
        code = write_file(path, root);
    }
    json_decref(root);
    free(path);
    return code;
}

/* What a URL may say of a secret: nothing. */
static bool keeps_no_secret(const char *text) {
    cli_url url;
    bool known = cli_url_parse(&url, text), secret = known && url.password;
    const char *query = known ? strchr(text, '?') : NULL;
    cli_url_fini(&url);
    if (!known) {
        cli_usage("-u takes redis://[user@]host[:port][/db] or unix://[user@]/path[?db=n]");
    } else if (secret || (query && strncmp(query, "?db=", 4) != 0)) {
        cli_usage("contexts keep no password: write it to a file that only you can read, and name "
                  "that with --password-file");
    }
    return known && !secret && !(query && strncmp(query, "?db=", 4) != 0);
}

static int add(json_t *root, const cli_run *run) {
    const cli_globals *g = run->globals;
    if (!g->url) {
        return cli_usage("missing option -u URL");
    }
    if (!keeps_no_secret(g->url)) {
        return CLI_USAGE;
    }
    char *file = g->password_file ? realpath(g->password_file, NULL) : NULL;
    if (g->password_file && !file) {
        return cli_failure("cannot use '%s': %s", g->password_file, strerror(errno));
    }
    json_t *context = json_object(), *contexts = json_object_get(root, "contexts");
    cli_json_text(context, "url", g->url);
    if (g->name_space) {
        cli_json_text(context, "namespace", g->name_space);
    }
    if (file) {
        cli_json_text(context, "password_file", file);
    }
    free(file);
    cli_json_add(contexts, run->args[0], context);
    return CLI_OK;
}

static int run_add(const cli_run *run) {
    return change(run, add);
}

static int need(const json_t *root, const char *name) {
    if (json_object_get(json_object_get(root, "contexts"), name)) {
        return CLI_OK;
    }
    cli_note("there is no context '%s'; see segmenter context ls", name);
    return CLI_NOT_FOUND;
}

static int select_one(json_t *root, const cli_run *run) {
    if (run->n_args == 0) {
        cli_json_add(root, "selected", json_null());
        return CLI_OK;
    }
    int code = need(root, run->args[0]);
    if (code == CLI_OK) {
        cli_json_text(root, "selected", run->args[0]);
    }
    return code;
}

static int run_select(const cli_run *run) {
    return change(run, select_one);
}

static int remove_one(json_t *root, const cli_run *run) {
    int code = need(root, run->args[0]);
    const char *selected = json_string_value(json_object_get(root, "selected"));
    if (code == CLI_OK) {
        if (selected && strcmp(selected, run->args[0]) == 0) {
            cli_json_add(root, "selected", json_null());
        }
        json_object_del(json_object_get(root, "contexts"), run->args[0]);
    }
    return code;
}

static int run_rm(const cli_run *run) {
    return change(run, remove_one);
}

static const cli_column columns[] = {
    {"CONTEXT", "context", CLI_COLUMN_TEXT, 0, 0, "its name"},
    {"SELECTED", "selected", CLI_COLUMN_FLAG, 0, 0, "is it used where no server is named?"},
    {"URL", "url", CLI_COLUMN_TEXT, 0, 0, "where the server is"},
    {"NAMESPACE", "namespace", CLI_COLUMN_TEXT, CLI_SPARE(2), 0, "the container of the streams"},
    {"PASSWORD-FILE", "password_file", CLI_COLUMN_TEXT, CLI_SPARE(1), 200, "where the password is"},
};

static int run_ls(const cli_run *run) {
    char *path = file_path();
    json_t *root = path ? read_file(path) : empty_file();
    free(path);
    if (!root) {
        return CLI_FAILURE;
    }
    const char *selected = json_string_value(json_object_get(root, "selected"));
    cli_listing l;
    cli_listing_init(&l, run);
    const char *name;
    json_t *context;
    json_object_foreach(json_object_get(root, "contexts"), name, context) {
        cli_put_text(&l, name);
        cli_put_flag(&l, selected && strcmp(selected, name) == 0);
        cli_put_text(&l, json_string_value(json_object_get(context, "url")));
        cli_put_text(&l, json_string_value(json_object_get(context, "namespace")));
        cli_put_text(&l, json_string_value(json_object_get(context, "password_file")));
    }
    cli_listing_end(&l);
    json_decref(root);
    return CLI_OK;
}

const cli_command cli_context_add = {
    .name = "context add",
    .args = "NAME",
    .min_args = 1,
    .max_args = 1,
    .brief = "Keep a server by a name",
    .about =
        "Keep a server, with what was given of -u, -N and --password-file, under a name: "
        "--context NAME then stands for these options, and 'context select NAME' makes it what "
        "is used where neither --context, -u nor SEGMENTER_URL says anything else. One of that "
        "name is replaced. A password is not kept, only the name of the file that it is in.\n\n"
        "  segmenter context add prod -u redis://app@db1 -N shop --password-file ~/.redis-app\n"
        "  segmenter context select prod\n\n"
        "They are in ${XDG_CONFIG_HOME:-~/.config}/segmenter/contexts.json.",
    .local = true,
    .run = run_add,
};

const cli_command cli_context_ls = {
    .name = "context ls",
    .args = "",
    .brief = "List the servers that are kept by name",
    .about = "List the servers that are kept by name.",
    .columns = columns,
    .n_columns = CLI_COUNT(columns),
    .local = true,
    .run = run_ls,
};

const cli_command cli_context_select = {
    .name = "context select",
    .args = "[NAME]",
    .max_args = 1,
    .brief = "Use a server that is kept by name from now on",
    .about =
        "Use this server where neither --context, -u, SEGMENTER_CONTEXT nor SEGMENTER_URL "
        "names one. Without NAME none is selected any more. (bench and demo never use it: they "
        "start a server of their own.)",
    .local = true,
    .run = run_select,
};

const cli_command cli_context_rm = {
    .name = "context rm",
    .args = "NAME",
    .min_args = 1,
    .max_args = 1,
    .brief = "Forget a server that is kept by name",
    .about = "Forget a server that is kept by name. Nothing happens to the server.",
    .local = true,
    .run = run_rm,
};
