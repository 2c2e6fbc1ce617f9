"""numbers.py FILE: prints numbered frames, the number in `delay`. On SIGTERM, writes the last number to FILE."""

import signal
import sys
import time

over = []
signal.signal(signal.SIGTERM, lambda *_: over.append(True))

number = 0
while not over:
    number += 1
    print('{"timestamp":%d,"delay":[%d],"doppler":[0],"snr":[1]}' % (1783500000000 + number, number), flush=True)
    time.sleep(0.02)
with open(sys.argv[1], "w", encoding="ascii") as file:
    print(number, file=file)
