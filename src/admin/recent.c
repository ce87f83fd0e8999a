// SPDX-License-Identifier: Apache-2.0
//
// See recent.h. A worker that offers what happened looks first whether it is to be kept, makes the
// line without the lock, and then puts it in: two short locks, and no worker waits while another
// one makes a line.
#include "admin/recent.h"

#include "base/clock.h"
#include "control/control.h"
#include "flow/flow.h"

#include <jansson.h>
#include <stdlib.h>
#include <xxhash.h>

enum {
    NAME_BYTES_MAX = 512, // of a subscription, guest or handler in a line
    TEXT_BYTES_MAX = 512, // of a subject, type, source or id
    REASON_BYTES_MAX = 1024,
    OUTPUT_BYTES_MAX = 2048,
};

void weir_recent_filter_finish(struct weir_recent_filter *filter) {
    free(filter->subscription);
    free(filter->type);
    free(filter->key);
    *filter = (struct weir_recent_filter){0};
}

void weir_recent_init(struct weir_admin_recent *recent) {
    pthread_mutex_init(&recent->lock, NULL); // a plain mutex cannot fail on Linux
}

static struct weir_recent_line *line_at(struct weir_admin_recent *recent, uint64_t number) {
    return &recent->lines[number % WEIR_RECENT_LINES_MAX];
}

// Under the lock.
static void drop_first(struct weir_admin_recent *recent) {
    struct weir_recent_line *line = line_at(recent, recent->first);
    recent->bytes -= line->size;
    free(line->text);
    line->text = NULL;
    recent->first++;
}

void weir_recent_finish(struct weir_admin_recent *recent) {
    while (recent->first < recent->end) {
        drop_first(recent);
    }
    for (size_t i = 0; i < WEIR_RECENT_TAILS_MAX; i++) {
        weir_recent_filter_finish(&recent->tails[i].filter);
    }
    pthread_mutex_destroy(&recent->lock);
}

uint64_t weir_recent_hash(struct weir_str source, struct weir_str id) {
    uint64_t seed = XXH3_64bits(source.data ? source.data : "", source.size);
    return XXH3_64bits_withSeed(id.data ? id.data : "", id.size, seed);
}

static uint64_t cause_hash(struct weir_str id) {
    return id.size > 0 ? XXH3_64bits(id.data, id.size) | 1 : 0;
}

// ---- offering ----

static bool has_failed(const struct weir_tap_event *event) {
    return event->reason[0] != '\0';
}

static bool matches(const struct weir_recent_filter *filter, const struct weir_tap_event *event) {
    const struct weir_event_fields *fields = event->event;
    return (!filter->is_failed || has_failed(event)) &&
           (!filter->subscription || strcmp(filter->subscription, event->subscription) == 0) &&
           (!filter->type || weir_str_has_prefix(fields->ty, weir_str_of(filter->type))) &&
           (!filter->key || weir_str_has_prefix(fields->subject.value, weir_str_of(filter->key)));
}

static bool wants_all(const struct weir_recent_filter *filter) {
    return !filter->is_failed && !filter->subscription && !filter->type && !filter->key;
}

// Under the lock: the tails that get it, a bit for each. Counts what is left out.
static uint32_t choose_tails(struct weir_admin_recent *recent, const struct weir_tap_event *event) {
    uint32_t tails = 0;
    for (uint32_t i = 0; recent->tail_count > 0 && i < WEIR_RECENT_TAILS_MAX; i++) {
        struct weir_recent_tail *tail = &recent->tails[i];
        if (!tail->is_used || !matches(&tail->filter, event)) {
            continue;
        }
        if (tail->taken < WEIR_RECENT_PER_TICK) {
            tail->taken++;
            tails |= UINT32_C(1) << i;
        } else {
            tail->left_out++;
            recent->was_sampled = true;
        }
    }
    return tails;
}

// Under the lock: whether it is kept for the sake of its story.
static bool is_worth_a_line(struct weir_admin_recent *recent, const struct weir_tap_event *event) {
    // Also the success after failures, which ends the story.
    if (!has_failed(event) && event->attempt <= 1) {
        recent->was_sampled = true;
        return false;
    }
    if (recent->failures_taken == WEIR_RECENT_FAILURES_PER_TICK) {
        recent->was_sampled = true;
        return false;
    }
    recent->failures_taken++;
    return true;
}

static char *make_line(const struct weir_tap_event *event) {
    const struct weir_event_fields *fields = event->event;
    char time[WEIR_TIME_BYTES];
    weir_time_format(weir_clock_wall_ns(), time);
    json_t *json = json_pack(
        "{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:s, s:o, s:I, s:o, s:o, s:o}",       //
        "time", time,                                                                        //
        "subscription", weir_control_text(weir_str_of(event->subscription), NAME_BYTES_MAX), //
        "guest", weir_control_text(weir_str_of(event->guest), NAME_BYTES_MAX),               //
        "handler", weir_control_text(weir_str_of(event->handler), NAME_BYTES_MAX),           //
        "id", weir_control_text(fields->id, TEXT_BYTES_MAX),                                 //
        "source", weir_control_text(fields->source, TEXT_BYTES_MAX),                         //
        "subject", weir_control_text(fields->subject.value, TEXT_BYTES_MAX),                 //
        "type", weir_control_text(fields->ty, TEXT_BYTES_MAX),                               //
        "attempt", (json_int_t)event->attempt,                                               //
        "outcome", event->outcome,                                                           //
        "reason", weir_control_text(weir_str_of(event->reason), REASON_BYTES_MAX),           //
        "took_ns", (json_int_t)event->took_ns,                                               //
        "trace",
        weir_control_text(weir_str_of(event->trace ? event->trace : ""), NAME_BYTES_MAX), //
        "cause",
        weir_control_text(weir_event_extension(fields, WEIR_EXTENSION_CAUSATION), TEXT_BYTES_MAX),
        "output", weir_control_text(event->output, OUTPUT_BYTES_MAX));
    char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    return text;
}

// Under the lock. Takes the text over.
static void put(struct weir_admin_recent *recent, const struct weir_recent_line *line) {
    while (recent->first < recent->end && (recent->end - recent->first == WEIR_RECENT_LINES_MAX ||
                                           recent->bytes + line->size > WEIR_RECENT_BYTES_MAX)) {
        drop_first(recent);
    }
    *line_at(recent, recent->end++) = *line;
    recent->bytes += line->size;
}

// Under the lock: what was counted without it is told each tail that wanted it.
static void take_counted(struct weir_admin_recent *recent) {
    uint64_t counted = atomic_exchange_explicit(&recent->counted, 0, memory_order_relaxed);
    for (size_t i = 0; counted > 0 && i < WEIR_RECENT_TAILS_MAX; i++) {
        struct weir_recent_tail *tail = &recent->tails[i];
        tail->left_out += tail->is_used && wants_all(&tail->filter) ? counted : 0;
    }
    recent->was_sampled = recent->was_sampled || counted > 0;
}

// Under the lock: the tails or their shares have changed.
static void update_only_counts(struct weir_admin_recent *recent) {
    bool only_counts = true;
    for (size_t i = 0; i < WEIR_RECENT_TAILS_MAX && only_counts; i++) {
        const struct weir_recent_tail *tail = &recent->tails[i];
        only_counts =
            !tail->is_used || (wants_all(&tail->filter) ? tail->taken == WEIR_RECENT_PER_TICK
                                                        : tail->filter.is_failed);
    }
    atomic_store_explicit(&recent->only_counts, only_counts, memory_order_relaxed);
}

void weir_recent_offer(struct weir_admin_recent *recent, const struct weir_tap_event *event) {
    bool is_plain = !has_failed(event) && event->attempt <= 1;
    if (is_plain && atomic_load_explicit(&recent->only_counts, memory_order_relaxed)) {
        atomic_fetch_add_explicit(&recent->counted, 1, memory_order_relaxed);
        return;
    }
    pthread_mutex_lock(&recent->lock);
    uint32_t tails = choose_tails(recent, event);
    bool is_kept = tails != 0 || is_worth_a_line(recent, event);
    update_only_counts(recent);
    pthread_mutex_unlock(&recent->lock);
    char *text = is_kept ? make_line(event) : NULL;
    if (!text) {
        return; // without memory it is one that nobody has seen
    }
    const struct weir_recent_line line = {
        .text = text,
        .size = strlen(text),
        .id_hash = weir_recent_hash(event->event->source, event->event->id),
        .cause_hash = cause_hash(weir_event_extension(event->event, WEIR_EXTENSION_CAUSATION)),
        .tails = tails,
    };
    pthread_mutex_lock(&recent->lock);
    put(recent, &line);
    pthread_mutex_unlock(&recent->lock);
}

void weir_recent_tick(struct weir_admin_recent *recent) {
    pthread_mutex_lock(&recent->lock);
    recent->failures_taken = 0;
    take_counted(recent);
    for (size_t i = 0; i < WEIR_RECENT_TAILS_MAX; i++) {
        recent->tails[i].taken = 0;
    }
    update_only_counts(recent);
    pthread_mutex_unlock(&recent->lock);
}

// ---- tails ----

weir_status weir_recent_tail_begin(struct weir_admin_recent *recent,
                                   struct weir_recent_filter *filter, int *ret_tail,
                                   struct weir_error *err) {
    int tail = 0;
    pthread_mutex_lock(&recent->lock);
    while (tail < WEIR_RECENT_TAILS_MAX && recent->tails[tail].is_used) {
        tail++;
    }
    if (tail < WEIR_RECENT_TAILS_MAX) {
        recent->tails[tail] =
            (struct weir_recent_tail){.is_used = true, .filter = *filter, .next = recent->end};
        take_counted(recent); // before it is one that these are told
        recent->tails[tail].left_out = 0;
        recent->tail_count++;
        update_only_counts(recent);
        // What an earlier one of that number has not taken is not for this one.
        for (uint64_t number = recent->first; number < recent->end; number++) {
            line_at(recent, number)->tails &= ~(UINT32_C(1) << tail);
        }
    }
    pthread_mutex_unlock(&recent->lock);
    if (tail == WEIR_RECENT_TAILS_MAX) {
        return weir_fail(err, WEIR_LIMIT, "%d others tail already", WEIR_RECENT_TAILS_MAX);
    }
    *filter = (struct weir_recent_filter){0};
    *ret_tail = tail;
    return WEIR_OK;
}

void weir_recent_tail_end(struct weir_admin_recent *recent, int index) {
    struct weir_recent_tail *tail = &recent->tails[index];
    pthread_mutex_lock(&recent->lock);
    weir_recent_filter_finish(&tail->filter);
    *tail = (struct weir_recent_tail){0};
    recent->tail_count--;
    update_only_counts(recent);
    pthread_mutex_unlock(&recent->lock);
}

char *weir_recent_tail_next(struct weir_admin_recent *recent, int index, uint64_t *ret_left_out) {
    struct weir_recent_tail *tail = &recent->tails[index];
    char *text = NULL;
    *ret_left_out = 0;
    pthread_mutex_lock(&recent->lock);
    tail->next = tail->next > recent->first ? tail->next : recent->first;
    bool has_memory = true;
    while (!text && has_memory && tail->next < recent->end) {
        const struct weir_recent_line *line = line_at(recent, tail->next);
        if (line->tails >> index & 1) {
            text = strndup(line->text, line->size);
            has_memory = text != NULL;
        }
        tail->next += has_memory;
    }
    if (!text) {
        take_counted(recent);
        *ret_left_out = tail->left_out;
        tail->left_out = 0;
    }
    pthread_mutex_unlock(&recent->lock);
    return text;
}

// ---- stories ----

bool weir_recent_was_sampled(struct weir_admin_recent *recent) {
    pthread_mutex_lock(&recent->lock);
    bool was_sampled = recent->was_sampled || recent->first > 0;
    pthread_mutex_unlock(&recent->lock);
    return was_sampled;
}

static void find(struct weir_admin_recent *recent, uint64_t hash, bool is_of_cause,
                 char **ret_lines, size_t max, size_t *ret_count) {
    size_t count = 0;
    pthread_mutex_lock(&recent->lock);
    for (uint64_t number = recent->first; number < recent->end && count < max; number++) {
        const struct weir_recent_line *line = line_at(recent, number);
        if ((is_of_cause ? line->cause_hash : line->id_hash) == hash) {
            ret_lines[count] = strndup(line->text, line->size);
            count += ret_lines[count] != NULL;
        }
    }
    pthread_mutex_unlock(&recent->lock);
    *ret_count = count;
}

void weir_recent_find(struct weir_admin_recent *recent, uint64_t id_hash, char **ret_lines,
                      size_t max, size_t *ret_count) {
    find(recent, id_hash, false, ret_lines, max, ret_count);
}

void weir_recent_find_derived(struct weir_admin_recent *recent, struct weir_str cause_id,
                              char **ret_lines, size_t max, size_t *ret_count) {
    find(recent, cause_hash(cause_id), true, ret_lines, max, ret_count);
}
