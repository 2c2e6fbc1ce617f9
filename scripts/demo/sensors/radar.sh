#!/bin/sh
# A sensor in POSIX shell: prints the frames of a file, two per second, forever. Runs in dash, bash and busybox.
#
# A sensor is any program that prints one frame per line. The agent starts it, reads its output and forwards the frames:
#
#     sensors:
#       - { name: radar, runtime: shell, command: [radar.sh, frames.jsonl] }

frames=$1
period_ms=500

# The agent stops its sensors with SIGTERM.
trap 'exit 0' TERM

# Not every `date` has milliseconds, but Linux reports its uptime in seconds: "4711.08 …".
read_clock() {
  read -r up _ </proc/uptime
  up_ms=${up%.*}${up#*.}0
}

read_clock
boot_ms=$(($(date +%s) * 1000 - up_ms))
due_ms=$up_ms
while :; do
  while read -r frame; do
    read_clock
    # A real sensor would measure here. This one replaces the recorded time, the first key of
    # {"timestamp":…,"delay":…}, with the current time.
    printf '{"timestamp":%s,%s\n' $((boot_ms + up_ms)) "${frame#*,}" || exit 1
    # Sleep until one period after the last frame was due, not after now, so that delays do not add up.
    due_ms=$((due_ms + period_ms))
    wait_ms=$((due_ms - up_ms))
    [ "$wait_ms" -le 0 ] && continue
    # sleep takes seconds: 70 ms is "0.070".
    padded=$((1000 + wait_ms))
    sleep "0.${padded#1}"
  done <"$frames" || exit 1
done
