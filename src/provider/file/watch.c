// SPDX-License-Identifier: Apache-2.0
//
// The watcher's thread, and what others may ask of it.
//
// Everything about watches is done by the one thread that also offers their events, so its tables
// need no locks and the way of an event takes two, both free: watch->offer_lock, and none other
// than that of the sink. Another thread leaves a request in a list and wakes the thread through an
// eventfd. The other way, a mutex around the tables, was left because a thread that is busy with a
// burst takes it again before the one that waits for it has woken up.
//
//   watch    waits for the answer, for at most ADD_WAIT_MS: it must not return before the
//   directories are watched and
//            what is there was noted. If the time passes, the watch is taken back when the thread
//            comes to it.
//            What a sink keeps over a stop is read and written by the thread that begins the watch,
//            before and after this, for that may take as long as a disk takes: the watcher's
//            thread is handed a list, or makes one. A watch whose sink is to remember what there
//            was begins paused, so that no event overtakes that.
//   unwatch  waits for an offer to this watch's sink to end, if one is under way, and for nothing
//   else. The thread
//            frees the watch when it comes to it.
//   resume   never waits.
//
// The thread starts with the first watch and sleeps in ppoll(2) when there is nothing to do. It
// holds no descriptor of the resource's directory while it sleeps (but for ROOT_HOLD_MS, which
// saves opening it for each event of a burst): an open descriptor keeps a file system from being
// unmounted, and keeps the kernel from telling that the directory was removed.
//
// A dead network file system can hold the thread in a call for minutes. Closing does not wait for
// that: the thread is then left alone with the watcher, which it frees when the call returns;
// nothing that belongs to others is touched, because the sinks are silenced and the log is taken
// away under its lock.
#include "provider/file/watcher.h"

#include "base/clock.h"
#include "base/show.h"
#include "base/thread.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

enum {
    ADD_WAIT_MS = 30000, // of watch for the thread, which may have a large directory to read
    ROOT_HOLD_MS = 20,   // how long the directory stays open after its last use
    WATCHES_MAX = 65536, // of one resource
};

// ---- shared ----

void weir_file_watcher_log(struct weir_file_watcher *watcher, enum weir_log_level level,
                           const char *message, const char *cause) {
    pthread_mutex_lock(&watcher->log_lock);
    const struct weir_log_field fields[] = {
        {"resource", weir_str_of(watcher->name)},
        {"path", weir_str_of(watcher->path)},
        {"reason", weir_str_of(cause)},
    };
    size_t count = sizeof fields / sizeof fields[0];
    weir_log_write(watcher->log, level, message, fields, cause ? count : count - 1);
    pthread_mutex_unlock(&watcher->log_lock);
}

bool weir_file_watch_wants_directory(const struct watch *watch, struct weir_str prefix) {
    const struct weir_pattern *pattern = &watch->pattern;
    return weir_str_has_prefix(pattern->text, prefix) ||
           (pattern->is_prefix && weir_str_has_prefix(prefix, pattern->text));
}

// The next one, from `prefix` on, that the key matches.
static void match_prefix(struct match *match, struct watch *prefix, struct weir_str key) {
    while (prefix && !weir_str_has_prefix(key, prefix->pattern.text)) {
        prefix = prefix->peer_next;
    }
    match->watch = prefix;
}

struct match weir_file_match_first(const struct weir_file_watcher *watcher, struct weir_str key) {
    struct match match = {.key = key, .prefixes = watcher->prefixes};
    struct exact *exact;
    HASH_FIND(hh, watcher->exacts, key.data, key.size, exact);
    if (exact) {
        match.watch = exact->watches;
    } else {
        match.is_prefix = true;
        match_prefix(&match, match.prefixes, key);
    }
    return match;
}

void weir_file_match_next(struct match *match) {
    struct watch *next = match->watch->peer_next;
    if (!match->is_prefix && !next) {
        match->is_prefix = true;
        next = match->prefixes;
    }
    if (match->is_prefix) {
        match_prefix(match, next, match->key);
    } else {
        match->watch = next;
    }
}

// ---- requests: any thread ----

static void wake(struct weir_file_watcher *watcher) {
    const uint64_t one = 1;
    // It can only fail where the counter is full, and then the thread is awake anyway.
    ssize_t ignored = write(watcher->wake_fd, &one, sizeof one);
    (void)ignored;
}

// Under watcher->lock.
static void request(struct watch *watch, enum request what) {
    if (watch->requests == 0) {
        DL_APPEND2(watch->watcher->requests, watch, request_prev, request_next);
    }
    watch->requests |= what;
}

static void watch_free(struct watch *watch) {
    if (!watch) {
        return;
    }
    pthread_mutex_destroy(&watch->offer_lock);
    weir_file_notes_finish(&watch->notes);
    free(watch->reply);
    free(watch->pattern_text);
    free(watch);
}

static struct watch *watch_new(struct weir_file_resource *resource,
                               const struct weir_watch_args *args) {
    struct watch *watch = calloc(1, sizeof *watch);
    if (!watch) {
        return NULL;
    }
    pthread_mutex_init(&watch->offer_lock, NULL);
    watch->base.resource = &resource->base;
    watch->watcher = resource->watcher;
    watch->sink = args->sink;
    watch->event_bytes_max = args->event_bytes_max;
    watch->meter = args->meter;
    watch->is_resumed = args->resume != NULL;
    watch->is_remembered = !args->resume && args->sink.remember;
    watch->reply = calloc(1, sizeof *watch->reply);
    size_t size = args->pattern.text.size;
    watch->pattern_text = malloc(size + 1);
    if (!watch->reply || !watch->pattern_text) {
        watch_free(watch);
        return NULL;
    }
    if (size > 0) {
        memcpy(watch->pattern_text, args->pattern.text.data, size);
    }
    watch->pattern = (struct weir_pattern){
        .text = {.data = watch->pattern_text, .size = size},
        .is_prefix = args->pattern.is_prefix,
    };
    return watch;
}

static void silence(struct watch *watch) {
    pthread_mutex_lock(&watch->offer_lock);
    watch->is_silenced = true;
    pthread_mutex_unlock(&watch->offer_lock);
}

// The answer did not come in time: takes the watch back, whatever became of it meanwhile.
static weir_status give_up(struct weir_file_watcher *watcher, struct watch *watch,
                           struct weir_error *err) {
    silence(watch); // not under watcher->lock: the sink may be in a call of weir_file_resume
    pthread_mutex_lock(&watcher->lock);
    bool was_refused = watch->reply->is_done && watch->reply->status;
    if (!was_refused) {
        request(watch, REQUEST_REMOVE);
    }
    pthread_mutex_unlock(&watcher->lock);
    if (was_refused) {
        watch_free(watch);
    } else {
        wake(watcher);
    }
    return weir_fail(err, WEIR_UNAVAILABLE, "the directory \"%s\" was not read within %d seconds",
                     watcher->path, ADD_WAIT_MS / 1000);
}

// Waits for the answer to REQUEST_ADD. If there is none in time, the watch is the thread's to free,
// or freed.
static weir_status await(struct weir_file_watcher *watcher, struct watch *watch,
                         struct weir_error *err) {
    struct timespec deadline =
        weir_clock_timespec(weir_clock_monotonic_ns() + ADD_WAIT_MS * WEIR_NS_PER_MS);
    pthread_mutex_lock(&watcher->lock);
    int code = 0;
    while (!watch->reply->is_done && code != ETIMEDOUT) {
        code =
            pthread_cond_clockwait(&watcher->answered, &watcher->lock, CLOCK_MONOTONIC, &deadline);
    }
    if (!watch->reply->is_done) {
        pthread_mutex_unlock(&watcher->lock);
        return give_up(watcher, watch, err);
    }
    struct reply *reply = watch->reply;
    watch->reply = NULL;
    pthread_mutex_unlock(&watcher->lock);
    weir_status status = reply->status;
    if (status) {
        if (err) {
            *err = reply->error;
        }
        watch_free(watch);
    }
    free(reply);
    return status;
}

struct recall {
    struct watch *watch;
    weir_status status;
    struct weir_error *err;
};

// Notes a key that was told before the stop.
static bool recall_key(void *context, struct weir_str key, struct weir_str fingerprint) {
    struct recall *recall = context;
    struct watch *watch = recall->watch;
    struct weir_file_path path;
    struct weir_file_told told;
    // No key of this watch, or one that was told as deleted: what is there now is new.
    if (!weir_pattern_matches(&watch->pattern, key) || weir_file_key_encode(key, &path, NULL) ||
        fingerprint.size == 0) {
        return true;
    }
    weir_file_fingerprint_decode(fingerprint, &told); // or an unknown state, which nothing equals
    if (watch->notes.count == watch->watcher->keys_max) {
        recall->status = weir_fail(recall->err, WEIR_LIMIT,
                                   "more than %" PRIu64
                                   " keys of \"%s\" were told before the stop; raise keys_max",
                                   watch->watcher->keys_max, watch->watcher->path);
    } else if (!weir_file_notes_add(&watch->notes, key, &told)) {
        recall->status = weir_fail_no_memory(recall->err, "the keys of a watch");
    }
    return !recall->status;
}

// Reads what the watch was told before the stop.
static weir_status recall(struct watch *watch, const struct weir_resume *resume,
                          struct weir_error *err) {
    struct recall recall = {.watch = watch, .err = err};
    weir_status status = resume->recall(resume->context, recall_key, &recall, err);
    return recall.status ? recall.status : status;
}

// Lets the sink remember what there was when the watch began, and begins to offer.
static weir_status remember(struct watch *watch, struct weir_error *err) {
    struct weir_str key;
    struct weir_file_told told;
    char buffer[WEIR_FILE_FINGERPRINT_BYTES];
    weir_status status = WEIR_OK;
    for (size_t at = 0; !status && weir_file_notes_next(&watch->notes, &at, &key, &told);) {
        status = watch->sink.remember(watch->sink.context, key,
                                      weir_file_fingerprint_encode(&told, buffer));
    }
    weir_file_notes_finish(&watch->notes);
    if (status) {
        weir_fail(err, status, "cannot keep what is in \"%s\" when the watch begins",
                  watch->watcher->path);
        weir_file_unwatch(&watch->base);
        return status;
    }
    weir_file_resume(&watch->base);
    return WEIR_OK;
}

static weir_status watcher_create(struct weir_file_resource *resource,
                                  struct weir_file_watcher **ret_watcher, struct weir_error *err);

// The resource's watcher, made if this is the first watch.
static weir_status watcher_of(struct weir_file_resource *resource,
                              struct weir_file_watcher **ret_watcher, struct weir_error *err) {
    weir_status status = WEIR_OK;
    pthread_mutex_lock(&resource->watcher_lock);
    if (!resource->watcher) {
        status = watcher_create(resource, &resource->watcher, err);
    }
    *ret_watcher = resource->watcher;
    pthread_mutex_unlock(&resource->watcher_lock);
    return status;
}

weir_status weir_file_watch(struct weir_resource *base, const struct weir_watch_args *args,
                            struct weir_watch **ret_watch, struct weir_error *err) {
    struct weir_file_resource *resource = (struct weir_file_resource *)base;
    *ret_watch = NULL;
    weir_status status = weir_file_pattern_check(&args->pattern, err);
    if (status) {
        return status;
    }
    struct weir_file_watcher *watcher;
    status = watcher_of(resource, &watcher, err);
    if (status) {
        return status;
    }
    struct watch *watch = watch_new(resource, args);
    if (!watch) {
        return weir_fail_no_memory(err, "a watch");
    }
    status = args->resume ? recall(watch, args->resume, err) : WEIR_OK;
    if (status) {
        watch_free(watch);
        return status;
    }
    pthread_mutex_lock(&watcher->lock);
    request(watch, REQUEST_ADD);
    pthread_mutex_unlock(&watcher->lock);
    wake(watcher);
    status = await(watcher, watch, err);
    if (!status && args->sink.remember && !args->resume) {
        status = remember(watch, err);
    }
    *ret_watch = status ? NULL : &watch->base;
    return status;
}

void weir_file_unwatch(struct weir_watch *base) {
    if (!base) {
        return;
    }
    struct watch *watch = (struct watch *)base;
    struct weir_file_watcher *watcher = watch->watcher;
    silence(watch);
    pthread_mutex_lock(&watcher->lock);
    request(watch, REQUEST_REMOVE);
    pthread_mutex_unlock(&watcher->lock);
    wake(watcher);
}

void weir_file_resume(struct weir_watch *base) {
    struct watch *watch = (struct watch *)base;
    struct weir_file_watcher *watcher = watch->watcher;
    pthread_mutex_lock(&watcher->lock);
    request(watch, REQUEST_RESUME);
    pthread_mutex_unlock(&watcher->lock);
    wake(watcher);
}

// ---- requests: the thread ----

// Puts the watch where a changed key finds it. False without memory.
static bool register_watch(struct weir_file_watcher *watcher, struct watch *watch) {
    if (watch->pattern.is_prefix) {
        DL_APPEND2(watcher->prefixes, watch, peer_prev, peer_next);
    } else {
        struct exact *exact;
        HASH_FIND(hh, watcher->exacts, watch->pattern.text.data, watch->pattern.text.size, exact);
        if (!exact) {
            exact = calloc(1, sizeof *exact + watch->pattern.text.size);
            if (!exact) {
                return false;
            }
            memcpy(exact->key, watch->pattern.text.data, watch->pattern.text.size);
            HASH_ADD_KEYPTR(hh, watcher->exacts, exact->key, watch->pattern.text.size, exact);
            if (!exact->hh.tbl) {
                free(exact);
                return false;
            }
        }
        DL_APPEND2(exact->watches, watch, peer_prev, peer_next);
    }
    DL_APPEND(watcher->watches, watch);
    watcher->watch_count++;
    watch->is_registered = true;
    weir_file_tree_want(watcher, watch);
    return true;
}

static void unregister_watch(struct weir_file_watcher *watcher, struct watch *watch) {
    if (!watch->is_registered) {
        return;
    }
    watch->is_registered = false;
    weir_file_reconcile_forget(watcher, watch);
    DL_DELETE(watcher->watches, watch);
    watcher->watch_count--;
    if (watch->pattern.is_prefix) {
        DL_DELETE2(watcher->prefixes, watch, peer_prev, peer_next);
    } else {
        struct exact *exact;
        HASH_FIND(hh, watcher->exacts, watch->pattern.text.data, watch->pattern.text.size, exact);
        DL_DELETE2(exact->watches, watch, peer_prev, peer_next);
        if (!exact->watches) {
            HASH_DEL(watcher->exacts, exact);
            free(exact);
        }
    }
    weir_file_tree_unwant(watcher, watch);
}

static weir_status add(struct weir_file_watcher *watcher, struct watch *watch,
                       struct weir_error *err) {
    if (watcher->watch_count == WATCHES_MAX) {
        return weir_fail(err, WEIR_LIMIT, "%d watches of one resource, and no more are possible",
                         WATCHES_MAX);
    }
    // Changes from before this watch must not look as if they came after it.
    weir_file_tree_take_records(watcher);
    if (!register_watch(watcher, watch)) {
        return weir_fail_no_memory(err, "a watch");
    }
    weir_status status = weir_file_tree_baseline(watcher, watch, err);
    if (!status && watch->is_resumed) {
        weir_file_reconcile_measure(watch);
    }
    if (!status && watch->is_remembered) {
        watch->is_paused = true;
        if (!weir_file_reconcile_notes(watch, &watch->notes)) {
            status = weir_fail_no_memory(err, "the keys of a watch");
        }
    }
    if (status) {
        unregister_watch(watcher, watch);
    }
    return status;
}

static void answer_add(struct weir_file_watcher *watcher, struct watch *watch) {
    struct weir_error error = {0};
    weir_status status = atomic_load(&watcher->is_stopping)
                             ? weir_fail(&error, WEIR_STOPPED, "the resource is being closed")
                             : add(watcher, watch, &error);
    pthread_mutex_lock(&watcher->lock);
    watch->reply->status = status;
    watch->reply->error = error;
    watch->reply->is_done =
        true; // who asked may free the watch from now on, if the status is not WEIR_OK
    pthread_cond_broadcast(&watcher->answered);
    pthread_mutex_unlock(&watcher->lock);
}

// Takes the first request. NULL: there is none.
static struct watch *take_request(struct weir_file_watcher *watcher, unsigned *ret_requests) {
    pthread_mutex_lock(&watcher->lock);
    struct watch *watch = watcher->requests;
    if (watch) {
        DL_DELETE2(watcher->requests, watch, request_prev, request_next);
        *ret_requests = watch->requests;
        watch->requests = 0;
    }
    pthread_mutex_unlock(&watcher->lock);
    return watch;
}

// Ends, because a watch can leave no second request before it has the answer to its first, nor any
// after its last.
static void take_requests(struct weir_file_watcher *watcher) {
    unsigned requests;
    for (struct watch *watch; (watch = take_request(watcher, &requests));) {
        if (requests & REQUEST_REMOVE) { // a request to add that came with it was given up
            unregister_watch(watcher, watch);
            watch_free(watch);
        } else if (requests & REQUEST_ADD) {
            answer_add(watcher, watch);
        } else {
            weir_file_reconcile_resume(watcher, watch);
        }
    }
}

// ---- the thread ----

static int64_t earlier(int64_t a, int64_t b) {
    return a < b ? a : b;
}

// When the next thing comes that time brings; INT64_MAX: never.
static int64_t next_due_ns(const struct weir_file_watcher *watcher) {
    int64_t due_ns = weir_file_reconcile_due_ns(watcher);
    return watcher->watches ? earlier(due_ns, earlier(watcher->rescan_due_ns, watcher->root_due_ns))
                            : due_ns;
}

// Waits for a descriptor until the moment has come; INT64_MAX: without end. Returns as poll does.
static int wait_until(struct pollfd fds[static 2], int64_t due_ns, int64_t now_ns) {
    struct timespec timeout = weir_clock_timespec(due_ns > now_ns ? due_ns - now_ns : 0);
    return ppoll(fds, 2, due_ns == INT64_MAX ? NULL : &timeout, NULL);
}

// Sleeps until there is something to do. Gives back the directory first, unless something comes
// soon. Returns whether inotify has records.
static bool await_work(struct weir_file_watcher *watcher, bool has_more) {
    struct pollfd fds[] = {
        {.fd = watcher->inotify_fd, .events = POLLIN},
        {.fd = watcher->wake_fd, .events = POLLIN},
    };
    int64_t now_ns = weir_clock_monotonic_ns();
    int64_t due_ns = has_more ? now_ns : next_due_ns(watcher);
    int64_t held_until_ns = now_ns + ROOT_HOLD_MS * WEIR_NS_PER_MS;
    bool gives_back = watcher->root_fd >= 0 && held_until_ns < due_ns;
    int ready = wait_until(fds, gives_back ? held_until_ns : due_ns, now_ns);
    if (ready == 0 && gives_back) {
        weir_file_tree_root_release(watcher);
        wait_until(fds, due_ns, held_until_ns);
    }
    if (fds[1].revents) {
        uint64_t ignored;
        ssize_t got = read(watcher->wake_fd, &ignored, sizeof ignored);
        (void)got;
    }
    return fds[0].revents != 0;
}

static void run_timers(struct weir_file_watcher *watcher) {
    int64_t now_ns = weir_clock_monotonic_ns();
    weir_file_reconcile_delayed(watcher, now_ns);
    if (!watcher->watches) {
        return;
    }
    if (watcher->is_root_doubtful || watcher->root_due_ns <= now_ns) {
        weir_file_tree_root_check(watcher);
    }
    if (watcher->rescan_due_ns <= now_ns) {
        weir_file_tree_rescan(watcher);
    }
}

static void watcher_free(struct weir_file_watcher *watcher);

static void *thread_main(void *argument) {
    struct weir_file_watcher *watcher = argument;
    bool has_more = false;
    weir_thread_be_prompt();
    while (!atomic_load(&watcher->is_stopping)) {
        if (await_work(watcher, has_more)) {
            weir_file_tree_take_records(watcher);
        }
        take_requests(watcher);
        run_timers(watcher);
        bool scans = weir_file_tree_scan(watcher);
        bool drains = weir_file_reconcile_drain(watcher);
        has_more = scans || drains || (watcher->watches && watcher->is_root_doubtful);
        weir_file_tree_collect(watcher);
    }
    take_requests(watcher);
    pthread_mutex_lock(&watcher->lock);
    watcher->is_finished = true;
    pthread_cond_broadcast(&watcher->answered);
    bool is_abandoned = watcher->is_abandoned;
    pthread_mutex_unlock(&watcher->lock);
    if (is_abandoned) {
        watcher_free(watcher);
    }
    return NULL;
}

// ---- making and ending ----

// The thread has ended, or never began.
static void watcher_free(struct weir_file_watcher *watcher) {
    if (!watcher) {
        return;
    }
    // By the provider's law there is none left; a watch that was forgotten must still not leave a
    // hole behind.
    struct watch *watch, *next;
    DL_FOREACH_SAFE (watcher->watches, watch, next) {
        unregister_watch(watcher, watch);
        watch_free(watch);
    }
    weir_file_tree_finish(watcher);
    weir_file_close(&watcher->wake_fd);
    weir_file_close(&watcher->inotify_fd);
    pthread_cond_destroy(&watcher->answered);
    pthread_mutex_destroy(&watcher->lock);
    pthread_mutex_destroy(&watcher->log_lock);
    free(watcher->buffer);
    free(watcher->source);
    free(watcher->path);
    free(watcher->name);
    free(watcher);
}

static weir_status open_inotify(struct weir_file_watcher *watcher, struct weir_error *err) {
    watcher->inotify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (watcher->inotify_fd < 0) {
        int code = errno;
        return weir_fail_errno(err, code,
                               code == EMFILE
                                   ? "cannot watch \"%s\"; raise fs.inotify.max_user_instances or "
                                     "the limit of open files"
                                   : "cannot watch \"%s\"",
                               watcher->path);
    }
    watcher->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (watcher->wake_fd < 0) {
        return weir_fail_errno(err, errno, "cannot watch \"%s\"", watcher->path);
    }
    return WEIR_OK;
}

static weir_status start_thread(struct weir_file_watcher *watcher, struct weir_error *err) {
    char name[WEIR_THREAD_NAME_BYTES];
    snprintf(name, sizeof name, "weir:file:%.5s", watcher->name);
    int code = weir_thread_start(&watcher->thread, name, thread_main, watcher);
    return code == 0
               ? WEIR_OK
               : weir_fail_errno(err, code, "cannot start a thread for \"%s\"", watcher->path);
}

static weir_status watcher_create(struct weir_file_resource *resource,
                                  struct weir_file_watcher **ret_watcher, struct weir_error *err) {
    *ret_watcher = NULL;
    struct weir_file_watcher *watcher = calloc(1, sizeof *watcher);
    if (!watcher) {
        return weir_fail_no_memory(err, "a watcher");
    }
    pthread_mutex_init(&watcher->log_lock, NULL);
    pthread_mutex_init(&watcher->lock, NULL);
    pthread_cond_init(&watcher->answered,
                      NULL); // waited for by pthread_cond_clockwait, whatever its clock
    atomic_init(&watcher->is_stopping, false);
    watcher->log = resource->log;
    watcher->keys_max = resource->options.keys_max;
    watcher->directories_max = resource->options.directories_max;
    watcher->rescan_ns = resource->options.rescan_ns;
    watcher->wake_fd = watcher->inotify_fd = watcher->root_fd = -1;
    watcher->rescan_due_ns = INT64_MAX;
    watcher->root_due_ns = INT64_MAX;
    watcher->name = strdup(resource->base.name);
    watcher->path = strdup(resource->options.path);
    if (asprintf(&watcher->source, "/%s", resource->base.name) < 0) {
        watcher->source = NULL;
    }
    weir_status status = WEIR_OK;
    if (!watcher->name || !watcher->path || !watcher->source) {
        status = weir_fail_no_memory(err, "a watcher");
    }
    if (!status) {
        status = open_inotify(watcher, err);
    }
    if (!status) {
        status = start_thread(watcher, err);
    }
    if (status) {
        watcher_free(watcher);
        return status;
    }
    *ret_watcher = watcher;
    return WEIR_OK;
}

// Waits until the thread touches nothing any more. False: it did not come to that in time.
static bool await_end(struct weir_file_watcher *watcher) {
    struct timespec deadline =
        weir_clock_timespec(weir_clock_monotonic_ns() + WEIR_FILE_CLOSE_WAIT_MS * WEIR_NS_PER_MS);
    int code = 0;
    pthread_mutex_lock(&watcher->lock);
    while (!watcher->is_finished && code != ETIMEDOUT) {
        code =
            pthread_cond_clockwait(&watcher->answered, &watcher->lock, CLOCK_MONOTONIC, &deadline);
    }
    bool is_finished = watcher->is_finished;
    pthread_mutex_unlock(&watcher->lock);
    return is_finished;
}

// Leaves the watcher to its thread, without anything that belongs to others. False: the thread has
// just ended.
static bool abandon(struct weir_file_watcher *watcher) {
    weir_file_watcher_log(watcher, WEIR_LOG_WARN,
                          "a call into the file system does not return; its thread is left behind",
                          NULL);
    pthread_mutex_lock(&watcher->log_lock);
    watcher->log = NULL;
    pthread_mutex_unlock(&watcher->log_lock);
    pthread_mutex_lock(&watcher->lock);
    bool is_abandoned = !watcher->is_finished;
    watcher->is_abandoned = is_abandoned;
    pthread_mutex_unlock(&watcher->lock);
    return is_abandoned;
}

void weir_file_watcher_destroy(struct weir_file_watcher *watcher) {
    if (!watcher) {
        return;
    }
    pthread_t thread = watcher->thread;
    atomic_store(&watcher->is_stopping, true);
    wake(watcher);
    if (!await_end(watcher) && abandon(watcher)) {
        pthread_detach(thread); // the watcher may be gone already
        return;
    }
    pthread_join(thread, NULL); // does not wait: its last step was to say that it ended
    watcher_free(watcher);
}
