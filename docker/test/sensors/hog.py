"""hog.py FILE: prints frames and allocates 1 MiB with each until memory is exhausted. Ignores FILE."""

import time

held = []
while True:
    held.append(bytearray(1 << 20))
    print('{"timestamp":%d,"delay":[1],"doppler":[0],"snr":[1]}' % (1783500000000 + len(held)), flush=True)
    time.sleep(0.005)
