/** Explains why a TLS certificate was not accepted, and the remedy. Used by uplinks, registration and the doctor. */

/** Both for a person; `found` completes the sentence "its certificate …". */
export interface CertificateProblem {
  readonly found: string;
  readonly remedy: string;
}

/** Explains the error code of a failed connection or fetch. Undefined if it is not about a certificate. */
export function certificateProblem(code: string): CertificateProblem | undefined {
  return PROBLEMS[code];
}

const UNTRUSTED = {
  found: "is not signed by an authority that the agent trusts",
  remedy:
    "Set coordinator.ca_file (FLEET_COORDINATOR_CA_FILE) to the certificate of its authority, or use a certificate of a public authority",
};

const PROBLEMS: Readonly<Record<string, CertificateProblem>> = {
  CERT_HAS_EXPIRED: {
    found: "has expired",
    remedy: "Renew it, or correct this machine's clock",
  },
  CERT_NOT_YET_VALID: {
    found: "is not valid yet",
    remedy: "Correct this machine's clock, or wait until it is valid",
  },
  ERR_TLS_CERT_ALTNAME_INVALID: {
    found: "is for another host name",
    remedy:
      "Use a host name from the certificate in coordinator.url (for the frame port: in the coordinator's advertise_frames), or issue a certificate for this name",
  },
  DEPTH_ZERO_SELF_SIGNED_CERT: UNTRUSTED,
  SELF_SIGNED_CERT_IN_CHAIN: UNTRUSTED,
  UNABLE_TO_GET_ISSUER_CERT: UNTRUSTED,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: UNTRUSTED,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: UNTRUSTED,
  CERT_SIGNATURE_FAILURE: UNTRUSTED,
  UNKNOWN_CERTIFICATE_VERIFICATION_ERROR: {
    found: "can't be verified",
    remedy: "Inspect it with openssl s_client",
  },
};
