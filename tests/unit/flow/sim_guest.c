// SPDX-License-Identifier: Apache-2.0
//
// The handlers of the simulation, in place of the engine: what the flow calls of guest.h is
// replaced at link time. What becomes of an event is a matter of the event and the subscription, so
// that it is the same whenever the event comes again: most are handled, some return an event, some
// fail now and then, some always, some are refused for good.
#include "unit/flow/sim.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    HANDLER_NS_MAX = 20 * 1000 * 1000,
    LOOP_NS_MAX = 500 * 1000 * 1000, // of a handler that does not end before it is cut
    LOOK_NS = 5 * 1000 * 1000,       // how often the engine looks whether to cut
};

// The only one there is. weir_guest is not known outside of its room, so this is another.
struct weir_guest {
    uint64_t references;
};
static struct weir_guest the_guest;
struct weir_guest *const sim_guest = &the_guest;

void sim_guest_begin(void) {
    the_guest.references = 1;
}

void sim_guest_end(void) {
    SIM_CHECK(the_guest.references == 1, "%" PRIu64 " references to the guest are left",
              the_guest.references - 1);
}

struct weir_guest *__wrap_weir_guest_ref(struct weir_guest *guest);
void __wrap_weir_guest_unref(struct weir_guest *guest);
const char *__wrap_weir_guest_name(const struct weir_guest *guest);
void *__wrap_weir_guest_access_context(const struct weir_guest *guest);
const char *__wrap_weir_guest_hash(const struct weir_guest *guest);
const char *__wrap_weir_guest_handler_name(const struct weir_guest *guest, uint32_t handler);
weir_status __wrap_weir_guest_handler_find(const struct weir_guest *guest, struct weir_str name,
                                           uint32_t *ret_handler, struct weir_error *err);
void __wrap_weir_guest_handle(struct weir_guest *guest, uint32_t handler,
                              const struct weir_event_fields *fields, struct weir_call *call,
                              struct weir_verdict *ret_verdict);

struct weir_guest *__wrap_weir_guest_ref(struct weir_guest *guest) {
    if (guest) {
        guest->references++;
    }
    return guest;
}

void __wrap_weir_guest_unref(struct weir_guest *guest) {
    if (guest) {
        SIM_CHECK(guest->references-- > 1, "the guest has no reference left");
    }
}

const char *__wrap_weir_guest_name(const struct weir_guest *guest) {
    (void)guest;
    return "guest";
}

// It reaches nothing.
void *__wrap_weir_guest_access_context(const struct weir_guest *guest) {
    (void)guest;
    return NULL;
}

const char *__wrap_weir_guest_hash(const struct weir_guest *guest) {
    (void)guest;
    return "xxh128:0";
}

const char *__wrap_weir_guest_handler_name(const struct weir_guest *guest, uint32_t handler) {
    (void)guest, (void)handler;
    return WEIR_HANDLER_DEFAULT;
}

weir_status __wrap_weir_guest_handler_find(const struct weir_guest *guest, struct weir_str name,
                                           uint32_t *ret_handler, struct weir_error *err) {
    (void)guest, (void)name, (void)err;
    *ret_handler = 0;
    return WEIR_OK;
}

// ---- what becomes of an event ----

enum nature { NATURE_GOOD, NATURE_FLAKY, NATURE_POISONED, NATURE_REFUSED };

static uint64_t fate(const struct sim_sub *sub, const struct sim_event *event, uint64_t salt) {
    uint64_t z = (event->hash ^ (salt << 32) ^ sub->number) * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 29)) * UINT64_C(0xbf58476d1ce4e5b9);
    return z ^ (z >> 32);
}

static enum nature nature_of(const struct sim_sub *sub, const struct sim_event *event) {
    uint64_t at = fate(sub, event, 1) % 64;
    uint32_t faults = sim.handler_faults;
    return at < faults / 4   ? NATURE_POISONED
           : at < faults / 2 ? NATURE_REFUSED
           : at < faults     ? NATURE_FLAKY
                             : NATURE_GOOD;
}

static struct weir_event *make_returned(const struct sim_sub *sub, const struct sim_event *event) {
    char key[8], data[80];
    snprintf(key, sizeof key, "k%" PRIu64, fate(sub, event, 2) % SIM_KEYS_MAX);
    snprintf(data, sizeof data, "of %s", event->id);
    const struct weir_event_fields fields = {
        .specversion = WEIR_STR("1.0"),
        .ty = WEIR_STR("dev.weir.test.returned"),
        .source = WEIR_STR("handler"),
        .id = WEIR_STR("any"),
        .subject = {true, weir_str_of(key)},
        .data = {true, {WEIR_PAYLOAD_TEXT, weir_str_of(data)}},
    };
    struct weir_event *returned;
    while (weir_event_new(&fields, (struct weir_str){0}, &returned, NULL) != WEIR_OK) {
    } // the guest's own memory has not run out
    return returned;
}

static void answer(const struct sim_sub *sub, const struct sim_event *event, uint32_t attempt,
                   struct weir_verdict *verdict) {
    enum nature nature = nature_of(sub, event);
    bool fails = nature == NATURE_POISONED || (nature == NATURE_FLAKY && sim_chance(1, 2));
    if (nature == NATURE_REFUSED) {
        verdict->outcome = WEIR_REJECTED;
        weir_fail(&verdict->error, WEIR_OTHER, "such an event is refused");
    } else if (fails) {
        verdict->outcome = sim_chance(1, 2) ? WEIR_FAILED : WEIR_BROKEN;
        weir_fail(&verdict->error, WEIR_TRAPPED, "attempt %" PRIu32 " fails", attempt);
    } else if (fate(sub, event, 3) % 64 < sim.derives) {
        verdict->derived = make_returned(sub, event);
    }
}

void __real_weir_settle_prepare(struct weir_worker *worker, struct weir_settlement *settlement);
void __wrap_weir_settle_prepare(struct weir_worker *worker, struct weir_settlement *settlement);
void __wrap_weir_settle_prepare(struct weir_worker *worker, struct weir_settlement *settlement) {
    __real_weir_settle_prepare(worker, settlement);
    if (settlement->decision == WEIR_DECIDE_LATER && !sim.is_crashed) {
        const struct weir_delivery *delivery = worker->lane->first;
        sim_oracle_forgets(sim_sub_of(delivery->subscription), delivery->entry.seq);
    }
}

// Time passes. False: the call was cut.
static bool take_time(const struct weir_call *call) {
    int64_t end_ns = sim_now_ns();
    if (sim_fault(sim.handler_delays)) {
        end_ns += (int64_t)sim_random(sim_chance(1, 8) ? LOOP_NS_MAX : HANDLER_NS_MAX);
    }
    for (uint64_t turns = sim_random(3); turns > 0; turns--) {
        fiber_yield();
    }
    while (sim_now_ns() < end_ns && !atomic_load(&call->is_cut) && !sim.is_crashed) {
        int64_t left_ns = end_ns - sim_now_ns();
        fiber_sleep(left_ns < LOOK_NS ? left_ns : LOOK_NS);
    }
    if (sim.is_crashed) {
        fiber_sleep(LOOK_NS); // what is put back is not taken up at once, over and over
    }
    return !atomic_load(&call->is_cut) && !sim.is_crashed;
}

void __wrap_weir_guest_handle(struct weir_guest *guest, uint32_t handler,
                              const struct weir_event_fields *fields, struct weir_call *call,
                              struct weir_verdict *ret_verdict) {
    (void)handler;
    struct weir_worker *worker =
        (struct weir_worker *)(void *)((char *)call - offsetof(struct weir_worker, call));
    const struct weir_delivery *delivery = worker->lane->first;
    struct sim_sub *sub = sim_sub_of(delivery->subscription);
    uint64_t seq = delivery->entry.seq;
    uint32_t attempt = delivery->attempts + 1;
    SIM_CHECK(guest->references > 1, "a guest is called that nobody holds");
    sim_pass(SIM_CRASH_IN_HANDLER);
    if (!sim.is_crashed) {
        sim_oracle_calls(sub, delivery, fields);
    }
    const struct sim_event *event = sim_event_of(fields->id);
    call->output_tail_size = 0;
    ret_verdict->outcome = WEIR_HANDLED;
    ret_verdict->derived = NULL;
    bool is_done = take_time(call);
    if (sim.is_crashed || !is_done) {
        ret_verdict->outcome = WEIR_BROKEN;
        weir_fail(&ret_verdict->error, WEIR_STOPPED, "cut");
        SIM_TELL("%s: %s is cut", sub->name, event ? event->id : "?");
        if (!sim.is_crashed) {
            sim_oracle_answers(sub, seq, SIM_NONE, false);
        }
        return;
    }
    answer(sub, event, attempt, ret_verdict);
    bool is_over = ret_verdict->outcome == WEIR_HANDLED || ret_verdict->outcome == WEIR_REJECTED ||
                   attempt >= sub->args.retry.attempts;
    SIM_TELL("%s: %s, attempt %" PRIu32 ": %s", sub->name, event->id, attempt,
             ret_verdict->derived                    ? "ok, returns an event"
             : ret_verdict->outcome == WEIR_HANDLED  ? "ok"
             : ret_verdict->outcome == WEIR_REJECTED ? "refused"
             : is_over                               ? "given up"
                                                     : "failed");
    sim_oracle_answers(sub, seq,
                       !is_over                               ? SIM_NONE
                       : ret_verdict->outcome != WEIR_HANDLED ? SIM_DEAD
                       : ret_verdict->derived                 ? SIM_DERIVED
                                                              : SIM_OK,
                       ret_verdict->outcome != WEIR_HANDLED);
}
