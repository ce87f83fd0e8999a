# shellcheck shell=bash
# The parts of ./dev test. Each leaves what it found under $results, as its tool writes it; at the
# end tools/test_summary.py counts the cases, names the failed ones and judges. Sourced by ./dev.

results=build/results
# What a run leaves for people to look at: pictures of the console.
artefacts=build/artefacts

# All fuzzers together, in a run of every test. `./dev fuzz` is for longer.
readonly fuzz_seconds_total=60
# An input that takes longer is a finding. Sanitized code on a busy machine is slow.
readonly fuzz_input_seconds_max=10
readonly fuzz_memory_mib_max=2048
# For those of one SDK; the first time its dependencies are compiled.
readonly sdk_seconds_max=900
# For one scenario, and for all of them together.
readonly scenario_seconds_max=60
readonly scenarios_seconds_max=2400
readonly scenario_processes=2

readonly test_parts=(unit sdk fuzz scenario lint)

# test_parts_exist [PART...]
test_parts_exist() {
    local part
    for part in "$@"; do
        if [[ " ${test_parts[*]} " != *" $part "* ]]; then
            usage_error "the tests have no part $part; there are: ${test_parts[*]}"
            return 2
        fi
    done
}

# test_run [PART...]: runs the parts, all without one.
test_run() {
    local part start=$EPOCHREALTIME
    # The summary shows what failed.
    local step_tail_lines=0 recording=yes
    [ $# -gt 0 ] || set -- "${test_parts[@]}"
    rm -rf "$results" "$artefacts" && mkdir -p "$results" "$artefacts" || return 1
    # What fails is counted below; the other parts are still run.
    for part in "$@"; do
        "test_$part"
    done
    say "tested in $(seconds_since "$start") s"
    "$python" tools/test_summary.py "$results"
}

# record SUITE NAME passed|failed|skipped LOG: one case of a tool that writes no report.
record() {
    printf '%s\t%s\t%s\t%s\n' "$@" >>"$results/cases.tsv"
}

# The unit tests and the contract suite, under both sanitizers.
test_unit() {
    test_unit_in asan
    test_unit_in tsan
}

test_unit_in() {
    local dir
    dir=$(build_dir "$1")
    rm -f "$dir/meson-logs/testlog.json"
    step "unit tests and contracts, $1" env \
        WEIR_SERVERS_DIR="$servers_dir" WEIR_PYTHON="$venv/bin/python" \
        meson test -C "$dir" --no-rebuild \
        --num-processes "$(nproc)" --suite unit --suite contract --print-errorlogs
    if [ -e "$dir/meson-logs/testlog.json" ]; then
        cp "$dir/meson-logs/testlog.json" "$results/unit-$1.json"
    else
        record "unit-$1" "meson test" failed "$step_log"
    fi
}

# What of the SDKs needs no host, by the tools of their languages.
test_sdk() {
    local host
    host=$("$rustc" -vV | sed -n 's/^host: //p')
    # As the guests are built, so that what runs while it compiles is there already.
    sdk_case rust env CARGO_TARGET_DIR="$cache/guests-target" RUSTC="$rustc" \
        RUSTDOC="${rustc%rustc}rustdoc" \
        "$cargo" test --locked --release --target "$host" --manifest-path sdk/rust/Cargo.toml
    if [ -n "$componentize_js" ]; then
        sdk_case js "$componentize_js/node" --test sdk/js/test/pure.test.mjs
        sdk_case js-types "$componentize_js/node" "$componentize_js/node_modules/typescript/lib/tsc.js" \
            --noEmit --strict --target es2022 --module nodenext --types '' sdk/js/test/types.ts
    else
        record sdk js skipped "$log_dir"
    fi
    sdk_case python "$venv/bin/python" -B -m pytest -c tests/scenario/pytest.ini \
        --rootdir sdk/python -q sdk/python/tests
}

# sdk_case NAME COMMAND...
sdk_case() {
    local name=$1 status=passed
    shift
    step "the SDK, $name" timeout --kill-after=10 "$sdk_seconds_max" "$@" || status=failed
    record sdk "$name" "$status" "$step_log"
}

# fuzz_names: the fuzzers that were built.
fuzz_names() {
    local program
    for program in build-asan/tests/fuzz-*; do
        [ -f "$program" ] && [ -x "$program" ] && printf '%s\n' "${program##*/fuzz-}"
    done
}

test_fuzz() {
    local names name seconds status
    mapfile -t names < <(fuzz_names)
    [ ${#names[@]} -gt 0 ] || return 0
    seconds=$(((fuzz_seconds_total + ${#names[@]} - 1) / ${#names[@]}))
    for name in "${names[@]}"; do
        status=passed
        step "fuzzing $name for $seconds s" fuzz_one "$name" "$seconds" || status=failed
        record fuzz "$name" "$status" "$step_log"
    done
}

# fuzz_one NAME SECONDS: starts from the kept inputs; new ones and findings go to build-asan/fuzz.
fuzz_one() {
    local work=build-asan/fuzz/$1 folders
    folders=("$work/inputs")
    [ ! -d "tests/fuzz/corpus/$1" ] || folders+=("tests/fuzz/corpus/$1")
    # The words of its language, where there is a file of them.
    [ ! -f "tests/fuzz/$1.dict" ] || folders+=("-dict=tests/fuzz/$1.dict")
    mkdir -p "$work/inputs" || return 1
    "build-asan/tests/fuzz-$1" "${folders[@]}" \
        -max_total_time="$2" -timeout="$fuzz_input_seconds_max" \
        -rss_limit_mb="$fuzz_memory_mib_max" -artifact_prefix="$work/" -print_final_stats=1
}

# fuzz_by_hand NAME SECONDS: as above in sight, and keeps the inputs that reach new code.
fuzz_by_hand() {
    local name=$1 seconds=$2
    if [ ! -x "build-asan/tests/fuzz-$name" ]; then
        fail "there is no fuzzer $name; there are: $(fuzz_names | paste -sd ' ')"
        return 2
    fi
    fuzz_one "$name" "$seconds" && mkdir -p "tests/fuzz/corpus/$name" || return
    "build-asan/tests/fuzz-$name" -merge=1 "tests/fuzz/corpus/$name" "build-asan/fuzz/$name/inputs" &&
        say "the kept inputs are in tests/fuzz/corpus/$name"
}

# The scenarios drive the real program: the one with AddressSanitizer, then those marked `tsan`
# with ThreadSanitizer's.
test_scenario() {
    test_scenario_in asan
    test_scenario_in tsan -m tsan
}

test_scenario_in() {
    local build=$1 dir status=0
    shift
    dir=$(build_dir "$build")
    # To say which scenario hangs is pytest-timeout's; the whole has a bound of its own.
    step "scenarios, $build" env \
        WEIR_BIN="$root/$dir/weir" \
        WEIR_BUILD="$build" \
        WEIR_GUESTS_DIR="$root/build/guests" \
        WEIR_CACHE="$cache" CARGO="$cargo" RUSTC="$rustc" WEIR_RUST_SYSROOT="$rust_sysroot" \
        WEIR_COMPONENTIZE_JS="$componentize_js" WEIR_COMPONENTIZE_PY="$componentize_py" \
        WEIR_SERVERS_DIR="$servers_dir" WEIR_ARTEFACTS_DIR="$root/$artefacts" \
        timeout --kill-after=10 "$scenarios_seconds_max" \
        "$venv/bin/python" -m pytest -c tests/scenario/pytest.ini --rootdir tests/scenario \
        -n "$scenario_processes" --timeout "$scenario_seconds_max" -q "$@" \
        --junitxml="$root/$results/scenario-$build.xml" tests/scenario || status=$?
    # 5: pytest found nothing to run.
    if [ "$status" -ne 0 ] && [ "$status" -ne 5 ] && [ ! -e "$results/scenario-$build.xml" ]; then
        record "scenario-$build" pytest failed "$step_log"
    fi
}

test_lint() {
    lint_run
}
