/** The agent built for this machine's processor, in roots with very little content or with hostile content. (A1, A3) */
import { describeRoots } from "./machine.ts";
import { testMatrix } from "./matrix.ts";
import { thisArch } from "./processor.ts";

await describeRoots(`the ${thisArch} agent`, thisArch, testMatrix);
