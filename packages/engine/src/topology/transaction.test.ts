import { draftOf, EngineWorld } from '@stathmos/testkit'
import { expect, test } from 'vitest'

test('nothing of a transaction is seen before its commit, and all of it afterwards', async () => {
  const world = await EngineWorld.open()
  const [a, b] = [world.queue('a'), world.queue('b')]
  world.publish('a', 'old')
  await world.settle()
  const old = await world.get(a)
  const transaction = world.vhost.begin()
  const draft = draftOf('new')
  transaction.publish(world.vhost.route('', 'b')!, draft)
  transaction.accept(a, old!.ticket)
  transaction.publish(world.vhost.route('', 'nowhere')!, draft)
  // The sender's buffer is its own again at once.
  draft.body.fill(0)
  await world.settle()
  expect([a.inFlight, b.ready]).toEqual([1, 0])
  const outcomes: number[] = []
  const committed = transaction.commit((done) => outcomes.push(...done))
  expect(outcomes).toEqual([expect.any(Number), 0])
  expect(world.engine.durablePosition).toBeLessThanOrEqual(outcomes[0]!)
  expect(await world.simulation.finish(committed)).toBe(true)
  expect(world.engine.durablePosition).toBeGreaterThan(outcomes[0]!)
  await world.settle()
  expect(a.inFlight).toBe(0)
  expect(await world.texts(b)).toEqual(['new'])
})

test('a crash at any moment finds a committed transaction whole or not at all', async () => {
  for (let steps = 0; steps < 30; steps++) {
    const world = await EngineWorld.open({ slowDisk: true, seed: steps + 1 })
    const [a] = [world.queue('a'), world.queue('b')]
    world.publish('a', 'old')
    await world.settle()
    const old = await world.get(a)
    const transaction = world.vhost.begin()
    for (const text of ['1', '2', '3']) transaction.publish(world.vhost.route('', 'b')!, draftOf(text))
    transaction.accept(a, old!.ticket)
    void transaction.commit()
    for (let i = 0; i < steps; i++) await world.simulation.step()
    await world.kill()
    const found = [await world.texts(world.vhost.queue('a')!), await world.texts(world.vhost.queue('b')!)]
    expect([
      [['old'], []],
      [[], ['1', '2', '3']],
    ]).toContainEqual(found)
  }
})

test('a rollback leaves no trace, and the next transaction begins with nothing', async () => {
  const world = await EngineWorld.open()
  const queue = world.queue('q')
  const transaction = world.vhost.begin()
  transaction.publish(world.vhost.route('', 'q')!, draftOf('a'))
  transaction.rollback()
  const outcomes: (readonly number[])[] = []
  await world.simulation.finish(transaction.commit((done) => outcomes.push(done)))
  expect(outcomes).toEqual([[]])
  await world.settle()
  expect(queue.ready).toBe(0)
})

test('releases and rejections take effect with the commit', async () => {
  const world = await EngineWorld.open()
  const dead = world.queue('dead')
  const queue = world.queue('q', { deadLetterExchange: '', deadLetterKey: 'dead' })
  for (const text of ['a', 'b']) world.publish('q', text)
  await world.settle()
  const [a, b] = [await world.get(queue), await world.get(queue)]
  const transaction = world.vhost.begin()
  transaction.release(queue, a!.ticket, { failed: true })
  transaction.reject(queue, b!.ticket, 'rejected')
  expect(queue.inFlight).toBe(2)
  await world.simulation.finish(transaction.commit())
  await world.settle()
  expect(await world.get(queue)).toMatchObject({ text: 'a', attempts: 1 })
  expect(await world.texts(dead)).toEqual(['b'])
})

test('a transaction that would outgrow its limit refuses the message and keeps the rest', async () => {
  const world = await EngineWorld.open({ limits: { transactionBytesMax: 10 } })
  const queue = world.queue('q')
  const route = world.vhost.route('', 'q')!
  const transaction = world.vhost.begin()
  transaction.publish(route, draftOf('12345'))
  expect(() => transaction.publish(route, draftOf('123456'))).toThrow(
    expect.objectContaining({ code: 'limit_reached' }),
  )
  transaction.publish(route, draftOf('67890'))
  await world.simulation.finish(transaction.commit())
  await world.settle()
  expect(await world.texts(queue)).toEqual(['12345', '67890'])
})
