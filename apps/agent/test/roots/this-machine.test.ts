/** The agent built for this machine's processor, in roots that have next to nothing, or what is hostile to it. (A1, A3) */
import { describeRoots } from "./machine.ts";
import { testMatrix } from "./matrix.ts";
import { thisArch } from "./processor.ts";

await describeRoots(`the ${thisArch} agent`, thisArch, testMatrix);
