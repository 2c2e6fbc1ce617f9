/** Stands where a tracker stands, as light as can be: listens on the port it is given, counts bytes, reports when all have come. */
import { report } from "./control.ts";

const expected = Number(process.env["BENCH_EXPECT_BYTES"]);
let bytes = 0;

Bun.listen({
  hostname: "127.0.0.1",
  port: Number(process.argv[2]),
  socket: {
    data(_socket, chunk) {
      bytes += chunk.length;
      if (bytes >= expected) {
        bytes = 0;
        void report("sink", "done");
      }
    },
  },
});
