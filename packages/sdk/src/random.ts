import { randomFillSync } from 'node:crypto'

/** Where randomness comes from. Handed in everywhere, so that a test can seed it. */
export interface Random {
  /** An integer from 0 to 2^32 - 1. */
  uint32(): number
}

/** Words that are fetched at once: asking for a few bytes costs ten times as much as making an id of them. */
const FETCHED = 256

/** The operating system's randomness. */
export const systemRandom: Random = fetched()

function fetched(): Random {
  const words = new Uint32Array(FETCHED)
  let next = FETCHED
  return {
    uint32() {
      if (next === FETCHED) {
        randomFillSync(words)
        next = 0
      }
      return words[next++]!
    },
  }
}

/** A reproducible stream (mulberry32): the same seed gives the same numbers. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0
  return {
    uint32() {
      state = (state + 0x6d2b79f5) >>> 0
      let mixed = state
      mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
      mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
      return (mixed ^ (mixed >>> 14)) >>> 0
    },
  }
}
