#!/bin/sh
# A Docker engine with process ids, mounts and a network of its own: run as the first process of new namespaces.
#
#   engine.sh DIR NAME     DIR: all its files, on a file system that overlays can lie on; NAME: its control group
#
# It ends when its stdin does, which is also when whoever started it is killed: then nothing of it is left, containers and
# DIR included. What is written to stdout and stderr goes to DIR.log, which stays.

dir=$1
name=$2
exec >>"$dir.log" 2>&1
busybox ip link set lo up
dockerd --data-root "$dir/data" --exec-root "$dir/exec" --pidfile "$dir/pid" --host "unix://$dir/docker.sock" \
  --cgroup-parent "/$name" --exec-opt native.cgroupdriver=cgroupfs &
dockerd=$!
read -r _
# Else it would wait for each to stop in order.
docker ps --quiet | xargs -r docker kill
kill "$dockerd"
wait "$dockerd"
# All that is left in this process namespace.
kill -KILL -1
awk -v dir="$dir/" 'index($2, dir) == 1 { print $2 }' /proc/self/mounts | xargs -r umount -l
find /sys/fs/cgroup -depth -type d \( -name "$name" -o -path "*/$name/*" \) -exec rmdir {} +
rm -rf "$dir"
