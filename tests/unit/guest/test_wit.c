// SPDX-License-Identifier: Apache-2.0
//
// The tables of src/guest/ against wit/ itself: the files are read here, each type's name, order
// and layout are computed from them by the canonical ABI's rules (CanonicalABI.md: "Alignment",
// "Element Size"), and the tables must say the same. So neither a table nor the WIT can change
// without the other.
#include "guest/wit.h"

#include "guest/handlers.h"
#include "guest/imports.h"
#include "unit/test.h"

enum {
    WIT_BYTES_MAX = 64 * 1024,
    TOKENS_MAX = 2048,
    TOKEN_BYTES_MAX = 64,
    TYPES_MAX = 1024,
    MEMBERS_MAX = 32,
    FUNCTIONS_MAX = 64,
    NAMED_MAX = 64,
};

static const char *const wit_files[] = {
    "reactive.wit",
    "deps/wasi-config/config.wit",
    "deps/wasi-keyvalue/keyvalue.wit",
    "deps/wasi-logging/logging.wit",
    "deps/wasi-messaging/messaging.wit",
    "deps/weir-http/http.wit",
    "deps/weir-sql/sql.wit",
};

// ---- the files, as far as they go: no flags

enum wit_kind {
    PRIMITIVE,
    NAMED,
    TUPLE,
    LIST,
    OPTION,
    RESULT,
    RECORD,
    VARIANT,
    ENUM,
    RESOURCE,
    BORROWED,
    NOTHING,
};

struct wit_type {
    enum wit_kind kind;
    size_t file;                // whose names it means
    char name[TOKEN_BYTES_MAX]; // PRIMITIVE, NAMED, and of a definition
    size_t member_count;
    char member_names[MEMBERS_MAX][TOKEN_BYTES_MAX];
    struct wit_type *members[MEMBERS_MAX]; // arguments, fields, or what cases carry
};

struct wit_function {
    char interface[TOKEN_BYTES_MAX]; // as the ABI names it: "weir:reactive/events@0.1.0"; "": the
                                     // world
    char name[TOKEN_BYTES_MAX];      // "[method]events.listen"
    bool is_method;
    size_t param_count;
    char param_names[MEMBERS_MAX][TOKEN_BYTES_MAX];
    struct wit_type *params[MEMBERS_MAX]; // without self
    struct wit_type *result;
};

// Static, since cmocka's tests share it.
static struct {
    size_t file; // that is being read
    char tokens[TOKENS_MAX][TOKEN_BYTES_MAX];
    size_t token_count, next;
    char package[TOKEN_BYTES_MAX], version[TOKEN_BYTES_MAX];
    struct wit_type types[TYPES_MAX];
    size_t type_count;
    struct {
        char name[TOKEN_BYTES_MAX];
        struct wit_type *type;
    } named[NAMED_MAX];
    size_t named_count;
    struct wit_function functions[FUNCTIONS_MAX];
    size_t function_count;
} wit;

static bool is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
}

static void split(const char *text) {
    while (*text) {
        if (strncmp(text, "//", 2) == 0) {
            text += strcspn(text, "\n");
        } else if (strchr(" \n", *text)) {
            text++;
        } else {
            size_t size = 1;
            if (strncmp(text, "->", 2) == 0) {
                size = 2;
            } else if (is_word(*text)) {
                size = 0;
                while (is_word(text[size]) && strncmp(text + size, "->", 2) != 0) {
                    size++;
                }
            }
            REQUIRE(wit.token_count < TOKENS_MAX && size < TOKEN_BYTES_MAX);
            memcpy(wit.tokens[wit.token_count++], text, size);
            text += size;
        }
    }
}

static const char *peek(void) {
    REQUIRE(wit.next < wit.token_count);
    return wit.tokens[wit.next];
}

static const char *take(void) {
    const char *token = peek();
    wit.next++;
    return token;
}

static bool take_if(const char *token) {
    bool is_it = strcmp(peek(), token) == 0;
    wit.next += is_it;
    return is_it;
}

static void expect(const char *token) {
    if (!take_if(token)) {
        fprintf(stderr, "%s: \"%s\" where \"%s\" is expected\n", wit_files[wit.file], peek(),
                token);
        abort();
    }
}

static void copy(char to[TOKEN_BYTES_MAX], const char *token) {
    snprintf(to, TOKEN_BYTES_MAX, "%s", token);
}

static struct wit_type *new_type(enum wit_kind kind, const char *name) {
    REQUIRE(wit.type_count < TYPES_MAX);
    struct wit_type *type = &wit.types[wit.type_count++];
    type->kind = kind;
    type->file = wit.file;
    copy(type->name, name);
    return type;
}

static void add_member(struct wit_type *type, const char *name, struct wit_type *member) {
    REQUIRE(type->member_count < MEMBERS_MAX);
    copy(type->member_names[type->member_count], name);
    type->members[type->member_count++] = member;
}

static const struct {
    const char *name;
    enum weir_wit_kind kind;
    uint32_t size, align;
} primitives[] = {
    {"bool", WEIR_WIT_BOOL, 1, 1}, {"u8", WEIR_WIT_U8, 1, 1},         {"u16", WEIR_WIT_U16, 2, 2},
    {"u32", WEIR_WIT_U32, 4, 4},   {"u64", WEIR_WIT_U64, 8, 8},       {"s64", WEIR_WIT_S64, 8, 8},
    {"f64", WEIR_WIT_F64, 8, 8},   {"string", WEIR_WIT_STRING, 8, 4},
};

// Its number, from 1; 0: there is none.
static size_t primitive_named(const char *name) {
    for (size_t i = 0; i < COUNT_OF(primitives); i++) {
        if (strcmp(primitives[i].name, name) == 0) {
            return i + 1;
        }
    }
    return 0;
}

static struct wit_type *parse_type(void) {
    static const struct {
        const char *name;
        enum wit_kind kind;
    } generics[] = {{"tuple", TUPLE},
                    {"list", LIST},
                    {"option", OPTION},
                    {"result", RESULT},
                    {"borrow", BORROWED}};
    const char *name = take();
    if (strcmp(name, "_") == 0) {
        return new_type(NOTHING, "_");
    }
    for (size_t i = 0; i < COUNT_OF(generics); i++) {
        if (strcmp(name, generics[i].name) == 0) {
            struct wit_type *type = new_type(generics[i].kind, name);
            expect("<");
            do {
                add_member(type, "", parse_type());
            } while (take_if(","));
            expect(">");
            return type;
        }
    }
    return new_type(primitive_named(name) ? PRIMITIVE : NAMED, name);
}

static void parse_fields(struct wit_type *type) {
    expect("{");
    while (!take_if("}")) {
        char name[TOKEN_BYTES_MAX];
        copy(name, take());
        struct wit_type *member = NULL;
        if (take_if(":")) {
            member = parse_type();
        } else if (take_if("(")) {
            member = parse_type();
            expect(")");
        }
        add_member(type, name, member);
        take_if(",");
    }
}

static void parse_function(const char *interface, const char *resource, const char *name) {
    REQUIRE(wit.function_count < FUNCTIONS_MAX);
    struct wit_function *function = &wit.functions[wit.function_count++];
    bool is_constructor = resource && !name;
    function->is_method = resource && !is_constructor && !take_if("static");
    if (is_constructor) {
        function->result = new_type(NAMED, resource);
        name = "";
    } else {
        expect("func");
    }
    int size = snprintf(function->name, sizeof function->name, "%s%s%s%s",
                        !resource             ? ""
                        : is_constructor      ? "[constructor]"
                        : function->is_method ? "[method]"
                                              : "[static]",
                        resource ? resource : "", resource && !is_constructor ? "." : "", name);
    REQUIRE(size > 0 && (size_t)size < sizeof function->name);
    if (interface[0]) {
        size = snprintf(function->interface, sizeof function->interface, "%s/%s@%s", wit.package,
                        interface, wit.version);
        REQUIRE(size > 0 && (size_t)size < sizeof function->interface);
    }
    expect("(");
    while (!take_if(")")) {
        REQUIRE(function->param_count < MEMBERS_MAX);
        copy(function->param_names[function->param_count], take());
        expect(":");
        function->params[function->param_count++] = parse_type();
        take_if(",");
    }
    if (take_if("->")) {
        function->result = parse_type();
    }
    expect(";");
}

static void name_type(const char *name, struct wit_type *type) {
    REQUIRE(wit.named_count < NAMED_MAX);
    copy(wit.named[wit.named_count].name, name);
    wit.named[wit.named_count++].type = type;
}

static void parse_definition(enum wit_kind kind) {
    struct wit_type *type = new_type(kind, take());
    name_type(type->name, type);
    if (kind != RESOURCE) {
        parse_fields(type);
    }
}

static void parse_alias(void) {
    char name[TOKEN_BYTES_MAX];
    copy(name, take());
    expect("=");
    name_type(name, parse_type());
    expect(";");
}

static void parse_interface(void) {
    char interface[TOKEN_BYTES_MAX], resource[TOKEN_BYTES_MAX] = "";
    copy(interface, take());
    expect("{");
    while (resource[0] || !take_if("}")) {
        if (resource[0] && take_if("}")) {
            resource[0] = '\0';
        } else if (take_if("use")) {
            while (!take_if(";")) {
                take();
            }
        } else if (take_if("record")) {
            parse_definition(RECORD);
        } else if (take_if("variant")) {
            parse_definition(VARIANT);
        } else if (take_if("enum")) {
            parse_definition(ENUM);
        } else if (take_if("type")) {
            parse_alias();
        } else if (take_if("resource")) {
            copy(resource, peek());
            parse_definition(RESOURCE);
            expect("{");
        } else if (resource[0] && take_if("constructor")) {
            parse_function(interface, resource, NULL);
        } else {
            char name[TOKEN_BYTES_MAX];
            copy(name, take());
            expect(":");
            parse_function(interface, resource[0] ? resource : NULL, name);
        }
    }
}

static void parse_world(void) {
    take();
    expect("{");
    while (!take_if("}")) {
        const char *direction = take();
        REQUIRE(strcmp(direction, "import") == 0 || strcmp(direction, "export") == 0 ||
                strcmp(direction, "include") == 0);
        char name[TOKEN_BYTES_MAX];
        copy(name, take());
        if (take_if(":")) {
            parse_function("", NULL, name);
        } else {
            expect(";");
        }
    }
}

static int read_file(const char *name) {
    const char *folder = getenv("WEIR_SOURCE_DIR");
    char path[4096];
    static char text[WIT_BYTES_MAX];
    snprintf(path, sizeof path, "%s/wit/%s", folder ? folder : ".", name);
    FILE *file = fopen(path, "r");
    if (!file) {
        fprintf(stderr, "%s cannot be read; WEIR_SOURCE_DIR names the source tree\n", path);
        return 1;
    }
    size_t size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    REQUIRE(size > 0 && size < sizeof text - 1);
    text[size] = '\0';
    memset(wit.tokens, 0, sizeof wit.tokens);
    wit.token_count = wit.next = 0;
    split(text);
    expect("package");
    snprintf(wit.package, sizeof wit.package, "%s", take());
    expect(":");
    size_t used = strlen(wit.package);
    snprintf(wit.package + used, sizeof wit.package - used, ":%s", take());
    expect("@");
    copy(wit.version, take());
    expect(";");
    while (wit.next < wit.token_count) {
        if (take_if("interface")) {
            parse_interface();
        } else {
            expect("world");
            parse_world();
        }
    }
    return 0;
}

static int read_wit(void **state) {
    (void)state;
    int status = 0;
    for (wit.file = 0; status == 0 && wit.file < COUNT_OF(wit_files); wit.file++) {
        status = read_file(wit_files[wit.file]);
    }
    return status;
}

static const struct wit_type *resolve(const struct wit_type *type) {
    if (type->kind != NAMED) {
        return type;
    }
    for (size_t i = 0; i < wit.named_count; i++) {
        if (strcmp(wit.named[i].name, type->name) == 0 && wit.named[i].type->file == type->file) {
            return resolve(wit.named[i].type);
        }
    }
    fail_msg("%s defines no type \"%s\"", wit_files[type->file], type->name);
    return NULL;
}

static const struct wit_function *function_named(const char *interface, const char *name) {
    for (size_t i = 0; i < wit.function_count; i++) {
        if (strcmp(wit.functions[i].name, name) == 0 &&
            strcmp(wit.functions[i].interface, interface) == 0) {
            return &wit.functions[i];
        }
    }
    fail_msg("wit/ has no function %s in \"%s\"", name, interface);
    return NULL;
}

// ---- the canonical ABI's rules

struct layout {
    uint32_t size, align;
};

static uint32_t align_to(uint32_t offset, uint32_t align) {
    return (offset + align - 1) / align * align;
}

static struct layout layout_of(const struct wit_type *type);

// The largest alignment and size of what the cases carry; the discriminant is one byte up to 256
// cases.
static struct layout variant_layout(const struct wit_type *const *carried, size_t count,
                                    uint32_t *ret_payload_offset) {
    struct layout payload = {0, 1};
    for (size_t i = 0; i < count; i++) {
        if (carried[i]) {
            struct layout one = layout_of(carried[i]);
            payload.size = one.size > payload.size ? one.size : payload.size;
            payload.align = one.align > payload.align ? one.align : payload.align;
        }
    }
    *ret_payload_offset = align_to(1, payload.align);
    return (struct layout){align_to(*ret_payload_offset + payload.size, payload.align),
                           payload.align};
}

// A type as the cases of a variant, which options and results are; none for any other.
static size_t cases_of(const struct wit_type *type, const char *names[MEMBERS_MAX],
                       const struct wit_type *carried[MEMBERS_MAX]) {
    if (type->kind == OPTION) {
        names[0] = "none";
        names[1] = "some";
        carried[0] = NULL;
        carried[1] = type->members[0];
        return 2;
    }
    if (type->kind == RESULT) {
        static const char *const sides[] = {"ok", "err"};
        for (size_t i = 0; i < 2; i++) {
            bool is_given = i < type->member_count && type->members[i]->kind != NOTHING;
            names[i] = sides[i];
            carried[i] = is_given ? type->members[i] : NULL;
        }
        return 2;
    }
    for (size_t i = 0; type->kind == VARIANT && i < type->member_count; i++) {
        names[i] = type->member_names[i];
        carried[i] = type->members[i];
    }
    return type->kind == VARIANT ? type->member_count : 0;
}

static struct layout layout_of(const struct wit_type *named) {
    const struct wit_type *type = resolve(named), *carried[MEMBERS_MAX];
    const char *names[MEMBERS_MAX];
    switch (type->kind) {
    case PRIMITIVE: {
        size_t number = primitive_named(type->name) - 1;
        return (struct layout){primitives[number].size, primitives[number].align};
    }
    case LIST:
        return (struct layout){8, 4};
    case ENUM:
        return (struct layout){1, 1};
    case RESOURCE:
    case BORROWED:
        return (struct layout){4, 4};
    case RECORD:
    case TUPLE: {
        struct layout record = {0, 1};
        for (size_t i = 0; i < type->member_count; i++) {
            struct layout field = layout_of(type->members[i]);
            record.size = align_to(record.size, field.align) + field.size;
            record.align = field.align > record.align ? field.align : record.align;
        }
        record.size = align_to(record.size, record.align);
        return record;
    }
    case OPTION:
    case RESULT:
    case VARIANT: {
        uint32_t payload_offset;
        return variant_layout(carried, cases_of(type, names, carried), &payload_offset);
    }
    case NAMED:
    case NOTHING:
        break;
    }
    fail_msg("a type of kind %d has no layout", (int)type->kind);
    return (struct layout){0, 1};
}

// ---- the tables against them

static uint32_t host_align(const struct weir_wit_type *type) {
    uint32_t align = 1;
    switch (type->kind) {
    case WEIR_WIT_BOOL:
    case WEIR_WIT_U8:
    case WEIR_WIT_ENUM:
        return 1;
    case WEIR_WIT_U16:
        return _Alignof(uint16_t);
    case WEIR_WIT_U64:
    case WEIR_WIT_S64:
    case WEIR_WIT_F64:
        return _Alignof(uint64_t);
    case WEIR_WIT_U32:
    case WEIR_WIT_OWN:
    case WEIR_WIT_BORROW:
        return _Alignof(uint32_t);
    case WEIR_WIT_STRING:
    case WEIR_WIT_BYTES:
    case WEIR_WIT_LIST:
        return _Alignof(struct weir_str);
    case WEIR_WIT_RECORD:
    case WEIR_WIT_TUPLE:
    case WEIR_WIT_VARIANT:
    case WEIR_WIT_OPTION:
    case WEIR_WIT_RESULT:
        for (uint32_t i = 0; i < type->field_count; i++) {
            uint32_t one = type->fields[i].type ? host_align(type->fields[i].type) : 1;
            align = one > align ? one : align;
        }
    }
    return align;
}

static bool has_fields(const struct weir_wit_type *type) {
    return type->kind == WEIR_WIT_RECORD || type->kind == WEIR_WIT_TUPLE;
}

static bool has_cases(const struct weir_wit_type *type) {
    return type->kind == WEIR_WIT_VARIANT || type->kind == WEIR_WIT_OPTION ||
           type->kind == WEIR_WIT_RESULT;
}

// On the host: aligned, within the struct, behind a variant's case number, and, in a record, next
// to the others.
static void check_host(const struct weir_wit_type *type) {
    assert_int_equal(type->host_size % host_align(type), 0);
    for (uint32_t i = 0; i < type->field_count; i++) {
        const struct weir_wit_field *field = &type->fields[i];
        if (!field->type) {
            continue;
        }
        assert_int_equal(field->host_offset % host_align(field->type), 0);
        assert_true(field->host_offset + field->type->host_size <= type->host_size);
        if (has_cases(type)) {
            assert_true(field->host_offset >= 1);
        }
        for (uint32_t j = 0; has_fields(type) && j < i; j++) {
            const struct weir_wit_field *other = &type->fields[j];
            assert_true(other->host_offset + other->type->host_size <= field->host_offset);
        }
    }
}

static void check_type(const struct weir_wit_type *table, const struct wit_type *named);

static void check_fields(const struct weir_wit_type *table, const struct wit_type *type) {
    uint32_t offset = 0;
    assert_int_equal(table->kind, type->kind == TUPLE ? WEIR_WIT_TUPLE : WEIR_WIT_RECORD);
    assert_int_equal(table->field_count, type->member_count);
    for (uint32_t i = 0; i < table->field_count; i++) {
        const struct weir_wit_field *field = &table->fields[i];
        struct layout layout = layout_of(type->members[i]);
        offset = align_to(offset, layout.align);
        if (type->kind == RECORD) { // a tuple's have no names
            assert_string_equal(field->name, type->member_names[i]);
        }
        assert_int_equal(field->guest_offset, offset);
        check_type(field->type, type->members[i]);
        offset += layout.size;
    }
}

// Its kind is the one that an interface gives to the resource of that name.
static void check_resource(const struct weir_wit_type *table, const struct wit_type *type) {
    for (size_t i = 0; weir_import_interfaces[i]; i++) {
        for (size_t j = 0; j < weir_import_interfaces[i]->resource_count; j++) {
            const struct weir_import_resource *resource = &weir_import_interfaces[i]->resources[j];
            if (strcmp(resource->name, type->name) == 0) {
                assert_int_equal(table->resource, resource->kind);
                return;
            }
        }
    }
    fail_msg("no interface has the resource %s", type->name);
}

static void check_cases(const struct weir_wit_type *table, const struct wit_type *type) {
    const char *names[MEMBERS_MAX];
    const struct wit_type *carried[MEMBERS_MAX];
    size_t count = cases_of(type, names, carried);
    uint32_t payload_offset;
    variant_layout(carried, count, &payload_offset);
    assert_int_equal(table->kind, type->kind == OPTION   ? WEIR_WIT_OPTION
                                  : type->kind == RESULT ? WEIR_WIT_RESULT
                                                         : WEIR_WIT_VARIANT);
    assert_int_equal(table->field_count, count);
    assert_true(count <= 256); // a discriminant of one byte
    for (uint32_t i = 0; i < table->field_count; i++) {
        const struct weir_wit_field *one = &table->fields[i];
        assert_string_equal(one->name, names[i]);
        assert_int_equal(one->guest_offset, payload_offset);
        assert_int_equal(one->type != NULL, carried[i] != NULL);
        if (one->type) {
            check_type(one->type, carried[i]);
        }
    }
}

static void check_type(const struct weir_wit_type *table, const struct wit_type *named) {
    const struct wit_type *type = resolve(named);
    struct layout layout = layout_of(type);
    assert_int_equal(table->guest_size, layout.size);
    assert_int_equal(table->guest_align, layout.align);
    check_host(table);
    switch (type->kind) {
    case PRIMITIVE:
        assert_int_equal(table->kind, primitives[primitive_named(type->name) - 1].kind);
        break;
    case ENUM:
        assert_int_equal(table->kind, WEIR_WIT_ENUM);
        assert_int_equal(table->field_count, type->member_count);
        for (uint32_t i = 0; i < table->field_count; i++) {
            assert_string_equal(table->fields[i].name, type->member_names[i]);
        }
        break;
    case LIST: {
        const struct wit_type *element = resolve(type->members[0]);
        bool is_bytes = element->kind == PRIMITIVE && strcmp(element->name, "u8") == 0;
        assert_int_equal(table->kind, is_bytes ? WEIR_WIT_BYTES : WEIR_WIT_LIST);
        assert_true(is_bytes || table->items_max > 0);
        assert_non_null(table->element);
        check_type(table->element, element);
        break;
    }
    case RESOURCE:
    case BORROWED:
        assert_int_equal(table->kind, type->kind == BORROWED ? WEIR_WIT_BORROW : WEIR_WIT_OWN);
        check_resource(table, type->kind == BORROWED ? resolve(type->members[0]) : type);
        break;
    case RECORD:
    case TUPLE:
        check_fields(table, type);
        break;
    default:
        check_cases(table, type);
    }
}

// ---- the tests

static void what_a_guest_exports_is_as_the_wit_has_it(void **state) {
    (void)state;
    const struct wit_function *handle = function_named(WEIR_WIT_EVENT_HANDLER, "handle-event");
    assert_int_equal(handle->param_count, 1);
    check_type(&weir_wit_event, handle->params[0]);
    check_type(&weir_wit_handled, handle->result);
    const struct wit_function *or_reject =
        function_named(WEIR_WIT_EVENT_HANDLER_OR_REJECT, "handle-event-or-reject");
    assert_int_equal(or_reject->param_count, 1);
    check_type(&weir_wit_event, or_reject->params[0]);
    check_type(&weir_wit_handled_or_rejected, or_reject->result);
    // Both are lifted into one struct, and so is what they share.
    assert_int_equal(weir_wit_handled.host_size, weir_wit_handled_or_rejected.host_size);
    assert_int_equal(weir_wit_handled.fields[0].host_offset,
                     weir_wit_handled_or_rejected.fields[0].host_offset);
    const struct wit_function *run = function_named("", "run");
    assert_int_equal(run->param_count, 0);
    check_type(&weir_wit_ran, run->result);
    // More than the ABI passes as core values: the event goes by pointer, and so do the results.
    assert_true(weir_canon_flat_count(&weir_wit_event) > WEIR_WIT_FLAT_PARAMS_MAX);
}

static void check_params(const struct weir_wit_field *params, uint32_t count,
                         const struct wit_function *function) {
    uint32_t self = function->is_method ? 1 : 0;
    assert_int_equal(count, function->param_count + self);
    for (uint32_t param = 0; param < count; param++) {
        const struct weir_wit_field *row = &params[param];
        if (param < self) {
            assert_int_equal(row->type->kind, WEIR_WIT_BORROW);
            assert_int_equal(row->type->guest_size, 4);
        } else {
            assert_string_equal(row->name, function->param_names[param - self]);
            check_type(row->type, function->params[param - self]);
        }
    }
}

static void check_result(const struct weir_wit_type *result, const struct wit_function *function) {
    assert_int_equal(result != NULL, function->result != NULL);
    if (result) {
        check_type(result, function->result);
    }
}

// Calls for each function that weir gives.
static void each_import(void (*each)(const struct weir_wit_function *table)) {
    for (size_t i = 0; weir_import_interfaces[i]; i++) {
        const struct weir_import_interface *interface = weir_import_interfaces[i];
        for (size_t j = 0; j < interface->function_count; j++) {
            each(&interface->functions[j].wit);
        }
    }
}

static void check_import(const struct weir_wit_function *table) {
    const struct wit_function *function = function_named(table->interface, table->name);
    check_params(table->params, table->param_count, function);
    check_result(table->result, function);
}

static void every_import_is_as_the_wit_has_it(void **state) {
    (void)state;
    each_import(check_import);
}

static size_t imports_of(const char *interface) {
    size_t count = 0;
    for (size_t i = 0; weir_import_interfaces[i]; i++) {
        if (strcmp(weir_import_interfaces[i]->name, interface) == 0) {
            count += weir_import_interfaces[i]->function_count;
        }
    }
    return count;
}

static bool is_exported(const char *interface) {
    static const char *const exported[] = {WEIR_WIT_EVENT_HANDLER, WEIR_WIT_EVENT_HANDLER_OR_REJECT,
                                           "wasi:keyvalue/watcher@0.2.0-draft2",
                                           "wasi:messaging/incoming-handler@0.2.0-draft"};
    for (size_t i = 0; i < COUNT_OF(exported); i++) {
        if (strcmp(interface, exported[i]) == 0) {
            return true;
        }
    }
    return !interface[0]; // of a world
}

static void every_imported_function_of_the_wit_has_a_row(void **state) {
    (void)state;
    for (size_t i = 0; i < wit.function_count; i++) {
        const char *interface = wit.functions[i].interface;
        size_t count = 0;
        for (size_t j = 0; j < wit.function_count; j++) {
            count += strcmp(wit.functions[j].interface, interface) == 0;
        }
        assert_int_equal(imports_of(interface), is_exported(interface) ? 0 : count);
    }
}

static void handlers_of_standard_interfaces_are_as_the_wit_has_them(void **state) {
    (void)state;
    static const struct {
        enum weir_handler_kind kind;
        const char *interface, *name;
    } rows[] = {
        {WEIR_HANDLER_KIND_ON_SET, "wasi:keyvalue/watcher@0.2.0-draft2", "on-set"},
        {WEIR_HANDLER_KIND_ON_DELETE, "wasi:keyvalue/watcher@0.2.0-draft2", "on-delete"},
        {WEIR_HANDLER_KIND_MESSAGE, "wasi:messaging/incoming-handler@0.2.0-draft", "handle"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const struct weir_handler_type *type = &weir_handler_types[rows[i].kind];
        const struct wit_function *function = function_named(rows[i].interface, rows[i].name);
        char export[128];
        snprintf(export, sizeof export, "%s#%s", rows[i].interface, rows[i].name);
        assert_string_equal(type->export, export);
        check_params(type->params, type->param_count, function);
        check_result(type->result, function);
    }
}

static void the_statuses_are_the_cases_of_the_wits_error(void **state) {
    (void)state;
    const struct wit_type *error =
        resolve(&(struct wit_type){.kind = NAMED, .name = "error", .file = 0});
    assert_int_equal(error->member_count, WEIR_OTHER);
    for (size_t i = 0; i < error->member_count; i++) {
        assert_string_equal(weir_status_name((weir_status)(i + 1)), error->member_names[i]);
    }
}

// Whether the cases of every variant in it that carry something are passed as values of the same
// widths, place by place.
static bool is_flat(const struct weir_wit_type *type) {
    bool is_right = true;
    for (uint32_t i = 0; i < type->field_count; i++) {
        const struct weir_wit_type *one = type->fields[i].type;
        is_right = is_right && (!one || is_flat(one));
        for (uint32_t j = 0; has_cases(type) && one && j < weir_canon_flat_count(one); j++) {
            is_right =
                is_right && weir_canon_flat_is_64(one, j) == weir_canon_flat_is_64(type, j + 1);
        }
    }
    return is_right;
}

// What imports.c and canon.c rely on.
static void check_fit(const struct weir_wit_function *function) {
    uint32_t flat = 0, end = 0;
    for (uint32_t param = 0; param < function->param_count; param++) {
        const struct weir_wit_field *row = &function->params[param];
        assert_true(is_flat(row->type));
        assert_int_equal(row->host_offset % host_align(row->type), 0);
        assert_true(row->host_offset >= end);
        end = row->host_offset + row->type->host_size;
        flat += weir_canon_flat_count(row->type);
    }
    assert_true(end <= function->params_size);
    assert_true(flat <= WEIR_WIT_FLAT_PARAMS_MAX);
    assert_true(function->params_size <= WEIR_WIT_HOST_BYTES_MAX);
    if (function->result) {
        assert_true(function->result->host_size <= WEIR_WIT_HOST_BYTES_MAX);
        // A result that is no handle goes through a return pointer.
        assert_true(weir_canon_flat_count(function->result) > 1 ||
                    function->result->kind == WEIR_WIT_OWN);
    }
}

static void imports_fit_their_buffers_and_are_passed_as_core_values(void **state) {
    (void)state;
    each_import(check_fit);
}

// Lists are lifted into what has the shape of weir_attributes, and all of an event's fit the
// scratch space.
static void lists_have_the_shape_that_lifting_makes(void **state) {
    (void)state;
    const struct weir_wit_field *extensions =
        &weir_wit_event.fields[weir_wit_event.field_count - 1];
    assert_string_equal(extensions->name, "extensions");
    assert_int_equal(extensions->type->host_size, sizeof(struct weir_attributes));
    assert_int_equal(extensions->type->element->host_size, sizeof(struct weir_attribute));
    assert_int_equal(extensions->type->items_max, WEIR_EXTENSIONS_MAX);
    assert_true(WEIR_EXTENSIONS_MAX * sizeof(struct weir_attribute) <= WEIR_CANON_SCRATCH_BYTES);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_guest_exports_is_as_the_wit_has_it),
        cmocka_unit_test(every_import_is_as_the_wit_has_it),
        cmocka_unit_test(every_imported_function_of_the_wit_has_a_row),
        cmocka_unit_test(handlers_of_standard_interfaces_are_as_the_wit_has_them),
        cmocka_unit_test(the_statuses_are_the_cases_of_the_wits_error),
        cmocka_unit_test(imports_fit_their_buffers_and_are_passed_as_core_values),
        cmocka_unit_test(lists_have_the_shape_that_lifting_makes),
    };
    return cmocka_run_group_tests(tests, read_wit, NULL);
}
