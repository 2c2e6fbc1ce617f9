/** numbers.mjs FILE: prints numbered frames, the number in `delay`. On SIGTERM, writes the last number to FILE. */
import { writeFileSync } from "node:fs";

let number = 0;
process.on("SIGTERM", () => {
  writeFileSync(process.argv[2], `${number}\n`);
  process.exit(0);
});
setInterval(() => {
  number++;
  console.log(
    `{"timestamp":${1783500000000 + number},"delay":[${number}],"doppler":[0],"snr":[1]}`,
  );
}, 20);
