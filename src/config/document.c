// SPDX-License-Identifier: Apache-2.0
//
// YAML to a tree; see document.h. libyaml's own tree (yaml_parser_load) knows neither a bound on
// nesting nor on nodes, so the tree is built here from libyaml's events, and each bound holds while
// the text is being read. libcyaml, which maps YAML straight to structs, stops at the first mistake
// and names no key path; weir tells all mistakes at once.
//
// What of YAML has no meaning in a configuration is refused, not ignored: tags, keys that are no
// plain texts, a second document. Anchors and aliases work. An alias shares its node, so the tree
// is small even where it unfolds to much; whoever walks it bounds the walk. A node is known by its
// anchor only after its end, so no node contains itself.
//
// Any thread; nothing is shared.
#include "config/document.h"

#include "base/show.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml.h>

enum {
    BLOCK_BYTES = 64 * 1024,
    // libyaml looks through all of them for each one, before any event: 4 MiB of them take it
    // minutes.
    TAG_DIRECTIVES_MAX = 16,
};

struct weir_block {
    struct weir_block *next;
    size_t used, size; // bytes of `bytes`
    _Alignas(max_align_t) char bytes[];
};

// A mapping or list that has begun.
struct frame {
    struct weir_node *node;
    struct weir_entry **end;             // where the next entry goes
    const struct weir_node *pending_key; // of a mapping, between a key and its value
    const char *anchor;                  // NULL: none
};

struct anchor {
    const char *name;
    const struct weir_node *node;
};

struct builder {
    struct weir_document *document;
    struct weir_problems *problems;
    struct weir_error *err;
    struct weir_str text;
    struct frame frames[WEIR_DOCUMENT_DEPTH_MAX];
    size_t depth;
    struct anchor anchors[WEIR_DOCUMENT_ANCHORS_MAX];
    size_t anchor_count;
    size_t node_count;
};

void *weir_document_allocate(struct weir_document *document, size_t size_bytes) {
    const size_t step = _Alignof(max_align_t);
    size_t size = (size_bytes + step - 1) / step * step;
    struct weir_block *block = document->blocks;
    if (!block || block->size - block->used < size) {
        size_t block_size = size > BLOCK_BYTES ? size : BLOCK_BYTES;
        block = malloc(sizeof *block + block_size);
        if (!block) {
            return NULL;
        }
        block->next = document->blocks;
        block->used = 0;
        block->size = block_size;
        document->blocks = block;
    }
    void *memory = block->bytes + block->used;
    block->used += size;
    return memory;
}

void weir_document_finish(struct weir_document *document) {
    while (document->blocks) {
        struct weir_block *next = document->blocks->next;
        free(document->blocks);
        document->blocks = next;
    }
    document->root = NULL;
}

static struct weir_place place_of(yaml_mark_t mark) {
    return (struct weir_place){.line = (uint32_t)mark.line + 1,
                               .column = (uint32_t)mark.column + 1};
}

static weir_status refuse(struct builder *builder, struct weir_place place, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static weir_status refuse(struct builder *builder, struct weir_place place, const char *format,
                          ...) {
    va_list args;
    va_start(args, format);
    weir_problems_add_v(builder->problems, place, "", format, args);
    va_end(args);
    return WEIR_INVALID;
}

static weir_status no_memory(struct builder *builder) {
    return weir_fail_no_memory(builder->err, "the configuration");
}

// The line of the text with that number, from 1, without its end.
static struct weir_str line_of(struct weir_str text, uint32_t number) {
    const char *at = text.data, *end = text.data + text.size;
    for (uint32_t line = 1; line < number && at; line++) {
        at = memchr(at, '\n', (size_t)(end - at));
        at = at ? at + 1 : NULL;
    }
    if (!at) {
        return (struct weir_str){0};
    }
    const char *line_end = memchr(at, '\n', (size_t)(end - at));
    return (struct weir_str){.data = at, .size = (size_t)((line_end ? line_end : end) - at)};
}

// The number of the line on which a place of the text is, from 1.
static uint32_t line_number(struct weir_str text, const char *place) {
    uint32_t number = 1;
    for (const char *at = text.data; at < place; at++) {
        number += *at == '\n' ? 1 : 0;
    }
    return number;
}

static bool is_indented_by_tab(struct weir_str line) {
    size_t at = 0;
    while (at < line.size && line.data[at] == ' ') {
        at++;
    }
    return at < line.size && line.data[at] == '\t';
}

// What the parser stumbled over, with what people most often did.
static weir_status refuse_syntax(struct builder *builder, const yaml_parser_t *parser) {
    if (parser->error == YAML_MEMORY_ERROR) {
        return no_memory(builder);
    }
    if (parser->error == YAML_READER_ERROR) {
        size_t offset = parser->problem_offset < builder->text.size ? parser->problem_offset
                                                                    : builder->text.size;
        struct weir_place place = {
            .line = line_number(builder->text, builder->text.data + offset),
        };
        return refuse(builder, place, "this is not UTF-8 text (%s)", parser->problem);
    }
    struct weir_place place = place_of(parser->problem_mark);
    struct weir_str line = line_of(builder->text, place.line);
    if (is_indented_by_tab(line)) {
        return refuse(builder, place, "the line is indented by a tab; YAML indents by spaces");
    }
    const char *hint = "";
    if (line.size > 0 && memmem(line.data, line.size, "${", 2)) {
        hint = "; within { } and [ ] write \"${NAME}\" in quotes";
    }
    if (parser->context) {
        return refuse(builder, place, "no valid YAML: %s, %s that began on line %u%s",
                      parser->problem, parser->context, place_of(parser->context_mark).line, hint);
    }
    return refuse(builder, place, "no valid YAML: %s%s", parser->problem, hint);
}

static struct weir_node *new_node(struct builder *builder, enum weir_node_kind kind,
                                  yaml_mark_t mark) {
    struct weir_node *node = weir_document_allocate(builder->document, sizeof *node);
    if (node) {
        *node = (struct weir_node){.kind = kind, .place = place_of(mark)};
    }
    return node;
}

static char *copy_text(struct builder *builder, const void *bytes, size_t size) {
    char *copy = weir_document_allocate(builder->document, size + 1);
    if (copy) {
        memcpy(copy, bytes, size);
        copy[size] = '\0';
    }
    return copy;
}

// Puts a finished node, or an alias to one, where it belongs.
static weir_status attach(struct builder *builder, const struct weir_node *node,
                          struct weir_place place) {
    if (builder->depth == 0) {
        builder->document->root = node;
        return WEIR_OK;
    }
    struct frame *frame = &builder->frames[builder->depth - 1];
    bool is_key = frame->node->kind == WEIR_NODE_MAPPING && !frame->pending_key;
    if (is_key && node->kind != WEIR_NODE_SCALAR) {
        return refuse(builder, place, "a key has to be a text, not a list or a mapping");
    }
    if (is_key) {
        frame->pending_key = node;
        return WEIR_OK;
    }
    struct weir_entry *entry = weir_document_allocate(builder->document, sizeof *entry);
    if (!entry) {
        return no_memory(builder);
    }
    *entry = (struct weir_entry){.key = frame->pending_key, .value = node};
    frame->pending_key = NULL;
    *frame->end = entry;
    frame->end = &entry->next;
    frame->node->count++;
    return WEIR_OK;
}

// Remembers a node under its anchor; a later one of that name takes its place, as YAML has it.
static weir_status remember(struct builder *builder, const char *name,
                            const struct weir_node *node) {
    if (!name) {
        return WEIR_OK;
    }
    for (size_t i = 0; i < builder->anchor_count; i++) {
        if (strcmp(builder->anchors[i].name, name) == 0) {
            builder->anchors[i].node = node;
            return WEIR_OK;
        }
    }
    if (builder->anchor_count == WEIR_DOCUMENT_ANCHORS_MAX) {
        return refuse(builder, node->place, "more than %d anchors", WEIR_DOCUMENT_ANCHORS_MAX);
    }
    builder->anchors[builder->anchor_count++] = (struct anchor){.name = name, .node = node};
    return WEIR_OK;
}

static weir_status on_alias(struct builder *builder, const yaml_event_t *event) {
    const char *name = (const char *)event->data.alias.anchor;
    for (size_t i = 0; i < builder->anchor_count; i++) {
        if (strcmp(builder->anchors[i].name, name) == 0) {
            return attach(builder, builder->anchors[i].node, place_of(event->start_mark));
        }
    }
    char shown[WEIR_SHOW_BYTES];
    return refuse(builder, place_of(event->start_mark),
                  "no anchor &%s ends before this alias; define it further up",
                  weir_show(weir_str_of(name), shown, sizeof shown));
}

static weir_status refuse_tag(struct builder *builder, const yaml_event_t *event,
                              const yaml_char_t *tag) {
    struct weir_str text = weir_str_of((const char *)tag);
    const struct weir_str standard = WEIR_STR("tag:yaml.org,2002:"); // what "!!" stands for
    bool is_standard = weir_str_has_prefix(text, standard);
    if (is_standard) {
        text.data += standard.size;
        text.size -= standard.size;
    }
    char shown[WEIR_SHOW_BYTES];
    return refuse(builder, place_of(event->start_mark),
                  "the tag %s%s has no meaning here; leave it out", is_standard ? "!!" : "",
                  weir_show(text, shown, sizeof shown));
}

static weir_status copy_anchor(struct builder *builder, const yaml_char_t *anchor,
                               const char **ret_copy) {
    *ret_copy = NULL;
    if (anchor) {
        *ret_copy = copy_text(builder, anchor, strlen((const char *)anchor));
    }
    return anchor && !*ret_copy ? no_memory(builder) : WEIR_OK;
}

static weir_status on_scalar(struct builder *builder, const yaml_event_t *event) {
    if (event->data.scalar.tag) {
        return refuse_tag(builder, event, event->data.scalar.tag);
    }
    struct weir_node *node = new_node(builder, WEIR_NODE_SCALAR, event->start_mark);
    const char *text = copy_text(builder, event->data.scalar.value, event->data.scalar.length);
    if (!node || !text) {
        return no_memory(builder);
    }
    node->text = (struct weir_str){.data = text, .size = event->data.scalar.length};
    node->is_plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    node->is_nothing = node->text.size == 0 && node->is_plain;
    const char *anchor = NULL;
    weir_status status = copy_anchor(builder, event->data.scalar.anchor, &anchor);
    if (status == WEIR_OK) {
        status = remember(builder, anchor, node);
    }
    return status == WEIR_OK ? attach(builder, node, node->place) : status;
}

static weir_status on_start(struct builder *builder, const yaml_event_t *event) {
    bool is_list = event->type == YAML_SEQUENCE_START_EVENT;
    const yaml_char_t *tag =
        is_list ? event->data.sequence_start.tag : event->data.mapping_start.tag;
    const yaml_char_t *anchor =
        is_list ? event->data.sequence_start.anchor : event->data.mapping_start.anchor;
    if (tag) {
        return refuse_tag(builder, event, tag);
    }
    if (builder->depth == WEIR_DOCUMENT_DEPTH_MAX) {
        return refuse(builder, place_of(event->start_mark), "more than %d levels deep",
                      WEIR_DOCUMENT_DEPTH_MAX);
    }
    struct weir_node *node =
        new_node(builder, is_list ? WEIR_NODE_LIST : WEIR_NODE_MAPPING, event->start_mark);
    if (!node) {
        return no_memory(builder);
    }
    struct frame *frame = &builder->frames[builder->depth++];
    *frame = (struct frame){.node = node, .end = &node->first};
    return copy_anchor(builder, anchor, &frame->anchor);
}

static weir_status on_end(struct builder *builder) {
    struct frame *frame = &builder->frames[--builder->depth];
    weir_status status = remember(builder, frame->anchor, frame->node);
    return status == WEIR_OK ? attach(builder, frame->node, frame->node->place) : status;
}

static weir_status on_event(struct builder *builder, const yaml_event_t *event) {
    switch (event->type) {
    case YAML_ALIAS_EVENT:
    case YAML_SCALAR_EVENT:
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT:
        if (builder->node_count++ == WEIR_DOCUMENT_NODES_MAX) {
            return refuse(builder, place_of(event->start_mark), "more than %d values and keys",
                          WEIR_DOCUMENT_NODES_MAX);
        }
        return event->type == YAML_ALIAS_EVENT    ? on_alias(builder, event)
               : event->type == YAML_SCALAR_EVENT ? on_scalar(builder, event)
                                                  : on_start(builder, event);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        return on_end(builder);
    case YAML_DOCUMENT_START_EVENT:
        if (builder->document->root) {
            return refuse(builder, place_of(event->start_mark),
                          "a second document begins here; a configuration is one document");
        }
        return WEIR_OK;
    default:
        return WEIR_OK;
    }
}

// Tags are refused anyway; a text with so many of their directives is not given to libyaml at all.
static weir_status check_directives(struct builder *builder) {
    static const char directive[] = "%TAG";
    const char *at = builder->text.data, *end = at + builder->text.size;
    for (int count = 0; (at = memmem(at, (size_t)(end - at), directive, sizeof directive - 1));) {
        at += sizeof directive - 1;
        if (++count > TAG_DIRECTIVES_MAX) {
            return refuse(builder, (struct weir_place){.line = line_number(builder->text, at)},
                          "more than %d %%TAG directives, which have no meaning here",
                          TAG_DIRECTIVES_MAX);
        }
    }
    return WEIR_OK;
}

static weir_status build(struct builder *builder) {
    weir_status checked = check_directives(builder);
    if (checked != WEIR_OK) {
        return checked;
    }
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) {
        return no_memory(builder);
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)builder->text.data,
                                 builder->text.size);
    // By itself it would guess UTF-16 too, which nothing else here could read.
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    weir_status status = WEIR_OK;
    bool is_done = false;
    while (status == WEIR_OK && !is_done) { // the events are bounded by the text
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            status = refuse_syntax(builder, &parser);
            break;
        }
        is_done = event.type == YAML_STREAM_END_EVENT;
        status = on_event(builder, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return status;
}

weir_status weir_document_parse(struct weir_str text, struct weir_document *ret_document,
                                struct weir_problems *problems, struct weir_error *err) {
    *ret_document = (struct weir_document){0};
    struct builder *builder = calloc(1, sizeof *builder);
    if (!builder) {
        return weir_fail_no_memory(err, "the configuration");
    }
    builder->document = ret_document;
    builder->problems = problems;
    builder->err = err;
    builder->text = text.size > 0 ? text : WEIR_STR("");
    weir_status status = build(builder);
    free(builder);
    return status;
}

// ---- files ----

static weir_status read_bytes(int fd, const char *path, char *buffer, size_t size, size_t *ret_size,
                              struct weir_error *err) {
    size_t filled = 0;
    while (filled < size) {
        ssize_t more = read(fd, buffer + filled, size - filled);
        if (more < 0 && errno != EINTR) {
            return weir_fail_errno(err, errno, "cannot read %s", path);
        }
        if (more == 0) {
            break;
        }
        filled += more > 0 ? (size_t)more : 0;
    }
    *ret_size = filled;
    return WEIR_OK;
}

// Only a regular file is read: a pipe could keep the reader waiting for ever.
weir_status weir_document_read(const char *path, char **ret_text, size_t *ret_size,
                               struct weir_error *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        return weir_fail_errno(err, errno, "cannot open %s", path);
    }
    weir_status status;
    struct stat about;
    char *text = NULL;
    if (fstat(fd, &about) != 0) {
        status = weir_fail_errno(err, errno, "cannot look at %s", path);
    } else if (!S_ISREG(about.st_mode)) {
        status = weir_fail(err, WEIR_INVALID, "%s is not a regular file", path);
    } else if (about.st_size > WEIR_CONFIG_FILE_BYTES_MAX) {
        status = weir_fail(err, WEIR_LIMIT, "%s has %lld bytes; at most %d are read", path,
                           (long long)about.st_size, WEIR_CONFIG_FILE_BYTES_MAX);
    } else if (!(text = malloc((size_t)about.st_size + 1))) {
        status = weir_fail_no_memory(err, path);
    } else {
        status = read_bytes(fd, path, text, (size_t)about.st_size, ret_size, err);
    }
    close(fd);
    if (status != WEIR_OK) {
        free(text);
        return status;
    }
    *ret_text = text;
    return WEIR_OK;
}
