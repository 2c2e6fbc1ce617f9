/**
 * One TCP connection on the frame port, from its first byte: a `hello` makes it an agent's session, anything else a plain
 * node's. Whoever has not authenticated within 5 s or 8 KiB is closed. (T1, DESIGN §6)
 *
 *   fresh → greeting (hello came) → session → closed;   fresh → plain → closed
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
/** A peer that was told the end has this long to close its side. */
const LINGER_MS = 5000;
/** Answers that may wait for a peer that does not read; one that leaves more unread is closed. */
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
  /** This connection has said who it is. */
  readonly authenticated: (connection: Connection) => void;
}

type Phase =
  | { readonly at: "fresh" }
  | { readonly at: "greeting" }
  | { readonly at: "session"; readonly session: Session }
  | { readonly at: "plain"; readonly uplink: PlainUplink }
  | { readonly at: "closed" };

/** See the head of this file. The server feeds it the socket's events. */
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

  /** The stream whose session it has become. */
  streamId: StreamId | undefined;

  /** The node it speaks for, once that is known. */
  get nodeId(): NodeId | undefined {
    if (this.#phase.at === "session") return this.#phase.session.nodeId;
    return this.#phase.at === "plain" ? this.#phase.uplink.nodeId : undefined;
  }

  /** The push token it came in with, if it is a plain node's. */
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
        // An agent waits for its welcome.
        this.#reject("bad_hello", "nothing may follow hello before welcome");
        return;
      case "closed":
    }
  }

  /** The socket takes more. */
  drain(): void {
    const waiting = this.#outgoing;
    this.#outgoing = "";
    if (waiting !== "") this.#send(waiting);
  }

  /** The socket has gone. */
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

  /** Says goodbye to a session, hangs up on anybody else. */
  end(code: ByeCode): void {
    if (this.#phase.at === "session") this.#send(encodeLine({ type: "bye", code }));
    this.#close();
  }

  /** Ends it without a word, for a reason that is counted. */
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
    const wasAuthenticated = uplink.authenticated;
    uplink.data(chunk);
    if (uplink.authenticated) {
      if (!wasAuthenticated) this.#authenticated();
      return;
    }
    this.#unauthenticatedBytes += chunk.length;
    if (uplink.isTrying) this.#refuse("too_many_failures");
    else if (this.#unauthenticatedBytes > CONTROL_BYTES_MAX) this.#refuse("auth_bytes");
  }

  async #greet(line: unknown): Promise<void> {
    this.#phase = { at: "greeting" };
    // What takes long from here on is our own work, as when hundreds of trackers are started at once.
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
    // Since the verdict a newer instance may have registered, or the node may have gone; the sessions that were ended then
    // did not include this one.
    const barred = refusalOf(this.#deps.registry, outcome.hello);
    if (barred === undefined) {
      this.#welcome(outcome);
      return;
    }
    outcome.tracker.detach();
    this.#reject(barred.code, barred.message);
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
        dead: () => this.cutOff("silent"),
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
    this.#deps.authenticated(this);
  }

  #close(): void {
    if (this.#phase.at === "closed") return;
    this.#linger = this.#deps.clock.after(LINGER_MS, () => this.#socket.terminate());
    this.#leave();
    // What it still sends is read and dropped, or its reading of our last words would be cut short.
    this.#socket.resume();
    // Last, since the socket's close handler may run within. After `end()` a TLS peer that says nothing could not be cut off.
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
      // Our lines are ASCII (see greeting.ts), so characters are bytes.
      if (written < text.length) this.#outgoing = text.slice(written);
    }
    if (this.#outgoing.length > OUTGOING_BYTES_MAX) this.cutOff("slow_reader");
  }
}

/** The line as an object if it calls itself a hello. */
function helloOf(line: Uint8Array): unknown {
  try {
    const value = JSON.parse(Buffer.from(line).toString("utf8")) as { type?: unknown } | null;
    return value?.type === "hello" ? value : undefined;
  } catch {
    return undefined;
  }
}
