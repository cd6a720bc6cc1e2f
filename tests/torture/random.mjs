// Numbers that look random and repeat with their seed.

/** @returns {() => number} the next number in [0, 1) */
export function randomOf(seed) {
  let state = 0x811c9dc5
  for (const character of String(seed)) state = Math.imul(state ^ character.codePointAt(0), 0x01000193) >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
