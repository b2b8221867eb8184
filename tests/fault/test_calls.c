/* Every system call of the library fails in its turn, in every way that the kernel knows: messages
 * are stored once, delivered in order, and acknowledged, as if nothing had been. */
#include "calls_rig.h"

#include <netdb.h>
#include <string.h>

#include "ledger.h"
#include "rig.h"

enum { PARTITIONS = 2, MESSAGES = 4 };

typedef struct fault_plan {
    call_kind kind;
    bool opening; /* from the opening on, not only once all is open */
    bool tcp;
    uint64_t times;
} fault_plan;

typedef struct bench {
    server *s;
    char url[64];
    ledger *l;
    uint64_t next[PARTITIONS]; /* offset that is delivered next */
    unsigned points;           /* rounds in which a call failed */
} bench;

/* What an application has open. */
typedef struct app {
    seg_client *c;
    seg_producer *p;
    seg_consumer *k;
} app;

/* Not every machine has a file that knows localhost, and a name server is none of a test's business. */
int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                struct addrinfo **out) {
    static _Atomic(void *) found;
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    *(void **)&real = find(&found, "getaddrinfo");
    return real(strcmp(host, "localhost") == 0 && (hints->ai_flags & AI_NUMERICHOST) == 0
                    ? "127.0.0.1"
                    : host,
                service, hints, out);
}

/* Over TCP the server's name has to be looked up first. */
static bench set_up(bool tcp) {
    calls_begin();
    bench b = {.s = tcp ? server_start_tcp(NULL) : server_start(NULL), .l = ledger_new(MESSAGES)};
    if (tcp) {
        snprintf(b.url, sizeof b.url, "redis://localhost:%d", server_port(b.s));
    } else {
        snprintf(b.url, sizeof b.url, "%s", server_url(b.s));
    }
    seg_client *c = rig_client(b.s);
    rig_stream(c, "s", PARTITIONS);
    seg_client_close(c);
    return b;
}

static void tear_down(bench *b, const fault_plan *plan) {
    printf("%s%s%s: %u faults of %llu, %zu messages\n", call_faults[plan->kind].name,
           plan->opening ? ", opening" : "", plan->tcp ? ", TCP" : "", b->points,
           (unsigned long long)plan->times, ledger_sent(b->l));
    CHECK_EQ(ledger_count(b->l, SEG_OK), ledger_sent(b->l));
    CHECK_EQ(ledger_check(b->l, b->s, "default", "s"), ledger_sent(b->l));
    CHECK_EQ(b->next[0] + b->next[1], ledger_sent(b->l));
    ledger_free(b->l);
    server_stop(b->s);
}

static void close_app(app *a) {
    seg_consumer_close(a->k);
    seg_producer_close(a->p);
    seg_client_close(a->c);
    *a = (app){.c = NULL};
}

/* Each call says what is: there is no connection, or it works. */
static bool open_app(app *a, const bench *b) {
    seg_client_options o;
    seg_error err;
    SEG_INIT(&o);
    o.url = b->url;
    rig_join j = {.group = "g", .name = "member", .session_timeout = 60000};
    seg_status s = seg_client_open(&a->c, &o, &err);
    if (s != SEG_OK) {
        CHECK(s == SEG_ECONN || s == SEG_ENOMEM || s == SEG_ETIMEDOUT);
        return false;
    }
    CHECK_OK(seg_producer_open(&a->p, a->c, "s", NULL, &err), &err);
    CHECK_OK(rig_try_consumer(&a->k, a->c, "s", &j, &err), &err);
    return true;
}

/* Send some, take them, acknowledge them. */
static void use(bench *b, app *a) {
    static rig_inbox in;
    seg_error err;
    in.n = 0;
    for (unsigned i = 0; i < MESSAGES; i++) {
        CHECK_OK(ledger_send_async(b->l, a->p, i, 100, &err), &err);
    }
    CHECK_OK(seg_producer_flush(a->p, RIG_MS, &err), &err);
    CHECK_EQ(ledger_waiting(b->l), 0);
    rig_take(a->k, &in, MESSAGES);
    for (size_t i = 0; i < in.n; i++) {
        CHECK_EQ(in.d[i].attempt, 1);
        CHECK_EQ(in.d[i].id.offset, b->next[in.d[i].partition]++);
    }
    rig_ack(a->k, in.d, in.n);
    rig_commit(a->k);
}

/* One round: the n-th call fails so. */
static bool try_fault(bench *b, const fault_plan *plan, int fault, uint64_t n) {
    app a = {.c = NULL};
    if (!plan->opening) {
        CHECK(open_app(&a, b));
    }
    calls_fail_nth(plan->kind, fault, n, plan->times);
    if (plan->opening && !open_app(&a, b)) {
        CHECK(calls_pass());
        close_app(&a);
        CHECK(open_app(&a, b));
    }
    use(b, &a);
    bool hit = calls_pass();
    close_app(&a);
    b->points += hit;
    return hit;
}

/* In every way. */
static void each(fault_plan plan) {
    bench b = set_up(plan.tcp);
    plan.times = plan.times > 0 ? plan.times : 1;
    for (const int *f = call_faults[plan.kind].faults; *f != 0; f++) {
        for (uint64_t n = 1; try_fault(&b, &plan, *f, n); n++) {
            CHECK_LT(n, 1000);
        }
    }
    tear_down(&b, &plan);
}

TEST_DEADLINE(making_sockets, 120) {
    each((fault_plan){.kind = CALL_SOCKET, .opening = true});
    each((fault_plan){.kind = CALL_SOCKET, .opening = true, .tcp = true});
    each((fault_plan){.kind = CALL_SETSOCKOPT, .opening = true, .tcp = true});
}

TEST_DEADLINE(connecting, 120) {
    each((fault_plan){.kind = CALL_CONNECT, .opening = true});
    each((fault_plan){.kind = CALL_CONNECT, .opening = true, .tcp = true});
    each((fault_plan){.kind = CALL_GETSOCKOPT, .opening = true});
    each((fault_plan){.kind = CALL_GETSOCKOPT, .opening = true, .tcp = true});
}

TEST_DEADLINE(looking_names_up, 120) {
    each((fault_plan){.kind = CALL_PIPE, .opening = true, .tcp = true});
    each((fault_plan){.kind = CALL_THREAD, .opening = true, .tcp = true});
    each((fault_plan){.kind = CALL_RANDOM, .opening = true, .tcp = true});
}

TEST_DEADLINE(sending, 120) {
    each((fault_plan){.kind = CALL_SEND});
    each((fault_plan){.kind = CALL_SEND, .opening = true});
}

TEST_DEADLINE(sending_three_times, 120) {
    each((fault_plan){.kind = CALL_SEND, .times = 3});
    each((fault_plan){.kind = CALL_SEND, .times = 3, .opening = true, .tcp = true});
}

TEST_DEADLINE(receiving, 120) {
    each((fault_plan){.kind = CALL_RECV});
    each((fault_plan){.kind = CALL_RECV, .opening = true});
}

TEST_DEADLINE(receiving_three_times, 120) {
    each((fault_plan){.kind = CALL_RECV, .times = 3});
    each((fault_plan){.kind = CALL_RECV, .times = 3, .opening = true, .tcp = true});
}

TEST_DEADLINE(polling, 120) {
    each((fault_plan){.kind = CALL_POLL, .opening = true});
    each((fault_plan){.kind = CALL_POLL, .times = 3, .opening = true, .tcp = true});
}

TEST_DEADLINE(waking, 120) {
    each((fault_plan){.kind = CALL_EVENTFD, .opening = true});
    each((fault_plan){.kind = CALL_READ, .opening = true});
    each((fault_plan){.kind = CALL_WRITE, .opening = true});
}
