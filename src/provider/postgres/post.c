// SPDX-License-Identifier: Apache-2.0
//
// See post.h.
#include "provider/postgres/post.h"

#include "base/base64.h"
#include "base/clock.h"
#include "provider/draft.h"
#include "provider/subject.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ID_BYTES = 3 * WEIR_KEY_BYTES_MAX + 320, // subject, '@' and revision
};

// An event, and the texts that are made for it.
struct draft {
    struct weir_draft event;
    char id[ID_BYTES], time[WEIR_TIME_BYTES];
    char numbers[WEIR_EXTENSIONS_MAX][WEIR_DECIMAL_BYTES_MAX];
    size_t number_count;
};

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
        return (struct weir_str){text, weir_decimal_signed(json_integer_value(value), text)};
    }
    draft->event.is_bad = true;
    return (struct weir_str){0};
}

static void put_attribute(struct draft *draft, struct weir_str name, const json_t *json) {
    if (json_is_null(json)) {
        return; // as if it were not there
    }
    struct weir_str value = text_of(draft, json);
    if (!weir_draft_put_attribute(&draft->event, name, value)) {
        weir_draft_put_extension(&draft->event, name, value);
    }
}

static bool has_extension(const struct weir_draft *draft, const char *name) {
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
    struct weir_event_fields *fields = &draft->event.fields;
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
    struct weir_draft *event = &draft->event;
    bool is_own = event->fields.subject.value.data == draft->id; // that was made of the key
    if (is_own && !weir_utf8_valid(post->key)) {
        weir_draft_put_extension(event, WEIR_STR(WEIR_EXTENSION_SUBJECT_ENCODING),
                                 WEIR_STR("percent"));
    }
    if (post->is_revision_kept && !has_extension(event, WEIR_EXTENSION_REVISION)) {
        weir_draft_put_extension(event, WEIR_STR(WEIR_EXTENSION_REVISION), post->revision);
    }
    if (post->is_snapshot && !has_extension(event, WEIR_EXTENSION_SNAPSHOT)) {
        weir_draft_put_extension(event, WEIR_STR(WEIR_EXTENSION_SNAPSHOT), WEIR_STR("true"));
    }
    if (post->has_data) {
        weir_draft_put_data(event, weir_payload_of(post->data), post->event_bytes_max);
    }
}

static weir_status make(struct draft *draft, const struct weir_pg_post *post,
                        const json_t *attributes, struct weir_event **ret_event,
                        struct weir_error *err) {
    weir_draft_init(&draft->event);
    draft->number_count = 0;
    put_defaults(draft, post);
    if (attributes) {
        put_attributes(draft, attributes);
    }
    put_rest(draft, post);
    const struct weir_event_origin origin = {.key = post->key, .position = post->position};
    return weir_draft_finish(&draft->event, &origin, ret_event, err);
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
