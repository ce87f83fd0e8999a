// SPDX-License-Identifier: Apache-2.0
//
// Answers with a derived event that is right, but for what the event's body says is to be wrong
// with it. The body is a list of words with a space between:
//
//     +OFFSET=NUMBER   the 32-bit word at that offset of the result, see below
//     FIELD=HEX        the bytes of a text: id, ty, source, specversion, data, datacontenttype,
//                      dataschema, subject, time; name and value of the one extension
//     err=HEX          the answer is err with that text
//     return=NUMBER    the pointer to the result
//     end=NUMBER       the same, so many bytes before the end of the memory
//     edge=NUMBER      moves the result so that it ends so many bytes before the end of the memory
//
// So "+12=4294967295" gives specversion a length of 4 GiB, and "ty=" is a type that is empty. An
// empty body, and "edge=0", are all right.
//
// Proves: the host looks at every pointer, length, discriminant and text that a guest hands over,
// and takes nothing that is outside of the guest's memory or no valid CloudEvent.
//
// The offsets, from the canonical ABI; a text is its pointer and then its length:
//
//       0 is_err                     44 kind                 80 subject: is_some, 84 text
//       4 is_some, or the err text   48 data                 92 time: is_some, 96 text
//       8 specversion                56 datacontenttype:     104 extensions, 108 how many
//      16 ty                            is_some, 60 text
//      24 source, 32 id              68 dataschema: is_some,
//      40 data: is_some                 72 text
#define WEIR_NO_STDIO
#include <weir.h>

static struct weir_attribute extension;

static char *text_of(const char *hex, size_t size, size_t *ret_size) {
    char *bytes = (char *)weir_alloc(size / 2 + 1);
    for (size_t i = 0; i + 1 < size; i += 2) {
        char pair[3] = {hex[i], hex[i + 1], 0};
        bytes[i / 2] = (char)strtoul(pair, NULL, 16);
    }
    *ret_size = size / 2;
    return bytes;
}

static struct weir_str *field_of(struct weir_result *result, const char *name) {
    struct weir_event *event = &result->ok.event;
    const struct {
        const char *name;
        struct weir_str *field;
    } fields[] = {
        {"specversion", &event->specversion},
        {"ty", &event->ty},
        {"source", &event->source},
        {"id", &event->id},
        {"data", &event->data.value.bytes},
        {"datacontenttype", &event->datacontenttype.value},
        {"dataschema", &event->dataschema.value},
        {"subject", &event->subject.value},
        {"time", &event->time.value},
        {"name", &extension.name},
        {"value", &extension.value},
        {"err", &result->err},
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (strcmp(fields[i].name, name) == 0)
            return fields[i].field;
    __builtin_trap();
}

static uintptr_t memory_end(void) {
    return __builtin_wasm_memory_size(0) * 65536;
}

__attribute__((export_name("weir:reactive/event-handler@0.1.0#handle-event"))) uintptr_t
handle_event(const struct weir_event *event) {
    static struct weir_result result;

    extension = (struct weir_attribute){WEIR_STR("myextension"), WEIR_STR("its value")};
    result = weir_ok_event(&(struct weir_event){
        .specversion = WEIR_STR("1.0"),
        .ty = WEIR_STR("dev.weir.test.wild"),
        .source = WEIR_STR("/wild"),
        .id = WEIR_STR("1"),
        .data = weir_text(WEIR_STR("a text")),
        .datacontenttype = weir_some(WEIR_STR("text/plain")),
        .dataschema = weir_some(WEIR_STR("urn:weir:test")),
        .subject = weir_some(WEIR_STR("a subject")),
        .time = weir_some(WEIR_STR("2026-01-02T03:04:05Z")),
        .extensions = {.items = &extension, .count = 1},
    });
    uintptr_t pointer = (uintptr_t)&result;

    char *rest = weir_str_c(weir_event_body(event));
    for (char *word = strtok_r(rest, " \n", &rest); word; word = strtok_r(NULL, " \n", &rest)) {
        char *value = strchr(word, '=');
        if (!value)
            __builtin_trap();
        *value++ = '\0';
        uint32_t number = (uint32_t)strtoull(value, NULL, 10);
        if (word[0] == '+') {
            memcpy((char *)&result + strtoul(word + 1, NULL, 10) % sizeof result, &number,
                   sizeof number);
        } else if (strcmp(word, "return") == 0) {
            pointer = number;
        } else if (strcmp(word, "end") == 0) {
            pointer = memory_end() - number;
        } else if (strcmp(word, "edge") == 0) {
            pointer = memory_end() - sizeof result - number;
            memcpy((void *)pointer, &result, sizeof result);
        } else {
            struct weir_str *field = field_of(&result, word);
            if (field == &result.err)
                result.is_err = true;
            field->data = text_of(value, strlen(value), &field->size);
        }
    }
    return pointer;
}

__attribute__((export_name("cabi_post_weir:reactive/event-handler@0.1.0#handle-event"))) void
post_handle_event(uintptr_t result) {
    (void)result;
    weir_arena_reset_();
}
