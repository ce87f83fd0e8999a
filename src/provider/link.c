// SPDX-License-Identifier: Apache-2.0
//
// See link.h.
#include "provider/link.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FAILURES_COUNTED_MAX = 16 }; // doubled so often, the time is at its most

void weir_link_init(struct weir_link *link, const char *resource, struct weir_log *log) {
    *link = (struct weir_link){.resource = resource, .log = log};
    pthread_mutex_init(&link->lock, NULL);
    snprintf(link->health.reason, sizeof link->health.reason, "it was not needed yet");
    link->calls = link->health;
    uint64_t seed = (uint64_t)weir_clock_monotonic_ns() ^ (uint64_t)(uintptr_t)link;
    memcpy(link->random, &seed, sizeof link->random);
}

void weir_link_finish(struct weir_link *link) {
    pthread_mutex_destroy(&link->lock);
}

// Both: under lock. Return whether it was otherwise before.

static bool note_up(struct weir_health *health) {
    bool was_away = !health->is_connected;
    health->is_known = true;
    if (was_away) {
        health->reconnects += health->since_wall_ns != 0;
        health->is_connected = true;
        health->since_wall_ns = weir_clock_wall_ns();
        health->reason[0] = '\0';
    }
    return was_away;
}

static bool note_down(struct weir_health *health, const struct weir_error *cause) {
    bool was_connected = health->is_connected;
    health->is_known = true;
    health->errors++;
    if (was_connected) {
        health->is_connected = false;
        health->since_wall_ns = weir_clock_wall_ns();
    }
    snprintf(health->reason, sizeof health->reason, "%.*s", (int)sizeof health->reason - 1,
             cause->message);
    return was_connected;
}

void weir_link_called(struct weir_link *link, const struct weir_error *cause) {
    pthread_mutex_lock(&link->lock);
    if (cause) {
        note_down(&link->calls, cause);
    } else {
        note_up(&link->calls);
    }
    pthread_mutex_unlock(&link->lock);
}

void weir_link_up(struct weir_link *link) {
    uint32_t failures = link->failures;
    pthread_mutex_lock(&link->lock);
    bool was_away = note_up(&link->health);
    pthread_mutex_unlock(&link->lock);
    link->failures = 0;
    if (was_away && failures > 0) {
        weir_log(link->log, WEIR_LOG_INFO, "connected again",
                 {"resource", weir_str_of(link->resource)},
                 {"attempts", WEIR_LOG_NUMBER(failures)});
    }
}

int64_t weir_link_down(struct weir_link *link, const struct weir_error *cause) {
    pthread_mutex_lock(&link->lock);
    bool was_connected = note_down(&link->health, cause);
    pthread_mutex_unlock(&link->lock);
    if (link->failures == 0) {
        weir_log(link->log, WEIR_LOG_WARN,
                 was_connected ? "the connection is lost; trying again until it is there"
                               : "there is no connection; trying again until there is",
                 {"resource", weir_str_of(link->resource)},
                 {"reason", weir_str_of(cause->message)});
    }
    link->failures += link->failures < FAILURES_COUNTED_MAX;
    int64_t wait_ms = (int64_t)WEIR_LINK_BACKOFF_MS_MIN << (link->failures - 1);
    wait_ms = wait_ms < WEIR_LINK_BACKOFF_MS_MAX ? wait_ms : WEIR_LINK_BACKOFF_MS_MAX;
    double share = 1 - erand48(link->random) / 2;
    return weir_clock_monotonic_ns() + (int64_t)((double)(wait_ms * WEIR_NS_PER_MS) * share);
}

void weir_link_health(struct weir_link *link, bool is_watched, struct weir_health *ret_health) {
    pthread_mutex_lock(&link->lock);
    *ret_health = is_watched || !link->calls.is_known ? link->health : link->calls;
    // Numbers only rise, whoever's connection is told.
    ret_health->reconnects = link->health.reconnects + link->calls.reconnects;
    ret_health->errors = link->health.errors + link->calls.errors;
    pthread_mutex_unlock(&link->lock);
}
