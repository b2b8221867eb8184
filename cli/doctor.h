/* doctor.h - what segmenter doctor found: each finding with why it matters and what to do. */
#ifndef SEGMENTER_CLI_DOCTOR_H
#define SEGMENTER_CLI_DOCTOR_H
#include "cli.h"

/* The later the worse. */
typedef enum cli_severity { CLI_FINE, CLI_INFO, CLI_WARNING, CLI_ERROR } cli_severity;

typedef struct cli_finding {
    cli_severity severity;
    const char *topic;
    char *finding;
    char *why, *advice; /* NULL: nothing is to be said */
} cli_finding;

typedef struct cli_doctor {
    cli_finding *all;
    size_t n, capacity;
    const cli_globals *globals;
    seg_client *client;
    const seg_server_info *server;
    char *unknown; /* what the server does not tell, "a, b"; NULL: nothing */
} cli_doctor;

/* Add one; then say why it matters, and what to do, of the one that was added last. */
void cli_find(cli_doctor *d, cli_severity severity, const char *topic, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void cli_because(cli_doctor *d, const char *format, ...) __attribute__((format(printf, 2, 3)));
void cli_advise(cli_doctor *d, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Something that could not be looked at. */
void cli_not_told(cli_doctor *d, const char *what);

/* A number that the server tells, in INFO or as a setting; -1: it tells none. */
int64_t cli_told(const cli_doctor *d, const char *field);
int64_t cli_told_setting(const cli_doctor *d, const char *setting);

/* Everything about the server; what it keeps on disk; its rights; what is stored there. The last one
 * can lose the connection. */
void cli_examine_server(cli_doctor *d);
void cli_examine_disk(cli_doctor *d);
void cli_examine_replicas(cli_doctor *d);
void cli_examine_rights(cli_doctor *d);
seg_status cli_examine_streams(cli_doctor *d, seg_error *err);

#endif
