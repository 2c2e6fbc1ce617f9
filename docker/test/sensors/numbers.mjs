/** numbers.mjs FILE: frames with their own number in `delay`; at SIGTERM the last one goes into FILE. */
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
