// SPDX-License-Identifier: Apache-2.0
//
// The kinds of handlers: what each is called with, made of an event, and what follows from its
// answer. weir's own are found by their type, those of the standard interfaces by their names,
// since their interfaces say all about them.
//
// A watcher of wasi:keyvalue can say nothing of what went wrong: to return is to have handled the
// change, a trap is a failure. What it has no form for is not kept from it in silence: an event
// that is no change of a key, a key that is no text, and a value that was too large to be told are
// rejected, which makes them dead letters. A gap is followed by all that differs, so it is told
// nothing of the gap itself.
//
// Pure functions, and calls on the thread that runs the instance.
#include "guest/handlers.h"

#include "base/show.h"

struct key_params {
    uint32_t bucket;
    struct weir_str key, value;
};

static const struct weir_wit_field event_params[] = {{"ev", &weir_wit_event, 0, 0}};
static const struct weir_wit_field set_params[] = {
    {"bucket", &weir_keyvalue_own_bucket, 0, offsetof(struct key_params, bucket)},
    {"key", &weir_wit_string, 0, offsetof(struct key_params, key)},
    {"value", &weir_wit_bytes, 0, offsetof(struct key_params, value)},
};
static const struct weir_wit_field message_params[] = {
    {"message", &weir_messaging_own_message, 0, 0},
};

_Static_assert(sizeof(struct key_params) <= sizeof(struct weir_handler_params),
               "room for the parameters of any handler");

const struct weir_handler_type weir_handler_types[] = {
    [WEIR_HANDLER_KIND_EVENT] = {.core_type = "(i32) -> i32",
                                 .params = event_params,
                                 .param_count = 1,
                                 .result = &weir_wit_handled},
    [WEIR_HANDLER_KIND_OR_REJECT] = {.core_type = "(i32) -> i32",
                                     .params = event_params,
                                     .param_count = 1,
                                     .result = &weir_wit_handled_or_rejected},
    [WEIR_HANDLER_KIND_ON_SET] = {.export = "wasi:keyvalue/watcher@0.2.0-draft2#on-set",
                                  .wit_type = "func(bucket: bucket, key: string, value: list<u8>)",
                                  .core_type = "(i32, i32, i32, i32, i32) -> ()",
                                  .params = set_params,
                                  .param_count = 3},
    [WEIR_HANDLER_KIND_ON_DELETE] = {.export = "wasi:keyvalue/watcher@0.2.0-draft2#on-delete",
                                     .wit_type = "func(bucket: bucket, key: string)",
                                     .core_type = "(i32, i32, i32) -> ()",
                                     .params = set_params,
                                     .param_count = 2},
    [WEIR_HANDLER_KIND_WATCHER] = {.export = "wasi:keyvalue/watcher@0.2.0-draft2"},
    [WEIR_HANDLER_KIND_MESSAGE] = {.export = "wasi:messaging/incoming-handler@0.2.0-draft#handle",
                                   .wit_type = "func(message: message) -> result<_, error>",
                                   .core_type = "(i32) -> i32",
                                   .params = message_params,
                                   .param_count = 1,
                                   .result = &weir_messaging_done_type},
};

bool weir_handler_is_standard(struct weir_str export, enum weir_handler_kind *ret_kind) {
    for (size_t i = 0; i < WEIR_IMPORT_COUNT_OF(weir_handler_types); i++) {
        const char *name = weir_handler_types[i].export;
        if (name && weir_str_equal(export, weir_str_of(name))) {
            *ret_kind = (enum weir_handler_kind)i;
            return true;
        }
    }
    return false;
}

bool weir_handler_resolve(const struct weir_guest *guest, uint32_t *handler,
                          const struct weir_event_fields *event) {
    const struct weir_handler *asked = &guest->handlers[*handler];
    if (asked->kind < WEIR_HANDLER_KIND_ON_SET || asked->kind > WEIR_HANDLER_KIND_WATCHER) {
        return true;
    }
    if (weir_str_equal(event->ty, WEIR_STR(WEIR_TYPE_GAP))) {
        return false;
    }
    bool is_deletion = weir_str_equal(event->ty, WEIR_STR(WEIR_TYPE_KEYVALUE_DELETED));
    if (asked->kind == WEIR_HANDLER_KIND_WATCHER) {
        *handler = is_deletion ? asked->on_delete : asked->on_set;
        return true;
    }
    return is_deletion == (asked->kind == WEIR_HANDLER_KIND_ON_DELETE);
}

static weir_status check_change(const struct weir_event_fields *event, struct weir_error *err) {
    char shown[WEIR_SHOW_BYTES];
    bool is_set = weir_str_equal(event->ty, WEIR_STR(WEIR_TYPE_KEYVALUE_SET));
    if (!is_set && !weir_str_equal(event->ty, WEIR_STR(WEIR_TYPE_KEYVALUE_DELETED))) {
        return weir_fail(err, WEIR_INVALID,
                         "an event of type \"%s\" is no change of a key, which is all that a "
                         "watcher of wasi:keyvalue is told; name a handler of weir:reactive",
                         weir_show(event->ty, shown, sizeof shown));
    }
    if (!event->subject.is_some || weir_event_extension(event, "subjectencoding").size > 0) {
        return weir_fail(err, WEIR_INVALID,
                         "the key is no text, and wasi:keyvalue has no other keys");
    }
    if (is_set && !event->data.is_some) {
        return weir_fail(err, WEIR_LIMIT,
                         "the value has more bytes than bounds.event allows, and a watcher of "
                         "wasi:keyvalue cannot be told of a value without it");
    }
    return WEIR_OK;
}

weir_status weir_handler_prepare(struct weir_instance *instance, enum weir_handler_kind kind,
                                 const struct weir_event_fields *event,
                                 struct weir_handler_params *room, const void **ret_params,
                                 bool *ret_is_rejected, struct weir_error *err) {
    *ret_is_rejected = false;
    *ret_params = event;
    if (kind <= WEIR_HANDLER_KIND_OR_REJECT) {
        return WEIR_OK;
    }
    *ret_params = room;
    if (kind == WEIR_HANDLER_KIND_MESSAGE) {
        return weir_messaging_receive(instance, event, (uint32_t *)room, err);
    }
    weir_status status = check_change(event, err);
    if (status != WEIR_OK) {
        *ret_is_rejected = true;
        return status;
    }
    struct key_params *params = (struct key_params *)room;
    *params = (struct key_params){.key = event->subject.value,
                                  .value = event->data.is_some ? event->data.value.bytes
                                                               : (struct weir_str){0}};
    return weir_keyvalue_receive(instance, &params->bucket, err);
}

static void judge_message(const struct weir_messaging_done *result, struct weir_verdict *verdict) {
    static const char *const kinds[] = {
        [WEIR_MESSAGING_TIMEOUT] = "timeout",
        [WEIR_MESSAGING_CONNECTION] = "connection",
        [WEIR_MESSAGING_PERMISSION_DENIED] = "permission-denied",
        [WEIR_MESSAGING_OTHER] = "other",
    };
    verdict->outcome = result->is_err ? WEIR_FAILED : WEIR_HANDLED;
    if (!result->is_err) {
        return;
    }
    struct weir_str text = result->err.text;
    size_t size = text.size < WEIR_ERROR_MESSAGE_BYTES ? text.size : WEIR_ERROR_MESSAGE_BYTES;
    weir_fail(&verdict->error, WEIR_OTHER, "%s%s%.*s", kinds[result->err.kind],
              text.size > 0 ? ": " : "", (int)size, text.data ? text.data : "");
}

weir_status weir_handler_judge(enum weir_handler_kind kind, const union weir_handler_result *result,
                               bool is_checked, struct weir_verdict *verdict) {
    switch (kind) {
    case WEIR_HANDLER_KIND_EVENT:
    case WEIR_HANDLER_KIND_OR_REJECT:
        return weir_instance_judge(&result->handled, kind == WEIR_HANDLER_KIND_OR_REJECT,
                                   is_checked, verdict);
    case WEIR_HANDLER_KIND_MESSAGE:
        if (!is_checked && !weir_utf8_valid(result->done.err.text)) {
            return weir_fail(&verdict->error, WEIR_TRAPPED, "err: the string is not UTF-8");
        }
        judge_message(&result->done, verdict);
        return WEIR_OK;
    default:
        verdict->outcome = WEIR_HANDLED;
        return WEIR_OK;
    }
}
