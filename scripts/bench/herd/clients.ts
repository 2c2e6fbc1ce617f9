/** A process of the herd bench that runs thousands of clients. `herd.ts` starts it; it ends when `herd.ts` does. */
import { etcdMember } from "./etcd-member.ts";
import { FleetMember } from "./fleet-member.ts";
import type { Member, MemberOptions, Sample } from "./member.ts";
import { mqttMember } from "./mqtt-member.ts";
import type { Answer, Order } from "./orders.ts";

/** Loopback addresses to spread the clients over, because the ports towards one address run out. */
const ADDRESSES = 16;

type Enter = Extract<Order, { do: "enter" }>;

let samples: Sample[] = [];
let members: Member[] = [];
let indices: readonly number[] = [];
let waiting = new Set<number>();

function answer(message: Answer): void {
  process.send!(message);
}

function isUp(index: number): void {
  if (waiting.delete(index) && waiting.size === 0) answer({ at: "up" });
}

function make(order: Enter, options: MemberOptions): Member {
  switch (order.kind) {
    case "fleet":
      return new FleetMember(options, order.enrollToken);
    case "mqtt":
      return mqttMember(options);
    case "etcd":
      return etcdMember(options);
  }
}

function enter(order: Enter): void {
  const { first, count, port, intervalMs, inFlight } = order;
  indices = Array.from({ length: count }, (_, i) => first + i);
  waiting = new Set(indices);
  let next = 0;
  const enterNext = (): void => {
    const member = members[next++];
    member?.enter();
  };
  members = indices.map((index): Member => {
    let entered = false;
    return make(order, {
      index,
      host: `127.0.0.${1 + (index % ADDRESSES)}`,
      port,
      intervalMs,
      note: (sample) => samples.push(sample),
      onUp: () => {
        if (!entered) enterNext();
        entered = true;
        isUp(index);
      },
    });
  });
  for (let i = 0; i < inFlight; i++) enterNext();
}

process.on("message", (order: Order) => {
  switch (order.do) {
    case "enter":
      enter(order);
      return;
    case "take":
      answer({ at: "samples", samples });
      samples = [];
      return;
    case "outage":
      waiting = new Set(indices);
      for (const member of members) member.lost();
      return;
  }
});
process.on("disconnect", () => process.exit(0));
answer({ at: "ready" });
