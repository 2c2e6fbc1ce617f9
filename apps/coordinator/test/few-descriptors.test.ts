/** A coordinator with a low limit of open files and many clients. At the limit itself, accept(2) would fail repeatedly. */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { Fleet, PUSH_TOKEN, recordingTracker, until } from "./rig/fleet.ts";

const FEW = ["sh", "-c", 'ulimit -n 160 && exec "$0" "$@"'];
const COUNT = 300;

function frame(n: number): string {
  const about = { node_id: "mast", token: PUSH_TOKEN, timestamp: n };
  return `${JSON.stringify({ ...about, delay: [n], doppler: [0], snr: [1] })}\n`;
}

async function dial(port: number, onClose: () => void): Promise<Bun.Socket> {
  return Bun.connect({
    hostname: "127.0.0.1",
    port,
    socket: { data: () => {}, close: onClose, error: () => {} },
  });
}

test("with few descriptors left, the frame port refuses new connections, logs it once, serves existing ones, and recovers (T1)", async () => {
  const fleet = new Fleet();
  try {
    const command = recordingTracker(join(fleet.dir, "frames"));
    const coordinator = await fleet.coordinator({ tracker: { command } }, {}, FEW);
    const recorded = (): number => fleet.read("frames").split("\n").length - 1;
    const known = await dial(fleet.ports.frames, () => {});
    known.write(frame(1));
    await until("the first frame arrives", () => recorded() === 1);

    let closed = 0;
    const clients: Bun.Socket[] = [];
    for (let n = 0; n < COUNT; n++) {
      await dial(fleet.ports.frames, () => closed++).then(
        (client) => clients.push(client),
        // Refused before it knew that it was connected.
        () => closed++,
      );
    }
    const refused = /fleet_lines_refused_total\{reason="out_of_descriptors"\} (\d+)/;
    const metrics = async (): Promise<string> =>
      (await fetch(`http://127.0.0.1:${fleet.ports.http}/metrics`)).text();
    const count = await until("connections are refused", async () =>
      Number(refused.exec(await metrics())?.[1] ?? 0),
    );
    await until("refused clients see the close", () => closed >= count);
    known.write(frame(2));
    await until("a frame of the existing connection arrives", () => recorded() === 2);
    const warnings = coordinator.log.filter((line) => line.includes("frames: connection refused"));
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain("out_of_descriptors");

    for (const client of clients) client.terminate();
    await until("descriptors are free again", async () =>
      (await metrics()).includes("\nfleet_frame_connections 1\n"),
    );
    const late = await dial(fleet.ports.frames, () => {});
    late.write(frame(3));
    await until("a frame of a new connection arrives", () => recorded() === 3);
    late.terminate();
    known.terminate();
  } finally {
    await fleet.close();
  }
});
