#!/bin/sh
# A Docker engine in its own PID, mount and network namespaces. Must be the first process of these namespaces.
#
#   engine.sh DIR NAME     DIR holds all files and must be on a file system that supports overlays; NAME is the control group
#
# The engine ends when its stdin closes, and so also when its parent is killed. It then removes everything, including
# containers and DIR. Its output goes to DIR.log, which remains.

dir=$1
name=$2
exec >>"$dir.log" 2>&1
busybox ip link set lo up
dockerd --data-root "$dir/data" --exec-root "$dir/exec" --pidfile "$dir/pid" --host "unix://$dir/docker.sock" \
  --cgroup-parent "/$name" --exec-opt native.cgroupdriver=cgroupfs &
dockerd=$!
read -r _
# Otherwise dockerd would wait for each container to stop in order.
docker ps --quiet | xargs -r docker kill
kill "$dockerd"
wait "$dockerd"
# Kills everything left in this PID namespace.
kill -KILL -1
awk -v dir="$dir/" 'index($2, dir) == 1 { print $2 }' /proc/self/mounts | xargs -r umount -l
find /sys/fs/cgroup -depth -type d \( -name "$name" -o -path "*/$name/*" \) -exec rmdir {} +
rm -rf "$dir"
