# shellcheck shell=bash
# How the scripts of this project speak: one line for each step with the time that it took, the
# whole output of the step in a log, and the end of that log where the step failed. On a terminal
# the line of a step that takes longer than a second also says meanwhile how long it has taken, how
# long it took the last time that it went well, and how far ninja says that it is.
# Sourced; wants $log_dir, a folder that exists.

# The number of a failed step's last lines that are shown; 0 where somebody else shows them.
step_tail_lines=25

say() {
    printf '%s\n' "$*"
}

# fail TEXT: the cause and what to do, on stderr.
fail() {
    printf 'dev: %s\n' "$*" >&2
    return 1
}

# step TEXT COMMAND...: says TEXT, runs COMMAND with its output in a log, and adds the time.
# The command's status is returned; its last lines are shown where it is not 0. step_log is the log.
step() {
    local text=$1 status=0 start=$EPOCHREALTIME shows=
    shift
    step_log=$(tr -cs '[:alnum:]' '-' <<<"$text")
    step_log=${step_log#-} step_log=$log_dir/${step_log%-}.log
    printf '%-58s ' "$text"
    if [ -t 1 ]; then
        step_show "$BASHPID" "$text" "$start" &
        shows=$!
    fi
    "$@" >"$step_log" 2>&1 </dev/null || status=$?
    [ -z "$shows" ] || step_show_end "$shows" "$text"
    if [ "$status" -eq 0 ]; then
        printf '%7s\n' "$(seconds_since "$start") s"
        printf '%s\n' "$(seconds_since "$start")" >"$step_log.seconds"
        return 0
    fi
    printf '%7s  FAILED\n' "$(seconds_since "$start") s"
    [ "$step_tail_lines" -gt 0 ] && {
        printf -- '--- the last lines of: %s\n' "$*"
        tail -n "$step_tail_lines" "$step_log"
        printf -- '--- all of it: %s\n' "$step_log"
    } >&2
    return "$status"
}

# step_show PID TEXT EPOCHREALTIME: shows how far the step of $step_log is, each second while the
# process that runs it is there.
step_show() {
    local expected='' ninja=''
    # What was written there by somebody else, or in part, is not shown.
    read -r expected <"$step_log.seconds" && [[ $expected =~ ^[0-9]{1,6}\.[0-9]$ ]] || expected=
    while sleep 1 && kill -0 "$1"; do
        ninja=$(tail -c 4096 "$step_log" | grep -ao '^\[[0-9]*/[0-9]*\]' | tail -n 1)
        printf '\r%-58s %7s%s%s\033[K' "$2" "$(seconds_since "$3") s" \
            "${expected:+ of about $expected s}" "${ninja:+ $ninja}" >&3
    done
} 3>&1 >/dev/null 2>&1

# step_show_end PID TEXT: ends it, and leaves the line as it was.
step_show_end() {
    kill "$1" && wait "$1"
    printf '\r%-58s \033[K' "$2" >&3
} 3>&1 2>/dev/null

# seconds_since EPOCHREALTIME: with one decimal.
seconds_since() {
    local start_us=${1/./} now_us=${EPOCHREALTIME/./}
    local tenths=$(((now_us - start_us) / 100000))
    printf '%d.%d' $((tenths / 10)) $((tenths % 10))
}
