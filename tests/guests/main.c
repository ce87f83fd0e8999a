// SPDX-License-Identifier: Apache-2.0
//
// Commands that use what the host offers, rightly and wrongly. CASE, given by the build, is one of
// the functions below, without its "main_": main-exec-twice.wasm calls main_exec_twice. Each prints
// what was answered, a line a call: "listen: ok", "open: not-found: TEXT". They use the resource
// `store`; the handlers print the subject.
//
// Proves: each call has a defined answer in each state, and a wrong handle or pointer ends this
// guest and nothing else.
#include <stdio.h>
#include <time.h>
#include <weir.h>

enum { TRIES_MAX = 1 << 20 }; // of what the host has to bound

static struct weir_error err;
static struct weir_str rd;
static struct weir_observable observable;
static struct weir_events events;

// Says what was answered, and forgets it: these guests go on after an error.
static bool said(const char *call) {
    bool is_done = err.status == WEIR_OK;
    if (is_done)
        printf("%s: ok\n", call);
    else
        printf("%s: %s: %.*s\n", call, weir_status_name(err.status), WEIR_STR_ARG(err.message));
    err.status = WEIR_OK;
    return is_done;
}

static bool open(const char *name) {
    rd = weir_open(name, &err);
    return said("open");
}

static bool watch(const char *key) {
    observable = weir_watch(rd, key, &err);
    return said("watch");
}

static bool get(void) {
    events = weir_events_get(&err);
    return said("get");
}

static bool listen(void) {
    weir_events_listen(events, observable, &err);
    return said("listen");
}

static bool listen_to(const char *handler) {
    weir_events_listen_to(events, observable, handler, &err);
    return said("listen-to");
}

static bool exec(uint64_t duration_s) {
    weir_events_exec(events, duration_s, &err);
    return said("exec");
}

static bool subscribe(const char *key) {
    return open("store") && watch(key) && get() && listen();
}

// ---- what is right

static inline int main_exec_forever(void) {
    return subscribe("*") && exec(0) ? 0 : 1;
}

static inline int main_exec_one_second(void) {
    return subscribe("*") && exec(1) ? 0 : 1;
}

// The same; a body `loop` makes its handler never return.
static inline int main_exec_hang(void) {
    return main_exec_one_second();
}

static inline int main_listen_to(void) {
    return open("store") && watch("*") && get() && listen_to("on-other") && exec(0) ? 0 : 1;
}

// Half a second without a call of the host's, in which the test changes something.
static inline void compute(void) {
    struct timespec from, now;
    printf("computing\n");
    clock_gettime(CLOCK_MONOTONIC, &from);
    do
        clock_gettime(CLOCK_MONOTONIC, &now);
    while ((now.tv_sec - from.tv_sec) * 1000 + (now.tv_nsec - from.tv_nsec) / 1000000 < 500);
}

// What changes between listen and exec is delivered.
static inline int main_late_exec(void) {
    if (!subscribe("*"))
        return 1;
    compute();
    return exec(0) ? 0 : 1;
}

// What changes between watch and listen is delivered.
static inline int main_late_listen(void) {
    if (!open("store") || !watch("*"))
        return 1;
    compute();
    return get() && listen() && exec(0) ? 0 : 1;
}

// ---- what is odd

static inline int main_exec_twice(void) {
    subscribe("*");
    exec(1);
    exec(1);
    return 0;
}

static inline int main_exec_nothing(void) {
    get();
    exec(1);
    return 0;
}

static inline int main_exec_longest(void) {
    subscribe("*");
    exec(UINT64_MAX);
    return 0;
}

static inline int main_listen_after_exec(void) {
    subscribe("*");
    exec(1);
    listen();
    return 0;
}

static inline int main_listen_twice(void) {
    subscribe("*");
    listen();
    exec(0);
    return 0;
}

// The set goes before exec, and its subscriptions with it.
static inline int main_drop_set(void) {
    subscribe("*");
    weir_events_drop(events);
    get();
    exec(1);
    return 0;
}

// Subscriptions of two sets; only the one that is executed delivers.
static inline int main_two_sets(void) {
    subscribe("first");
    struct weir_events first = events;
    watch("second");
    get();
    listen();
    events = first;
    exec(1);
    printf("the first is done\n");
    return 0;
}

static inline int main_unknown_resource(void) {
    open("nonesuch");
    return 0;
}

// `secret` is in the configuration, but this guest has no grant.
static inline int main_denied_resource(void) {
    open("secret");
    return 0;
}

static inline int main_odd_names(void) {
    open("");
    open("store\n");
    open("\x1b[31m");
    return 0;
}

static inline int main_odd_keys(void) {
    open("store");
    watch("");
    watch("../outside");
    watch("a*b");
    return 0;
}

static inline int main_unknown_descriptor(void) {
    rd = WEIR_STR("no such descriptor");
    watch("*");
    return 0;
}

static inline int main_unknown_observable(void) {
    observable =
        (struct weir_observable){.rd = WEIR_STR("nowhere"), .key = WEIR_STR("never watched")};
    get();
    listen();
    return 0;
}

static inline int main_unknown_handler(void) {
    open("store");
    watch("*");
    get();
    listen_to("sdfsdf");
    listen_to("");
    return 0;
}

static inline int main_wrong_signature(void) {
    open("store");
    watch("*");
    get();
    listen_to("on-bad");
    listen_to("cabi_realloc");
    listen_to("memory");
    return 0;
}

// ---- what ends

static inline int main_return_1(void) {
    return 1;
}

static inline int main_exit_3(void) {
    printf("leaving with 3\n");
    exit(3);
}

// Never returns and never waits: only a stop from outside or the bound on the main's time ends it.
static inline int main_loop(void) {
    printf("looping\n");
    for (volatile unsigned i = 0;; i++)
        ;
}

static inline int main_trap(void) {
    __builtin_trap();
}

// ---- what goes over a bound: prints how far it came

static inline int main_many_handles(void) {
    int count = 0;
    while (count < TRIES_MAX && weir_events_get(&err).handle != 0)
        count++;
    printf("handles: %d\n", count);
    said("get");
    return 0;
}

static inline int main_many_watches(void) {
    int count = 0;
    open("store");
    while (count < TRIES_MAX) {
        char key[32];
        snprintf(key, sizeof key, "key-%d", count);
        weir_watch(rd, key, &err);
        if (err.status != WEIR_OK)
            break;
        count++;
    }
    printf("watches: %d\n", count);
    said("watch");
    return 0;
}

// ---- what is wrong: each ends in a trap

static inline int main_bad_utf8_name(void) {
    open("bad \xff utf-8");
    return 0;
}

static inline int main_bad_utf8_key(void) {
    open("store");
    watch("bad \xff utf-8");
    return 0;
}

static inline int main_stale_handle(void) {
    subscribe("*");
    weir_events_drop(events);
    listen();
    return 0;
}

static inline int main_stale_exec(void) {
    subscribe("*");
    weir_events_drop(events);
    exec(1);
    return 0;
}

static inline int main_double_drop(void) {
    get();
    weir_events_drop(events);
    weir_events_drop(events);
    return 0;
}

static inline int main_forged_handle(void) {
    events.handle = 12345;
    exec(1);
    return 0;
}

static inline int main_zero_handle(void) {
    events.handle = 0;
    exec(1);
    return 0;
}

static inline int main_negative_handle(void) {
    events.handle = -1;
    weir_events_drop(events);
    return 0;
}

static inline int main_wild_name(void) {
    struct weir_answer_ answer;
    weir_import_open_((const char *)0xfffffff0u, 64, &answer);
    return 0;
}

static inline int main_endless_name(void) {
    struct weir_answer_ answer;
    weir_import_open_("store", 0xffffffffu, &answer);
    return 0;
}

static inline int main_wild_answer(void) {
    weir_import_get_((void *)0xfffffffcu);
    return 0;
}

static inline int main_unaligned_answer(void) {
    static _Alignas(8) char area[32];
    weir_import_get_(area + 1);
    return 0;
}

// The last 4 bytes of the memory, where 16 are written.
static inline int main_answer_at_end(void) {
    weir_import_get_((void *)(__builtin_wasm_memory_size(0) * 65536 - 4));
    return 0;
}

int main(void) {
    return WEIR_PASTE_(main_, CASE)();
}

static struct weir_result print(const char *handler, const struct weir_event *event) {
    printf("%s got %.*s\n", handler, WEIR_STR_ARG(event->subject.value));
    for (volatile unsigned i = 0; weir_str_equal(weir_event_body(event), WEIR_STR("loop")); i++)
        ;
    return weir_ok();
}

static struct weir_result handle_event(const struct weir_event *event) {
    return print("handle-event", event);
}
WEIR_EVENT_HANDLER(handle_event)

static struct weir_result on_other(const struct weir_event *event) {
    return print("on-other", event);
}
WEIR_HANDLER("on-other", on_other)

__attribute__((export_name("on-bad"))) int on_bad(int a, int b) {
    return a + b;
}
