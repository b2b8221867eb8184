/* judge.c - judge DIR: what is wrong with the history in a directory. Exit status 1 where anything
 * is, 2 where it cannot be read. */
#include <stdio.h>
#include <stdlib.h>

#include "checker.h"

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: judge DIR\n");
        return 2;
    }
    history_log log;
    char error[512];
    if (!history_load(&log, argv[1], error, sizeof error)) {
        fprintf(stderr, "judge: %s\n", error);
        return 2;
    }
    verdict *v = calloc(1, sizeof *v);
    if (!v)
        abort();
    checker_judge(v, &log);
    verdict_print(v, stdout);
    int status = verdict_total(v) ? 1 : 0;
    free(v);
    history_log_fini(&log);
    return fflush(stdout) == 0 ? status : 2;
}
