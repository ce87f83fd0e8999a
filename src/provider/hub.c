// SPDX-License-Identifier: Apache-2.0
//
// See hub.h. The lock guards the list of requests, and is held for a few pointer moves; nothing is
// called under it.
//
// What a sink remembers may have to wait for the disk, so it is called by who watches, not on the
// hub's thread: `begin` leaves notes, and the watch is held (its offers are answered by WEIR_AGAIN)
// until the sink has them.
//
// The descriptor that wakes the thread is written to once for all that is asked until the thread
// has seen it: acknowledgements come by the hundred thousand.
//
// When the hub ends, its thread is first let out of any wait in `work`; what was asked before is
// then still served, with WEIR_HUB_END_WAIT_MS for all of it, so that the last acknowledgements
// arrive.
#include "provider/hub.h"

#include "base/clock.h"
#include "base/thread.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <utlist.h>

enum {
    ACKNOWLEDGED_FIRST = 16,     // places for events when the first one comes
    REQUESTS_AT_ONCE_MAX = 4096, // before there is `work` again
};

// What is asked of the thread; bits.
enum request {
    REQUEST_BEGIN = 1,
    REQUEST_RELEASE = 2, // the sink has remembered
    REQUEST_RESUME = 4,
    REQUEST_ACKNOWLEDGED = 8,
    REQUEST_END = 16,
};

// The answer to REQUEST_BEGIN; who waits for it owns it.
struct weir_hub_reply {
    bool is_taken, is_done;
    int64_t until_ns;
    weir_status status;
    struct weir_error error;
};

struct weir_hub_note {
    struct weir_hub_note *next;
    struct weir_str key, fingerprint;
    char bytes[];
};

struct weir_hub {
    struct weir_resource *resource;
    const struct weir_hub_functions *functions;
    void *context;
    int wake_fd; // eventfd: somebody has asked for something
    int end_fd;  // eventfd: the hub ends; stays readable
    atomic_bool is_woken;
    atomic_bool is_ending;
    atomic_size_t watch_count;

    pthread_mutex_t lock;
    pthread_cond_t answered;
    struct weir_hub_watch *requests; // first come, first served
    bool has_thread;
    pthread_t thread;

    // The thread's.
    struct weir_hub_watch *unasked; // in the order in which they are to be asked
    int64_t drain_until_ns;         // 0: the hub does not end yet
};

// ---- asking; any thread ----

void weir_hub_wake(struct weir_hub *hub) {
    if (!atomic_exchange(&hub->is_woken, true)) {
        const uint64_t one = 1;
        ssize_t written = write(hub->wake_fd, &one, sizeof one); // its counter cannot overflow
        (void)written;
    }
}

// Under lock.
static void ask(struct weir_hub_watch *watch, enum request request) {
    if (watch->requests == 0) {
        DL_APPEND2(watch->hub->requests, watch, request_prev, request_next);
    }
    watch->requests |= request;
}

static void ask_and_wake(struct weir_hub_watch *watch, enum request request) {
    struct weir_hub *hub = watch->hub; // the watch may be gone when the lock is left
    pthread_mutex_lock(&hub->lock);
    ask(watch, request);
    pthread_mutex_unlock(&hub->lock);
    weir_hub_wake(hub);
}

static void free_notes(struct weir_hub_watch *watch) {
    while (watch->notes) {
        struct weir_hub_note *next = watch->notes->next;
        free(watch->notes);
        watch->notes = next;
    }
    watch->notes_end = &watch->notes;
}

static void watch_free(struct weir_hub_watch *watch) {
    if (watch->hub->functions->discard) {
        watch->hub->functions->discard(watch);
    }
    for (size_t i = 0; i < watch->acknowledged_count; i++) {
        weir_event_unref(watch->acknowledged[i]);
    }
    free(watch->acknowledged);
    free_notes(watch);
    pthread_mutex_destroy(&watch->offer_lock);
    atomic_fetch_sub(&watch->hub->watch_count, 1);
    free((char *)(uintptr_t)watch->pattern.text.data);
    free(watch->name);
    free(watch);
}

static struct weir_hub_watch *watch_new(struct weir_hub *hub, const struct weir_watch_args *args) {
    struct weir_hub_watch *watch = calloc(1, hub->functions->watch_bytes);
    if (!watch) {
        return NULL;
    }
    watch->base.resource = hub->resource;
    watch->hub = hub;
    atomic_fetch_add(&hub->watch_count, 1);
    watch->notes_end = &watch->notes;
    pthread_mutex_init(&watch->offer_lock, NULL);
    watch->sink = args->sink;
    watch->event_bytes_max = args->event_bytes_max;
    watch->is_resumed = args->resume != NULL;
    watch->meter = args->meter;
    watch->pattern = args->pattern;
    watch->pattern.text.data = weir_str_copy(args->pattern.text);
    watch->name = args->name ? strdup(args->name) : NULL;
    if (!watch->pattern.text.data || (args->name && !watch->name)) {
        watch_free(watch);
        return NULL;
    }
    return watch;
}

static void *thread_main(void *argument);

// Under lock.
static weir_status start_thread(struct weir_hub *hub, struct weir_error *err) {
    if (hub->has_thread) {
        return WEIR_OK;
    }
    char name[WEIR_THREAD_NAME_BYTES];
    snprintf(name, sizeof name, "weir:%.6s:%.3s", hub->resource->provider->kind,
             hub->resource->name);
    int code = weir_thread_start(&hub->thread, name, thread_main, hub);
    if (code) {
        return weir_fail_errno(err, code, "cannot start a thread for %s", hub->resource->name);
    }
    hub->has_thread = true;
    return WEIR_OK;
}

// Has the thread begin the watch, and waits for that. One that the thread has not come to in time
// is taken back; one that it has taken ends by its until_ns, as `begin` does.
static weir_status begin(struct weir_hub_watch *watch, struct weir_error *err) {
    struct weir_hub *hub = watch->hub;
    struct weir_hub_reply reply = {.until_ns = weir_clock_monotonic_ns() +
                                               WEIR_WATCH_WAIT_MS * WEIR_NS_PER_MS};
    struct timespec until = weir_clock_timespec(reply.until_ns);
    pthread_mutex_lock(&hub->lock);
    weir_status status = start_thread(hub, err);
    if (status != WEIR_OK) {
        pthread_mutex_unlock(&hub->lock);
        return status;
    }
    watch->reply = &reply;
    ask(watch, REQUEST_BEGIN);
    weir_hub_wake(hub);
    int code = 0;
    while (!reply.is_done && (reply.is_taken || code != ETIMEDOUT)) {
        code = reply.is_taken
                   ? pthread_cond_wait(&hub->answered, &hub->lock)
                   : pthread_cond_clockwait(&hub->answered, &hub->lock, CLOCK_MONOTONIC, &until);
    }
    if (!reply.is_done) {
        DL_DELETE2(hub->requests, watch, request_prev, request_next);
        reply.status = weir_fail(&reply.error, WEIR_UNAVAILABLE,
                                 "%s is busy with other watches since %d seconds",
                                 hub->resource->name, WEIR_WATCH_WAIT_MS / 1000);
    }
    watch->reply = NULL;
    pthread_mutex_unlock(&hub->lock);
    if (reply.status != WEIR_OK && err) {
        *err = reply.error;
    }
    return reply.status;
}

// Lets the sink remember what `begin` has left, and lets go of the watch.
static weir_status remember(struct weir_hub_watch *watch, struct weir_error *err) {
    weir_status status = WEIR_OK;
    for (const struct weir_hub_note *note = watch->notes; status == WEIR_OK && note;
         note = note->next) {
        status = watch->sink.remember(watch->sink.context, note->key, note->fingerprint);
    }
    if (status != WEIR_OK) {
        weir_fail(err, status, "cannot keep what is in %s when the watch begins",
                  watch->hub->resource->name);
        weir_hub_unwatch(&watch->base);
        return status;
    }
    free_notes(watch);
    ask_and_wake(watch, REQUEST_RELEASE);
    return WEIR_OK;
}

weir_status weir_hub_watch(struct weir_hub *hub, const struct weir_watch_args *args,
                           struct weir_watch **ret_watch, struct weir_error *err) {
    *ret_watch = NULL;
    struct weir_hub_watch *watch = watch_new(hub, args);
    if (!watch) {
        return weir_fail_no_memory(err, "a watch");
    }
    weir_status status =
        hub->functions->prepare ? hub->functions->prepare(hub->context, watch, args, err) : WEIR_OK;
    bool remembers = args->sink.remember && !args->resume;
    watch->is_held = remembers;
    status = status == WEIR_OK ? begin(watch, err) : status;
    if (status != WEIR_OK) {
        watch_free(watch);
        return status;
    }
    status = remembers ? remember(watch, err) : WEIR_OK;
    *ret_watch = status == WEIR_OK ? &watch->base : NULL;
    return status;
}

void weir_hub_unwatch(struct weir_watch *base) {
    if (!base) {
        return;
    }
    struct weir_hub_watch *watch = (struct weir_hub_watch *)base;
    pthread_mutex_lock(&watch->offer_lock);
    watch->is_silenced = true;
    pthread_mutex_unlock(&watch->offer_lock);
    ask_and_wake(watch, REQUEST_END);
}

void weir_hub_resume(struct weir_watch *base) {
    ask_and_wake((struct weir_hub_watch *)base, REQUEST_RESUME);
}

// Under lock.
static bool has_place(struct weir_hub_watch *watch) {
    if (watch->acknowledged_count < watch->acknowledged_capacity) {
        return true;
    }
    size_t capacity =
        watch->acknowledged_capacity ? 2 * watch->acknowledged_capacity : ACKNOWLEDGED_FIRST;
    struct weir_event **grown =
        realloc(watch->acknowledged, capacity * sizeof(struct weir_event *));
    if (grown) {
        watch->acknowledged = grown;
        watch->acknowledged_capacity = capacity;
    }
    return grown != NULL;
}

void weir_hub_acknowledge(struct weir_watch *base, struct weir_event *event) {
    struct weir_hub_watch *watch = (struct weir_hub_watch *)base;
    struct weir_hub *hub = watch->hub;
    if (!hub->functions->acknowledge) {
        return;
    }
    pthread_mutex_lock(&hub->lock);
    // Without memory it is not acknowledged: its source tells it again, some time.
    if (has_place(watch)) {
        watch->acknowledged[watch->acknowledged_count++] = weir_event_ref(event);
        ask(watch, REQUEST_ACKNOWLEDGED);
    }
    pthread_mutex_unlock(&hub->lock);
    weir_hub_wake(hub);
}

// ---- the thread ----

bool weir_hub_is_watched(const struct weir_hub *hub) {
    return atomic_load(&hub->watch_count) > 0;
}

bool weir_hub_is_ending(const struct weir_hub *hub) {
    return atomic_load(&hub->is_ending);
}

weir_status weir_hub_wait(struct weir_hub *hub, int fd, short events, int64_t until_ns) {
    bool is_draining = hub->drain_until_ns != 0;
    if (is_draining && until_ns > hub->drain_until_ns) {
        until_ns = hub->drain_until_ns;
    }
    struct pollfd fds[] = {{.fd = fd, .events = events},
                           {.fd = is_draining ? -1 : hub->end_fd, .events = POLLIN}};
    for (;;) {
        int64_t left_ns = until_ns == INT64_MAX ? 0 : until_ns - weir_clock_monotonic_ns();
        struct timespec timeout = weir_clock_timespec(left_ns > 0 ? left_ns : 0);
        int ready = ppoll(fds, 2, until_ns == INT64_MAX ? NULL : &timeout, NULL);
        if (fds[1].revents) {
            return WEIR_STOPPED;
        }
        if (ready > 0) {
            return WEIR_OK;
        }
        if (ready == 0) {
            return is_draining && until_ns == hub->drain_until_ns ? WEIR_STOPPED : WEIR_UNAVAILABLE;
        }
        if (errno != EINTR) { // no memory for it: as if the moment had come
            return WEIR_UNAVAILABLE;
        }
    }
}

bool weir_hub_is_paused(const struct weir_hub_watch *watch) {
    return watch->is_held || watch->is_paused || watch->is_unasked;
}

weir_status weir_hub_offer(struct weir_hub_watch *watch, struct weir_event *event) {
    if (weir_hub_is_paused(watch)) {
        return WEIR_AGAIN;
    }
    pthread_mutex_lock(&watch->offer_lock);
    weir_status status =
        watch->is_silenced ? WEIR_STOPPED : watch->sink.offer(watch->sink.context, event);
    pthread_mutex_unlock(&watch->offer_lock);
    switch (status) {
    case WEIR_OK:
    case WEIR_STOPPED:
        return status;
    case WEIR_AGAIN:
        watch->is_paused = true;
        return status;
    default: // WEIR_NO_MEMORY
        watch->is_unasked = true;
        watch->ask_ns = weir_clock_monotonic_ns() + WEIR_HUB_NO_MEMORY_WAIT_MS * WEIR_NS_PER_MS;
        DL_APPEND2(watch->hub->unasked, watch, unasked_prev, unasked_next);
        return WEIR_AGAIN;
    }
}

weir_status weir_hub_remember(struct weir_hub_watch *watch, struct weir_str key,
                              struct weir_str fingerprint, struct weir_error *err) {
    if (!watch->is_held) {
        return WEIR_OK;
    }
    struct weir_hub_note *note = malloc(sizeof *note + key.size + fingerprint.size);
    if (!note) {
        return weir_fail_no_memory(err, "what there is when a watch begins");
    }
    *note = (struct weir_hub_note){.key = {note->bytes, key.size},
                                   .fingerprint = {note->bytes + key.size, fingerprint.size}};
    if (key.size > 0) {
        memcpy(note->bytes, key.data, key.size);
    }
    if (fingerprint.size > 0) {
        memcpy(note->bytes + key.size, fingerprint.data, fingerprint.size);
    }
    *watch->notes_end = note;
    watch->notes_end = &note->next;
    return WEIR_OK;
}

static void stop_unasked(struct weir_hub_watch *watch) {
    if (watch->is_unasked) {
        DL_DELETE2(watch->hub->unasked, watch, unasked_prev, unasked_next);
        watch->is_unasked = false;
    }
}

static void answer_begin(struct weir_hub *hub, struct weir_hub_watch *watch, int64_t until_ns) {
    struct weir_error error = {0};
    weir_status status = weir_hub_is_ending(hub)
                             ? weir_fail(&error, WEIR_STOPPED, "the resource is being closed")
                             : hub->functions->begin(hub->context, watch, until_ns, &error);
    if (status != WEIR_OK) {
        stop_unasked(watch);
    }
    watch->has_begun = status == WEIR_OK;
    pthread_mutex_lock(&hub->lock);
    watch->reply->status = status;
    watch->reply->error = error;
    watch->reply->is_done = true; // from now on, if it failed, who asked may free the watch
    pthread_cond_broadcast(&hub->answered);
    pthread_mutex_unlock(&hub->lock);
}

// What was asked for a watch, out of the list.
struct taken {
    struct weir_hub_watch *watch; // NULL: nothing is asked
    unsigned requests;
    int64_t until_ns; // of REQUEST_BEGIN
    struct weir_event **acknowledged;
    size_t acknowledged_count;
};

static struct taken take_request(struct weir_hub *hub) {
    pthread_mutex_lock(&hub->lock);
    struct weir_hub_watch *watch = hub->requests;
    struct taken taken = {.watch = watch};
    if (watch) {
        DL_DELETE2(hub->requests, watch, request_prev, request_next);
        taken.requests = watch->requests;
        taken.acknowledged = watch->acknowledged;
        taken.acknowledged_count = watch->acknowledged_count;
        watch->requests = 0;
        watch->acknowledged = NULL;
        watch->acknowledged_count = watch->acknowledged_capacity = 0;
        if (taken.requests & REQUEST_BEGIN) {
            watch->reply->is_taken = true;
            taken.until_ns = watch->reply->until_ns;
        }
    }
    pthread_mutex_unlock(&hub->lock);
    return taken;
}

static void acknowledge(struct weir_hub *hub, const struct taken *taken) {
    for (size_t i = 0; i < taken->acknowledged_count; i++) {
        hub->functions->acknowledge(hub->context, taken->watch, taken->acknowledged[i]);
        weir_event_unref(taken->acknowledged[i]);
    }
    free(taken->acknowledged);
}

static void serve(struct weir_hub *hub, const struct taken *taken) {
    struct weir_hub_watch *watch = taken->watch;
    if (taken->requests & REQUEST_BEGIN) {
        answer_begin(hub, watch, taken->until_ns); // nothing else is asked before it is answered
        return;
    }
    acknowledge(hub, taken);
    if (taken->requests & REQUEST_END) {
        stop_unasked(watch);
        hub->functions->end(hub->context, watch);
        watch_free(watch);
        return;
    }
    if (taken->requests & REQUEST_RELEASE) {
        watch->is_held = false;
    }
    if (taken->requests & REQUEST_RESUME) {
        watch->is_paused = false;
    }
    if ((taken->requests & (REQUEST_RELEASE | REQUEST_RESUME)) && !weir_hub_is_paused(watch)) {
        hub->functions->resume(hub->context, watch);
    }
}

// Serves what is asked, a bounded part of it. Returns whether there may be more.
static bool serve_all(struct weir_hub *hub) {
    bool has_acknowledged = false;
    int served = 0;
    for (; served < REQUESTS_AT_ONCE_MAX; served++) {
        struct taken taken = take_request(hub);
        if (!taken.watch) {
            break;
        }
        has_acknowledged = has_acknowledged || taken.acknowledged_count > 0;
        serve(hub, &taken);
    }
    if (has_acknowledged && hub->functions->acknowledged) {
        hub->functions->acknowledged(hub->context);
    }
    return served == REQUESTS_AT_ONCE_MAX;
}

// Asks sinks again that had no memory.
static void ask_again(struct weir_hub *hub) {
    int64_t now_ns = weir_clock_monotonic_ns();
    // One that is asked for nothing again is put behind the others, with a later moment.
    while (hub->unasked && hub->unasked->ask_ns <= now_ns) {
        struct weir_hub_watch *watch = hub->unasked;
        stop_unasked(watch);
        if (!weir_hub_is_paused(watch)) {
            hub->functions->resume(hub->context, watch);
        }
    }
}

// Sleeps until the provider's descriptors are ready, somebody asks for something, or the moment.
static size_t sleep_until(struct weir_hub *hub, struct pollfd fds[WEIR_HUB_FDS_MAX + 1],
                          int64_t due_ns) {
    size_t count = hub->functions->wait_for(hub->context, fds);
    fds[count] = (struct pollfd){.fd = hub->wake_fd, .events = POLLIN};
    int64_t left_ns = due_ns == 0 ? 0 : due_ns - weir_clock_monotonic_ns();
    struct timespec timeout = weir_clock_timespec(left_ns > 0 ? left_ns : 0);
    if (ppoll(fds, count + 1, due_ns == INT64_MAX ? NULL : &timeout, NULL) < 0) {
        for (size_t i = 0; i <= count; i++) {
            fds[i].revents = 0;
        }
    }
    if (fds[count].revents) {
        uint64_t ignored;
        ssize_t got = read(hub->wake_fd, &ignored, sizeof ignored);
        (void)got;
        atomic_store(&hub->is_woken, false); // who asks from here on is seen by serve_all, or wakes
    }
    return count;
}

static void *thread_main(void *argument) {
    struct weir_hub *hub = argument;
    struct pollfd fds[WEIR_HUB_FDS_MAX + 1];
    weir_thread_be_prompt();
    int64_t due_ns = 0;
    while (!weir_hub_is_ending(hub)) {
        size_t count = sleep_until(hub, fds, due_ns);
        bool has_more = serve_all(hub);
        ask_again(hub);
        due_ns = hub->functions->work(hub->context, fds, count);
        // Those that work has found without memory are among them.
        due_ns = hub->unasked && hub->unasked->ask_ns < due_ns ? hub->unasked->ask_ns : due_ns;
        due_ns = has_more ? 0 : due_ns;
    }
    hub->drain_until_ns = weir_clock_monotonic_ns() + WEIR_HUB_END_WAIT_MS * WEIR_NS_PER_MS;
    while (serve_all(hub)) { // ends: nobody asks any more
    }
    return NULL;
}

// ---- making and ending ----

weir_status weir_hub_create(const struct weir_hub_args *args, struct weir_hub **ret_hub,
                            struct weir_error *err) {
    *ret_hub = NULL;
    struct weir_hub *hub = calloc(1, sizeof *hub);
    if (!hub) {
        return weir_fail_no_memory(err, "a resource");
    }
    hub->resource = args->resource;
    hub->functions = args->functions;
    hub->context = args->context;
    atomic_init(&hub->is_woken, false);
    atomic_init(&hub->is_ending, false);
    atomic_init(&hub->watch_count, 0);
    pthread_mutex_init(&hub->lock, NULL);
    pthread_cond_init(&hub->answered, NULL); // waited for by pthread_cond_clockwait
    hub->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    hub->end_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (hub->wake_fd < 0 || hub->end_fd < 0) {
        weir_status status =
            weir_fail_errno(err, errno, "cannot make an eventfd for %s", args->resource->name);
        weir_hub_destroy(hub);
        return status;
    }
    *ret_hub = hub;
    return WEIR_OK;
}

void weir_hub_destroy(struct weir_hub *hub) {
    if (!hub) {
        return;
    }
    if (hub->has_thread) {
        const uint64_t one = 1;
        atomic_store(&hub->is_ending, true);
        ssize_t written = write(hub->end_fd, &one, sizeof one);
        (void)written;
        weir_hub_wake(hub);
        pthread_join(hub->thread, NULL);
    }
    if (hub->wake_fd >= 0) {
        close(hub->wake_fd);
    }
    if (hub->end_fd >= 0) {
        close(hub->end_fd);
    }
    pthread_cond_destroy(&hub->answered);
    pthread_mutex_destroy(&hub->lock);
    free(hub);
}
