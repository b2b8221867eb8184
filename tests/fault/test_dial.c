/* From a URL to a socket: every address in its turn and its share of the time, names that are slow,
 * unknown, or not wanted any more. The resolver is the test's own, and so is the time; the sockets
 * are real. */
#include "redis/dial.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "status.h"
#include "test.h"

/* ---- The resolver ---------------------------------------------------------------------------- */

enum { PLACES = 4 };

typedef struct place {
    int family;
    uint16_t port; /* at 127.0.0.1 */
} place;

static struct {
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t changed;
    int numeric;       /* what the question for a numeric address is answered */
    int error, system; /* what a name is answered, where it is no list of `places` */
    place places[PLACES];
    size_t n;
    bool held; /* a name is not answered while this is set */
    int asked, freed;
} names = {
    .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .numeric = EAI_NONAME};

typedef struct node {
    struct addrinfo info;
    struct sockaddr_in address;
} node;

static struct addrinfo *make_list(void) {
    struct addrinfo *list = NULL;
    for (size_t i = names.n; i-- > 0;) {
        node *a = calloc(1, sizeof *a);
        CHECK(a != NULL);
        a->address = (struct sockaddr_in){.sin_family = AF_INET,
                                          .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                          .sin_port = htons(names.places[i].port)};
        a->info = (struct addrinfo){.ai_family = names.places[i].family,
                                    .ai_addr = (struct sockaddr *)(void *)&a->address,
                                    .ai_addrlen = sizeof a->address,
                                    .ai_next = list};
        list = &a->info;
    }
    return list;
}

/* In libc's place. */
int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                struct addrinfo **out) {
    (void)host;
    (void)service;
    if ((hints->ai_flags & AI_NUMERICHOST) != 0)
        return names.numeric;
    pthread_mutex_lock(&names.lock);
    names.asked++;
    while (names.held)
        pthread_cond_wait(&names.changed, &names.lock);
    int error = names.error, system = names.system;
    if (error == 0)
        *out = make_list();
    pthread_mutex_unlock(&names.lock);
    errno = system;
    return error;
}

void freeaddrinfo(struct addrinfo *list) {
    while (list != NULL) {
        node *a = (node *)(void *)list;
        list = list->ai_next;
        free(a);
    }
    pthread_mutex_lock(&names.lock);
    names.freed++;
    pthread_mutex_unlock(&names.lock);
}

static void resolve_to(const place *places, size_t n) {
    CHECK_LE(n, PLACES);
    memcpy(names.places, places, n * sizeof *places);
    names.n = n;
}

static void hold(bool on) {
    pthread_mutex_lock(&names.lock);
    names.held = on;
    pthread_cond_broadcast(&names.changed);
    pthread_mutex_unlock(&names.lock);
}

static int count_of(const int *n) {
    pthread_mutex_lock(&names.lock);
    int now = *n;
    pthread_mutex_unlock(&names.lock);
    return now;
}

/* ---- Places ---------------------------------------------------------------------------------- */

static uint16_t port_of(int fd) {
    struct sockaddr_in a;
    socklen_t size = sizeof a;
    CHECK_EQ(getsockname(fd, (struct sockaddr *)(void *)&a, &size), 0);
    return ntohs(a.sin_port);
}

/* backlog < 0: a port that is taken and not listened on. */
static place open_place(int *fd, int backlog) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    *fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK_EQ(bind(*fd, (struct sockaddr *)(void *)&a, sizeof a), 0);
    if (backlog >= 0)
        CHECK_EQ(listen(*fd, backlog), 0);
    return (place){AF_INET, port_of(*fd)};
}

/* A place whose queue is full: it swallows whoever connects. */
static place open_swallower(int *fd, int *guest) {
    struct sockaddr_in a;
    socklen_t size = sizeof a;
    place p = open_place(fd, 0);
    CHECK_EQ(getsockname(*fd, (struct sockaddr *)(void *)&a, &size), 0);
    *guest = socket(AF_INET, SOCK_STREAM, 0);
    CHECK_EQ(connect(*guest, (struct sockaddr *)(void *)&a, size), 0);
    return p;
}

static bool happens(sg_dial *d, int64_t ms) {
    struct pollfd p = {.fd = sg_dial_fd(d), .events = sg_dial_events(d)};
    return poll(&p, 1, (int)ms) > 0;
}

/* Step at `now` whenever something has happened, until there is an end. */
static sg_dial_state finish(sg_dial *d, sg_dial_state s, int64_t now, seg_error *err) {
    while (s == SG_DIAL_BUSY) {
        CHECK(happens(d, 10000));
        s = sg_dial_step(d, now, err);
    }
    return s;
}

static sg_url by_name = {.host = "name", .port = 1};

/* Step until the name is resolved, so that what is under way is a socket. */
static sg_dial_state resolve(sg_dial *d, int64_t now, int64_t deadline, seg_error *err) {
    sg_dial_state s = sg_dial_start(d, now, deadline, err);
    CHECK_EQ(s, SG_DIAL_BUSY);
    CHECK(d->lookup != NULL);
    CHECK(happens(d, 10000));
    return sg_dial_step(d, now, err);
}

static void check_failed(sg_dial *d, sg_dial_state s, const seg_error *err, seg_status status,
                         const char *text) {
    CHECK_EQ(s, SG_DIAL_FAILED);
    CHECK_STATUS(err->status, status, err);
    CHECK_CONTAINS(err->text, text);
    CHECK_EQ(sg_dial_fd(d), -1);
    CHECK(d->addresses == NULL && d->next == NULL);
}

/* ---- Addresses ------------------------------------------------------------------------------- */

TEST(the_first_address_that_can_be_had_is_taken) {
    sg_dial d;
    seg_error err;
    int closed, open;
    place places[3] = {{AF_MAX - 1, 0}}; /* a family that this machine has no sockets of */
    places[1] = open_place(&closed, -1);
    places[2] = open_place(&open, 5);
    resolve_to(places, 3);
    sg_dial_init(&d, &by_name);
    CHECK_EQ(finish(&d, resolve(&d, 0, 1000, &err), 0, &err), SG_DIAL_DONE);
    int fd = sg_dial_take(&d), peer = accept(open, NULL, NULL);
    CHECK_GE(peer, 0);
    CHECK_EQ(sg_dial_fd(&d), -1);
    CHECK_EQ(count_of(&names.freed), 1);
    CHECK_EQ(write(fd, "x", 1), 1);
    char got;
    CHECK_EQ(read(peer, &got, 1), 1);
    sg_dial_fini(&d);
    close(fd);
    close(peer);
    close(closed);
    close(open);
}

TEST(the_last_address_says_why_none_could_be_had) {
    sg_dial d;
    seg_error err;
    int closed;
    place places[2] = {open_place(&closed, -1), {AF_MAX - 1, 0}};
    sg_dial_init(&d, &by_name);
    resolve_to(places, 2);
    check_failed(&d, finish(&d, resolve(&d, 0, 1000, &err), 0, &err), &err, SEG_ECONN,
                 "'name:1': Address family not supported");
    resolve_to(places, 1);
    check_failed(&d, finish(&d, resolve(&d, 0, 1000, &err), 0, &err), &err, SEG_ECONN,
                 "connection refused");
    resolve_to(places, 0);
    check_failed(&d, resolve(&d, 0, 1000, &err), &err, SEG_ECONN, "Cannot assign");
    sg_dial_fini(&d);
    close(closed);
}

/* Three that swallow: a third of the time, half of what is left, the rest. */
TEST(each_address_has_its_share_of_the_time) {
    sg_dial d;
    seg_error err;
    int fd, guest;
    place p = open_swallower(&fd, &guest);
    resolve_to((place[]){p, p, p}, 3);
    sg_dial_init(&d, &by_name);
    CHECK_EQ(resolve(&d, 100, 1000, &err), SG_DIAL_BUSY);
    CHECK_EQ(sg_dial_until(&d), 400);
    int first = sg_dial_fd(&d);
    CHECK_GE(first, 0);
    CHECK_EQ(sg_dial_step(&d, 399, &err), SG_DIAL_BUSY);
    CHECK_EQ(sg_dial_until(&d), 400);
    CHECK_EQ(sg_dial_step(&d, 400, &err), SG_DIAL_BUSY);
    CHECK_EQ(sg_dial_until(&d), 700);
    CHECK_EQ(sg_dial_step(&d, 1200, &err), SG_DIAL_BUSY); /* late, but the last has its turn */
    CHECK_EQ(sg_dial_until(&d), 1000);
    check_failed(&d, sg_dial_step(&d, 1200, &err), &err, SEG_ETIMEDOUT, "no answer in time");
    sg_dial_fini(&d);
    close(guest);
    close(fd);
}

TEST(an_attempt_that_is_given_up_leaves_nothing_open) {
    sg_dial d;
    seg_error err;
    int fd, guest;
    place p = open_swallower(&fd, &guest);
    resolve_to(&p, 1);
    sg_dial_init(&d, &by_name);
    CHECK_EQ(resolve(&d, 0, 1000, &err), SG_DIAL_BUSY);
    int under_way = sg_dial_fd(&d);
    sg_dial_stop(&d);
    CHECK_EQ(sg_dial_fd(&d), -1);
    CHECK_EQ(fcntl(under_way, F_GETFD), -1);
    CHECK_EQ(count_of(&names.freed), 1);
    sg_dial_fini(&d);
    close(guest);
    close(fd);
}

/* ---- Names ----------------------------------------------------------------------------------- */

/* The question goes on when the attempt is over, and the next attempt has its answer. */
TEST(a_name_that_is_slow_is_asked_once) {
    sg_dial d;
    seg_error err;
    int open;
    place p = open_place(&open, 5);
    resolve_to(&p, 1);
    hold(true);
    sg_dial_init(&d, &by_name);
    CHECK_EQ(sg_dial_start(&d, 0, 1000, &err), SG_DIAL_BUSY);
    CHECK_EQ(sg_dial_until(&d), 1000);
    CHECK_EQ(sg_dial_step(&d, 999, &err), SG_DIAL_BUSY);
    CHECK_EQ(sg_dial_step(&d, 1000, &err), SG_DIAL_FAILED);
    CHECK_STATUS(err.status, SEG_ETIMEDOUT, &err);
    CHECK_CONTAINS(err.text, "its name was not resolved in time");
    CHECK_EQ(sg_dial_start(&d, 1000, 2000, &err), SG_DIAL_BUSY);
    CHECK_EQ(sg_dial_step(&d, 1500, &err), SG_DIAL_BUSY);
    hold(false);
    CHECK_EQ(finish(&d, SG_DIAL_BUSY, 1500, &err), SG_DIAL_DONE);
    CHECK_EQ(count_of(&names.asked), 1);
    close(sg_dial_take(&d));
    sg_dial_fini(&d);
    close(open);
}

/* Its thread frees what it finds when nobody wants it any more. */
TEST(a_name_that_is_no_longer_wanted) {
    sg_dial d;
    seg_error err;
    place p = {AF_INET, 1};
    resolve_to(&p, 1);
    hold(true);
    sg_dial_init(&d, &by_name);
    CHECK_EQ(sg_dial_start(&d, 0, 1000, &err), SG_DIAL_BUSY);
    WAIT_FOR(10000, count_of(&names.asked) == 1);
    sg_dial_fini(&d);
    CHECK_EQ(count_of(&names.freed), 0);
    hold(false);
    WAIT_FOR(10000, count_of(&names.freed) == 1);
}

TEST(a_name_that_is_no_longer_wanted_when_it_is_known) {
    sg_dial d;
    seg_error err;
    place p = {AF_INET, 1};
    resolve_to(&p, 1);
    sg_dial_init(&d, &by_name);
    CHECK_EQ(sg_dial_start(&d, 0, 1000, &err), SG_DIAL_BUSY);
    CHECK(happens(&d, 10000));
    sg_dial_fini(&d);
    CHECK_EQ(count_of(&names.freed), 1);
}

TEST(a_lookup_has_no_result_before_its_answer) {
    struct addrinfo *list = &(struct addrinfo){.ai_family = 0};
    hold(true);
    sg_lookup *l = sg_lookup_new("name", 1);
    CHECK(l != NULL);
    CHECK_EQ(sg_lookup_result(l, &list), EAI_AGAIN);
    CHECK(list == NULL);
    hold(false);
    struct pollfd p = {.fd = sg_lookup_fd(l), .events = POLLIN};
    CHECK_EQ(poll(&p, 1, 10000), 1);
    CHECK_EQ(sg_lookup_result(l, &list), 0);
    sg_lookup_free(l);
}

TEST(why_a_name_was_not_resolved) {
    sg_dial d;
    seg_error err;
    sg_dial_init(&d, &by_name);
    names.error = EAI_SYSTEM;
    names.system = EMFILE;
    check_failed(&d, resolve(&d, 0, 1000, &err), &err, SEG_ECONN, "Too many open files");
    names.error = EAI_NONAME;
    check_failed(&d, resolve(&d, 0, 1000, &err), &err, SEG_ECONN, gai_strerror(EAI_NONAME));
    names.numeric = EAI_MEMORY; /* not even asked for a name then */
    check_failed(&d, sg_dial_start(&d, 0, 1000, &err), &err, SEG_ECONN, gai_strerror(EAI_MEMORY));
    CHECK_EQ(count_of(&names.asked), 2);
    sg_dial_fini(&d);
}

/* sg_url_parse lets none through; a caller that made its URL itself is told. */
TEST(a_path_that_does_not_fit) {
    char path[200] = {0};
    sg_dial d;
    seg_error err;
    memset(path, 'p', sizeof path - 1);
    sg_url url = {.path = path};
    sg_dial_init(&d, &url);
    check_failed(&d, sg_dial_start(&d, 0, 1000, &err), &err, SEG_ECONN, "File name too long");
    sg_dial_fini(&d);
}
