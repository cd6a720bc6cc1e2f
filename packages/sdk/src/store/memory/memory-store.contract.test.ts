import { describe, test } from 'vitest'
import { storeContract } from '../contract.ts'
import { memoryStore } from './memory-store.ts'

/** Time that only goes on when it is told to. */
async function open() {
  let now = 1_790_000_000_000
  const clock = { now: () => now, monotonic: () => now, after: () => ({ cancel() {} }) }
  const store = memoryStore({ clock })
  return {
    store,
    async pass(ms: number) {
      now += ms
    },
    close: () => store.close(),
  }
}

describe.each(storeContract({ open, concurrent: true }))('$name', ({ run }) => {
  test('in memory', run)
})
