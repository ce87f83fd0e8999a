// SPDX-License-Identifier: Apache-2.0
//
// See stream_event.h. The names of a CloudEvent's fields are those of its Kafka binding, for lack
// of one for Redis: "ce_" before the attribute's name, "content-type", and the data as `data`.
// Fields that claim to be an event and are none are told as an entry.
#include "provider/redis/stream_event.h"

#include "base/clock.h"
#include "base/table.h"
#include "base/text.h"
#include "provider/provider.h"
#include "provider/subject.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    OWN_EXTENSIONS_MAX = 4,
    HEX_ESCAPE_BYTES = 3,
    NUMBER_BYTES = 24,
};

// The texts that are made for an event. Owned.
struct texts {
    char time[WEIR_TIME_BYTES];
    char size[NUMBER_BYTES];
    char *subject; // and behind it "@" and the id, which is the event's id
    size_t subject_size, id_size;
    bool is_coded;
    struct weir_text json; // the data, if it had to be made
};

static void texts_finish(struct texts *texts) {
    free(texts->subject);
    weir_text_finish(&texts->json);
}

static weir_status make_texts(const struct weir_redis_stream_entry *entry, struct texts *texts,
                              struct weir_error *err) {
    struct weir_str name = entry->stream, id = entry->entry->id_text;
    texts->is_coded = !weir_utf8_valid(name);
    texts->subject = malloc(HEX_ESCAPE_BYTES * name.size + 1 + id.size);
    if (!texts->subject) {
        return weir_fail_no_memory(err, "an event");
    }
    texts->subject_size = weir_subject_of_key(name, texts->is_coded, texts->subject);
    texts->subject[texts->subject_size] = '@';
    memcpy(texts->subject + texts->subject_size + 1, id.data, id.size);
    texts->id_size = texts->subject_size + 1 + id.size;
    uint64_t ms = entry->entry->id.ms;
    texts->time[0] = '\0';
    if (ms > 0 && ms < INT64_MAX / WEIR_NS_PER_MS) {
        weir_time_format((int64_t)ms * WEIR_NS_PER_MS, texts->time);
    }
    return WEIR_OK;
}

// ---- data ----

// A field of an entry.
struct field {
    UT_hash_handle hh; // among those of other names, in the order of the entry
    struct weir_str name, value;
};

// A name as text. Where that has to be made it is put at *room, which goes on behind it. What
// stands behind a NUL in a name is lost.
static struct weir_str name_of(struct weir_str name, char **room) {
    const char *nul = name.size > 0 ? memchr(name.data, '\0', name.size) : NULL;
    if (!nul && weir_utf8_valid(name)) {
        return name;
    }
    name.size = nul ? (size_t)(nul - name.data) : name.size;
    struct weir_str text = {*room, weir_subject_of_key(name, true, *room)};
    *room += text.size;
    return text;
}

// Puts a field into the table; of fields of one name the last stays, in the place of the first.
static bool add_field(struct field **table, struct field *field) {
    struct field *before;
    HASH_FIND(hh, *table, field->name.data, field->name.size, before);
    if (before) {
        before->value = field->value;
        return true;
    }
    HASH_ADD_KEYPTR(hh, *table, field->name.data, field->name.size, field);
    return field->hh.tbl != NULL;
}

static void put_fields(struct weir_text *text, const struct field *table) {
    weir_text_put(text, WEIR_STR("{"));
    for (const struct field *field = table; field; field = field->hh.next) {
        weir_text_put(text, field == table ? WEIR_STR("") : WEIR_STR(","));
        weir_text_put_json(text, field->name);
        weir_text_put(text, WEIR_STR(":"));
        if (weir_utf8_valid(field->value)) {
            weir_text_put_json(text, field->value);
        } else {
            weir_text_put_json_binary(text, field->value);
        }
    }
    weir_text_put(text, WEIR_STR("}"));
}

// The fields as a JSON object, in their order.
static void fields_to_json(const struct weir_redis_reply *fields, struct weir_text *text) {
    size_t count = fields->count / 2, name_bytes = 0;
    for (size_t i = 0; i < count; i++) {
        name_bytes += fields->items[2 * i].bytes.size;
    }
    struct field *list = calloc(1, count * sizeof *list + HEX_ESCAPE_BYTES * name_bytes + 1);
    struct field *table = NULL;
    char *room = list ? (char *)(list + count) : NULL; // for names
    bool is_made = list != NULL;
    for (size_t i = 0; is_made && i < count; i++) {
        list[i].name = name_of(fields->items[2 * i].bytes, &room);
        list[i].value = fields->items[2 * i + 1].bytes;
        is_made = add_field(&table, &list[i]);
    }
    if (is_made) {
        put_fields(text, table);
    }
    text->lacks_memory = text->lacks_memory || !is_made;
    HASH_CLEAR(hh, table);
    free(list);
}

// What is told of the data.
struct data {
    bool is_some;
    struct weir_str bytes;
    struct weir_str type; // its media type; empty: as its bytes say
};

static weir_status entry_data(const struct weir_redis_entry *entry, struct texts *texts,
                              struct data *ret_data, struct weir_error *err) {
    struct weir_str only =
        entry->fields->count == 2 ? weir_redis_entry_field(entry, "data") : (struct weir_str){0};
    *ret_data = (struct data){.is_some = true, .bytes = only};
    if (only.data) {
        return WEIR_OK;
    }
    fields_to_json(entry->fields, &texts->json);
    ret_data->bytes = weir_text_view(&texts->json);
    ret_data->type = WEIR_STR("application/json");
    return texts->json.lacks_memory ? weir_fail_no_memory(err, "an event") : WEIR_OK;
}

// Puts the data into the fields, or says that it is too large. Returns how many extensions that is.
static size_t put_data(const struct data *data, uint64_t bytes_max, struct texts *texts,
                       struct weir_event_fields *fields, struct weir_attribute *extensions) {
    if (!data->is_some) {
        return 0;
    }
    if (data->bytes.size > bytes_max) {
        snprintf(texts->size, sizeof texts->size, "%zu", data->bytes.size);
        extensions[0] = (struct weir_attribute){WEIR_STR("dataomitted"), WEIR_STR("size")};
        extensions[1] = (struct weir_attribute){WEIR_STR("datasize"), weir_str_of(texts->size)};
        return 2;
    }
    struct weir_payload payload = weir_payload_of(data->bytes);
    struct weir_str type = payload.kind == WEIR_PAYLOAD_TEXT ? WEIR_STR("text/plain")
                                                             : WEIR_STR("application/octet-stream");
    fields->data = (struct weir_optional_payload){.is_some = true, .value = payload};
    fields->datacontenttype = (struct weir_optional_str){
        .is_some = true, .value = data->type.size > 0 ? data->type : type};
    return 0;
}

// ---- events ----

static weir_status make(const struct weir_redis_stream_entry *entry,
                        const struct weir_event_fields *fields, struct weir_event **ret_event,
                        struct weir_error *err) {
    const struct weir_event_origin origin = {
        .key = entry->stream, .position = entry->entry->id_text, .is_repeat = entry->is_repeat};
    return weir_event_make(fields, &origin, ret_event, err);
}

static weir_status make_entry(const struct weir_redis_stream_entry *entry, struct texts *texts,
                              struct weir_event **ret_event, struct weir_error *err) {
    struct weir_attribute extensions[OWN_EXTENSIONS_MAX];
    struct data data;
    weir_status status = entry_data(entry->entry, texts, &data, err);
    if (status != WEIR_OK) {
        return status;
    }
    struct weir_event_fields fields = {
        .specversion = WEIR_STR(WEIR_CLOUDEVENTS_VERSION),
        .ty = WEIR_STR(WEIR_REDIS_TYPE_ENTRY),
        .source = entry->source,
        .id = {texts->subject, texts->id_size},
        .subject = {.is_some = true, .value = {texts->subject, texts->subject_size}},
    };
    if (texts->time[0]) {
        fields.time =
            (struct weir_optional_str){.is_some = true, .value = weir_str_of(texts->time)};
    }
    size_t count = 0;
    extensions[count++] =
        (struct weir_attribute){WEIR_STR(WEIR_EXTENSION_REVISION), entry->entry->id_text};
    if (texts->is_coded) {
        extensions[count++] =
            (struct weir_attribute){WEIR_STR(WEIR_EXTENSION_SUBJECT_ENCODING), WEIR_STR("percent")};
    }
    count += put_data(&data, entry->event_bytes_max, texts, &fields, extensions + count);
    fields.extensions = (struct weir_attributes){.items = extensions, .count = count};
    return make(entry, &fields, ret_event, err);
}

static struct weir_optional_str optional(struct weir_str text) {
    return (struct weir_optional_str){.is_some = text.size > 0, .value = text};
}

static bool is_attribute(struct weir_str name) {
    static const char *const names[] = {"specversion", "id",   "source",    "type",
                                        "subject",     "time", "dataschema"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (weir_str_equal(name, weir_str_of(names[i]))) {
            return true;
        }
    }
    return false;
}

static bool is_among(struct weir_str name, const struct weir_attribute *extensions, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (weir_str_equal(name, extensions[i].name)) {
            return true;
        }
    }
    return false;
}

// The extensions among the fields. Returns their number; more than WEIR_EXTENSIONS_MAX: too many.
static size_t read_extensions(const struct weir_redis_reply *fields,
                              struct weir_attribute extensions[static WEIR_EXTENSIONS_MAX]) {
    size_t count = 0;
    for (size_t i = 0; i + 1 < fields->count && count <= WEIR_EXTENSIONS_MAX; i += 2) {
        struct weir_str name = fields->items[i].bytes;
        if (!weir_str_has_prefix(name, WEIR_STR("ce_"))) {
            continue;
        }
        name = (struct weir_str){name.data + 3, name.size - 3};
        if (!is_attribute(name) &&
            !is_among(name, extensions,
                      count < WEIR_EXTENSIONS_MAX ? count : WEIR_EXTENSIONS_MAX)) {
            if (count < WEIR_EXTENSIONS_MAX) {
                extensions[count] = (struct weir_attribute){name, fields->items[i + 1].bytes};
            }
            count++;
        }
    }
    return count;
}

// The event that was published. False: the fields are none.
static bool
read_published(const struct weir_redis_stream_entry *entry, struct texts *texts,
               struct weir_event_fields *ret_fields,
               struct weir_attribute extensions[static WEIR_EXTENSIONS_MAX + OWN_EXTENSIONS_MAX]) {
    const struct weir_redis_entry *from = entry->entry;
    struct weir_str value = weir_redis_entry_field(from, "data");
    struct weir_str id = weir_redis_entry_field(from, "ce_id");
    if (id.size == 0) { // as most are, that weir has not published
        return false;
    }
    *ret_fields = (struct weir_event_fields){
        .specversion = weir_redis_entry_field(from, "ce_specversion"),
        .ty = weir_redis_entry_field(from, "ce_type"),
        .source = weir_redis_entry_field(from, "ce_source"),
        .id = id,
        .subject = optional(weir_redis_entry_field(from, "ce_subject")),
        .time = optional(weir_redis_entry_field(from, "ce_time")),
        .dataschema = optional(weir_redis_entry_field(from, "ce_dataschema")),
    };
    if (ret_fields->source.size == 0 || ret_fields->ty.size == 0) {
        return false;
    }
    size_t count = read_extensions(from->fields, extensions);
    if (count > WEIR_EXTENSIONS_MAX - OWN_EXTENSIONS_MAX) {
        return false;
    }
    struct data data = {.is_some = value.data != NULL,
                        .bytes = value,
                        .type = weir_redis_entry_field(from, "content-type")};
    count += put_data(&data, entry->event_bytes_max, texts, ret_fields, extensions + count);
    ret_fields->extensions = (struct weir_attributes){.items = extensions, .count = count};
    return weir_event_fields_check_utf8(ret_fields, NULL) == WEIR_OK &&
           weir_event_fields_check(ret_fields, NULL) == WEIR_OK;
}

weir_status weir_redis_stream_event(const struct weir_redis_stream_entry *entry,
                                    struct weir_event **ret_event, struct weir_error *err) {
    struct weir_attribute extensions[WEIR_EXTENSIONS_MAX + OWN_EXTENSIONS_MAX];
    struct weir_event_fields published;
    struct texts texts = {.subject = NULL};
    *ret_event = NULL;
    if (read_published(entry, &texts, &published, extensions)) {
        return make(entry, &published, ret_event, err);
    }
    weir_status status = make_texts(entry, &texts, err);
    if (status == WEIR_OK) {
        status = make_entry(entry, &texts, ret_event, err);
    }
    texts_finish(&texts);
    return status;
}
