/**
 * One TCP connection on the frame port, from its first byte: a `hello` makes it an agent's session, any other line a plain
 * node's uplink. A connection that has not authenticated within 5 s or 8 KiB is closed. TcpServer owns every one. (T1)
 *
 *   fresh ── hello ──▶ greeting ──▶ session ──▶ closed;   fresh ── other line ──▶ plain ──▶ closed
 */
import type { Clock, Counts, Log, Timer } from "@fleet/daemon";
import {
  type ByeCode,
  CONTROL_BYTES_MAX,
  encodeLine,
  LineDecoder,
  type NodeId,
  type StreamId,
  WINDOW_BYTES,
} from "@fleet/protocol";
import type { Refusals } from "./refusals.ts";
import {
  greet,
  type GreetingDeps,
  type GreetingOutcome,
  refusalOf,
  RETRYABLE,
} from "./sessions/greeting.ts";
import { type PlainDeps, PlainUplink } from "./plain-uplink.ts";
import { Session } from "./sessions/session.ts";

const AUTH_MS = 5000;
/** After the end of a connection its peer has this long to close its side. */
const LINGER_MS = 5000;
/** Bytes of answers that may wait for a peer that does not read; with more the connection is cut off. */
const OUTGOING_BYTES_MAX = 64 * 1024;

/** What all connections share. */
export interface ConnectionDeps extends GreetingDeps, Omit<PlainDeps, "counts"> {
  readonly clock: Clock;
  readonly log: Log;
  /** Lines refused or dropped, by reason. */
  readonly counts: Counts;
  readonly refusals: Refusals;
  /** Makes this connection the only session of its stream. */
  readonly claim: (stream: StreamId, connection: Connection) => void;
  /** The connection has authenticated. */
  readonly onAuthenticated: (connection: Connection) => void;
}

type Phase =
  | { readonly at: "fresh" }
  | { readonly at: "greeting" }
  | { readonly at: "session"; readonly session: Session }
  | { readonly at: "plain"; readonly uplink: PlainUplink }
  | { readonly at: "closed" };

/** One connection; TcpServer passes it the events of its socket. */
export class Connection {
  readonly #deps: ConnectionDeps;
  readonly #socket: Bun.Socket<Connection | undefined>;
  /** Reads the first line. */
  readonly #decoder = new LineDecoder(CONTROL_BYTES_MAX);
  #phase: Phase = { at: "fresh" };
  #unauthenticatedBytes = 0;
  readonly #address: string;
  readonly #authTimer: Timer | undefined;
  #linger: Timer | undefined;
  #outgoing = "";

  constructor(deps: ConnectionDeps, socket: Bun.Socket<Connection | undefined>, address: string) {
    this.#deps = deps;
    this.#socket = socket;
    this.#address = address;
    this.#authTimer = deps.clock.after(AUTH_MS, () => this.#refuse("auth_timeout"));
  }

  /** The stream that it carries, once it is a session. */
  streamId: StreamId | undefined;

  /** The node that it speaks for, once it has authenticated. */
  get nodeId(): NodeId | undefined {
    if (this.#phase.at === "session") return this.#phase.session.nodeId;
    return this.#phase.at === "plain" ? this.#phase.uplink.nodeId : undefined;
  }

  /** The id of its push token, if it is a plain node's. */
  get tokenId(): string | undefined {
    return this.#phase.at === "plain" ? this.#phase.uplink.tokenId : undefined;
  }

  data(chunk: Uint8Array): void {
    switch (this.#phase.at) {
      case "session":
        this.#deps.registry.heard(this.#phase.session.nodeId);
        this.#phase.session.data(chunk);
        return;
      case "plain":
        this.#plainData(this.#phase.uplink, chunk);
        return;
      case "fresh":
        this.#freshData(chunk);
        return;
      case "greeting":
        this.#reject("bad_hello", "nothing may follow hello before welcome");
        return;
      case "closed":
    }
  }

  /** The socket accepts more. */
  drain(): void {
    const waiting = this.#outgoing;
    this.#outgoing = "";
    if (waiting !== "") this.#send(waiting);
  }

  /** The socket has closed. */
  closed(): void {
    this.#linger?.cancel();
    this.#leave();
  }

  #leave(): void {
    const phase = this.#phase;
    this.#phase = { at: "closed" };
    this.#authTimer?.cancel();
    if (phase.at === "session") phase.session.close();
    if (phase.at === "plain") phase.uplink.close();
  }

  /** Closes the connection; a session is sent `bye` first. */
  end(code: ByeCode): void {
    if (this.#phase.at === "session") this.#send(encodeLine({ type: "bye", code }));
    this.#close();
  }

  /** Closes the connection at once, and counts the reason. */
  cutOff(reason: string): void {
    this.#deps.refusals.add(this.#address, reason);
    this.#socket.terminate();
    this.#leave();
  }

  #freshData(chunk: Uint8Array): void {
    const lf = chunk.indexOf(10);
    const lineBytes = this.#decoder.pendingBytes + (lf < 0 ? chunk.length : lf);
    if (lineBytes >= CONTROL_BYTES_MAX) {
      this.#refuse("auth_bytes");
      return;
    }
    if (lf < 0) {
      this.#decoder.push(chunk, () => {});
      return;
    }
    let hello: unknown;
    let line: Uint8Array = chunk;
    this.#decoder.push(chunk.subarray(0, lf + 1), (bytes, start, end) => {
      line = bytes.slice(start, end + 1);
      hello = helloOf(line);
    });
    const rest = chunk.subarray(lf + 1);
    if (hello === undefined) this.#becomePlain(line, rest);
    else if (rest.length > 0) this.#reject("bad_hello", "nothing may follow hello before welcome");
    else void this.#greet(hello);
  }

  #becomePlain(line: Uint8Array, rest: Uint8Array): void {
    const { counts, auth, registry, manager } = this.#deps;
    const uplink = new PlainUplink(
      { counts, auth, registry, manager },
      this.#flow(),
      this.#address,
    );
    this.#phase = { at: "plain", uplink };
    this.#plainData(uplink, line);
    if (rest.length > 0 && this.#phase.at === "plain") this.#plainData(uplink, rest);
  }

  #plainData(uplink: PlainUplink, chunk: Uint8Array): void {
    const wasAuthenticated = uplink.isAuthenticated;
    uplink.data(chunk);
    if (uplink.isAuthenticated) {
      if (!wasAuthenticated) this.#authenticated();
      if (uplink.isJunk) this.#refuse("mostly_junk");
      return;
    }
    this.#unauthenticatedBytes += chunk.length;
    if (uplink.isGuessing) this.#refuse("too_many_failures");
    else if (uplink.isJunk) this.#refuse("auth_lines");
    else if (this.#unauthenticatedBytes > CONTROL_BYTES_MAX) this.#refuse("auth_bytes");
  }

  async #greet(line: unknown): Promise<void> {
    this.#phase = { at: "greeting" };
    // From here on only our own work takes time, for example when hundreds of trackers start at once.
    this.#authTimer?.cancel();
    let outcome: GreetingOutcome;
    try {
      outcome = await greet(this.#deps, line, this.#address);
    } catch (err) {
      this.#deps.log.error({ err }, "hello failed");
      this.#refuse("hello_failed");
      return;
    }
    if (this.#phase.at !== "greeting") {
      if (outcome.at === "welcome") outcome.tracker.detach();
      return;
    }
    if (outcome.at === "reject") {
      this.#reject(outcome.code, outcome.message);
      return;
    }
    // While the token was verified a newer instance may have registered, or the node may have been removed. This connection
    // was not among the sessions that were ended then.
    const refusal = refusalOf(this.#deps.registry, outcome.hello);
    if (refusal === undefined) {
      this.#welcome(outcome);
      return;
    }
    outcome.tracker.detach();
    this.#reject(refusal.code, refusal.message);
  }

  #welcome(outcome: Extract<GreetingOutcome, { at: "welcome" }>): void {
    const { hello, tracker, progress, firstSeq } = outcome;
    const { clock, counts, store, registry } = this.#deps;
    this.#authenticated();
    this.streamId = progress.streamId;
    this.#deps.claim(progress.streamId, this);
    const session = new Session({
      nodeId: hello.node_id,
      link: {
        ...this.#flow(),
        send: (text) => this.#send(text),
        end: (code) => this.end(code),
        onDead: () => this.cutOff("silent"),
      },
      clock,
      tracker,
      progress,
      store,
      counts,
      firstSeq,
    });
    this.#phase = { at: "session", session };
    registry.heard(hello.node_id);
    const acked = firstSeq - 1;
    this.#send(encodeLine({ type: "welcome", acked, window_bytes: WINDOW_BYTES }));
  }

  #reject(code: Parameters<typeof RETRYABLE.has>[0], message: string): void {
    this.#deps.refusals.add(this.#address, `hello_${code}`);
    this.#send(encodeLine({ type: "reject", code, message, retryable: RETRYABLE.has(code) }));
    this.#close();
  }

  #refuse(reason: string): void {
    this.#deps.refusals.add(this.#address, reason);
    this.#close();
  }

  #authenticated(): void {
    this.#authTimer?.cancel();
    this.#deps.onAuthenticated(this);
  }

  #close(): void {
    if (this.#phase.at === "closed") return;
    this.#linger = this.#deps.clock.after(LINGER_MS, () => this.#socket.terminate());
    this.#leave();
    // What the peer still sends is read and dropped. Otherwise it could be reset before it reads our last line.
    this.#socket.resume();
    // The socket's close handler may run inside this call, so it comes last. After `end()` instead, a silent TLS peer could
    // not be cut off.
    this.#socket.shutdown();
  }

  #flow(): { pause(): void; resume(): void } {
    return {
      pause: () => this.#socket.pause(),
      resume: () => this.#socket.resume(),
    };
  }

  #send(text: string): void {
    if (this.#outgoing !== "") {
      this.#outgoing += text;
    } else {
      const written = Math.max(0, this.#socket.write(text));
      // Our lines are ASCII, so characters are bytes.
      if (written < text.length) this.#outgoing = text.slice(written);
    }
    if (this.#outgoing.length > OUTGOING_BYTES_MAX) this.cutOff("slow_reader");
  }
}

/** The line as an object if its `type` is `hello`. */
function helloOf(line: Uint8Array): unknown {
  try {
    const value = JSON.parse(Buffer.from(line).toString("utf8")) as { type?: unknown } | null;
    return value?.type === "hello" ? value : undefined;
  } catch {
    return undefined;
  }
}
