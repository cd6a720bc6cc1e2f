import type { RateStore } from '../port.ts'
import type { MemoryDatabase } from './database.ts'

/** Buckets of tokens, in memory. */
export class MemoryRates implements RateStore {
  readonly #buckets = new Map<string, { tokens: number; at: number }>()
  readonly #database: MemoryDatabase

  constructor(database: MemoryDatabase) {
    this.#database = database
  }

  async take(
    name: string,
    capacity: number,
    perMs: number,
    want: number,
  ): Promise<{ granted: number; nextAt: number }> {
    const now = this.#database.now()
    const bucket = this.#buckets.get(name) ?? { tokens: capacity, at: now }
    const there = Math.min(capacity, bucket.tokens + ((now - bucket.at) * capacity) / perMs)
    const granted = Math.min(want, Math.floor(there))
    const tokens = there - granted
    this.#buckets.set(name, { tokens, at: now })
    return { granted, nextAt: tokens >= 1 ? now : now + Math.ceil(((1 - tokens) * perMs) / capacity) }
  }
}
