// SPDX-License-Identifier: Apache-2.0
//
// Dead letters by HTTP. They are read from the state database, by a connection that lives as long
// as one request: whoever reads them now and then is no reason to keep a file open. What changes
// them goes through the flow. Admin thread.
#include "admin/server.h"

#include "base/clock.h"
#include "base/digits.h"
#include "event/json.h"
#include "flow/flow.h"
#include "state/state.h"

#include <stdlib.h>

enum {
    LETTERS_DEFAULT = 50,
    LETTERS_MAX = 200,          // of one answer
    LETTERS_READ_MAX = 5000,    // for one answer, where only those of one subscription are wanted
    LETTERS_READ_MS_MAX = 1000, // the admin thread has others who wait
    TEXT_BYTES_MAX = 4096,
    DATA_BYTES_MAX = 64 * 1024, // of an event's data that is shown
    COUNTED_AGAIN_MS = 10 * 1000,
};

struct listing {
    const char *subscription; // NULL: all
    json_t *letters;
    size_t max, read;
    int64_t until_ns; // it reads no longer than that, but one at least
    uint64_t last;    // id of the last one that was read
    bool is_cut;      // there are more
    bool is_whole;    // everything of a letter
    bool has_failed;  // no memory
};

static json_t *text_or_null(struct weir_str text) {
    return text.size > 0 ? weir_control_text(text, TEXT_BYTES_MAX) : json_null();
}

// The event with as much of its data as is shown; `data` that was cut stands as text.
static json_t *whole_event_json(const struct weir_event *event) {
    struct weir_event_fields fields = event->fields;
    struct weir_str *bytes = &fields.data.value.bytes;
    bool is_cut = fields.data.is_some && bytes->size > DATA_BYTES_MAX;
    if (is_cut) {
        bytes->size = DATA_BYTES_MAX;
        while (bytes->size > 0 && !weir_utf8_valid(*bytes) && DATA_BYTES_MAX - bytes->size < 4) {
            bytes->size--; // a character may have been cut
        }
        fields.datacontenttype = (struct weir_optional_str){0};
    }
    char *text = NULL;
    struct weir_error err;
    if (weir_event_to_json(&fields, &text, &err) != WEIR_OK) {
        return json_pack("{s:s}", "error", err.message);
    }
    json_t *json = json_loads(text, JSON_ALLOW_NUL, NULL);
    free(text);
    if (json && is_cut && json_object_set_new(json, "is_cut", json_true()) != 0) {
        json_decref(json);
        json = NULL;
    }
    return json;
}

static json_t *event_json(const struct weir_event_fields *fields) {
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "id",
                     weir_control_text(fields->id, TEXT_BYTES_MAX), "source",
                     weir_control_text(fields->source, TEXT_BYTES_MAX), "type",
                     weir_control_text(fields->ty, TEXT_BYTES_MAX), "subject",
                     text_or_null(fields->subject.value), "time", text_or_null(fields->time.value));
}

static json_t *letter_json(const struct weir_dead_letter *letter, bool is_whole) {
    char time[WEIR_TIME_BYTES];
    weir_time_format(letter->wall_ns, time);
    const struct weir_event *event = letter->event;
    json_t *json = json_pack(
        "{s:I, s:o, s:o, s:o, s:I, s:s, s:o, s:I}", "id", (json_int_t)letter->id, "subscription",
        weir_control_text(letter->subscription, TEXT_BYTES_MAX), "target",
        text_or_null(letter->target), "reason", weir_control_text(letter->reason, TEXT_BYTES_MAX),
        "attempts", (json_int_t)letter->attempts, "time", time, "event",
        is_whole ? whole_event_json(event) : event_json(&event->fields), "bytes",
        (json_int_t)event->fields.data.value.bytes.size);
    json_t *more = is_whole ? json_pack("{s:o, s:o}", "output",
                                        weir_control_text(letter->output, TEXT_BYTES_MAX),
                                        "guest_hash", text_or_null(letter->guest_hash))
                            : NULL;
    if (is_whole && (!more || json_object_update(json, more) != 0)) {
        json_decref(json);
        json = NULL;
    }
    json_decref(more);
    return json;
}

static bool list_letter(void *context, const struct weir_dead_letter *letter) {
    struct listing *listing = context;
    struct weir_str wanted = weir_str_of(listing->subscription ? listing->subscription : "");
    bool is_late = listing->read > 0 && weir_clock_monotonic_ns() > listing->until_ns;
    if (is_late || json_array_size(listing->letters) == listing->max) {
        listing->is_cut = true;
        return false;
    }
    listing->read++;
    listing->last = letter->id;
    if (listing->subscription && !weir_str_equal(letter->subscription, wanted)) {
        return true;
    }
    json_t *json = letter_json(letter, listing->is_whole);
    listing->has_failed = json_array_append_new(listing->letters, json) != 0;
    return !listing->has_failed;
}

// Where nothing was ever given up there may be no database yet.
static weir_status load(struct weir_admin *admin, struct listing *listing, uint64_t before,
                        size_t rows_max, struct weir_error *err) {
    struct weir_state *state;
    weir_status status = weir_state_read(admin->state_dir, &state, err);
    listing->until_ns = weir_clock_monotonic_ns() + LETTERS_READ_MS_MAX * WEIR_NS_PER_MS;
    if (status == WEIR_OK) {
        status = weir_state_load_dead_before(state, before, rows_max, list_letter, listing, err);
        weir_state_close(state);
    }
    if (status == WEIR_OK && listing->has_failed) {
        status = weir_fail_no_memory(err, "the dead letters");
    }
    return status;
}

// The number in an argument, `fallback` where it is not given; false: it is no number.
static bool read_number(const struct weir_admin_request *request, const char *name,
                        uint64_t fallback, uint64_t *ret_number) {
    const char *text = weir_admin_argument(request, name);
    *ret_number = fallback;
    return !text || !text[0] || weir_decimal_read(weir_str_of(text), ret_number);
}

static weir_status list(struct weir_admin *admin, const struct weir_admin_request *request,
                        json_t **ret_json, struct weir_error *err) {
    uint64_t before, limit;
    if (!read_number(request, "before", INT64_MAX, &before) ||
        !read_number(request, "limit", LETTERS_DEFAULT, &limit)) {
        return weir_fail(err, WEIR_INVALID, "before and limit are numbers");
    }
    const char *subscription = weir_admin_argument(request, "subscription");
    struct listing listing = {.subscription = subscription && subscription[0] ? subscription : NULL,
                              .letters = json_array(),
                              .max = limit < LETTERS_MAX ? limit : LETTERS_MAX};
    weir_status status = listing.letters ? load(admin, &listing, before, LETTERS_READ_MAX, err)
                                         : weir_fail_no_memory(err, "the dead letters");
    if (status != WEIR_OK) {
        json_decref(listing.letters);
        return status;
    }
    bool has_more = listing.is_cut || listing.read == LETTERS_READ_MAX;
    *ret_json = json_pack("{s:o, s:o}", "dead_letters", listing.letters, "next",
                          has_more ? json_integer((json_int_t)listing.last) : json_null());
    return WEIR_OK;
}

static weir_status show(struct weir_admin *admin, const char *rest, json_t **ret_json,
                        struct weir_error *err) {
    uint64_t id;
    if (!weir_decimal_read(weir_str_of(rest), &id) || id >= INT64_MAX) {
        return weir_fail(err, WEIR_NOT_FOUND, "a dead letter is named by its number");
    }
    struct listing listing = {.letters = json_array(), .max = 1, .is_whole = true};
    weir_status status = listing.letters ? load(admin, &listing, id + 1, 1, err)
                                         : weir_fail_no_memory(err, "the dead letter");
    if (status == WEIR_OK && (json_array_size(listing.letters) == 0 || listing.last != id)) {
        status = weir_fail(err, WEIR_NOT_FOUND, "there is no dead letter %s", rest);
    }
    *ret_json = status == WEIR_OK ? json_incref(json_array_get(listing.letters, 0)) : NULL;
    json_decref(listing.letters);
    return status;
}

void weir_admin_letters(struct weir_admin *admin, const struct weir_admin_request *request,
                        const char *rest, struct weir_admin_answer *answer) {
    json_t *json = NULL;
    struct weir_error err;
    weir_status status =
        rest[0] ? show(admin, rest, &json, &err) : list(admin, request, &json, &err);
    if (status == WEIR_OK) {
        weir_admin_json(answer, json);
    } else {
        weir_admin_fail(answer, &err);
    }
}

// "7/retry" or "7/remove".
void weir_admin_letter_change(struct weir_admin *admin, const struct weir_admin_request *request,
                              const char *rest, struct weir_admin_answer *answer) {
    const char *slash = strchr(rest, '/');
    struct weir_str number = {rest, slash ? (size_t)(slash - rest) : 0};
    bool is_retry = slash && strcmp(slash, "/retry") == 0;
    uint64_t id;
    struct weir_error err;
    weir_status status;
    (void)request;
    if ((!is_retry && !(slash && strcmp(slash, "/remove") == 0)) ||
        !weir_decimal_read(number, &id)) {
        status = weir_fail(&err, WEIR_NOT_FOUND,
                           "what can be done with dead letter 7 is 7/retry and 7/remove");
    } else {
        status = weir_flow_undead(admin->flow, id, is_retry, &err);
    }
    admin->letters_looked_ns = 0;
    if (status == WEIR_OK) {
        weir_admin_json(answer, json_pack("{s:I}", "id", (json_int_t)id));
    } else {
        weir_admin_fail(answer, &err);
    }
}

bool weir_admin_letters_count(struct weir_admin *admin, uint64_t *ret_count) {
    int64_t now_ns = weir_clock_monotonic_ns();
    if (admin->letters_looked_ns == 0 ||
        now_ns - admin->letters_looked_ns > COUNTED_AGAIN_MS * WEIR_NS_PER_MS) {
        struct weir_state *state;
        if (weir_state_read(admin->state_dir, &state, NULL) != WEIR_OK) {
            return false;
        }
        weir_status status =
            weir_state_count_dead(state, WEIR_ADMIN_LETTERS_COUNTED_MAX, &admin->letters, NULL);
        weir_state_close(state);
        if (status != WEIR_OK) {
            return false;
        }
        admin->letters_looked_ns = now_ns;
    }
    *ret_count = admin->letters;
    return true;
}
