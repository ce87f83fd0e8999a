// SPDX-License-Identifier: Apache-2.0
//
// The log and guests' output: what a line looks like, hostile bytes, lines that are too long,
// readers that are slow, stuck or gone, and threads that write at the same time.
#include "unit/test.h"

#include "observe/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

extern char **environ;

enum {
    TAKEN_BYTES_MAX = 4 * 1024 * 1024,
    // How long a call may take beyond the wait that is promised: the machine is shared, sanitized
    // code slow.
    SLACK_MS = 20 * 1000,
};

// ---- a log that writes into a file of memory ----

struct rig {
    int fd;
    struct weir_log *log;
    char text[TAKEN_BYTES_MAX + 1];
};

static struct weir_log *open_log(int fd, enum weir_log_format format, enum weir_log_level level) {
    struct weir_log_config config = {.fd = fd, .format = format, .level = level};
    struct weir_log *log;
    struct weir_error err;
    assert_int_equal(weir_log_create(&config, &log, &err), WEIR_OK);
    return log;
}

static struct rig *rig_create(enum weir_log_format format) {
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    rig->fd = memfd_create("log", MFD_CLOEXEC);
    assert_true(rig->fd >= 0);
    rig->log = open_log(rig->fd, format, WEIR_LOG_DEBUG);
    return rig;
}

static void rig_destroy(struct rig *rig) {
    weir_log_destroy(rig->log);
    close(rig->fd);
    free(rig);
}

// Everything that was written, and begins anew.
static const char *take(struct rig *rig) {
    ssize_t size = pread(rig->fd, rig->text, TAKEN_BYTES_MAX, 0);
    assert_true(size >= 0);
    rig->text[size] = '\0';
    assert_int_equal(ftruncate(rig->fd, 0), 0);
    assert_int_equal(lseek(rig->fd, 0, SEEK_SET), 0);
    return rig->text;
}

// What stands behind "2026-11-23T01:02:03.123456Z ", which is checked.
static const char *behind_time(const char *line) {
    static const char shape[] = "0000-00-00T00:00:00.000000Z ";
    for (size_t i = 0; i < sizeof shape - 1; i++) {
        bool is_digit = line[i] >= '0' && line[i] <= '9';
        assert_true(shape[i] == '0' ? is_digit : line[i] == shape[i]);
    }
    return line + sizeof shape - 1;
}

static int64_t elapsed_ms(int64_t since_ns) {
    return (weir_clock_monotonic_ns() - since_ns) / WEIR_NS_PER_MS;
}

// ---- text ----

static void a_line_of_text_has_time_level_message_and_fields(void **state) {
    (void)state;
    struct rig *rig = rig_create(WEIR_LOG_TEXT);
    weir_log(rig->log, WEIR_LOG_WARN, "the directory is gone",
             {"resource", WEIR_STR("my-container")}, {"cause", WEIR_STR("No such file")});
    assert_string_equal(behind_time(take(rig)), "warn  the directory is gone resource=my-container "
                                                "cause=\"No such file\"\n");
    static const struct {
        enum weir_log_level level;
        const char *line;
    } levels[] = {
        {WEIR_LOG_DEBUG, "debug m\n"},
        {WEIR_LOG_INFO, "info  m\n"},
        {WEIR_LOG_WARN, "warn  m\n"},
        {WEIR_LOG_ERROR, "error m\n"},
    };
    for (size_t i = 0; i < COUNT_OF(levels); i++) {
        weir_log_write(rig->log, levels[i].level, "m", NULL, 0);
        assert_string_equal(behind_time(take(rig)), levels[i].line);
    }
    rig_destroy(rig);
}

static void what_could_be_mistaken_is_quoted(void **state) {
    (void)state;
    static const struct {
        struct weir_str value;
        const char *shown;
    } rows[] = {
        {WEIR_STR("plain-value/1"), "plain-value/1"},
        {WEIR_STR("\u00e4\u20ac\U0001f600"), "\u00e4\u20ac\U0001f600"},
        {WEIR_STR(""), "\"\""},
        {{NULL, 0}, "\"\""},
        {WEIR_STR("a b"), "\"a b\""},
        {WEIR_STR("a=b"), "\"a=b\""},
        {WEIR_STR("say \"x\""), "\"say \\\"x\\\"\""},
        {WEIR_STR("back\\slash"), "\"back\\\\slash\""},
        {WEIR_STR("a\nb\r\tc"), "\"a\\nb\\r\\tc\""},
        {WEIR_STR("\0\033[2J\x7f"), "\"\\x00\\x1b[2J\\x7f\""},
        {WEIR_STR("\xff\xc3("), "\"\\xff\\xc3(\""},
        {WEIR_STR("\xc2\x9b"
                  "0m"),
         "\"\\xc2\\x9b0m\""},
    };
    struct rig *rig = rig_create(WEIR_LOG_TEXT);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char expected[128];
        snprintf(expected, sizeof expected, "info  m v=%s end=1\n", rows[i].shown);
        weir_log(rig->log, WEIR_LOG_INFO, "m", {"v", rows[i].value}, {"end", WEIR_STR("1")});
        assert_string_equal(behind_time(take(rig)), expected);
    }
    weir_log_write(rig->log, WEIR_LOG_INFO, "two\nlines \033[2J", NULL, 0);
    assert_string_equal(behind_time(take(rig)), "info  two\\x0alines \\x1b[2J\n");
    rig_destroy(rig);
}

static void colour_is_of_the_level_alone(void **state) {
    (void)state;
    struct rig *rig = rig_create(WEIR_LOG_TEXT);
    struct weir_log_config config = {
        .fd = rig->fd, .level = WEIR_LOG_INFO, .format = WEIR_LOG_TEXT, .is_coloured = true};
    struct weir_log *coloured;
    assert_int_equal(weir_log_create(&config, &coloured, NULL), WEIR_OK);
    weir_log_write(coloured, WEIR_LOG_ERROR, "m", NULL, 0);
    assert_string_equal(behind_time(take(rig)), "\033[31merror\033[0m m\n");
    weir_log_destroy(coloured);
    rig_destroy(rig);
}

static void what_is_below_the_level_is_not_written(void **state) {
    (void)state;
    struct rig *rig = rig_create(WEIR_LOG_TEXT);
    struct weir_log *log = open_log(rig->fd, WEIR_LOG_TEXT, WEIR_LOG_WARN);
    assert_false(weir_log_enabled(log, WEIR_LOG_INFO));
    assert_true(weir_log_enabled(log, WEIR_LOG_WARN));
    weir_log_write(log, WEIR_LOG_INFO, "no", NULL, 0);
    assert_string_equal(take(rig), "");
    weir_log_write(log, WEIR_LOG_WARN, "yes", NULL, 0);
    assert_string_equal(behind_time(take(rig)), "warn  yes\n");
    weir_log_destroy(log);
    rig_destroy(rig);

    assert_false(weir_log_enabled(NULL, WEIR_LOG_ERROR));
    weir_log_write(NULL, WEIR_LOG_ERROR, "no log, no line", NULL, 0);
    weir_log_destroy(NULL);
}

static void a_long_line_of_text_is_cut_and_says_so(void **state) {
    (void)state;
    struct rig *rig = rig_create(WEIR_LOG_TEXT);
    char *value = malloc(3 * WEIR_LOG_LINE_BYTES_MAX);
    assert_non_null(value);
    memset(value, 'x', 3 * WEIR_LOG_LINE_BYTES_MAX);
    // Every size around the end of the buffer, plain and to be quoted.
    for (size_t size = WEIR_LOG_LINE_BYTES_MAX - 200; size < WEIR_LOG_LINE_BYTES_MAX + 50; size++) {
        for (int quoted = 0; quoted < 2; quoted++) {
            value[0] = quoted ? ' ' : 'x';
            weir_log(rig->log, WEIR_LOG_INFO, "m", {"v", {.data = value, .size = size}},
                     {"after", WEIR_STR("1")});
            const char *line = take(rig);
            size_t length = strlen(line);
            bool is_cut = strstr(line, "..."
                                       "\" cut=true\n") ||
                          strstr(line, "x\" cut=true\n") || strstr(line, "x cut=true\n");
            bool is_whole = strstr(line, " after=1\n") != NULL;
            assert_true(length <= WEIR_LOG_LINE_BYTES_MAX);
            assert_int_equal(line[length - 1], '\n');
            assert_true(is_cut != is_whole);
            assert_true(size < WEIR_LOG_LINE_BYTES_MAX - 100 ? is_whole : true);
            assert_true(size > WEIR_LOG_LINE_BYTES_MAX ? is_cut : true);
        }
    }
    free(value);
    rig_destroy(rig);
}

// ---- JSON, read by Python ----

static void run_python(const char *program, const char *argument) {
    char name[] = "python3", option[] = "-c";
    char *arguments[] = {name, option, (char *)(uintptr_t)program, (char *)(uintptr_t)argument,
                         NULL};
    pid_t child;
    int status;
    int code = posix_spawnp(&child, "python3", NULL, NULL, arguments, environ);
    if (code == ENOENT) {
        skip(); // there is no Python on this machine
    }
    assert_int_equal(code, 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void a_line_of_json_is_an_object(void **state) {
    (void)state;
    struct rig *rig = rig_create(WEIR_LOG_JSON);
    weir_log(rig->log, WEIR_LOG_ERROR, "it \"broke\"", {"cause", WEIR_STR("a\nb\\")},
             {"u", WEIR_STR("\u00e4\x7f")});
    const char *line = take(rig);
    assert_memory_equal(line, "{\"time\":\"", 9);
    assert_string_equal(line + 9 + WEIR_TIME_BYTES - 1,
                        "\",\"level\":\"error\",\"message\":\"it \\\"broke\\\"\","
                        "\"cause\":\"a\\nb\\\\\",\"u\":\"\u00e4\\u007f\"}\n");
    rig_destroy(rig);
}

static void a_number_is_one_in_json_and_stands_as_it_is_in_text(void **state) {
    (void)state;
    struct rig *rig = rig_create(WEIR_LOG_JSON);
    weir_log(rig->log, WEIR_LOG_INFO, "m", {"n", WEIR_LOG_NUMBER(0)},
             {"most", WEIR_LOG_NUMBER(UINT64_MAX)}, {"text", WEIR_STR("7")});
    assert_non_null(strstr(take(rig), ",\"n\":0,\"most\":18446744073709551615,\"text\":\"7\"}\n"));
    rig_destroy(rig);
    rig = rig_create(WEIR_LOG_TEXT);
    weir_log(rig->log, WEIR_LOG_INFO, "m", {"n", WEIR_LOG_NUMBER(12)});
    assert_string_equal(behind_time(take(rig)), "info  m n=12\n");
    rig_destroy(rig);
}

// Each line of the file is a line of the log, with the bytes of its `v` in hexadecimal before it.
static const char check_lines[] =
    "import json, sys\n"
    "count = 0\n"
    "for line in open(sys.argv[1], 'rb').read().split(b'\\n')[:-1]:\n"
    "    wanted, record = line.split(b'|', 1)\n"
    "    assert len(record) < 8192\n"
    "    assert not any(byte < 32 or byte == 127 for byte in record), record\n"
    "    fields = json.loads(record.decode('utf-8'))\n"
    "    assert list(fields)[:4] == ['time', 'level', 'message', 'v'], fields\n"
    "    wanted = bytes.fromhex(wanted.decode()).decode('utf-8', 'backslashreplace')\n"
    "    got = fields['v']\n"
    "    if fields.get('cut') is True:\n"
    "        assert got.endswith('...') and wanted.startswith(got[:-3].rsplit('\\\\', 1)[0])\n"
    "        assert len(record) > 8000\n"
    "    else:\n"
    "        assert got == wanted, (got, wanted)\n"
    "        assert fields['last'] == '1'\n"
    "    count += 1\n"
    "assert count == 2000, count\n";

static uint32_t next_random(uint32_t *seed) {
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

static void python_reads_every_line_of_json_whatever_the_bytes(void **state) {
    (void)state;
    char path[] = "/tmp/weir-log-XXXXXX";
    int out = mkstemp(path);
    assert_true(out >= 0);
    FILE *file = fdopen(out, "w");
    assert_non_null(file);
    struct rig *rig = rig_create(WEIR_LOG_JSON);
    uint32_t seed = 7;
    enum { VALUE_BYTES = 12000 };
    char *value = malloc(VALUE_BYTES);
    assert_non_null(value);
    for (int n = 0; n < 2000; n++) {
        // Short ones of any bytes, and now and then ones around and beyond the greatest line.
        size_t size =
            n % 50 == 0 ? VALUE_BYTES - next_random(&seed) % 11000 : next_random(&seed) % 64;
        for (size_t i = 0; i < size; i++) {
            bool is_any = n % 3 != 0;
            value[i] = (char)(is_any ? next_random(&seed) : 32 + next_random(&seed) % 95);
        }
        for (size_t i = 0; n < 256 && i < size; i += 7) {
            value[i] = (char)n;
        }
        for (size_t i = 0; i < size; i++) {
            fprintf(file, "%02x", (unsigned char)value[i]);
        }
        weir_log(rig->log, WEIR_LOG_INFO, "m", {"v", {.data = value, .size = size}},
                 {"last", WEIR_STR("1")});
        fprintf(file, "|%s", take(rig));
    }
    free(value);
    assert_int_equal(fclose(file), 0);
    run_python(check_lines, path);
    unlink(path);
    rig_destroy(rig);
}

static void fields_that_do_not_fit_are_left_out_whole(void **state) {
    (void)state;
    static const enum weir_log_format formats[] = {WEIR_LOG_TEXT, WEIR_LOG_JSON};
    for (size_t f = 0; f < COUNT_OF(formats); f++) {
        struct rig *rig = rig_create(formats[f]);
        char value[WEIR_LOG_LINE_BYTES_MAX];
        memset(value, 'y', sizeof value);
        struct weir_log_field fields[WEIR_LOG_FIELDS_MAX];
        for (size_t size = 400; size < 700; size++) { // the end falls on every part of a field
            for (size_t i = 0; i < COUNT_OF(fields); i++) {
                fields[i] = (struct weir_log_field){"name", {.data = value, .size = size}};
            }
            weir_log_write(rig->log, WEIR_LOG_INFO, "m", fields, COUNT_OF(fields));
            const char *line = take(rig);
            size_t length = strlen(line);
            assert_true(length <= WEIR_LOG_LINE_BYTES_MAX);
            if (formats[f] == WEIR_LOG_JSON) {
                size_t quotes = 0;
                for (const char *at = line; *at; at++) {
                    quotes += *at == '"' ? 1 : 0;
                }
                bool is_cut = strstr(line, ",\"cut\":true}\n") != NULL;
                assert_int_equal(quotes % 4, is_cut ? 2 : 0); // each field has four, none is open
                assert_string_equal(line + length - 2, "}\n");
            }
        }
        rig_destroy(rig);
    }
}

// ---- readers ----

// A pipe that holds as little as the system allows, and whose writing end blocks, as a shell's
// does.
static void open_pipe(int fds[2]) {
    assert_int_equal(pipe(fds), 0);
    assert_true(fcntl(fds[1], F_SETPIPE_SZ, 4096) >= 4096);
}

// Fills what can be written to without waiting but for `spare` bytes.
static void fill(int fd, int spare) {
    int flags = fcntl(fd, F_GETFL);
    static const char byte = '#';
    size_t written = 0;
    assert_int_equal(fcntl(fd, F_SETFL, flags | O_NONBLOCK), 0);
    while (write(fd, &byte, 1) == 1) {
        written++;
    }
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(fcntl(fd, F_SETFL, flags), 0);
    assert_true(written > (size_t)spare);
}

static size_t drain(int fd, char *buffer, size_t size) {
    size_t filled = 0;
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    ssize_t more;
    while (filled < size && (more = read(fd, buffer + filled, size - filled)) > 0) {
        filled += (size_t)more;
    }
    return filled;
}

static void a_stuck_reader_costs_one_wait_and_is_told_what_was_dropped(void **state) {
    (void)state;
    int fds[2];
    static char text[1 << 20];
    open_pipe(fds);
    fill(fds[1], 0);
    int flags = fcntl(fds[1], F_GETFL);
    struct weir_log *log = open_log(fds[1], WEIR_LOG_TEXT, WEIR_LOG_DEBUG);
    int64_t start_ns = weir_clock_monotonic_ns();
    weir_log_write(log, WEIR_LOG_INFO, "first", NULL, 0);
    assert_true(elapsed_ms(start_ns) >= WEIR_LOG_WAIT_MS);
    assert_true(elapsed_ms(start_ns) < WEIR_LOG_WAIT_MS + SLACK_MS);
    // A hundred more that each waited would take a hundred seconds.
    start_ns = weir_clock_monotonic_ns();
    for (int i = 0; i < 100; i++) {
        weir_log_write(log, WEIR_LOG_INFO, "more", NULL, 0);
    }
    assert_true(elapsed_ms(start_ns) < SLACK_MS);
    assert_int_equal(fcntl(fds[1], F_GETFL), flags); // the shell's other programs share them

    drain(fds[0], text, sizeof text);
    weir_log(log, WEIR_LOG_INFO, "heard", {"a", WEIR_STR("b")});
    weir_log_write(log, WEIR_LOG_INFO, "again", NULL, 0);
    size_t size = drain(fds[0], text, sizeof text - 1);
    text[size] = '\0';
    assert_string_equal(strchr(behind_time(text), ' '), strstr(text, "  heard"));
    assert_non_null(strstr(text, "info  heard dropped_lines=101 a=b\n"));
    assert_non_null(strstr(text, "info  again\n")); // told once
    weir_log_destroy(log);
    close(fds[0]);
    close(fds[1]);
}

static void a_line_of_which_a_part_was_taken_is_ended(void **state) {
    (void)state;
    int fds[2];
    static char text[1 << 16];
    open_pipe(fds); // one page: a longer line is taken in part
    struct weir_log *log = open_log(fds[1], WEIR_LOG_JSON, WEIR_LOG_DEBUG);
    char value[6000];
    memset(value, 'z', sizeof value);
    weir_log(log, WEIR_LOG_INFO, "long", {"v", {.data = value, .size = sizeof value}});
    size_t size = drain(fds[0], text, sizeof text);
    assert_int_equal(size, 4096);
    assert_null(memchr(text, '\n', size));
    weir_log_write(log, WEIR_LOG_INFO, "next", NULL, 0);
    size = drain(fds[0], text, sizeof text - 1);
    text[size] = '\0';
    assert_memory_equal(text, "\n{\"time\":", 9);
    assert_non_null(strstr(text, "\"message\":\"next\",\"dropped_lines\":1}\n"));
    weir_log_destroy(log);
    close(fds[0]);
    close(fds[1]);
}

static void a_reader_that_is_gone_ends_nothing(void **state) {
    (void)state;
    int fds[2];
    open_pipe(fds);
    close(fds[0]);
    struct weir_log *log = open_log(fds[1], WEIR_LOG_TEXT, WEIR_LOG_DEBUG);
    int64_t start_ns = weir_clock_monotonic_ns();
    for (int i = 0; i < 100; i++) {
        weir_log_write(log, WEIR_LOG_INFO, "nobody hears", NULL, 0);
        assert_false(weir_output_line(fds[1], "g", WEIR_STR("nobody hears")));
    }
    assert_true(elapsed_ms(start_ns) < SLACK_MS);
    weir_log_destroy(log);
    close(fds[1]);
}

enum { WRITERS = 4, LINES_EACH = 200, WRITER_VALUE_BYTES = 5000 };

struct writer {
    struct weir_log *log;
    char letter;
};

static void *write_lines(void *argument) {
    struct writer *writer = argument;
    char value[WRITER_VALUE_BYTES];
    memset(value, writer->letter, sizeof value);
    for (int i = 0; i < LINES_EACH; i++) {
        weir_log(writer->log, WEIR_LOG_INFO, "m", {"v", {.data = value, .size = sizeof value}});
    }
    return NULL;
}

static void lines_of_several_threads_do_not_mix(void **state) {
    (void)state;
    int fds[2];
    open_pipe(fds); // less than a line, so that each is taken in parts
    struct weir_log *log = open_log(fds[1], WEIR_LOG_TEXT, WEIR_LOG_DEBUG);
    pthread_t threads[WRITERS];
    struct writer writers[WRITERS];
    for (int i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){.log = log, .letter = (char)('a' + i)};
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, &writers[i]), 0);
    }
    FILE *in = fdopen(fds[0], "r");
    assert_non_null(in);
    int counts[WRITERS] = {0};
    char *line = NULL;
    size_t room = 0;
    for (int i = 0; i < WRITERS * LINES_EACH; i++) {
        ssize_t size = getline(&line, &room, in);
        assert_true(size > WRITER_VALUE_BYTES);
        line[size - 1] = '\0';
        const char *value = strstr(line, " v=");
        assert_non_null(value);
        value += 3;
        assert_int_equal(strlen(value), WRITER_VALUE_BYTES);
        assert_int_equal(strspn(value, (char[]){value[0], '\0'}), WRITER_VALUE_BYTES);
        counts[value[0] - 'a']++;
    }
    for (int i = 0; i < WRITERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(counts[i], LINES_EACH);
    }
    free(line);
    weir_log_destroy(log);
    fclose(in);
    close(fds[1]);
}

// ---- the rate ----

enum { RATE_LINES = 3 };

static struct weir_log *open_limited(int fd, int64_t window_ns) {
    struct weir_log_config config = {
        .fd = fd, .level = WEIR_LOG_DEBUG, .rate_lines = RATE_LINES, .window_ns = window_ns};
    struct weir_log *log;
    assert_int_equal(weir_log_create(&config, &log, NULL), WEIR_OK);
    return log;
}

static size_t count_lines(const char *text, const char *part) {
    size_t count = 0;
    for (const char *at = text; (at = strstr(at, part)); at += strlen(part)) {
        count++;
    }
    return count;
}

static bool is_readable(int fd) {
    struct pollfd entry = {.fd = fd, .events = POLLIN};
    return poll(&entry, 1, 0) == 1;
}

static void beyond_the_rate_lines_are_left_out_and_the_next_one_tells(void **state) {
    (void)state;
    struct rig *rig = rig_create(WEIR_LOG_TEXT);
    struct weir_log *log = open_limited(rig->fd, 50 * WEIR_NS_PER_MS);
    int64_t begin_ns = weir_clock_monotonic_ns();
    while (weir_clock_monotonic_ns() - begin_ns < 40 * WEIR_NS_PER_MS) {
        weir_log_write(log, WEIR_LOG_WARN, "often", NULL, 0);
    }
    struct weir_log_counts counts;
    weir_log_counts(log, &counts);
    weir_log_write(log, WEIR_LOG_WARN, "seldom", NULL, 0); // has a rate of its own
    WAIT_UNTIL(is_readable(weir_log_left_out_fd(log)));    // the window is over
    weir_log(log, WEIR_LOG_WARN, "often", {"a", WEIR_STR("b")});
    char told[64];
    snprintf(told, sizeof told, "often left_out=%llu a=b\n", (unsigned long long)counts.left_out);
    const char *text = take(rig);
    assert_int_equal(count_lines(text, "warn  often\n"), counts.written[WEIR_LOG_WARN]);
    assert_int_equal(count_lines(text, "warn  seldom\n"), 1);
    assert_non_null(strstr(text, told));
    // A machine that halts may let a second window begin.
    assert_true(counts.written[WEIR_LOG_WARN] >= RATE_LINES);
    assert_true(counts.left_out > 0);
    weir_log_destroy(log);
    assert_string_equal(take(rig), ""); // it was told
    rig_destroy(rig);
}

static void a_message_that_goes_quiet_is_told_when_its_window_is_over(void **state) {
    (void)state;
    struct rig *rig = rig_create(WEIR_LOG_TEXT);
    struct weir_log *log = open_limited(rig->fd, WEIR_NS_PER_S);
    assert_false(is_readable(weir_log_left_out_fd(log)));
    int64_t begin_ns = weir_clock_monotonic_ns();
    for (int i = 0; i < RATE_LINES + 4; i++) {
        weir_log_write(log, i == RATE_LINES + 1 ? WEIR_LOG_ERROR : WEIR_LOG_WARN, "m", NULL, 0);
    }
    bool is_one_window = weir_clock_monotonic_ns() - begin_ns < WEIR_NS_PER_S;
    assert_true(is_one_window);
    take(rig);
    WAIT_UNTIL(is_readable(weir_log_left_out_fd(log)));
    weir_log_tell_left_out(log);
    assert_string_equal(behind_time(take(rig)), "error lines were left out left_out=4 of=m\n");
    assert_false(is_readable(weir_log_left_out_fd(log))); // and nobody is woken again
    weir_log_tell_left_out(log);
    weir_log_destroy(log);
    assert_string_equal(take(rig), "");
    rig_destroy(rig);
}

static void the_logs_end_tells_what_nobody_has_told(void **state) {
    (void)state;
    struct rig *rig = rig_create(WEIR_LOG_TEXT);
    struct weir_log *log = open_limited(rig->fd, 0); // a window that outlasts the test
    for (int i = 0; i < 100; i++) {
        weir_log_write(log, WEIR_LOG_INFO, "m", NULL, 0);
    }
    assert_int_equal(count_lines(take(rig), "info  m\n"), RATE_LINES);
    weir_log_destroy(log);
    assert_string_equal(behind_time(take(rig)), "info  lines were left out left_out=97 of=m\n");
    rig_destroy(rig);
}

static void what_is_not_limited_is_written_whole(void **state) {
    (void)state;
    struct rig *rig = rig_create(WEIR_LOG_TEXT);
    struct weir_log *log = open_limited(rig->fd, 0);
    for (int i = 0; i < 50; i++) {
        weir_log_write(log, WEIR_LOG_DEBUG, "looked into", NULL, 0);
        weir_log_each(log, WEIR_LOG_ERROR, "asked for", {"a", WEIR_STR("b")});
        weir_log_write(rig->log, WEIR_LOG_ERROR, "without a rate", NULL, 0);
    }
    struct weir_log_counts counts;
    weir_log_counts(log, &counts);
    assert_int_equal(counts.written[WEIR_LOG_DEBUG], 50);
    assert_int_equal(counts.written[WEIR_LOG_ERROR], 50);
    assert_int_equal(counts.left_out, 0);
    const char *text = take(rig);
    assert_int_equal(count_lines(text, "looked into\n"), 50);
    assert_int_equal(count_lines(text, "asked for a=b\n"), 50);
    assert_int_equal(count_lines(text, "without a rate\n"), 50);
    weir_log_destroy(log);
    rig_destroy(rig);
}

static void what_was_left_out_survives_a_reader_that_does_not_read(void **state) {
    (void)state;
    int fds[2];
    static char text[1 << 20];
    open_pipe(fds);
    struct weir_log *log = open_limited(fds[1], 0);
    for (int i = 0; i < RATE_LINES + 5; i++) {
        weir_log_write(log, WEIR_LOG_INFO, "m", NULL, 0);
    }
    drain(fds[0], text, sizeof text);
    fill(fds[1], 0);
    weir_log_write(log, WEIR_LOG_INFO, "other", NULL, 0); // from here on nothing waits
    weir_log_destroy(log);                                // cannot tell; ends all the same
    log = open_limited(fds[1], 10 * WEIR_NS_PER_MS);
    for (int i = 0; i < RATE_LINES + 5; i++) {
        weir_log_write(log, WEIR_LOG_INFO, "m", NULL, 0);
    }
    WAIT_UNTIL(is_readable(weir_log_left_out_fd(log)));
    weir_log_tell_left_out(log); // is dropped, and not forgotten
    struct weir_log_counts counts;
    weir_log_counts(log, &counts);
    drain(fds[0], text, sizeof text);
    WAIT_UNTIL(is_readable(weir_log_left_out_fd(log)));
    weir_log_tell_left_out(log);
    size_t size = drain(fds[0], text, sizeof text - 1);
    text[size] = '\0';
    char told[96];
    snprintf(told, sizeof told, "lines were left out dropped_lines=%llu left_out=%llu of=m\n",
             (unsigned long long)counts.dropped, (unsigned long long)counts.left_out);
    assert_non_null(strstr(text, told));
    assert_int_equal(counts.written[WEIR_LOG_INFO], 0);
    weir_log_destroy(log);
    close(fds[0]);
    close(fds[1]);
}

enum { FLOODERS = 4, FLOOD_LINES = 5000 };

static void *flood(void *argument) {
    for (int i = 0; i < FLOOD_LINES; i++) {
        weir_log_write(argument, WEIR_LOG_WARN, i % 2 ? "one" : "other", NULL, 0);
    }
    return NULL;
}

// Adds up what the lines of a log tell.
static uint64_t sum_left_out(const char *text) {
    uint64_t sum = 0;
    for (const char *at = text; (at = strstr(at, "left_out=")); at++) {
        sum += strtoull(at + strlen("left_out="), NULL, 10);
    }
    return sum;
}

static void every_line_of_several_threads_is_written_or_counted(void **state) {
    (void)state;
    struct rig *rig = rig_create(WEIR_LOG_TEXT);
    struct weir_log *log = open_limited(rig->fd, WEIR_NS_PER_MS); // windows come and go
    pthread_t threads[FLOODERS];
    for (int i = 0; i < FLOODERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, flood, log), 0);
    }
    for (int i = 0; i < 20; i++) {
        weir_log_tell_left_out(log);
        nanosleep(&(struct timespec){.tv_nsec = WEIR_NS_PER_MS}, NULL);
    }
    for (int i = 0; i < FLOODERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    struct weir_log_counts counts;
    weir_log_counts(log, &counts);
    weir_log_destroy(log);
    const char *text = take(rig);
    size_t written = count_lines(text, "warn  one") + count_lines(text, "warn  other");
    assert_int_equal(written + sum_left_out(text), FLOODERS * FLOOD_LINES);
    assert_int_equal(written + counts.left_out, FLOODERS * FLOOD_LINES);
    assert_int_equal(counts.dropped, 0);
    rig_destroy(rig);
}

// ---- guests' output ----

static void a_guests_line_has_its_name_and_cannot_steer_a_terminal(void **state) {
    (void)state;
    static const struct {
        struct weir_str line;
        const char *shown;
    } rows[] = {
        {WEIR_STR("hello"), "[g] hello\n"},
        {WEIR_STR(""), "[g] \n"},
        {{NULL, 0}, "[g] \n"},
        {WEIR_STR("a\tb \"c\" \\ \u00e4"), "[g] a\tb \"c\" \\ \u00e4\n"},
        {WEIR_STR("\033[2J\r\n[other] \0"), "[g] \\x1b[2J\\x0d\\x0a[other] \\x00\n"},
        {WEIR_STR("\xff\xc2\x9b"), "[g] \\xff\\xc2\\x9b\n"},
    };
    struct rig *rig = rig_create(WEIR_LOG_TEXT);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_true(weir_output_line(rig->fd, "g", rows[i].line));
        assert_string_equal(take(rig), rows[i].shown);
    }
    assert_true(weir_output_line(rig->fd, "\033[2J", WEIR_STR("x")));
    assert_string_equal(take(rig), "[\\x1b[2J] x\n");
    rig_destroy(rig);
}

static void a_guests_long_line_goes_on_and_nothing_of_it_is_missing(void **state) {
    (void)state;
    struct rig *rig = rig_create(WEIR_LOG_TEXT);
    enum { LINE_BYTES = 30000 };
    char *line = malloc(LINE_BYTES), *joined = malloc(LINE_BYTES + 1);
    assert_true(line && joined);
    for (int i = 0; i + 1 < LINE_BYTES; i += 2) {
        memcpy(line + i, i % 26 == 0 ? "\u00e4" : "xy", 2);
    }
    for (size_t size = LINE_BYTES - 8; size <= LINE_BYTES; size += 2) {
        assert_true(
            weir_output_line(rig->fd, "guest", (struct weir_str){.data = line, .size = size}));
        take(rig);
        size_t filled = 0;
        bool is_first = true;
        for (char *at = rig->text, *end; *at; at = end + 1) {
            end = strchr(at, '\n');
            assert_non_null(end);
            assert_true(end + 1 - at <= WEIR_OUTPUT_LINE_BYTES_MAX);
            bool is_last = end[1] == '\0';
            assert_memory_equal(at, "[guest] ", 8);
            const char *from = at + 8 + (is_first ? 0 : 3), *to = end - (is_last ? 0 : 3);
            assert_true(is_first || strncmp(at + 8, "...", 3) == 0);
            assert_true(is_last || strncmp(to, "...", 3) == 0);
            assert_true(
                weir_utf8_valid((struct weir_str){.data = from, .size = (size_t)(to - from)}));
            assert_true(filled + (size_t)(to - from) <= LINE_BYTES);
            memcpy(joined + filled, from, (size_t)(to - from));
            filled += (size_t)(to - from);
            is_first = false;
        }
        assert_int_equal(filled, size);
        assert_memory_equal(joined, line, size);
    }
    free(line);
    free(joined);
    rig_destroy(rig);
}

// Writes lines until one is dropped, which must not take longer than is promised.
static void assert_drops(int fd) {
    for (int lines = 0;; lines++) {
        assert_true(lines < 100000);
        int64_t start_ns = weir_clock_monotonic_ns();
        if (!weir_output_line(fd, "g", WEIR_STR("a line of a guest that prints a lot"))) {
            assert_true(elapsed_ms(start_ns) >= WEIR_LOG_WAIT_MS - 1);
            assert_true(elapsed_ms(start_ns) < WEIR_LOG_WAIT_MS + SLACK_MS);
            return;
        }
    }
}

static void a_guests_output_waits_for_no_stuck_reader(void **state) {
    (void)state;
    int fds[2];
    open_pipe(fds);
    assert_drops(fds[1]);
    assert_int_equal(fcntl(fds[1], F_GETFL) & O_NONBLOCK, 0);
    close(fds[0]);
    close(fds[1]);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0); // as the journal's
    assert_drops(fds[1]);
    assert_int_equal(fcntl(fds[1], F_GETFL) & O_NONBLOCK, 0);
    close(fds[0]);
    close(fds[1]);
}

static void a_terminal_that_is_stopped_is_a_stuck_reader(void **state) {
    (void)state;
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(master >= 0);
    assert_int_equal(grantpt(master), 0);
    assert_int_equal(unlockpt(master), 0);
    char name[64];
    assert_int_equal(ptsname_r(master, name, sizeof name), 0);
    int slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(slave >= 0);
    assert_true(weir_output_line(slave, "g", WEIR_STR("goes on")));
    assert_int_equal(tcflow(slave, TCOOFF), 0); // what ^S does
    assert_drops(slave);
    assert_int_equal(tcflow(slave, TCOON), 0);
    close(slave);
    close(master);
}

int main(void) {
    signal(SIGPIPE, SIG_IGN); // as weir's main does
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_of_text_has_time_level_message_and_fields),
        cmocka_unit_test(what_could_be_mistaken_is_quoted),
        cmocka_unit_test(colour_is_of_the_level_alone),
        cmocka_unit_test(what_is_below_the_level_is_not_written),
        cmocka_unit_test(a_long_line_of_text_is_cut_and_says_so),
        cmocka_unit_test(a_line_of_json_is_an_object),
        cmocka_unit_test(a_number_is_one_in_json_and_stands_as_it_is_in_text),
        cmocka_unit_test(beyond_the_rate_lines_are_left_out_and_the_next_one_tells),
        cmocka_unit_test(a_message_that_goes_quiet_is_told_when_its_window_is_over),
        cmocka_unit_test(the_logs_end_tells_what_nobody_has_told),
        cmocka_unit_test(what_is_not_limited_is_written_whole),
        cmocka_unit_test(what_was_left_out_survives_a_reader_that_does_not_read),
        cmocka_unit_test(every_line_of_several_threads_is_written_or_counted),
        cmocka_unit_test(python_reads_every_line_of_json_whatever_the_bytes),
        cmocka_unit_test(fields_that_do_not_fit_are_left_out_whole),
        cmocka_unit_test(a_stuck_reader_costs_one_wait_and_is_told_what_was_dropped),
        cmocka_unit_test(a_line_of_which_a_part_was_taken_is_ended),
        cmocka_unit_test(a_reader_that_is_gone_ends_nothing),
        cmocka_unit_test(lines_of_several_threads_do_not_mix),
        cmocka_unit_test(a_guests_line_has_its_name_and_cannot_steer_a_terminal),
        cmocka_unit_test(a_guests_long_line_goes_on_and_nothing_of_it_is_missing),
        cmocka_unit_test(a_guests_output_waits_for_no_stuck_reader),
        cmocka_unit_test(a_terminal_that_is_stopped_is_a_stuck_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
