// SPDX-License-Identifier: Apache-2.0
//
// Requests and errors as JSON. A request is read strictly: a member that the command does not have
// is a mistake, because to leave out a filter that was asked for is to answer another question.
//
// Any thread; nothing is shared.
#include "control/request.h"

#include "base/show.h"
#include "control/control.h"

#include <stdlib.h>
#include <string.h>

// One member of a command's request.
struct member {
    const char *name;
    json_type type; // JSON_TRUE: a boolean
    bool is_required;
};

enum { MEMBERS_MAX = 5 };

static const struct {
    const char *name;
    struct member members[MEMBERS_MAX]; // ended by a NULL name
} commands[] = {
    [WEIR_CONTROL_STATUS] = {.name = "status"},
    [WEIR_CONTROL_UNDEAD] = {.name = "undead",
                             .members = {{"id", JSON_INTEGER, true}, {"again", JSON_TRUE, true}}},
    [WEIR_CONTROL_TAIL] = {.name = "tail",
                           .members = {{"subscription", JSON_STRING, false},
                                       {"type", JSON_STRING, false},
                                       {"key", JSON_STRING, false},
                                       {"failed", JSON_TRUE, false}}},
};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

static weir_status find_command(const json_t *json, enum weir_control_command *ret_command,
                                struct weir_error *err) {
    const char *name = json_string_value(json_object_get(json, "command"));
    if (!name) {
        return weir_fail(err, WEIR_INVALID, "a request is an object with a \"command\"");
    }
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strcmp(name, commands[i].name) == 0) {
            *ret_command = (enum weir_control_command)i;
            return WEIR_OK;
        }
    }
    char shown[WEIR_SHOW_BYTES];
    return weir_fail(err, WEIR_INVALID,
                     "there is no command \"%s\"; there are status, undead, tail",
                     weir_show(weir_str_of(name), shown, sizeof shown));
}

static bool is_of_type(const json_t *value, json_type type) {
    return type == JSON_TRUE ? json_is_boolean(value) : json_typeof(value) == type;
}

static const struct member *find_member(enum weir_control_command command, const char *name) {
    const struct member *member = commands[command].members;
    while (member < commands[command].members + MEMBERS_MAX && member->name) {
        if (strcmp(member->name, name) == 0) {
            return member;
        }
        member++;
    }
    return NULL;
}

static weir_status check_members(json_t *json, enum weir_control_command command,
                                 struct weir_error *err) {
    char shown[WEIR_SHOW_BYTES];
    const char *name;
    json_t *value;
    json_object_foreach(json, name, value) {
        const struct member *member = find_member(command, name);
        if (!member && strcmp(name, "command") != 0) {
            return weir_fail(err, WEIR_INVALID, "%s has no \"%s\"", commands[command].name,
                             weir_show(weir_str_of(name), shown, sizeof shown));
        }
        if (member && !is_of_type(value, member->type)) {
            return weir_fail(err, WEIR_INVALID, "\"%s\" is of another type", member->name);
        }
    }
    for (size_t i = 0; i < MEMBERS_MAX && commands[command].members[i].name; i++) {
        const struct member *member = &commands[command].members[i];
        if (member->is_required && !json_object_get(json, member->name)) {
            return weir_fail(err, WEIR_INVALID, "%s wants \"%s\"", commands[command].name,
                             member->name);
        }
    }
    return WEIR_OK;
}

static weir_status fill(struct weir_control_request *request, struct weir_error *err) {
    weir_status status = find_command(request->json, &request->command, err);
    if (status == WEIR_OK) {
        status = check_members(request->json, request->command, err);
    }
    if (status != WEIR_OK) {
        return status;
    }
    json_int_t id = json_integer_value(json_object_get(request->json, "id"));
    if (request->command == WEIR_CONTROL_UNDEAD && id < 1) {
        return weir_fail(err, WEIR_INVALID, "\"id\" is a number from 1");
    }
    request->id = (uint64_t)id;
    request->again = json_is_true(json_object_get(request->json, "again"));
    request->subscription = json_string_value(json_object_get(request->json, "subscription"));
    request->type = json_string_value(json_object_get(request->json, "type"));
    request->key = json_string_value(json_object_get(request->json, "key"));
    request->is_failed = json_is_true(json_object_get(request->json, "failed"));
    return WEIR_OK;
}

weir_status weir_control_request_parse(struct weir_str line,
                                       struct weir_control_request *ret_request,
                                       struct weir_error *err) {
    json_error_t cause;
    *ret_request = (struct weir_control_request){
        .json = json_loadb(line.data ? line.data : "", line.size, JSON_REJECT_DUPLICATES, &cause)};
    if (!ret_request->json) {
        if (json_error_code(&cause) == json_error_out_of_memory) {
            return weir_fail_no_memory(err, "a request");
        }
        char shown[WEIR_SHOW_BYTES];
        return weir_fail(err, WEIR_INVALID, "a request is one line of JSON: %s",
                         weir_show(weir_str_of(cause.text), shown, sizeof shown));
    }
    weir_status status = fill(ret_request, err);
    if (status != WEIR_OK) {
        weir_control_request_finish(ret_request);
    }
    return status;
}

void weir_control_request_finish(struct weir_control_request *request) {
    json_decref(request->json);
    *request = (struct weir_control_request){0};
}

// ---- errors ----

json_t *weir_control_error_json(const struct weir_error *err) {
    return json_pack("{s:o, s:s}", "error",
                     weir_control_text(weir_str_of(err->message), sizeof err->message), "status",
                     weir_status_name(err->status));
}

static weir_status status_named(const char *name) {
    static const weir_status statuses[] = {
#define X(constant, text, meaning) constant,
        WEIR_STATUSES(X)
#undef X
    };
    for (size_t i = 0; name && i < sizeof statuses / sizeof statuses[0]; i++) {
        if (statuses[i] != WEIR_OK && strcmp(weir_status_name(statuses[i]), name) == 0) {
            return statuses[i];
        }
    }
    return WEIR_OTHER;
}

weir_status weir_control_error_of(const json_t *answer, struct weir_error *err) {
    const char *message = json_string_value(json_object_get(answer, "error"));
    if (!message) {
        return WEIR_OK;
    }
    const char *name = json_string_value(json_object_get(answer, "status"));
    return weir_fail(err, status_named(name), "%s", message);
}

// ---- texts ----

json_t *weir_control_text(struct weir_str text, size_t bytes_max) {
    bool has_nul = text.size > 0 && memchr(text.data, '\0', text.size);
    if (text.size <= bytes_max && !has_nul && weir_utf8_valid(text)) {
        return json_stringn_nocheck(text.data ? text.data : "", text.size);
    }
    size_t size = bytes_max + WEIR_SHOWN_BYTES_MAX * 2; // what weir_show wants at least
    char *shown = malloc(size);
    json_t *json = shown ? json_string(weir_show(text, shown, size)) : NULL;
    free(shown);
    return json;
}
