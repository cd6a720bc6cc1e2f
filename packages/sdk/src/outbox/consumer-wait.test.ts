import { beforeEach, expect, test } from 'vitest'
import { SdkError } from '../errors.ts'
import type { MemoryTransaction } from '../store/memory/memory-store.ts'
import { OutboxWorld } from '../testing/outbox-world.ts'
import { unroutable } from '../transport/outgoing.ts'
import type { SendResult } from '../transport/port.ts'
import { Outbox } from './outbox.ts'
import type { RelayOptions } from './relay-options.ts'

let world: OutboxWorld
let warnings: string[]

beforeEach(() => {
  world = new OutboxWorld()
  warnings = []
  world.transport.answer = (message): SendResult => unroutable(message)
})

async function running(options: RelayOptions = {}): Promise<void> {
  const surroundings = world.process()
  const log = { ...surroundings.log, warn: (fields: object) => void warnings.push(JSON.stringify(fields)) }
  await new Outbox<MemoryTransaction>({ ...surroundings, log }, { relay: options }).start()
  await world.clock.settle()
}

test('a command whose consumer is deployed later than its sender waits for it, and its key in its order', async () => {
  await running()
  await world.commit({ id: 'm1', kind: 'command', key: 'a' })
  await world.commit({ id: 'm2', kind: 'command', key: 'a' })
  await world.clock.advance('12h')
  expect(await world.states()).toEqual({ m1: 'pending', m2: 'pending' })
  world.transport.answer = () => 'sent'
  await world.clock.advance('6m')
  expect(world.sent()).toEqual(['m1', 'm2'])
})

test('it goes out within seconds when the two are deployed at about the same time', async () => {
  await running()
  await world.commit({ id: 'm1', kind: 'command' })
  await world.clock.advance('10s')
  world.transport.answer = () => 'sent'
  await world.clock.advance('10s')
  expect(world.sent()).toEqual(['m1'])
})

test('a name that nobody ever consumes is told to the operator once, seen in the register, and parked in the end', async () => {
  await running({ consumerWait: '2h' })
  await world.commit({ id: 'm1', kind: 'command' }, { id: 'm2', kind: 'command' })
  await world.clock.advance('1h')
  expect(warnings).toHaveLength(1)
  expect(warnings[0]).toContain('"type":"ticket.submitted"')
  const [waiting] = (await world.store.register.list({ id: 'm1' }, 1, null)).entries
  expect(waiting).toMatchObject({ state: 'pending' })
  expect(waiting!.errors.at(-1)!.message).toContain('correct the name')
  await world.clock.advance('2h')
  expect(await world.states()).toEqual({ m1: 'parked', m2: 'parked' })
})

test('where nobody wants to wait it is parked at once', async () => {
  await running({ consumerWait: '0s' })
  await world.commit({ id: 'm1', kind: 'command' })
  await world.clock.settle()
  expect(await world.states()).toEqual({ m1: 'parked' })
})

test('the waiting does not count against a message that the engine refuses later', async () => {
  await running({ retry: { attempts: 3, initial: '1s', max: '1s' } })
  await world.commit({ id: 'm1', kind: 'command', key: 'a' })
  await world.clock.advance('6h')
  let refusals = 0
  world.transport.answer = () => {
    refusals++
    return new SdkError('overloaded', 'the queue is full', { retryable: true })
  }
  await world.clock.advance('10m')
  expect(refusals).toBe(3)
  expect(await world.states()).toEqual({ m1: 'parked' })
})
