/* commands.c - the commands that there are, and how they are found. */
#include <string.h>

#include "cli.h"

/* In the order of the help. */
#define COMMANDS(X)                                                                                \
    X(stream_create)                                                                               \
    X(stream_ls)                                                                                   \
    X(stream_info)                                                                                 \
    X(stream_where)                                                                                \
    X(stream_rm)                                                                                   \
    X(produce)                                                                                     \
    X(consume)                                                                                     \
    X(tail)                                                                                        \
    X(get)                                                                                         \
    X(grep)                                                                                        \
    X(dump_command)                                                                                \
    X(load)                                                                                        \
    X(group_ls)                                                                                    \
    X(group_describe)                                                                              \
    X(group_members)                                                                               \
    X(group_seek)                                                                                  \
    X(group_rm)                                                                                    \
    X(top)                                                                                         \
    X(dlq_ls)                                                                                      \
    X(dlq_show)                                                                                    \
    X(dlq_replay)                                                                                  \
    X(dlq_drop)                                                                                    \
    X(check_connection)                                                                            \
    X(check_stream)                                                                                \
    X(check_group)                                                                                 \
    X(check_dlq)                                                                                   \
    X(doctor_command)                                                                              \
    X(exporter)                                                                                    \
    X(context_add)                                                                                 \
    X(context_ls)                                                                                  \
    X(context_select)                                                                              \
    X(context_rm)                                                                                  \
    X(demo)                                                                                        \
    X(server_command)                                                                              \
    X(demo_consumer)                                                                               \
    X(bench_produce)                                                                               \
    X(bench_consume)                                                                               \
    X(bench_sync)                                                                                  \
    X(bench_e2e)                                                                                   \
    X(bench_rebalance)                                                                             \
    X(bench_idle)                                                                                  \
    X(bench_member)                                                                                \
    X(completion)                                                                                  \
    X(man)

#define X(name) extern const cli_command cli_##name;
COMMANDS(X)
#undef X

const cli_command *const cli_commands[] = {
#define X(name) &cli_##name,
    COMMANDS(X)
#undef X
};
const size_t cli_n_commands = CLI_COUNT(cli_commands);

const cli_family cli_families[] = {
    {.name = "stream", .brief = "Create, look at and delete streams"},
    {.name = "group", .brief = "Look at, move and delete consumer groups"},
    {.name = "dlq", .brief = "Look at, send again and drop dead letters"},
    {.name = "check", .brief = "Look at one thing, for a monitor", .probes = true},
    {.name = "context", .brief = "Keep the servers that are used by name"},
    {.name = "bench", .brief = "Measure"},
};
const size_t cli_n_families = CLI_COUNT(cli_families);

bool cli_is_family(const char *word) {
    for (size_t i = 0; i < cli_n_families; i++) {
        if (strcmp(cli_families[i].name, word) == 0) {
            return true;
        }
    }
    return false;
}

bool cli_has_probes(const char *family) {
    for (size_t i = 0; i < cli_n_families; i++) {
        if (strcmp(cli_families[i].name, family) == 0) {
            return cli_families[i].probes;
        }
    }
    return false;
}

bool cli_in_family(const cli_command *c, const char *family) {
    size_t len = strlen(family);
    return strncmp(c->name, family, len) == 0 && c->name[len] == ' ';
}

const cli_command *cli_find_command(const char *family, const char *word) {
    for (size_t i = 0; i < cli_n_commands; i++) {
        const cli_command *c = cli_commands[i];
        if (family && !cli_in_family(c, family)) {
            continue;
        }
        if (strcmp(family ? c->name + strlen(family) + 1 : c->name, word) == 0) {
            return c;
        }
    }
    return NULL;
}
