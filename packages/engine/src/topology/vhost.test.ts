import { draftOf, EngineWorld } from '@stathmos/testkit'
import { expect, test } from 'vitest'
import { type ExchangeDefinition, type QueueDefinition, REJECTED, UNROUTED } from '../index.ts'

const exchange = (name: string, rest: Partial<ExchangeDefinition> = {}): ExchangeDefinition => ({
  name,
  type: 'direct',
  durable: true,
  autoDelete: false,
  internal: false,
  delayed: false,
  opaque: '',
  ...rest,
})
const definition = (name: string, rest: Partial<QueueDefinition> = {}): QueueDefinition => ({
  name,
  durable: true,
  exclusive: false,
  autoDelete: false,
  settings: { overflow: 'drop-head' },
  opaque: '',
  ...rest,
})
const failing = (code: string) => expect.objectContaining({ code })

test('a route is made once for an exchange and a key, and anew for the next exchange of that name', async () => {
  const { vhost } = await EngineWorld.open()
  expect(vhost.route('missing', 'k')).toBeUndefined()
  const first = vhost.declareExchange(exchange('x')).exchange
  const route = vhost.route('x', 'k')!
  expect(vhost.route('x', 'k')).toBe(route)
  vhost.deleteExchange(first)
  expect(vhost.route('x', 'k')).toBeUndefined()
  vhost.declareExchange(exchange('x'))
  expect(vhost.route('x', 'k')).not.toBe(route)
  expect(vhost.publish(route, draftOf('a'))).toBe(UNROUTED)
  expect(() => vhost.route('x', 'ü'.repeat(128))).toThrow(failing('invalid_argument'))
})

test('a route that was found keeps up with bindings, also when all were forgotten for want of room', async () => {
  const world = await EngineWorld.open({ limits: { routesMax: 2 } })
  const { vhost } = world
  vhost.declareExchange(exchange('x'))
  const queue = world.queue('q')
  const route = vhost.route('x', 'k')!
  expect(vhost.publish(route, draftOf('a'))).toBe(UNROUTED)
  vhost.bind('x', { kind: 'queue', name: 'q' }, 'k')
  for (const key of ['1', '2', '3']) vhost.route('x', key)
  vhost.publish(route, draftOf('b'))
  vhost.publish(vhost.route('x', 'k')!, draftOf('c'))
  vhost.unbind('x', { kind: 'queue', name: 'q' }, 'k')
  expect(vhost.publish(route, draftOf('d'))).toBe(UNROUTED)
  await world.settle()
  expect(await world.texts(queue)).toEqual(['b', 'c'])
})

test('a message for many queues is stored once, and each of them settles its own place', async () => {
  const world = await EngineWorld.open()
  world.vhost.declareExchange(exchange('all', { type: 'fanout' }))
  const queues = ['a', 'b', 'c'].map((name) => world.queue(name))
  for (const { name } of queues) world.vhost.bind('all', { kind: 'queue', name }, '')
  await world.settle()
  const before = world.engine.storedBytes
  const position = world.publish('', 'x'.repeat(10_000), { exchange: 'all' })
  await world.settle()
  expect(world.engine.storedBytes - before).toBeLessThan(15_000)
  for (const queue of queues) {
    expect((await world.simulation.finish(queue.browse({ limit: 1 })))[0]!.position).toBe(position)
  }
  queues[0]!.purge()
  await world.settle()
  await world.kill()
  expect(['a', 'b', 'c'].map((name) => world.vhost.queue(name)!.ready)).toEqual([0, 1, 1])
})

test('a message that one of its queues refuses is refused, and in the others all the same', async () => {
  const world = await EngineWorld.open()
  world.vhost.declareExchange(exchange('all', { type: 'fanout' }))
  const small = world.queue('small', { lengthMax: 1, overflow: 'reject' })
  const large = world.queue('large')
  for (const { name } of [small, large]) world.vhost.bind('all', { kind: 'queue', name }, '')
  expect(world.publish('', 'a', { exchange: 'all' })).toBeGreaterThan(0)
  expect(world.publish('', 'b', { exchange: 'all' })).toBe(REJECTED)
  await world.settle()
  expect([await world.texts(small), await world.texts(large)]).toEqual([['a'], ['a', 'b']])
})

test('the time of a message is its own, however many were refused before it', async () => {
  const world = await EngineWorld.open()
  world.queue('full', { lengthMax: 0, overflow: 'reject' })
  const queue = world.queue('q')
  await world.settle()
  for (let i = 0; i < 3; i++) expect(world.publish('full', 'x')).toBe(REJECTED)
  await world.simulation.elapse(5000)
  world.publish('q', 'a', { ttlMs: 1000 })
  await world.settle()
  expect(await world.texts(queue)).toEqual(['a'])
})

test('declaring again finds the queue that is there, unless it is another one', async () => {
  const { vhost } = await EngineWorld.open()
  const { queue, created } = vhost.declareQueue(definition('q'), null)
  expect(created).toBe(true)
  expect(vhost.declareQueue(definition('q'), null)).toEqual({ queue, created: false })
  expect(() => vhost.declareQueue(definition('q', { durable: false }), null)).toThrow(failing('not_equivalent'))
  expect(() => vhost.declareQueue(definition('q', { autoDelete: true }), null)).toThrow(failing('not_equivalent'))
})

test('an exclusive queue is its owner’s, and goes with it', async () => {
  const world = await EngineWorld.open()
  const [owner, stranger] = [{}, {}]
  const { queue } = world.vhost.declareQueue(definition('q', { exclusive: true }), owner)
  expect(() => world.vhost.declareQueue(definition('q', { exclusive: true }), stranger)).toThrow(
    failing('owned_elsewhere'),
  )
  expect(() => world.subscribe(queue, { owner: stranger })).toThrow(failing('owned_elsewhere'))
  const { inbox } = world.subscribe(queue, { owner })
  world.vhost.closeOwner(stranger)
  expect(queue.deleted).toBe(false)
  world.vhost.closeOwner(owner)
  expect([queue.deleted, inbox.ended, world.vhost.queue('q')]).toEqual([true, true, undefined])
})

test('a queue is deleted only when it is unused or empty, if that is asked, and says how many were ready', async () => {
  const world = await EngineWorld.open()
  const queue = world.queue('q')
  for (const text of ['a', 'b']) world.publish('q', text)
  await world.settle()
  expect(() => world.vhost.deleteQueue(queue, { ifEmpty: true })).toThrow(failing('queue_not_empty'))
  const { consumer } = world.subscribe(queue, { credit: 1 })
  await world.settle()
  expect(() => world.vhost.deleteQueue(queue, { ifUnused: true })).toThrow(failing('in_use'))
  consumer.cancel()
  expect(world.vhost.deleteQueue(queue, { ifUnused: true })).toBe(1)
})

test('a vhost takes no more queues than its limit', async () => {
  const { vhost } = await EngineWorld.open({ limits: { queuesMax: 1 } })
  vhost.declareQueue(definition('a'), null)
  expect(() => vhost.declareQueue(definition('b'), null)).toThrow(failing('limit_reached'))
  expect(vhost.declareQueue(definition('a'), null).created).toBe(false)
})

test('what is durable outlives stops and crashes: exchanges, queues, bindings with their arguments, and their ends', async () => {
  const world = await EngineWorld.open()
  for (const name of ['x', 'y', 'gone']) world.vhost.declareExchange(exchange(name))
  world.vhost.declareExchange(exchange('passing', { durable: false }))
  world.queue('q', { lengthMax: 7 }, { opaque: '{"a":1}' })
  world.queue('other')
  const args = new Map([['n', 2n ** 60n]])
  world.vhost.bind('x', { kind: 'queue', name: 'q' }, 'k', args)
  world.vhost.bind('x', { kind: 'exchange', name: 'y' }, 'k')
  world.vhost.bind('y', { kind: 'queue', name: 'q' }, 'k')
  world.vhost.bind('y', { kind: 'queue', name: 'other' }, 'k')
  world.vhost.bind('passing', { kind: 'queue', name: 'q' }, 'k')
  world.vhost.deleteExchange(world.vhost.exchange('gone')!)
  world.vhost.unbind('y', { kind: 'queue', name: 'q' }, 'k')
  world.vhost.deleteQueue(world.vhost.queue('other')!)
  await world.settle()
  const told = () => {
    const bindings = [...world.vhost.bindings()].filter(({ source }) => source !== '')
    return bindings.map(({ source, destination, key, args: given }) => [source, destination.name, key, given])
  }
  for (const restart of ['kill', 'reopen', 'kill'] as const) {
    await world[restart]()
    expect(['x', 'y', 'gone', 'passing'].map((name) => world.vhost.exchange(name) !== undefined)).toEqual([
      true,
      true,
      false,
      false,
    ])
    expect(world.vhost.queue('q')!.definition).toMatchObject({ opaque: '{"a":1}', settings: { lengthMax: 7 } })
    expect(world.vhost.queue('other')).toBeUndefined()
    expect(told()).toEqual([
      ['x', 'q', 'k', args],
      ['x', 'y', 'k', new Map()],
    ])
  }
})

test('a queue declared after another one was deleted has nothing of it, after any restart', async () => {
  const world = await EngineWorld.open()
  world.queue('q')
  world.publish('q', 'old')
  await world.settle()
  await world.reopen()
  world.vhost.deleteQueue(world.vhost.queue('q')!)
  world.queue('q', { priorityMax: 3 })
  world.publish('q', 'new', { priority: 2 })
  await world.settle()
  await world.kill()
  expect(await world.texts(world.vhost.queue('q')!)).toEqual(['new'])
  await world.reopen()
  expect(await world.texts(world.vhost.queue('q')!)).toEqual(['new'])
})

test('a dead letter does not go round for ever, unless a consumer has a part in it', async () => {
  const world = await EngineWorld.open()
  const a = world.queue('a', { messageTtlMs: 10, deadLetterExchange: '', deadLetterKey: 'b' })
  const b = world.queue('b', { messageTtlMs: 10, deadLetterExchange: '', deadLetterKey: 'a' })
  world.publish('a', 'x')
  await world.settle()
  await world.simulation.elapse(100)
  expect([a.ready, b.ready]).toEqual([0, 0])
  const self = world.queue('self', { deadLetterExchange: '', deadLetterKey: 'self' })
  world.publish('self', 'y')
  await world.settle()
  for (let count = 1; count < 4; count++) {
    self.reject((await world.get(self))!.ticket, 'rejected')
    await world.settle()
    const [letter] = await world.simulation.finish(self.browse({ limit: 1 }))
    expect(letter!.history.deaths).toMatchObject([{ queue: 'self', reason: 'rejected', count }])
  }
})

test('a recorded binding whose exchange or queue a repair could not keep binds nothing', async () => {
  const { vhost } = await EngineWorld.open()
  vhost.declareExchange(exchange('x'))
  vhost.declareQueue(definition('q'), null)
  const bound = (source: string, destination: string) =>
    ({ kind: 'bound', vhost: '/', binding: { source, kind: 'queue', destination, key: 'k', args: [] } }) as const
  for (const lost of [bound('lost', 'q'), bound('x', 'lost')]) vhost.apply(lost)
  expect([...vhost.bindings()]).toHaveLength(0)
  vhost.apply(bound('x', 'q'))
  expect([...vhost.bindings()]).toHaveLength(1)
})
