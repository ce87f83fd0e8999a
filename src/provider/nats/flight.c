// SPDX-License-Identifier: Apache-2.0
//
// What a server has delivered and waits to hear of. It tells a message again when it has heard
// nothing for as long as the consumer's ack_wait; so of what weir holds longer (a queue is full, a
// disk refuses) it says in time that it does, and nothing is told again, or to another weir, that
// is not lost.
//
// An acknowledgement is sent and not waited for. One that is lost with a connection means that a
// message is told once more, which at-least-once allows; waiting would cost a round trip.
#include "provider/nats/resource.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

struct weir_nats_flight *weir_nats_flight_find(struct weir_nats_watch *watch, uint64_t sequence) {
    struct weir_nats_flight *flight;
    HASH_FIND(hh, watch->flights, &sequence, sizeof sequence, flight);
    return flight;
}

static void signal_later(struct weir_nats_resource *resource, struct weir_nats_flight *flight) {
    flight->signal_ns =
        weir_clock_coarse_ns() + resource->options.ack_wait_ns / WEIR_NATS_SIGNALS_PER_WAIT;
    DL_APPEND2(resource->signals, flight, signal_prev, signal_next);
}

struct weir_nats_flight *weir_nats_flight_add(struct weir_nats_resource *resource,
                                              struct weir_nats_watch *watch, uint64_t sequence,
                                              struct weir_str reply) {
    struct weir_nats_flight *flight = calloc(1, sizeof *flight + reply.size + 1);
    if (!flight) {
        return NULL;
    }
    flight->sequence = sequence;
    flight->watch = watch;
    if (reply.size > 0) {
        memcpy(flight->reply, reply.data, reply.size);
    }
    HASH_ADD(hh, watch->flights, sequence, sizeof flight->sequence, flight);
    if (!flight->hh.tbl) {
        free(flight);
        return NULL;
    }
    signal_later(resource, flight);
    return flight;
}

void weir_nats_flight_hold(struct weir_nats_flight *flight, struct weir_event *event) {
    struct weir_nats_watch *watch = flight->watch;
    flight->event = weir_event_ref(event);
    watch->held_count++;
    watch->held_bytes += event->size_bytes;
    DL_APPEND2(watch->held, flight, held_prev, held_next);
}

void weir_nats_flight_release(struct weir_nats_flight *flight) {
    struct weir_nats_watch *watch = flight->watch;
    watch->held_count--;
    watch->held_bytes -= flight->event->size_bytes;
    DL_DELETE2(watch->held, flight, held_prev, held_next);
    weir_event_unref(flight->event);
    flight->event = NULL;
}

void weir_nats_flight_let_go(struct weir_nats_resource *resource, struct weir_nats_flight *flight) {
    struct weir_nats_watch *watch = flight->watch;
    HASH_DELETE(hh, watch->flights, flight);
    if (flight->event) {
        weir_nats_flight_release(flight);
    }
    DL_DELETE2(resource->signals, flight, signal_prev, signal_next);
    free(flight);
}

void weir_nats_flights_end(struct weir_nats_resource *resource, struct weir_nats_watch *watch) {
    struct weir_nats_flight *flight, *next;
    HASH_ITER (hh, watch->flights, flight, next) {
        weir_nats_flight_let_go(resource, flight);
    }
}

weir_status weir_nats_flight_answer(struct weir_nats_resource *resource, const char *reply,
                                    const char *word) {
    if (!resource->client) {
        return WEIR_UNAVAILABLE;
    }
    const struct weir_nats_post post = {
        .subject = weir_str_of(reply),
        .data = weir_str_of(word),
    };
    return weir_nats_client_publish(resource->client, &post, NULL);
}

int64_t weir_nats_flights_signal(struct weir_nats_resource *resource, int64_t now_ns) {
    // Each is put at the end, with a later moment.
    while (resource->client && resource->signals && resource->signals->signal_ns <= now_ns) {
        struct weir_nats_flight *flight = resource->signals;
        DL_DELETE2(resource->signals, flight, signal_prev, signal_next);
        signal_later(resource, flight);
        if (flight->signal_ns <= now_ns) { // the coarse clock lags
            flight->signal_ns = now_ns + 1;
        }
        if (!flight->is_settled && flight->reply[0]) {
            weir_nats_flight_answer(resource, flight->reply, "+WPI");
        }
    }
    return resource->client && resource->signals ? resource->signals->signal_ns : INT64_MAX;
}
