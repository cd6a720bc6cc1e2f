import { simulate } from '@stathmos/testkit'
import { expect, test } from 'vitest'
import { type BlockReason, Flow } from './flow.ts'

function world() {
  const simulation = simulate({ seed: 1 })
  const machine = { free: 1000, resident: 0, reserve: true as boolean | Error, asked: 0, broken: false, cleared: 0 }
  const failures: unknown[] = []
  const flow = new Flow({
    clock: simulation.clock,
    watchMs: 100,
    diskFreeMin: 500,
    memoryMax: 2000,
    freeBytes: () => (machine.broken ? Promise.reject(new Error('EIO')) : Promise.resolve(machine.free)),
    residentBytes: () => machine.resident,
    restoreReserve: async () => {
      machine.asked++
      if (machine.reserve instanceof Error) throw machine.reserve
      return machine.reserve
    },
    makeRoom: () => void machine.cleared++,
    fail: (error) => void failures.push(error),
  })
  const changes: (BlockReason | null)[] = []
  const stop = flow.onChange((blocked) => changes.push(blocked))
  flow.start()
  return { simulation, machine, flow, changes, failures, stop }
}

test('publishers are blocked while the disk is low, told of each change once, and room is asked for', async () => {
  const { simulation, machine, flow, changes } = world()
  await simulation.elapse(500)
  expect(flow.blocked).toBeNull()
  machine.free = 499
  await simulation.elapse(300)
  expect(flow.blocked).toBe('disk')
  expect(machine.cleared).toBe(3)
  machine.free = 500
  await simulation.elapse(300)
  expect(changes).toEqual(['disk', null])
  expect(machine.cleared).toBe(3)
})

test('publishers are blocked while there is little memory', async () => {
  const { simulation, machine, changes } = world()
  machine.resident = 2001
  await simulation.elapse(150)
  machine.free = 0
  await simulation.elapse(100)
  machine.resident = 0
  machine.free = 1000
  await simulation.elapse(100)
  expect(changes).toEqual(['memory', 'disk', null])
})

test('after a full disk publishers wait until there is room and the reserve is back', async () => {
  const { simulation, machine, flow } = world()
  machine.reserve = false
  flow.diskFull(true)
  expect(flow.blocked).toBe('disk')
  flow.diskFull(false)
  await simulation.elapse(500)
  expect(flow.blocked).toBe('disk')
  machine.reserve = true
  await simulation.elapse(100)
  expect(flow.blocked).toBeNull()
})

test('while writes are refused publishers stay blocked, and the reserve is left alone', async () => {
  const { simulation, machine, flow, changes } = world()
  flow.refused(true)
  await simulation.elapse(500)
  expect([flow.blocked, machine.asked]).toEqual(['disk', 0])
  flow.refused(false)
  await simulation.elapse(100)
  expect(changes).toEqual(['disk', null])
})

test('a file system that does not answer blocks nobody', async () => {
  const { simulation, machine, flow, failures } = world()
  machine.broken = true
  await simulation.elapse(300)
  expect(flow.blocked).toBeNull()
  expect(failures).toEqual([])
})

test('a disk that fails while the reserve is taken again is reported once, and publishers stay blocked', async () => {
  const { simulation, machine, flow, failures } = world()
  machine.reserve = new Error('EIO')
  flow.diskFull(true)
  await simulation.elapse(500)
  expect(failures).toEqual([machine.reserve])
  expect(machine.asked).toBe(1)
  expect(flow.blocked).toBe('disk')
})

test('who has stopped listening hears nothing, and a closed flow looks no more', async () => {
  const { simulation, machine, flow, changes, stop } = world()
  stop()
  machine.free = 0
  await simulation.elapse(150)
  expect([flow.blocked, changes]).toEqual(['disk', []])
  flow.close()
  machine.free = 1000
  await simulation.elapse(500)
  expect(flow.blocked).toBe('disk')
})
