/* bench_usage.c - what server and client have spent: INFO there, getrusage() here. */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "bench.h"

/* The value of a line "name:value"; `fallback` where there is none. */
static double field(const char *info, const char *name, double fallback) {
    size_t len = strlen(name);
    for (const char *line = info; *line;) {
        if (strncmp(line, name, len) == 0 && line[len] == ':') {
            return strtod(line + len + 1, NULL);
        }
        line += strcspn(line, "\n");
        line += *line == '\n';
    }
    return fallback;
}

static int64_t seconds_to_us(double seconds) {
    return (int64_t)(seconds * 1e6 + 0.5);
}

static int64_t own_us(void) {
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return (int64_t)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1000000 + r.ru_utime.tv_usec +
           r.ru_stime.tv_usec;
}

bool bench_usage_take(bench_usage *u, bench_raw *control) {
    /* In this order, so that reading the reply counts for nobody. */
    int64_t at = cli_now_us(), client = own_us();
    if (!bench_raw_ask(control, "INFO")) {
        return false;
    }
    const char *info = bench_raw_text(control);
    double user = field(info, "used_cpu_user_main_thread", field(info, "used_cpu_user", 0));
    double sys = field(info, "used_cpu_sys_main_thread", field(info, "used_cpu_sys", 0));
    *u = (bench_usage){.at_us = at,
                       .client_us = client,
                       .server_us = seconds_to_us(user + sys),
                       .memory = (int64_t)field(info, "used_memory", 0),
                       .commands = (int64_t)field(info, "total_commands_processed", 0),
                       .clients = (int64_t)field(info, "connected_clients", 0),
                       .freeing = (int64_t)field(info, "lazyfree_pending_objects", 0)};
    return true;
}
