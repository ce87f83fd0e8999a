// SPDX-License-Identifier: Apache-2.0
//
// wasi:config and wasi:logging: what the host's configuration says to a guest, and lines of a
// guest in the host's log. A line counts as output of its call, so that a guest cannot fill the log
// beyond bounds.output.
//
// Runs on the thread that runs the instance.
#include "guest/imports.h"

#define CONFIG              "wasi:config/store@0.2.0-rc.1"
#define LOGGING             "wasi:logging/logging@0.1.0-draft"
#define LOGGING_UNVERSIONED "wasi:logging/logging"

// ---- wasi:config

enum { ERROR_UPSTREAM, ERROR_IO };
struct config_error {
    uint8_t kind;
    struct weir_str text;
};
static const struct weir_wit_field error_cases[] = {
    [ERROR_UPSTREAM] = {"upstream", &weir_wit_string, 4, offsetof(struct config_error, text)},
    [ERROR_IO] = {"io", &weir_wit_string, 4, offsetof(struct config_error, text)},
};
static const struct weir_wit_type error_type = {.kind = WEIR_WIT_VARIANT,
                                                .guest_size = 12,
                                                .guest_align = 4,
                                                .host_size = sizeof(struct config_error),
                                                WEIR_WIT_FIELDS(error_cases)};

// result<option<string>, error>
struct got {
    uint8_t is_err;
    struct weir_optional_str value;
    struct config_error err;
};
static const struct weir_wit_field got_cases[] = {
    {"ok", &weir_wit_optional_string, 4, offsetof(struct got, value)},
    {"err", &error_type, 4, offsetof(struct got, err)},
};
static const struct weir_wit_type got_type = {.kind = WEIR_WIT_RESULT,
                                              .guest_size = 16,
                                              .guest_align = 4,
                                              .host_size = sizeof(struct got),
                                              WEIR_WIT_FIELDS(got_cases)};

// result<list<tuple<string, string>>, error>
struct all {
    uint8_t is_err;
    struct weir_attributes list;
    struct config_error err;
};
static const struct weir_wit_type list_type = {.kind = WEIR_WIT_LIST,
                                               .guest_size = 8,
                                               .guest_align = 4,
                                               .host_size = sizeof(struct weir_attributes),
                                               .element = &weir_wit_attribute,
                                               .items_max = WEIR_GUEST_CONFIG_MAX};
static const struct weir_wit_field all_cases[] = {
    {"ok", &list_type, 4, offsetof(struct all, list)},
    {"err", &error_type, 4, offsetof(struct all, err)},
};
static const struct weir_wit_type all_type = {.kind = WEIR_WIT_RESULT,
                                              .guest_size = 16,
                                              .guest_align = 4,
                                              .host_size = sizeof(struct all),
                                              WEIR_WIT_FIELDS(all_cases)};

struct get_params {
    struct weir_str key;
};
static const struct weir_wit_field get_params[] = {
    {"key", &weir_wit_string, 0, offsetof(struct get_params, key)},
};

static struct weir_attributes config_of(const struct weir_import_call *call) {
    const struct weir_guest_args *args = &call->instance->guest->args;
    return args->access ? args->access->config(args->access_context) : (struct weir_attributes){0};
}

static weir_status do_get(struct weir_import_call *call, const void *given, void *result,
                          struct weir_error *err) {
    const struct get_params *params = given;
    struct got *got = result;
    struct weir_attributes config = config_of(call);
    (void)err;
    for (size_t i = 0; i < config.count; i++) {
        if (weir_str_equal(config.items[i].name, params->key)) {
            got->value =
                (struct weir_optional_str){.is_some = true, .value = config.items[i].value};
        }
    }
    return WEIR_OK;
}

static weir_status do_get_all(struct weir_import_call *call, const void *given, void *result,
                              struct weir_error *err) {
    struct all *all = result;
    (void)given;
    (void)err;
    all->list = config_of(call);
    return WEIR_OK;
}

static const struct weir_import config_functions[] = {
    {.wit = {.interface = CONFIG,
             .name = "get",
             WEIR_IMPORT_PARAMS(get_params, get_params),
             .result = &got_type},
     .function = do_get},
    {.wit = {.interface = CONFIG, .name = "get-all", .result = &all_type}, .function = do_get_all},
};
const struct weir_import_interface weir_import_config_store = {
    .name = CONFIG,
    .functions = config_functions,
    .function_count = WEIR_IMPORT_COUNT_OF(config_functions),
};

// ---- wasi:logging

static const struct weir_wit_field level_cases[] = {
    {.name = "trace"}, {.name = "debug"}, {.name = "info"},
    {.name = "warn"},  {.name = "error"}, {.name = "critical"},
};
static const struct weir_wit_type level_type = {.kind = WEIR_WIT_ENUM,
                                                .guest_size = 1,
                                                .guest_align = 1,
                                                .host_size = sizeof(uint8_t),
                                                WEIR_WIT_FIELDS(level_cases)};

struct log_params {
    uint8_t level;
    struct weir_str context, message;
};
static const struct weir_wit_field log_params[] = {
    {"level", &level_type, 0, offsetof(struct log_params, level)},
    {"context", &weir_wit_string, 0, offsetof(struct log_params, context)},
    {"message", &weir_wit_string, 0, offsetof(struct log_params, message)},
};

static weir_status do_log(struct weir_import_call *call, const void *given, void *result,
                          struct weir_error *err) {
    const struct log_params *params = given;
    struct weir_instance *instance = call->instance;
    const struct weir_guest_args *args = &instance->guest->args;
    (void)result;
    if (!weir_print_spend(&instance->output, params->context.size + params->message.size + 1)) {
        weir_instance_is_over(instance);
        return weir_fail(err, instance->stopped.status, "%s", instance->stopped.message);
    }
    if (args->access) {
        args->access->log(args->access_context, params->level, params->context, params->message);
    }
    return WEIR_OK;
}

static const struct weir_import logging_functions[] = {
    {.wit = {.interface = LOGGING, .name = "log", WEIR_IMPORT_PARAMS(log_params, log_params)},
     .function = do_log},
};
const struct weir_import_interface weir_import_logging = {
    .name = LOGGING,
    .functions = logging_functions,
    .function_count = WEIR_IMPORT_COUNT_OF(logging_functions),
};
// Of guests that were made when the package had no version.
const struct weir_import_interface weir_import_logging_unversioned = {
    .name = LOGGING_UNVERSIONED,
    .functions = logging_functions,
    .function_count = WEIR_IMPORT_COUNT_OF(logging_functions),
};
