// SPDX-License-Identifier: Apache-2.0
//
// `weir top` without a terminal: answers become rows, rates and histories; keys change what is
// seen; and what is drawn stays within any screen, whatever the names are.
#include "unit/test.h"

#include "cli/print.h"
#include "cli/top_draw.h"
#include "cli/top_pen.h"
#include "cli/top_text.h"

#include <locale.h>

enum { ROWS_MAX = 64, COLUMNS_MAX = 300 };

// What one test has.
struct rig {
    struct weir_top_model model;
    struct weir_top_view view;
};

static void begin(struct rig *rig) {
    *rig = (struct rig){0};
    weir_top_view_init(&rig->view);
}

static void end(struct rig *rig) {
    weir_top_view_finish(&rig->view);
    weir_top_model_finish(&rig->model);
}

// ---- answers ----

static json_t *subscription(const char *name, int lag, int handled, int failed) {
    return json_pack("{s:s, s:s, s:s, s:i, s:i, s:i, s:i}", "name", name, "state", "running",
                     "resource", "store", "lag_events", lag, "handled_total", handled,
                     "dropped_total", 0, "failed_attempts_total", failed);
}

// Takes over the array.
static json_t *answer(int pid, int uptime_ms, json_t *subscriptions) {
    json_t *json = json_pack("{s:i, s:i, s:s, s:o}", "pid", pid, "uptime_ms", uptime_ms, "version",
                             "1.2.3", "subscriptions", subscriptions);
    assert_non_null(json);
    return json;
}

static void take(struct rig *rig, json_t *json) {
    assert_int_equal(weir_top_model_take(&rig->model, json, NULL), WEIR_OK);
    assert_int_equal(weir_top_view_update(&rig->view, &rig->model, NULL), WEIR_OK);
}

static const struct weir_top_row *row_of(const struct rig *rig, const char *name) {
    const struct weir_top_row *row = rig->model.subscriptions;
    while (row && strcmp(row->name, name) != 0) {
        row = row->hh.next;
    }
    return row;
}

static double value(const struct rig *rig, const char *name, enum weir_top_column column) {
    const struct weir_top_row *row = row_of(rig, name);
    assert_non_null(row);
    return row->values.of[column];
}

// Three that differ in everything.
static void take_three(struct rig *rig, int uptime_ms) {
    take(rig, answer(1, uptime_ms,
                     json_pack("[o, o, o]", subscription("alpha", 5, uptime_ms, 0),
                               subscription("beta", 50, uptime_ms * 2, uptime_ms / 1000),
                               subscription("gamma", 0, 0, 0))));
}

// ---- the model ----

static void a_rate_is_the_difference_over_the_time_that_weir_says(void **state) {
    (void)state;
    struct rig rig;
    begin(&rig);
    take(&rig, answer(1, 1000, json_pack("[o]", subscription("a", 0, 100, 7))));
    assert_true(value(&rig, "a", WEIR_TOP_RATE) < 0 && "of one answer nothing can be told");
    take(&rig, answer(1, 3000, json_pack("[o]", subscription("a", 0, 150, 8))));
    assert_true(value(&rig, "a", WEIR_TOP_RATE) == 25);
    assert_true(value(&rig, "a", WEIR_TOP_FAILED) == 0.5);
    assert_true(rig.model.sum.of[WEIR_TOP_RATE] == 25);
    assert_true(row_of(&rig, "a")->is_failing);
    take(&rig, answer(1, 4000, json_pack("[o]", subscription("a", 0, 150, 8))));
    assert_true(value(&rig, "a", WEIR_TOP_RATE) == 0);
    assert_false(row_of(&rig, "a")->is_failing);
    end(&rig);
}

static void another_process_has_no_rate_yet_and_the_history_goes_on(void **state) {
    (void)state;
    struct rig rig;
    begin(&rig);
    take(&rig, answer(1, 1000, json_pack("[o]", subscription("a", 0, 100, 0))));
    take(&rig, answer(1, 2000, json_pack("[o]", subscription("a", 0, 110, 0))));
    take(&rig, answer(2, 3000, json_pack("[o]", subscription("a", 0, 500, 0))));
    assert_true(value(&rig, "a", WEIR_TOP_RATE) < 0);
    take(&rig, answer(2, 2500, json_pack("[o]", subscription("a", 0, 600, 0))));
    assert_true(value(&rig, "a", WEIR_TOP_RATE) < 0 && "time does not go back");
    take(&rig, answer(2, 3500, json_pack("[o]", subscription("a", 0, 630, 0))));
    const struct weir_top_history *rates = &row_of(&rig, "a")->rates;
    assert_int_equal(rates->count, 5);
    assert_true(weir_top_history_at(rates, 0) == 30 && weir_top_history_at(rates, 1) < 0 &&
                weir_top_history_at(rates, 3) == 10 && weir_top_history_at(rates, 5) < 0);
    end(&rig);
}

static void what_an_answer_lacks_is_not_known(void **state) {
    (void)state;
    struct rig rig;
    begin(&rig);
    for (int at = 1; at <= 2; at++) {
        take(&rig,
             answer(1, at * 1000,
                    json_pack("[{s:s, s:n}, {}, n, s]", "name", "bare", "handled_total", "text")));
        for (size_t column = 0; column < WEIR_TOP_COLUMNS; column++) {
            assert_true(value(&rig, "bare", (enum weir_top_column)column) < 0);
        }
    }
    take(&rig, json_object());
    assert_null(rig.model.subscriptions);
    end(&rig);
}

static void a_subscription_that_is_gone_goes(void **state) {
    (void)state;
    struct rig rig;
    begin(&rig);
    take_three(&rig, 1000);
    assert_int_equal(rig.view.count, 3);
    take(&rig, answer(1, 2000, json_pack("[o]", subscription("beta", 0, 0, 0))));
    assert_int_equal(rig.view.count, 1);
    assert_null(row_of(&rig, "alpha"));
    end(&rig);
}

static void the_history_is_bounded(void **state) {
    (void)state;
    struct weir_top_history history = {.count = 0};
    for (int i = 0; i < 3 * WEIR_TOP_HISTORY_MAX; i++) {
        weir_top_history_add(&history, i);
    }
    assert_int_equal(history.count, WEIR_TOP_HISTORY_MAX);
    assert_true(weir_top_history_at(&history, 0) == 3 * WEIR_TOP_HISTORY_MAX - 1);
    assert_true(weir_top_history_at(&history, WEIR_TOP_HISTORY_MAX - 1) ==
                2 * WEIR_TOP_HISTORY_MAX);
    assert_true(weir_top_history_at(&history, WEIR_TOP_HISTORY_MAX) < 0);
}

static void the_time_left_is_told_of_a_lag_that_shrinks(void **state) {
    (void)state;
    assert_true(weir_top_left_ms(100, 50, 1000) == 1000);
    assert_true(weir_top_left_ms(100, 0, 1000) == 0);
    assert_true(weir_top_left_ms(100, 100, 1000) < 0);
    assert_true(weir_top_left_ms(50, 100, 1000) < 0);
    assert_true(weir_top_left_ms(100, 50, 0) < 0);
    assert_true(weir_top_left_ms(-1, 50, 1000) < 0 && weir_top_left_ms(50, -1, 1000) < 0);
    struct rig rig;
    begin(&rig);
    take(&rig, answer(1, 1000, json_pack("[o]", subscription("a", 300, 0, 0))));
    take(&rig, answer(1, 2000, json_pack("[o]", subscription("a", 200, 0, 0))));
    assert_true(value(&rig, "a", WEIR_TOP_LEFT) == 2000);
    end(&rig);
}

static void rows_have_a_maximum(void **state) {
    (void)state;
    struct rig rig;
    begin(&rig);
    json_t *many = json_array();
    for (int i = 0; i < WEIR_TOP_ROWS_MAX + 3; i++) {
        char name[32];
        snprintf(name, sizeof name, "sub-%d", i);
        json_array_append_new(many, json_pack("{s:s}", "name", name));
    }
    take(&rig, answer(1, 1000, many));
    assert_int_equal(rig.view.count, WEIR_TOP_ROWS_MAX);
    assert_int_equal(rig.model.left_out, 3);
    end(&rig);
}

// ---- the view ----

static void assert_order(const struct rig *rig, const char *names) {
    char order[256] = "";
    for (size_t i = 0; i < rig->view.count; i++) {
        size_t size = strlen(order);
        snprintf(order + size, sizeof order - size, "%s%s", i ? " " : "", rig->view.rows[i]->name);
    }
    assert_string_equal(order, names);
}

static void press(struct rig *rig, uint32_t key) {
    weir_top_view_key(&rig->view, key);
    assert_int_equal(weir_top_view_update(&rig->view, &rig->model, NULL), WEIR_OK);
    weir_top_view_scroll(&rig->view, 2);
}

static void rows_are_sorted_by_the_chosen_column(void **state) {
    (void)state;
    struct rig rig;
    begin(&rig);
    take_three(&rig, 1000);
    take_three(&rig, 3000);
    assert_order(&rig, "beta alpha gamma"); // by lag
    press(&rig, 'I');
    assert_order(&rig, "gamma alpha beta");
    press(&rig, WEIR_TOP_KEY_SORT);
    assert_int_equal(rig.view.page, WEIR_TOP_PAGE_SORT);
    press(&rig, WEIR_TOP_KEY_HOME);
    press(&rig, WEIR_TOP_KEY_ENTER);
    assert_int_equal(rig.view.page, WEIR_TOP_PAGE_ALL);
    assert_order(&rig, "alpha beta gamma"); // by name, and not inverted any more
    press(&rig, '<');
    assert_int_equal(rig.view.column, WEIR_TOP_COLUMNS - 1);
    press(&rig, '>');
    assert_int_equal(rig.view.column, WEIR_TOP_NAME);
    rig.view.column = WEIR_TOP_FAILED;
    press(&rig, WEIR_TOP_KEY_OTHER);
    assert_order(&rig, "beta alpha gamma"); // the same rate: by name
    end(&rig);
}

static void a_filter_is_typed_and_removed(void **state) {
    (void)state;
    struct rig rig;
    begin(&rig);
    take_three(&rig, 1000);
    press(&rig, '/');
    press(&rig, 'Q'); // is no key now
    press(&rig, WEIR_TOP_KEY_BACKSPACE);
    press(&rig, 'B');
    press(&rig, 'E');
    assert_order(&rig, "beta");
    press(&rig, 0xE9);
    press(&rig, 0x20AC);
    press(&rig, 0x1F600);
    assert_string_equal(rig.view.filter, "BE\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80");
    assert_order(&rig, "");
    for (int i = 0; i < 3; i++) {
        press(&rig, WEIR_TOP_KEY_BACKSPACE);
    }
    assert_string_equal(rig.view.filter, "BE");
    press(&rig, WEIR_TOP_KEY_ENTER);
    assert_false(rig.view.is_filtering);
    assert_order(&rig, "beta");
    press(&rig, WEIR_TOP_KEY_ESCAPE);
    assert_int_equal(rig.view.count, 3);
    press(&rig, '/');
    for (int i = 0; i < 2 * WEIR_TOP_FILTER_BYTES_MAX; i++) {
        press(&rig, 0x20AC);
    }
    assert_true(strlen(rig.view.filter) < WEIR_TOP_FILTER_BYTES_MAX);
    assert_true(weir_utf8_valid(weir_str_of(rig.view.filter)));
    press(&rig, WEIR_TOP_KEY_QUIT);
    assert_true(rig.view.has_ended);
    end(&rig);
}

static void a_selection_stays_with_its_subscription(void **state) {
    (void)state;
    struct rig rig;
    begin(&rig);
    take_three(&rig, 1000);
    weir_top_view_scroll(&rig.view, 2);
    assert_string_equal(weir_top_view_selected(&rig.view)->name, "beta");
    press(&rig, WEIR_TOP_KEY_DOWN); // selects the first
    assert_string_equal(rig.view.selected, "beta");
    press(&rig, WEIR_TOP_KEY_END);
    assert_string_equal(rig.view.selected, "gamma");
    assert_int_equal(rig.view.first, 1);
    press(&rig, 'I');
    assert_string_equal(weir_top_view_selected(&rig.view)->name, "gamma");
    assert_true(rig.view.index == 0 && rig.view.first == 0);
    press(&rig, WEIR_TOP_KEY_ENTER);
    assert_int_equal(rig.view.page, WEIR_TOP_PAGE_ONE);
    take(&rig, answer(1, 2000, json_pack("[o]", subscription("beta", 0, 0, 0))));
    assert_null(weir_top_view_selected(&rig.view)); // it is gone, and no other takes its place
    press(&rig, WEIR_TOP_KEY_ESCAPE);
    assert_string_equal(rig.view.selected, "beta");
    press(&rig, WEIR_TOP_KEY_PAGE_DOWN);
    press(&rig, WEIR_TOP_KEY_PAGE_UP);
    take(&rig, answer(1, 3000, json_array()));
    press(&rig, WEIR_TOP_KEY_UP);
    press(&rig, WEIR_TOP_KEY_ENTER);
    assert_null(weir_top_view_selected(&rig.view));
    assert_int_equal(rig.view.page, WEIR_TOP_PAGE_ALL);
    end(&rig);
}

static void keys_open_and_leave_pages(void **state) {
    (void)state;
    static const struct {
        uint32_t key;
        enum weir_top_page page;
    } rows[] = {
        {'h', WEIR_TOP_PAGE_HELP},
        {WEIR_TOP_KEY_HELP, WEIR_TOP_PAGE_HELP},
        {'r', WEIR_TOP_PAGE_SOURCES},
        {WEIR_TOP_KEY_ENTER, WEIR_TOP_PAGE_ONE},
        {WEIR_TOP_KEY_SORT, WEIR_TOP_PAGE_SORT},
    };
    struct rig rig;
    begin(&rig);
    take_three(&rig, 1000);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        press(&rig, rows[i].key);
        assert_int_equal(rig.view.page, rows[i].page);
        press(&rig, 'q');
        assert_int_equal(rig.view.page, WEIR_TOP_PAGE_ALL);
        assert_false(rig.view.has_ended);
    }
    press(&rig, ' ');
    assert_true(rig.view.is_paused);
    press(&rig, ' ');
    assert_false(rig.view.is_paused);
    press(&rig, 'q');
    assert_true(rig.view.has_ended);
    end(&rig);
}

// ---- the drawing ----

struct screen {
    size_t rows, columns;
    char text[64 * 1024]; // a line each, in the order in which it was put
    bool has_bad;
};

// Columns of what is put, which has to be fit to be put.
static size_t columns_of(const char *text, bool is_utf8) {
    size_t columns = 0;
    assert_true(weir_utf8_valid(weir_str_of(text)));
    for (; *text; text++) {
        unsigned char byte = (unsigned char)*text;
        assert_true(byte >= ' ' && byte != 0x7F);
        assert_true(byte < 0x80 || is_utf8);
        columns += (byte & 0xC0) != 0x80;
    }
    return columns;
}

static bool are_utf8;

static void put(void *context, size_t row, size_t column, const char *text,
                enum weir_top_style style) {
    struct screen *screen = context;
    assert_true(row < screen->rows);
    assert_true(column + columns_of(text, are_utf8) <= screen->columns);
    size_t size = strlen(screen->text);
    snprintf(screen->text + size, sizeof screen->text - size, "%s\n", text);
    screen->has_bad = screen->has_bad || style == WEIR_TOP_BAD || style == WEIR_TOP_SELECTED_BAD;
}

static struct screen *draw(struct rig *rig, size_t rows, size_t columns) {
    static struct screen screen;
    screen = (struct screen){.rows = rows, .columns = columns};
    struct weir_top_canvas canvas = {
        .put = put, .context = &screen, .rows = rows, .columns = columns, .is_utf8 = are_utf8};
    weir_top_draw(&canvas, &(struct weir_top_scene){.model = &rig->model,
                                                    .view = &rig->view,
                                                    .dir = "/state\x1b[2J",
                                                    .trouble = "it \x07went",
                                                    .has_keys = true});
    return &screen;
}

// Everything that can be there, with names that would steer a terminal.
static json_t *wild_answer(int uptime_ms) {
    json_t *json = answer(1, uptime_ms, json_array());
    json_t *subscriptions = json_object_get(json, "subscriptions");
    for (int i = 0; i < 30; i++) {
        char name[256];
        snprintf(name, sizeof name, "%d\x1b[31m\xC2\x9B%s\xE2\x82\xAC\n%0*d", i, "tab\t", i * 3, 0);
        json_array_append_new(subscriptions,
                              json_pack("{s:s, s:s, s:i, s:i, s:i, s:{s:s, s:s}, s:[{s:s}], s:n}",
                                        "name", name, "state", "run\x1bning", "lag_events",
                                        i * 1000000, "handled_total", uptime_ms * i,
                                        "failed_attempts_total", i % 2 ? uptime_ms : 0,
                                        "last_error", "message", "line\nand \x1b]0;title\x07",
                                        "time", "now", "guests", "name", "deep", "cursor"));
    }
    json_object_set_new(json, "state_database",
                        json_pack("{s:b, s:s, s:i}", "is_failing", 1, "error", "full\x1b[H",
                                  "commits_total", uptime_ms));
    json_object_set_new(json, "queue", json_pack("{s:i, s:i}", "bytes", 99, "bytes_max", 100));
    json_object_set_new(json, "guests",
                        json_pack("[{s:s, s:s, s:i, s:i, s:I, s:i}]", "name", "guest\x1b", "lane",
                                  "core\x1b", "instances", 2, "instances_made_total", 30,
                                  "memory_bytes", (json_int_t)3 << 30, "refused_total", 4));
    json_object_set_new(json, "targets",
                        json_pack("[{s:s, s:i, s:i, s:s}]", "name", "out\x1b", "waiting_events", 4,
                                  "published_total", uptime_ms, "error", "no\rroom"));
    json_object_set_new(json, "resources",
                        json_pack("[{s:s, s:s, s:b, s:i, s:s}, {s:s, s:b}]", "name", "cache\x1b",
                                  "kind", "redis", "is_connected", 0, "reconnects_total", 3,
                                  "error",
                                  "re\x08"
                                  "fused",
                                  "name", "db", "is_connected", 1));
    return json;
}

static void nothing_is_drawn_outside_of_any_screen_on_any_page(void **state) {
    (void)state;
    struct rig rig;
    begin(&rig);
    for (int round = 0; round < 2; round++) {
        are_utf8 = round == 0;
        for (size_t page = 0; page <= WEIR_TOP_PAGE_HELP; page++) {
            rig.view.page = (enum weir_top_page)page;
            for (size_t columns = 1; columns < COLUMNS_MAX; columns += columns < 90 ? 1 : 37) {
                draw(&rig, 1 + columns % ROWS_MAX, columns);
                draw(&rig, 1 + columns % 7, columns);
            }
        }
        take(&rig, wild_answer(1000 + round * 1000));
        press(&rig, WEIR_TOP_KEY_END);
    }
    end(&rig);
}

static void everything_of_a_subscription_is_told(void **state) {
    (void)state;
    struct rig rig;
    begin(&rig);
    are_utf8 = true;
    take(&rig, wild_answer(1000));
    take(&rig, wild_answer(2000));
    press(&rig, WEIR_TOP_KEY_DOWN);
    press(&rig, WEIR_TOP_KEY_ENTER);
    const char *text = draw(&rig, 60, 100)->text;
    assert_non_null(strstr(text, "last_error.message"));
    assert_non_null(strstr(text, "line\\x0aand \\x1b]0;title\\x07\n"));
    assert_non_null(strstr(text, "guests.0.name"));
    assert_non_null(strstr(text, "deep\n"));
    assert_non_null(strstr(text, "29000000\n"));
    end(&rig);
}

static void the_page_shows_what_there_is_to_know(void **state) {
    (void)state;
    struct rig rig;
    begin(&rig);
    are_utf8 = true;
    take(&rig, wild_answer(1000));
    take(&rig, wild_answer(2000));
    struct screen *screen = draw(&rig, 40, 150);
    static const char *const parts[] = {
        "CANNOT BE WRITTEN", "full\\x1b[H", "AWAY",   "connected", "cache\\x1b",
        "out\\x1b",          "1000",        "||||||", "29.0M",     "run\\x1b",
        "it \\x07went",      "█",
    };
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        if (!strstr(screen->text, parts[i])) {
            fail_msg("\"%s\" is not on the screen:\n%s", parts[i], screen->text);
        }
    }
    assert_true(screen->has_bad);
    end(&rig);
}

static void sources_targets_and_guests_have_a_page(void **state) {
    (void)state;
    struct rig rig;
    begin(&rig);
    are_utf8 = true;
    take(&rig, wild_answer(1000));
    take(&rig, wild_answer(2000));
    press(&rig, 'r');
    const char *text = draw(&rig, 40, 100)->text;
    static const char *const parts[] = {
        "redis, AWAY, 3 reconnects",
        "re\\x08fused",
        "no\\x0droom",
        "core\\x1b lane, 2 instances, 30 made, largest memory 3.0 GiB",
        "4 times",
    };
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        if (!strstr(text, parts[i])) {
            fail_msg("\"%s\" is not on the screen:\n%s", parts[i], text);
        }
    }
    end(&rig);
}

static void what_takes_long_stands_in_place_of_the_state(void **state) {
    (void)state;
    struct rig rig;
    begin(&rig);
    are_utf8 = true;
    json_t *known = subscription("known", 1, 0, 0), *unknown = subscription("unknown", 0, 0, 0);
    json_object_set_new(known, "progress",
                        json_pack("{s:s, s:i, s:i, s:i}", "what", "snapshot", "done", 430000,
                                  "total", 1000000, "left_ms", 12000));
    json_object_set_new(
        unknown, "progress",
        json_pack("{s:s, s:i, s:n, s:n}", "what", "comparing", "done", 50, "total", "left_ms"));
    take(&rig, answer(1, 1000, json_pack("[o, o]", known, unknown)));
    assert_true(value(&rig, "known", WEIR_TOP_LEFT) == 12000);
    assert_true(value(&rig, "unknown", WEIR_TOP_LEFT) < 0);
    const char *text = draw(&rig, 20, 140)->text;
    assert_non_null(strstr(text, "\n43%     \n"));
    assert_non_null(strstr(text, "\nsnapshot 43% of about 1000k, 12s left"));
    assert_non_null(strstr(text, "\ncomparing, 50 so far"));
    assert_null(strstr(text, "running"));
    end(&rig);
}

static void a_text_fits_its_column(void **state) {
    (void)state;
    static const struct {
        const char *text, *fits;
        int width;
        bool is_utf8;
    } rows[] = {
        {"abc", "abc", 3, true},
        {"abc", "abc  ", 5, true},
        {"abc", "  abc", -5, true},
        {"abcd", "ab~", 3, true},
        {"abcd", "ab~", -3, true},
        {"abcd", "~", 1, true},
        {"abcd", "", 0, true},
        {"", "  ", 2, true},
        {"\xE2\x82\xAC"
         "12",
         "\xE2\x82\xAC"
         "12 ",
         4, true},
        {"\xE2\x82\xAC"
         "12",
         "?12 ", 4, false},
        {"\xE4\xB8\xAD\xE6\x96\x87", "\xE4\xB8\xAD~", 3, true}, // two columns each
        {"\n1", "\\x0a1", 5, true},
        {"\n1", "~   ", 4, true},
        {"e\xCC\x81x", "e\xCC\x81x ", 3, true}, // an accent has no column
    };
    char buffer[WEIR_TOP_TEXT_BYTES];
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_string_equal(weir_top_fit(rows[i].text, rows[i].width, rows[i].is_utf8, buffer),
                            rows[i].fits);
    }
}

static void numbers_have_six_columns_at_most(void **state) {
    (void)state;
    static const struct {
        double number;
        const char *text;
    } rows[] = {
        {-1, "-"},           {0, "0"},           {99999, "99999"},
        {100000, "100k"},    {9999400, "9999k"}, {10000000, "10.0M"},
        {99949999, "99.9M"}, {100e6, "100M"},    {9999e6, "9999M"},
        {10e9, "10G"},       {9e15, "9000T"},    {1e300, "many"},
    };
    char buffer[WEIR_COUNT_BYTES];
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_string_equal(weir_cli_count(rows[i].number, buffer), rows[i].text);
        assert_true(strlen(buffer) <= 6);
    }
}

static void bars_are_as_high_as_the_rates(void **state) {
    (void)state;
    static const double values[] = {-1, 0, 1, 50, 100};
    char buffer[WEIR_TOP_TEXT_BYTES];
    struct weir_top_history history = {.count = 0};
    assert_string_equal(weir_top_spark(&history, 3, true, buffer), "   ");
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        weir_top_history_add(&history, values[i]);
    }
    assert_string_equal(weir_top_spark(&history, 7, true, buffer), "   ▁▂▅█");
    assert_string_equal(weir_top_spark(&history, 4, false, buffer), "_.=#");
    assert_string_equal(weir_top_spark(&history, 0, true, buffer), "");
    struct weir_top_history still = {.count = 0};
    weir_top_history_add(&still, 0);
    assert_string_equal(weir_top_spark(&still, 2, true, buffer), " ▁");
}

static void the_text_has_all_rows_and_no_blanks_at_the_end(void **state) {
    (void)state;
    struct rig rig;
    begin(&rig);
    take(&rig, wild_answer(1000));
    take(&rig, wild_answer(2000));
    char *text = NULL;
    size_t size = 0, lines = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    weir_top_text_write(out,
                        &(struct weir_top_scene){
                            .model = &rig.model, .view = &rig.view, .dir = "dir", .trouble = ""},
                        false);
    assert_int_equal(fclose(out), 0);
    for (const char *at = text; *at; at++) {
        lines += *at == '\n';
        assert_false(*at == '\n' && at > text && at[-1] == ' ');
        assert_true(*at == '\n' || (*at >= ' ' && *at < 0x7F));
    }
    assert_true(lines >= 30 + 5);
    assert_non_null(strstr(text, "29.0M"));
    free(text);
    end(&rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rate_is_the_difference_over_the_time_that_weir_says),
        cmocka_unit_test(another_process_has_no_rate_yet_and_the_history_goes_on),
        cmocka_unit_test(what_an_answer_lacks_is_not_known),
        cmocka_unit_test(a_subscription_that_is_gone_goes),
        cmocka_unit_test(the_history_is_bounded),
        cmocka_unit_test(the_time_left_is_told_of_a_lag_that_shrinks),
        cmocka_unit_test(rows_have_a_maximum),
        cmocka_unit_test(rows_are_sorted_by_the_chosen_column),
        cmocka_unit_test(a_filter_is_typed_and_removed),
        cmocka_unit_test(a_selection_stays_with_its_subscription),
        cmocka_unit_test(keys_open_and_leave_pages),
        cmocka_unit_test(nothing_is_drawn_outside_of_any_screen_on_any_page),
        cmocka_unit_test(everything_of_a_subscription_is_told),
        cmocka_unit_test(the_page_shows_what_there_is_to_know),
        cmocka_unit_test(sources_targets_and_guests_have_a_page),
        cmocka_unit_test(what_takes_long_stands_in_place_of_the_state),
        cmocka_unit_test(a_text_fits_its_column),
        cmocka_unit_test(numbers_have_six_columns_at_most),
        cmocka_unit_test(bars_are_as_high_as_the_rates),
        cmocka_unit_test(the_text_has_all_rows_and_no_blanks_at_the_end),
    };
    if (!setlocale(LC_CTYPE, "C.UTF-8")) {
        return 77; // no such locale here
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
