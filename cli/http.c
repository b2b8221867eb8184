/* http.c - see http.h. libmicrohttpd does the protocol; the limits in time are ours.
 *
 *     READING ──(request is here)──> ASKED ──(answer)──> SENDING ──> closed
 *        │ 5 s                        │ the owner's      │ 30 s
 *        └──> cut off                 └ business         └──> cut off
 *
 * Its own timeout is one of silence: whoever sends a byte now and then is never silent, and 250 of those
 * would keep everybody else out. */
#include "http.h"

#include <limits.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli.h"

enum {
    REQUEST_US = 5000000,   /* for a request to arrive */
    ANSWER_US = 30000000,   /* for an answer to be read */
    CONNECTIONS_MAX = 256,  /* with those that are being cut off */
    CONNECTIONS_GOOD = 128, /* from here on the slowest goes */
    CONNECTION_MEMORY = 16384,
    WAIT_MS = 1000
};

typedef enum state { READING, ASKED, SENDING, CUT } state;

struct cli_http_call {
    cli_http *http;
    struct MHD_Connection *connection;
    cli_http_call *before, *after; /* in the order of their arrival */
    int fd;
    state state;
    bool suspended, first;
    int64_t since_us;
    unsigned status;
    struct MHD_Response *response; /* until MHD has it */
};

struct cli_http {
    struct MHD_Daemon *daemon;
    int epoll_fd;
    cli_http_fn *fn;
    void *arg;
    cli_http_call *oldest, *newest;
    size_t n;
    bool resumed; /* a call goes on with the next turn: nothing wakes the loop for that */
};

/* ---- Connections ----------------------------------------------------------------------------- */

/* MHD sees the end of it in its next turn. */
static void cut(cli_http_call *call) {
    shutdown(call->fd, SHUT_RDWR);
    call->state = CUT;
}

static void make_room(cli_http *h) {
    if (h->n <= CONNECTIONS_GOOD) {
        return;
    }
    for (cli_http_call *call = h->oldest; call && call != h->newest; call = call->after) {
        if (call->state == READING) {
            cut(call);
            return;
        }
    }
}

static void open_call(cli_http *h, struct MHD_Connection *connection, void **context) {
    cli_http_call *call = cli_alloc(1, sizeof *call);
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    *call = (cli_http_call){.http = h,
                            .connection = connection,
                            .before = h->newest,
                            .fd = info ? info->connect_fd : -1,
                            .first = true,
                            .since_us = cli_now_us()};
    *(h->newest ? &h->newest->after : &h->oldest) = call;
    h->newest = call;
    h->n++;
    *context = call;
    make_room(h);
}

static void close_call(cli_http *h, cli_http_call *call) {
    *(call->before ? &call->before->after : &h->oldest) = call->after;
    *(call->after ? &call->after->before : &h->newest) = call->before;
    h->n--;
    if (call->response) {
        MHD_destroy_response(call->response);
    }
    free(call);
}

static void on_connection(void *arg, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode what) {
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        open_call(arg, connection, context);
    } else if (*context) {
        close_call(arg, *context);
        *context = NULL;
    }
}

static void cut_slow(cli_http *h) {
    int64_t now = cli_now_us();
    for (cli_http_call *call = h->oldest; call; call = call->after) {
        int64_t limit = call->state == READING ? REQUEST_US : ANSWER_US;
        if ((call->state == READING || call->state == SENDING) && now - call->since_us > limit) {
            cut(call);
        }
    }
}

/* ---- Calls ----------------------------------------------------------------------------------- */

static enum MHD_Result queue(cli_http_call *call) {
    struct MHD_Response *response = call->response;
    call->response = NULL;
    if (!response) {
        return MHD_NO; /* no memory for it: the connection ends */
    }
    enum MHD_Result result = MHD_queue_response(call->connection, call->status, response);
    MHD_destroy_response(response);
    if (call->state == ASKED) {
        call->state = SENDING;
        call->since_us = cli_now_us();
    }
    return result;
}

static enum MHD_Result refuse(cli_http_call *call) {
    static char text[] = "only GET and HEAD\n";
    call->response = MHD_create_response_from_buffer(sizeof text - 1, text, MHD_RESPMEM_PERSISTENT);
    if (call->response) {
        MHD_add_response_header(call->response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
        MHD_add_response_header(call->response, MHD_HTTP_HEADER_CONNECTION, "close");
    }
    call->status = MHD_HTTP_METHOD_NOT_ALLOWED;
    call->state = ASKED;
    return queue(call);
}

/* MHD calls it when the headers are there, for each piece of a body, at the end of it, and once more when
 * the connection was suspended and goes on. */
static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *path,
                                  const char *method, const char *version, const char *body,
                                  size_t *body_len, void **request) {
    (void)version;
    (void)body;
    cli_http *h = arg;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    cli_http_call *call = info ? info->socket_context : NULL;
    if (!call) {
        return MHD_NO;
    }
    *request = call;
    if (call->state == ASKED) {
        return queue(call);
    }
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
        return refuse(call);
    }
    if (call->first || *body_len > 0) {
        call->first = false;
        *body_len = 0; /* whatever it says */
        return MHD_YES;
    }
    if (call->state == CUT) {
        return MHD_NO;
    }
    call->state = ASKED;
    h->fn(h->arg, call, path,
          MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT));
    if (call->response || call->status) {
        return queue(call);
    }
    call->suspended = true;
    MHD_suspend_connection(connection);
    return MHD_YES;
}

static void answer(cli_http_call *call, unsigned status, const char *type,
                   struct MHD_Response *response) {
    call->status = status;
    call->response = response;
    if (response) {
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
        MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    }
    if (call->suspended) {
        call->suspended = false;
        MHD_resume_connection(call->connection);
        call->http->resumed = true;
    }
}

void cli_http_reply(cli_http_call *call, unsigned status, const char *type, const char *text) {
    answer(call, status, type,
           MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text,
                                           MHD_RESPMEM_MUST_COPY));
}

void cli_http_reply_parts(cli_http_call *call, const char *type, const struct iovec *parts,
                          size_t n, void (*done)(void *arg), void *arg) {
    struct MHD_IoVec *list = cli_alloc(n, sizeof *list);
    for (size_t i = 0; i < n; i++) {
        list[i] = (struct MHD_IoVec){parts[i].iov_base, parts[i].iov_len};
    }
    struct MHD_Response *response = MHD_create_response_from_iovec(list, (unsigned)n, done, arg);
    free(list);
    if (!response) {
        done(arg);
    }
    answer(call, MHD_HTTP_OK, type, response);
}

/* ---- The server ------------------------------------------------------------------------------ */

__attribute__((format(printf, 2, 0))) static void on_log(void *arg, const char *format,
                                                         va_list args) {
    (void)arg; /* of what clients do wrong nobody needs to know */
    (void)format;
    (void)args;
}

cli_http *cli_http_start(int listen_fd, cli_http_fn *fn, void *arg) {
    cli_http *h = cli_alloc(1, sizeof *h);
    h->fn = fn;
    h->arg = arg;
    h->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, h,
        MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, MHD_OPTION_LISTEN_SOCKET, listen_fd,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, h, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
        MHD_OPTION_END);
    const union MHD_DaemonInfo *info =
        h->daemon ? MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    if (!info) {
        cli_failure("cannot start the HTTP server");
        if (h->daemon) {
            MHD_stop_daemon(h->daemon);
        } else {
            close(listen_fd);
        }
        free(h);
        return NULL;
    }
    h->epoll_fd = info->epoll_fd;
    return h;
}

int cli_http_fd(const cli_http *h) {
    return h->epoll_fd;
}

int64_t cli_http_wait(const cli_http *h) {
    MHD_UNSIGNED_LONG_LONG wait;
    if (h->resumed) {
        return 0;
    }
    if (MHD_get_timeout(h->daemon, &wait) == MHD_YES && wait < WAIT_MS) {
        return (int64_t)wait;
    }
    return WAIT_MS;
}

void cli_http_turn(cli_http *h) {
    cut_slow(h);
    h->resumed = false;
    MHD_run(h->daemon);
}

void cli_http_stop(cli_http *h) {
    MHD_run(h->daemon); /* answers that were given just now are on their way, then */
    MHD_run(h->daemon);
    MHD_stop_daemon(h->daemon);
    free(h);
}
