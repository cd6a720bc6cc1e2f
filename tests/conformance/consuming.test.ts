import type { Channel, ChannelModel, GetMessage } from 'amqplib'
import { expect, test } from 'vitest'
import { brokerUnderTest, onlyOnStathmos } from '../amqp/broker-under-test.ts'
import { drain, eventually, Inbox, worldOf } from '../amqp/world.ts'

const broker = await brokerUnderTest()
const world = worldOf(broker)

async function filled(texts: readonly string[], options = {}): Promise<{ channel: Channel; queue: string }> {
  const channel = await world.confirmChannel()
  const queue = world.name('filled')
  await channel.assertQueue(queue, { ...options })
  world.defer(async () => {
    const cleaner = await world.channel()
    await cleaner.deleteQueue(queue)
  })
  for (const text of texts) channel.sendToQueue(queue, Buffer.from(text), { persistent: true })
  await channel.waitForConfirms()
  return { channel, queue }
}

async function get(channel: Channel, queue: string): Promise<GetMessage> {
  const message = await channel.get(queue)
  if (message === false) throw new Error(`${queue} is empty`)
  return message
}

test('a consumer without a tag gets one of the broker’s, amq.ctag-… [AMQP basic.consume]', async () => {
  const { channel, queue } = await filled([])
  const { consumerTag } = await channel.consume(queue, () => {}, { consumerTag: '' })
  expect(consumerTag).toMatch(/^amq\.ctag-/)
})

test('messages are delivered in the order in which they were published [AMQP 4.7]', async () => {
  const texts = Array.from({ length: 300 }, (_, i) => `${i}`)
  const { channel, queue } = await filled(texts)
  const inbox = await Inbox.of(channel, queue, { noAck: true })
  expect(await inbox.texts(texts.length)).toEqual(texts)
})

test('a delivery says where it was published, by which consumer, and that it is the first time [AMQP basic.deliver]', async () => {
  const channel = await world.channel()
  const { queue } = await channel.assertQueue('', { exclusive: true })
  await channel.bindQueue(queue, 'amq.topic', 'orders.#')
  const inbox = await Inbox.of(channel, queue, { consumerTag: 'reader' })
  channel.publish('amq.topic', 'orders.new', Buffer.from('x'))
  expect((await inbox.next()).fields).toEqual({
    consumerTag: 'reader',
    deliveryTag: 1,
    redelivered: false,
    exchange: 'amq.topic',
    routingKey: 'orders.new',
  })
})

test('no more than the prefetch is in a consumer’s hands [AMQP basic.qos]', async () => {
  const { channel, queue } = await filled(['1', '2', '3', '4', '5'])
  await channel.prefetch(2)
  const inbox = await Inbox.of(channel, queue)
  const [first, second] = [await inbox.next(), await inbox.next()]
  expect(await channel.checkQueue(queue)).toMatchObject({ messageCount: 3 })
  expect(inbox.size).toBe(0)
  channel.ack(first)
  expect(await inbox.text()).toBe('3')
  channel.ack(second)
  expect(await inbox.text()).toBe('4')
  expect(await channel.checkQueue(queue)).toMatchObject({ messageCount: 1 })
})

test('a prefetch holds for consumers that begin after it, each for itself [RabbitMQ per-consumer prefetch]', async () => {
  const { channel, queue } = await filled(['1', '2', '3', '4', '5', '6'])
  await channel.prefetch(1)
  const first = await Inbox.of(channel, queue)
  await channel.prefetch(2)
  const second = await Inbox.of(channel, queue)
  await eventually(async () => (await channel.checkQueue(queue)).messageCount === 3)
  expect(first.size).toBe(1)
  expect(second.size).toBe(2)
})

test('a global prefetch is shared by all consumers of the channel [RabbitMQ basic.qos global]', async () => {
  const { channel, queue } = await filled(['1', '2', '3', '4', '5', '6'])
  await channel.prefetch(3, true)
  const [first, second] = [await Inbox.of(channel, queue), await Inbox.of(channel, queue)]
  await eventually(async () => (await channel.checkQueue(queue)).messageCount === 3)
  expect(first.size + second.size).toBe(3)
  const inbox = first.size > 0 ? first : second
  channel.ack(await inbox.next())
  await eventually(async () => (await channel.checkQueue(queue)).messageCount === 2)
})

test('a prefetch of 0 is no limit [AMQP basic.qos]', async () => {
  const { channel, queue } = await filled(Array.from({ length: 50 }, (_, i) => `${i}`))
  await channel.prefetch(0)
  const inbox = await Inbox.of(channel, queue)
  await inbox.texts(50)
})

test('prefetch does not hold back what needs no acknowledgement, nor basic.get [AMQP basic.qos]', async () => {
  const { channel, queue } = await filled(['1', '2', '3', '4'])
  await channel.prefetch(1)
  await get(channel, queue)
  await get(channel, queue)
  const inbox = await Inbox.of(channel, queue, { noAck: true })
  expect(await inbox.texts(2)).toEqual(['3', '4'])
})

test('ack with multiple settles everything up to its tag, on every consumer of the channel [AMQP basic.ack]', async () => {
  const { channel, queue } = await filled(['1', '2', '3', '4'])
  const messages = [
    await get(channel, queue),
    await get(channel, queue),
    await get(channel, queue),
    await get(channel, queue),
  ]
  channel.ack(messages[2]!, true)
  channel.nack(messages[3]!)
  expect(await drain(channel, queue)).toEqual(['4'])
})

test('tag 0 with multiple settles everything outstanding [AMQP basic.ack]', async () => {
  const { channel, queue } = await filled(['1', '2', '3'])
  await get(channel, queue)
  await get(channel, queue)
  channel.ackAll()
  await channel.checkQueue(queue)
  await channel.close()
  const other = await world.channel()
  expect(await drain(other, queue)).toEqual(['3'])
})

test.each([
  ['nack', (channel: Channel, message: GetMessage) => channel.nack(message, false, true)],
  ['reject', (channel: Channel, message: GetMessage) => channel.reject(message, true)],
])(
  '%s with requeue puts a message back in its place, marked redelivered [RabbitMQ requeue order]',
  async (_verb, requeue) => {
    const { channel, queue } = await filled(['1', '2', '3'])
    const first = await get(channel, queue)
    expect(first.fields.redelivered).toBe(false)
    requeue(channel, first)
    const again = await get(channel, queue)
    expect(again.content.toString()).toBe('1')
    expect(again.fields.redelivered).toBe(true)
    requeue(channel, again)
    expect(await drain(channel, queue)).toEqual(['1', '2', '3'])
  },
)

test('nack with multiple puts all back in their order [RabbitMQ basic.nack]', async () => {
  const { channel, queue } = await filled(['1', '2', '3', '4'])
  const messages = [await get(channel, queue), await get(channel, queue), await get(channel, queue)]
  channel.nack(messages[2]!, true, true)
  expect(await drain(channel, queue)).toEqual(['1', '2', '3', '4'])
})

test('rejecting without requeue drops the message when there is no dead-letter exchange [AMQP basic.reject]', async () => {
  const { channel, queue } = await filled(['1', '2', '3'])
  channel.reject(await get(channel, queue), false)
  channel.nack(await get(channel, queue), false, false)
  expect(await drain(channel, queue)).toEqual(['3'])
})

test('basic.recover puts back everything unacknowledged on the channel, marked redelivered [AMQP basic.recover]', async () => {
  const { channel, queue } = await filled(['1', '2', '3'])
  await get(channel, queue)
  await get(channel, queue)
  await channel.recover()
  const again = await get(channel, queue)
  expect([again.content.toString(), again.fields.redelivered]).toEqual(['1', true])
})

test('what a closed channel or a lost connection held comes again, in order, marked redelivered [AMQP basic.ack]', async () => {
  const { channel, queue } = await filled(['1', '2', '3'])
  const holder = await world.raw()
  await holder.openChannel(2)
  for (const each of [1, 2]) {
    holder.send(each, 'basic.get', { queue })
    await holder.content('basic.get-ok', each)
  }
  await holder.call(2, 'channel.close', { replyCode: 200 })
  const second = await get(channel, queue)
  expect([second.content.toString(), second.fields.redelivered]).toEqual(['2', true])
  channel.nack(second)
  holder.destroy()
  await eventually(async () => (await channel.checkQueue(queue)).messageCount === 3)
  const all = [await get(channel, queue), await get(channel, queue), await get(channel, queue)]
  expect(all.map((message) => message.content.toString())).toEqual(['1', '2', '3'])
  expect(all.map((message) => message.fields.redelivered)).toEqual([true, true, false])
})

test('basic.get counts what is left; an empty queue says so [AMQP basic.get]', async () => {
  const { channel, queue } = await filled(['1', '2'])
  const first = await get(channel, queue)
  expect(first.fields).toEqual({ deliveryTag: 1, redelivered: false, exchange: '', routingKey: queue, messageCount: 1 })
  await get(channel, queue)
  expect(await channel.get(queue)).toBe(false)
})

test('consumers of equal priority take turns [RabbitMQ round robin]', async () => {
  const channel = await world.confirmChannel()
  const { queue } = await channel.assertQueue('', { exclusive: true })
  const inboxes = [await Inbox.of(channel, queue), await Inbox.of(channel, queue), await Inbox.of(channel, queue)]
  for (let i = 0; i < 9; i++) channel.sendToQueue(queue, Buffer.from(`${i}`))
  await channel.waitForConfirms()
  await channel.checkQueue(queue)
  expect(inboxes.map(({ size }) => size)).toEqual([3, 3, 3])
})

test('a consumer of higher priority gets everything while it has credit [RabbitMQ consumer priorities]', async () => {
  const channel = await world.confirmChannel()
  const { queue } = await channel.assertQueue('', { exclusive: true })
  await channel.prefetch(2)
  const low = await Inbox.of(channel, queue, { priority: -1 })
  const usual = await Inbox.of(channel, queue)
  const high = await Inbox.of(channel, queue, { priority: 10 })
  for (let i = 1; i <= 5; i++) channel.sendToQueue(queue, Buffer.from(`${i}`))
  await channel.waitForConfirms()
  await eventually(async () => (await channel.checkQueue(queue)).messageCount === 0)
  expect(await high.texts(2)).toEqual(['1', '2'])
  expect(await usual.texts(2)).toEqual(['3', '4'])
  expect(await low.texts(1)).toEqual(['5'])
})

interface SingleActive {
  readonly connection: ChannelModel
  readonly channel: Channel
  readonly queue: string
  readonly first: Inbox
  readonly second: Inbox
}

async function singleActive(count: number): Promise<SingleActive> {
  const connection = await world.connection()
  const [channel, next] = [await connection.createConfirmChannel(), await world.channel()]
  const queue = world.name('single')
  await channel.assertQueue(queue, { durable: false, arguments: { 'x-single-active-consumer': true } })
  world.defer(async () => void (await (await world.channel()).deleteQueue(queue)))
  await channel.prefetch(1)
  const [first, second] = [await Inbox.of(channel, queue), await Inbox.of(next, queue)]
  for (let i = 1; i <= count; i++) channel.sendToQueue(queue, Buffer.from(`${i}`))
  await channel.waitForConfirms()
  return { connection, channel, queue, first, second }
}

test('only the first consumer of a single-active-consumer queue is served [RabbitMQ single active consumer]', async () => {
  const { channel, queue, first, second } = await singleActive(3)
  for (const text of ['1', '2', '3']) {
    const message = await first.next()
    expect([message.content.toString(), first.size, second.size]).toEqual([text, 0, 0])
    channel.ack(message)
  }
  expect(await channel.checkQueue(queue)).toMatchObject({ messageCount: 0, consumerCount: 2 })
})

test('the next consumer takes over when the connection of the active one is lost [RabbitMQ single active consumer]', async () => {
  const { connection, first, second } = await singleActive(2)
  await first.next()
  await connection.close()
  const again = await second.next()
  expect([again.content.toString(), again.fields.redelivered]).toEqual(['1', true])
})

test(
  'the next consumer takes over when the active one is cancelled [RabbitMQ single active consumer]',
  onlyOnStathmos(broker, 'the queue of RabbitMQ 3.10.8 crashes here'),
  async () => {
    const { channel, first, second } = await singleActive(2)
    const held = await first.next()
    await channel.cancel(first.tag)
    expect(await second.text()).toBe('2')
    channel.ack(held)
  },
)

test('an exclusive consumer on a single-active-consumer queue is 403 ACCESS_REFUSED [RabbitMQ single active consumer]', async () => {
  const client = await world.raw()
  const queue = world.name('single')
  const declare = { queue, exclusive: true, arguments: { 'x-single-active-consumer': true } }
  await client.call(1, 'queue.declare', declare)
  expect(await client.refused('basic.consume', { queue, exclusive: true })).toMatchObject({
    scope: 'channel',
    code: 403,
  })
})

test('a cancelled consumer gets nothing more and keeps what it holds [AMQP basic.cancel]', async () => {
  const { channel, queue } = await filled(['1', '2'])
  await channel.prefetch(1)
  const inbox = await Inbox.of(channel, queue)
  const held = await inbox.next()
  await channel.cancel(inbox.tag)
  expect(await channel.checkQueue(queue)).toMatchObject({ messageCount: 1, consumerCount: 0 })
  channel.ack(held)
  expect(await drain(channel, queue)).toEqual(['2'])
})

test('deleting a queue cancels its consumers and tells them [RabbitMQ consumer_cancel_notify]', async () => {
  const { channel, queue } = await filled([])
  const inbox = await Inbox.of(channel, queue, { consumerTag: 'reader' })
  await (await world.channel()).deleteQueue(queue)
  expect(await inbox.nextOrCancel()).toBe(null)
})

test('a client that does not know basic.cancel from the broker is not sent one [RabbitMQ consumer_cancel_notify]', async () => {
  const client = await world.raw({ capabilities: {} })
  const queue = world.name('doomed')
  await client.call(1, 'queue.declare', { queue })
  await client.call(1, 'basic.consume', { queue })
  await (await world.channel()).deleteQueue(queue)
  // The next thing that it hears is the answer to its own question.
  await client.call(1, 'channel.flow', { active: true })
})

test('an exclusive consumer is alone until it goes [AMQP basic.consume exclusive]', async () => {
  const { channel, queue } = await filled(['1'])
  const { consumerTag } = await channel.consume(queue, () => {}, { exclusive: true, noAck: true })
  const other = await world.channel()
  await expect(other.consume(queue, () => {})).rejects.toThrow('403')
  await channel.cancel(consumerTag)
  const third = await world.channel()
  await third.consume(queue, () => {})
})

test('no-local is ignored [RabbitMQ basic.consume]', async () => {
  const channel = await world.channel()
  const { queue } = await channel.assertQueue('', { exclusive: true })
  const inbox = await Inbox.of(channel, queue, { noLocal: true, noAck: true })
  channel.sendToQueue(queue, Buffer.from('mine'))
  expect(await inbox.text()).toBe('mine')
})

test('a consumer that does not read holds up nobody else [Stathmos: slow consumers]', async () => {
  const texts = Array.from({ length: 40 }, (_, i) => `${i}-`.padEnd(100_000, 'x'))
  const { channel, queue } = await filled(texts)
  const slow = await world.raw()
  slow.pauseReading()
  slow.send(1, 'basic.consume', { queue, noAck: false })
  const other = await channel.assertQueue('', { exclusive: true })
  const inbox = await Inbox.of(channel, other.queue, { noAck: true })
  for (let i = 0; i < 100; i++) channel.sendToQueue(other.queue, Buffer.from(`${i}`))
  expect(await inbox.texts(100)).toHaveLength(100)
})

test('a quorum queue counts redeliveries in x-delivery-count [RabbitMQ quorum queues]', async () => {
  const { channel, queue } = await filled(['again'], { durable: true, arguments: { 'x-queue-type': 'quorum' } })
  const inbox = await Inbox.of(channel, queue)
  const seen: unknown[] = []
  for (let i = 0; i < 3; i++) {
    const message = await inbox.next()
    seen.push(message.properties.headers?.['x-delivery-count'] ?? 'none')
    if (i < 2) channel.reject(message, true)
    else channel.ack(message)
  }
  expect(seen.slice(1)).toEqual([1, 2])
  expect(['none', 0]).toContain(seen[0])
})

test.each([
  ['the channel that held it is closed', 'channel.close'],
  ['the connection that held it is closed', 'connection.close'],
  ['the channel that held it fails', 'basic.ack'],
  ['the connection that held it is lost', 'nothing'],
])('an attempt at a message of a quorum queue has failed when %s [RabbitMQ quorum queues]', async (_, method) => {
  const channel = await world.channel()
  const queue = world.name('held')
  await channel.assertQueue(queue, { arguments: { 'x-queue-type': 'quorum' } })
  channel.sendToQueue(queue, Buffer.from('x'))
  const client = await world.raw()
  await client.call(1, 'basic.consume', { queue })
  await client.content('basic.deliver')
  if (method === 'channel.close') await client.call(1, method, { replyCode: 200, replyText: 'bye' })
  else if (method === 'connection.close') await client.close()
  else if (method === 'nothing') client.destroy()
  else await client.refused('basic.ack', { deliveryTag: 99n })
  const message = await eventually(() => channel.get(queue, { noAck: true }))
  expect(message.properties.headers?.['x-delivery-count']).toBe(1)
  await channel.deleteQueue(queue)
})

test('a message that reaches x-delivery-limit is dead-lettered with the reason delivery_limit [RabbitMQ quorum queues]', async () => {
  const dead = await world.channel()
  const { queue: deadQueue } = await dead.assertQueue('', { exclusive: true })
  const { channel, queue } = await filled(['poison'], {
    durable: true,
    deadLetterExchange: '',
    deadLetterRoutingKey: deadQueue,
    arguments: { 'x-queue-type': 'quorum', 'x-delivery-limit': 2 },
  })
  const letters = await Inbox.of(dead, deadQueue, { noAck: true })
  const inbox = await Inbox.of(channel, queue)
  for (let attempt = 1; attempt <= 3; attempt++) channel.reject(await inbox.next(), true)
  const letter = await letters.next()
  expect(letter.properties.headers?.['x-death']).toMatchObject([{ queue, reason: 'delivery_limit', count: 1 }])
})

test(
  'a quorum queue without a limit of its own gives up after 20 failed deliveries [RabbitMQ 4 quorum queues]',
  onlyOnStathmos(broker, 'RabbitMQ 3.10 has no default delivery limit'),
  async () => {
    const { channel, queue } = await filled(['poison'], { durable: true, arguments: { 'x-queue-type': 'quorum' } })
    const inbox = await Inbox.of(channel, queue)
    for (let attempt = 1; attempt <= 21; attempt++) channel.reject(await inbox.next(), true)
    await eventually(async () => (await channel.checkQueue(queue)).messageCount === 0)
    expect(inbox.size).toBe(0)
  },
)
