"""A sensor in Python: prints the frames of a file, two a second, for ever.

A sensor is any program that prints one frame a line. The agent starts it, reads what it prints and sends that on:

    sensors:
      - { name: radar, runtime: python, command: [radar.py, frames.jsonl] }
"""

import json
import signal
import sys
import time

PERIOD_S = 0.5

# The agent ends its sensors with SIGTERM.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

with open(sys.argv[1], encoding="utf-8") as file:
    frames = [json.loads(line) for line in file]

due = time.monotonic()
while True:
    for frame in frames:
        # This is where a real sensor would measure; this one says that what was recorded happens now.
        frame["timestamp"] = int(time.time() * 1000)
        # flush: a pipe is buffered otherwise, and frames would come late and many at once.
        print(json.dumps(frame, separators=(",", ":")), flush=True)
        due += PERIOD_S
        time.sleep(max(0, due - time.monotonic()))
