/* metrics.h - the metrics that there are, and a set of their samples as text.
 *
 * The table is the only place that knows a metric's name, type, labels and meaning: the text, --list
 * and what checks docs/operations.md, the dashboard and the alerts come from it.
 *
 * A set is filled by one thread, then sealed, then read: each metric's samples are one piece of text,
 * the same in both formats; only the lines before them differ. So an answer is a list of pieces, and
 * nothing is copied for it. */
#ifndef SEGMENTER_CLI_METRICS_H
#define SEGMENTER_CLI_METRICS_H
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/uio.h>

/* Identifier, name without its suffix (_total of a counter, _info of an INFO), type, labels beside
 * `namespace`, what it says. In the order of the output. */
#define CLI_METRIC_MAP(X)                                                                          \
    X(UP, "segmenter_up", GAUGE, "", "1: the server answered in time; 0: nothing else is known")   \
    X(SERVER, "segmenter_server", INFO, "server version", "The server, as it introduced itself")   \
    X(EXPORTER, "segmenter_exporter", INFO, "version", "The exporter itself")                      \
    X(DURATION, "segmenter_scrape_duration_seconds", GAUGE, "",                                    \
      "How long the collection of these values took")                                              \
    X(COLLECTIONS, "segmenter_exporter_collections", COUNTER, "",                                  \
      "Collections that ended, whatever came of them")                                             \
    X(FAILURES, "segmenter_exporter_collection_failures", COUNTER, "",                             \
      "Collections that failed, or were not done in time")                                         \
    X(GROUPS_SKIPPED, "segmenter_scrape_groups_skipped", GAUGE, "",                                \
      "Groups with lag that were not looked at closely: more than --describe, or out of time")     \
    X(PARTITIONS_SKIPPED, "segmenter_scrape_partitions_skipped", GAUGE, "",                        \
      "Partitions of streams and groups that were left out: more than --partitions")               \
    X(STREAMS, "segmenter_streams", GAUGE, "", "Streams of the namespace")                         \
    X(STREAM, "segmenter_stream", INFO, "stream on_full", "What an append to a full one does")     \
    X(STREAM_PARTITIONS, "segmenter_stream_partitions", GAUGE, "stream", "Its partitions")         \
    X(STREAM_GROUPS, "segmenter_stream_groups", GAUGE, "stream", "Its groups")                     \
    X(STREAM_MESSAGES, "segmenter_stream_messages", GAUGE, "stream",                               \
      "Messages that are kept, read or not")                                                       \
    X(STREAM_APPENDED, "segmenter_stream_appended", COUNTER, "stream",                             \
      "Messages that were appended since it was created")                                          \
    X(STREAM_SIZE, "segmenter_stream_size_messages", GAUGE, "stream",                              \
      "Messages that it keeps at most: the bound of a partition times the partitions")             \
    X(STREAM_DAMAGED, "segmenter_stream_damaged", GAUGE, "stream",                                 \
      "1: a part of its data is missing on the server")                                            \
    X(STREAM_MISSING, "segmenter_stream_missing", GAUGE, "stream",                                 \
      "1: --stream names it, and there is no such stream")                                         \
    X(GROUP_LAG, "segmenter_group_lag_messages", GAUGE, "stream group",                            \
      "Messages that are not committed")                                                           \
    X(GROUP_AGE, "segmenter_group_lag_seconds", GAUGE, "stream group",                             \
      "Age of the oldest message that is not acknowledged; 0: nothing waits")                      \
    X(GROUP_FILL, "segmenter_group_fill_ratio", GAUGE, "stream group",                             \
      "How much of the bound of its fullest partition is not committed; at 1 appends wait or "     \
      "fail, "                                                                                     \
      "or drop what is unread")                                                                    \
    X(GROUP_MEMBERS, "segmenter_group_members", GAUGE, "stream group",                             \
      "Members with a live lease")                                                                 \
    X(GROUP_UNOWNED, "segmenter_group_partitions_unowned", GAUGE, "stream group",                  \
      "Partitions that no live member owns")                                                       \
    X(GROUP_REBALANCES, "segmenter_group_rebalances", COUNTER, "stream group",                     \
      "Partitions that were granted to a member, or moved by a seek")                              \
    X(GROUP_IN_FLIGHT, "segmenter_group_in_flight_messages", GAUGE, "stream group",                \
      "Messages that were delivered and are not settled, at most")                                 \
    X(GROUP_ATTEMPTS, "segmenter_group_attempts_max", GAUGE, "stream group",                       \
      "Most deliveries of one message that is not acknowledged")                                   \
    X(GROUP_DAMAGED, "segmenter_group_damaged", GAUGE, "stream group",                             \
      "1: the group, its place or a partition is damaged, and its lag may be unknown")             \
    X(DEAD_LETTERS, "segmenter_dead_letters", GAUGE, "stream group",                               \
      "Dead letters of the group that were neither sent again nor dropped")                        \
    X(PARTITION_MESSAGES, "segmenter_partition_messages", GAUGE, "stream partition",               \
      "Messages that are kept (--partitions)")                                                     \
    X(PARTITION_APPENDED, "segmenter_partition_appended", COUNTER, "stream partition",             \
      "Messages that were appended (--partitions)")                                                \
    X(PARTITION_LAG, "segmenter_group_partition_lag_messages", GAUGE, "stream group partition",    \
      "Messages that are not committed (--partitions)")                                            \
    X(PARTITION_AGE, "segmenter_group_partition_lag_seconds", GAUGE, "stream group partition",     \
      "Age of the oldest message that is not acknowledged (--partitions)")

typedef enum cli_metric {
#define X(id, name, type, labels, text) CLI_METRIC_##id,
    CLI_METRIC_MAP(X)
#undef X
        CLI_N_METRICS
} cli_metric;

typedef struct cli_metric_row {
    const char *name;   /* with its suffix */
    const char *type;   /* of the text format: "gauge" or "counter" */
    const char *labels; /* beside `namespace`, with blanks between */
    const char *text;
} cli_metric_row;
extern const cli_metric_row cli_metric_rows[CLI_N_METRICS];

typedef enum cli_metrics_format {
    CLI_METRICS_TEXT,       /* Prometheus's text format 0.0.4 */
    CLI_METRICS_OPENMETRICS /* OpenMetrics 1.0.0 */
} cli_metrics_format;

/* What an HTTP answer says that it is. */
const char *cli_metrics_content_type(cli_metrics_format format);
/* Which of both the Accept header (NULL: none) likes better. */
cli_metrics_format cli_metrics_accepted(const char *accept);

/* The labels of samples, put together once and used for several metrics. */
typedef struct cli_labels {
    char text[2048];
    size_t len;
} cli_labels;
/* With the namespace. */
void cli_labels_init(cli_labels *l, const char *name_space);
/* `value` is escaped, and cut where it does not fit. */
void cli_labels_add(cli_labels *l, const char *name, const char *value);

typedef struct cli_metrics {
    struct cli_metrics_piece {
        FILE *file; /* while it is filled */
        char *text;
        size_t len;
    } pieces[CLI_N_METRICS];
    unsigned refs;
} cli_metrics;

cli_metrics *cli_metrics_new(void); /* with one reference */
/* SEG_UNKNOWN: no sample. */
void cli_metrics_count(cli_metrics *m, cli_metric which, const cli_labels *l, uint64_t value);
/* NAN: no sample. */
void cli_metrics_real(cli_metrics *m, cli_metric which, const cli_labels *l, double value);
/* Nothing is added any more. */
void cli_metrics_seal(cli_metrics *m);

enum { CLI_METRICS_PARTS = 2 * CLI_N_METRICS + 1 };
/* The pieces of the whole text, in order; returns how many. They live as long as the set. */
size_t cli_metrics_parts(const cli_metrics *m, cli_metrics_format format,
                         struct iovec parts[CLI_METRICS_PARTS]);

/* References are counted by one thread. */
cli_metrics *cli_metrics_hold(cli_metrics *m);
void cli_metrics_drop(cli_metrics *m); /* NULL is fine */

#endif
