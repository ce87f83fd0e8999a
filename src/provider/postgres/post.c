// SPDX-License-Identifier: Apache-2.0
//
// See post.h.
#include "provider/postgres/post.h"

#include "base/base64.h"
#include "base/clock.h"
#include "provider/subject.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    NUMBER_BYTES = 24,
    ID_BYTES = 3 * WEIR_KEY_BYTES_MAX + 320, // subject, '@' and revision
};

// What stays of an event while its fields are gathered.
struct draft {
    struct weir_event_fields fields;
    struct weir_attribute extensions[WEIR_EXTENSIONS_MAX];
    size_t count;
    bool is_bad; // there are more than an event has, or of another kind
    char id[ID_BYTES], time[WEIR_TIME_BYTES], size[NUMBER_BYTES];
    char numbers[WEIR_EXTENSIONS_MAX][NUMBER_BYTES];
    size_t number_count;
};

static void put_extension(struct draft *draft, struct weir_str name, struct weir_str value) {
    if (draft->count == WEIR_EXTENSIONS_MAX) {
        draft->is_bad = true;
        return;
    }
    draft->extensions[draft->count++] = (struct weir_attribute){name, value};
}

// ---- what the post says of itself ----

// The text of an attribute's value, which JSON may have as a number or a boolean.
static struct weir_str text_of(struct draft *draft, const json_t *value) {
    if (json_is_string(value)) {
        return (struct weir_str){json_string_value(value), json_string_length(value)};
    }
    if (json_is_boolean(value)) {
        return json_is_true(value) ? WEIR_STR("true") : WEIR_STR("false");
    }
    if (json_is_integer(value) && draft->number_count < WEIR_EXTENSIONS_MAX) {
        char *text = draft->numbers[draft->number_count++];
        snprintf(text, NUMBER_BYTES, "%" PRId64, (int64_t)json_integer_value(value));
        return weir_str_of(text);
    }
    draft->is_bad = true;
    return (struct weir_str){0};
}

static void put_attribute(struct draft *draft, struct weir_str name, const json_t *json) {
    struct weir_event_fields *fields = &draft->fields;
    const struct {
        const char *name;
        struct weir_str *required;
        struct weir_optional_str *optional;
    } known[] = {
        {"specversion", &fields->specversion, NULL},
        {"type", &fields->ty, NULL},
        {"source", &fields->source, NULL},
        {"id", &fields->id, NULL},
        {"subject", NULL, &fields->subject},
        {"time", NULL, &fields->time},
        {"dataschema", NULL, &fields->dataschema},
        {"datacontenttype", NULL, &fields->datacontenttype},
    };
    if (json_is_null(json)) {
        return; // as if it were not there
    }
    struct weir_str value = text_of(draft, json);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (!weir_str_equal(name, weir_str_of(known[i].name))) {
            continue;
        }
        if (known[i].required) {
            *known[i].required = value;
        } else {
            *known[i].optional = (struct weir_optional_str){true, value};
        }
        return;
    }
    put_extension(draft, name, value);
}

static bool has_extension(const struct draft *draft, const char *name) {
    for (size_t i = 0; i < draft->count; i++) {
        if (weir_str_equal(draft->extensions[i].name, weir_str_of(name))) {
            return true;
        }
    }
    return false;
}

static void put_attributes(struct draft *draft, const json_t *attributes) {
    const char *name;
    size_t size;
    json_t *value;
    // Iterating changes nothing in the object.
    json_object_keylen_foreach((json_t *)(uintptr_t)attributes, name, size, value) {
        put_attribute(draft, (struct weir_str){name, size}, value);
    }
}

// ---- what is filled in ----

static void put_defaults(struct draft *draft, const struct weir_pg_post *post) {
    bool is_coded = !weir_utf8_valid(post->key);
    size_t subject_size = weir_subject_of_key(post->key, is_coded, draft->id);
    int id_size = snprintf(draft->id + subject_size, sizeof draft->id - subject_size, "@%.*s",
                           WEIR_STR_ARG(post->revision));
    struct weir_event_fields *fields = &draft->fields;
    *fields = (struct weir_event_fields){
        .specversion = WEIR_STR(WEIR_CLOUDEVENTS_VERSION),
        .ty = WEIR_STR(WEIR_TYPE_MESSAGE),
        .source = post->source,
        .id = {draft->id, subject_size + (size_t)id_size},
        .subject = {true, {draft->id, subject_size}},
    };
    if (post->wall_ns != 0) {
        weir_time_format(post->wall_ns, draft->time);
        fields->time = (struct weir_optional_str){true, weir_str_of(draft->time)};
    }
    if (post->has_data) {
        fields->datacontenttype = (struct weir_optional_str){
            true, post->content_type            ? weir_str_of(post->content_type)
                  : weir_utf8_valid(post->data) ? WEIR_STR("text/plain")
                                                : WEIR_STR("application/octet-stream")};
    }
}

static void put_rest(struct draft *draft, const struct weir_pg_post *post) {
    struct weir_event_fields *fields = &draft->fields;
    bool is_own = fields->subject.value.data == draft->id; // the subject that was made of the key
    if (is_own && !weir_utf8_valid(post->key)) {
        put_extension(draft, WEIR_STR(WEIR_EXTENSION_SUBJECT_ENCODING), WEIR_STR("percent"));
    }
    if (post->is_revision_kept && !has_extension(draft, WEIR_EXTENSION_REVISION)) {
        put_extension(draft, WEIR_STR(WEIR_EXTENSION_REVISION), post->revision);
    }
    if (post->is_snapshot && !has_extension(draft, WEIR_EXTENSION_SNAPSHOT)) {
        put_extension(draft, WEIR_STR(WEIR_EXTENSION_SNAPSHOT), WEIR_STR("true"));
    }
    if (!post->has_data) {
        return;
    }
    if (post->data.size > post->event_bytes_max) {
        snprintf(draft->size, sizeof draft->size, "%zu", post->data.size);
        put_extension(draft, WEIR_STR("dataomitted"), WEIR_STR("size"));
        put_extension(draft, WEIR_STR("datasize"), weir_str_of(draft->size));
        fields->datacontenttype = (struct weir_optional_str){0};
    } else {
        fields->data = (struct weir_optional_payload){true, weir_payload_of(post->data)};
    }
}

static weir_status make(struct draft *draft, const struct weir_pg_post *post,
                        const json_t *attributes, struct weir_event **ret_event,
                        struct weir_error *err) {
    draft->count = draft->number_count = 0;
    draft->is_bad = false;
    put_defaults(draft, post);
    if (attributes) {
        put_attributes(draft, attributes);
    }
    put_rest(draft, post);
    struct weir_event_fields *fields = &draft->fields;
    fields->extensions =
        (struct weir_attributes){.items = draft->extensions, .count = draft->count};
    weir_status status = draft->is_bad
                             ? weir_fail(err, WEIR_INVALID, "attributes that no event can have")
                             : weir_event_fields_check_utf8(fields, err);
    status = status == WEIR_OK ? weir_event_fields_check(fields, err) : status;
    const struct weir_event_origin origin = {.key = post->key, .position = post->position};
    return status == WEIR_OK ? weir_event_make(fields, &origin, ret_event, err) : status;
}

weir_status weir_pg_post_event(const struct weir_pg_post *post, struct weir_event **ret_event,
                               struct weir_error *err) {
    struct draft *draft = malloc(sizeof *draft);
    *ret_event = NULL;
    if (!draft) {
        return weir_fail_no_memory(err, "an event");
    }
    weir_status status = make(draft, post, post->attributes, ret_event, err);
    if (status == WEIR_INVALID && post->attributes) {
        status = make(draft, post, NULL, ret_event, err);
    }
    free(draft);
    return status;
}

// ---- CloudEvents in JSON ----

// Takes the data out of the object. WEIR_INVALID: it is not of the form that it has.
static weir_status take_data(json_t *object, bool *ret_has_data, struct weir_str *ret_data,
                             struct weir_error *err) {
    const json_t *data = json_object_get(object, "data");
    const json_t *coded = json_object_get(object, "data_base64");
    struct weir_str text = {0};
    char *bytes = NULL;
    size_t size = 0;
    if (coded) {
        text = (struct weir_str){json_string_value(coded), json_string_length(coded)};
        bytes = malloc(text.size + 1);
        if (bytes && (!json_is_string(coded) || !weir_base64_decode(text, bytes, &size))) {
            free(bytes);
            return weir_fail(err, WEIR_INVALID, "data_base64 is no base64");
        }
    } else if (json_is_string(data)) {
        size = json_string_length(data);
        bytes = malloc(size + 1);
        if (bytes) {
            memcpy(bytes, json_string_value(data), size);
        }
    } else if (data) {
        bytes = json_dumps(data, JSON_COMPACT | JSON_ENCODE_ANY);
        size = bytes ? strlen(bytes) : 0;
    }
    *ret_has_data = data || coded;
    if (*ret_has_data && !bytes) {
        return weir_fail_no_memory(err, "an event");
    }
    *ret_data = (struct weir_str){bytes, size};
    json_object_del(object, "data");
    json_object_del(object, "data_base64");
    return WEIR_OK;
}

weir_status weir_pg_post_open(struct weir_str text, json_t **ret_attributes, bool *ret_has_data,
                              struct weir_str *ret_data, struct weir_error *err) {
    *ret_attributes = NULL;
    *ret_has_data = false;
    *ret_data = (struct weir_str){0};
    if (text.size == 0 || text.data[0] != '{') {
        return WEIR_OK;
    }
    json_t *object =
        json_loadb(text.data, text.size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    if (!json_is_object(object) || !json_is_string(json_object_get(object, "specversion"))) {
        json_decref(object);
        return WEIR_OK;
    }
    weir_status status = take_data(object, ret_has_data, ret_data, err);
    if (status != WEIR_OK) {
        json_decref(object);
        return status == WEIR_INVALID ? WEIR_OK : status;
    }
    *ret_attributes = object;
    return WEIR_OK;
}

struct weir_str weir_pg_post_key(const json_t *attributes, struct weir_subject_buffer *buffer) {
    const json_t *subject = json_object_get(attributes, "subject");
    const json_t *encoding = json_object_get(attributes, WEIR_EXTENSION_SUBJECT_ENCODING);
    struct weir_attribute extension = {WEIR_STR(WEIR_EXTENSION_SUBJECT_ENCODING),
                                       {json_string_value(encoding), json_string_length(encoding)}};
    const struct weir_event_fields fields = {
        .subject = {json_is_string(subject),
                    {json_string_value(subject), json_string_length(subject)}},
        .extensions = {.items = &extension, .count = json_is_string(encoding) ? 1 : 0}};
    struct weir_str key;
    return weir_subject_key(&fields, buffer, &key, NULL) == WEIR_OK ? key : (struct weir_str){0};
}
