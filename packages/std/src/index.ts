export * from './assert.ts'
export * from './clock.ts'
export { Heap } from './heap.ts'
export * from './random.ts'
