import { Worker } from 'node:worker_threads'
import type { Clock, Timer } from '@stathmos/std'
import { MEMORY_BYTES_MAX } from './password-hash.ts'

/** What the worker is asked. */
export interface KeyRequest {
  readonly id: number
  readonly password: string
  readonly salt: Uint8Array
  readonly n: number
  readonly r: number
  readonly p: number
  readonly keyBytes: number
  readonly memoryBytesMax: number
}

interface KeyAnswer {
  readonly id: number
  readonly key: Uint8Array
}

/** Derives a key from a password; resolves with null when there is no room for one more. */
export interface KeyDeriver {
  derive(request: Omit<KeyRequest, 'id' | 'memoryBytesMax'>): Promise<Uint8Array | null>
  /** Ends the thread. What was waiting resolves with null. */
  close(): Promise<void>
}

/**
 * Requests in the queue, about 2 s of work: who stands further back would not be served before the handshake's
 * deadline, and an attacker gets no more memory than this.
 */
const WAITING_MAX = 32

/** How long a thread with nothing to do is kept; its memory is worth more than its start of some 30 ms. */
const IDLE_MS = 30_000

/**
 * One thread of its own that derives keys, started by the first request. Never libuv's pool: that belongs to the disk,
 * and a few wrong passwords in it would take durable commits from thousands a second to a handful.
 */
export function openKeyDeriver(clock: Clock): KeyDeriver {
  const waiting = new Map<number, (key: Uint8Array | null) => void>()
  let worker: Worker | null = null
  let idle: Timer | null = null
  let lastId = 0

  const settleAll = (): void => {
    for (const settle of waiting.values()) settle(null)
    waiting.clear()
  }
  const stop = async (): Promise<void> => {
    const ending = worker
    worker = null
    idle?.cancel()
    settleAll()
    await ending?.terminate()
  }
  const start = (): Worker => {
    const started = new Worker(new URL('./key-derivation-worker.js', import.meta.url))
    started.unref()
    started.on('message', ({ id, key }: KeyAnswer) => {
      waiting.get(id)?.(key)
      waiting.delete(id)
      if (waiting.size === 0 && worker === started) idle = clock.after(IDLE_MS, () => void stop())
    })
    // Out of memory is the only way it dies; the next login gets a new one.
    started.on('error', () => {
      if (worker !== started) return
      worker = null
      settleAll()
    })
    return started
  }

  return {
    derive(request) {
      if (waiting.size >= WAITING_MAX) return Promise.resolve(null)
      idle?.cancel()
      worker ??= start()
      const id = ++lastId
      worker.postMessage({ ...request, id, memoryBytesMax: MEMORY_BYTES_MAX } satisfies KeyRequest)
      return new Promise((resolve) => waiting.set(id, resolve))
    },
    close: stop,
  }
}
