/** An uplink of the sensor `radar` with a stepped clock, for tests that play the coordinator's side on a FramePort. */
import { seededRandom } from "@fleet/daemon";
import { FakeClock } from "@fleet/daemon/testing";
import { instanceIdSchema, nodeIdSchema, sensorNameSchema, spoolIdSchema } from "@fleet/protocol";
import type { Grant } from "./grant.ts";
import { MemorySpool } from "./memory-spool.ts";
import { eventually, type FramePort, frameText, recordingLog } from "./testing.ts";
import { Uplink } from "./uplink.ts";

const encoder = new TextEncoder();

/** What may differ from a plain uplink with room for everything. */
export interface UplinkRigOptions {
  readonly bytesMax?: number;
  readonly ca?: string | undefined;
  readonly grant?: Grant;
}

/** A grant whose frames go to that port of this machine. */
export function grantFor(framePort: number, epoch = 7): Grant {
  return {
    nodeId: nodeIdSchema.parse("radar3"),
    instanceId: instanceIdSchema.parse("i1"),
    epoch,
    accessToken: "access-token",
    frames: { host: "127.0.0.1", port: framePort, tls: false },
  };
}

/** Not started yet. `now.grant` may be changed; `produce` spools the frames of these numbers, each padded to `size` bytes. */
export function uplinkRig(port: FramePort, options: UplinkRigOptions = {}) {
  const clock = new FakeClock();
  const { log, lines } = recordingLog();
  const spoolId = spoolIdSchema.parse("s1");
  const spool = new MemorySpool({ spoolId, bytesMax: options.bytesMax ?? 1 << 26 });
  const seen = { unauthorized: [] as Grant[], superseded: 0, lost: 0 };
  const now: { grant: Grant | undefined } = { grant: options.grant ?? grantFor(port.port) };
  const uplink = new Uplink({
    sensor: sensorNameSchema.parse("radar"),
    spool,
    ca: options.ca,
    clock,
    random: seededRandom(1),
    log,
    grant: () => now.grant,
    onUnauthorized: (refused) => seen.unauthorized.push(refused),
    onSuperseded: () => seen.superseded++,
    onLost: () => seen.lost++,
  });
  const produce = (first: number, last: number, size = 0): void => {
    for (let n = first; n <= last; n++) {
      const line = encoder.encode(frameText(n).padEnd(size));
      spool.append(line, 0, line.length);
    }
  };
  const at = (state: string): Promise<void> => eventually(() => uplink.state.at === state, state);
  const stop = (): void => void uplink.stop(clock.monotonicMs());
  return { clock, log, lines, spool, seen, now, uplink, produce, at, stop };
}

/** Plays an accepting coordinator up to the welcome. */
export async function welcomed(port: FramePort, acked = 0, windowBytes = 1 << 22) {
  const peer = await port.accept();
  const hello = await peer.line(0);
  peer.welcome(acked, windowBytes);
  return { peer, hello };
}
