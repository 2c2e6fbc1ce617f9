# numbers.sh FILE: prints numbered frames, the number in `delay`. On SIGTERM, writes the last number to FILE.
over=
trap 'over=yes' TERM
number=0
while [ -z "$over" ]; do
  number=$((number + 1))
  echo "{\"timestamp\":$((1783500000000 + number)),\"delay\":[$number],\"doppler\":[0],\"snr\":[1]}"
  sleep 0.02
done
echo "$number" >"$1"
