/** A certificate authority for tests: issues X.509 certificates (RFC 5280) that real TLS servers and clients accept. */
import { generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";
import { isIPv4 } from "node:net";

/** A certificate and its key, each in PEM. */
export interface TestPair {
  readonly cert: string;
  readonly key: string;
}

/** The contents of a certificate. `from` and `to` are the years of its first and last day, both before 2050. */
export interface TestCertificate {
  /** DNS names and IPv4 addresses. */
  readonly names?: readonly string[];
  readonly from?: number;
  readonly to?: number;
}

interface Signed {
  readonly subject: string;
  readonly key: KeyObject;
  readonly extensions: readonly Buffer[];
  readonly years: readonly [from: number, to: number];
}

/** `cert` is its own certificate, which clients must trust explicitly. */
export class TestAuthority {
  readonly cert: string;
  readonly #name: string;
  readonly #privateKey: KeyObject;

  constructor(name = "Test Authority") {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    this.#name = name;
    this.#privateKey = privateKey;
    const isAuthority = extension("551d13", sequence(Buffer.from([0x01, 0x01, 0xff])));
    this.cert = this.#sign({
      subject: name,
      key: publicKey,
      extensions: [isAuthority],
      years: [2020, 2049],
    });
  }

  /** A pair for a server that is reached by `names`, by default on the loopback interface. */
  issue({
    names = ["localhost", "127.0.0.1"],
    from = 2020,
    to = 2049,
  }: TestCertificate = {}): TestPair {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const alternatives = names.map((name) =>
      isIPv4(name)
        ? der(0x87, Buffer.from(name.split(".").map(Number)))
        : der(0x82, Buffer.from(name)),
    );
    const cert = this.#sign({
      subject: "server",
      key: publicKey,
      extensions: [extension("551d11", sequence(...alternatives))],
      years: [from, to],
    });
    return { cert, key: privateKey.export({ type: "pkcs8", format: "pem" }) };
  }

  #sign({ subject, key, extensions, years: [from, to] }: Signed): string {
    const ecdsaWithSha256 = sequence(oid("2a8648ce3d040302"));
    const serial = randomBytes(8);
    // Positive, and without a leading zero byte.
    serial[0] = (serial[0]! & 0x3f) | 0x40;
    const signed = sequence(
      der(0xa0, integer(Buffer.from([2]))),
      integer(serial),
      ecdsaWithSha256,
      nameOf(this.#name),
      sequence(utcTime(`${from % 100}0101000000Z`), utcTime(`${to % 100}1231235959Z`)),
      nameOf(subject),
      key.export({ type: "spki", format: "der" }),
      der(0xa3, sequence(...extensions)),
    );
    const signature = sign("sha256", signed, this.#privateKey);
    const cert = sequence(
      signed,
      ecdsaWithSha256,
      der(0x03, Buffer.concat([Buffer.of(0), signature])),
    );
    const lines = cert.toString("base64").match(/.{1,64}/g)!;
    return ["-----BEGIN CERTIFICATE-----", ...lines, "-----END CERTIFICATE-----", ""].join("\n");
  }
}

/** A value in ASN.1's distinguished encoding rules: tag, length, content. */
function der(tag: number, content: Buffer): Buffer {
  const { length } = content;
  const size =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.of(tag, ...size), content]);
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return der(0x30, Buffer.concat(parts));
}

function integer(bytes: Buffer): Buffer {
  return der(0x02, bytes);
}

function oid(hex: string): Buffer {
  return der(0x06, Buffer.from(hex, "hex"));
}

function utcTime(text: string): Buffer {
  return der(0x17, Buffer.from(text));
}

/** A distinguished name that consists of a common name. */
function nameOf(common: string): Buffer {
  return sequence(der(0x31, sequence(oid("550403"), der(0x0c, Buffer.from(common)))));
}

function extension(hex: string, value: Buffer): Buffer {
  return sequence(oid(hex), der(0x04, value));
}
