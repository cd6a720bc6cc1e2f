import type { Channel } from 'amqplib'
import { expect, test } from 'vitest'
import { brokerUnderTest } from '../amqp/broker-under-test.ts'
import type { RawClient } from '../amqp/raw-client.ts'
import { worldOf } from '../amqp/world.ts'

const broker = await brokerUnderTest()
const world = worldOf(broker)

async function queueOf(texts: readonly string[]): Promise<{ queue: string; watcher: Channel }> {
  const watcher = await world.confirmChannel()
  const queue = world.name('tx')
  await watcher.assertQueue(queue, { durable: true })
  world.defer(async () => void (await (await world.channel()).deleteQueue(queue)))
  for (const text of texts) watcher.sendToQueue(queue, Buffer.from(text), { persistent: true })
  await watcher.waitForConfirms()
  return { queue, watcher }
}

async function transactional(): Promise<RawClient> {
  const client = await world.raw()
  await client.call(1, 'tx.select', {})
  return client
}

async function count(channel: Channel, queue: string): Promise<number> {
  return (await channel.checkQueue(queue)).messageCount
}

test('what is published in a transaction is there after the commit and not before [AMQP tx.commit]', async () => {
  const { queue, watcher } = await queueOf([])
  const client = await transactional()
  for (const text of ['1', '2', '3']) client.publish(1, { routingKey: queue }, { deliveryMode: 2 }, text)
  await client.call(1, 'channel.flow', { active: true })
  expect(await count(watcher, queue)).toBe(0)
  await client.call(1, 'tx.commit', {})
  expect(await count(watcher, queue)).toBe(3)
})

test('a rollback forgets what was published, and the channel goes on in a new transaction [AMQP tx.rollback]', async () => {
  const { queue, watcher } = await queueOf([])
  const client = await transactional()
  client.publish(1, { routingKey: queue }, {}, 'forgotten')
  await client.call(1, 'tx.rollback', {})
  client.publish(1, { routingKey: queue }, {}, 'kept')
  await client.call(1, 'tx.commit', {})
  await client.call(1, 'tx.commit', {})
  expect(await count(watcher, queue)).toBe(1)
})

test('acknowledgements take effect with the commit; a rollback leaves the deliveries as they were [AMQP tx]', async () => {
  const { queue, watcher } = await queueOf(['1', '2'])
  const client = await transactional()
  client.send(1, 'basic.get', { queue })
  await client.content('basic.get-ok')
  client.send(1, 'basic.ack', { deliveryTag: 1 })
  await client.call(1, 'tx.rollback', {})
  client.send(1, 'basic.ack', { deliveryTag: 1 })
  await client.call(1, 'tx.commit', {})
  client.send(1, 'basic.get', { queue })
  await client.content('basic.get-ok')
  client.send(1, 'basic.ack', { deliveryTag: 2 })
  client.destroy()
  const again = await world.raw()
  // The acknowledgement that was not committed never happened: the message comes back, the committed one does not.
  for (let found = false; !found;) {
    again.send(1, 'basic.get', { queue })
    const { method } = await again.next()
    if (method?.name !== 'basic.get-ok') continue
    expect(method.arguments).toMatchObject({ redelivered: true, messageCount: 0 })
    found = true
  }
  await watcher.checkQueue(queue)
})

test('a connection that is lost before the commit leaves nothing behind [AMQP tx]', async () => {
  const { queue, watcher } = await queueOf([])
  const client = await transactional()
  client.publish(1, { routingKey: queue }, { deliveryMode: 2 }, 'lost')
  await client.call(1, 'channel.flow', { active: true })
  client.destroy()
  const other = await transactional()
  other.publish(1, { routingKey: queue }, { deliveryMode: 2 }, 'kept')
  await other.call(1, 'tx.commit', {})
  expect(await watcher.get(queue, { noAck: true })).toMatchObject({ content: Buffer.from('kept') })
  expect(await count(watcher, queue)).toBe(0)
})

test('a mandatory message that cannot be routed is returned with the commit, before its answer [AMQP tx, basic.return]', async () => {
  const client = await transactional()
  client.publish(1, { routingKey: world.name('nobody'), mandatory: true }, {}, 'returned')
  client.send(1, 'tx.commit')
  expect((await client.content('basic.return')).body.toString()).toBe('returned')
  await client.expect('tx.commit-ok')
})

test('a transaction moves messages between queues: taken here, put there [AMQP tx]', async () => {
  const [source, target] = [await queueOf(['1', '2', '3']), await queueOf([])]
  const client = await transactional()
  for (let i = 0; i < 3; i++) {
    client.send(1, 'basic.get', { queue: source.queue })
    const message = await client.content('basic.get-ok')
    client.publish(1, { routingKey: target.queue }, { deliveryMode: 2 }, message.body)
    client.send(1, 'basic.ack', { deliveryTag: message.arguments['deliveryTag'] })
  }
  expect(await count(target.watcher, target.queue)).toBe(0)
  await client.call(1, 'tx.commit', {})
  expect(await count(target.watcher, target.queue)).toBe(3)
  client.destroy()
  expect(await count(source.watcher, source.queue)).toBe(0)
})

test('publishing to an exchange that does not exist closes the channel and ends the transaction [AMQP tx]', async () => {
  const { queue, watcher } = await queueOf([])
  const client = await transactional()
  client.publish(1, { routingKey: queue }, {}, 'lost with the rest')
  client.publish(1, { exchange: world.name('missing'), routingKey: 'x' }, {}, 'x')
  expect(await client.closure()).toMatchObject({ scope: 'channel', code: 404 })
  await client.openChannel(1)
  expect(await count(watcher, queue)).toBe(0)
})
