// SPDX-License-Identifier: Apache-2.0
//
// What `weir help` prints: every key there is, and word for word what the reference page has.
#include "unit/test.h"

#include "cli/command.h"
#include "cli/help.h"
#include "config/tables.h"

// `ret_text` is to be freed.
static char *help_of_config(void) {
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    weir_help_config(out);
    assert_int_equal(fclose(out), 0);
    return text;
}

static char *read_page(const char *name) {
    const char *source = getenv("WEIR_SOURCE_DIR");
    char path[4096];
    assert_non_null(source);
    snprintf(path, sizeof path, "%s/%s", source, name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    char *text = NULL;
    size_t room = 0;
    assert_true(getdelim(&text, &room, '\0', file) > 0);
    fclose(file);
    return text;
}

// That the first block of text of a page is what `weir help TOPIC` prints.
static void assert_page_has(const char *name, const char *topic, const char *help) {
    char *page = read_page(name);
    const char *block = strstr(page, "```text\n");
    if (!block) {
        fail_msg("%s has no block ```text for the output of \"weir help %s\"", name, topic);
    }
    block += strlen("```text\n");
    const char *end = strstr(block, "```\n");
    assert_non_null(end);
    if (!weir_str_equal((struct weir_str){block, (size_t)(end - block)}, weir_str_of(help))) {
        fail_msg("%s differs: put the output of \"weir help %s\" between its ``` lines:\n%s", name,
                 topic, help);
    }
    free(page);
}

static void the_reference_page_has_the_help_word_for_word(void **state) {
    (void)state;
    char *help = help_of_config();
    assert_page_has("docs/configuration.md", "config", help);
    free(help);
}

static void each_providers_page_has_its_help_word_for_word(void **state) {
    (void)state;
    size_t count = 0;
    for (const struct weir_provider *const *provider = weir_providers; *provider; provider++) {
        char name[64], *help = NULL;
        size_t size = 0;
        FILE *out = open_memstream(&help, &size);
        assert_non_null(out);
        weir_help_provider(out, *provider);
        assert_int_equal(fclose(out), 0);
        snprintf(name, sizeof name, "docs/providers/%s.md", (*provider)->kind);
        assert_page_has(name, (*provider)->kind, help);
        free(help);
        count++;
    }
    assert_true(count >= 6);
}

static void assert_has_row(const char *help, const char *name) {
    char row[64];
    snprintf(row, sizeof row, "\n  %s ", name);
    if (!strstr(help, row)) {
        fail_msg("the help says nothing of \"%s\"", name);
    }
}

static void every_key_is_explained(void **state) {
    (void)state;
    static const struct weir_option_table *const tables[] = {
        &weir_host_options,  &weir_bounds_options, &weir_retry_options,
        &weir_queue_options, &weir_guest_options,  &weir_subscription_options,
    };
    static const struct weir_sections *const sections[] = {
        &weir_resource_sections, &weir_guest_sections, &weir_subscription_sections};
    char *help = help_of_config();
    for (size_t t = 0; t < COUNT_OF(tables); t++) {
        for (size_t i = 0; i < tables[t]->count; i++) {
            assert_has_row(help, tables[t]->rows[i].name);
        }
    }
    for (size_t s = 0; s < COUNT_OF(sections); s++) {
        for (size_t i = 0; i < sections[s]->count; i++) {
            assert_has_row(help, sections[s]->rows[i].name);
        }
    }
    for (size_t i = 0; i < weir_config_sections.count; i++) {
        char title[64];
        snprintf(title, sizeof title, "\n%s:", weir_config_sections.rows[i].name);
        assert_non_null(strstr(help, title));
    }
    free(help);
}

static void every_provider_explains_its_options(void **state) {
    (void)state;
    for (size_t p = 0; weir_providers[p]; p++) {
        char *text = NULL;
        size_t size = 0;
        FILE *out = open_memstream(&text, &size);
        assert_non_null(out);
        weir_help_provider(out, weir_providers[p]);
        assert_int_equal(fclose(out), 0);
        assert_non_null(strstr(text, weir_providers[p]->summary));
        for (size_t i = 0; i < weir_providers[p]->options.count; i++) {
            assert_has_row(text, weir_providers[p]->options.rows[i].name);
        }
        free(text);
    }
}

static void every_command_has_help(void **state) {
    (void)state;
    size_t count = 0;
    for (const struct weir_command *command = weir_commands; command->name; command++) {
        char usage[64];
        snprintf(usage, sizeof usage, "Usage: weir %s", command->name);
        assert_memory_equal(command->help, usage, strlen(usage));
        assert_ptr_equal(weir_command_find(command->name), command);
        assert_true(command->summary[0] && command->run);
        count++;
    }
    assert_int_equal(count, 17);
    assert_null(weir_command_find("nothing"));
    assert_null(weir_command_find(""));
}

static void the_page_of_projects_has_the_help_of_its_commands(void **state) {
    (void)state;
    static const char *const names[] = {"new", "build", "test", "dev"};
    char *page = read_page("docs/projects.md");
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        const char *help = weir_command_find(names[i])->help;
        if (!strstr(page, help)) {
            fail_msg("docs/projects.md lacks the help of \"weir %s\":\n%s", names[i], help);
        }
    }
    free(page);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_reference_page_has_the_help_word_for_word),
        cmocka_unit_test(each_providers_page_has_its_help_word_for_word),
        cmocka_unit_test(every_key_is_explained),
        cmocka_unit_test(every_provider_explains_its_options),
        cmocka_unit_test(every_command_has_help),
        cmocka_unit_test(the_page_of_projects_has_the_help_of_its_commands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
