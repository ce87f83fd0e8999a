// SPDX-License-Identifier: Apache-2.0
//
// See relation.h. One allocation holds the names, the rest another one each.
#include "provider/postgres/relation.h"

#include <stdlib.h>
#include <string.h>

void weir_pg_relation_destroy(struct weir_pg_relation *relation) {
    if (!relation) {
        return;
    }
    for (size_t i = 0; relation->columns && i < relation->count; i++) {
        free((char *)(uintptr_t)relation->columns[i].data);
    }
    free(relation->columns);
    free(relation->types);
    free(relation->is_identity);
    free(relation);
}

static struct weir_pg_relation *allocate(size_t count) {
    struct weir_pg_relation *relation = calloc(1, sizeof *relation);
    if (!relation) {
        return NULL;
    }
    relation->store_key = relation->store_value = -1;
    relation->count = count;
    relation->columns = calloc(count + 1, sizeof *relation->columns);
    relation->types = calloc(count + 1, sizeof *relation->types);
    relation->is_identity = calloc(count + 1, sizeof *relation->is_identity);
    if (!relation->columns || !relation->types || !relation->is_identity) {
        weir_pg_relation_destroy(relation);
        return NULL;
    }
    return relation;
}

static bool put_column(struct weir_pg_relation *relation, size_t index,
                       const struct weir_pg_column *column) {
    char *name = weir_str_copy(column->name);
    relation->columns[index] = (struct weir_str){name, name ? column->name.size : 0};
    relation->types[index] = column->type;
    relation->is_identity[index] = column->is_identity;
    if (weir_str_equal(column->name, WEIR_STR("key"))) {
        relation->store_key = (int)index;
    } else if (weir_str_equal(column->name, WEIR_STR("value"))) {
        relation->store_value = (int)index;
    }
    return name != NULL;
}

static size_t count_identity(const struct weir_pg_relation_message *message) {
    size_t count = 0;
    for (size_t i = 0; i < message->count; i++) {
        count += message->columns[i].is_identity;
    }
    return count;
}

bool weir_pg_relation_knows_key(const struct weir_pg_relation_message *message) {
    return message->identity == 'd' && count_identity(message) <= 1;
}

weir_status weir_pg_relation_create(const struct weir_pg_relation_message *message,
                                    struct weir_pg_relation **ret_relation,
                                    struct weir_error *err) {
    struct weir_pg_relation *relation = allocate(message->count);
    *ret_relation = NULL;
    weir_status status = relation ? WEIR_OK : weir_fail_no_memory(err, "a table");
    if (status == WEIR_OK) {
        relation->id = message->id;
        status = weir_pg_table_of(message->schema, message->name, &relation->name, err);
    }
    for (size_t i = 0; status == WEIR_OK && i < message->count; i++) {
        if (!put_column(relation, i, &message->columns[i])) {
            status = weir_fail_no_memory(err, "a table");
        }
        if (weir_pg_relation_knows_key(message) && message->columns[i].is_identity) {
            relation->key[relation->key_count++] = i;
        }
    }
    if (status != WEIR_OK) {
        weir_pg_relation_destroy(relation);
        return status;
    }
    *ret_relation = relation;
    return WEIR_OK;
}

weir_status weir_pg_relation_of_result(const PGresult *result,
                                       const struct weir_pg_table_name *name,
                                       struct weir_pg_relation **ret_relation,
                                       struct weir_error *err) {
    struct weir_pg_relation *relation = allocate((size_t)PQnfields(result));
    *ret_relation = NULL;
    for (int i = 0; relation && i < PQnfields(result); i++) {
        struct weir_pg_column column = {.name = weir_str_of(PQfname(result, i)),
                                        .type = PQftype(result, i)};
        if (!put_column(relation, (size_t)i, &column)) {
            weir_pg_relation_destroy(relation);
            relation = NULL;
        }
    }
    if (!relation) {
        return weir_fail_no_memory(err, "a table");
    }
    relation->name = *name;
    *ret_relation = relation;
    return WEIR_OK;
}

void weir_pg_relation_set_key(struct weir_pg_relation *relation, const PGresult *names) {
    int count = PQntuples(names);
    relation->key_count = 0;
    for (int i = 0; i < count && i < WEIR_PG_KEY_COLUMNS_MAX; i++) {
        struct weir_str name = weir_str_of(PQgetvalue(names, i, 0));
        size_t at = 0;
        while (at < relation->count && !weir_str_equal(relation->columns[at], name)) {
            at++;
        }
        if (at == relation->count) { // the table was changed meanwhile
            relation->key_count = 0;
            return;
        }
        relation->key[relation->key_count++] = at;
    }
}
