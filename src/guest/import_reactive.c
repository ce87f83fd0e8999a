// SPDX-License-Identifier: Apache-2.0
//
// weir:reactive: resources to watch, and sets of events to execute.
//
// Who may do what is decided in two steps. Here: only main subscribes, so an instance without a
// session is told `unsupported`. By the host behind struct weir_guest_host: resources, grants,
// bounds. Runs on the thread that runs the instance.
#include "guest/imports.h"

// ---- the WIT

struct observable {
    struct weir_str rd, key;
};

// result<string, error>
struct opened {
    uint8_t is_err;
    struct weir_str ok;
    struct weir_wit_error err;
};

// result<observable, error>
struct watched {
    uint8_t is_err;
    struct observable ok;
    struct weir_wit_error err;
};

// result<events, error>
struct set_given {
    uint8_t is_err;
    uint32_t ok;
    struct weir_wit_error err;
};

// result<_, error>
struct done {
    uint8_t is_err;
    struct weir_wit_error err;
};

struct open_params {
    struct weir_str name;
};
struct watch_params {
    struct weir_str rd, key;
};
struct listen_params {
    uint32_t self;
    struct observable ob;
};
struct listen_to_params {
    uint32_t self;
    struct observable ob;
    struct weir_str handler;
};
struct exec_params {
    uint32_t self;
    uint64_t duration_s;
};

static const struct weir_wit_type own_events_type =
    WEIR_WIT_HANDLE(WEIR_WIT_OWN, WEIR_RESOURCE_EVENTS);
static const struct weir_wit_type borrow_events_type =
    WEIR_WIT_HANDLE(WEIR_WIT_BORROW, WEIR_RESOURCE_EVENTS);

static const struct weir_wit_field observable_fields[] = {
    {"rd", &weir_wit_string, 0, offsetof(struct observable, rd)},
    {"key", &weir_wit_string, 8, offsetof(struct observable, key)},
};
static const struct weir_wit_type observable_type = {.kind = WEIR_WIT_RECORD,
                                                     .guest_size = 16,
                                                     .guest_align = 4,
                                                     .host_size = sizeof(struct observable),
                                                     .fields = observable_fields,
                                                     .field_count =
                                                         WEIR_IMPORT_COUNT_OF(observable_fields)};

static const struct weir_wit_field opened_cases[] = {
    {"ok", &weir_wit_string, 4, offsetof(struct opened, ok)},
    {"err", &weir_wit_error_variant, 4, offsetof(struct opened, err)},
};
static const struct weir_wit_type opened_type = {.kind = WEIR_WIT_RESULT,
                                                 .guest_size = 16,
                                                 .guest_align = 4,
                                                 .host_size = sizeof(struct opened),
                                                 .fields = opened_cases,
                                                 .field_count = WEIR_IMPORT_COUNT_OF(opened_cases)};

static const struct weir_wit_field watched_cases[] = {
    {"ok", &observable_type, 4, offsetof(struct watched, ok)},
    {"err", &weir_wit_error_variant, 4, offsetof(struct watched, err)},
};
static const struct weir_wit_type watched_type = {.kind = WEIR_WIT_RESULT,
                                                  .guest_size = 20,
                                                  .guest_align = 4,
                                                  .host_size = sizeof(struct watched),
                                                  .fields = watched_cases,
                                                  .field_count =
                                                      WEIR_IMPORT_COUNT_OF(watched_cases)};

static const struct weir_wit_field set_cases[] = {
    {"ok", &own_events_type, 4, offsetof(struct set_given, ok)},
    {"err", &weir_wit_error_variant, 4, offsetof(struct set_given, err)},
};
static const struct weir_wit_type set_type = {.kind = WEIR_WIT_RESULT,
                                              .guest_size = 16,
                                              .guest_align = 4,
                                              .host_size = sizeof(struct set_given),
                                              .fields = set_cases,
                                              .field_count = WEIR_IMPORT_COUNT_OF(set_cases)};

static const struct weir_wit_field done_cases[] = {
    {"ok", NULL, 4, 0},
    {"err", &weir_wit_error_variant, 4, offsetof(struct done, err)},
};
static const struct weir_wit_type done_type = {.kind = WEIR_WIT_RESULT,
                                               .guest_size = 16,
                                               .guest_align = 4,
                                               .host_size = sizeof(struct done),
                                               .fields = done_cases,
                                               .field_count = WEIR_IMPORT_COUNT_OF(done_cases)};

static const struct weir_wit_field open_params[] = {
    {"name", &weir_wit_string, 0, offsetof(struct open_params, name)},
};
static const struct weir_wit_field watch_params[] = {
    {"rd", &weir_wit_string, 0, offsetof(struct watch_params, rd)},
    {"key", &weir_wit_string, 0, offsetof(struct watch_params, key)},
};
static const struct weir_wit_field listen_params[] = {
    {"self", &borrow_events_type, 0, offsetof(struct listen_params, self)},
    {"ob", &observable_type, 0, offsetof(struct listen_params, ob)},
};
static const struct weir_wit_field listen_to_params[] = {
    {"self", &borrow_events_type, 0, offsetof(struct listen_to_params, self)},
    {"ob", &observable_type, 0, offsetof(struct listen_to_params, ob)},
    {"handler", &weir_wit_string, 0, offsetof(struct listen_to_params, handler)},
};
static const struct weir_wit_field exec_params[] = {
    {"self", &borrow_events_type, 0, offsetof(struct exec_params, self)},
    {"duration", &weir_wit_u64, 0, offsetof(struct exec_params, duration_s)},
};

// ---- what the functions do

// Writes a WIT `error` for a status that a guest may see; false for one that it may not.
static bool as_wit_error(weir_status status, const struct weir_error *cause,
                         struct weir_wit_error *ret_error) {
    if (!weir_import_is_told(status)) {
        return false;
    }
    *ret_error = (struct weir_wit_error){.kind = (uint8_t)(status - 1),
                                         .message = weir_str_of(cause->message)};
    return true;
}

static weir_status only_main(const struct weir_instance *instance, const char *what,
                             struct weir_error *err) {
    if (instance->session) {
        return WEIR_OK;
    }
    return weir_fail(
        err, WEIR_UNSUPPORTED,
        "%s inside a handler: subscriptions are made by main (run or _start), before its exec",
        what);
}

static weir_status do_open(struct weir_import_call *call, const void *given, void *answer,
                           struct weir_error *err) {
    struct weir_instance *instance = call->instance;
    const struct open_params *params = given;
    struct opened *result = answer;
    weir_status status = only_main(instance, "open", err);
    if (status == WEIR_OK) {
        status = instance->guest->args.host->open(instance->session, params->name, err);
    }
    result->ok = params->name;
    result->is_err = as_wit_error(status, err, &result->err);
    return result->is_err ? WEIR_OK : status;
}

static weir_status do_watch(struct weir_import_call *call, const void *given, void *answer,
                            struct weir_error *err) {
    struct weir_instance *instance = call->instance;
    const struct watch_params *params = given;
    struct watched *result = answer;
    weir_status status = only_main(instance, "watch", err);
    if (status == WEIR_OK) {
        status = instance->guest->args.host->watch(instance->session, params->rd, params->key, err);
    }
    result->ok = (struct observable){.rd = params->rd, .key = params->key};
    result->is_err = as_wit_error(status, err, &result->err);
    return result->is_err ? WEIR_OK : status;
}

// Gives the guest one more handle for a set, taking over a reference.
static weir_status give_handle(struct weir_instance *instance, void *set, weir_status status,
                               struct set_given *result, struct weir_error *err) {
    if (status == WEIR_OK) {
        status = weir_handles_add(&instance->handles, WEIR_RESOURCE_EVENTS, set, &result->ok, err);
        if (status != WEIR_OK && set) {
            instance->guest->args.host->set_unref(instance->session, set);
        }
    }
    result->is_err = as_wit_error(status, err, &result->err);
    return result->is_err ? WEIR_OK : status;
}

// A handler gets an empty set, whose methods tell it that handlers do not subscribe.
static weir_status do_events_get(struct weir_import_call *call, const void *given, void *answer,
                                 struct weir_error *err) {
    struct weir_instance *instance = call->instance;
    (void)given;
    void *set = NULL;
    weir_status status = WEIR_OK;
    if (instance->session) {
        status = instance->guest->args.host->set_new(instance->session, &set, err);
    }
    return give_handle(instance, set, status, answer, err);
}

static weir_status listen_to(struct weir_instance *instance, uint32_t self,
                             const struct observable *ob, struct weir_str handler,
                             struct set_given *result, struct weir_error *err) {
    const struct weir_guest_host *host = instance->guest->args.host;
    void *set;
    weir_status status =
        weir_handles_get(&instance->handles, WEIR_RESOURCE_EVENTS, self, &set, err);
    if (status != WEIR_OK) {
        return status;
    }
    uint32_t index = 0;
    status = only_main(instance, "listen", err);
    if (status == WEIR_OK) {
        status = weir_guest_handler_find(instance->guest, handler, &index, err);
    }
    // The handle first: where there is room for no more, nothing was subscribed to.
    if (status == WEIR_OK) {
        status = weir_handles_add(&instance->handles, WEIR_RESOURCE_EVENTS, set, &result->ok, err);
    }
    if (status == WEIR_OK) {
        status = host->set_listen(instance->session, set, ob->rd, ob->key, index, err);
        if (status == WEIR_OK) {
            host->set_ref(instance->session, set);
        } else {
            weir_handles_remove(&instance->handles, WEIR_RESOURCE_EVENTS, result->ok, &set, NULL);
        }
    }
    result->is_err = as_wit_error(status, err, &result->err);
    return result->is_err ? WEIR_OK : status;
}

static weir_status do_events_listen(struct weir_import_call *call, const void *given, void *answer,
                                    struct weir_error *err) {
    const struct listen_params *params = given;
    return listen_to(call->instance, params->self, &params->ob, WEIR_STR(WEIR_HANDLER_DEFAULT),
                     answer, err);
}

static weir_status do_events_listen_to(struct weir_import_call *call, const void *given,
                                       void *answer, struct weir_error *err) {
    const struct listen_to_params *params = given;
    return listen_to(call->instance, params->self, &params->ob, params->handler, answer, err);
}

static weir_status do_events_exec(struct weir_import_call *call, const void *given, void *answer,
                                  struct weir_error *err) {
    struct weir_instance *instance = call->instance;
    const struct exec_params *params = given;
    struct done *result = answer;
    void *set;
    weir_status status =
        weir_handles_get(&instance->handles, WEIR_RESOURCE_EVENTS, params->self, &set, err);
    if (status != WEIR_OK) {
        return status;
    }
    status = only_main(instance, "exec", err);
    if (status == WEIR_OK) {
        weir_print_flush(&instance->output);
        status =
            instance->guest->args.host->set_exec(instance->session, set, params->duration_s, err);
        weir_instance_restart_bounds(instance); // the time in exec was the host's
    }
    result->is_err = as_wit_error(status, err, &result->err);
    return result->is_err ? WEIR_OK : status;
}

static void drop_set(struct weir_instance *instance, void *set) {
    if (set) {
        instance->guest->args.host->set_unref(instance->session, set);
    }
}

static const struct weir_import resources_functions[] = {
    {.wit = {.interface = WEIR_WIT_RESOURCES,
             .name = "open",
             WEIR_IMPORT_PARAMS(open_params, open_params),
             .result = &opened_type},
     .function = do_open},
    {.wit = {.interface = WEIR_WIT_RESOURCES,
             .name = "watch",
             WEIR_IMPORT_PARAMS(watch_params, watch_params),
             .result = &watched_type},
     .function = do_watch},
};
const struct weir_import_interface weir_import_resources = {
    .name = WEIR_WIT_RESOURCES,
    .functions = resources_functions,
    .function_count = WEIR_IMPORT_COUNT_OF(resources_functions),
};

static const struct weir_import events_functions[] = {
    {.wit = {.interface = WEIR_WIT_EVENTS, .name = "[static]events.get", .result = &set_type},
     .function = do_events_get},
    {.wit = {.interface = WEIR_WIT_EVENTS,
             .name = "[method]events.listen",
             WEIR_IMPORT_PARAMS(listen_params, listen_params),
             .result = &set_type},
     .function = do_events_listen},
    {.wit = {.interface = WEIR_WIT_EVENTS,
             .name = "[method]events.listen-to",
             WEIR_IMPORT_PARAMS(listen_to_params, listen_to_params),
             .result = &set_type},
     .function = do_events_listen_to},
    {.wit = {.interface = WEIR_WIT_EVENTS,
             .name = "[method]events.exec",
             WEIR_IMPORT_PARAMS(exec_params, exec_params),
             .result = &done_type},
     .function = do_events_exec},
};
static const struct weir_import_resource events_resources[] = {
    {.name = "events", .kind = WEIR_RESOURCE_EVENTS, .drop = drop_set},
};
const struct weir_import_interface weir_import_events = {
    .name = WEIR_WIT_EVENTS,
    .functions = events_functions,
    .function_count = WEIR_IMPORT_COUNT_OF(events_functions),
    .resources = events_resources,
    .resource_count = WEIR_IMPORT_COUNT_OF(events_resources),
};

// Types alone, which a component imports as an interface.
const struct weir_import_interface weir_import_types = {.name = WEIR_WIT_TYPES};
