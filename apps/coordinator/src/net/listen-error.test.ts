import { expect, test } from "bun:test";
import { ListenError } from "./listen-error.ts";

const messageOf = (listen: () => unknown): string => {
  try {
    listen();
  } catch (error) {
    return new ListenError("frames", "hub", 30_050, error).message;
  }
  throw new Error("nothing was thrown");
};

const socket = { data() {} };

test("a port in use and a host of another machine are named as such", () => {
  const taken = Bun.listen({ hostname: "127.0.0.1", port: 0, socket });
  const { port } = taken;
  const inUse =
    "can't listen for frames on hub:30050: the port is in use (choose another with --frames HOST:PORT)";
  expect(messageOf(() => Bun.listen({ hostname: "127.0.0.1", port, socket }))).toBe(inUse);
  const fetch = (): Response => new Response();
  expect(messageOf(() => Bun.serve({ hostname: "127.0.0.1", port, fetch }))).toBe(inUse);
  taken.stop(true);
  for (const hostname of ["192.0.2.1", "nohost.invalid"])
    expect(messageOf(() => Bun.listen({ hostname, port: 0, socket }))).toContain(
      ": the host is not an address of this machine (",
    );
});

test("any other error is quoted", () => {
  const error = new Error("http.tls.key: k.pem can't be read: ENOENT");
  expect(new ListenError("HTTP", "hub", 1, error).message).toContain(`: ${error.message} (`);
});
