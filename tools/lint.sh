# shellcheck shell=bash
# The checks of the sources' text. Sourced by ./dev.

readonly lint_checks=(format tidy rooms banned shell)

# lint_run [CHECK...]: runs all, and fails where one failed. In a test run each is a case.
lint_run() {
    local check status all=0
    [ $# -gt 0 ] || set -- "${lint_checks[@]}"
    for check in "$@"; do
        if ! declare -F "lint_$check" >/dev/null; then
            usage_error "there is no check $check; there are: ${lint_checks[*]}"
            return 2
        fi
        status=passed
        step "lint: $check" "lint_$check" || status=failed all=1
        [ -z "${recording:-}" ] || record lint "$check" "$status" "$step_log"
    done
    return "$all"
}

# The project's own files: those that git knows or would add, and that are there.
lint_files() {
    git ls-files --cached --others --exclude-standard -- "$@" | sort -u |
        while read -r file; do [ ! -f "$file" ] || printf '%s\n' "$file"; done
}

# Shows what the formatter would change.
lint_format() {
    local files file
    mapfile -t files < <(lint_files '*.c' '*.h')
    # One run for all tells whether there is anything to show.
    clang-format-19 --dry-run -Werror "${files[@]}" 2>/dev/null && return 0
    for file in "${files[@]}"; do
        clang-format-19 "$file" | diff -u --label "$file" --label "formatted" "$file" -
    done
    return 1
}

lint_format_in_place() {
    lint_files '*.c' '*.h' | xargs -r clang-format-19 -i
}

# The commands of the compiler come from the release build.
lint_tidy() {
    lint_files 'src/*.c' | "$python" tools/lint/tidy.py build "$cache/tidy"
}

lint_rooms() {
    "$python" tools/lint/rooms.py
}

lint_banned() {
    lint_files | "$python" tools/lint/banned.py
}

# The files that a script sources are checked with it: alone, each misses the others' variables.
lint_shell() {
    shellcheck --external-sources --check-sourced dev .ci/run tests/fresh &&
        lint_files 'examples/*.sh' 'bench/*.sh' 'tests/*.sh' | xargs -r shellcheck
}
