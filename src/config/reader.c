// SPDX-License-Identifier: Apache-2.0
//
// weir.yaml's tree to struct weir_config; see config.h. The reader never stops at a mistake: it
// tells it, leaves the default in place and goes on, so that one run names them all. What it knows
// about keys comes from the tables.
//
// Order: bounds before guests (they are the guests' defaults), resources and guests before
// subscriptions (their retry and queue start from the guest's). References are checked against the
// names in the file, not against what could be read of them: a resource with a mistake in it is not
// also a resource that does not exist.
//
// A value that came from the environment may be a secret, so a mistake in it is told without
// showing it.
//
// Any thread; nothing is shared.
#include "config/reader.h"

#include "base/nearest.h"
#include "base/show.h"
#include "config/endpoint.h"
#include "config/tables.h"
#include "http/http.h"
#include "provider/provider.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    VISITS_MAX = 2 * WEIR_DOCUMENT_NODES_MAX, // entries looked at; only aliases unfold to so many
    VARIABLE_BYTES_MAX = 256,                 // of the name in ${NAME}
    LIST_BYTES = 512,                         // of a list of names in a message
};

// ---- places and problems ----

// Goes one level down. Returns what path_leave needs.
size_t weir_reader_enter(struct weir_reader *reader, const char *format, ...) {
    size_t before = strlen(reader->path);
    va_list args;
    va_start(args, format);
    vsnprintf(reader->path + before, sizeof reader->path - before, format, args);
    va_end(args);
    return before;
}

size_t weir_reader_enter_key(struct weir_reader *reader, struct weir_str key) {
    char shown[WEIR_SHOW_BYTES];
    return weir_reader_enter(reader, "%s%s", reader->path[0] ? "." : "",
                             weir_show(key, shown, sizeof shown));
}

void weir_reader_leave(struct weir_reader *reader, size_t before) {
    reader->path[before] = '\0';
}

void weir_reader_problem(struct weir_reader *reader, struct weir_place place, const char *format,
                         ...) {
    va_list args;
    va_start(args, format);
    weir_problems_add_v(reader->problems, place, reader->path, format, args);
    va_end(args);
}

// Whether a further problem would only be counted, so that there is no use in finding words for it.
static bool is_full(const struct weir_reader *reader) {
    return reader->problems->count == WEIR_CONFIG_PROBLEMS_MAX;
}

static void give_up(struct weir_reader *reader, weir_status status) {
    if (reader->status == WEIR_OK) {
        reader->status = status;
    }
}

void weir_reader_no_memory(struct weir_reader *reader) {
    give_up(reader, weir_fail_no_memory(reader->err, "the configuration"));
}

const char *weir_reader_kind(enum weir_node_kind kind) {
    return kind == WEIR_NODE_LIST      ? "a list"
           : kind == WEIR_NODE_MAPPING ? "a mapping"
                                       : "a single value";
}

// ---- names in messages ----

struct name_list {
    char text[LIST_BYTES];
    size_t size;
};

static void list_name(struct name_list *list, struct weir_str name) {
    char shown[WEIR_SHOW_BYTES];
    weir_show(name, shown, sizeof shown);
    size_t room = sizeof list->text - list->size;
    const char *joint = list->size ? ", " : "";
    if (strlen(shown) + sizeof ", ..." < room) {
        list->size += (size_t)snprintf(list->text + list->size, room, "%s%s", joint, shown);
    } else if (list->size > 0 && list->text[list->size - 1] != '.') {
        list->size += (size_t)snprintf(list->text + list->size, room, "%s", ", ...");
    }
}

static const struct weir_section *find_section(const struct weir_sections *sections,
                                               struct weir_str name) {
    for (size_t i = 0; sections && i < sections->count; i++) {
        if (weir_str_equal(name, weir_str_of(sections->rows[i].name))) {
            return &sections->rows[i];
        }
    }
    return NULL;
}

static bool is_known(const struct weir_known_keys *known, struct weir_str key) {
    return (known->options && weir_option_find(known->options, key)) ||
           (known->more && weir_option_find(known->more, key)) ||
           find_section(known->sections, key);
}

static void unknown_key(struct weir_reader *reader, const struct weir_node *key,
                        const struct weir_known_keys *known) {
    if (is_full(reader)) {
        reader->problems->left_out++;
        return;
    }
    struct weir_nearest nearest;
    struct name_list all = {.size = 0};
    weir_nearest_init(&nearest, key->text);
    const struct weir_option_table *tables[] = {known->options, known->more};
    for (size_t t = 0; t < sizeof tables / sizeof tables[0]; t++) {
        for (size_t i = 0; tables[t] && i < tables[t]->count; i++) {
            weir_nearest_offer(&nearest, tables[t]->rows[i].name);
            list_name(&all, weir_str_of(tables[t]->rows[i].name));
        }
    }
    for (size_t i = 0; known->sections && i < known->sections->count; i++) {
        weir_nearest_offer(&nearest, known->sections->rows[i].name);
        list_name(&all, weir_str_of(known->sections->rows[i].name));
    }
    size_t before = weir_reader_enter_key(reader, key->text);
    if (weir_str_equal(key->text, WEIR_STR("<<"))) {
        weir_reader_problem(reader, key->place,
                            "merge keys are not read; repeat what is to be the same");
    } else if (nearest.best) {
        weir_reader_problem(reader, key->place, "no such key; did you mean \"%s\"? Known here: %s",
                            nearest.best, all.text);
    } else {
        weir_reader_problem(reader, key->place, "no such key; known here: %s", all.text);
    }
    weir_reader_leave(reader, before);
}

// ---- mappings ----

const struct weir_node *weir_reader_find(const struct weir_node *mapping, struct weir_str key) {
    if (mapping && mapping->kind == WEIR_NODE_MAPPING) {
        for (const struct weir_entry *entry = mapping->first; entry; entry = entry->next) {
            if (weir_str_equal(entry->key->text, key)) {
                return entry->value;
            }
        }
    }
    return NULL;
}

// Counts entries about to be looked at. Returns false where the file unfolds to too many.
bool weir_reader_may_visit(struct weir_reader *reader, const struct weir_node *node) {
    reader->visits += node->count;
    if (reader->status == WEIR_OK && reader->visits > VISITS_MAX) {
        weir_reader_problem(reader, node->place,
                            "the aliases of this file unfold to more than %d values", VISITS_MAX);
        give_up(reader, WEIR_INVALID);
    }
    return reader->status == WEIR_OK;
}

static int compare_keys(const void *a, const void *b) {
    const struct weir_node *one = *(const struct weir_node *const *)a;
    const struct weir_node *other = *(const struct weir_node *const *)b;
    size_t shorter = one->text.size < other->text.size ? one->text.size : other->text.size;
    int order = memcmp(one->text.data, other->text.data, shorter);
    if (order == 0) {
        order = (one->text.size > other->text.size) - (one->text.size < other->text.size);
    }
    // The place decides between equal ones, so that the later one is called the duplicate.
    return order != 0
               ? order
               : (one->place.line > other->place.line) - (one->place.line < other->place.line);
}

static void check_duplicates(struct weir_reader *reader, const struct weir_node *mapping) {
    if (mapping->count < 2) {
        return;
    }
    const struct weir_node **keys = calloc(mapping->count, sizeof *keys);
    if (!keys) {
        weir_reader_no_memory(reader);
        return;
    }
    size_t count = 0;
    for (const struct weir_entry *entry = mapping->first; entry; entry = entry->next) {
        keys[count++] = entry->key;
    }
    qsort(keys, count, sizeof *keys, compare_keys);
    for (size_t i = 1; i < count; i++) {
        if (weir_str_equal(keys[i]->text, keys[i - 1]->text)) {
            size_t before = weir_reader_enter_key(reader, keys[i]->text);
            weir_reader_problem(reader, keys[i]->place, "the key is given twice, first on line %u",
                                keys[i - 1]->place.line);
            weir_reader_leave(reader, before);
        }
    }
    free(keys);
}

// Whether there is a mapping to be read here; tells where there is something else, or where keys
// come twice. NULL and an empty value count as an empty mapping.
bool weir_reader_mapping(struct weir_reader *reader, const struct weir_node *node,
                         const char *what) {
    if (!node || node->is_nothing) {
        return false;
    }
    if (node->kind != WEIR_NODE_MAPPING) {
        weir_reader_problem(reader, node->place, "this is %s; write %s",
                            weir_reader_kind(node->kind), what);
        return false;
    }
    if (!weir_reader_may_visit(reader, node)) {
        return false;
    }
    check_duplicates(reader, node);
    return reader->status == WEIR_OK;
}

void weir_reader_known(struct weir_reader *reader, const struct weir_node *mapping,
                       const struct weir_known_keys *known) {
    for (const struct weir_entry *entry = mapping->first; entry; entry = entry->next) {
        if (!is_known(known, entry->key->text)) {
            unknown_key(reader, entry->key, known);
        }
    }
}

// ---- values ----

static bool is_variable_letter(char letter, bool is_first) {
    bool is_letter = (letter >= 'A' && letter <= 'Z') || (letter >= 'a' && letter <= 'z');
    return is_letter || letter == '_' || (!is_first && letter >= '0' && letter <= '9');
}

// A text that grows to at most WEIR_EXPANDED_BYTES_MAX.
struct expansion {
    char *bytes; // of the reader
    size_t size;
    bool is_too_long;
};

static void append(struct expansion *expansion, struct weir_str text) {
    if (text.size > WEIR_EXPANDED_BYTES_MAX - expansion->size) {
        expansion->is_too_long = true;
    } else if (text.size > 0) {
        memcpy(expansion->bytes + expansion->size, text.data, text.size);
        expansion->size += text.size;
    }
}

// The variable that is written at the start of `text`, which begins with "${". Returns the size of
// the whole "${NAME}", 0 where it is not one.
static size_t parse_variable(struct weir_str text, char ret_name[static VARIABLE_BYTES_MAX]) {
    size_t at = 2;
    while (at < text.size && at - 2 < VARIABLE_BYTES_MAX - 1 &&
           is_variable_letter(text.data[at], at == 2)) {
        ret_name[at - 2] = text.data[at];
        at++;
    }
    ret_name[at - 2] = '\0';
    return at > 2 && at < text.size && text.data[at] == '}' ? at + 1 : 0;
}

// Replaces each ${NAME}, and each $${ by ${. Returns false where a mistake was told.
static bool expand_into(struct weir_reader *reader, const struct weir_node *node,
                        struct expansion *expansion, bool *ret_is_foreign) {
    struct weir_str text = node->text;
    for (size_t at = 0; at < text.size && !expansion->is_too_long;) {
        struct weir_str rest = {.data = text.data + at, .size = text.size - at};
        if (weir_str_has_prefix(rest, WEIR_STR("$${"))) {
            append(expansion, WEIR_STR("${"));
            at += 3;
        } else if (weir_str_has_prefix(rest, WEIR_STR("${"))) {
            char name[VARIABLE_BYTES_MAX];
            size_t size = parse_variable(rest, name);
            const char *value = size ? getenv(name) : NULL;
            if (size == 0) {
                weir_reader_problem(
                    reader, node->place,
                    "\"${\" begins no name of a variable; write ${NAME}, or $${ for the "
                    "characters themselves");
                return false;
            }
            if (!value) {
                weir_reader_problem(reader, node->place,
                                    "the environment has no variable %s; set it", name);
                return false;
            }
            append(expansion, weir_str_of(value));
            *ret_is_foreign = true;
            at += size;
        } else {
            append(expansion, (struct weir_str){.data = rest.data, .size = 1});
            at++;
        }
    }
    if (expansion->is_too_long) {
        weir_reader_problem(reader, node->place, "the value is longer than %d bytes",
                            WEIR_EXPANDED_BYTES_MAX);
    }
    return !expansion->is_too_long;
}

// A scalar's text as it is meant, valid until the next one is expanded. `ret_is_foreign`: a part of
// it comes from the environment.
bool weir_reader_expand(struct weir_reader *reader, const struct weir_node *node,
                        struct weir_str *ret_text, bool *ret_is_foreign) {
    *ret_is_foreign = false;
    *ret_text = node->text;
    if (!memmem(node->text.data, node->text.size, "${", 2)) {
        return true;
    }
    struct expansion expansion = {.bytes = reader->expanded};
    bool is_good = expand_into(reader, node, &expansion, ret_is_foreign);
    *ret_text = (struct weir_str){.data = expansion.bytes, .size = expansion.size};
    return is_good;
}

static void read_option(struct weir_reader *reader, const struct weir_node *node,
                        const struct weir_option *option, void *base) {
    char expected[WEIR_OPTION_EXPECTED_BYTES];
    weir_option_expected(option, expected, sizeof expected);
    if (node->kind != WEIR_NODE_SCALAR || node->is_nothing) {
        weir_reader_problem(reader, node->place, "this is %s; write %s",
                            node->is_nothing ? "empty" : weir_reader_kind(node->kind), expected);
        return;
    }
    struct weir_str text;
    bool is_foreign;
    struct weir_error err;
    if (!weir_reader_expand(reader, node, &text, &is_foreign)) {
        return;
    }
    weir_status status = weir_option_set(option, base, text, reader->config->folder, &err);
    if (status == WEIR_NO_MEMORY) {
        weir_reader_no_memory(reader);
    } else if (status != WEIR_OK && is_foreign) {
        char shown[WEIR_SHOW_BYTES];
        weir_reader_problem(reader, node->place,
                            "what the environment gives for \"%s\" is not right; write %s",
                            weir_show(node->text, shown, sizeof shown), expected);
    } else if (status != WEIR_OK) {
        weir_reader_problem(reader, node->place, "%s", err.message);
    }
}

// Reads the mapping's options; what is not in the table is left to others.
void weir_reader_options(struct weir_reader *reader, const struct weir_node *mapping,
                         const struct weir_option_table *table, void *base) {
    for (size_t i = 0; i < table->count; i++) {
        const struct weir_option *option = &table->rows[i];
        const struct weir_node *value = weir_reader_find(mapping, weir_str_of(option->name));
        if (value) {
            size_t before = weir_reader_enter_key(reader, weir_str_of(option->name));
            read_option(reader, value, option, base);
            weir_reader_leave(reader, before);
        } else if (option->is_required) {
            weir_reader_problem(reader, mapping->place, "\"%s\" is missing: %s", option->name,
                                option->help);
        }
    }
}

// Reads a mapping that holds nothing but the table's options.
static void read_table(struct weir_reader *reader, const struct weir_node *parent, const char *key,
                       const struct weir_option_table *table, void *base) {
    const struct weir_node *node = weir_reader_find(parent, weir_str_of(key));
    size_t before = weir_reader_enter_key(reader, weir_str_of(key));
    if (weir_reader_mapping(reader, node, "a mapping of options, such as {key: value}")) {
        weir_reader_known(reader, node, &(struct weir_known_keys){.options = table});
        weir_reader_options(reader, node, table, base);
    }
    weir_reader_leave(reader, before);
}

static void read_retry(struct weir_reader *reader, const struct weir_node *parent,
                       struct weir_retry *retry) {
    const struct weir_node *node = weir_reader_find(parent, WEIR_STR("retry"));
    read_table(reader, parent, "retry", &weir_retry_options, retry);
    if (node && retry->backoff_max_ns < retry->backoff_ns) {
        size_t before = weir_reader_enter_key(reader, WEIR_STR("retry"));
        weir_reader_problem(
            reader, node->place,
            "backoff_max, the longest wait, is less than backoff; make it at least as long");
        weir_reader_leave(reader, before);
    }
}

static void check_name(struct weir_reader *reader, struct weir_place place, struct weir_str name) {
    char shown[WEIR_SHOW_BYTES];
    if (!weir_name_valid(name)) {
        weir_reader_problem(
            reader, place,
            "\"%s\" is not a name; write letters, digits, \".\", \"_\" and \"-\", at most %d "
            "bytes",
            weir_show(name, shown, sizeof shown), WEIR_NAME_BYTES_MAX);
    }
}

char *weir_reader_copy(struct weir_reader *reader, struct weir_str text) {
    char *copy = strndup(text.data, text.size);
    if (!copy) {
        weir_reader_no_memory(reader);
    }
    return copy;
}

// Tells where a text names nothing of the mapping (`resources` or `guests`). NULL: there are none.
void weir_reader_reference(struct weir_reader *reader, struct weir_place place,
                           const struct weir_node *mapping, const char *what, const char *name) {
    if (weir_reader_find(mapping, weir_str_of(name))) {
        return;
    }
    if (is_full(reader)) {
        reader->problems->left_out++;
        return;
    }
    struct weir_nearest nearest;
    struct name_list all = {.size = 0};
    weir_nearest_init(&nearest, weir_str_of(name));
    if (mapping) {
        for (const struct weir_entry *entry = mapping->first; entry; entry = entry->next) {
            weir_nearest_offer(&nearest, entry->key->text.data);
            list_name(&all, entry->key->text);
        }
    }
    char shown[WEIR_SHOW_BYTES];
    weir_show(weir_str_of(name), shown, sizeof shown);
    if (all.size == 0) {
        weir_reader_problem(reader, place, "there is no %s \"%s\"; the file has no %ss", what,
                            shown, what);
    } else if (nearest.best) {
        weir_reader_problem(reader, place, "there is no %s \"%s\"; did you mean \"%s\"?", what,
                            shown, nearest.best);
    } else {
        weir_reader_problem(reader, place, "there is no %s \"%s\"; the %ss are: %s", what, shown,
                            what, all.text);
    }
}

// ---- resources ----

static const struct weir_provider *read_kind(struct weir_reader *reader,
                                             const struct weir_node *mapping) {
    struct weir_nearest nearest;
    struct name_list kinds = {.size = 0};
    const struct weir_node *node = weir_reader_find(mapping, WEIR_STR("kind"));
    struct weir_str kind = {0};
    bool is_foreign = false;
    if (node && node->kind == WEIR_NODE_SCALAR &&
        !weir_reader_expand(reader, node, &kind, &is_foreign)) {
        return NULL;
    }
    const struct weir_provider *found = weir_provider_find(kind);
    weir_nearest_init(&nearest, kind);
    for (const struct weir_provider *const *one = weir_providers; *one; one++) {
        weir_nearest_offer(&nearest, (*one)->kind);
        list_name(&kinds, weir_str_of((*one)->kind));
    }
    if (found) {
        return found;
    }
    if (!node) {
        weir_reader_problem(reader, mapping->place, "\"kind\" is missing; the kinds are: %s",
                            kinds.text);
        return NULL;
    }
    size_t before = weir_reader_enter_key(reader, WEIR_STR("kind"));
    char shown[WEIR_SHOW_BYTES];
    weir_show(is_foreign ? node->text : kind, shown, sizeof shown);
    if (nearest.best) {
        weir_reader_problem(reader, node->place, "\"%s\" is no kind; did you mean \"%s\"?", shown,
                            nearest.best);
    } else {
        weir_reader_problem(reader, node->place, "\"%s\" is no kind; the kinds are: %s", shown,
                            kinds.text);
    }
    weir_reader_leave(reader, before);
    return NULL;
}

static void read_resource(struct weir_reader *reader, const struct weir_entry *entry) {
    check_name(reader, entry->key->place, entry->key->text);
    if (!weir_reader_mapping(reader, entry->value,
                             "a mapping, such as {kind: file, path: ./data}")) {
        if (entry->value->is_nothing) {
            weir_reader_problem(
                reader, entry->value->place,
                "the resource is empty; write a mapping, such as {kind: file, path: ./data}");
        }
        return;
    }
    const struct weir_provider *provider = read_kind(reader, entry->value);
    if (!provider) {
        return; // the other keys belong to nobody knows what
    }
    struct weir_resource_config *resource =
        &reader->config->resources[reader->config->resource_count];
    *resource = (struct weir_resource_config){
        .name = weir_reader_copy(reader, entry->key->text),
        .provider = provider,
        .options = calloc(1, provider->options_bytes),
        .place = entry->key->place,
    };
    reader->config->resource_count++;
    if (!resource->name || !resource->options ||
        weir_options_init(&provider->options, resource->options, reader->err) != WEIR_OK) {
        weir_reader_no_memory(reader);
        return;
    }
    struct weir_known_keys known = {.options = &provider->options,
                                    .sections = &weir_resource_sections};
    weir_reader_known(reader, entry->value, &known);
    weir_reader_options(reader, entry->value, &provider->options, resource->options);
}

// Makes room for the entries of a mapping or list. Returns NULL where there is nothing to read.
void *weir_reader_room(struct weir_reader *reader, const struct weir_node *node, size_t max,
                       size_t item_bytes) {
    if (node->count > max) {
        weir_reader_problem(reader, node->place, "%zu entries; at most %zu are allowed",
                            node->count, max);
        give_up(reader, WEIR_INVALID);
        return NULL;
    }
    void *items = node->count ? calloc(node->count, item_bytes) : NULL;
    if (!items && node->count) {
        weir_reader_no_memory(reader);
    }
    return items;
}

static void read_resources(struct weir_reader *reader, const struct weir_node *root) {
    const struct weir_node *node = weir_reader_find(root, WEIR_STR("resources"));
    size_t before = weir_reader_enter_key(reader, WEIR_STR("resources"));
    if (weir_reader_mapping(reader, node,
                            "a mapping of names, such as my-data: {kind: file, ...}")) {
        reader->resources = node;
        reader->config->resources = weir_reader_room(reader, node, WEIR_CONFIG_RESOURCES_MAX,
                                                     sizeof *reader->config->resources);
        for (const struct weir_entry *entry = node->first; entry && reader->status == WEIR_OK;
             entry = entry->next) {
            size_t name_before = weir_reader_enter_key(reader, entry->key->text);
            read_resource(reader, entry);
            weir_reader_leave(reader, name_before);
        }
    }
    weir_reader_leave(reader, before);
}

// ---- guests ----

// A guest is read before a resource's mistakes are known, so that the name alone is looked at.
static void read_delivery(struct weir_reader *reader, const struct weir_node *mapping,
                          struct weir_delivery_policy *policy) {
    weir_reader_options(reader, mapping, &weir_delivery_options, policy);
    const struct weir_node *to = weir_reader_find(mapping, WEIR_STR("to"));
    if (!to || !policy->to) {
        return;
    }
    size_t before = weir_reader_enter_key(reader, WEIR_STR("to"));
    weir_reader_reference(reader, to->place, reader->resources, "resource", policy->to);
    const struct weir_resource_config *resource =
        weir_config_resource(reader->config, weir_str_of(policy->to));
    if (resource && !(resource->provider->capabilities & WEIR_CAN_PUBLISH)) {
        weir_reader_problem(reader, to->place,
                            "\"%s\" is of kind %s, to which nothing can be published", policy->to,
                            resource->provider->kind);
    }
    weir_reader_leave(reader, before);
}

static void inherit_delivery(struct weir_reader *reader, const struct weir_delivery_policy *from,
                             struct weir_delivery_policy *policy) {
    weir_options_finish(&weir_delivery_options, policy);
    *policy = *from;
    policy->to = from->to ? weir_reader_copy(reader, weir_str_of(from->to)) : NULL;
}

static void read_guest(struct weir_reader *reader, const struct weir_entry *entry) {
    struct weir_guest_config *guest = &reader->config->guests[reader->config->guest_count];
    *guest = (struct weir_guest_config){
        .name = weir_reader_copy(reader, entry->key->text),
        .bounds = reader->bounds,
        .place = entry->key->place,
    };
    reader->config->guest_count++;
    if (!guest->name || weir_options_init(&weir_guest_options, guest, reader->err) != WEIR_OK ||
        weir_options_init(&weir_retry_options, &guest->retry, reader->err) != WEIR_OK ||
        weir_options_init(&weir_queue_options, &guest->queue, reader->err) != WEIR_OK ||
        weir_options_init(&weir_journal_options, &guest->journal, reader->err) != WEIR_OK ||
        weir_options_init(&weir_delivery_options, &guest->delivery, reader->err) != WEIR_OK) {
        weir_reader_no_memory(reader);
        return;
    }
    check_name(reader, entry->key->place, entry->key->text);
    if (!weir_reader_mapping(reader, entry->value, "a mapping, such as {wasm: hello.wasm}")) {
        if (entry->value->is_nothing) {
            weir_reader_problem(reader, entry->value->place,
                                "the guest is empty; write a mapping, such as {wasm: hello.wasm}");
        }
        return;
    }
    struct weir_known_keys known = {.options = &weir_guest_options,
                                    .more = &weir_delivery_options,
                                    .sections = &weir_guest_sections};
    weir_reader_known(reader, entry->value, &known);
    weir_reader_options(reader, entry->value, &weir_guest_options, guest);
    read_delivery(reader, entry->value, &guest->delivery);
    weir_reader_access(reader, entry->value, guest);
    read_table(reader, entry->value, "bounds", &weir_bounds_options, &guest->bounds);
    read_retry(reader, entry->value, &guest->retry);
    read_table(reader, entry->value, "queue", &weir_queue_options, &guest->queue);
    read_table(reader, entry->value, "journal", &weir_journal_options, &guest->journal);
}

static void read_guests(struct weir_reader *reader, const struct weir_node *root) {
    const struct weir_node *node = weir_reader_find(root, WEIR_STR("guests"));
    size_t before = weir_reader_enter_key(reader, WEIR_STR("guests"));
    if (weir_reader_mapping(reader, node,
                            "a mapping of names, such as hello: {wasm: hello.wasm}")) {
        reader->guests = node;
        reader->config->guests =
            weir_reader_room(reader, node, WEIR_CONFIG_GUESTS_MAX, sizeof *reader->config->guests);
        for (const struct weir_entry *entry = node->first; entry && reader->status == WEIR_OK;
             entry = entry->next) {
            size_t name_before = weir_reader_enter_key(reader, entry->key->text);
            read_guest(reader, entry);
            weir_reader_leave(reader, name_before);
        }
    }
    weir_reader_leave(reader, before);
}

// ---- subscriptions ----

static struct weir_place place_of_key(const struct weir_node *mapping, const char *key) {
    const struct weir_node *node = weir_reader_find(mapping, weir_str_of(key));
    return node ? node->place : mapping->place;
}

static void check_watched(struct weir_reader *reader, struct weir_place place, const char *name) {
    weir_reader_reference(reader, place, reader->resources, "resource", name);
    const struct weir_resource_config *resource =
        weir_config_resource(reader->config, weir_str_of(name));
    if (resource &&
        (!resource->provider->watch || !(resource->provider->capabilities & WEIR_CAN_WATCH))) {
        weir_reader_problem(reader, place, "\"%s\" is of kind %s, which cannot be watched", name,
                            resource->provider->kind);
    }
}

static void check_subscription(struct weir_reader *reader, const struct weir_node *mapping,
                               const struct weir_subscription_config *subscription) {
    if (subscription->name) {
        size_t before = weir_reader_enter_key(reader, WEIR_STR("name"));
        check_name(reader, place_of_key(mapping, "name"), weir_str_of(subscription->name));
        weir_reader_leave(reader, before);
    }
    if (subscription->resource) {
        size_t before = weir_reader_enter_key(reader, WEIR_STR("watch"));
        check_watched(reader, place_of_key(mapping, "watch"), subscription->resource);
        weir_reader_leave(reader, before);
    }
    if (subscription->guest) {
        size_t before = weir_reader_enter_key(reader, WEIR_STR("guest"));
        weir_reader_reference(reader, place_of_key(mapping, "guest"), reader->guests, "guest",
                              subscription->guest);
        weir_reader_leave(reader, before);
    }
}

static void read_subscription(struct weir_reader *reader, const struct weir_node *node) {
    struct weir_config *config = reader->config;
    struct weir_subscription_config *subscription =
        &config->subscriptions[config->subscription_count];
    *subscription = (struct weir_subscription_config){.place = node->place};
    config->subscription_count++;
    if (weir_options_init(&weir_subscription_options, subscription, reader->err) != WEIR_OK ||
        weir_options_init(&weir_retry_options, &subscription->retry, reader->err) != WEIR_OK ||
        weir_options_init(&weir_queue_options, &subscription->queue, reader->err) != WEIR_OK ||
        weir_options_init(&weir_journal_options, &subscription->journal, reader->err) != WEIR_OK ||
        weir_options_init(&weir_delivery_options, &subscription->delivery, reader->err) !=
            WEIR_OK) {
        weir_reader_no_memory(reader);
        return;
    }
    static const char shape[] =
        "a mapping, such as {watch: my-data, key: \"orders/*\", guest: hello}";
    if (!weir_reader_mapping(reader, node, shape)) {
        if (node->is_nothing) {
            weir_reader_problem(reader, node->place, "the subscription is empty; write %s", shape);
        }
        return;
    }
    struct weir_known_keys known = {.options = &weir_subscription_options,
                                    .more = &weir_delivery_options,
                                    .sections = &weir_subscription_sections};
    weir_reader_known(reader, node, &known);
    weir_reader_options(reader, node, &weir_subscription_options, subscription);
    const struct weir_guest_config *guest =
        subscription->guest ? weir_config_guest(config, weir_str_of(subscription->guest)) : NULL;
    if (guest) {
        subscription->retry = guest->retry;
        subscription->queue = guest->queue;
        subscription->journal = guest->journal;
        inherit_delivery(reader, &guest->delivery, &subscription->delivery);
    }
    read_retry(reader, node, &subscription->retry);
    read_table(reader, node, "queue", &weir_queue_options, &subscription->queue);
    read_table(reader, node, "journal", &weir_journal_options, &subscription->journal);
    read_delivery(reader, node, &subscription->delivery);
    check_subscription(reader, node, subscription);
}

static void read_subscriptions(struct weir_reader *reader, const struct weir_node *root) {
    const struct weir_node *node = weir_reader_find(root, WEIR_STR("subscriptions"));
    if (!node || node->is_nothing) {
        return;
    }
    size_t before = weir_reader_enter_key(reader, WEIR_STR("subscriptions"));
    if (node->kind != WEIR_NODE_LIST) {
        weir_reader_problem(reader, node->place,
                            "this is %s; write a list, each item after a \"- \"",
                            weir_reader_kind(node->kind));
    } else if (weir_reader_may_visit(reader, node)) {
        reader->config->subscriptions = weir_reader_room(
            reader, node, WEIR_CONFIG_SUBSCRIPTIONS_MAX, sizeof *reader->config->subscriptions);
        size_t index = 0;
        for (const struct weir_entry *entry = node->first; entry && reader->status == WEIR_OK;
             entry = entry->next) {
            size_t item_before = weir_reader_enter(reader, "[%zu]", index++);
            read_subscription(reader, entry->value);
            weir_reader_leave(reader, item_before);
        }
    }
    weir_reader_leave(reader, before);
}

static int compare_subscriptions(const void *a, const void *b) {
    const struct weir_subscription_config *one = *(const struct weir_subscription_config *const *)a;
    const struct weir_subscription_config *other =
        *(const struct weir_subscription_config *const *)b;
    int order = strcmp(one->name, other->name);
    return order != 0
               ? order
               : (one->place.line > other->place.line) - (one->place.line < other->place.line);
}

static void check_subscription_names(struct weir_reader *reader) {
    const struct weir_config *config = reader->config;
    if (config->subscription_count == 0) {
        return;
    }
    const struct weir_subscription_config **named =
        calloc(config->subscription_count, sizeof *named);
    if (!named) {
        weir_reader_no_memory(reader);
        return;
    }
    size_t count = 0;
    for (size_t i = 0; i < config->subscription_count; i++) {
        if (config->subscriptions[i].name) {
            named[count++] = &config->subscriptions[i];
        }
    }
    qsort(named, count, sizeof *named, compare_subscriptions);
    for (size_t i = 1; i < count; i++) {
        if (strcmp(named[i]->name, named[i - 1]->name) == 0) {
            size_t index = (size_t)(named[i] - config->subscriptions);
            size_t before = weir_reader_enter(reader, "subscriptions[%zu].name", index);
            weir_reader_problem(reader, named[i]->place,
                                "\"%s\" is also the name of the one on line %u", named[i]->name,
                                named[i - 1]->place.line);
            weir_reader_leave(reader, before);
        }
    }
    free(named);
}

// A guest that is granted nothing in the file is granted what its subscriptions watch.
static void grant_watched(struct weir_reader *reader, const struct weir_node *root) {
    struct weir_config *config = reader->config;
    const struct weir_node *guests = weir_reader_find(root, WEIR_STR("guests"));
    for (size_t i = 0; i < config->subscription_count && reader->status == WEIR_OK; i++) {
        const struct weir_subscription_config *subscription = &config->subscriptions[i];
        if (!subscription->guest || !subscription->resource) {
            continue;
        }
        const struct weir_node *mapping =
            weir_reader_find(guests, weir_str_of(subscription->guest));
        if (mapping && !weir_reader_find(mapping, WEIR_STR("grants"))) {
            give_up(reader, weir_config_grant(config, subscription->guest, subscription->resource,
                                              WEIR_VERBS_READ, reader->err));
        }
    }
}

// ---- traces ----

static void read_traces(struct weir_reader *reader, const struct weir_node *root) {
    struct weir_traces_config *traces = &reader->config->traces;
    read_table(reader, root, "traces", &weir_traces_options, traces);
    const struct weir_node *mapping = weir_reader_find(root, WEIR_STR("traces"));
    const struct weir_node *endpoint =
        mapping ? weir_reader_find(mapping, WEIR_STR("endpoint")) : NULL;
    struct weir_http_host host;
    struct weir_error err;
    if (endpoint && traces->endpoint &&
        weir_http_host(weir_str_of(traces->endpoint), &host, &err) != WEIR_OK) {
        size_t before = weir_reader_enter(reader, "traces.endpoint");
        weir_reader_problem(reader, endpoint->place, "%s", err.message);
        weir_reader_leave(reader, before);
    }
}

// ---- the admin address ----

// "127.0.0.1:9464", or the path of a socket.
static void read_admin_short(struct weir_reader *reader, const struct weir_node *node) {
    bool is_path = node->text.size > 0 && memchr(node->text.data, '/', node->text.size);
    const struct weir_option *option =
        weir_option_find(&weir_admin_options, is_path ? WEIR_STR("socket") : WEIR_STR("address"));
    read_option(reader, node, option, &reader->config->admin);
}

static void check_admin(struct weir_reader *reader, const struct weir_node *node) {
    const struct weir_admin_config *admin = &reader->config->admin;
    struct weir_endpoint endpoint;
    struct weir_error err;
    if (admin->address && admin->socket) {
        weir_reader_problem(reader, node->place, "it is either an address or a socket, not both");
    } else if (!admin->address && !admin->socket && admin->token) {
        weir_reader_problem(reader, node->place,
                            "a token for nothing; add an address, as 127.0.0.1:9464");
    } else if (admin->address && weir_endpoint_parse(admin->address, &endpoint, &err) != WEIR_OK) {
        weir_reader_problem(reader, node->place, "%s", err.message);
    } else if (admin->address && !endpoint.is_loopback && !admin->token) {
        weir_reader_problem(reader, node->place,
                            "%s can be reached from elsewhere: add a token, as {address: \"%s\", "
                            "token: env:NAME}, or take a loopback address, as 127.0.0.1:9464",
                            admin->address, admin->address);
    }
}

static void read_admin(struct weir_reader *reader, const struct weir_node *root) {
    const struct weir_node *node = weir_reader_find(root, WEIR_STR("admin"));
    if (!node || node->is_nothing) {
        return;
    }
    size_t mistakes = reader->problems->count;
    reader->config->admin.place = node->place;
    if (node->kind == WEIR_NODE_SCALAR) {
        size_t before = weir_reader_enter_key(reader, WEIR_STR("admin"));
        read_admin_short(reader, node);
        weir_reader_leave(reader, before);
    } else {
        read_table(reader, root, "admin", &weir_admin_options, &reader->config->admin);
    }
    size_t before = weir_reader_enter_key(reader, WEIR_STR("admin"));
    if (reader->status == WEIR_OK && reader->problems->count == mistakes) {
        check_admin(reader, node);
    }
    weir_reader_leave(reader, before);
}

// ---- the whole ----

static void read_root(struct weir_reader *reader) {
    const struct weir_node *root = reader->document.root;
    if (!root || root->is_nothing) {
        weir_reader_problem(reader, (struct weir_place){.line = 1, .column = 1},
                            "the file holds nothing; begin with \"resources:\" or \"guests:\"");
        return;
    }
    if (!weir_reader_mapping(reader, root,
                             "a mapping with \"resources:\", \"guests:\" and so on")) {
        return;
    }
    weir_reader_known(reader, root, &(struct weir_known_keys){.sections = &weir_config_sections});
    read_table(reader, root, "host", &weir_host_options, &reader->config->host);
    read_table(reader, root, "state", &weir_state_options, &reader->config->state);
    read_traces(reader, root);
    read_admin(reader, root);
    read_table(reader, root, "bounds", &weir_bounds_options, &reader->bounds);
    read_resources(reader, root);
    read_guests(reader, root);
    read_subscriptions(reader, root);
    check_subscription_names(reader);
    grant_watched(reader, root);
}

static char *folder_of(const char *path) {
    const char *slash = strrchr(path, '/');
    if (!slash) {
        return strdup(".");
    }
    return strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

weir_status weir_config_parse(struct weir_str text, const char *path,
                              struct weir_config *ret_config, struct weir_problems *problems,
                              struct weir_error *err) {
    *problems = (struct weir_problems){.count = 0};
    weir_status status = weir_config_init(ret_config, err);
    if (status != WEIR_OK) {
        return status;
    }
    free(ret_config->path);
    free(ret_config->folder);
    ret_config->path = strdup(path);
    ret_config->folder = folder_of(path);
    if (!ret_config->path || !ret_config->folder) {
        return weir_fail_no_memory(err, "the configuration");
    }
    if (text.size > WEIR_CONFIG_FILE_BYTES_MAX) {
        return weir_fail(err, WEIR_LIMIT, "%s has %zu bytes; a configuration has at most %d", path,
                         text.size, WEIR_CONFIG_FILE_BYTES_MAX);
    }
    struct weir_reader *reader = calloc(1, sizeof *reader);
    if (!reader) {
        return weir_fail_no_memory(err, "the configuration");
    }
    reader->config = ret_config;
    reader->problems = problems;
    reader->err = err;
    status = weir_options_init(&weir_bounds_options, &reader->bounds, err);
    if (status == WEIR_OK) {
        status = weir_document_parse(text, &reader->document, problems, err);
    }
    if (status == WEIR_OK) {
        read_root(reader);
        status = reader->status;
    }
    weir_document_finish(&reader->document);
    free(reader);
    weir_problems_sort(problems);
    size_t mistakes = problems->count + problems->left_out;
    if ((status == WEIR_OK || status == WEIR_INVALID) && mistakes > 0) {
        return weir_fail(err, WEIR_INVALID, "%s has %zu mistake%s", path, mistakes,
                         mistakes == 1 ? "" : "s");
    }
    return status;
}
