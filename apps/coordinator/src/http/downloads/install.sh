#!/bin/sh
# Downloads fleet-agent from a coordinator and installs it into a directory, completely or not at all. Runs in any POSIX shell,
# including dash and busybox, with curl or wget. Reads the token from the environment and never puts it on a command line.
#
#   curl -fsS http://COORDINATOR:7700/install.sh | FLEET_ENROLL_TOKEN=... sh -s -- --dir /opt/fleet

# The coordinator fills this in.
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

# A download may take any time, but is given up when it makes no progress for this long.
SILENT_S=30
# A later run removes the files of a killed run after this time.
LEFTOVER_MINUTES=60

usage() {
  cat <<'END'
Usage: install.sh [--dir DIR]

Downloads fleet-agent for this processor and installs it as DIR/fleet-agent (default /opt/fleet).

  FLEET_ENROLL_TOKEN        the enrolment token; or FLEET_AGENT_TOKEN
  FLEET_ENROLL_TOKEN_FILE   a file that holds it
  FLEET_COORDINATOR_URL     the coordinator; by default the one that served this script

Exit codes: 0 installed, or already installed; 64 usage; 66 not a directory; 69 no answer, or interrupted; 70 the agent
does not run properly; 72 a tool is missing; 73 DIR/fleet-agent is a directory; 75 try again later; 76 unexpected answer;
77 permission denied; 78 no address, or no valid token; 80 read-only; 81 no space; 82 noexec; 83 no agent for this
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

# Ends a running download and removes staged files, however the script ends.
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
      *) fail $EXIT_USAGE "unknown argument: $1; --help lists the arguments" ;;
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
    *[!]A-Za-z0-9.:/_~%[-]*) fail $EXIT_CONFIG 'FLEET_COORDINATOR_URL contains an invalid character' ;;
    http://?* | https://?*) ;;
    '') fail $EXIT_CONFIG 'FLEET_COORDINATOR_URL is not set; set it to an address such as http://coordinator:7700' ;;
    *) fail $EXIT_CONFIG 'FLEET_COORDINATOR_URL must begin with http:// or https://' ;;
  esac
  token=${FLEET_AGENT_TOKEN:-${FLEET_ENROLL_TOKEN:-}}
  if [ -z "$token" ] && [ -n "${FLEET_ENROLL_TOKEN_FILE:-}" ]; then
    [ -r "$FLEET_ENROLL_TOKEN_FILE" ] || fail $EXIT_CONFIG "FLEET_ENROLL_TOKEN_FILE: cannot read $FLEET_ENROLL_TOKEN_FILE"
    # The shell's own read strips the line end and needs no other tool.
    read -r token <"$FLEET_ENROLL_TOKEN_FILE" || [ -n "$token" ] || fail $EXIT_CONFIG "$FLEET_ENROLL_TOKEN_FILE is empty"
  fi
  case $token in
    *[!A-Za-z0-9._~+/=-]*) fail $EXIT_CONFIG 'the token contains a character other than A-Z a-z 0-9 . _ ~ + / = -' ;;
  esac
  # Child processes need neither, and their environment can be read by others.
  unset FLEET_AGENT_TOKEN FLEET_ENROLL_TOKEN
}

find_arch() {
  machine=$(uname -m) || fail $EXIT_NO_TOOL 'uname is missing'
  case $machine in
    x86_64 | amd64) arch=x86_64 ;;
    aarch64 | arm64) arch=aarch64 ;;
    *) fail $EXIT_NO_ARCH "no agent is available for this processor ($machine), only for x86_64 and aarch64" ;;
  esac
}

find_client() {
  if has curl; then client=curl
  elif ! has wget; then
    fail $EXIT_NO_TOOL 'neither curl nor wget is installed; install one, or copy fleet-agent from its image'
  elif wget --version 2>/dev/null | grep -q 'GNU Wget'; then client=gnu_wget
  elif wget --help 2>&1 | grep -q -- --post-file; then
    client=busybox_wget
    # A busybox that was built without timeouts accepts -T and crashes.
    wget --help 2>&1 | grep -q -- '-T SEC' && busybox_timeout="-T $SILENT_S"
  else
    fail $EXIT_NO_TOOL "this wget can send a token only on its command line, where ps shows it; install curl"
  fi
}

# Creates the directory and a staging directory in it, on the target's file system so that a rename can replace the target.
stage() {
  target=$dir/fleet-agent
  output=$(LC_ALL=C mkdir -p "$dir" 2>&1) || cannot_write "$output"
  [ -d "$dir" ] || fail $EXIT_NO_DIRECTORY "$dir is not a directory"
  [ ! -d "$target" ] || fail $EXIT_TARGET "$target is a directory; remove it, or choose another directory with --dir"
  find "$dir" -maxdepth 1 -name '.fleet-agent.download.*' -mmin +$LEFTOVER_MINUTES -exec rm -rf {} + 2>/dev/null
  # Containers that share a volume may have equal process ids.
  n=0
  until output=$(umask 077 && LC_ALL=C mkdir "$dir/.fleet-agent.download.$$.$n" 2>&1); do
    n=$((n + 1))
    [ -e "$dir/.fleet-agent.download.$$.$((n - 1))" ] && [ $n -lt 100 ] || cannot_write "$output"
  done
  work=$dir/.fleet-agent.download.$$.$n
}

cannot_write() {
  case $1 in
    *'Read-only'*) fail $EXIT_READ_ONLY "$dir is on a read-only file system" ;;
    *'No space'* | *'uota exceeded'*) fail $EXIT_NO_SPACE "$dir has no space left" ;;
    *'Not a directory'* | *'File exists'*) fail $EXIT_NO_DIRECTORY "$dir is not a directory" ;;
    *'Permission denied'* | *'not permitted'*)
      fail $EXIT_PERMISSION "uid $(id -u) cannot write to $dir; run as its owner, or choose another directory with --dir" ;;
    *) fail $EXIT_NO_DIRECTORY "cannot use $dir: $1" ;;
  esac
}

# fetch PATH FILE: requests PATH from the coordinator. Sets status, 000 without a response, and ended, the client's exit code.
# The client runs in the background, because only a waiting shell handles signals, and replaces its subshell (exec), so that
# cleanup can end it. Proxies of the environment are not used, since they would see the token. Other users cannot read the
# staging directory.
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
  # busybox prints the status of errors only.
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
  # shellcheck disable=SC2086 # Expands to two words or none.
  exec wget -Y off $busybox_timeout --post-file "$work/token" -O "$2" "$1" 2>"$work/log"
}

# Ends the script unless the last fetch succeeded.
check_fetch() {
  reason=$(grep . "$work/log" 2>/dev/null | tail -n 1)
  case $status in
    200) ;;
    000) no_space_left "${bytes:-0}" || fail $EXIT_NO_ANSWER "$url does not answer: $reason" ;;
    401) fail $EXIT_CONFIG "$url refuses the token; set FLEET_ENROLL_TOKEN or FLEET_ENROLL_TOKEN_FILE" ;;
    404) fail $EXIT_NO_ARCH "$url has no agent for $arch" ;;
    503) fail $EXIT_TRY_AGAIN "$url offers no agents or has too many downloads in progress; check its agent_binaries, or try again" ;;
    *) fail $EXIT_ODD_ANSWER "$url answers $status and may not be a coordinator" ;;
  esac
  [ "$ended" -eq 0 ] && return
  no_space_left "${bytes:-0}" || fail $EXIT_NO_ANSWER "the download was interrupted; run this again: $reason"
}

# no_space_left BYTES: ends the script if less than BYTES is free; returns false if there is enough, or df does not say.
no_space_left() {
  free=$(df -Pk "$dir" 2>/dev/null | tail -n 1)
  # shellcheck disable=SC2086 # Splits it into fields.
  set -- "$1" $free
  case ${5:-} in
    '' | *[!0-9]*) return 1 ;;
  esac
  have=0
  [ ! -f "$work/fleet-agent" ] || have=$(wc -c <"$work/fleet-agent")
  [ $((($1 - have) / 1024)) -ge "$5" ] || return 1
  fail $EXIT_NO_SPACE "$dir has too little space: $(($1 / 1048576)) MiB needed, $(($5 / 1024)) MiB free"
}

# Prints the sha256 of a file with whichever tool is installed, or nothing if none is.
sha256_of() {
  if has sha256sum; then sha256sum <"$1"
  elif has shasum; then shasum -a 256 <"$1"
  elif has openssl; then openssl dgst -sha256 -r <"$1"
  fi | sed -n 's/^\([0-9a-f]\{64\}\).*/\1/p'
}

# Prints the sha256 of the download. Without a tool, the agent's own installer computes it while it makes a copy.
sha256_of_download() {
  sha256_of "$1" | grep . && return
  mkdir "$work/copy" && "$1" install --json "$work/copy" 2>/dev/null | sed -n 's/.*"sha256":"\([0-9a-f]\{64\}\)".*/\1/p'
  rm -rf "$work/copy"
}

# Asks for the size and sha256 of this processor's agent: sets bytes and wanted.
ask_which() {
  fetch /api/v1/agent/info "$work/info"
  check_fetch
  entry=$(tr '{' '\n' <"$work/info" | grep "\"arch\":\"$arch\"")
  [ -n "$entry" ] || {
    grep -q '"agents"' "$work/info" || fail $EXIT_ODD_ANSWER "$url is not a coordinator"
    fail $EXIT_NO_ARCH "$url has no agent for $arch"
  }
  wanted=$(printf '%s\n' "$entry" | sed -n 's/.*"sha256":"\([0-9a-f]\{64\}\)".*/\1/p')
  bytes=$(printf '%s\n' "$entry" | sed -n 's/.*"bytes":\([0-9]*\).*/\1/p')
  [ -n "$wanted" ] && [ -n "$bytes" ] || fail $EXIT_ODD_ANSWER "$url sent no sha256"
}

# Runs the download, so that an agent that does not run here never replaces one that does.
try_out() {
  "$1" --version >"$work/version" 2>&1
  ran=$?
  case $ran in
    0) version=$(cat "$work/version") ;;
    126) fail $EXIT_NOEXEC "programs cannot run from $dir (mounted noexec, or forbidden by policy); choose another directory with --dir" ;;
    132) fail $EXIT_OLD_CPU 'this processor lacks instructions that the agent needs' ;;
    *) fail $EXIT_MISBEHAVED "the downloaded agent fails with exit code $ran: $(tail -n 1 "$work/version")" ;;
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
  chmod 755 "$staged" || fail $EXIT_PERMISSION "cannot make $staged executable"
  got=$(sha256_of_download "$staged")
  [ -n "$got" ] || fail $EXIT_NO_TOOL 'none of sha256sum, shasum and openssl is installed, and the downloaded agent does not compute its own sha256'
  [ "$got" = "$wanted" ] || fail $EXIT_CORRUPTED "sha256 of the download is $got, not $wanted; run this again"
  try_out "$staged"
  sync "$staged" 2>/dev/null
  mv -f "$staged" "$target" || fail $EXIT_PERMISSION "cannot replace $target"
  echo "installed $target: version $version, $bytes bytes, sha256 $wanted"
}

# At the end and in braces, so that a truncated script does nothing.
{ main "$@"; exit; }
