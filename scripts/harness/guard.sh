#!/bin/sh
# Kills everything a script has started when the script itself is killed with SIGKILL. The script holds the other end of our
# stdin; if that closes before the line "done", the script is gone.
#
#   guard.sh MARK DIR     MARK is a NAME=VALUE in the environment of every process to kill.
#                         DIR, unless empty, is removed after everything mounted below it is unmounted.
#
# Lines on stdin: "started PID" and "ended PID" for each process the script starts itself, and "done" once it has cleaned up.
# The PIDs are needed because the agent and the coordinator hide their environment from other processes of their user.

mark=$1
dir=$2
pids=' '
while read -r word pid; do
  case $word in
    started) pids="$pids$pid " ;;
    ended) pids="${pids%% "$pid" *} ${pids#* "$pid" }" ;;
    done) exit 0 ;;
  esac
done

# Succeeds if it found any.
kill_marked() {
  found=1
  for environ in /proc/[0-9]*/environ; do
    tr '\0' '\n' <"$environ" 2>/dev/null | grep -qxF -- "$mark" || continue
    pid=${environ#/proc/}
    kill -KILL "${pid%/environ}" 2>/dev/null && found=0
  done
  return $found
}

for pid in $pids; do kill -KILL "$pid" 2>/dev/null; done
# A process may start another before it is killed, so look again, at most five times.
rounds=0
while kill_marked && [ $((rounds += 1)) -lt 5 ]; do :; done
[ -n "$dir" ] || exit 0
while read -r _ at _; do
  case $at in "$dir"/*) umount -l "$at" ;; esac
done </proc/mounts
rm -rf "$dir"
