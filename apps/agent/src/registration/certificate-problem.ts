/** Why a TLS peer was not believed, for a person, with what to do about it. For the uplinks, registration and the doctor. */

/** `found` follows the words "its certificate". */
export interface CertificateProblem {
  readonly found: string;
  readonly remedy: string;
}

/** Undefined when `code`, as Bun gives it for a connection or a fetch that failed, is not about a certificate. */
export function certificateProblem(code: string): CertificateProblem | undefined {
  return PROBLEMS[code];
}

const UNTRUSTED = {
  found: "is signed by nobody the agent knows",
  remedy:
    "Name the file of its authority's certificate in coordinator.ca_file (FLEET_COORDINATOR_CA_FILE), or use a certificate of a public one",
};

const PROBLEMS: Readonly<Record<string, CertificateProblem>> = {
  CERT_HAS_EXPIRED: {
    found: "has expired",
    remedy: "Renew it, or set this machine's clock if that is wrong",
  },
  CERT_NOT_YET_VALID: {
    found: "is not valid yet",
    remedy: "Set this machine's clock, or wait",
  },
  ERR_TLS_CERT_ALTNAME_INVALID: {
    found: "is for another name",
    remedy:
      "Write a name it has in coordinator.url, or in advertise_frames of the coordinator if it is the frame port's; or get one for this name",
  },
  DEPTH_ZERO_SELF_SIGNED_CERT: UNTRUSTED,
  SELF_SIGNED_CERT_IN_CHAIN: UNTRUSTED,
  UNABLE_TO_GET_ISSUER_CERT: UNTRUSTED,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: UNTRUSTED,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: UNTRUSTED,
  CERT_SIGNATURE_FAILURE: UNTRUSTED,
  UNKNOWN_CERTIFICATE_VERIFICATION_ERROR: {
    found: "can't be verified",
    remedy: "See it with openssl s_client",
  },
};
