#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Shows weir at work: runs the seed's program on a directory, changes keys as a user would, and
# shows what the guest's handler said to each change. Ends by itself: with 0 if every change was
# handled, with 1 and the log if not.
#
#     examples/seed/demo.sh [BUILD_DIR]      (build, unless told otherwise)
set -euo pipefail

readonly wait_s=20 # for weir to be ready, for each event, and for weir to end

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=$(cd "${1:-build}" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/weir-demo.XXXXXX")
weir_pid=

finish() {
    if [ -n "$weir_pid" ]; then
        kill -KILL "$weir_pid" 2>/dev/null || true
        wait "$weir_pid" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap finish EXIT

fail() {
    printf '\ndemo: %s\n' "$1" >&2
    if [ -s "$work/log" ]; then
        printf 'what weir logged:\n' >&2
        sed 's/^/    /' "$work/log" >&2
    fi
    exit 1
}

# Waits until a command succeeds, for as long as weir runs.
wait_until() {
    local what=$1 deadline=$((SECONDS + wait_s))
    shift
    until "$@"; do
        kill -0 "$weir_pid" 2>/dev/null || fail "weir ended while waiting for $what"
        [ "$SECONDS" -lt "$deadline" ] || fail "waited $wait_s s in vain for $what"
        sleep 0.02
    done
}

# Whether weir has logged that the guest listens.
is_listening() {
    grep -q listening "$work/log"
}

# Whether the guest has handled N events of a key.
has_handled() {
    [ "$(grep -c "this event $1 has been handled" "$work/out")" -ge "$2" ]
}

# Types a command, runs it, and shows what the guest said until it has handled the Nth event of a
# key.
change() {
    local command=$1 key=$2 count=$3 shown
    shown=$(wc -l <"$work/out")
    printf '  $ %s\n' "$command"
    bash -c "$command" || fail "this failed: $command"
    wait_until "the event of $key" has_handled "$key" "$count"
    tail -n +$((shown + 1)) "$work/out" | sed 's/^/      /'
}

# Runs a guest, makes three changes, and ends weir as Ctrl-C would.
show() {
    local guest=$1 status=0 deadline
    rm -rf my-container
    mkdir my-container
    : >"$work/out"
    : >"$work/log"
    printf '  $ weir run %s --resource my-container=file:./my-container &\n' "$guest"
    "$build/weir" run "$build/guests/$guest" --resource my-container=file:./my-container \
        >"$work/out" 2>"$work/log" &
    weir_pid=$!
    wait_until "the guest to listen" is_listening

    change "weir kv set file:./my-container my-key1 'set with weir'" my-key1 1
    change "echo 'written by the shell' >my-container/my-key2" my-key2 1
    change "echo 'moved into place' >draft && mv draft my-container/my-key1" my-key1 2

    # Each with what was written.
    for text in 'set with weir' 'written by the shell' 'moved into place'; do
        grep -q "data: *$text" "$work/out" || fail "no event brought \"$text\""
    done

    printf '  $ kill %%1\n'
    kill -TERM "$weir_pid"
    deadline=$((SECONDS + wait_s))
    while kill -0 "$weir_pid" 2>/dev/null; do
        [ "$SECONDS" -lt "$deadline" ] || fail "weir did not end within $wait_s s"
        sleep 0.02
    done
    wait "$weir_pid" || status=$?
    weir_pid=
    [ "$status" -eq 0 ] || fail "weir ended with $status"
}

[ -x "$build/weir" ] || fail "$build/weir is not there: run ./dev build"
[ -e "$build/guests/seed.wasm" ] || fail "$build/guests/seed.wasm is not there: run ./dev build"
cd "$work"
PATH=$build:$PATH

printf 'A guest in C (examples/seed/seed.c) watches my-key1 and my-key2 of a directory.\n\n'
show seed.wasm
if [ -e "$build/guests/seed-rust.wasm" ]; then
    printf '\nThe same guest in Rust (examples/seed/seed-rust).\n\n'
    show seed-rust.wasm
fi

cat <<END

Every change reached its handler. To go on:
  - Leave it running, and change files in another terminal:
        ${build#"$top/"}/weir run examples/seed/weir.yaml
        echo hello >examples/seed/my-container/my-key1
  - Change what the handler does in examples/seed/seed.c, then ./dev build, and run it again.
  - See what a guest may use: sdk/c/README.md; what can be configured: weir help config.
END
