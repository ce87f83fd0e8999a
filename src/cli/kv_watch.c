// SPDX-License-Identifier: Apache-2.0
//
// `weir kv watch`. Changes come on the resource's thread and are put into a bounded queue, whose
// bound makes the provider wait (WEIR_AGAIN); the main thread takes them out and prints. A reader
// of standard output that is slow fills the pipe, then the queue, then stops the provider; nothing
// is lost and memory stays flat.
//
// The main thread waits in one place only, poll(), on everything that can end the command: a
// signal, the time, the reader's end of the pipe. Writing is at most PIPE_BUF bytes after poll()
// said that there is room, so it does not wait.
#include "cli/kv.h"

#include "base/clock.h"
#include "event/json.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum {
    QUEUE_EVENTS_MAX = 1024,
    QUEUE_BYTES_MAX = 64 * 1024 * 1024, // one event is taken whatever its size
    WAIT_MS_MAX = 60 * 1000,            // of one poll; it is called again
};

struct queue {
    int filled_fd; // an eventfd: something was put in
    pthread_mutex_t lock;
    struct weir_event *events[QUEUE_EVENTS_MAX]; // a ring
    size_t first, count;
    size_t size_bytes;
    bool is_waited_for; // an event was refused: resume is owed
};

// Why watching ended.
enum end { GOES_ON, COUNT_REACHED, TIME_OVER, STOPPED, READER_GONE, FAILED };

struct printer {
    const struct weir_kv *kv;
    struct queue *queue;
    struct weir_watch *watch;
    int signals_fd;
    int64_t deadline_ns;
    char *line; // being written; NULL: none
    size_t line_size, line_done;
    uint64_t printed;
    struct weir_error err; // of FAILED
};

// ---- the queue ----

static bool has_room(const struct queue *queue, const struct weir_event *event) {
    return queue->count == 0 || (queue->count < QUEUE_EVENTS_MAX &&
                                 event->size_bytes < QUEUE_BYTES_MAX - queue->size_bytes);
}

// Called on the resource's thread.
static weir_status offer(void *context, struct weir_event *event) {
    struct queue *queue = context;
    pthread_mutex_lock(&queue->lock);
    bool is_taken = has_room(queue, event);
    if (is_taken) {
        size_t last = (queue->first + queue->count) % QUEUE_EVENTS_MAX;
        queue->events[last] = weir_event_ref(event);
        queue->count++;
        queue->size_bytes += event->size_bytes;
    } else {
        queue->is_waited_for = true;
    }
    pthread_mutex_unlock(&queue->lock);
    if (!is_taken) {
        return WEIR_AGAIN;
    }
    const uint64_t one = 1;
    ssize_t written = write(queue->filled_fd, &one, sizeof one);
    (void)written; // a full counter is readable too
    return WEIR_OK;
}

// The oldest event, which the caller owns then; NULL where there is none. `ret_is_waited_for`: call
// resume.
static struct weir_event *take(struct queue *queue, bool *ret_is_waited_for) {
    struct weir_event *event = NULL;
    pthread_mutex_lock(&queue->lock);
    if (queue->count > 0) {
        event = queue->events[queue->first];
        queue->first = (queue->first + 1) % QUEUE_EVENTS_MAX;
        queue->count--;
        queue->size_bytes -= event->size_bytes;
    }
    // Half of it is to be free, so that the provider is not woken for each event.
    *ret_is_waited_for = queue->is_waited_for && queue->count <= QUEUE_EVENTS_MAX / 2 &&
                         (queue->count == 0 || queue->size_bytes <= QUEUE_BYTES_MAX / 2);
    queue->is_waited_for = queue->is_waited_for && !*ret_is_waited_for;
    pthread_mutex_unlock(&queue->lock);
    return event;
}

// NULL: see err.
static struct queue *queue_create(struct weir_error *err) {
    struct queue *queue = calloc(1, sizeof *queue);
    if (!queue) {
        weir_fail_no_memory(err, "a queue");
        return NULL;
    }
    queue->filled_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (queue->filled_fd < 0) {
        weir_fail_errno(err, errno, "cannot make an eventfd");
        free(queue);
        return NULL;
    }
    pthread_mutex_init(&queue->lock, NULL); // a plain mutex cannot fail on Linux
    return queue;
}

static void queue_destroy(struct queue *queue) {
    bool is_waited_for;
    struct weir_event *event;
    while ((event = take(queue, &is_waited_for))) {
        weir_event_unref(event);
    }
    pthread_mutex_destroy(&queue->lock);
    close(queue->filled_fd);
    free(queue);
}

// ---- printing ----

// Makes the next event the line to be written. Returns FAILED where it cannot.
static enum end next_line(struct printer *printer) {
    bool is_waited_for;
    struct weir_event *event = take(printer->queue, &is_waited_for);
    if (is_waited_for) {
        printer->kv->provider->resume(printer->watch);
    }
    if (!event) {
        return GOES_ON;
    }
    char *text = NULL;
    weir_status status = weir_event_to_json(&event->fields, &text, &printer->err);
    weir_event_unref(event);
    if (status != WEIR_OK) {
        return FAILED;
    }
    printer->line = text;
    printer->line_size = strlen(text);
    text[printer->line_size++] = '\n'; // in the place of the NUL; the size is known
    printer->line_done = 0;
    return GOES_ON;
}

// Writes a part of the line; there is room for it.
static enum end write_line(struct printer *printer) {
    size_t left = printer->line_size - printer->line_done;
    ssize_t written =
        write(STDOUT_FILENO, printer->line + printer->line_done, left < PIPE_BUF ? left : PIPE_BUF);
    if (written < 0) {
        if (errno == EAGAIN || errno == EINTR) {
            return GOES_ON;
        }
        weir_fail_errno(&printer->err, errno, "cannot write to standard output");
        return errno == EPIPE ? READER_GONE : FAILED;
    }
    printer->line_done += (size_t)written;
    if (printer->line_done < printer->line_size) {
        return GOES_ON;
    }
    free(printer->line);
    printer->line = NULL;
    printer->printed++;
    return printer->printed == printer->kv->count ? COUNT_REACHED : GOES_ON;
}

static int wait_ms(int64_t deadline_ns) {
    int64_t left_ns = deadline_ns - weir_clock_monotonic_ns();
    if (left_ns <= 0) {
        return 0;
    }
    return left_ns / WEIR_NS_PER_MS < WAIT_MS_MAX ? (int)(left_ns / WEIR_NS_PER_MS + 1)
                                                  : WAIT_MS_MAX;
}

static enum end step(struct printer *printer) {
    enum end end = printer->line ? GOES_ON : next_line(printer);
    if (end != GOES_ON) {
        return end;
    }
    struct pollfd fds[] = {
        {.fd = printer->signals_fd, .events = POLLIN},
        {.fd = printer->line ? -1 : printer->queue->filled_fd, .events = POLLIN},
        // Without events, the end of the pipe's other side is still told.
        {.fd = STDOUT_FILENO, .events = printer->line ? POLLOUT : 0},
    };
    if (poll(fds, sizeof fds / sizeof fds[0], wait_ms(printer->deadline_ns)) < 0 &&
        errno != EINTR) {
        weir_fail_errno(&printer->err, errno, "cannot wait");
        return FAILED;
    }
    if (fds[0].revents) {
        return STOPPED;
    }
    if (fds[2].revents & (POLLERR | POLLHUP)) {
        return READER_GONE;
    }
    if (weir_clock_monotonic_ns() >= printer->deadline_ns) {
        return TIME_OVER;
    }
    if (fds[1].revents) {
        uint64_t filled;
        ssize_t drained = read(printer->queue->filled_fd, &filled, sizeof filled);
        (void)drained;
    }
    return fds[2].revents & POLLOUT ? write_line(printer) : GOES_ON;
}

static int exit_status_of(const struct printer *printer, enum end end) {
    const struct weir_kv *kv = printer->kv;
    if (end == FAILED) {
        return weir_kv_failed(kv, &printer->err);
    }
    if (end == TIME_OVER && kv->count > 0) {
        return weir_cli_failed(kv->cli, "kv watch: %llu of %llu changes came in time",
                               (unsigned long long)printer->printed, (unsigned long long)kv->count);
    }
    return WEIR_EXIT_DONE;
}

static int open_signals(struct weir_error *err) {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    int fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0) {
        weir_fail_errno(err, errno, "cannot make a signalfd");
    }
    return fd;
}

static weir_status begin(struct printer *printer) {
    const struct weir_kv *kv = printer->kv;
    struct weir_promise promise = {.strength = WEIR_EVERY_CHANGE};
    struct weir_watch_args args = {
        .pattern = weir_pattern_of(kv->key),
        .sink = {.offer = offer, .context = printer->queue},
        .event_bytes_max = kv->limits.value_bytes_max,
    };
    weir_status status =
        kv->provider->promise(kv->resource, &args.pattern, &promise, &printer->err);
    if (status == WEIR_OK) {
        status = kv->provider->watch(kv->resource, &args, &printer->watch, &printer->err);
    }
    if (status == WEIR_OK) {
        weir_log(kv->cli->log, WEIR_LOG_INFO, "watching",
                 {"resource", weir_str_of(kv->resource->name)}, {"key", kv->key},
                 {"strength", weir_str_of(weir_strength_name(promise.strength))});
    }
    return status;
}

int weir_kv_watch(const struct weir_kv *kv) {
    struct printer printer = {.kv = kv, .signals_fd = -1};
    if (!kv->provider->watch) {
        weir_fail(&printer.err, WEIR_INVALID, "a resource of kind %s cannot be watched",
                  kv->provider->kind);
        return weir_kv_failed(kv, &printer.err);
    }
    enum end end = FAILED;
    printer.deadline_ns = kv->timeout_ns ? weir_clock_monotonic_ns() + kv->timeout_ns : INT64_MAX;
    printer.queue = queue_create(&printer.err);
    printer.signals_fd = printer.queue ? open_signals(&printer.err) : -1;
    if (printer.signals_fd >= 0 && begin(&printer) == WEIR_OK) {
        do {
            end = step(&printer);
        } while (end == GOES_ON);
        kv->provider->unwatch(printer.watch);
    }
    int exit_status = exit_status_of(&printer, end);
    free(printer.line);
    if (printer.signals_fd >= 0) {
        close(printer.signals_fd);
    }
    if (printer.queue) {
        queue_destroy(printer.queue);
    }
    return exit_status;
}
