/** The parts of the agent that benches and chaos runs in scripts/ use. Nothing else outside the agent may import its modules. */
export { heartbeatSlot } from "./registration/heartbeat-slot.ts";
export { Registration } from "./registration/registration.ts";
export {
  BATCH_HEADER_BYTES,
  decodeBatchHeader,
  findMark,
  holdsFrames,
} from "./spool/spool-batch.ts";
export { loadIdentity } from "./state/identity.ts";
