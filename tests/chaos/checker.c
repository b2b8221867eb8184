/* checker.c - the order of the checks: what explains more comes first. */
#include "checker.h"

#include "checks.h"

static void count_processes(verdict *v, const history_log *l) {
    table processes = {0};
    for (size_t i = 0; i < l->n; i++)
        *table_at(&processes, (table_key){{l->records[i].process}}) =
            (void *)(uintptr_t)&l->records[i];
    v->processes = processes.count;
    table_fini(&processes);
}

void checker_judge(verdict *out, const history_log *l) {
    *out = (verdict){.records = l->n, .torn = l->torn};
    count_processes(out, l);
    story s;
    story_init(&s, l);
    check_content(&s, out);
    check_groups(&s, out);
    check_ends(&s, out);
    check_losses(&s, out);
    check_order(&s, out);
    check_stages(&s, out);
    check_owners(&s, out);
    story_fini(&s);
}
