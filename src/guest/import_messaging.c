// SPDX-License-Identifier: Apache-2.0
//
// wasi:messaging: an event as a message, and resources that events can be published to as topics.
//
// What a CloudEvent has and a message has not stands in its metadata: the extensions by their
// names, and of the attributes `type`, `source`, `id` and `time`. Of a message that is sent,
// metadata `type` is the event's type; the other attributes are weir's to say, so that a message
// that is handed on does not pretend to be the one that it came from.
//
// Runs on the thread that runs the instance.
#include "guest/imports.h"

#include <stdlib.h>

#define TYPES    "wasi:messaging/types@0.2.0-draft"
#define PRODUCER "wasi:messaging/producer@0.2.0-draft"

enum {
    METADATA_MAX = WEIR_EXTENSIONS_MAX + 8, // of one message: extensions and attributes
    HELD_OVERHEAD_BYTES = 256,              // what a message costs beside its texts
};

// ---- the WIT

// The variant `error`.
static const struct weir_wit_field error_cases[] = {
    [WEIR_MESSAGING_TIMEOUT] = {"timeout", NULL, 4, 0},
    [WEIR_MESSAGING_CONNECTION] = {"connection", &weir_wit_string, 4,
                                   offsetof(struct weir_messaging_error, text)},
    [WEIR_MESSAGING_PERMISSION_DENIED] = {"permission-denied", &weir_wit_string, 4,
                                          offsetof(struct weir_messaging_error, text)},
    [WEIR_MESSAGING_OTHER] = {"other", &weir_wit_string, 4,
                              offsetof(struct weir_messaging_error, text)},
};
static const struct weir_wit_type error_type = {.kind = WEIR_WIT_VARIANT,
                                                .guest_size = 12,
                                                .guest_align = 4,
                                                .host_size = sizeof(struct weir_messaging_error),
                                                WEIR_WIT_FIELDS(error_cases)};

static const struct weir_wit_field done_cases[] = {
    {"ok", NULL, 4, 0},
    {"err", &error_type, 4, offsetof(struct weir_messaging_done, err)},
};
const struct weir_wit_type weir_messaging_done_type = {.kind = WEIR_WIT_RESULT,
                                                       .guest_size = 16,
                                                       .guest_align = 4,
                                                       .host_size =
                                                           sizeof(struct weir_messaging_done),
                                                       WEIR_WIT_FIELDS(done_cases)};

static const struct weir_wit_type own_client = WEIR_WIT_HANDLE(WEIR_WIT_OWN, WEIR_RESOURCE_CLIENT);
static const struct weir_wit_type client = WEIR_WIT_HANDLE(WEIR_WIT_BORROW, WEIR_RESOURCE_CLIENT);
static const struct weir_wit_type message_handle =
    WEIR_WIT_HANDLE(WEIR_WIT_BORROW, WEIR_RESOURCE_MESSAGE);
const struct weir_wit_type weir_messaging_own_message =
    WEIR_WIT_HANDLE(WEIR_WIT_OWN, WEIR_RESOURCE_MESSAGE);

// result<client, error>
struct connected {
    struct weir_messaging_done done;
    uint32_t client;
};
static const struct weir_wit_field connected_cases[] = {
    {"ok", &own_client, 4, offsetof(struct connected, client)},
    {"err", &error_type, 4, offsetof(struct weir_messaging_done, err)},
};
static const struct weir_wit_type connected_type = {.kind = WEIR_WIT_RESULT,
                                                    .guest_size = 16,
                                                    .guest_align = 4,
                                                    .host_size = sizeof(struct connected),
                                                    WEIR_WIT_FIELDS(connected_cases)};

// option<metadata>
struct optional_metadata {
    uint8_t is_some;
    struct weir_attributes list;
};
static const struct weir_wit_type metadata_type = {.kind = WEIR_WIT_LIST,
                                                   .guest_size = 8,
                                                   .guest_align = 4,
                                                   .host_size = sizeof(struct weir_attributes),
                                                   .element = &weir_wit_attribute,
                                                   .items_max = METADATA_MAX};
static const struct weir_wit_field optional_metadata_cases[] = {
    {"none", NULL, 4, 0},
    {"some", &metadata_type, 4, offsetof(struct optional_metadata, list)},
};
static const struct weir_wit_type optional_metadata_type = {
    .kind = WEIR_WIT_OPTION,
    .guest_size = 12,
    .guest_align = 4,
    .host_size = sizeof(struct optional_metadata),
    WEIR_WIT_FIELDS(optional_metadata_cases)};

struct connect_params {
    struct weir_str name;
};
static const struct weir_wit_field connect_params[] = {
    {"name", &weir_wit_string, 0, offsetof(struct connect_params, name)},
};
struct handle_params {
    uint32_t self;
};
static const struct weir_wit_field client_params[] = {
    {"self", &client, 0, offsetof(struct handle_params, self)},
};
static const struct weir_wit_field message_params[] = {
    {"self", &message_handle, 0, offsetof(struct handle_params, self)},
};
struct new_params {
    struct weir_str data;
};
static const struct weir_wit_field new_params[] = {
    {"data", &weir_wit_bytes, 0, offsetof(struct new_params, data)},
};
struct text_params {
    uint32_t self;
    struct weir_str text;
};
static const struct weir_wit_field content_type_params[] = {
    {"self", &message_handle, 0, offsetof(struct text_params, self)},
    {"content-type", &weir_wit_string, 0, offsetof(struct text_params, text)},
};
static const struct weir_wit_field data_params[] = {
    {"self", &message_handle, 0, offsetof(struct text_params, self)},
    {"data", &weir_wit_bytes, 0, offsetof(struct text_params, text)},
};
static const struct weir_wit_field key_params[] = {
    {"self", &message_handle, 0, offsetof(struct text_params, self)},
    {"key", &weir_wit_string, 0, offsetof(struct text_params, text)},
};
struct add_params {
    uint32_t self;
    struct weir_attribute pair;
};
static const struct weir_wit_field add_params[] = {
    {"self", &message_handle, 0, offsetof(struct add_params, self)},
    {"key", &weir_wit_string, 0, offsetof(struct add_params, pair.name)},
    {"value", &weir_wit_string, 0, offsetof(struct add_params, pair.value)},
};
struct metadata_params {
    uint32_t self;
    struct weir_attributes metadata;
};
static const struct weir_wit_field metadata_params[] = {
    {"self", &message_handle, 0, offsetof(struct metadata_params, self)},
    {"meta", &metadata_type, 0, offsetof(struct metadata_params, metadata)},
};
struct send_params {
    uint32_t client;
    struct weir_str topic;
    uint32_t message;
};
static const struct weir_wit_field send_params[] = {
    {"c", &client, 0, offsetof(struct send_params, client)},
    {"topic", &weir_wit_string, 0, offsetof(struct send_params, topic)},
    {"message", &weir_messaging_own_message, 0, offsetof(struct send_params, message)},
};

// ---- messages

// A text or bytes of a message's own.
struct held {
    char *data; // NULL: there is none
    size_t size;
};

struct message {
    struct held topic, content_type, data;
    bool has_metadata; // `none` is not an empty list
    size_t metadata_count;
    struct {
        struct held name, value;
    } metadata[METADATA_MAX];
};

static struct weir_str view(const struct held *held) {
    return (struct weir_str){.data = held->data, .size = held->size};
}

static void forget(struct weir_instance *instance, struct held *held) {
    if (held->data) {
        weir_import_release(instance, held->size);
        free(held->data);
    }
    *held = (struct held){0};
}

// Puts a copy in place of what was there.
static weir_status keep(struct weir_instance *instance, struct held *held, struct weir_str text,
                        struct weir_error *err) {
    weir_status status = weir_import_hold(instance, text.size, err);
    if (status != WEIR_OK) {
        return status;
    }
    char *copy = weir_str_copy(text);
    if (!copy) {
        weir_import_release(instance, text.size);
        return weir_fail_no_memory(err, "a message");
    }
    forget(instance, held);
    *held = (struct held){.data = copy, .size = text.size};
    return WEIR_OK;
}

static void forget_pair(struct weir_instance *instance, struct message *message, size_t index) {
    forget(instance, &message->metadata[index].name);
    forget(instance, &message->metadata[index].value);
    message->metadata[index] = message->metadata[--message->metadata_count];
}

static void clear_metadata(struct weir_instance *instance, struct message *message) {
    while (message->metadata_count > 0) {
        forget_pair(instance, message, message->metadata_count - 1);
    }
}

static void drop_message(struct weir_instance *instance, void *context) {
    struct message *message = context;
    forget(instance, &message->topic);
    forget(instance, &message->content_type);
    forget(instance, &message->data);
    clear_metadata(instance, message);
    weir_import_release(instance, HELD_OVERHEAD_BYTES);
    free(message);
}

static size_t find_pair(const struct message *message, struct weir_str name) {
    size_t i = 0;
    while (i < message->metadata_count && !weir_str_equal(view(&message->metadata[i].name), name)) {
        i++;
    }
    return i;
}

static weir_status add_pair(struct weir_instance *instance, struct message *message,
                            const struct weir_attribute *pair, struct weir_error *err) {
    size_t index = find_pair(message, pair->name);
    message->has_metadata = true;
    if (index < message->metadata_count) {
        return keep(instance, &message->metadata[index].value, pair->value, err);
    }
    if (index == METADATA_MAX) {
        return weir_fail(err, WEIR_LIMIT, "a message has at most %d metadata", METADATA_MAX);
    }
    message->metadata_count++;
    message->metadata[index].name = message->metadata[index].value = (struct held){0};
    weir_status status = keep(instance, &message->metadata[index].name, pair->name, err);
    if (status == WEIR_OK) {
        status = keep(instance, &message->metadata[index].value, pair->value, err);
    }
    if (status != WEIR_OK) {
        forget_pair(instance, message, index);
    }
    return status;
}

// An empty message, and its handle.
static weir_status make_message(struct weir_instance *instance, struct message **ret_message,
                                uint32_t *ret_handle, struct weir_error *err) {
    weir_status status = weir_import_hold(instance, HELD_OVERHEAD_BYTES, err);
    if (status != WEIR_OK) {
        return status;
    }
    struct message *message = calloc(1, sizeof *message);
    if (!message) {
        weir_import_release(instance, HELD_OVERHEAD_BYTES);
        return weir_fail_no_memory(err, "a message");
    }
    status = weir_handles_add(&instance->handles, WEIR_RESOURCE_MESSAGE, message, ret_handle, err);
    if (status != WEIR_OK) {
        drop_message(instance, message);
        return status;
    }
    *ret_message = message;
    return WEIR_OK;
}

static weir_status add_attribute(struct weir_instance *instance, struct message *message,
                                 const char *name, struct weir_str value, struct weir_error *err) {
    const struct weir_attribute pair = {.name = weir_str_of(name), .value = value};
    return value.size > 0 ? add_pair(instance, message, &pair, err) : WEIR_OK;
}

static weir_status fill_metadata(struct weir_instance *instance, struct message *message,
                                 const struct weir_event_fields *event, struct weir_error *err) {
    weir_status status = add_attribute(instance, message, "type", event->ty, err);
    if (status == WEIR_OK) {
        status = add_attribute(instance, message, "source", event->source, err);
    }
    if (status == WEIR_OK) {
        status = add_attribute(instance, message, "id", event->id, err);
    }
    if (status == WEIR_OK && event->time.is_some) {
        status = add_attribute(instance, message, "time", event->time.value, err);
    }
    for (size_t i = 0; status == WEIR_OK && i < event->extensions.count; i++) {
        status = add_pair(instance, message, &event->extensions.items[i], err);
    }
    return status;
}

weir_status weir_messaging_receive(struct weir_instance *instance,
                                   const struct weir_event_fields *event, uint32_t *ret_handle,
                                   struct weir_error *err) {
    struct message *message;
    weir_status status = make_message(instance, &message, ret_handle, err);
    if (status == WEIR_OK && event->subject.is_some) {
        status = keep(instance, &message->topic, event->subject.value, err);
    }
    if (status == WEIR_OK && event->datacontenttype.is_some) {
        status = keep(instance, &message->content_type, event->datacontenttype.value, err);
    }
    if (status == WEIR_OK && event->data.is_some) {
        status = keep(instance, &message->data, event->data.value.bytes, err);
    }
    return status == WEIR_OK ? fill_metadata(instance, message, event, err) : status;
}

static weir_status message_of(struct weir_instance *instance, uint32_t handle,
                              struct message **ret_message, struct weir_error *err) {
    void *thing;
    weir_status status =
        weir_handles_get(&instance->handles, WEIR_RESOURCE_MESSAGE, handle, &thing, err);
    *ret_message = thing;
    return status;
}

// ---- types

static weir_status do_new(struct weir_import_call *call, const void *given, void *result,
                          struct weir_error *err) {
    const struct new_params *params = given;
    struct message *message;
    weir_status status = make_message(call->instance, &message, result, err);
    return status == WEIR_OK ? keep(call->instance, &message->data, params->data, err) : status;
}

static weir_status give_text(struct weir_import_call *call, uint32_t handle, bool is_topic,
                             struct weir_optional_str *ret_text, struct weir_error *err) {
    struct message *message;
    weir_status status = message_of(call->instance, handle, &message, err);
    if (status == WEIR_OK) {
        const struct held *held = is_topic ? &message->topic : &message->content_type;
        *ret_text = (struct weir_optional_str){.is_some = held->data != NULL, .value = view(held)};
    }
    return status;
}

static weir_status do_topic(struct weir_import_call *call, const void *given, void *result,
                            struct weir_error *err) {
    return give_text(call, ((const struct handle_params *)given)->self, true, result, err);
}

static weir_status do_content_type(struct weir_import_call *call, const void *given, void *result,
                                   struct weir_error *err) {
    return give_text(call, ((const struct handle_params *)given)->self, false, result, err);
}

static weir_status do_set_content_type(struct weir_import_call *call, const void *given,
                                       void *result, struct weir_error *err) {
    const struct text_params *params = given;
    struct message *message;
    (void)result;
    weir_status status = message_of(call->instance, params->self, &message, err);
    return status == WEIR_OK ? keep(call->instance, &message->content_type, params->text, err)
                             : status;
}

static weir_status do_data(struct weir_import_call *call, const void *given, void *result,
                           struct weir_error *err) {
    const struct handle_params *params = given;
    struct weir_str *data = result;
    struct message *message;
    weir_status status = message_of(call->instance, params->self, &message, err);
    if (status == WEIR_OK) {
        *data = view(&message->data);
    }
    return status;
}

static weir_status do_set_data(struct weir_import_call *call, const void *given, void *result,
                               struct weir_error *err) {
    const struct text_params *params = given;
    struct message *message;
    (void)result;
    weir_status status = message_of(call->instance, params->self, &message, err);
    return status == WEIR_OK ? keep(call->instance, &message->data, params->text, err) : status;
}

static weir_status do_metadata(struct weir_import_call *call, const void *given, void *result,
                               struct weir_error *err) {
    const struct handle_params *params = given;
    struct optional_metadata *metadata = result;
    struct message *message;
    weir_status status = message_of(call->instance, params->self, &message, err);
    if (status != WEIR_OK || !message->has_metadata) {
        return status;
    }
    struct weir_attribute *items =
        weir_import_room(call, message->metadata_count, sizeof *items, err);
    if (!items) {
        return WEIR_NO_MEMORY;
    }
    for (size_t i = 0; i < message->metadata_count; i++) {
        items[i] = (struct weir_attribute){.name = view(&message->metadata[i].name),
                                           .value = view(&message->metadata[i].value)};
    }
    metadata->is_some = 1;
    metadata->list = (struct weir_attributes){.items = items, .count = message->metadata_count};
    return WEIR_OK;
}

static weir_status do_add_metadata(struct weir_import_call *call, const void *given, void *result,
                                   struct weir_error *err) {
    const struct add_params *params = given;
    struct message *message;
    (void)result;
    weir_status status = message_of(call->instance, params->self, &message, err);
    return status == WEIR_OK ? add_pair(call->instance, message, &params->pair, err) : status;
}

static weir_status do_set_metadata(struct weir_import_call *call, const void *given, void *result,
                                   struct weir_error *err) {
    const struct metadata_params *params = given;
    struct message *message;
    (void)result;
    weir_status status = message_of(call->instance, params->self, &message, err);
    if (status == WEIR_OK) {
        clear_metadata(call->instance, message);
        message->has_metadata = true;
    }
    for (size_t i = 0; status == WEIR_OK && i < params->metadata.count; i++) {
        status = add_pair(call->instance, message, &params->metadata.items[i], err);
    }
    return status;
}

static weir_status do_remove_metadata(struct weir_import_call *call, const void *given,
                                      void *result, struct weir_error *err) {
    const struct text_params *params = given;
    struct message *message;
    (void)result;
    weir_status status = message_of(call->instance, params->self, &message, err);
    if (status == WEIR_OK) {
        size_t index = find_pair(message, params->text);
        if (index < message->metadata_count) {
            forget_pair(call->instance, message, index);
        }
    }
    return status;
}

// Ends a function: a failure that a guest may be told becomes its result.
static weir_status answer(weir_status status, const struct weir_error *cause,
                          struct weir_messaging_done *ret_done) {
    if (!weir_import_is_told(status)) {
        return status;
    }
    ret_done->is_err = 1;
    ret_done->err = (struct weir_messaging_error){
        .kind = status == WEIR_DENIED        ? WEIR_MESSAGING_PERMISSION_DENIED
                : status == WEIR_UNAVAILABLE ? WEIR_MESSAGING_CONNECTION
                                             : WEIR_MESSAGING_OTHER,
        .text = weir_str_of(cause->message)};
    return WEIR_OK;
}

static weir_status do_connect(struct weir_import_call *call, const void *given, void *result,
                              struct weir_error *err) {
    const struct connect_params *params = given;
    struct connected *connected = result;
    const struct weir_guest_access *access;
    void *context;
    uint32_t resource;
    weir_status status = weir_import_access(call->instance, &access, &context, err);
    if (status == WEIR_OK) {
        status = access->open(context, params->name, WEIR_GUEST_USE_TOPIC, &resource, err);
    }
    if (status == WEIR_OK) {
        status = weir_handles_add(&call->instance->handles, WEIR_RESOURCE_CLIENT,
                                  weir_import_pack(resource), &connected->client, err);
    }
    return answer(status, err, &connected->done);
}

// There is nothing to disconnect: the host's resources are there as long as the host.
static weir_status do_disconnect(struct weir_import_call *call, const void *given, void *result,
                                 struct weir_error *err) {
    const struct handle_params *params = given;
    void *thing;
    (void)result;
    return weir_handles_get(&call->instance->handles, WEIR_RESOURCE_CLIENT, params->self, &thing,
                            err);
}

// ---- producer

static bool is_attribute(struct weir_str name) {
    static const char *const names[] = {"specversion",     "type",       "source", "id", "time",
                                        "datacontenttype", "dataschema", "subject"};
    for (size_t i = 0; i < WEIR_IMPORT_COUNT_OF(names); i++) {
        if (weir_str_equal(name, weir_str_of(names[i]))) {
            return true;
        }
    }
    return false;
}

static struct weir_optional_str optional(struct weir_str text) {
    return (struct weir_optional_str){.is_some = text.size > 0, .value = text};
}

// The message as an event, whose extensions lie in `extensions`.
static weir_status as_event(const struct message *message, struct weir_str topic,
                            struct weir_attribute extensions[static WEIR_EXTENSIONS_MAX],
                            struct weir_event_fields *ret_event, struct weir_error *err) {
    size_t count = 0;
    *ret_event = (struct weir_event_fields){
        .ty = WEIR_STR(WEIR_TYPE_MESSAGE),
        .subject = optional(topic),
        .datacontenttype = optional(view(&message->content_type)),
        .data = {.is_some = true, .value = weir_payload_of(view(&message->data))},
    };
    for (size_t i = 0; i < message->metadata_count; i++) {
        struct weir_str name = view(&message->metadata[i].name);
        struct weir_str value = view(&message->metadata[i].value);
        if (weir_str_equal(name, WEIR_STR("type"))) {
            ret_event->ty = value;
        } else if (!is_attribute(name) && count == WEIR_EXTENSIONS_MAX) {
            return weir_fail(err, WEIR_LIMIT, "an event has at most %d extensions",
                             WEIR_EXTENSIONS_MAX);
        } else if (!is_attribute(name)) {
            extensions[count++] = (struct weir_attribute){.name = name, .value = value};
        }
    }
    ret_event->extensions = (struct weir_attributes){.items = extensions, .count = count};
    return WEIR_OK;
}

static weir_status send(struct weir_instance *instance, const struct send_params *params,
                        const struct message *message, struct weir_error *err) {
    const struct weir_guest_access *access;
    void *context, *resource;
    weir_status status =
        weir_handles_get(&instance->handles, WEIR_RESOURCE_CLIENT, params->client, &resource, err);
    if (status == WEIR_OK) {
        status = weir_import_access(instance, &access, &context, err);
    }
    struct weir_attribute extensions[WEIR_EXTENSIONS_MAX];
    struct weir_event_fields event;
    if (status == WEIR_OK) {
        status = as_event(message, params->topic, extensions, &event, err);
    }
    return status == WEIR_OK
               ? access->publish(context, weir_import_unpack(resource), instance->call, &event, err)
               : status;
}

static weir_status do_send(struct weir_import_call *call, const void *given, void *result,
                           struct weir_error *err) {
    const struct send_params *params = given;
    void *message;
    weir_status status = weir_handles_remove(&call->instance->handles, WEIR_RESOURCE_MESSAGE,
                                             params->message, &message, err);
    if (status != WEIR_OK) {
        return status;
    }
    status = send(call->instance, params, message, err);
    drop_message(call->instance, message);
    return answer(status, err, result);
}

// ---- the interfaces

static const struct weir_import types_functions[] = {
    WEIR_IMPORT_FUNCTION(TYPES, "[static]client.connect", connect_params, connect_params,
                         &connected_type, do_connect),
    WEIR_IMPORT_FUNCTION(TYPES, "[method]client.disconnect", client_params, handle_params,
                         &weir_messaging_done_type, do_disconnect),
    WEIR_IMPORT_FUNCTION(TYPES, "[constructor]message", new_params, new_params,
                         &weir_messaging_own_message, do_new),
    WEIR_IMPORT_FUNCTION(TYPES, "[method]message.topic", message_params, handle_params,
                         &weir_wit_optional_string, do_topic),
    WEIR_IMPORT_FUNCTION(TYPES, "[method]message.content-type", message_params, handle_params,
                         &weir_wit_optional_string, do_content_type),
    WEIR_IMPORT_FUNCTION(TYPES, "[method]message.set-content-type", content_type_params,
                         text_params, NULL, do_set_content_type),
    WEIR_IMPORT_FUNCTION(TYPES, "[method]message.data", message_params, handle_params,
                         &weir_wit_bytes, do_data),
    WEIR_IMPORT_FUNCTION(TYPES, "[method]message.set-data", data_params, text_params, NULL,
                         do_set_data),
    WEIR_IMPORT_FUNCTION(TYPES, "[method]message.metadata", message_params, handle_params,
                         &optional_metadata_type, do_metadata),
    WEIR_IMPORT_FUNCTION(TYPES, "[method]message.add-metadata", add_params, add_params, NULL,
                         do_add_metadata),
    WEIR_IMPORT_FUNCTION(TYPES, "[method]message.set-metadata", metadata_params, metadata_params,
                         NULL, do_set_metadata),
    WEIR_IMPORT_FUNCTION(TYPES, "[method]message.remove-metadata", key_params, text_params, NULL,
                         do_remove_metadata),
};
static const struct weir_import_resource types_resources[] = {
    {.name = "client", .kind = WEIR_RESOURCE_CLIENT},
    {.name = "message", .kind = WEIR_RESOURCE_MESSAGE, .drop = drop_message},
};
const struct weir_import_interface weir_import_messaging_types = {
    .name = TYPES,
    .functions = types_functions,
    .function_count = WEIR_IMPORT_COUNT_OF(types_functions),
    .resources = types_resources,
    .resource_count = WEIR_IMPORT_COUNT_OF(types_resources),
};

static const struct weir_import producer_functions[] = {
    WEIR_IMPORT_FUNCTION(PRODUCER, "send", send_params, send_params, &weir_messaging_done_type,
                         do_send),
};
const struct weir_import_interface weir_import_messaging_producer = {
    .name = PRODUCER,
    .functions = producer_functions,
    .function_count = WEIR_IMPORT_COUNT_OF(producer_functions),
};
