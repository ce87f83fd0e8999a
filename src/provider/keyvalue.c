// SPDX-License-Identifier: Apache-2.0
//
// See keyvalue.h.
#include "provider/keyvalue.h"

#include "base/clock.h"
#include "base/show.h"
#include "provider/subject.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OWN_EXTENSIONS_MAX = 5 };

static char *put_text(char *at, struct weir_str text) {
    if (text.size > 0) {
        memcpy(at, text.data, text.size);
    }
    return at + text.size;
}

// The texts that are made for an event.
struct texts {
    char time[WEIR_TIME_BYTES];
    char size[24];
    char *id; // "SUBJECT@REVISION"
    size_t subject_size, id_size;
    bool is_coded;
};

static void put_id(const struct weir_keyvalue_change *change, struct texts *texts) {
    texts->subject_size = weir_subject_of_key(change->key, texts->is_coded, texts->id);
    char *at = texts->id + texts->subject_size;
    *at++ = '@';
    at = put_text(at, change->revision);
    texts->id_size = (size_t)(at - texts->id);
}

static size_t put_extensions(const struct weir_keyvalue_change *change, struct texts *texts,
                             struct weir_attribute *at) {
    size_t count = 0;
    at[count++] = (struct weir_attribute){WEIR_STR(WEIR_EXTENSION_REVISION), change->revision};
    if (texts->is_coded) {
        at[count++] =
            (struct weir_attribute){WEIR_STR(WEIR_EXTENSION_SUBJECT_ENCODING), WEIR_STR("percent")};
    }
    if (change->is_snapshot) {
        at[count++] = (struct weir_attribute){WEIR_STR(WEIR_EXTENSION_SNAPSHOT), WEIR_STR("true")};
    }
    if (!change->is_deleted && !change->data) {
        snprintf(texts->size, sizeof texts->size, "%" PRIu64, change->size_bytes);
        at[count++] = (struct weir_attribute){WEIR_STR("dataomitted"), WEIR_STR("size")};
        at[count++] = (struct weir_attribute){WEIR_STR("datasize"), weir_str_of(texts->size)};
    }
    for (size_t i = 0; i < change->extension_count; i++) {
        at[count++] = change->extensions[i];
    }
    return count;
}

static void put_data(const struct weir_str *data, struct weir_event_fields *fields) {
    struct weir_payload payload = weir_payload_of(*data);
    fields->data = (struct weir_optional_payload){.is_some = true, .value = payload};
    fields->datacontenttype = (struct weir_optional_str){
        .is_some = true,
        .value = payload.kind == WEIR_PAYLOAD_TEXT ? WEIR_STR("text/plain")
                                                   : WEIR_STR("application/octet-stream"),
    };
}

static weir_status make(const struct weir_keyvalue_change *change, struct texts *texts,
                        struct weir_event **ret_event, struct weir_error *err) {
    struct weir_attribute extensions[OWN_EXTENSIONS_MAX + WEIR_KEYVALUE_EXTENSIONS_MAX];
    put_id(change, texts);
    size_t count = put_extensions(change, texts, extensions);
    struct weir_event_fields fields = {
        .specversion = WEIR_STR(WEIR_CLOUDEVENTS_VERSION),
        .ty = change->is_deleted ? WEIR_STR(WEIR_TYPE_KEYVALUE_DELETED)
                                 : WEIR_STR(WEIR_TYPE_KEYVALUE_SET),
        .source = change->source,
        .id = {.data = texts->id, .size = texts->id_size},
        .subject = {.is_some = true, .value = {texts->id, texts->subject_size}},
        .extensions = {.items = extensions, .count = count},
    };
    if (change->wall_ns != 0) {
        weir_time_format(change->wall_ns, texts->time);
        fields.time =
            (struct weir_optional_str){.is_some = true, .value = weir_str_of(texts->time)};
    }
    if (!change->is_deleted && change->data) {
        put_data(change->data, &fields);
    }
    struct weir_event_origin origin = {.key = change->key, .position = change->position};
    return weir_event_make(&fields, &origin, ret_event, err);
}

weir_status weir_keyvalue_event(const struct weir_keyvalue_change *change,
                                struct weir_event **ret_event, struct weir_error *err) {
    char small[512]; // for most of them
    struct texts texts = {.id = small, .is_coded = !weir_utf8_valid(change->key)};
    assert(change->key.size <= WEIR_KEY_BYTES_MAX);
    assert(change->extension_count <= WEIR_KEYVALUE_EXTENSIONS_MAX);
    size_t id_size =
        (texts.is_coded ? 3 : 1) * change->key.size + change->revision.size + sizeof "@";
    if (id_size > sizeof small) {
        texts.id = malloc(id_size);
    }
    if (!texts.id) {
        return weir_fail_no_memory(err, "an event");
    }
    weir_status status = make(change, &texts, ret_event, err);
    if (texts.id != small) {
        free(texts.id);
    }
    return status;
}

weir_status weir_keyvalue_check_key(struct weir_str key, struct weir_error *err) {
    char shown[WEIR_SHOW_BYTES];
    if (key.size == 0) {
        return weir_fail(err, WEIR_INVALID, "an empty key");
    }
    if (key.size > WEIR_KEY_BYTES_MAX) {
        return weir_fail(err, WEIR_INVALID, "the key \"%s\" has %zu bytes; the longest has %d",
                         weir_show(key, shown, sizeof shown), key.size, WEIR_KEY_BYTES_MAX);
    }
    if (memchr(key.data, '\0', key.size)) {
        return weir_fail(err, WEIR_INVALID,
                         "the key \"%s\" has a NUL byte; every other byte may stand in a key",
                         weir_show(key, shown, sizeof shown));
    }
    return WEIR_OK;
}

weir_status weir_keyvalue_check_pattern(const struct weir_pattern *pattern,
                                        struct weir_error *err) {
    bool is_all = pattern->is_prefix && pattern->text.size == 0;
    return is_all ? WEIR_OK : weir_keyvalue_check_key(pattern->text, err);
}
