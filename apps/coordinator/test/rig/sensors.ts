/** Short sensors for the tests, for interpreters that every development machine has. */

/** A Python sensor: one aircraft that approaches steadily, and clutter. A frame every `pauseS`, with timestamps 500 ms apart. */
export function aircraft(pauseS: number): string {
  return `
import json, sys, time
i = 0
while True:
    t = i * 0.5
    frame = {"timestamp": 1783500000000 + i * 500,
             "delay": [round(60 - 0.2 * t, 2), 5 + (i * 7919 % 97) / 2],
             "doppler": [130.1, (i * 104729 % 401) - 200],
             "snr": [18.0, 6.0], "adsb": [None, None]}
    print(json.dumps(frame), flush=True)
    i += 1
    time.sleep(${pauseS})
`;
}

/** A shell sensor that prints numbered frames endlessly, the number in `delay`. */
export const COUNTING_SH = `
i=0
while :; do
  i=$((i + 1))
  printf '{"timestamp":%s,"delay":[%s],"doppler":[0],"snr":[1]}\\n' "$((1783500000000 + i))" "$i"
  sleep 0.01
done
`;
