/** The agent built for the other processor, under emulation, with a coordinator for this machine's. (A1, A3) */
import { describeRoots } from "./machine.ts";
import { testMatrix } from "./matrix.ts";
import { thisArch } from "./processor.ts";

const otherArch = thisArch === "x86_64" ? "aarch64" : "x86_64";
await describeRoots(`the ${otherArch} agent`, otherArch, testMatrix);
