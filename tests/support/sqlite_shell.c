// SPDX-License-Identifier: Apache-2.0
//
// See sqlite_shell.h. Behind what is to be run, the shell is told to print a line that nothing else
// prints; what comes before that line is what was asked for. The test's thread only.
#include "support/sqlite_shell.h"

#include "unit/test.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ANSWER_BYTES = 65536 };

bool sqlite_shell_is_there(void) {
    return access("/usr/bin/sqlite3", X_OK) == 0 || access("/usr/local/bin/sqlite3", X_OK) == 0;
}

static const char *answer(struct sqlite_shell *shell) {
    static char text[ANSWER_BYTES];
    char line[ANSWER_BYTES], marker[32];
    snprintf(marker, sizeof marker, "done %u\n", shell->number);
    text[0] = '\0';
    for (size_t size = 0;;) {
        REQUIRE(fgets(line, sizeof line, shell->out) && "the shell has ended");
        if (strcmp(line, marker) == 0) {
            break;
        }
        int more = snprintf(text + size, sizeof text - size, "%s", line);
        REQUIRE(more >= 0 && (size_t)more < sizeof text - size);
        size += (size_t)more;
    }
    size_t size = strlen(text);
    if (size > 0 && text[size - 1] == '\n') {
        text[size - 1] = '\0';
    }
    return text;
}

__attribute__((format(printf, 2, 0))) static const char *run(struct sqlite_shell *shell,
                                                             const char *format, va_list args) {
    vfprintf(shell->in, format, args);
    fprintf(shell->in, "\n;\n.print done %u\n", ++shell->number);
    REQUIRE(fflush(shell->in) == 0);
    return answer(shell);
}

void sqlite_shell_open(struct sqlite_shell *shell, const char *path) {
    int in[2], out[2];
    *shell = (struct sqlite_shell){0};
    REQUIRE(pipe(in) == 0 && pipe(out) == 0);
    shell->pid = fork();
    REQUIRE(shell->pid >= 0);
    if (shell->pid == 0) {
        dup2(in[0], STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        dup2(out[1], STDERR_FILENO);
        close(in[0]);
        close(in[1]);
        close(out[0]);
        close(out[1]);
        execlp("sqlite3", "sqlite3", "-init", "/dev/null", "-batch", path, (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    shell->in = fdopen(in[1], "w");
    shell->out = fdopen(out[0], "r");
    REQUIRE(shell->in && shell->out);
    fprintf(shell->in, ".timeout 20000\n.headers off\n.bail off\n");
    sqlite_shell_run(shell, "SELECT 1 WHERE 0");
}

void sqlite_shell_close(struct sqlite_shell *shell) {
    if (shell->pid > 0) {
        fclose(shell->in);
        fclose(shell->out);
        waitpid(shell->pid, NULL, 0);
        shell->pid = 0;
    }
}

void sqlite_shell_run(struct sqlite_shell *shell, const char *format, ...) {
    va_list args;
    va_start(args, format);
    const char *text = run(shell, format, args);
    va_end(args);
    if (text[0] != '\0') {
        fail_msg("\"%s\" answered \"%s\"", format, text);
    }
}

const char *sqlite_shell_ask(struct sqlite_shell *shell, const char *format, ...) {
    va_list args;
    va_start(args, format);
    const char *text = run(shell, format, args);
    va_end(args);
    if (strstr(text, "rror")) {
        fail_msg("\"%s\" answered \"%s\"", format, text);
    }
    return text;
}

const char *sqlite_shell_try(struct sqlite_shell *shell, const char *format, ...) {
    va_list args;
    va_start(args, format);
    const char *text = run(shell, format, args);
    va_end(args);
    return text;
}
