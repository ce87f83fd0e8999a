# shellcheck shell=bash
# How the scripts of this project speak: one line for each step with the time that it took, the
# whole output of the step in a log, and the end of that log where the step failed.
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
    local text=$1 status=0 start=$EPOCHREALTIME
    shift
    step_log=$(tr -cs '[:alnum:]' '-' <<<"$text")
    step_log=${step_log#-} step_log=$log_dir/${step_log%-}.log
    printf '%-58s ' "$text"
    "$@" >"$step_log" 2>&1 </dev/null || status=$?
    if [ "$status" -eq 0 ]; then
        printf '%7s\n' "$(seconds_since "$start") s"
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

# seconds_since EPOCHREALTIME: with one decimal.
seconds_since() {
    local start_us=${1/./} now_us=${EPOCHREALTIME/./}
    local tenths=$(((now_us - start_us) / 100000))
    printf '%d.%d' $((tenths / 10)) $((tenths % 10))
}
