/** Injected randomness, so that tests can control it. */

/** Uniform numbers in [0, 1). */
export interface Random {
  next(): number;
}

/** The host's generator. Not for secrets. */
export const systemRandom: Random = { next: () => Math.random() };

/** A repeatable generator (mulberry32) for tests and simulations; `seed` is truncated to 32 bits. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  return {
    next() {
      state = (state + 0x6d2b79f5) >>> 0;
      let t = state;
      t = Math.imul(t ^ (t >>> 15), t | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
    },
  };
}
