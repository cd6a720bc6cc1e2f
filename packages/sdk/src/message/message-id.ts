import type { Clock } from '../time/clock.ts'
import type { Random } from '../random.ts'

/** Makes ids of messages. */
export type NewId = () => string

/** Counter values within one millisecond: 12 bits (RFC 9562 §6.2, method 1). */
const COUNTER_MAX = 0xfff

/** Every byte in two digits. */
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

/**
 * UUIDv7 (RFC 9562 §5.7) whose order is the order in which this process made them: a counter takes the place of the first
 * random bits, and a clock that goes back, or more ids in a millisecond than the counter has, borrow from the time ahead.
 */
export function uuidV7(clock: Clock, random: Random): NewId {
  let lastMs = 0
  let counter = 0
  let time = ''
  return () => {
    const nowMs = Math.floor(clock.now())
    if (nowMs > lastMs) {
      lastMs = nowMs
      // Half of the range is left for counting on.
      counter = random.uint32() & 0x7ff
      time = timeOf(lastMs)
    } else if (counter < COUNTER_MAX) {
      counter++
    } else {
      lastMs++
      counter = 0
      time = timeOf(lastMs)
    }
    const high = random.uint32()
    const low = random.uint32()
    return (
      time +
      HEX[0x70 | (counter >>> 8)]! +
      HEX[counter & 0xff]! +
      '-' +
      HEX[0x80 | ((high >>> 24) & 0x3f)]! +
      HEX[(high >>> 16) & 0xff]! +
      '-' +
      HEX[(high >>> 8) & 0xff]! +
      HEX[high & 0xff]! +
      HEX[low >>> 24]! +
      HEX[(low >>> 16) & 0xff]! +
      HEX[(low >>> 8) & 0xff]! +
      HEX[low & 0xff]!
    )
  }
}

/** The part of all ids of a millisecond. */
function timeOf(ms: number): string {
  const digits = ms.toString(16).padStart(12, '0')
  return `${digits.slice(0, 8)}-${digits.slice(8)}-`
}
