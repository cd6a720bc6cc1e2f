import { Credit } from '../index.ts'
import { EngineWorld } from '@stathmos/testkit'
import { expect, test } from 'vitest'

const FANOUT = {
  name: 'all',
  type: 'fanout',
  durable: true,
  autoDelete: false,
  internal: false,
  delayed: false,
  opaque: '',
} as const

test('first in, first out, and a message that is released returns to its own place', async () => {
  const world = await EngineWorld.open()
  const queue = world.queue('q')
  for (const text of ['a', 'b', 'c']) world.publish('q', text)
  await world.settle()
  const [a, b] = [await world.get(queue), await world.get(queue)]
  queue.release(b!.ticket)
  queue.release(a!.ticket)
  expect((await world.get(queue))!).toMatchObject({ text: 'a', redelivered: true, attempts: 0 })
  expect((await world.get(queue))!.text).toBe('b')
  expect(await world.get(queue)).toMatchObject({ text: 'c', redelivered: false })
  expect(await world.get(queue)).toBeNull()
})

test('a persistent message is delivered only once it is on disk, however fast frames follow each other', async () => {
  const world = await EngineWorld.open({ slowDisk: true })
  const { inbox } = world.subscribe(world.queue('q'), { autoAccept: true })
  for (let i = 0; i < 500; i++) {
    world.publish('q', `${i}`)
    // While one frame is written, the next one fills.
    if (i % 3 === 0) await world.simulation.step()
  }
  await world.settle()
  expect(inbox.texts).toEqual(Array.from({ length: 500 }, (_, i) => `${i}`))
})

test('a receiver that settles, grants and publishes inside the delivery keeps getting messages', async () => {
  const world = await EngineWorld.open()
  const queue = world.queue('q', {}, { durable: false })
  const { inbox } = world.subscribe(queue, { credit: 1 })
  inbox.onDeliver = ({ ticket }, consumer) => {
    if (inbox.got.length < 20) world.publish('q', `${inbox.got.length}`)
    queue.accept(ticket)
    consumer.grant(1)
  }
  world.publish('q', '0')
  await world.settle()
  expect(inbox.got).toHaveLength(20)
  expect(queue.ready + queue.inFlight).toBe(0)
})

test('a consumer that a delivery to another one makes able to take messages is not forgotten', async () => {
  const world = await EngineWorld.open()
  const queue = world.queue('q')
  const important = world.subscribe(queue, { credit: 0, priority: 5 })
  const plain = world.subscribe(queue, { credit: 1 })
  plain.inbox.onDeliver = () => important.consumer.grant(2)
  for (const text of ['a', 'b', 'c']) world.publish('q', text)
  await world.settle()
  expect(plain.inbox.texts).toEqual(['a'])
  expect(important.inbox.texts).toEqual(['b', 'c'])
})

test('a consumer cancelled inside a delivery gets nothing more, and the others do', async () => {
  const world = await EngineWorld.open()
  const queue = world.queue('q')
  const first = world.subscribe(queue)
  first.inbox.onDeliver = (_, consumer) => consumer.cancel()
  const second = world.subscribe(queue)
  for (const text of ['a', 'b', 'c']) world.publish('q', text)
  await world.settle()
  expect(first.inbox.texts).toEqual(['a'])
  expect(second.inbox.texts).toEqual(['b', 'c'])
  expect(queue.inFlight).toBe(3)
})

test('a queue deleted inside a delivery ends its consumers and hands out nothing more', async () => {
  const world = await EngineWorld.open()
  const queue = world.queue('q')
  const { inbox } = world.subscribe(queue)
  inbox.onDeliver = () => void world.vhost.deleteQueue(queue)
  for (const text of ['a', 'b']) world.publish('q', text)
  await world.settle()
  expect(inbox.texts).toEqual(['a'])
  expect(inbox.ended).toBe(true)
  await world.kill()
  expect(world.vhost.queue('q')).toBeUndefined()
})

test('a queue declared anew while the old one tells its consumers of its end outlives a crash', async () => {
  const world = await EngineWorld.open()
  const queue = world.queue('q')
  const { inbox } = world.subscribe(queue)
  inbox.cancelled = (): void => {
    world.queue('q')
    world.publish('q', 'new')
  }
  world.vhost.deleteQueue(queue)
  await world.settle()
  await world.kill()
  expect(await world.texts(world.vhost.queue('q')!)).toEqual(['new'])
})

test('competing consumers take turns, those with a higher priority first', async () => {
  const world = await EngineWorld.open()
  const queue = world.queue('q')
  const [low, other] = [world.subscribe(queue), world.subscribe(queue)]
  const high = world.subscribe(queue, { priority: 1, credit: 2 })
  for (let i = 0; i < 6; i++) world.publish('q', `${i}`)
  await world.settle()
  expect(high.inbox.texts).toEqual(['0', '1'])
  expect(low.inbox.texts).toEqual(['2', '4'])
  expect(other.inbox.texts).toEqual(['3', '5'])
})

test('credit that consumers share is used up together and given back together', async () => {
  const world = await EngineWorld.open()
  const queue = world.queue('q')
  const sharedCredit = new Credit(2)
  const [one, two] = [world.subscribe(queue, { sharedCredit }), world.subscribe(queue, { sharedCredit })]
  for (let i = 0; i < 5; i++) world.publish('q', `${i}`)
  await world.settle()
  expect([one.inbox.texts, two.inbox.texts]).toEqual([['0'], ['1']])
  sharedCredit.grant(3)
  await world.settle()
  expect(one.inbox.got.length + two.inbox.got.length).toBe(5)
  expect(sharedCredit.available).toBe(0)
})

test('a consumer that pauses gets nothing until it resumes', async () => {
  const world = await EngineWorld.open()
  const queue = world.queue('q')
  const { inbox, consumer } = world.subscribe(queue)
  consumer.pause()
  world.publish('q', 'a')
  await world.settle()
  expect(inbox.texts).toEqual([])
  consumer.resume()
  await world.settle()
  expect(inbox.texts).toEqual(['a'])
})

test('a single active consumer gets everything; while it pauses or has no credit nobody does; the next one follows it', async () => {
  const world = await EngineWorld.open()
  const queue = world.queue('q', { singleActive: true })
  const first = world.subscribe(queue, { credit: 1 })
  const second = world.subscribe(queue)
  for (const text of ['a', 'b', 'c']) world.publish('q', text)
  await world.settle()
  expect([first.inbox.texts, second.inbox.texts]).toEqual([['a'], []])
  first.consumer.pause()
  first.consumer.grant(1)
  await world.settle()
  expect(first.inbox.texts).toEqual(['a'])
  first.consumer.resume()
  await world.settle()
  expect(first.inbox.texts).toEqual(['a', 'b'])
  first.consumer.cancel()
  await world.settle()
  expect(second.inbox.texts).toEqual(['c'])
})

test('an exclusive consumer excludes others, and cannot join them', async () => {
  const world = await EngineWorld.open()
  const queue = world.queue('q')
  const { consumer } = world.subscribe(queue, { exclusive: true })
  expect(() => world.subscribe(queue)).toThrow(expect.objectContaining({ code: 'exclusive_consumer' }))
  consumer.cancel()
  world.subscribe(queue)
  expect(() => world.subscribe(queue, { exclusive: true })).toThrow(
    expect.objectContaining({ code: 'exclusive_consumer' }),
  )
})

test('a queue that deletes itself goes with its last consumer, not before its first', async () => {
  const world = await EngineWorld.open()
  const queue = world.queue('q', {}, { autoDelete: true })
  world.publish('q', 'a')
  await world.settle()
  expect(queue.deleted).toBe(false)
  const [one, two] = [world.subscribe(queue), world.subscribe(queue)]
  one.consumer.cancel()
  expect(queue.deleted).toBe(false)
  two.consumer.cancel()
  expect(queue.deleted).toBe(true)
  expect(() => world.subscribe(queue)).toThrow(expect.objectContaining({ code: 'queue_not_found' }))
})

test('a queue that nobody uses goes after its time, and use begins it anew', async () => {
  const world = await EngineWorld.open()
  const queue = world.queue('q', { expiresMs: 100 })
  await world.simulation.elapse(60)
  await world.get(queue)
  await world.simulation.elapse(60)
  const { consumer } = world.subscribe(queue)
  await world.simulation.elapse(500)
  consumer.cancel()
  await world.simulation.elapse(60)
  expect(queue.deleted).toBe(false)
  await world.simulation.elapse(60)
  expect(queue.deleted).toBe(true)
})

test('messages of a higher priority come out first, and tickets of each keep their meaning', async () => {
  const world = await EngineWorld.open()
  const queue = world.queue('q', { priorityMax: 9 })
  for (const [text, priority] of [
    ['low', 0],
    ['high', 9],
    ['beyond', 200],
    ['middle', 5],
  ] as const) {
    world.publish('q', text, { priority })
  }
  await world.settle()
  const taken = [await world.get(queue), await world.get(queue), await world.get(queue), await world.get(queue)]
  expect(taken.map((one) => one!.text)).toEqual(['high', 'beyond', 'middle', 'low'])
  queue.release(taken[3]!.ticket)
  queue.release(taken[0]!.ticket, { failed: true })
  queue.accept(taken[1]!.ticket)
  queue.accept(taken[2]!.ticket)
  expect(await world.get(queue)).toMatchObject({ text: 'high', attempts: 1 })
  await world.settle()
  await world.kill()
  expect(await world.texts(world.vhost.queue('q')!)).toEqual(['high', 'low'])
})

test('purging drops what waits and leaves what is in somebody’s hands', async () => {
  const world = await EngineWorld.open()
  const queue = world.queue('q')
  for (const text of ['a', 'b', 'c', 'd']) world.publish('q', text)
  await world.settle()
  const [a, b] = [await world.get(queue), await world.get(queue)]
  queue.release(a!.ticket)
  expect(queue.purge()).toBe(3)
  expect([queue.ready, queue.inFlight, queue.bytes]).toEqual([0, 1, 1])
  queue.release(b!.ticket)
  expect((await world.get(queue))!.text).toBe('b')
  expect(await world.get(queue)).toBeNull()
  await world.settle()
  await world.kill()
  expect(await world.texts(world.vhost.queue('q')!)).toEqual(['b'])
})

test('settling what was settled, or was never there, does nothing', async () => {
  const world = await EngineWorld.open()
  const queue = world.queue('q')
  for (const text of ['a', 'b']) world.publish('q', text)
  await world.settle()
  const a = await world.get(queue)
  queue.accept(a!.ticket)
  queue.accept(a!.ticket)
  queue.release(a!.ticket)
  queue.reject(a!.ticket, 'rejected')
  queue.accept(99)
  expect([queue.ready, queue.inFlight]).toEqual([1, 0])
})

// ---- time to live

test('messages expire wherever they are in the queue, after the shorter of their own time and the queue’s', async () => {
  const world = await EngineWorld.open()
  const queue = world.queue('q', { messageTtlMs: 1000 })
  world.publish('q', 'long', { ttlMs: 50_000 })
  world.publish('q', 'short', { ttlMs: 10 })
  world.publish('q', 'queue’s')
  await world.settle()
  await world.simulation.elapse(20)
  expect(await world.texts(queue)).toEqual(['long', 'queue’s'])
  await world.simulation.elapse(1000)
  expect(await world.texts(queue)).toEqual([])
  expect([queue.ready, queue.bytes]).toEqual([0, 0])
})

test('a message in somebody’s hands does not expire; it does when it is released late', async () => {
  const world = await EngineWorld.open()
  const queue = world.queue('q', { messageTtlMs: 100 })
  world.publish('q', 'a')
  await world.settle()
  const a = await world.get(queue)
  await world.simulation.elapse(500)
  expect(queue.inFlight).toBe(1)
  queue.release(a!.ticket)
  await world.simulation.elapse(1)
  expect([queue.ready, queue.inFlight]).toEqual([0, 0])
})

test('a message with no time at all is delivered to who waits, and else expires', async () => {
  const world = await EngineWorld.open()
  const queue = world.queue('q')
  world.publish('q', 'lost', { ttlMs: 0 })
  await world.settle()
  expect(queue.ready).toBe(0)
  const { inbox } = world.subscribe(queue, { credit: 1 })
  world.publish('q', 'caught', { ttlMs: 0 })
  world.publish('q', 'lost too', { ttlMs: 0 })
  await world.settle()
  expect(inbox.texts).toEqual(['caught'])
  expect(queue.ready).toBe(0)
})

test('a restart does not prolong a message’s life', async () => {
  const world = await EngineWorld.open()
  world.queue('q', { messageTtlMs: 1000 })
  world.publish('q', 'a')
  world.publish('q', 'b', { ttlMs: 100_000 })
  await world.settle()
  const held = await world.get(world.vhost.queue('q')!)
  expect(held!.text).toBe('a')
  await world.simulation.elapse(600)
  await world.reopen()
  await world.simulation.elapse(300)
  expect(await world.texts(world.vhost.queue('q')!)).toEqual(['a', 'b'])
  await world.simulation.elapse(200)
  expect(await world.texts(world.vhost.queue('q')!)).toEqual([])
})

// ---- limits

test('a queue at its length limit drops its oldest waiting messages', async () => {
  const world = await EngineWorld.open()
  const queue = world.queue('q', { lengthMax: 2 })
  for (const text of ['a', 'b', 'c']) world.publish('q', text)
  expect(queue.ready).toBe(2)
  await world.settle()
  const b = await world.get(queue)
  for (const text of ['d', 'e']) world.publish('q', text)
  await world.settle()
  expect(await world.texts(queue)).toEqual(['b', 'd', 'e'])
  queue.release(b!.ticket)
  expect(await world.texts(queue)).toEqual(['d', 'e'])
})

test('a length limit of 0 lets through what somebody waits for, and nothing else', async () => {
  const world = await EngineWorld.open()
  for (const [name, singleActive] of [
    ['many', false],
    ['single', true],
  ] as const) {
    const queue = world.queue(name, { lengthMax: 0, singleActive })
    world.publish(name, 'lost')
    await world.settle()
    expect(queue.ready).toBe(0)
    const { inbox } = world.subscribe(queue, { credit: 2 })
    for (const text of ['a', 'b', 'c']) world.publish(name, text)
    await world.settle()
    expect(inbox.texts).toEqual(['a', 'b'])
    expect(queue.ready).toBe(0)
  }
})

test('a length limit does not count what waits for the disk while a consumer waits for it', async () => {
  const world = await EngineWorld.open()
  const queue = world.queue('q', { lengthMax: 3 })
  const { inbox } = world.subscribe(queue, { autoAccept: true })
  for (let i = 0; i < 300; i++) {
    world.publish('q', `${i}`)
    if (i % 50 === 0) await world.simulation.step()
  }
  await world.settle()
  expect(inbox.got).toHaveLength(300)
})

test('a byte limit counts the messages that wait, not those in somebody’s hands', async () => {
  const world = await EngineWorld.open()
  const queue = world.queue('q', { bytesMax: 10 })
  for (const text of ['aaaa', 'bbbb']) world.publish('q', text)
  await world.settle()
  for (let i = 0; i < 2; i++) await world.get(queue)
  for (const text of ['cccc', 'dddd', 'eeee']) world.publish('q', text)
  await world.settle()
  expect(await world.texts(queue)).toEqual(['aaaa', 'bbbb', 'dddd', 'eeee'])
  const strict = world.queue('strict', { bytesMax: 10, overflow: 'reject' })
  expect(['aaaa', 'bbbb', 'cccc'].map((text) => world.publish('strict', text) > 0)).toEqual([true, true, false])
  await world.settle()
  await world.get(strict)
  expect(world.publish('strict', 'dddd')).toBeGreaterThan(0)
})

test('a byte limit counts bodies and nothing else, after a restart too [RabbitMQ x-max-length-bytes]', async () => {
  const world = await EngineWorld.open()
  const queue = world.queue('q', { bytesMax: 10, overflow: 'reject' })
  const origin = new Uint8Array(500)
  const fields = { origin, originView: new DataView(origin.buffer), originEnd: origin.length, persistent: true }
  const publish = (text: string): boolean => world.publish('q', text, fields) > 0
  expect([publish('aaaaaa'), publish('bbbb'), publish('c')]).toEqual([true, true, false])
  await world.settle()
  expect(queue.readyBytes).toBe(10)
  await world.kill()
  expect(world.vhost.queue('q')!.readyBytes).toBe(10)
})

test('a message larger than the byte limit is dropped with all that waited before it', async () => {
  const world = await EngineWorld.open()
  const queue = world.queue('q', { bytesMax: 3 })
  world.publish('q', 'aaa')
  world.publish('q', 'bbbb')
  await world.settle()
  expect(queue.ready).toBe(0)
})

test('dropped and rejected messages become dead letters in their order', async () => {
  const world = await EngineWorld.open()
  const dead = world.queue('dead')
  const queue = world.queue('q', { lengthMax: 2, deadLetterExchange: '', deadLetterKey: 'dead' })
  for (let i = 0; i < 10; i++) world.publish('q', `${i}`)
  await world.settle()
  expect(await world.texts(dead)).toEqual(['0', '1', '2', '3', '4', '5', '6', '7'])
  const [eight, nine] = [await world.get(queue), await world.get(queue)]
  queue.reject(nine!.ticket, 'rejected')
  queue.reject(eight!.ticket, 'rejected')
  await world.settle()
  expect((await world.texts(dead)).slice(8)).toEqual(['9', '8'])
})

test('a dead letter that goes to another target of the same message leaves a journal that can be read', async () => {
  const world = await EngineWorld.open()
  world.vhost.declareExchange(FANOUT)
  world.queue('small', { lengthMax: 1, deadLetterExchange: '', deadLetterKey: 'b' })
  world.queue('b')
  world.queue('c', { lengthMax: 1, overflow: 'reject-dead-letter', deadLetterExchange: '', deadLetterKey: 'b' })
  for (const name of ['small', 'b', 'c']) world.vhost.bind('all', { kind: 'queue', name }, '')
  for (const text of ['1', '2', '3']) world.publish('', text, { exchange: 'all' })
  await world.settle()
  const before = await world.texts(world.vhost.queue('b')!)
  expect(before.toSorted()).toEqual(['1', '1', '2', '2', '2', '3', '3'])
  await world.kill()
  expect(await world.texts(world.vhost.queue('b')!)).toEqual(before)
})

test('a message that failed more often than the delivery limit is given up', async () => {
  const world = await EngineWorld.open()
  const dead = world.queue('dead')
  const queue = world.queue('q', { deliveryLimit: 2, deadLetterExchange: '', deadLetterKey: 'dead' })
  world.publish('q', 'a')
  await world.settle()
  for (const attempts of [0, 1, 2]) {
    const a = await world.get(queue)
    expect(a).toMatchObject({ text: 'a', attempts, redelivered: attempts > 0 })
    queue.release(a!.ticket, { failed: true })
  }
  await world.settle()
  expect(await world.get(queue)).toBeNull()
  const [letter] = await world.simulation.finish(dead.browse({ limit: 1 }))
  expect(letter!.history.deaths).toMatchObject([{ queue: 'q', reason: 'delivery_limit', count: 1 }])
})

test('attempts are counted up to a limit and never begin anew', async () => {
  const world = await EngineWorld.open()
  const queue = world.queue('q')
  world.publish('q', 'a')
  await world.settle()
  for (let i = 0; i < 65_600; i++) queue.get(false, (ticket) => queue.release(ticket, { failed: true }))
  expect(await world.get(queue)).toMatchObject({ attempts: 65_534, redelivered: true })
  queue.release(0, { failed: true, delayMs: 10 })
  await world.settle()
  await world.simulation.elapse(50)
  expect(await world.get(queue)).toMatchObject({ attempts: 65_534, redelivered: true })
}, 20_000)

test('attempts outlive a crash, also of messages that a checkpoint had stored', async () => {
  const world = await EngineWorld.open()
  let queue = world.queue('q')
  for (const text of ['a', 'b']) world.publish('q', text)
  await world.settle()
  await world.reopen()
  queue = world.vhost.queue('q')!
  const a = await world.get(queue)
  queue.release(a!.ticket, { failed: true })
  await world.settle()
  await world.kill()
  queue = world.vhost.queue('q')!
  expect(await world.get(queue)).toMatchObject({ text: 'a', attempts: 1, redelivered: true })
})

// ---- delays and leases

test('a message released with a delay comes back after it, counts its attempts, and outlives a restart', async () => {
  const world = await EngineWorld.open()
  const queue = world.queue('q')
  for (const text of ['a', 'b']) world.publish('q', text)
  await world.settle()
  const a = await world.get(queue)
  queue.release(a!.ticket, { failed: true, delayMs: 1000 })
  await world.settle()
  expect(await world.texts(queue)).toEqual(['b'])
  await world.kill()
  await world.simulation.elapse(1100)
  expect(await world.texts(world.vhost.queue('q')!)).toEqual(['b', 'a'])
  await world.get(world.vhost.queue('q')!)
  expect(await world.get(world.vhost.queue('q')!)).toMatchObject({ text: 'a', attempts: 1, redelivered: true })
})

test('a delay does not take a message’s time to live away', async () => {
  const world = await EngineWorld.open()
  const queue = world.queue('q')
  world.publish('q', 'a', { ttlMs: 500 })
  await world.settle()
  const a = await world.get(queue)
  queue.release(a!.ticket, { delayMs: 100 })
  await world.simulation.elapse(200)
  expect(queue.ready).toBe(1)
  await world.simulation.elapse(400)
  expect(queue.ready).toBe(0)
})

test('where nothing survives a restart a delayed message waits in its own place', async () => {
  const world = await EngineWorld.open()
  const queue = world.queue('q', {}, { durable: false })
  for (const text of ['a', 'b']) world.publish('q', text)
  await world.settle()
  const a = await world.get(queue)
  queue.release(a!.ticket, { failed: true, delayMs: 100 })
  await world.settle()
  expect(queue.ready).toBe(1)
  await world.simulation.elapse(100)
  expect(await world.get(queue)).toMatchObject({ text: 'a', attempts: 1, redelivered: true })
})

test('a delivery whose lease runs out comes back as a failed attempt, and its holder hears of it', async () => {
  const world = await EngineWorld.open()
  const queue = world.queue('q')
  for (const text of ['a', 'b']) world.publish('q', text)
  const { inbox } = world.subscribe(queue, { credit: 2, leaseMs: 1000 })
  await world.settle()
  const [a, b] = inbox.got
  queue.accept(b!.ticket)
  await world.simulation.elapse(900)
  expect(queue.inFlight).toBe(1)
  await world.simulation.elapse(200)
  expect(inbox.lapses).toEqual([a!.ticket])
  expect(await world.get(queue)).toMatchObject({ text: 'a', attempts: 1, redelivered: true })
})

test('a lease that is renewed runs out later, and one that ended not at all', async () => {
  const world = await EngineWorld.open()
  const queue = world.queue('q', { deadLetterExchange: '', deadLetterKey: 'dead' })
  for (const text of ['a', 'b', 'c', 'd']) world.publish('q', text)
  await world.settle()
  const [a, b, c, d] = [
    await world.get(queue, false, 100),
    await world.get(queue, false, 100),
    await world.get(queue, false, 100),
    await world.get(queue),
  ]
  expect(queue.renew(a!.ticket, 1000)).toBe(true)
  expect(queue.renew(d!.ticket, 500)).toBe(true)
  queue.accept(b!.ticket)
  queue.reject(c!.ticket, 'rejected')
  expect([queue.renew(b!.ticket, 10), queue.renew(c!.ticket, 10), queue.renew(77, 10)]).toEqual([false, false, false])
  await world.simulation.elapse(400)
  expect([queue.ready, queue.inFlight]).toEqual([0, 2])
  await world.simulation.elapse(200)
  expect([queue.ready, queue.inFlight]).toEqual([1, 1])
  await world.simulation.elapse(1000)
  expect([queue.ready, queue.inFlight]).toEqual([2, 0])
})

test('a release ends the lease: the next holder has its own time', async () => {
  const world = await EngineWorld.open()
  const queue = world.queue('q')
  world.publish('q', 'a')
  await world.settle()
  const a = await world.get(queue, false, 100)
  queue.release(a!.ticket)
  await world.get(queue)
  await world.simulation.elapse(1000)
  expect(queue.inFlight).toBe(1)
})

test('a lease that runs out counts toward the delivery limit', async () => {
  const world = await EngineWorld.open()
  const dead = world.queue('dead')
  const queue = world.queue('q', { deliveryLimit: 1, deadLetterExchange: '', deadLetterKey: 'dead' })
  world.publish('q', 'a')
  const { inbox, consumer } = world.subscribe(queue, { credit: 1, leaseMs: 100 })
  inbox.lapsed = () => consumer.grant(1)
  await world.settle()
  await world.simulation.elapse(500)
  expect(inbox.got.map(({ attempts }) => attempts)).toEqual([0, 1])
  expect(await world.texts(dead)).toEqual(['a'])
})
