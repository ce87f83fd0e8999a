// SPDX-License-Identifier: Apache-2.0
//
// One event's story: its attempts, what its handlers printed, what came of it, and the dead letter
// that it may have become. Made of what recent.h still has and of the state database; it is as
// whole as these are, and says where attempts may be missing. Admin thread.
#include "admin/server.h"

#include "base/clock.h"
#include "state/state.h"

#include <stdlib.h>

enum {
    LINES_MAX = 200,            // attempts of one event, and events that came of it
    LETTERS_READ_MAX = 10000,   // newest first
    LETTERS_READ_MS_MAX = 1000, // the admin thread has others who wait
    TEXT_BYTES_MAX = 4096,
};

struct story {
    struct weir_str id, source; // source: empty: any
    json_t *attempts, *derived, *letters;
    size_t letters_read;
    int64_t until_ns; // no letter is read after that
    bool is_cut;      // not all letters were read
    bool has_failed;  // no memory
};

static void append(struct story *story, json_t *list, json_t *item) {
    story->has_failed = json_array_append_new(list, item) != 0 || story->has_failed;
}

static bool is_text(const json_t *line, const char *name, struct weir_str wanted) {
    const char *text = json_string_value(json_object_get(line, name));
    return text && weir_str_equal(weir_str_of(text), wanted);
}

static void add_attempts(struct story *story, char **lines, size_t count) {
    for (size_t i = 0; i < count; i++) {
        json_t *line = json_loads(lines[i], 0, NULL);
        if (line && is_text(line, "id", story->id)) { // a hash may be of another one too
            append(story, story->attempts, json_incref(line));
        }
        json_decref(line);
        free(lines[i]);
    }
}

static void add_derived(struct story *story, char **lines, size_t count) {
    static const char *const names[] = {"id",           "source",  "type", "subject",
                                        "subscription", "outcome", "time"};
    for (size_t i = 0; i < count; i++) {
        json_t *line = json_loads(lines[i], 0, NULL);
        if (line && is_text(line, "cause", story->id)) {
            json_t *item = json_object();
            for (size_t j = 0; j < sizeof names / sizeof names[0]; j++) {
                json_object_set(item, names[j], json_object_get(line, names[j]));
            }
            append(story, story->derived, item);
        }
        json_decref(line);
        free(lines[i]);
    }
}

static bool look_at_letter(void *context, const struct weir_dead_letter *letter) {
    struct story *story = context;
    const struct weir_event_fields *fields = &letter->event->fields;
    story->is_cut =
        ++story->letters_read == LETTERS_READ_MAX || weir_clock_monotonic_ns() > story->until_ns;
    if (weir_str_equal(fields->id, story->id) &&
        (story->source.size == 0 || weir_str_equal(fields->source, story->source))) {
        append(story, story->letters,
               json_pack("{s:I, s:o, s:I, s:o}", "id", (json_int_t)letter->id, "reason",
                         weir_control_text(letter->reason, TEXT_BYTES_MAX), "attempts",
                         (json_int_t)letter->attempts, "subscription",
                         weir_control_text(letter->subscription, TEXT_BYTES_MAX)));
    }
    return !story->has_failed && !story->is_cut;
}

static weir_status read_letters(struct weir_admin *admin, struct story *story,
                                struct weir_error *err) {
    struct weir_state *state;
    weir_status status = weir_state_read(admin->state_dir, &state, err);
    story->until_ns = weir_clock_monotonic_ns() + LETTERS_READ_MS_MAX * WEIR_NS_PER_MS;
    if (status == WEIR_OK) {
        status = weir_state_load_dead_before(state, INT64_MAX, LETTERS_READ_MAX, look_at_letter,
                                             story, err);
        weir_state_close(state);
    }
    return status;
}

static void read_recent(struct weir_admin *admin, struct story *story) {
    char *lines[LINES_MAX];
    size_t count;
    weir_recent_find(&admin->recent, weir_recent_hash(story->source, story->id), lines, LINES_MAX,
                     &count);
    add_attempts(story, lines, count);
    weir_recent_find_derived(&admin->recent, story->id, lines, LINES_MAX, &count);
    add_derived(story, lines, count);
}

// The last attempt that says it.
static json_t *said(const struct story *story, const char *name) {
    for (size_t i = json_array_size(story->attempts); i > 0; i--) {
        json_t *value = json_object_get(json_array_get(story->attempts, i - 1), name);
        if (json_string_length(value) > 0) {
            return json_incref(value);
        }
    }
    return NULL;
}

void weir_admin_story(struct weir_admin *admin, const struct weir_admin_request *request,
                      const char *rest, struct weir_admin_answer *answer) {
    const char *id = weir_admin_argument(request, "id");
    const char *source = weir_admin_argument(request, "source");
    struct weir_error err;
    (void)rest;
    if (!id || !id[0] || !source) {
        weir_fail(&err, WEIR_INVALID, "an event is named by id and source");
        weir_admin_fail(answer, &err);
        return;
    }
    struct story story = {.id = weir_str_of(id),
                          .source = weir_str_of(source),
                          .attempts = json_array(),
                          .derived = json_array(),
                          .letters = json_array()};
    weir_status status = story.attempts && story.derived && story.letters
                             ? WEIR_OK
                             : weir_fail_no_memory(&err, "a story");
    if (status == WEIR_OK) {
        read_recent(admin, &story);
        status = read_letters(admin, &story, &err);
    }
    status = status == WEIR_OK && story.has_failed ? weir_fail_no_memory(&err, "a story") : status;
    if (status != WEIR_OK) {
        json_decref(story.attempts);
        json_decref(story.derived);
        json_decref(story.letters);
        weir_admin_fail(answer, &err);
        return;
    }
    json_t *cause = said(&story, "cause"), *trace = said(&story, "trace");
    weir_admin_json(answer, json_pack("{s:o, s:o, s:b, s:o, s:o, s:o, s:o, s:o}", "id",
                                      weir_control_text(story.id, TEXT_BYTES_MAX), "source",
                                      weir_control_text(story.source, TEXT_BYTES_MAX), "is_sampled",
                                      story.is_cut || weir_recent_was_sampled(&admin->recent),
                                      "attempts", story.attempts, "derived", story.derived,
                                      "dead_letters", story.letters, "cause",
                                      cause ? json_pack("{s:o}", "id", cause) : json_null(),
                                      "trace", trace ? trace : json_string("")));
}
