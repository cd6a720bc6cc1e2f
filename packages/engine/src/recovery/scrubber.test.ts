import { simulate } from '@stathmos/testkit'
import { expect, test } from 'vitest'
import { Scrubber } from './scrubber.ts'

test('reads a piece at a time, one after the other, and goes on behind what is damaged', async () => {
  const simulation = simulate({ seed: 1 })
  const asked: number[] = []
  const found: string[] = []
  const scrubber = new Scrubber({
    clock: simulation.clock,
    store: {
      async scrub(bytes) {
        asked.push(bytes)
        if (asked.length === 2) throw new Error('rot')
      },
    },
    everyMs: 100,
    bytes: 4096,
    damaged: (error) => void found.push(error.message),
  })
  scrubber.start()
  await simulation.elapse(450)
  expect(asked).toEqual([4096, 4096, 4096, 4096])
  expect(found).toEqual(['rot'])
  await scrubber.close()
  await simulation.elapse(1000)
  expect(asked).toHaveLength(4)
})
