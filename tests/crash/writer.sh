#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# As writer.py, in the shell: writer.sh NAME STORE CONTROL SEED
set -eu
name=$1 store=$2 control=$3 seed=$4
log=$control/$name.log
number=0

# A number below $1, in $picked.
pick() {
    seed=$(((seed * 1103515245 + 12345) % 2147483648))
    picked=$((seed / 65536 % $1))
}

change() {
    number=$((number + 1))
    pick 6
    key=$name-$picked
    value="$name $key $number"
    pick 10
    case $picked in
    0 | 1 | 2)
        echo "set $key $value|" >>"$log"
        echo "$value" >"$store/$key"
        ;;
    3 | 4)
        echo "set $key $value" >>"$log"
        printf '%s' "$value" >"$store/.$key"
        mv "$store/.$key" "$store/$key"
        ;;
    5 | 6)
        # Only what is there: where the value came from does not matter then.
        [ -e "$store/$key" ] || return 0
        echo "append $key $value|" >>"$log"
        echo "$value" >>"$store/$key"
        ;;
    7)
        [ -e "$store/$key" ] || return 0
        echo "del $key" >>"$log"
        rm "$store/$key"
        ;;
    *)
        key=$name.d/deep/$number
        echo "set $key $value $key" >>"$log"
        mkdir -p "$store/$name.d/deep"
        printf '%s' "$value $key" >"$store/$key"
        pick 4
        if [ "$picked" = 0 ]; then
            for path in "$store/$name.d/deep/"*; do
                echo "del $name.d/deep/${path##*/}" >>"$log"
            done
            rm -r "$store/$name.d"
        fi
        ;;
    esac
    echo end >>"$log"
}

while [ ! -e "$control/stop" ]; do
    if [ -e "$control/pause" ]; then
        sleep 0.01
        continue
    fi
    for _ in 1 2 3 4 5 6 7 8; do
        change
    done
    sleep 0.1
done
