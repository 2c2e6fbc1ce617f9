/**
 * A loopback TCP proxy in front of one port, which can reset, stall and half-open the connections through it. The chaos test
 * puts it between the nodes and the coordinator.
 */
import { connect, createServer, type Server, type Socket } from "node:net";

const LOOPBACK = "127.0.0.1";

/** A proxied connection, made of two sockets. Forwards bytes both ways until a fault is injected. */
class Wire {
  readonly #near: Socket;
  readonly #far: Socket;
  readonly #onGone: () => void;
  #cutAfter: number | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isHalfOpen = false;
  #isGone = false;

  constructor(near: Socket, far: Socket, onGone: () => void) {
    this.#near = near;
    this.#far = far;
    this.#onGone = onGone;
    this.#forward(near, far, true);
    this.#forward(far, near, false);
  }

  /** Resets the connection after `afterBytes` more bytes towards the far end. */
  cut(afterBytes: number): void {
    this.#cutAfter = afterBytes;
  }

  /** Forwards nothing for `forMs`. */
  stall(forMs: number): void {
    this.#hold();
    this.#after(forMs, () => this.#release());
  }

  /** Forwards nothing any more, not even that one end has closed. Resets the connection after `forMs`. */
  halfOpen(forMs: number): void {
    this.#isHalfOpen = true;
    this.#hold();
    this.#after(forMs, () => this.reset());
  }

  /** Resets both sockets. */
  reset(): void {
    if (this.#isGone) return;
    this.#isGone = true;
    clearTimeout(this.#timer);
    this.#near.resetAndDestroy();
    this.#far.resetAndDestroy();
    this.#onGone();
  }

  #after(ms: number, work: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      work();
    }, ms);
  }

  #hold(): void {
    this.#near.pause();
    this.#far.pause();
  }

  #release(): void {
    if (this.#isHalfOpen || this.#isGone) return;
    this.#near.resume();
    this.#far.resume();
  }

  #forward(from: Socket, to: Socket, isForward: boolean): void {
    from.on("data", (chunk: Buffer) => {
      if (this.#isGone) return;
      let bytes = chunk;
      if (isForward && this.#cutAfter !== undefined) {
        bytes = chunk.subarray(0, this.#cutAfter);
        this.#cutAfter -= bytes.length;
      }
      const isCut = bytes.length < chunk.length || this.#cutAfter === 0;
      if (isCut) return void to.write(bytes, () => this.reset());
      if (to.write(bytes)) return;
      from.pause();
      to.once("drain", () => {
        if (this.#timer === undefined) this.#release();
      });
    });
    from.on("end", () => {
      if (!this.#isHalfOpen) to.end();
    });
    from.on("error", () => this.#onClose());
    from.on("close", () => this.#onClose());
  }

  /** Handles the close of one end: resets the other, unless the connection is half-open. */
  #onClose(): void {
    if (this.#isHalfOpen || this.#isGone) return;
    const isDone = this.#near.readableEnded && this.#far.readableEnded;
    if (!isDone) return this.reset();
    if (!this.#near.destroyed || !this.#far.destroyed) return;
    this.#isGone = true;
    clearTimeout(this.#timer);
    this.#onGone();
  }
}

/** Listens on its own port and connects to the target's. */
export class Proxy {
  readonly port: number;
  readonly #server: Server;
  readonly #wires = new Set<Wire>();
  #downs = 0;

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.port = port;
  }

  /** Opens a proxy. Calls `target` for the port of each new connection. */
  static async open(target: () => number): Promise<Proxy> {
    const server = createServer({ allowHalfOpen: true });
    const port = await new Promise<number>((resolve, reject) => {
      server.once("error", reject);
      server.listen(0, LOOPBACK, () => resolve((server.address() as { port: number }).port));
    });
    const proxy = new Proxy(server, port);
    server.on("connection", (near) => proxy.#accept(near, target()));
    return proxy;
  }

  /** The open connections. */
  get wires(): ReadonlySet<Wire> {
    return this.#wires;
  }

  /** Resets all connections, old and new, until `comeUp` has been called as often as `goDown`. */
  goDown(): void {
    this.#downs++;
    for (const wire of this.#wires) wire.reset();
  }

  comeUp(): void {
    this.#downs--;
  }

  close(): void {
    this.goDown();
    this.#server.close();
  }

  #accept(near: Socket, target: number): void {
    if (this.#downs > 0) {
      near.resetAndDestroy();
      return;
    }
    near.pause();
    near.on("error", () => far.destroy());
    const far = connect({ host: LOOPBACK, port: target, allowHalfOpen: true });
    far.on("error", () => near.resetAndDestroy());
    far.once("connect", () => {
      if (this.#downs > 0 || near.destroyed) {
        near.resetAndDestroy();
        far.resetAndDestroy();
        return;
      }
      near.setNoDelay(true);
      far.setNoDelay(true);
      const wire: Wire = new Wire(near, far, () => this.#wires.delete(wire));
      this.#wires.add(wire);
      near.resume();
    });
  }
}
