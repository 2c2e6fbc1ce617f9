"""hog.py FILE: frames, and a MiB more with each until there is no more; FILE is what the other sensors are given too."""

import time

held = []
while True:
    held.append(bytearray(1 << 20))
    print('{"timestamp":%d,"delay":[1],"doppler":[0],"snr":[1]}' % (1783500000000 + len(held)), flush=True)
    time.sleep(0.005)
