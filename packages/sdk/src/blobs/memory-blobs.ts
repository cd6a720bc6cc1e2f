import { systemClock, type Clock } from '../time/clock.ts'
import type { Blobs } from './blobs.ts'

/** Of bodies in memory. */
export interface MemoryBlobsOptions {
  /** By which they age. Default: the system's. */
  readonly clock?: Pick<Clock, 'now'>
}

/** Bodies in memory, for tests: gone with the process. */
export function memoryBlobs({ clock = systemClock }: MemoryBlobsOptions = {}): Blobs & { readonly size: number } {
  const blobs = new Map<string, { readonly bytes: Uint8Array; readonly at: number }>()
  return {
    get size() {
      return blobs.size
    },
    async put(key, bytes) {
      blobs.set(key, { bytes: Uint8Array.from(bytes), at: clock.now() })
    },
    async get(key) {
      const blob = blobs.get(key)
      return blob === undefined ? null : Uint8Array.from(blob.bytes)
    },
    async prune(before) {
      const old = [...blobs].filter(([, { at }]) => at < before)
      for (const [key] of old) blobs.delete(key)
      return old.length
    },
  }
}
