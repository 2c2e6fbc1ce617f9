/** A client that holds a lease in etcd and renews it every interval, through the JSON gateway. */
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
const FIRST_RETRY_WINDOW_MS = 100;
/** Intervals until a lease expires: as many as an agent may miss before it is STALE. */
const INTERVALS = 3;

export function etcdMember(options: MemberOptions): Member {
  const { index, host, port, intervalMs, note, onUp } = options;
  const ttlS = Math.ceil((intervalMs * INTERVALS) / 1000);
  let lease: string | undefined;
  let failures = 0;
  let isUp = false;
  let timer: { cancel(): void } | undefined;

  async function ask(path: string, body: object): Promise<Record<string, unknown> | undefined> {
    const atMs = wallMs();
    try {
      const response = await fetch(`http://${host}:${port}/v3/lease/${path}`, {
        method: "POST",
        body: JSON.stringify(body),
        keepalive: false,
      });
      const text = await response.text();
      const answer = JSON.parse(text) as Record<string, unknown>;
      const isGood = response.ok && answer["error"] === undefined;
      const outcome = isGood ? "ok" : response.status >= 500 ? "server_error" : "refused";
      note({ index, atMs, ms: wallMs() - atMs, outcome });
      return isGood ? answer : undefined;
    } catch {
      note({ index, atMs, ms: wallMs() - atMs, outcome: "lost" });
      return undefined;
    }
  }

  async function checkIn(): Promise<void> {
    const isNew = lease === undefined;
    const answer = isNew
      ? await ask("grant", { TTL: ttlS })
      : await ask("keepalive", { ID: lease });
    if (answer === undefined) {
      failures++;
      const delayMs = failures === 1 ? 0 : backoffMs(BACKOFF, failures - 1, systemRandom);
      schedule(delayMs);
      return;
    }
    failures = 0;
    if (isNew) lease = String(answer["ID"]);
    if (!isUp) onUp();
    isUp = true;
    schedule(isNew ? heartbeatSlot(`herd-${index}`) * intervalMs : intervalMs);
  }

  function schedule(delayMs: number): void {
    timer?.cancel();
    timer = systemClock.after(delayMs, () => void checkIn());
  }

  return {
    enter: () => void checkIn(),
    lost: () => {
      isUp = false;
      schedule(systemRandom.next() * FIRST_RETRY_WINDOW_MS);
    },
  };
}
