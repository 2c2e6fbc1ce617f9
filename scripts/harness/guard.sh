#!/bin/sh
# Ends what the demo has started should the demo itself be killed with SIGKILL: then its end of our stdin closes unsaid.
#
#   guard.sh MARK DIR     MARK: a NAME=VALUE all those processes have in their environment; DIR, unless it is empty, is
#                         removed, with what is mounted in it
#
# On stdin: "started PID" and "ended PID" for the agents and the coordinator, "done" when the demo has cleaned up itself.

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

any_left() {
  for pid in $pids; do
    kill -0 "$pid" 2>/dev/null && return 0
  done
  return 1
}

for pid in $pids; do kill -TERM "$pid" 2>/dev/null; done
tries=0
while any_left && [ $((tries += 1)) -le 20 ]; do sleep 1; done
for pid in $pids; do kill -KILL "$pid" 2>/dev/null; done
for environ in /proc/[0-9]*/environ; do
  tr '\0' '\n' <"$environ" 2>/dev/null | grep -qxF -- "$mark" || continue
  pid=${environ#/proc/}
  kill -KILL "${pid%/environ}" 2>/dev/null
done
[ -n "$dir" ] || exit 0
while read -r _ at _; do
  case $at in "$dir"/*) umount -l "$at" ;; esac
done </proc/mounts
rm -rf "$dir"
