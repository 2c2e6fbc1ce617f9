/** Every route of the API. A contract that is not listed here has no access rule and is not served. */
import { agentsApi } from "./agents.ts";
import type { Contract } from "./contract.ts";
import { downloadsApi } from "./downloads.ts";
import { eventsApi } from "./events.ts";
import { nodesApi } from "./nodes.ts";
import { serviceApi } from "./service.ts";
import { accessApi } from "./tokens.ts";
import { trackersApi } from "./trackers.ts";

/** In the order of the reference page. */
export const CONTRACTS: readonly Contract[] = [
  agentsApi,
  nodesApi,
  trackersApi,
  eventsApi,
  accessApi,
  downloadsApi,
  serviceApi,
].flatMap((group) => Object.values<Contract>(group));
