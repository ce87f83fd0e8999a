// SPDX-License-Identifier: Apache-2.0
//
// See content.h.
#include "unit/state/content.h"

#include "unit/test.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

// ---- events ----

static struct weir_optional_str optional(size_t number, const char *text) {
    const struct weir_optional_str choices[] = {
        {.is_some = false},
        {.is_some = true, .value = WEIR_STR("")},
        {.is_some = true, .value = weir_str_of(text)},
    };
    return choices[number % COUNT_OF(choices)];
}

static struct weir_optional_payload payload(size_t number) {
    static char large[6000]; // with overflow pages of SQLite's
    memset(large, 'x', sizeof large);
    large[17] = '\0';
    const struct weir_optional_payload choices[] = {
        {.is_some = false},
        {true, {WEIR_PAYLOAD_TEXT, WEIR_STR("")}},
        {true, {WEIR_PAYLOAD_BINARY, {NULL, 0}}},
        {true, {WEIR_PAYLOAD_TEXT, WEIR_STR("{\"a\": \"gr\u00fcn\"}")}},
        {true, {WEIR_PAYLOAD_BINARY, WEIR_STR("\xff\0\xfe")}},
        {true, {WEIR_PAYLOAD_TEXT, {large, sizeof large}}},
        {true, {WEIR_PAYLOAD_BINARY, {large, 1000}}},
        {true, {WEIR_PAYLOAD_TEXT, WEIR_STR("a\0b")}},
    };
    return choices[number % COUNT_OF(choices)];
}

static struct weir_attributes extensions(size_t number) {
    static const struct weir_attribute one[] = {{WEIR_STR("revision"), WEIR_STR("17")}};
    static const struct weir_attribute odd[] = {
        {WEIR_STR("b"), WEIR_STR("say \"\\\" and \x01\x1f\x7f\n\t/")},
        {WEIR_STR("a"), WEIR_STR("")},
        {WEIR_STR(""), WEIR_STR("nul \0 nul")},
        {WEIR_STR("a\0\""), WEIR_STR("gr\u00fcn \U0001F600")},
    };
    static const struct weir_attribute wrong[] = {
        {WEIR_STR("twice"), WEIR_STR("1")},
        {WEIR_STR("twice"), WEIR_STR("2")},
        {WEIR_STR("bytes"), WEIR_STR("\xff\xc3")},
        {WEIR_STR("like"), WEIR_STR("\\u0041\",\"x\":\"y\"}")},
    };
    static struct weir_attribute most[WEIR_EXTENSIONS_MAX];
    for (size_t i = 0; i < COUNT_OF(most); i++) {
        most[i] = (struct weir_attribute){WEIR_STR("name"), WEIR_STR("\x02value")};
        most[i].value.size = i % 7;
    }
    const struct weir_attributes choices[] = {
        {NULL, 0},
        {one, COUNT_OF(one)},
        {odd, COUNT_OF(odd)},
        {wrong, COUNT_OF(wrong)},
        {most, COUNT_OF(most)},
    };
    return choices[number % COUNT_OF(choices)];
}

struct weir_event *sample_event(size_t number) {
    char id[64];
    snprintf(id, sizeof id, "orders/%zu", number);
    const struct weir_event_fields fields = {
        .specversion = number % 31 == 30 ? WEIR_STR("") : WEIR_STR(WEIR_CLOUDEVENTS_VERSION),
        .ty = WEIR_STR(WEIR_TYPE_KEYVALUE_SET),
        .source = number % 13 == 12 ? WEIR_STR("") : WEIR_STR("my-container"),
        .id = weir_str_of(id),
        .data = payload(number),
        .datacontenttype = optional(number, "text/plain"),
        .dataschema = optional(number / 3, "https://example.org/schema"),
        .subject = optional(number / 9, "orders/1"),
        .time = optional(number / 2, "2026-01-31T12:34:56Z"),
        .extensions = extensions(number),
    };
    const struct weir_str keys[] = {WEIR_STR("orders/1"), WEIR_STR(""), WEIR_STR("a\0\xff"),
                                    WEIR_STR("orders/2")};
    const struct weir_event_origin origin = {
        .key = keys[number % COUNT_OF(keys)],
        .position = number % 3 == 0 ? WEIR_STR("") : WEIR_STR("\x01\0\xffposition"),
        .is_gap = number % 5 == 4,
    };
    struct weir_event *event;
    assert_int_equal(weir_event_make(&fields, &origin, &event, NULL), WEIR_OK);
    return event;
}

// ---- batches ----

static struct weir_event *next_event(struct sample_batch *sample, uint64_t round) {
    assert_true(sample->event_count < COUNT_OF(sample->events));
    size_t number = (size_t)(round * COUNT_OF(sample->events) + sample->event_count);
    return sample->events[sample->event_count++] = sample_event(number % SAMPLE_EVENT_COUNT);
}

static void fill_entries(struct sample_batch *sample, uint64_t round) {
    size_t count = COUNT_OF(sample->entries);
    uint64_t first = round * SAMPLE_ROUND_ENTRIES + 1;
    for (size_t i = 0; i < SAMPLE_ROUND_ENTRIES; i++) {
        sample->entries[i] = (struct weir_entry){
            .subscription = i % 2 + 1,
            .seq = first + i,
            .event = next_event(sample, round),
            .attempts = (uint32_t)i,
            .op = i == 5 ? WEIR_ENTRY_PASS : WEIR_ENTRY_WRITE,
            .has_fingerprint = i % 3 != 0,
        };
    }
    // Of this round, and of the one before.
    sample->entries[count - 3] = (struct weir_entry){
        .subscription = 1, .seq = first, .op = WEIR_ENTRY_ATTEMPT, .attempts = 70};
    sample->entries[count - 2] =
        (struct weir_entry){.subscription = 2, .seq = first + 1, .op = WEIR_ENTRY_REMOVE};
    sample->entries[count - 1] = (struct weir_entry){
        .subscription = 1,
        .seq = first > SAMPLE_ROUND_ENTRIES ? first - SAMPLE_ROUND_ENTRIES : first,
        .op = WEIR_ENTRY_ATTEMPT,
        .attempts = UINT32_MAX,
    };
    for (size_t i = 0; i + 1 < count; i++) {
        sample->entries[i].next = &sample->entries[i + 1];
    }
    sample->batch.entries = sample->entries;
}

static void fill_events(struct sample_batch *sample, uint64_t round) {
    for (size_t i = 0; i < COUNT_OF(sample->outbox); i++) {
        sample->outbox[i] = (struct weir_outbox_entry){
            .id = round * COUNT_OF(sample->outbox) + i + 1,
            .subscription = WEIR_STR("second"),
            .target = WEIR_STR("target"),
            .event = next_event(sample, round),
            .next = i + 1 < COUNT_OF(sample->outbox) ? &sample->outbox[i + 1] : NULL,
        };
    }
    for (size_t i = 0; i < COUNT_OF(sample->dead); i++) {
        sample->dead[i] = (struct weir_dead_letter){
            .id = round * COUNT_OF(sample->dead) + i + 1,
            .subscription = WEIR_STR("second"),
            .target = i == 0 ? WEIR_STR("") : WEIR_STR("target"),
            .reason = WEIR_STR("it said \"no\""),
            .attempts = 3,
            .guest_hash = WEIR_STR("xxh128:00"),
            .output = WEIR_STR("\xff the end\n\0"),
            .wall_ns = i == 0 ? INT64_MIN : INT64_MAX,
            .event = next_event(sample, round),
            .next = i + 1 < COUNT_OF(sample->dead) ? &sample->dead[i + 1] : NULL,
        };
    }
    sample->published.id = sample->outbox[0].id; // written and removed by the same batch
    sample->undead.id = sample->dead[0].id;
    sample->batch.outbox = sample->outbox;
    sample->batch.published = &sample->published;
    sample->batch.dead = round % 2 == 0 ? sample->dead : NULL;
    sample->batch.undead = round % 4 == 0 ? &sample->undead : NULL;
}

void sample_batch_init(struct sample_batch *sample, uint64_t round) {
    *sample = (struct sample_batch){.event_count = 0};
    // The first has entries 0, 2, 4 ... and the second 1, 3, 7 ...: see fill_entries.
    const uint64_t rows_a_round[] = {SAMPLE_ROUND_ENTRIES / 2, SAMPLE_ROUND_ENTRIES / 2 - 2};
    for (size_t i = 0; i < COUNT_OF(sample->subscriptions); i++) {
        snprintf(sample->texts[i], sizeof sample->texts[i], "%" PRIu64 "-\xff-%zu", round, i);
        sample->subscriptions[i] = (struct weir_subscription_record){
            .id = i + 1,
            .name = i == 0 ? WEIR_STR("first") : WEIR_STR("second"),
            .resource = WEIR_STR("shop (file)"),
            .pattern = WEIR_STR("orders/*"),
            .is_ready = round % 2 == i,
            .cursor = i == 0 ? (struct weir_str){0} : weir_str_of(sample->texts[i]),
            .next_seq = (round + 1) * SAMPLE_ROUND_ENTRIES + 1,
            .row_count = (round + 1) * rows_a_round[i],
            .next = i == 0 ? &sample->subscriptions[1] : NULL,
        };
    }
    for (size_t i = 0; i < COUNT_OF(sample->notes); i++) {
        char *key = sample->texts[2 + i];
        snprintf(key, sizeof sample->texts[0], "key/%" PRIu64, (round * 3 + i) % 40);
        sample->notes[i] = (struct weir_note){
            .subscription = i % 2 + 1,
            .key = weir_str_of(key),
            .fingerprint = i == 3 ? (struct weir_str){0} : WEIR_STR("\0print"),
            .next = i + 1 < COUNT_OF(sample->notes) ? &sample->notes[i + 1] : NULL,
        };
    }
    sample->batch.subscriptions = sample->subscriptions;
    sample->batch.notes = sample->notes;
    fill_entries(sample, round);
    fill_events(sample, round);
}

void sample_batch_finish(struct sample_batch *sample) {
    for (size_t i = 0; i < sample->event_count; i++) {
        weir_event_unref(sample->events[i]);
    }
}

void sample_commit(struct weir_state *state, uint64_t from, uint64_t to) {
    for (uint64_t round = from; round <= to; round++) {
        struct sample_batch sample;
        struct weir_error err;
        sample_batch_init(&sample, round);
        if (weir_state_store.commit(state, &sample.batch, &err) != WEIR_OK) {
            fail_msg("round %" PRIu64 ": %s", round, err.message);
        }
        sample_batch_finish(&sample);
    }
}

// ---- content ----

void content_reserve(struct content *content, size_t capacity) {
    content->capacity = capacity;
    content->bytes = realloc(content->bytes, capacity);
    REQUIRE(content->bytes);
}

static void add(struct content *content, const void *bytes, size_t size) {
    if (content->size + size > content->capacity) {
        content_reserve(content, 2 * (content->size + size));
    }
    if (size > 0) {
        memcpy(content->bytes + content->size, bytes, size);
    }
    content->size += size;
}

static void add_number(struct content *content, uint64_t number) {
    add(content, &number, sizeof number);
}

static void add_text(struct content *content, struct weir_str text) {
    add_number(content, text.size);
    add(content, text.data, text.size);
}

static void add_optional(struct content *content, const struct weir_optional_str *text) {
    add_number(content, text->is_some);
    add_text(content, text->is_some ? text->value : (struct weir_str){0});
}

static void add_event(struct content *content, const struct weir_event *event) {
    const struct weir_event_fields *fields = &event->fields;
    add_text(content, event->key);
    add_text(content, event->position);
    add_number(content, event->is_gap);
    add_text(content, fields->specversion);
    add_text(content, fields->ty);
    add_text(content, fields->source);
    add_text(content, fields->id);
    add_number(content, fields->data.is_some);
    add_number(content, fields->data.is_some ? fields->data.value.kind : 0);
    add_text(content, fields->data.value.bytes);
    add_optional(content, &fields->datacontenttype);
    add_optional(content, &fields->dataschema);
    add_optional(content, &fields->subject);
    add_optional(content, &fields->time);
    add_number(content, fields->extensions.count);
    for (size_t i = 0; i < fields->extensions.count; i++) {
        add_text(content, fields->extensions.items[i].name);
        add_text(content, fields->extensions.items[i].value);
    }
}

void assert_same_event(const struct weir_event *a, const struct weir_event *b) {
    struct content of_a = {0}, of_b = {0};
    add_event(&of_a, a);
    add_event(&of_b, b);
    assert_true(content_equal(&of_a, &of_b));
    assert_int_equal(a->size_bytes, b->size_bytes);
    content_finish(&of_a);
    content_finish(&of_b);
}

enum { SUBSCRIPTIONS_MAX = 16 };
struct content_reader {
    struct content *content;
    uint64_t ids[SUBSCRIPTIONS_MAX];
    size_t id_count;
};

static bool each_record(void *context, const struct weir_subscription_record *record) {
    struct content_reader *reader = context;
    REQUIRE(reader->id_count < SUBSCRIPTIONS_MAX);
    reader->ids[reader->id_count++] = record->id;
    add_number(reader->content, record->id);
    add_text(reader->content, record->name);
    add_text(reader->content, record->resource);
    add_text(reader->content, record->pattern);
    add_number(reader->content, record->is_ready);
    add_text(reader->content, record->cursor);
    add_number(reader->content, record->next_seq);
    add_number(reader->content, record->row_count);
    return true;
}

static bool each_entry(void *context, const struct weir_entry *entry) {
    struct content_reader *reader = context;
    add_number(reader->content, entry->subscription);
    add_number(reader->content, entry->seq);
    add_number(reader->content, entry->attempts);
    add_number(reader->content, entry->op);
    add_event(reader->content, entry->event);
    return true;
}

static bool each_note(void *context, struct weir_str key, struct weir_str fingerprint) {
    struct content_reader *reader = context;
    add_text(reader->content, key);
    add_text(reader->content, fingerprint);
    return true;
}

static bool each_outbox(void *context, const struct weir_outbox_entry *entry) {
    struct content_reader *reader = context;
    add_number(reader->content, entry->id);
    add_text(reader->content, entry->subscription);
    add_text(reader->content, entry->target);
    add_event(reader->content, entry->event);
    return true;
}

static bool each_dead(void *context, const struct weir_dead_letter *letter) {
    struct content_reader *reader = context;
    add_number(reader->content, letter->id);
    add_text(reader->content, letter->subscription);
    add_text(reader->content, letter->target);
    add_text(reader->content, letter->reason);
    add_number(reader->content, letter->attempts);
    add_text(reader->content, letter->guest_hash);
    add_text(reader->content, letter->output);
    add_number(reader->content, (uint64_t)letter->wall_ns);
    add_event(reader->content, letter->event);
    return true;
}

weir_status content_read(struct weir_state *state, struct content *ret_content,
                         struct weir_error *err) {
    *ret_content = (struct content){0};
    return content_read_into(state, ret_content, err);
}

weir_status content_read_into(struct weir_state *state, struct content *content,
                              struct weir_error *err) {
    struct content_reader reader = {.content = content};
    const struct weir_store *store = &weir_state_store;
    weir_status status = store->load_subscriptions(state, each_record, &reader, err);
    for (size_t i = 0; i < reader.id_count && status == WEIR_OK; i++) {
        const struct weir_load load = {
            .subscription = reader.ids[i], .seq_to = WEIR_SEQ_MAX, .rows_max = SIZE_MAX};
        add_text(content, WEIR_STR("journal"));
        status = store->load_journal(state, &load, each_entry, &reader, err);
        add_text(content, WEIR_STR("notes"));
        if (status == WEIR_OK) {
            status = store->load_notes(state, reader.ids[i], each_note, &reader, err);
        }
    }
    add_text(content, WEIR_STR("outbox"));
    if (status == WEIR_OK) {
        status = store->load_outbox(state, 0, SIZE_MAX, each_outbox, &reader, err);
    }
    add_text(content, WEIR_STR("dead"));
    if (status == WEIR_OK) {
        status = store->load_dead(state, 0, SIZE_MAX, each_dead, &reader, err);
    }
    if (status != WEIR_OK) {
        content_finish(content);
    }
    return status;
}

struct content content_of_folder(const char *dir) {
    struct weir_state *state;
    struct weir_error err;
    struct content content = {0};
    if (weir_state_open(dir, NULL, &state, &err) != WEIR_OK) {
        fail_msg("%s", err.message);
    }
    if (content_read(state, &content, &err) != WEIR_OK) {
        fail_msg("%s", err.message);
    }
    weir_state_close(state);
    return content;
}

void content_finish(struct content *content) {
    free(content->bytes);
    *content = (struct content){0};
}

bool content_equal(const struct content *a, const struct content *b) {
    return a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
}
