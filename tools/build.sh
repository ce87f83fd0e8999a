# shellcheck shell=bash
# The four builds of weir, each in a folder of its own. Sourced by ./dev, after setup_build.

# release: what is shipped, with gcc. asan: AddressSanitizer, UBSan and coverage for the fuzzers;
# tsan: ThreadSanitizer; clang: nothing but a second compiler's warnings.
readonly build_names=(release asan tsan clang)

# A build that somebody else has under way in the same folder.
readonly build_lock_seconds_max=900

build_dir() {
    if [ "$1" = release ]; then echo build; else echo "build-$1"; fi
}

# The compiler and meson's options of a build: sets cc and options.
build_recipe() {
    cc=clang-19
    options=(-Dengine_dir="$engine_dir")
    case $1 in
    release)
        cc=gcc
        options+=(-Dguests=true -Dguest_wit_tool="$wit_tool" -Dguest_cargo="$cargo" -Dguest_rustc="$rustc"
            -Dguest_rust_sysroot="$rust_sysroot" -Dguest_rust_target_dir="$cache/guests-target")
        ;;
    asan) options+=(-Dtests=true -Dfuzz=true -Dsteps=true -Doptimization=1 -Db_lundef=false
        "-Db_sanitize=address,undefined") ;;
    tsan) options+=(-Dtests=true -Dsteps=true -Doptimization=1 -Db_lundef=false -Db_sanitize=thread) ;;
    clang) options+=(-Dtests=true -Dsteps=true) ;;
    *)
        usage_error "there is no build $1"
        return 2
        ;;
    esac
}

# build_configure NAME: runs meson where it has not run with these options.
build_configure() {
    local dir cc options
    build_recipe "$1" || return
    dir=$(build_dir "$1")
    local recipe="$cc ${options[*]}"
    if [ -e "$dir/build.ninja" ] && [ "$(cat "$dir/recipe" 2>/dev/null)" = "$recipe" ]; then
        return 0
    fi
    # Not with --wipe, which empties it as well, but gives the options of the last time once more and
    # fails where one of them is gone.
    rm -rf "$dir" || return 1
    step "configuring $dir" env CC="$cc" meson setup "$dir" "${options[@]}" &&
        printf '%s\n' "$recipe" >"$dir/recipe"
}

# build_target NAME [TARGET]: builds what is built by default, or the target.
build_target() {
    local dir
    dir=$(build_dir "$1")
    (
        lock_9 "$build_lock_seconds_max" "builds $dir" || exit 1
        build_configure "$1" && step "building $dir${2:+ ($2)}" ninja -C "$dir" -j "$(nproc)" ${2:+"$2"}
    ) 9>"$cache/build-$(key <<<"$root/$dir").lock"
}

# build_all NAME...: builds in that order, and stops at the first that fails.
build_all() {
    local name
    for name in "$@"; do
        build_target "$name" || return
    done
}
