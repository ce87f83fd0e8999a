// SPDX-License-Identifier: Apache-2.0
//
// Dead letters: events that were given up, with all that a person needs to find out why. They wait
// in the store until somebody removes them or has them tried again.
#include "flow/flow_private.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum { UNDEAD_WAIT_MS = 5000 }; // for the disk

static struct weir_str put(char **at, struct weir_str text) {
    struct weir_str copy = {*at, text.size};
    if (text.size > 0) {
        memcpy(*at, text.data, text.size);
    }
    *at += text.size;
    return copy;
}

struct weir_dead *weir_dead_new(const struct weir_dead_args *args) {
    struct weir_str reason = args->reason;
    if (reason.size > WEIR_DEAD_REASON_BYTES_MAX) {
        reason.size = WEIR_DEAD_REASON_BYTES_MAX;
    }
    size_t bytes = args->subscription.size + args->target.size + reason.size +
                   args->guest_hash.size + args->output.size;
    struct weir_dead *dead = malloc(sizeof *dead + bytes);
    if (!dead) {
        return NULL;
    }
    char *at = dead->texts;
    dead->letter = (struct weir_dead_letter){
        .subscription = put(&at, args->subscription),
        .target = put(&at, args->target),
        .reason = put(&at, reason),
        .attempts = args->attempts,
        .guest_hash = put(&at, args->guest_hash),
        .output = put(&at, args->output),
        .wall_ns = weir_clock_wall_ns(),
        .event = weir_event_ref(args->event),
    };
    return dead;
}

void weir_dead_free_all(struct weir_dead_letter *list) {
    while (list) {
        struct weir_dead_letter *next = list->next;
        weir_event_unref(list->event);
        free(list); // the first member of its struct weir_dead
        list = next;
    }
}

void weir_dead_append(struct weir_flow *flow, struct weir_dead *dead) {
    struct weir_dead_letter *letter = &dead->letter;
    letter->id = ++flow->last_dead_id;
    letter->next = NULL;
    if (flow->dead_last) {
        flow->dead_last->next = letter;
    } else {
        flow->dead = letter;
    }
    flow->dead_last = letter;
    weir_ledger_touch_flow(flow);
}

// ---- and back ----

struct search {
    uint64_t id;
    struct weir_dead *found;
    bool is_out_of_memory;
};

static bool look(void *context, const struct weir_dead_letter *letter) {
    struct search *search = context;
    if (letter->id != search->id) {
        return false; // the first one behind the id before it is another: there is none
    }
    struct weir_dead_args args = {.subscription = letter->subscription,
                                  .target = letter->target,
                                  .reason = letter->reason,
                                  .guest_hash = letter->guest_hash,
                                  .output = letter->output,
                                  .attempts = letter->attempts,
                                  .event = letter->event};
    search->found = weir_dead_new(&args);
    search->is_out_of_memory = !search->found;
    return false;
}

// Under lock: puts the letter's event behind what waits for its subscription.
static weir_status give_back(struct weir_flow *flow, struct weir_delivery *delivery,
                             const char *name, struct weir_error *err) {
    struct weir_kept *kept = weir_kept_find(flow, name);
    struct weir_subscription *subscription = kept ? kept->subscription : NULL;
    if (!subscription || subscription->is_ending) {
        return weir_fail(err, WEIR_UNAVAILABLE,
                         "the subscription \"%s\" does not run, so nobody can be given the event; "
                         "start it, or remove the letter",
                         name);
    }
    delivery->subscription = subscription;
    const struct weir_event *event = delivery->entry.event;
    struct weir_lane *lane = weir_lanes_find(subscription, event->key);
    bool holds_back = lane && weir_lanes_holds_back(lane);
    if (subscription->spilled > 0) {
        weir_intake_go_behind(subscription, NULL, event);
    } else if (holds_back) {
        weir_intake_go_behind(subscription, lane, event);
    } else if (!subscription->is_gap_open &&
               weir_intake_has_room(subscription, event->size_bytes)) {
        lane = weir_lanes_obtain(subscription, event->key);
        if (!lane) {
            return weir_fail_no_memory(err, "a dead letter's event");
        }
        weir_lanes_push(lane, delivery);
    } else { // whatever becomes of the source's events: this one gets its row anyway
        weir_intake_go_behind(subscription, NULL, event);
        weir_backlog_want(subscription);
    }
    weir_ledger_append_returned(delivery);
    return WEIR_OK;
}

static weir_status find(struct weir_flow *flow, uint64_t id, struct search *search,
                        struct weir_error *err) {
    *search = (struct search){.id = id};
    weir_status status =
        flow->config.store->load_dead(flow->config.store_context, id - 1, 1, look, search, err);
    if (status != WEIR_OK) {
        return status;
    }
    if (search->is_out_of_memory) {
        return weir_fail_no_memory(err, "a dead letter");
    }
    return search->found ? WEIR_OK
                         : weir_fail(err, WEIR_NOT_FOUND, "there is no dead letter %" PRIu64, id);
}

// Whether a dead letter of this number is in the list.
static bool has(const struct weir_removal *list, uint64_t id) {
    const struct weir_removal *removal;
    LL_SEARCH_SCALAR(list, removal, id, id);
    return removal != NULL;
}

// Takes the letter for this caller, before it is read: of two who want it, one gets it, however
// long its removal takes to be durable. *ret_claim is in flow->claimed.
static weir_status claim(struct weir_flow *flow, uint64_t id, struct weir_removal **ret_claim,
                         struct weir_error *err) {
    struct weir_removal *removal = calloc(1, sizeof *removal);
    if (!removal) {
        return weir_fail_no_memory(err, "a dead letter's removal");
    }
    removal->id = id;
    pthread_mutex_lock(&flow->lock);
    bool is_taken = has(flow->claimed, id) || has(flow->undead, id) || has(flow->batch_undead, id);
    if (!is_taken) {
        LL_PREPEND(flow->claimed, removal);
    }
    pthread_mutex_unlock(&flow->lock);
    if (is_taken) {
        free(removal);
        return weir_fail(err, WEIR_NOT_FOUND,
                         "dead letter %" PRIu64 " is being given back or removed already", id);
    }
    *ret_claim = removal;
    return WEIR_OK;
}

// Under lock: the next commit removes the claimed letter.
static void remove_claimed(struct weir_flow *flow, struct weir_removal *removal) {
    LL_DELETE(flow->claimed, removal);
    LL_PREPEND(flow->undead, removal);
    weir_ledger_touch_flow(flow);
}

// Gives the letter's event back to where it came from. Takes over nothing.
static weir_status retry(struct weir_flow *flow, const struct weir_dead_letter *letter,
                         struct weir_removal *removal, struct weir_error *err) {
    char *name = weir_str_copy(letter->target.size > 0 ? letter->target : letter->subscription);
    struct weir_delivery *delivery = NULL;
    struct weir_out *out = NULL;
    weir_status status = name ? WEIR_OK : weir_fail_no_memory(err, "a dead letter");
    if (status == WEIR_OK && letter->target.size > 0) {
        out = weir_out_new(letter->subscription, letter->target, letter->event);
    } else if (status == WEIR_OK) {
        delivery = weir_delivery_new(NULL, letter->event);
    }
    if (status == WEIR_OK && !out && !delivery) {
        status = weir_fail_no_memory(err, "a dead letter's event");
    }
    pthread_mutex_lock(&flow->lock);
    if (status == WEIR_OK && out) {
        weir_out_append(flow, out, weir_target_find(flow, letter->target));
    } else if (status == WEIR_OK) {
        status = give_back(flow, delivery, name, err);
    }
    if (status == WEIR_OK) {
        remove_claimed(flow, removal);
    }
    weir_flow_unlock(flow);
    free(name);
    if (status != WEIR_OK) {
        weir_delivery_free(delivery);
    }
    return status;
}

// Reads the claimed letter and gives its event back (`again`), or only has it removed.
static weir_status settle_claim(struct weir_flow *flow, struct weir_removal *removal, bool again,
                                struct weir_error *err) {
    struct search search;
    weir_status status = find(flow, removal->id, &search, err);
    if (status != WEIR_OK) {
        return status;
    }
    if (again) {
        status = retry(flow, &search.found->letter, removal, err);
    } else {
        pthread_mutex_lock(&flow->lock);
        remove_claimed(flow, removal);
        pthread_mutex_unlock(&flow->lock);
    }
    weir_dead_free_all(&search.found->letter);
    return status;
}

weir_status weir_flow_undead(struct weir_flow *flow, uint64_t id, bool again,
                             struct weir_error *err) {
    if (!flow->has_store || id == 0) {
        return weir_fail(err, WEIR_NOT_FOUND, "there is no dead letter %" PRIu64, id);
    }
    struct weir_removal *removal;
    weir_status status = claim(flow, id, &removal, err);
    if (status != WEIR_OK) {
        return status;
    }
    status = settle_claim(flow, removal, again, err);
    if (status != WEIR_OK) {
        pthread_mutex_lock(&flow->lock);
        LL_DELETE(flow->claimed, removal);
        pthread_mutex_unlock(&flow->lock);
        free(removal);
        return status;
    }
    int64_t until_ns = weir_clock_monotonic_ns() + UNDEAD_WAIT_MS * WEIR_NS_PER_MS;
    return weir_flow_flush(flow, until_ns, err);
}
