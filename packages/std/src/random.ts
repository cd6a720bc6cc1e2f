import { randomFillSync } from 'node:crypto'

/** Where randomness comes from. Handed in everywhere, so that a simulation can seed it. */
export interface Random {
  /** An integer from 0 to 2^32 - 1. */
  uint32(): number
  /** `count` fresh bytes. */
  bytes(count: number): Uint8Array
}

/** The operating system's randomness, fit for salts and secrets. */
export const systemRandom: Random = {
  uint32() {
    const word = new Uint32Array(1)
    randomFillSync(word)
    return word[0]!
  },
  bytes: (count) => randomFillSync(new Uint8Array(count)),
}

/** A reproducible stream (mulberry32): the same seed gives the same numbers. Not for secrets. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0
  const uint32 = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = state
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return (mixed ^ (mixed >>> 14)) >>> 0
  }
  return {
    uint32,
    bytes(count) {
      const bytes = new Uint8Array(count)
      for (let i = 0; i < count; i++) bytes[i] = uint32() & 0xff
      return bytes
    },
  }
}
