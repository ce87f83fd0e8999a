// SPDX-License-Identifier: Apache-2.0
//
// The lines of those who tail; see tails.h. A worker that offers what happened looks first who
// wants it, makes the line without the lock, and then hands it to everybody who still wants it: two
// short locks, and no worker waits while another one makes a line. Where a ring is full the newest
// line is dropped, because a stream with a hole that is told is read in order; the hole is told at
// its place.
#include "control/tails.h"

#include "base/clock.h"
#include "flow/flow.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    TAKE_BYTES = 64 * 1024,  // about what a socket takes at once
    NAME_BYTES_MAX = 512,    // of a subscription, guest or handler in a line
    SUBJECT_BYTES_MAX = 512, // of a subject, type, source or id in a line
    REASON_BYTES_MAX = 1024,
};

struct weir_control_line {
    unsigned refs; // under the lock
    size_t size;
    char bytes[];
};

void weir_control_tails_init(struct weir_control_tails *tails) {
    pthread_mutex_init(&tails->lock, NULL); // a plain mutex cannot fail on Linux
}

void weir_control_tails_finish(struct weir_control_tails *tails) {
    pthread_mutex_destroy(&tails->lock);
}

weir_status weir_control_tails_begin(struct weir_control_tails *tails,
                                     struct weir_control_request *request, int *ret_tail,
                                     struct weir_error *err) {
    pthread_mutex_lock(&tails->lock);
    int tail = 0;
    while (tail < WEIR_CONTROL_TAILS_MAX && tails->tails[tail].is_used) {
        tail++;
    }
    if (tail < WEIR_CONTROL_TAILS_MAX) {
        tails->tails[tail].is_used = true;
        tails->tails[tail].filter = *request;
        tails->used++;
    }
    pthread_mutex_unlock(&tails->lock);
    if (tail == WEIR_CONTROL_TAILS_MAX) {
        return weir_fail(err, WEIR_LIMIT, "%d others tail already", WEIR_CONTROL_TAILS_MAX);
    }
    *request = (struct weir_control_request){0};
    *ret_tail = tail;
    return WEIR_OK;
}

// Under the lock.
static void unref(struct weir_control_line *line) {
    if (--line->refs == 0) {
        free(line);
    }
}

// Under the lock. The first line, whose reference goes to the caller.
static struct weir_control_line *pop(struct weir_control_tail *tail) {
    struct weir_control_line *line = tail->lines[tail->first];
    tail->first = (tail->first + 1) % WEIR_CONTROL_TAIL_LINES_MAX;
    tail->count--;
    return line;
}

void weir_control_tails_end(struct weir_control_tails *tails, int index) {
    struct weir_control_tail *tail = &tails->tails[index];
    pthread_mutex_lock(&tails->lock);
    while (tail->count > 0) {
        unref(pop(tail));
    }
    weir_control_request_finish(&tail->filter);
    *tail = (struct weir_control_tail){0};
    tails->used--;
    pthread_mutex_unlock(&tails->lock);
}

// ---- making lines ----

// Takes over the JSON. NULL without memory, or where it is longer than a line may be.
static struct weir_control_line *line_of(json_t *json) {
    size_t size = json ? json_dumpb(json, NULL, 0, JSON_COMPACT) : 0;
    struct weir_control_line *line = NULL;
    if (size > 0 && size < WEIR_CONTROL_TAIL_LINE_BYTES_MAX) {
        line = malloc(sizeof *line + size + 1);
    }
    if (line) {
        *line = (struct weir_control_line){.refs = 1, .size = size + 1};
        json_dumpb(json, line->bytes, size, JSON_COMPACT);
        line->bytes[size] = '\n';
    }
    json_decref(json);
    return line;
}

static struct weir_control_line *line_of_event(const struct weir_tap_event *event) {
    const struct weir_event_fields *fields = event->event;
    char time[WEIR_TIME_BYTES];
    weir_time_format(weir_clock_wall_ns(), time);
    return line_of(json_pack(
        "{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:s, s:o, s:I, s:o}",                 //
        "time", time,                                                                        //
        "subscription", weir_control_text(weir_str_of(event->subscription), NAME_BYTES_MAX), //
        "guest", weir_control_text(weir_str_of(event->guest), NAME_BYTES_MAX),               //
        "handler", weir_control_text(weir_str_of(event->handler), NAME_BYTES_MAX),           //
        "id", weir_control_text(fields->id, SUBJECT_BYTES_MAX),                              //
        "source", weir_control_text(fields->source, SUBJECT_BYTES_MAX),                      //
        "subject", weir_control_text(fields->subject.value, SUBJECT_BYTES_MAX),              //
        "type", weir_control_text(fields->ty, SUBJECT_BYTES_MAX),                            //
        "attempt", (json_int_t)event->attempt,                                               //
        "outcome", event->outcome,                                                           //
        "reason", weir_control_text(weir_str_of(event->reason), REASON_BYTES_MAX),           //
        "took_ns", (json_int_t)event->took_ns,                                               //
        "trace", weir_control_text(weir_str_of(event->trace), NAME_BYTES_MAX)));
}

static struct weir_control_line *line_of_dropped(uint64_t dropped) {
    return line_of(json_pack("{s:I}", "dropped", (json_int_t)dropped));
}

// ---- offering ----

static bool has_failed(const struct weir_tap_event *event) {
    return strcmp(event->outcome, "retry") == 0 || strcmp(event->outcome, "dead") == 0;
}

// Under the lock.
static bool is_wanted(const struct weir_control_tail *tail, const struct weir_tap_event *event) {
    const struct weir_control_request *filter = &tail->filter;
    return tail->is_used && (!filter->is_failed || has_failed(event)) &&
           (!filter->subscription || strcmp(filter->subscription, event->subscription) == 0) &&
           (!filter->type || weir_str_has_prefix(event->event->ty, weir_str_of(filter->type))) &&
           (!filter->key ||
            weir_str_has_prefix(event->event->subject.value, weir_str_of(filter->key)));
}

static bool is_wanted_by_anybody(struct weir_control_tails *tails,
                                 const struct weir_tap_event *event) {
    bool is = false;
    pthread_mutex_lock(&tails->lock);
    for (size_t i = 0; tails->used > 0 && i < WEIR_CONTROL_TAILS_MAX && !is; i++) {
        is = is_wanted(&tails->tails[i], event);
    }
    pthread_mutex_unlock(&tails->lock);
    return is;
}

// Under the lock. Takes a reference of its own.
static void push(struct weir_control_tail *tail, struct weir_control_line *line) {
    line->refs++;
    tail->lines[(tail->first + tail->count) % WEIR_CONTROL_TAIL_LINES_MAX] = line;
    tail->count++;
}

// Under the lock. `line`: NULL where there was no memory for it.
static void give(struct weir_control_tail *tail, struct weir_control_line *line) {
    size_t free_lines = WEIR_CONTROL_TAIL_LINES_MAX - tail->count;
    struct weir_control_line *hole = NULL;
    if (line && tail->dropped > 0 && free_lines >= 2) {
        hole = line_of_dropped(tail->dropped);
    }
    if (!line || free_lines == 0 || (tail->dropped > 0 && !hole)) {
        tail->dropped++;
        return;
    }
    if (hole) {
        push(tail, hole);
        unref(hole);
        tail->dropped = 0;
    }
    push(tail, line);
}

bool weir_control_tails_offer(struct weir_control_tails *tails,
                              const struct weir_tap_event *event) {
    // Each delivery comes by here while somebody looks on elsewhere.
    if (atomic_load_explicit(&tails->used, memory_order_relaxed) == 0 ||
        !is_wanted_by_anybody(tails, event)) {
        return false;
    }
    struct weir_control_line *line = line_of_event(event);
    pthread_mutex_lock(&tails->lock);
    for (size_t i = 0; i < WEIR_CONTROL_TAILS_MAX; i++) {
        // Somebody may have come or gone since.
        if (is_wanted(&tails->tails[i], event)) {
            give(&tails->tails[i], line);
        }
    }
    if (line) {
        unref(line);
    }
    bool is_to_be_woken = !tails->is_told;
    tails->is_told = true;
    pthread_mutex_unlock(&tails->lock);
    return is_to_be_woken;
}

// ---- taking ----

void weir_control_tails_look(struct weir_control_tails *tails,
                             bool ret_is_waiting[static WEIR_CONTROL_TAILS_MAX]) {
    pthread_mutex_lock(&tails->lock);
    tails->is_told = false;
    for (size_t i = 0; i < WEIR_CONTROL_TAILS_MAX; i++) {
        ret_is_waiting[i] = tails->tails[i].count > 0 || tails->tails[i].dropped > 0;
    }
    pthread_mutex_unlock(&tails->lock);
}

char *weir_control_tails_take(struct weir_control_tails *tails, int index, size_t *ret_size) {
    struct weir_control_tail *tail = &tails->tails[index];
    char *text = malloc(TAKE_BYTES);
    size_t size = 0;
    if (!text) {
        return NULL;
    }
    pthread_mutex_lock(&tails->lock);
    if (tail->count == 0 && tail->dropped > 0) {
        struct weir_control_line *hole = line_of_dropped(tail->dropped);
        tail->dropped = hole ? 0 : tail->dropped;
        if (hole) {
            push(tail, hole);
            unref(hole);
        }
    }
    while (tail->count > 0 && tail->lines[tail->first]->size <= TAKE_BYTES - size) {
        struct weir_control_line *line = pop(tail);
        memcpy(text + size, line->bytes, line->size);
        size += line->size;
        unref(line);
    }
    pthread_mutex_unlock(&tails->lock);
    if (size == 0) {
        free(text);
        return NULL;
    }
    *ret_size = size;
    return text;
}
