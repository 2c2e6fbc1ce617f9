#!/bin/sh
# Downloads fleet-agent from a coordinator and puts it into a directory, whole or not at all. For any POSIX shell, dash and
# busybox included, with curl or wget. The token is given in the environment and never on a command line.
#
#   curl -fsS http://COORDINATOR:7700/install.sh | FLEET_ENROLL_TOKEN=... sh -s -- --dir /opt/fleet

# Filled in by the coordinator.
coordinator_here='@COORDINATOR_URL@'

EXIT_USAGE=64
EXIT_NO_DIRECTORY=66
EXIT_NO_ANSWER=69
EXIT_MISBEHAVED=70
EXIT_NO_TOOL=72
EXIT_TARGET=73
EXIT_TRY_AGAIN=75
EXIT_ODD_ANSWER=76
EXIT_PERMISSION=77
EXIT_CONFIG=78
EXIT_READ_ONLY=80
EXIT_NO_SPACE=81
EXIT_NOEXEC=82
EXIT_NO_ARCH=83
EXIT_OLD_CPU=84
EXIT_CORRUPTED=85

# Downloads take as long as they take; one that stands still for so long is given up.
SILENT_S=30
# What a killed run has left is removed by a later one after so long.
LEFTOVER_MINUTES=60

usage() {
  cat <<'END'
Usage: install.sh [--dir DIR]

Downloads fleet-agent for this processor and installs it as DIR/fleet-agent (default /opt/fleet).

  FLEET_ENROLL_TOKEN        the enrolment token; or FLEET_AGENT_TOKEN
  FLEET_ENROLL_TOKEN_FILE   a file that holds it
  FLEET_COORDINATOR_URL     the coordinator, when it is not the one this script came from

Exit codes: 0 installed, or there already; 64 usage; 66 no directory; 69 no answer, or cut off; 70 the agent does not
run as it should; 72 a tool is missing; 73 DIR/fleet-agent is a directory; 75 try again later; 76 an odd answer;
77 permission; 78 no address, no token or a wrong one; 80 read-only; 81 no space; 82 noexec; 83 no agent for this
processor; 84 processor too old; 85 sha256 differs.
END
}

fail() {
  code=$1
  shift
  printf 'install.sh: %s\n' "$*" >&2
  exit "$code"
}

has() {
  command -v "$1" >/dev/null 2>&1
}

# What is under way is ended and what is staged is removed, whatever ends the script.
cleanup() {
  [ -z "$child" ] || kill "$child" 2>/dev/null
  [ -z "$work" ] || rm -rf "$work"
}

read_arguments() {
  dir=/opt/fleet
  while [ $# -gt 0 ]; do
    case $1 in
      --dir) [ $# -ge 2 ] || fail $EXIT_USAGE '--dir needs a directory'; dir=$2; shift ;;
      --dir=*) dir=${1#--dir=} ;;
      -h | --help) usage; exit 0 ;;
      *) fail $EXIT_USAGE "unknown argument: $1; --help tells which there are" ;;
    esac
    shift
  done
  case $dir in
    '') fail $EXIT_USAGE '--dir needs a directory' ;;
    -*) dir=./$dir ;;
  esac
}

read_settings() {
  url=${FLEET_COORDINATOR_URL:-$coordinator_here}
  url=${url%/}
  case $url in
    *[!]A-Za-z0-9.:/_~%[-]*) fail $EXIT_CONFIG 'FLEET_COORDINATOR_URL holds a character that has no place in it' ;;
    http://?* | https://?*) ;;
    '') fail $EXIT_CONFIG 'FLEET_COORDINATOR_URL is not set; it is needed, such as http://coordinator:7700' ;;
    *) fail $EXIT_CONFIG 'FLEET_COORDINATOR_URL: must begin with http:// or https://' ;;
  esac
  token=${FLEET_AGENT_TOKEN:-${FLEET_ENROLL_TOKEN:-}}
  if [ -z "$token" ] && [ -n "${FLEET_ENROLL_TOKEN_FILE:-}" ]; then
    [ -r "$FLEET_ENROLL_TOKEN_FILE" ] || fail $EXIT_CONFIG "FLEET_ENROLL_TOKEN_FILE: $FLEET_ENROLL_TOKEN_FILE can't be read"
    # Without the line end, and without a tool that may be missing.
    read -r token <"$FLEET_ENROLL_TOKEN_FILE" || [ -n "$token" ] || fail $EXIT_CONFIG "$FLEET_ENROLL_TOKEN_FILE is empty"
  fi
  case $token in
    *[!A-Za-z0-9._~+/=-]*) fail $EXIT_CONFIG 'the token holds a character that is none of A-Z a-z 0-9 . _ ~ + / = -' ;;
  esac
  # What we start needs none of these, and must not show them.
  unset FLEET_AGENT_TOKEN FLEET_ENROLL_TOKEN
}

find_arch() {
  machine=$(uname -m) || fail $EXIT_NO_TOOL 'uname is missing'
  case $machine in
    x86_64 | amd64) arch=x86_64 ;;
    aarch64 | arm64) arch=aarch64 ;;
    *) fail $EXIT_NO_ARCH "there is no agent for this processor ($machine); there are x86_64 and aarch64" ;;
  esac
}

find_client() {
  if has curl; then client=curl
  elif ! has wget; then
    fail $EXIT_NO_TOOL 'neither curl nor wget is here; install one, or take fleet-agent from its image'
  elif wget --version 2>/dev/null | grep -q 'GNU Wget'; then client=gnu_wget
  elif wget --help 2>&1 | grep -q -- --post-file; then
    client=busybox_wget
    # Built without timeouts, it takes -T and crashes.
    wget --help 2>&1 | grep -q -- '-T SEC' && busybox_timeout="-T $SILENT_S"
  else
    fail $EXIT_NO_TOOL "this wget can't send a token but on its command line, where ps shows it; install curl"
  fi
}

# Makes the directory and a place of our own in it: on the same file system as the target, so that a rename will do.
stage() {
  target=$dir/fleet-agent
  said=$(LC_ALL=C mkdir -p "$dir" 2>&1) || cannot_write "$said"
  [ -d "$dir" ] || fail $EXIT_NO_DIRECTORY "$dir is not a directory"
  [ ! -d "$target" ] || fail $EXIT_TARGET "$target is a directory; remove it, or install elsewhere with --dir"
  find "$dir" -maxdepth 1 -name '.fleet-agent.download.*' -mmin +$LEFTOVER_MINUTES -exec rm -rf {} + 2>/dev/null
  # Containers that share a volume may have the same process ids.
  n=0
  until said=$(umask 077 && LC_ALL=C mkdir "$dir/.fleet-agent.download.$$.$n" 2>&1); do
    n=$((n + 1))
    [ -e "$dir/.fleet-agent.download.$$.$((n - 1))" ] && [ $n -lt 100 ] || cannot_write "$said"
  done
  work=$dir/.fleet-agent.download.$$.$n
}

cannot_write() {
  case $1 in
    *'Read-only'*) fail $EXIT_READ_ONLY "$dir is on a read-only file system" ;;
    *'No space'* | *'uota exceeded'*) fail $EXIT_NO_SPACE "$dir has no space left" ;;
    *'Not a directory'* | *'File exists'*) fail $EXIT_NO_DIRECTORY "$dir is not a directory" ;;
    *'Permission denied'* | *'not permitted'*)
      fail $EXIT_PERMISSION "$dir can't be written by uid $(id -u); run as its owner, or name another with --dir" ;;
    *) fail $EXIT_NO_DIRECTORY "$dir can't be used: $1" ;;
  esac
}

# fetch PATH FILE: asks the coordinator, and sets status, 000 when there was no answer, and ended, the client's exit code.
# The client runs in the background, because a shell that waits hears signals, and in the place of its subshell, so that it
# can be ended. A proxy of the image's is not used: it would get the token. What is in the staging directory, others can't
# read.
fetch() {
  status=000
  : >"$work/log"
  fetch_with_$client "$url$1" "$2" &
  child=$!
  wait "$child"
  ended=$?
  child=
  rm -f "$work/token"
  [ "$client" = curl ] || status=$(sed -n 's|.*HTTP/[0-9.]* \([0-9][0-9][0-9]\).*|\1|p' "$work/log" | tail -n 1)
  [ "$client" != curl ] || status=$(cat "$work/status" 2>/dev/null)
  # busybox tells the status only of what went wrong.
  [ -n "$status" ] || if [ "$ended" -eq 0 ]; then status=200; else status=000; fi
}

fetch_with_curl() {
  exec curl -q --config - -sS --noproxy '*' --speed-limit 1 --speed-time $SILENT_S --connect-timeout $SILENT_S \
    -o "$2" -w '%{http_code}' "$1" >"$work/status" 2>"$work/log" <<END
header = "X-Fleet-Agent-Token: $token"
END
}

fetch_with_gnu_wget() {
  printf 'header = X-Fleet-Agent-Token: %s\nuse_proxy = off\n' "$token" >"$work/token" || exit 3
  export WGETRC="$work/token"
  exec wget -S --max-redirect=0 --tries=1 --timeout=$SILENT_S -O "$2" "$1" 2>"$work/log"
}

fetch_with_busybox_wget() {
  printf '%s' "$token" >"$work/token" || exit 1
  # shellcheck disable=SC2086 # Two words, or none.
  exec wget -Y off $busybox_timeout --post-file "$work/token" -O "$2" "$1" 2>"$work/log"
}

# Ends the script unless the last fetch went well.
check_fetch() {
  reason=$(grep . "$work/log" 2>/dev/null | tail -n 1)
  case $status in
    200) ;;
    000) no_space_left "${bytes:-0}" || fail $EXIT_NO_ANSWER "$url does not answer: $reason" ;;
    401) fail $EXIT_CONFIG "$url refuses the token; set FLEET_ENROLL_TOKEN or FLEET_ENROLL_TOKEN_FILE" ;;
    404) fail $EXIT_NO_ARCH "$url has no agent for $arch" ;;
    503) fail $EXIT_TRY_AGAIN "$url offers no agents, or too many are being downloaded; see its agent_binaries, or try again" ;;
    *) fail $EXIT_ODD_ANSWER "$url answers $status; is that a coordinator?" ;;
  esac
  [ "$ended" -eq 0 ] && return
  no_space_left "${bytes:-0}" || fail $EXIT_NO_ANSWER "the download was cut off; run this again: $reason"
}

# Fails for want of space when there is not that much; false when there is, or when it can't be told.
no_space_left() {
  free=$(df -Pk "$dir" 2>/dev/null | tail -n 1)
  # shellcheck disable=SC2086 # Its fields are wanted.
  set -- "$1" $free
  case ${5:-} in
    '' | *[!0-9]*) return 1 ;;
  esac
  have=0
  [ ! -f "$work/fleet-agent" ] || have=$(wc -c <"$work/fleet-agent")
  [ $((($1 - have) / 1024)) -ge "$5" ] || return 1
  fail $EXIT_NO_SPACE "$dir has no space: $(($1 / 1048576)) MiB are needed, $(($5 / 1024)) MiB free"
}

# The sha256 of a file, by whatever is here; nothing when nothing is.
sha256_of() {
  if has sha256sum; then sha256sum <"$1"
  elif has shasum; then shasum -a 256 <"$1"
  elif has openssl; then openssl dgst -sha256 -r <"$1"
  fi | sed -n 's/^\([0-9a-f]\{64\}\).*/\1/p'
}

# Of the file that was downloaded. Without a tool its own installer reads it back and says so; it makes a copy to do that.
sha256_of_download() {
  sha256_of "$1" | grep . && return
  mkdir "$work/copy" && "$1" install --json "$work/copy" 2>/dev/null | sed -n 's/.*"sha256":"\([0-9a-f]\{64\}\)".*/\1/p'
  rm -rf "$work/copy"
}

# Which file there is for this processor: sets bytes and wanted.
ask_which() {
  fetch /api/v1/agent/info "$work/info"
  check_fetch
  entry=$(tr '{' '\n' <"$work/info" | grep "\"arch\":\"$arch\"")
  [ -n "$entry" ] || {
    grep -q '"agents"' "$work/info" || fail $EXIT_ODD_ANSWER "$url is no coordinator"
    fail $EXIT_NO_ARCH "$url has no agent for $arch"
  }
  wanted=$(printf '%s\n' "$entry" | sed -n 's/.*"sha256":"\([0-9a-f]\{64\}\)".*/\1/p')
  bytes=$(printf '%s\n' "$entry" | sed -n 's/.*"bytes":\([0-9]*\).*/\1/p')
  [ -n "$wanted" ] && [ -n "$bytes" ] || fail $EXIT_ODD_ANSWER "$url tells no sha256"
}

# A file that can't be run here, or not as it should, does not replace one that can.
try_out() {
  "$1" --version >"$work/version" 2>&1
  ran=$?
  case $ran in
    0) version=$(cat "$work/version") ;;
    126) fail $EXIT_NOEXEC "programs can't be run from $dir (mounted noexec, or by policy); name another with --dir" ;;
    132) fail $EXIT_OLD_CPU 'this processor lacks instructions the agent needs' ;;
    *) fail $EXIT_MISBEHAVED "the downloaded agent ends with $ran: $(tail -n 1 "$work/version")" ;;
  esac
}

main() {
  set -u
  work='' child='' bytes='' busybox_timeout=''
  read_arguments "$@"
  read_settings
  find_arch
  find_client
  trap cleanup EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  stage
  ask_which
  if [ -f "$target" ] && [ -x "$target" ] && [ "$(sha256_of "$target")" = "$wanted" ]; then
    echo "already installed $target: sha256 $wanted"
    exit 0
  fi
  no_space_left "$bytes"
  staged=$work/fleet-agent
  fetch "/api/v1/agent/binary?arch=$arch" "$staged"
  check_fetch
  chmod 755 "$staged" || fail $EXIT_PERMISSION "$staged can't be made executable"
  got=$(sha256_of_download "$staged")
  [ -n "$got" ] || fail $EXIT_NO_TOOL 'none of sha256sum, shasum and openssl is here, and the download does not tell its own sha256'
  [ "$got" = "$wanted" ] || fail $EXIT_CORRUPTED "sha256 of the download is $got, not $wanted; run this again"
  try_out "$staged"
  sync "$staged" 2>/dev/null
  mv -f "$staged" "$target" || fail $EXIT_PERMISSION "$target can't be replaced"
  echo "installed $target: version $version, $bytes bytes, sha256 $wanted"
}

# Last, and in braces, so that a script that was cut off does nothing.
{ main "$@"; exit; }
