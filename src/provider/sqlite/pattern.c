// SPDX-License-Identifier: Apache-2.0
//
// Patterns of keys, as this provider has them: which rows they match, which tables they are about.
// Rows are found by weir_routes. Tables are counted: ten thousand watches of rows of one table are
// one selector, so that what has to be followed costs a look at few texts.
#include "provider/sqlite/watcher.h"

#include "provider/keyvalue.h"
#include "provider/row.h"

#include <stdlib.h>
#include <string.h>

// ---- patterns

struct weir_str weir_sqlite_pattern_table(const struct weir_pattern *pattern, bool *ret_is_whole) {
    struct weir_str text = pattern->text;
    const char *slash = text.size > 0 ? memchr(text.data, '/', text.size) : NULL;
    *ret_is_whole = slash != NULL || !pattern->is_prefix;
    return (struct weir_str){text.data, slash ? (size_t)(slash - text.data) : text.size};
}

// Whether all rows of one table are watched: "TABLE" or "TABLE/*".
static bool is_of_table(const struct weir_pattern *pattern) {
    bool is_whole;
    struct weir_str table = weir_sqlite_pattern_table(pattern, &is_whole);
    return pattern->is_prefix ? is_whole && pattern->text.size == table.size + 1
                              : pattern->text.size == table.size;
}

weir_status weir_sqlite_pattern_check(const struct weir_sqlite_resource *resource,
                                      const struct weir_pattern *pattern, struct weir_error *err) {
    weir_status status = weir_keyvalue_check_pattern(pattern, err);
    bool is_whole;
    struct weir_str table = weir_sqlite_pattern_table(pattern, &is_whole);
    if (status == WEIR_OK && !resource->options.kv && is_whole && table.size == 0) {
        return weir_fail(
            err, WEIR_INVALID,
            "a key that names no table: keys of rows are \"TABLE/ID\", and all rows of "
            "a table are \"TABLE/*\"");
    }
    return status;
}

static bool selects(struct weir_str selected, bool is_whole, struct weir_str table) {
    char name[WEIR_SQLITE_TABLE_KEY_BYTES_MAX];
    struct weir_str key = {name, weir_row_key(table, NULL, 0, name, sizeof name)};
    return is_whole ? weir_str_equal(key, selected) : weir_str_has_prefix(key, selected);
}

bool weir_sqlite_pattern_concerns(const struct weir_pattern *pattern, struct weir_str table) {
    bool is_whole;
    struct weir_str part = weir_sqlite_pattern_table(pattern, &is_whole);
    return selects(part, is_whole, table);
}

bool weir_sqlite_pattern_matches(const struct weir_sqlite_resource *resource,
                                 const struct weir_pattern *pattern, struct weir_str key) {
    if (weir_pattern_matches(pattern, key)) {
        return true;
    }
    if (resource->options.kv || !is_of_table(pattern)) {
        return false;
    }
    bool is_whole;
    struct weir_str table = weir_sqlite_pattern_table(pattern, &is_whole);
    return weir_str_has_prefix(key, table) &&
           (key.size == table.size || key.data[table.size] == '/');
}

// ---- routes

static weir_status add_routes(struct weir_sqlite_watcher *watcher, struct weir_sqlite_watch *watch,
                              struct weir_error *err) {
    const struct weir_pattern *pattern = &watch->hub.pattern;
    bool is_kv = watcher->reader.shapes.is_kv;
    if (is_kv || !is_of_table(pattern)) {
        return weir_routes_add(watcher->routes, pattern, watch, &watch->routes[0], err);
    }
    bool is_whole;
    struct weir_str table = weir_sqlite_pattern_table(pattern, &is_whole);
    char *rows = malloc(table.size + 1);
    if (!rows) {
        return weir_fail_no_memory(err, "a watch");
    }
    memcpy(rows, table.data, table.size);
    rows[table.size] = '/';
    const struct weir_pattern both[WEIR_SQLITE_ROUTES] = {
        {.text = {rows, table.size + 1}, .is_prefix = true}, {.text = table}};
    weir_status status = WEIR_OK;
    for (size_t i = 0; status == WEIR_OK && i < WEIR_SQLITE_ROUTES; i++) {
        status = weir_routes_add(watcher->routes, &both[i], watch, &watch->routes[i], err);
    }
    free(rows);
    return status;
}

static void remove_routes(struct weir_sqlite_watcher *watcher, struct weir_sqlite_watch *watch) {
    for (size_t i = 0; i < WEIR_SQLITE_ROUTES; i++) {
        weir_routes_remove(watcher->routes, &watch->routes[i]);
    }
}

// ---- selectors

// The text under which a pattern's tables are counted. A key-value resource has one table.
static size_t selector_text(const struct weir_sqlite_watcher *watcher,
                            const struct weir_pattern *pattern,
                            char buffer[static WEIR_KEY_BYTES_MAX + 1]) {
    bool is_whole = true;
    struct weir_str table = {0};
    if (!watcher->reader.shapes.is_kv) {
        table = weir_sqlite_pattern_table(pattern, &is_whole);
    }
    buffer[0] = is_whole ? '=' : '^';
    if (table.size > 0) {
        memcpy(buffer + 1, table.data, table.size);
    }
    return table.size + 1;
}

static weir_status add_selector(struct weir_sqlite_watcher *watcher,
                                struct weir_sqlite_watch *watch, struct weir_error *err) {
    char text[WEIR_KEY_BYTES_MAX + 1];
    size_t size = selector_text(watcher, &watch->hub.pattern, text);
    struct weir_sqlite_selector *selector;
    HASH_FIND(hh, watcher->selectors, text, size, selector);
    if (!selector) {
        selector = calloc(1, sizeof *selector + size);
        if (!selector) {
            return weir_fail_no_memory(err, "a watch");
        }
        selector->size = size;
        selector->swept_version = selector->checked_version = -1;
        memcpy(selector->text, text, size);
        HASH_ADD(hh, watcher->selectors, text, size, selector);
        if (!selector->hh.tbl) {
            free(selector);
            return weir_fail_no_memory(err, "a watch");
        }
    }
    selector->uses++;
    watch->selector = selector;
    return WEIR_OK;
}

static void remove_selector(struct weir_sqlite_watcher *watcher, struct weir_sqlite_watch *watch) {
    struct weir_sqlite_selector *selector = watch->selector;
    watch->selector = NULL;
    if (selector && --selector->uses == 0) {
        HASH_DEL(watcher->selectors, selector);
        free(selector);
    }
}

void weir_sqlite_note_swept(struct weir_sqlite_watcher *watcher) {
    struct weir_sqlite_selector *selector;
    for (selector = watcher->selectors; selector; selector = selector->hh.next) {
        selector->swept_version = watcher->schema_version;
    }
    watcher->has_unswept = false;
}

bool weir_sqlite_is_wanted(void *context, struct weir_str table) {
    const struct weir_sqlite_watcher *watcher = context;
    const struct weir_sqlite_selector *selector;
    for (selector = watcher->selectors; selector; selector = selector->hh.next) {
        struct weir_str text = {selector->text + 1, selector->size - 1};
        if (selects(text, selector->text[0] == '=', table)) {
            return true;
        }
    }
    return false;
}

// ---- both

weir_status weir_sqlite_enlist(struct weir_sqlite_watcher *watcher, struct weir_sqlite_watch *watch,
                               struct weir_error *err) {
    weir_status status = add_routes(watcher, watch, err);
    return status == WEIR_OK ? add_selector(watcher, watch, err) : status;
}

void weir_sqlite_delist(struct weir_sqlite_watcher *watcher, struct weir_sqlite_watch *watch) {
    remove_selector(watcher, watch);
    remove_routes(watcher, watch);
}
