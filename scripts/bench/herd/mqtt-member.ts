/** An MQTT 3.1.1 client that connects, pings every interval, and reconnects when its connection is lost. */
import {
  backoffMs,
  type BackoffOptions,
  systemClock,
  systemRandom,
} from "../../../packages/daemon/src/index.ts";
import { heartbeatSlot } from "../../../apps/agent/src/bench.ts";
import { type Member, type MemberOptions } from "./member.ts";
import { wallMs } from "../shared/wall-clock.ts";

const BACKOFF: BackoffOptions = { baseMs: 250, capMs: 5000 };
/** As for an agent's check-in after a lost connection. */
const FIRST_RETRY_WINDOW_MS = 100;
const PING = Uint8Array.of(0xc0, 0);

export function mqttMember(options: MemberOptions): Member {
  const { index, host, port, intervalMs, note, onUp } = options;
  let failures = 0;

  function connect(): void {
    let atMs = wallMs();
    let isUp = false;
    let isOver = false;
    let pinger: { cancel(): void } | undefined;
    const gone = (): void => {
      if (isOver) return;
      isOver = true;
      pinger?.cancel();
      if (!isUp) note({ index, atMs, ms: wallMs() - atMs, outcome: "lost" });
      failures++;
      const delayMs =
        failures === 1
          ? systemRandom.next() * FIRST_RETRY_WINDOW_MS
          : backoffMs(BACKOFF, failures - 1, systemRandom);
      systemClock.after(delayMs, connect);
    };
    Bun.connect({
      hostname: host,
      port,
      socket: {
        open: (socket) => void socket.write(connectPacket(index, intervalMs)),
        data: (socket) => {
          // One response to each request: CONNACK, then PINGRESP.
          note({ index, atMs, ms: wallMs() - atMs, outcome: "ok" });
          const isFirst = !isUp;
          if (isFirst) {
            isUp = true;
            failures = 0;
            onUp();
          }
          const delayMs = isFirst ? heartbeatSlot(`herd-${index}`) * intervalMs : intervalMs;
          pinger = systemClock.after(delayMs, () => {
            atMs = wallMs();
            socket.write(PING);
          });
        },
        close: gone,
        error: gone,
        connectError: gone,
      },
    }).catch(gone);
  }

  return { enter: connect, lost: () => {} };
}

function connectPacket(index: number, intervalMs: number): Uint8Array {
  const id = Buffer.from(`herd-${index}`);
  const keepAliveS = Math.ceil((intervalMs / 1000) * 1.5);
  const body = Buffer.concat([
    Buffer.from([0, 4]),
    Buffer.from("MQTT"),
    Buffer.from([4, 2, keepAliveS >> 8, keepAliveS & 0xff, 0, id.length]),
    id,
  ]);
  return Buffer.concat([Buffer.from([0x10, body.length]), body]);
}
