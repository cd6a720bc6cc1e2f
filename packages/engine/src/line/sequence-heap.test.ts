import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { SequenceHeap } from './sequence-heap.ts'

test('the lowest number comes out first, whatever goes in and out between', () => {
  fc.assert(
    fc.property(fc.array(fc.option(fc.nat())), (steps) => {
      const heap = new SequenceHeap()
      let model: number[] = []
      for (const step of steps) {
        if (step !== null) {
          heap.push(step)
          model = [...model, step].toSorted((one, other) => one - other)
        } else if (model.length > 0) {
          expect(heap.peek()).toBe(model[0])
          expect(heap.pop()).toBe(model.shift())
        }
        expect(heap.size).toBe(model.length)
      }
    }),
  )
})
