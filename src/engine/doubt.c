/* A producer's loop side: is the log still the one that it knows?
 *
 * A new connection may lead to another server, or to one with older data. What this producer was told
 * is stored may be gone, and others may append meanwhile. So each lane that knows of something asks
 * before it sends on, also where nothing is to be sent: the probe's answer has the log's eras, and what
 * is stored of this producer.
 *
 *     known: up to offset 57 of era 1            the server: "1:0 1700000000000:51", next 60
 *            sequence 57                                     sequence 51 of this generation
 *
 * So 51 to 56 are lost: the application is told. The numbers after 51 are free for others, but a new
 * generation is begun, as always. What was sent and not answered is not stored then: the server
 * stores in order, and it knows not even of what came before. */
#include "base/alloc.h"
#include "base/clock.h"
#include "core/error.h"
#include "engine/loss.h"
#include "engine/producer.h"

#define RETRY_MS 100

void sg_lane_doubt(sg_lane *lane) {
    lane->doubtful = true;
    if (!sg_node_linked(&lane->busy))
        sg_list_push(&lane->producer->busy, &lane->busy);
}

void sg_producer_doubt(seg_producer *p) {
    if (p->life == p->client->lives)
        return;
    p->life = p->client->lives;
    for (uint32_t i = 0; i < p->stream.partitions; i++)
        if (p->lanes[i].known.offset > 0)
            sg_lane_doubt(&p->lanes[i]);
}

uint64_t sg_lane_era(const sg_lane *lane) {
    return lane->eras.n > 0 ? sg_eras_newest(&lane->eras) : 1;
}

void sg_lane_knows(sg_lane *lane, const sg_outbatch *b) {
    uint64_t end = b->offset + b->writer.count, seq = b->first_seq + b->writer.count - 1;
    lane->gap_told = false;
    if (b->generation == lane->generation && seq > lane->known_seq)
        lane->known_seq = seq;
    if (b->offset != UINT64_MAX && end > lane->known.offset)
        lane->known = (seg_id){b->era, end};
}

/* ---- loss --------------------------------------------------------------------------------- */

/* There is no callback for it: a send that waits ends with it. False: none that could; the next. */
static bool fail_one(sg_lane *lane, const seg_loss *loss) {
    if (lane->open != NULL && sg_list_empty(&lane->ready))
        sg_lane_close_open(lane);
    sg_node *first = sg_list_first(&lane->ready);
    sg_outbatch *b = first != NULL ? SG_OF(first, sg_outbatch, node) : NULL;
    seg_error err;
    if (b == NULL || b->forwarding || b->unsure)
        return false;
    sg_loss_error(loss, &err);
    sg_lane_give_up(lane, b, err.status, err.text);
    return true;
}

static void tell(seg_producer *p, sg_lane *lane, uint64_t first) {
    seg_loss loss = {SEG_LOST_MESSAGES, lane->partition, lane->known.era, first,
                     lane->known.offset};
    p->stats.losses++;
    sg_loss_log(&p->client->log, p->stream.name, &loss);
    if (p->on_loss == NULL && fail_one(lane, &loss))
        return;
    if (lane->loss.end == 0)
        p->n_losses++;
    lane->loss = sg_loss_join(&lane->loss, &loss);
    sg_producer_signal(p);
    sg_cond_broadcast(&p->changed);
}

/* The server knows less of this producer than was acknowledged to it. Is that because it lost what it
 * had (`lost`), then it has nothing of what was sent later either; otherwise it has forgotten a
 * producer that was idle. */
static void renumber(sg_lane *lane, bool lost) {
    for (sg_node *n = lane->ready.head.next; lost && n != &lane->ready.head; n = n->next)
        SG_OF(n, sg_outbatch, node)->unsure = false;
    sg_lane_new_generation(lane);
}

static void resume(seg_producer *p, sg_lane *lane, const sg_append_answer *a) {
    uint64_t first, stored = a->generation == lane->generation ? a->sequence : 0;
    sg_eras eras = {NULL, 0};
    seg_status s = sg_eras_read(&eras, a->eras);
    if (s != SEG_OK) {
        sg_fail(&lane->refusal, s,
                s == SEG_ENOMEM ? "out of memory"
                                : "the list of the partition's "
                                  "eras cannot be read");
        lane->not_before = sg_clock_ms() + RETRY_MS;
        return;
    }
    bool lost =
        sg_eras_lost(&eras, &lane->eras, lane->known.era, lane->known.offset, a->next, &first);
    sg_eras_fini(&lane->eras);
    lane->eras = eras;
    lane->doubtful = false;
    if (a->generation > lane->generation || stored < lane->known_seq) {
        if (a->generation > lane->generation)
            lane->generation = a->generation;
        renumber(lane, lost);
    }
    if (lost) {
        tell(p, lane, first);
        lane->known = (seg_id){sg_eras_before(&lane->eras, first), first};
    }
}

/* ---- the probe ---------------------------------------------------------------------------- */

static void refused(seg_producer *p, sg_lane *lane, const sg_append_answer *a) {
    lane->refusal = a->err;
    lane->not_before = sg_clock_ms() + sg_backoff_next(&lane->backoff, &p->client->rng);
    if (a->kind == SG_APPEND_LOST)
        sg_producer_verdict(p);
}

static void on_probed(void *arg, const sg_result *r) {
    sg_lane *lane = arg;
    seg_producer *p = lane->producer;
    sg_append_answer a;
    sg_append_read(r, true, &a);
    sg_mutex_lock(&p->lock);
    p->pending--;
    lane->probing = false;
    if (!p->closing && !a.lost) {
        if (a.kind == SG_APPEND_STORED)
            resume(p, lane, &a);
        else
            refused(p, lane, &a);
    }
    sg_mutex_unlock(&p->lock);
    if (p->gone && p->pending == 0)
        sg_producer_free(p);
    else if (!p->gone)
        sg_loop_wake(&p->actor);
}

int64_t sg_lane_probe(sg_lane *lane, int64_t now) {
    seg_producer *p = lane->producer;
    sg_append probe = {.stream = &p->stream,
                       .partition = lane->partition,
                       .producer = p->id,
                       .era = lane->known.era,
                       .generation = lane->generation,
                       .known = lane->known.offset};
    if (lane->probing || lane->n_flying > 0) /* what flies may still be stored */
        return INT64_MAX;
    if (!sg_append_send(p->client->commands, &probe, on_probed, lane))
        return now + RETRY_MS;
    p->pending++;
    lane->probing = true;
    return INT64_MAX;
}
