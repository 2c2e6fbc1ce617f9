"""A sensor in Python: prints the frames of a file, two per second, forever.

A sensor is any program that prints one frame per line. The agent starts it, reads its output and forwards the frames:

    sensors:
      - { name: radar, runtime: python, command: [radar.py, frames.jsonl] }
"""

import json
import signal
import sys
import time

PERIOD_S = 0.5

# The agent stops its sensors with SIGTERM.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

with open(sys.argv[1], encoding="utf-8") as file:
    frames = [json.loads(line) for line in file]

due = time.monotonic()
while True:
    for frame in frames:
        # A real sensor would measure here. This one replaces the recorded time with the current time.
        frame["timestamp"] = int(time.time() * 1000)
        # Without flush, a pipe is buffered: frames would arrive late and in bursts.
        print(json.dumps(frame, separators=(",", ":")), flush=True)
        due += PERIOD_S
        time.sleep(max(0, due - time.monotonic()))
