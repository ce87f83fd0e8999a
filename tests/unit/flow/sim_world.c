// SPDX-License-Identifier: Apache-2.0
//
// One schedule: everything is drawn, weir runs a few times and is stopped or crashes in between,
// and in its last run, when there are no faults any more, all that is left has to be done.
#include "unit/flow/sim.h"

#include "base/clock.h"
#include "unit/failing_malloc.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SETS_MAX = 2,
    RUNS_MAX = 4,
    LOOK_NS = 5 * 1000 * 1000,
    EXEC_SLACK_NS = 200 * 1000 * 1000, // turns that others have before exec has its own
};
#define MS          WEIR_NS_PER_MS
#define REST_NS_MAX (120 * WEIR_NS_PER_S) // until all is done when faults have ended

struct sim sim;

static struct {
    struct weir_set *sets[SETS_MAX];
    struct fiber *execs[SETS_MAX], *person;
    size_t set_count;
    bool is_ending;
} run;

bool sim_fault(uint32_t parts_of_64) {
    return !sim.is_quiet && sim_chance(parts_of_64, 64);
}

static void crash(void) {
    if (!sim.is_crashed) {
        SIM_TELL("---- crash");
        sim.is_crashed = true;
        sim.crashes++;
        sim.counts.crashes++;
    }
}

void sim_pass(enum sim_crash place) {
    if (sim.crash_at == place && place != SIM_CRASH_NEVER) {
        sim.crash_at = SIM_CRASH_NEVER;
        crash();
    }
}

// ---- what there is ----

static uint64_t between(uint64_t least, uint64_t most) {
    return least + sim_random(most - least + 1);
}

static void draw_config(void) {
    sim.config = (struct weir_flow_config){
        .workers = (uint32_t)between(1, 4),
        .grace_ns = (int64_t)between(0, 50) * MS,
        .queue_bytes = sim_chance(1, 6) ? between(2000, 6000) : 1 << 20,
        .hops_max = between(1, 4),
        .store = &sim_store_functions,
        .commit_ns = (int64_t)between(0, 10) * MS,
        .commit_events = sim_chance(1, 2) ? 0 : between(1, 8),
    };
    sim.store_faults = sim_chance(1, 2) ? 0 : (uint32_t)between(1, 8);
    sim.store_delays = sim_chance(1, 2) ? 0 : (uint32_t)between(1, 16);
    sim.publish_faults = sim_chance(1, 2) ? 0 : (uint32_t)between(1, 16);
    sim.handler_faults = sim_chance(1, 4) ? 0 : (uint32_t)between(4, 40);
    sim.handler_delays = sim_chance(1, 3) ? 0 : (uint32_t)between(1, 32);
    sim.derives = (uint32_t)between(0, 40);
    sim.memory_faults = sim_chance(3, 4) ? 0 : (uint32_t)between(1, 16);
}

// A source that keeps what was not acknowledged does so for one subscription.
static struct sim_source *draw_source(void) {
    struct sim_source *source = &sim.sources[sim_random(sim.source_count)];
    for (uint32_t i = 0; i < sim.sub_count && sim_source_can(source, WEIR_CAN_ACK); i++) {
        if (sim.subs[i].source == source) {
            return NULL;
        }
    }
    return source;
}

static struct weir_resource *draw_target(void) {
    if (sim_chance(1, 3)) {
        return NULL;
    }
    struct sim_source *source = &sim.sources[sim_random(sim.source_count)];
    return source->is_topic ? &source->base : &sim.sink.base;
}

static void draw_sub(struct sim_sub *sub, uint32_t number, struct sim_source *source) {
    bool is_shared = false;
    for (uint32_t i = 0; i < number; i++) {
        is_shared = is_shared || sim.subs[i].source == source;
    }
    static const char *const keys[] = {"k0", "k1", "k2", "k3", "k4", "k5", "*"};
    memset(sub->taken, 0, (sub->seq_last + 1) * sizeof sub->taken[0]);
    memset(sub, 0, offsetof(struct sim_sub, taken));
    sub->number = number;
    sub->source = source;
    sub->key = sim_chance(2, 3) ? SIM_KEYS_MAX : (uint32_t)sim_random(2);
    sub->watched_ns = INT64_MAX;
    sub->open_seq = 1;
    sub->has_repeats = sim_source_can(source, WEIR_CAN_ACK); // which tells again what is on its way
    sub->is_unnamed = !is_shared && sim_chance(1, 4);
    if (sub->is_unnamed) {
        snprintf(sub->name, sizeof sub->name, "guest/%s/%s/%s", source->name, keys[sub->key],
                 WEIR_HANDLER_DEFAULT);
    } else {
        snprintf(sub->name, sizeof sub->name, "%c", (char)('a' + number));
    }
    struct weir_resource *target = draw_target();
    sub->has_target = target != NULL;
    sub->args = (struct weir_subscription_args){
        .name = sub->is_unnamed ? NULL : sub->name,
        .resource = &source->base,
        .key = weir_str_of(keys[sub->key]),
        .event_bytes_max = 1 << 20,
        .guest = sim_guest,
        .handler = sub->is_unnamed ? NULL : WEIR_HANDLER_DEFAULT,
        .retry = {.attempts = between(1, 3),
                  .backoff_ns = (int64_t)between(1, 20) * MS,
                  .backoff_max_ns = 50 * MS,
                  .jitter = sim_chance(1, 2) ? 0 : 0.5},
        .queue = {.events = sim_chance(1, 6) ? 64 : between(1, 8),
                  .bytes = sim_chance(1, 5) ? between(600, 3000) : 1 << 20},
        .journal = {.events = sim_chance(1, 2) ? 0 : between(1, 8),
                    .bytes = sim_chance(1, 6) ? between(600, 4000) : 0},
        .concurrency = between(0, 4),
        .on_gap = sim_chance(2, 3) ? WEIR_GAP_DELIVER : (enum weir_on_gap)sim_random(3),
        .overflow = (enum weir_overflow)sim_random(3),
        .to = target,
    };
}

static void draw_all(void) {
    draw_config();
    sim_sink_init();
    sim.source_count = (uint32_t)between(1, 3);
    for (uint32_t i = 0; i < sim.source_count; i++) {
        sim_source_init(&sim.sources[i], i);
    }
    sim.sub_count = 0;
    for (uint64_t wanted = between(1, SIM_SUBS_MAX); wanted > 0; wanted--) {
        struct sim_source *source = draw_source();
        if (source) {
            draw_sub(&sim.subs[sim.sub_count], sim.sub_count, source);
            sim.sub_count++;
        }
    }
    sim_events_clear();
    for (uint64_t changes = sim_random(4); changes > 0; changes--) {
        sim_source_change(&sim.sources[sim_random(sim.source_count)]);
    }
}

static void tell_all(void) {
    SIM_TELL("%" PRIu32 " workers, commits after %" PRId64 " ms or %" PRIu64 " events, %" PRIu64
             " bytes in all, grace %" PRId64 " ms",
             sim.config.workers, sim.config.commit_ns / MS, sim.config.commit_events,
             sim.config.queue_bytes, sim.config.grace_ns / MS);
    for (uint32_t i = 0; i < sim.sub_count; i++) {
        const struct weir_subscription_args *args = &sim.subs[i].args;
        const struct sim_source *source = sim.subs[i].source;
        SIM_TELL("%s: %.*s of %s (%s%s%s%s%s%s) to %s, %" PRIu64 " attempts, queue %" PRIu64
                 " (%" PRIu64 " bytes), journal %" PRIu64 " (%" PRIu64
                 " bytes), concurrency %" PRIu64 ", on_gap %d, overflow %d",
                 sim.subs[i].name, WEIR_STR_ARG(args->key), source->name,
                 source->is_topic ? "topic " : "",
                 sim_source_can(source, WEIR_CAN_REPLAY) ? "replay " : "",
                 sim_source_can(source, WEIR_CAN_COMPARE) ? "compare " : "",
                 sim_source_can(source, WEIR_CAN_ACK) ? "acknowledge " : "",
                 sim_source_can(source, WEIR_CAN_PAUSE) ? "pause " : "",
                 sim_source_can(source, WEIR_SHARES_PAUSE) ? "shared" : "",
                 args->to ? args->to->name : "nobody", args->retry.attempts, args->queue.events,
                 args->queue.bytes, args->journal.events, args->journal.bytes, args->concurrency,
                 args->on_gap, args->overflow);
    }
}

// ---- subscriptions begin and end ----

static void begin_sub(struct sim_sub *sub) {
    struct weir_error err = {.message = ""};
    struct weir_subscription *subscription;
    sim.beginning = sub;
    weir_status status = weir_subscription_create(sim.flow, &sub->args, &subscription, &err);
    sim.beginning = NULL;
    if (status != WEIR_OK) {
        SIM_TELL("%s does not begin: %s", sub->name, err.message);
        return;
    }
    sub->subscription = subscription;
    sub->is_bound = !sub->is_unnamed;
    sub->watched_ns = sim_now_ns();
    sub->left_ns = 0;
    SIM_TELL("%s begins", sub->name);
}

// Its handler is said, and it is executed from now on.
static void add_sub(struct sim_sub *sub) {
    if (!sub->subscription || sub->set) {
        return;
    }
    sub->is_bound = sub->is_bound || weir_subscription_bind(sub->subscription, 0, NULL) == WEIR_OK;
    if (sub->is_bound) {
        sub->set = run.sets[sim_random(run.set_count)];
        weir_set_add(sub->set, sub->subscription, 0);
    }
}

static void end_sub(struct sim_sub *sub) {
    struct weir_subscription *subscription = sub->subscription;
    struct weir_set *set = sub->set;
    bool comes_again = !set || sub->number > 0;
    SIM_TELL("%s ends%s", sub->name, comes_again ? "" : " for good");
    sub->watched_ns = INT64_MAX;
    sub->left_ns = comes_again ? sim_now_ns() : 0;
    sub->subscription = NULL;
    sub->set = NULL;
    if (set) {
        SIM_CHECK(weir_set_remove(set, sub->name, comes_again), "%s is not in its set", sub->name);
    } else {
        weir_subscription_destroy(subscription);
    }
}

// ---- those who run beside ----

static void *exec_main(void *argument) {
    struct weir_set *set = argument;
    struct weir_error err = {.message = ""};
    while (!run.is_ending) {
        int64_t duration_ns = sim_chance(1, 4) ? 0 : (int64_t)between(1, 400) * MS;
        int64_t begin_ns = sim_now_ns();
        SIM_TELL("exec for %" PRId64 " ms", duration_ns / MS);
        weir_status status = weir_set_exec(set, duration_ns, &err);
        int64_t most_ns = duration_ns + sim.config.grace_ns + WEIR_CUT_WAIT_MS * MS + EXEC_SLACK_NS;
        SIM_CHECK(status == WEIR_OK, "exec: %s", err.message);
        SIM_CHECK(duration_ns == 0 || sim_now_ns() - begin_ns <= most_ns,
                  "exec takes %" PRId64 " ms instead of %" PRId64, (sim_now_ns() - begin_ns) / MS,
                  duration_ns / MS);
        fiber_sleep((int64_t)sim_random(sim_chance(1, 4) ? 50 * MS : MS));
    }
    return NULL;
}

// Removes or gives back a dead letter.
static void take_letter(void) {
    struct weir_error err = {.message = ""};
    const struct sim_letter *letter = &sim.store.letters[sim_random(sim.store.letter_count)];
    uint64_t id = letter->id;
    bool is_again = sim_chance(2, 3), is_of_target = letter->target[0] != '\0';
    struct sim_event *event = sim_event_of(letter->event->fields.id);
    struct sim_sub *sub = sim_sub_named(weir_str_of(letter->subscription));
    if (!is_again && !is_of_target) {
        event->cases[sub->number].is_thrown = true;
    }
    weir_status status = weir_flow_undead(sim.flow, id, is_again, &err);
    SIM_TELL("dead letter %" PRIu64 " of %s, %s, is %s: %s", id, sub->name, event->id,
             is_again ? "given back" : "removed", status == WEIR_OK ? "ok" : err.message);
    sim.counts.undead += status == WEIR_OK;
}

static void *person_main(void *argument) {
    (void)argument;
    while (!run.is_ending) {
        fiber_sleep((int64_t)sim_random(60 * MS));
        if (sim.store.letter_count > 0 && !sim.is_crashed && !sim.is_quiet && sim_chance(1, 3)) {
            take_letter();
        } else if (sim_chance(1, 4)) {
            const struct weir_status_calls calls = {0};
            weir_flow_look(sim.flow, &calls, NULL);
        }
    }
    return NULL;
}

// ---- a run ----

static void begin_run(void) {
    struct weir_error err = {.message = ""};
    memset(&run, 0, sizeof run);
    sim.is_crashed = false;
    sim.crash_at = SIM_CRASH_NEVER;
    sim_store_reopen();
    SIM_TELL("---- weir begins");
    while (weir_flow_create(&sim.config, &sim.flow, &err) != WEIR_OK) {
        SIM_CHECK(err.status == WEIR_NO_MEMORY, "%s", err.message);
    }
    for (uint32_t i = 0; i < sim.source_count; i++) {
        sim_source_begin(&sim.sources[i]);
    }
    run.set_count = between(1, SETS_MAX);
    for (size_t i = 0; i < run.set_count; i++) {
        while (weir_set_create(sim.flow, "sim", &run.sets[i], NULL) != WEIR_OK) {
        }
    }
    for (uint32_t i = 0; i < sim.sub_count; i++) {
        sim.subs[i].left_ns = sim_now_ns(); // whoever watched before is waited for
        begin_sub(&sim.subs[i]);
        if (sim_chance(3, 4)) {
            add_sub(&sim.subs[i]);
        }
    }
    if (sim_chance(1, 2)) {
        weir_flow_flush(sim.flow, sim_now_ns() + 1000 * MS, NULL);
    }
    for (size_t i = 0; i < run.set_count; i++) {
        run.execs[i] = fiber_start(i == 0 ? "exec 1" : "exec 2", exec_main, run.sets[i]);
    }
    run.person = fiber_start("person", person_main, NULL);
}

static void end_run(void) {
    SIM_TELL("---- weir ends%s", sim.is_crashed ? " after a crash" : "");
    failing_malloc_disarm();
    sim.is_clean = sim.is_quiet && !sim.is_crashed && !sim.store.is_committing &&
                   !sim.store.is_reading && !sim.flow->is_failing && sim.store.refused_hash == 0;
    run.is_ending = true;
    fiber_join(run.person);
    if (sim.is_crashed || sim_chance(1, 4)) {
        weir_flow_cut(sim.flow);
    } else {
        weir_flow_stop(sim.flow);
    }
    for (size_t i = 0; i < run.set_count; i++) {
        fiber_join(run.execs[i]);
    }
    for (uint32_t i = 0; i < sim.sub_count; i++) {
        struct sim_sub *sub = &sim.subs[i];
        sub->watched_ns = INT64_MAX;
        sub->left_ns = sub->subscription ? sim_now_ns() : sub->left_ns;
        if (sub->subscription && !sub->set) {
            end_sub(sub);
        }
        sub->subscription = NULL;
    }
    for (size_t i = 0; i < run.set_count; i++) {
        weir_set_unref(run.sets[i]);
    }
    weir_flow_destroy(sim.flow);
    sim.flow = NULL;
    for (uint32_t i = 0; i < sim.source_count; i++) {
        sim_source_end(&sim.sources[i]);
    }
    sim_oracle_ended(sim.is_clean && !sim.is_crashed);
    sim.is_clean = false;
}

// ---- steps ----

static struct sim_source *any_source(void) {
    return &sim.sources[sim_random(sim.source_count)];
}

static void step_sub(void) {
    struct sim_sub *sub = &sim.subs[sim_random(sim.sub_count)];
    if (!sub->subscription) {
        begin_sub(sub);
    } else if (!sub->set) {
        add_sub(sub);
    } else {
        end_sub(sub);
        if (sim_chance(1, 2)) { // also one that was thought to be gone
            begin_sub(sub);
        }
    }
}

static void step(bool may_crash) {
    uint64_t at = sim_random(100);
    if (at < 50) {
        sim_source_change(any_source());
    } else if (at < 54) {
        struct sim_source *source = any_source();
        for (uint64_t changes = between(2, 10); changes > 0; changes--) {
            sim_source_change(source);
        }
    } else if (at < 78) {
        fiber_sleep((int64_t)sim_random(5 * MS));
    } else if (at < 82) {
        fiber_sleep((int64_t)sim_random(sim_chance(1, 6) ? 3000 * MS : 200 * MS));
    } else if (at < 90) {
        step_sub();
    } else if (at < 92) {
        sim_source_forget(any_source());
    } else if (at < 93) {
        sim_set_wall((int64_t)between(0, 4) * 86400 * WEIR_NS_PER_S);
    } else if (at < 95 && may_crash) {
        sim.crash_at = (enum sim_crash)between(1, SIM_CRASH_ON_ACKNOWLEDGE);
    }
    if (sim_fault(sim.memory_faults)) {
        failing_malloc_arm(1 + sim_random(40));
    }
    for (uint64_t turns = sim_random(4); turns > 0; turns--) {
        fiber_yield();
    }
    sim_oracle_look();
}

static void steps(uint32_t count, bool may_crash) {
    for (uint32_t i = 0; i < count && !sim.is_crashed; i++) {
        step(may_crash);
    }
}

// Faults end; all that is left is done.
static void come_to_rest(void) {
    SIM_TELL("---- no more faults");
    sim.is_quiet = true;
    failing_malloc_disarm();
    sim.crash_at = SIM_CRASH_NEVER;
    int64_t until_ns = sim_now_ns() + REST_NS_MAX;
    for (;;) {
        bool are_all = true;
        for (uint32_t i = 0; i < sim.sub_count; i++) {
            if (!sim.subs[i].subscription) {
                begin_sub(&sim.subs[i]);
            }
            add_sub(&sim.subs[i]);
            are_all = are_all && sim.subs[i].set;
        }
        if (are_all && sim_oracle_is_resting()) {
            break;
        }
        if (sim_now_ns() >= until_ns) {
            sim_oracle_tell_unrest();
            SIM_FAIL("there is no rest");
        }
        fiber_sleep(LOOK_NS);
        sim_oracle_look();
    }
    sim_oracle_rest();
}

uint64_t sim_run(uint64_t seed, uint32_t step_count) {
    fibers_begin(seed);
    sim.seed = seed;
    sim.is_quiet = false;
    sim.crashes = 0;
    sim_store_clear();
    sim_guest_begin();
    draw_all();
    tell_all();
    for (uint64_t runs = sim_random(RUNS_MAX); runs > 0; runs--) {
        begin_run();
        bool crashes = sim_chance(2, 3);
        steps((uint32_t)between(1, step_count), crashes);
        if (crashes) {
            crash();
        }
        sim.is_quiet = sim_chance(1, 2); // an orderly stop, perhaps with the disk at its best
        end_run();
        sim.is_quiet = false;
        for (uint64_t changes = sim_random(4); changes > 0; changes--) {
            sim_source_change(any_source()); // while weir is down
        }
        if (sim_chance(1, 16)) {
            sim_source_forget(any_source());
        }
    }
    begin_run();
    steps((uint32_t)between(1, step_count), false);
    come_to_rest();
    end_run();
    sim_store_clear();
    sim_guest_end();
    return fibers_end();
}
