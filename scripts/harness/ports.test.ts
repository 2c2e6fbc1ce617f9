import { describe, expect, test } from "bun:test";
import { freeRange, portProblems } from "./ports.ts";

function listen(port = 0): Bun.TCPSocketListener {
  return Bun.listen({ hostname: "127.0.0.1", port, socket: { data() {} } });
}

describe("ports", () => {
  test("that are in use are reported with their purpose and the flag that changes them", () => {
    const taken = listen();
    const { port } = taken;
    const wanted = { port, purpose: "HTTP", flag: "--http-port" };
    try {
      expect(portProblems([wanted])).toEqual([
        `Port ${port} (HTTP) is already in use; choose another with --http-port PORT.`,
      ]);
    } finally {
      taken.stop(true);
    }
    expect(portProblems([wanted])).toEqual([]);
  });

  test("for trackers are found beyond those that are in use or soon will be", () => {
    const first = freeRange(3, [])!;
    const taken = listen(first + 1);
    try {
      expect(freeRange(3, [])).toBeGreaterThan(first + 1);
      expect(freeRange(1, [first])).toBeGreaterThan(first + 1);
    } finally {
      taken.stop(true);
    }
  });
});
