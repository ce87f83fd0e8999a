// SPDX-License-Identifier: Apache-2.0
//
// What a guest may reach, as weir.yaml says it: `grants` of resources, `hosts` of the network,
// `env` of the environment, and the values that it is told as its `config`. Everything is denied
// that is not written here. Any thread; nothing is shared.
#include "config/reader.h"

#include "base/show.h"
#include "http/http.h"
#include "provider/provider.h"

#include <stdlib.h>

static const struct {
    const char *name;
    uint32_t verb;
} verbs[] = {
    {"get", WEIR_VERB_GET},     {"set", WEIR_VERB_SET},         {"delete", WEIR_VERB_DELETE},
    {"list", WEIR_VERB_LIST},   {"watch", WEIR_VERB_WATCH},     {"publish", WEIR_VERB_PUBLISH},
    {"query", WEIR_VERB_QUERY}, {"execute", WEIR_VERB_EXECUTE},
};
enum { VERBS = sizeof verbs / sizeof verbs[0] };

const char *weir_verb_name(uint32_t verb) {
    for (size_t i = 0; i < VERBS; i++) {
        if (verbs[i].verb == verb) {
            return verbs[i].name;
        }
    }
    return "?";
}

// A scalar that has something in it, expanded; false where a mistake was told.
static bool read_text(struct weir_reader *reader, const struct weir_node *node, const char *what,
                      struct weir_str *ret_text) {
    bool is_foreign;
    if (node->kind != WEIR_NODE_SCALAR || node->is_nothing) {
        weir_reader_problem(reader, node->place, "this is %s; write %s",
                            node->is_nothing ? "empty" : weir_reader_kind(node->kind), what);
        return false;
    }
    return weir_reader_expand(reader, node, ret_text, &is_foreign);
}

// Whether there is a list to be read here; tells where there is something else.
static bool enter_list(struct weir_reader *reader, const struct weir_node *node, const char *what) {
    if (!node || node->is_nothing) {
        return false;
    }
    if (node->kind != WEIR_NODE_LIST) {
        weir_reader_problem(reader, node->place, "this is %s; write %s",
                            weir_reader_kind(node->kind), what);
        return false;
    }
    return weir_reader_may_visit(reader, node);
}

// ---- grants ----

static bool same_keys(const char *a, const char *b) {
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool has_grant(const struct weir_guest_config *guest, const struct weir_grant *grant) {
    for (size_t i = 0; i < guest->grant_count; i++) {
        if (strcmp(guest->grants[i].resource, grant->resource) == 0 &&
            same_keys(guest->grants[i].keys, grant->keys)) {
            return true;
        }
    }
    return false;
}

static uint32_t verb_of(struct weir_reader *reader, const struct weir_node *node) {
    static const char what[] = "get, set, delete, list, watch, publish, query or execute";
    struct weir_str text;
    if (!read_text(reader, node, what, &text)) {
        return 0;
    }
    for (size_t i = 0; i < VERBS; i++) {
        if (weir_str_equal(text, weir_str_of(verbs[i].name))) {
            return verbs[i].verb;
        }
    }
    char shown[WEIR_SHOW_BYTES];
    weir_reader_problem(reader, node->place, "\"%s\" is no verb; write %s",
                        weir_show(text, shown, sizeof shown), what);
    return 0;
}

static uint32_t read_verbs(struct weir_reader *reader, const struct weir_node *node) {
    uint32_t all = 0;
    if (!node) {
        return WEIR_VERBS_ALL;
    }
    size_t index = 0, before = weir_reader_enter_key(reader, WEIR_STR("verbs"));
    if (node->is_nothing || (node->kind == WEIR_NODE_LIST && node->count == 0)) {
        weir_reader_problem(reader, node->place,
                            "no verbs grant nothing; leave the grant out, or write some, such as "
                            "[get, list]");
    } else if (enter_list(reader, node, "a list of verbs, such as [get, list]")) {
        for (const struct weir_entry *entry = node->first; entry; entry = entry->next) {
            size_t inside = weir_reader_enter(reader, "[%zu]", index++);
            all |= verb_of(reader, entry->value);
            weir_reader_leave(reader, inside);
        }
    }
    weir_reader_leave(reader, before);
    return all;
}

// A statement reaches every table, so that none of them can be kept from it by its keys: a grant of
// some keys is one without SQL, and does not say otherwise.
static void leave_out_sql(struct weir_reader *reader, const struct weir_node *verbs_node,
                          struct weir_grant *grant) {
    if (!grant->keys) {
        return;
    }
    uint32_t asked = verbs_node ? grant->verbs & WEIR_VERBS_SQL : 0;
    if (asked) {
        size_t before = weir_reader_enter_key(reader, WEIR_STR("verbs"));
        weir_reader_problem(reader, verbs_node->place,
                            "%s is of a whole resource, since a statement reaches every table; "
                            "grant it in an entry of its own, without keys",
                            weir_verb_name(asked & -asked));
        weir_reader_leave(reader, before);
    }
    grant->verbs &= ~(uint32_t)WEIR_VERBS_SQL;
}

// A grant at length: {resource: my-data, verbs: [get], keys: "orders/*"}.
static void read_long_grant(struct weir_reader *reader, const struct weir_node *node,
                            struct weir_grant *grant) {
    if (!weir_reader_mapping(reader, node, "the name of a resource, or a mapping")) {
        return;
    }
    weir_reader_known(reader, node,
                      &(struct weir_known_keys){.options = &weir_grant_options,
                                                .sections = &weir_grant_sections});
    weir_reader_options(reader, node, &weir_grant_options, grant);
    const struct weir_node *verbs_node = weir_reader_find(node, WEIR_STR("verbs"));
    grant->verbs = read_verbs(reader, verbs_node);
    leave_out_sql(reader, verbs_node, grant);
}

static void read_grant(struct weir_reader *reader, const struct weir_node *node,
                       struct weir_guest_config *guest) {
    struct weir_grant grant = {.verbs = WEIR_VERBS_ALL};
    if (node->kind == WEIR_NODE_MAPPING) {
        read_long_grant(reader, node, &grant);
    } else {
        struct weir_str text;
        if (read_text(reader, node,
                      "the name of a resource, or {resource: NAME, verbs: [get], keys: \"a/*\"}",
                      &text)) {
            grant.resource = weir_reader_copy(reader, text);
        }
    }
    if (!grant.resource) {
        weir_options_finish(&weir_grant_options, &grant);
        return;
    }
    weir_reader_reference(reader, node->place, reader->resources, "resource", grant.resource);
    if (has_grant(guest, &grant)) {
        char shown[WEIR_SHOW_BYTES];
        weir_reader_problem(reader, node->place, "\"%s\" is granted twice",
                            weir_show(weir_str_of(grant.resource), shown, sizeof shown));
        weir_options_finish(&weir_grant_options, &grant);
    } else {
        guest->grants[guest->grant_count++] = grant;
    }
}

static void read_grants(struct weir_reader *reader, const struct weir_node *node,
                        struct weir_guest_config *guest) {
    if (!enter_list(reader, node, "a list of resources, such as [my-data]")) {
        return;
    }
    guest->grants = weir_reader_room(reader, node, WEIR_CONFIG_GRANTS_MAX, sizeof *guest->grants);
    size_t index = 0;
    for (const struct weir_entry *entry = node->first; entry && reader->status == WEIR_OK;
         entry = entry->next) {
        size_t before = weir_reader_enter(reader, "[%zu]", index++);
        read_grant(reader, entry->value, guest);
        weir_reader_leave(reader, before);
    }
}

// ---- hosts, env ----

// A list of texts, each of which `check` accepts or tells what would be right.
static void read_texts(struct weir_reader *reader, const struct weir_node *node, const char *what,
                       weir_status (*check)(struct weir_str text, struct weir_error *err),
                       struct weir_texts *ret_texts) {
    if (!enter_list(reader, node, what)) {
        return;
    }
    ret_texts->items = weir_reader_room(reader, node, WEIR_CONFIG_GRANTS_MAX, sizeof(char *));
    size_t index = 0;
    for (const struct weir_entry *entry = node->first; entry && reader->status == WEIR_OK;
         entry = entry->next) {
        size_t before = weir_reader_enter(reader, "[%zu]", index++);
        struct weir_str text;
        if (read_text(reader, entry->value, what, &text)) {
            char shown[WEIR_SHOW_BYTES];
            struct weir_error err;
            if (check(text, &err) != WEIR_OK) {
                weir_reader_problem(reader, entry->value->place, "\"%s\": %s",
                                    weir_show(text, shown, sizeof shown), err.message);
            }
            char *copy = weir_reader_copy(reader, text);
            if (copy) {
                ret_texts->items[ret_texts->count++] = copy;
            }
        }
        weir_reader_leave(reader, before);
    }
}

static weir_status check_variable(struct weir_str name, struct weir_error *err) {
    bool is_good =
        name.size > 0 && !memchr(name.data, '=', name.size) && !memchr(name.data, '\0', name.size);
    return is_good ? WEIR_OK
                   : weir_fail(err, WEIR_INVALID, "this is no name of an environment variable");
}

// ---- config ----

static void read_value(struct weir_reader *reader, const struct weir_entry *entry,
                       struct weir_guest_config *guest) {
    struct weir_str text;
    size_t before = weir_reader_enter_key(reader, entry->key->text);
    if (read_text(reader, entry->value, "a text", &text)) {
        char *name = weir_reader_copy(reader, entry->key->text);
        char *value = weir_reader_copy(reader, text);
        if (name && value) {
            guest->config.items[guest->config.count++] =
                (struct weir_named_text){.name = name, .value = value};
        } else {
            free(name);
            free(value);
        }
        if (!weir_utf8_valid(text)) {
            weir_reader_problem(reader, entry->value->place, "the value is not UTF-8");
        }
    }
    weir_reader_leave(reader, before);
}

static void read_config(struct weir_reader *reader, const struct weir_node *node,
                        struct weir_guest_config *guest) {
    if (!weir_reader_mapping(reader, node, "a mapping of names to texts, such as {greeting: hi}")) {
        return;
    }
    guest->config.items =
        weir_reader_room(reader, node, WEIR_CONFIG_VALUES_MAX, sizeof *guest->config.items);
    for (const struct weir_entry *entry = node->first; entry && reader->status == WEIR_OK;
         entry = entry->next) {
        read_value(reader, entry, guest);
    }
}

void weir_reader_access(struct weir_reader *reader, const struct weir_node *mapping,
                        struct weir_guest_config *guest) {
    size_t before = weir_reader_enter_key(reader, WEIR_STR("grants"));
    read_grants(reader, weir_reader_find(mapping, WEIR_STR("grants")), guest);
    weir_reader_leave(reader, before);
    before = weir_reader_enter_key(reader, WEIR_STR("hosts"));
    read_texts(reader, weir_reader_find(mapping, WEIR_STR("hosts")),
               "a list of hosts, such as [api.example.com]", weir_http_grant_check, &guest->hosts);
    weir_reader_leave(reader, before);
    before = weir_reader_enter_key(reader, WEIR_STR("env"));
    read_texts(reader, weir_reader_find(mapping, WEIR_STR("env")),
               "a list of names of environment variables, such as [LANG]", check_variable,
               &guest->env);
    weir_reader_leave(reader, before);
    before = weir_reader_enter_key(reader, WEIR_STR("config"));
    read_config(reader, weir_reader_find(mapping, WEIR_STR("config")), guest);
    weir_reader_leave(reader, before);
}
