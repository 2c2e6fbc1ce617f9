"""A simulated sensor: what a passive radar sees of an aircraft that flies past it repeatedly."""

import json
import math
import signal
import sys
import time

PERIOD_S = 0.5
WAVELENGTH_KM = 0.0006  # 500 MHz
TRANSMITTER_KM = (25.0, 10.0)  # the receiver is at (0, 0)
SPEED_KM_S = 0.22
PATH_KM = 80.0

# The agent stops its sensors with SIGTERM.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))


def delay_km(seconds):
    """Return how much longer the path via the aircraft is than the direct one."""
    aircraft = (SPEED_KM_S * seconds % PATH_KM - PATH_KM / 2, 15.0)
    return math.hypot(*aircraft) + math.dist(aircraft, TRANSMITTER_KM) - math.hypot(*TRANSMITTER_KM)


while True:
    now = time.time()
    rate_km_s = (delay_km(now + 0.01) - delay_km(now)) / 0.01
    frame = {
        "timestamp": int(now * 1000),
        "delay": [round(delay_km(now), 3)],
        "doppler": [round(-rate_km_s / WAVELENGTH_KM, 2)],
        "snr": [15.0],
    }
    print(json.dumps(frame), flush=True)
    time.sleep(PERIOD_S)
