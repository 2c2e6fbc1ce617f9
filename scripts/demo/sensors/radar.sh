#!/bin/sh
# A sensor in POSIX shell: prints the frames of a file, two a second, for ever. Runs in dash, bash and busybox.
#
# A sensor is any program that prints one frame a line. The agent starts it, reads what it prints and sends that on:
#
#     sensors:
#       - { name: radar, runtime: shell, command: [radar.sh, frames.jsonl] }

frames=$1
period_ms=500

# The agent ends its sensors with SIGTERM.
trap 'exit 0' TERM

# Not every date knows milliseconds, but Linux says for how long it has been up: "4711.08 …", in seconds.
look_at_clock() {
  read -r up _ </proc/uptime
  up_ms=${up%.*}${up#*.}0
}

look_at_clock
boot_ms=$(($(date +%s) * 1000 - up_ms))
due_ms=$up_ms
while :; do
  while read -r frame; do
    look_at_clock
    # This is where a real sensor would measure; this one says that what was recorded happens now:
    # it replaces the first key of {"timestamp":…,"delay":…}.
    printf '{"timestamp":%s,%s\n' $((boot_ms + up_ms)) "${frame#*,}" || exit 1
    # Until a period after the last frame was due, not after now, so that what the work took does not add up.
    due_ms=$((due_ms + period_ms))
    wait_ms=$((due_ms - up_ms))
    [ "$wait_ms" -le 0 ] && continue
    # In seconds: 70 ms are "0.070".
    padded=$((1000 + wait_ms))
    sleep "0.${padded#1}"
  done <"$frames" || exit 1
done
