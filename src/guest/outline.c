// SPDX-License-Identifier: Apache-2.0
//
// See outline.h. Goes through the component's own sections once, in their order, and counts what
// each defines; of types, functions and instances it notes what may be wanted when an export names
// one by its number. Modules and components within are passed over.
#include "guest/outline.h"

#include "guest/reader.h"

#include <stdlib.h>

// How a sort of things is told, and a core sort behind SORT_CORE.
enum {
    SORT_CORE = 0,
    SORT_FUNCTION = 1,
    SORT_VALUE = 2,
    SORT_TYPE = 3,
    SORT_COMPONENT = 4,
    SORT_INSTANCE = 5,
};
enum { CORE_FUNCTION = 0x00, CORE_MEMORY = 0x02, CORE_MODULE = 0x11, CORE_INSTANCE = 0x12 };

enum { NAME_PLAIN = 0, NAME_OF_INTERFACE = 1 };
enum { TYPE_EQUAL = 0, TYPE_RESOURCE = 1 };
enum { ALIAS_EXPORT = 0, ALIAS_CORE_EXPORT = 1, ALIAS_OUTER = 2 };
enum { INSTANTIATE = 0, INLINE_EXPORTS = 1 };

enum {
    TYPE_FUNCTION = 0x40,
    TYPE_OWN = 0x69,
    TYPE_BORROW = 0x68,
    TYPE_RESULT = 0x6A,
    TYPE_OPTION = 0x6B,
    TYPE_ENUM = 0x6D,
    TYPE_FLAGS = 0x6E,
    TYPE_TUPLE = 0x6F,
    TYPE_LIST = 0x70,
    TYPE_VARIANT = 0x71,
    TYPE_RECORD = 0x72,
    TYPE_STRING = 0x73,
    TYPE_PRIMITIVE_LAST = 0x7F,
};

enum { CANON_LIFT = 0, CANON_LOWER = 1, CANON_RESOURCE_NEW = 2, CANON_RESOURCE_REP = 4 };
enum {
    OPTION_UTF8,
    OPTION_UTF16,
    OPTION_LATIN1_OR_UTF16,
    OPTION_MEMORY,
    OPTION_REALLOC,
    OPTION_POST,
    OPTION_ASYNC,
    OPTION_CALLBACK,
};

struct type {
    struct weir_reader definition; // at its first byte; empty where it is not looked into
    bool is_event;                 // goes by the name `event`
};

// A function is worth noting if it is lifted here.
struct function {
    bool is_lifted;
    bool is_plain; // with UTF-8, a memory and a realloc, and nothing else but a post-return
    bool has_post;
    uint32_t core_function, memory, realloc, post, type;
};

struct instance {
    struct weir_reader functions; // at the count of what it is made with, or exports
};

struct walk {
    struct weir_outline *outline;
    struct weir_str reserved;
    struct type *types;
    struct function *functions;
    struct instance *instances;
    uint32_t instance_count;
    weir_status status;
    struct weir_error *err;
};

static void give_up(struct walk *walk, const char *why) {
    if (walk->status == WEIR_OK) {
        walk->status = weir_fail(walk->err, WEIR_UNSUPPORTED, "%s", why);
    }
}

static void give_up_unknown(struct walk *walk) {
    give_up(walk, "it has definitions of a kind that weir does not know");
}

// Room for one more entry, all zero; NULL where the walk is over.
static void *add(struct walk *walk, void **entries, uint32_t *count, size_t size) {
    if (walk->status != WEIR_OK) {
        return NULL;
    }
    if (*count == WEIR_OUTLINE_ENTRIES_MAX) {
        give_up(walk, "it has too many definitions");
        return NULL;
    }
    if ((*count & (*count - 1)) == 0) { // full: its room is the next power of two
        void *grown = realloc(*entries, (*count > 0 ? 2 * (size_t)*count : 1) * size);
        if (!grown) {
            walk->status = weir_fail_no_memory(walk->err, "a component's outline");
            return NULL;
        }
        *entries = grown;
    }
    void *entry = (char *)*entries + (size_t)*count * size;
    memset(entry, 0, size);
    ++*count;
    return entry;
}

static void add_type(struct walk *walk, struct type type) {
    struct type *entry =
        add(walk, (void **)&walk->types, &walk->outline->types, sizeof *walk->types);
    if (entry) {
        *entry = type;
    }
}

static void add_function(struct walk *walk, struct function function) {
    struct function *entry =
        add(walk, (void **)&walk->functions, &walk->outline->functions, sizeof *walk->functions);
    if (entry) {
        *entry = function;
    }
}

static void add_instance(struct walk *walk, struct instance instance) {
    struct instance *entry =
        add(walk, (void **)&walk->instances, &walk->instance_count, sizeof *walk->instances);
    if (entry) {
        *entry = instance;
    }
}

static void count_core(struct walk *walk, uint32_t *count) {
    if (*count == WEIR_OUTLINE_ENTRIES_MAX) {
        give_up(walk, "it has too many definitions");
    } else {
        ++*count;
    }
}

static struct type type_numbered(const struct walk *walk, uint32_t number) {
    return number < walk->outline->types ? walk->types[number] : (struct type){0};
}

static struct function function_numbered(const struct walk *walk, uint32_t number) {
    return number < walk->outline->functions ? walk->functions[number] : (struct function){0};
}

static struct instance instance_numbered(const struct walk *walk, uint32_t number) {
    return number < walk->instance_count ? walk->instances[number] : (struct instance){0};
}

// ---- parts

struct sort {
    unsigned sort, core; // `core` with SORT_CORE
};

static struct sort read_sort(struct weir_reader *reader) {
    struct sort sort = {.sort = weir_read_byte(reader)};
    if (sort.sort == SORT_CORE) {
        sort.core = weir_read_byte(reader);
    }
    return sort;
}

// One more thing of that sort, of which nothing is known.
static void add_unknown(struct walk *walk, struct sort sort) {
    switch (sort.sort) {
    case SORT_CORE:
        if (sort.core == CORE_FUNCTION) {
            count_core(walk, &walk->outline->core_functions);
        } else if (sort.core == CORE_MEMORY) {
            count_core(walk, &walk->outline->core_memories);
        } else if (sort.core == CORE_MODULE) {
            count_core(walk, &walk->outline->core_modules);
        } else if (sort.core == CORE_INSTANCE) {
            count_core(walk, &walk->outline->core_instances);
        }
        break;
    case SORT_FUNCTION:
        add_function(walk, (struct function){0});
        break;
    case SORT_TYPE:
        add_type(walk, (struct type){0});
        break;
    case SORT_COMPONENT:
        break;
    case SORT_INSTANCE:
        add_instance(walk, (struct instance){0});
        break;
    default:
        give_up_unknown(walk);
    }
}

// The name of an import or an export.
static struct weir_str read_name(struct walk *walk, struct weir_reader *reader) {
    if (weir_read_byte(reader) > NAME_OF_INTERFACE) {
        give_up_unknown(walk);
    }
    return weir_read_text(reader);
}

// What an import is, or an export is said to be: its sort, and of a type the one that it equals.
static struct sort read_what(struct walk *walk, struct weir_reader *reader, struct type *ret_type) {
    struct sort sort = read_sort(reader);
    *ret_type = (struct type){0};
    if (sort.sort == SORT_TYPE) {
        unsigned bound = weir_read_byte(reader);
        if (bound == TYPE_EQUAL) {
            *ret_type = type_numbered(walk, weir_read_u32(reader));
        } else if (bound != TYPE_RESOURCE) {
            give_up_unknown(walk);
        }
    } else if (sort.sort == SORT_VALUE) {
        give_up_unknown(walk);
    } else {
        weir_read_u32(reader); // its type
    }
    return sort;
}

static bool is_event_name(struct weir_str name) {
    return weir_str_equal(name, WEIR_STR("event"));
}

// ---- types

// A type where one is used: a primitive one, whose code is told, or the number of one, with code 0.
static unsigned read_use(struct weir_reader *reader, uint32_t *ret_number) {
    const unsigned char *start = reader->next;
    *ret_number = weir_read_u32(reader);
    // A number is written with its sign, and primitive types are the negative ones of one byte.
    bool is_primitive = reader->next - start == 1 && (*start & 0x40) != 0;
    return is_primitive ? *start : 0;
}

static void skip_use(struct weir_reader *reader) {
    uint32_t number;
    read_use(reader, &number);
}

static void skip_optional_use(struct weir_reader *reader) {
    if (weir_read_byte(reader) != 0) {
        skip_use(reader);
    }
}

// Passes over `count` fields, cases or names.
static void skip_fields(struct weir_reader *reader, unsigned code) {
    uint32_t count = weir_read_u32(reader);
    for (uint32_t i = 0; i < count && !reader->is_broken; i++) {
        if (code != TYPE_TUPLE) {
            weir_read_text(reader);
        }
        if (code == TYPE_VARIANT) {
            skip_optional_use(reader);
            weir_read_byte(reader);
        } else if (code != TYPE_ENUM && code != TYPE_FLAGS) {
            skip_use(reader);
        }
    }
}

static void skip_function(struct weir_reader *reader) {
    skip_fields(reader, TYPE_FUNCTION);
    if (weir_read_byte(reader) == 0) {
        skip_use(reader);
    } else {
        weir_read_byte(reader);
    }
}

// Passes over the definition of a type. False: of one whose end is not looked for.
static bool skip_type(struct weir_reader *reader) {
    unsigned code = weir_read_byte(reader);
    switch (code) {
    case TYPE_FUNCTION:
        skip_function(reader);
        return true;
    case TYPE_OWN:
    case TYPE_BORROW:
        weir_read_u32(reader);
        return true;
    case TYPE_RESULT:
        skip_optional_use(reader);
        skip_optional_use(reader);
        return true;
    case TYPE_OPTION:
    case TYPE_LIST:
        skip_use(reader);
        return true;
    case TYPE_ENUM:
    case TYPE_FLAGS:
    case TYPE_TUPLE:
    case TYPE_VARIANT:
    case TYPE_RECORD:
        skip_fields(reader, code);
        return true;
    default:
        return code >= TYPE_STRING && code <= TYPE_PRIMITIVE_LAST;
    }
}

// A list of types. One whose end is not looked for (an interface's) hides those behind it in the
// same section; what makes components gives each of them a section of its own.
static void read_types(struct walk *walk, struct weir_reader reader) {
    uint32_t count = weir_read_u32(&reader);
    bool is_lost = false;
    for (uint32_t i = 0; i < count && walk->status == WEIR_OK; i++) {
        struct type type = {.definition = reader};
        is_lost = is_lost || !skip_type(&reader) || reader.is_broken;
        add_type(walk, is_lost ? (struct type){0} : type);
    }
}

// A type as a result or a parameter that is defined here by a number.
static bool read_defined(const struct walk *walk, struct weir_reader *use, unsigned code,
                         struct weir_reader *ret_definition) {
    uint32_t number;
    if (read_use(use, &number) != 0) {
        return false;
    }
    *ret_definition = type_numbered(walk, number).definition;
    return weir_bytes_left(ret_definition) > 0 && weir_read_byte(ret_definition) == code;
}

static bool read_event(const struct walk *walk, struct weir_reader *use) {
    uint32_t number;
    return read_use(use, &number) == 0 && type_numbered(walk, number).is_event;
}

// func(ev: event) -> result<option<event>, string>, or with the number of a type for the error.
static bool is_handler(const struct walk *walk, uint32_t type, bool *ret_may_reject) {
    struct weir_reader function = type_numbered(walk, type).definition, result, option;
    if (weir_bytes_left(&function) == 0 || weir_read_byte(&function) != TYPE_FUNCTION ||
        weir_read_u32(&function) != 1) {
        return false;
    }
    weir_read_text(&function);
    if (!read_event(walk, &function) || weir_read_byte(&function) != 0 ||
        !read_defined(walk, &function, TYPE_RESULT, &result) || weir_read_byte(&result) != 1 ||
        !read_defined(walk, &result, TYPE_OPTION, &option) || !read_event(walk, &option) ||
        weir_read_byte(&result) != 1) {
        return false;
    }
    uint32_t number;
    unsigned code = read_use(&result, &number);
    *ret_may_reject = code == 0;
    return (code == 0 || code == TYPE_STRING) && !function.is_broken && !result.is_broken;
}

// ---- functions

static void read_options(struct weir_reader *reader, struct function *function) {
    uint32_t count = weir_read_u32(reader);
    bool has_memory = false, has_realloc = false, is_plain = true;
    for (uint32_t i = 0; i < count && !reader->is_broken; i++) {
        switch (weir_read_byte(reader)) {
        case OPTION_UTF8:
            break;
        case OPTION_MEMORY:
            has_memory = true;
            function->memory = weir_read_u32(reader);
            break;
        case OPTION_REALLOC:
            has_realloc = true;
            function->realloc = weir_read_u32(reader);
            break;
        case OPTION_POST:
            function->has_post = true;
            function->post = weir_read_u32(reader);
            break;
        case OPTION_UTF16:
        case OPTION_LATIN1_OR_UTF16:
        case OPTION_ASYNC:
            is_plain = false;
            break;
        case OPTION_CALLBACK:
            is_plain = false;
            weir_read_u32(reader);
            break;
        default:
            reader->is_broken = true; // whether it has an operand is not known
        }
    }
    function->is_plain = is_plain && has_memory && has_realloc;
}

static void read_lift(struct walk *walk, struct weir_reader *reader) {
    struct function function = {.is_lifted = true};
    weir_read_byte(reader);
    function.core_function = weir_read_u32(reader);
    read_options(reader, &function);
    function.type = weir_read_u32(reader);
    add_function(walk, function);
}

static void read_lower(struct walk *walk, struct weir_reader *reader) {
    struct function options = {0};
    weir_read_byte(reader);
    weir_read_u32(reader);
    read_options(reader, &options);
    count_core(walk, &walk->outline->core_functions);
}

static void read_canons(struct walk *walk, struct weir_reader reader) {
    uint32_t count = weir_read_u32(&reader);
    for (uint32_t i = 0; i < count && walk->status == WEIR_OK; i++) {
        unsigned code = weir_read_byte(&reader);
        if (code == CANON_LIFT) {
            read_lift(walk, &reader);
        } else if (code == CANON_LOWER) {
            read_lower(walk, &reader);
        } else if (code >= CANON_RESOURCE_NEW && code <= CANON_RESOURCE_REP) {
            weir_read_u32(&reader);
            count_core(walk, &walk->outline->core_functions);
        } else {
            give_up_unknown(walk);
        }
        if (reader.is_broken) {
            give_up_unknown(walk);
        }
    }
}

// ---- what is imported, aliased and put together

static void read_imports(struct walk *walk, struct weir_reader reader) {
    uint32_t count = weir_read_u32(&reader);
    for (uint32_t i = 0; i < count && walk->status == WEIR_OK; i++) {
        struct type type;
        struct weir_str name = read_name(walk, &reader);
        struct sort sort = read_what(walk, &reader, &type);
        if (sort.sort == SORT_TYPE) {
            type.is_event = type.is_event || is_event_name(name);
            add_type(walk, type);
        } else {
            add_unknown(walk, sort);
        }
        if (reader.is_broken) {
            give_up_unknown(walk);
        }
    }
}

static void read_alias(struct walk *walk, struct weir_reader *reader) {
    struct sort sort = read_sort(reader);
    unsigned kind = weir_read_byte(reader);
    struct weir_str name = {0};
    if (kind > ALIAS_OUTER) {
        give_up_unknown(walk);
    }
    weir_read_u32(reader); // the instance, or how far out
    if (kind == ALIAS_OUTER) {
        weir_read_u32(reader);
    } else {
        name = weir_read_text(reader);
    }
    if (sort.sort == SORT_TYPE) {
        add_type(walk, (struct type){.is_event = kind == ALIAS_EXPORT && is_event_name(name)});
    } else {
        add_unknown(walk, sort);
    }
}

static void read_aliases(struct walk *walk, struct weir_reader reader) {
    uint32_t count = weir_read_u32(&reader);
    for (uint32_t i = 0; i < count && walk->status == WEIR_OK; i++) {
        read_alias(walk, &reader);
        if (reader.is_broken) {
            give_up_unknown(walk);
        }
    }
}

// The next of the things that an instance is made with, or exports.
static struct weir_str read_item(struct walk *walk, struct weir_reader *reader, bool is_inline,
                                 struct sort *ret_sort, uint32_t *ret_number) {
    struct weir_str name = is_inline ? read_name(walk, reader) : weir_read_text(reader);
    *ret_sort = read_sort(reader);
    *ret_number = weir_read_u32(reader);
    return name;
}

// `functions` of an instance begins at this byte, so that its reader knows how names are written.
static bool read_is_inline(struct weir_reader *reader) {
    bool is_inline = weir_read_byte(reader) == INLINE_EXPORTS;
    if (!is_inline) {
        weir_read_u32(reader); // the component
    }
    return is_inline;
}

static void read_instances(struct walk *walk, struct weir_reader reader) {
    uint32_t count = weir_read_u32(&reader);
    for (uint32_t i = 0; i < count && walk->status == WEIR_OK; i++) {
        add_instance(walk, (struct instance){.functions = reader});
        bool is_inline = read_is_inline(&reader);
        uint32_t items = weir_read_u32(&reader);
        for (uint32_t item = 0; item < items && !reader.is_broken; item++) {
            struct sort sort;
            uint32_t number;
            read_item(walk, &reader, is_inline, &sort, &number);
        }
        if (reader.is_broken) {
            give_up_unknown(walk);
        }
    }
}

// ---- exports

static void add_handler(struct walk *walk, struct weir_str interface, struct weir_str name,
                        struct function function) {
    struct weir_outline *outline = walk->outline;
    bool may_reject, is_first = outline->handler_count == 0;
    bool is_alike =
        is_first || (function.memory == outline->memory && function.realloc == outline->realloc);
    if (!function.is_lifted || !function.is_plain || !is_alike ||
        outline->handler_count == WEIR_OUTLINE_HANDLERS_MAX ||
        !is_handler(walk, function.type, &may_reject)) {
        return;
    }
    outline->memory = function.memory;
    outline->realloc = function.realloc;
    outline->handlers[outline->handler_count++] = (struct weir_outline_handler){
        .interface = interface,
        .name = name,
        .may_reject = may_reject,
        .core_function = function.core_function,
        .post = function.post,
        .has_post = function.has_post,
    };
}

// The functions of an interface that is exported. What makes components instantiates a component
// that does nothing but give the interface's types their names, and calls what is to become the
// function NAME of the interface "import-func-NAME".
static void add_handlers_of(struct walk *walk, struct weir_str interface,
                            struct instance instance) {
    const struct weir_str prefix = WEIR_STR("import-func-");
    struct weir_reader reader = instance.functions;
    if (weir_bytes_left(&reader) == 0) {
        return;
    }
    bool is_inline = read_is_inline(&reader);
    uint32_t count = weir_read_u32(&reader);
    for (uint32_t i = 0; i < count && walk->status == WEIR_OK && !reader.is_broken; i++) {
        struct sort sort;
        uint32_t number;
        struct weir_str name = read_item(walk, &reader, is_inline, &sort, &number);
        if (!is_inline && weir_str_has_prefix(name, prefix)) {
            name.data += prefix.size;
            name.size -= prefix.size;
        }
        if (sort.sort == SORT_FUNCTION) {
            add_handler(walk, interface, name, function_numbered(walk, number));
        }
    }
}

static void read_export(struct walk *walk, struct weir_reader *reader) {
    struct weir_str name = read_name(walk, reader);
    struct sort sort = read_sort(reader);
    uint32_t number = weir_read_u32(reader);
    if (weir_read_byte(reader) != 0) {
        struct type type;
        read_what(walk, reader, &type);
    }
    if (weir_str_has_prefix(name, walk->reserved)) {
        give_up(walk, "it exports a name that weir keeps for itself");
    }
    if (reader->is_broken) {
        give_up_unknown(walk);
    } else if (sort.sort == SORT_FUNCTION) {
        struct function function = function_numbered(walk, number);
        add_handler(walk, (struct weir_str){0}, name, function);
        add_function(walk, function);
    } else if (sort.sort == SORT_INSTANCE) {
        struct instance instance = instance_numbered(walk, number);
        add_handlers_of(walk, name, instance);
        add_instance(walk, instance);
    } else if (sort.sort == SORT_TYPE) {
        struct type type = type_numbered(walk, number);
        type.is_event = type.is_event || is_event_name(name);
        add_type(walk, type);
    } else {
        add_unknown(walk, sort);
    }
}

static void read_exports(struct walk *walk, struct weir_reader reader) {
    uint32_t count = weir_read_u32(&reader);
    for (uint32_t i = 0; i < count && walk->status == WEIR_OK; i++) {
        read_export(walk, &reader);
    }
}

// ---- sections

static void read_core_instances(struct walk *walk, struct weir_reader reader) {
    uint32_t count = weir_read_u32(&reader);
    if (count > WEIR_OUTLINE_ENTRIES_MAX - walk->outline->core_instances) {
        give_up(walk, "it has too many definitions");
    } else {
        walk->outline->core_instances += count;
    }
}

static void read_part(struct walk *walk, unsigned section, struct weir_str content) {
    struct weir_reader reader = weir_reader_of(content);
    switch (section) {
    case WEIR_SECTION_CUSTOM:
    case WEIR_SECTION_CORE_TYPE:
    case WEIR_SECTION_COMPONENT:
        break;
    case WEIR_SECTION_CORE_MODULE:
        count_core(walk, &walk->outline->core_modules);
        break;
    case WEIR_SECTION_CORE_INSTANCE:
        read_core_instances(walk, reader);
        break;
    case WEIR_SECTION_INSTANCE:
        read_instances(walk, reader);
        break;
    case WEIR_SECTION_ALIAS:
        read_aliases(walk, reader);
        break;
    case WEIR_SECTION_TYPE:
        read_types(walk, reader);
        break;
    case WEIR_SECTION_CANON:
        read_canons(walk, reader);
        break;
    case WEIR_SECTION_IMPORT:
        read_imports(walk, reader);
        break;
    case WEIR_SECTION_EXPORT:
        read_exports(walk, reader);
        break;
    default:
        give_up_unknown(walk);
    }
}

weir_status weir_outline_read(struct weir_str component, struct weir_str reserved,
                              struct weir_outline *ret_outline, struct weir_error *err) {
    struct walk walk = {.outline = ret_outline, .reserved = reserved, .err = err};
    struct weir_reader sections = weir_sections_of(component);
    unsigned section;
    struct weir_str content;
    *ret_outline = (struct weir_outline){0};
    while (walk.status == WEIR_OK && weir_read_section(&sections, &section, &content)) {
        read_part(&walk, section, content);
    }
    if (sections.is_broken) {
        give_up(&walk, "its sections do not fit its size");
    }
    if (ret_outline->handler_count == 0) {
        give_up(&walk, "no handler of it is made in the component itself");
    }
    free(walk.types);
    free(walk.functions);
    free(walk.instances);
    return walk.status;
}
