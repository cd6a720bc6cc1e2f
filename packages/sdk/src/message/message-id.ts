import type { Clock } from '../time/clock.ts'
import type { Random } from '../random.ts'

/** Makes ids of messages. */
export type NewId = () => string

/** Counter values within one millisecond: 12 bits (RFC 9562 §6.2, method 1). */
const COUNTER_MAX = 0xfff

/**
 * UUIDv7 (RFC 9562 §5.7) whose order is the order in which this process made them: a counter takes the place of the first
 * random bits, and a clock that goes back, or more ids in a millisecond than the counter has, borrow from the time ahead.
 */
export function uuidV7(clock: Clock, random: Random): NewId {
  let lastMs = 0
  let counter = 0
  return () => {
    const nowMs = Math.floor(clock.now())
    if (nowMs > lastMs) {
      lastMs = nowMs
      // Half of the range is left for counting on.
      counter = random.uint32() & 0x7ff
    } else if (counter < COUNTER_MAX) {
      counter++
    } else {
      lastMs++
      counter = 0
    }
    const time = lastMs.toString(16).padStart(12, '0')
    const high = (0x8000_0000 | (random.uint32() & 0x3fff_ffff)) >>> 0
    const tail = high.toString(16).padStart(8, '0') + random.uint32().toString(16).padStart(8, '0')
    const counted = counter.toString(16).padStart(3, '0')
    return `${time.slice(0, 8)}-${time.slice(8)}-7${counted}-${tail.slice(0, 4)}-${tail.slice(4)}`
  }
}
