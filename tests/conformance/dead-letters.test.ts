import type { Channel, GetMessage } from 'amqplib'
import { expect, test } from 'vitest'
import { brokerUnderTest } from '../amqp/broker-under-test.ts'
import { drain, eventually, timePasses, worldOf } from '../amqp/world.ts'

const broker = await brokerUnderTest()
const world = worldOf(broker)

interface Death {
  readonly reason: string
  readonly count: number
  readonly queue: string
  readonly exchange: string
  readonly 'routing-keys': readonly string[]
  readonly 'original-expiration'?: string
  readonly time: unknown
}

async function letter(channel: Channel, queue: string): Promise<GetMessage> {
  return eventually(() => channel.get(queue, { noAck: true }))
}

function deaths(message: GetMessage): readonly Death[] {
  return message.properties.headers?.['x-death'] ?? []
}

test('a rejected message goes to the dead-letter exchange with its history [RabbitMQ x-death]', async () => {
  const channel = await world.channel()
  const [exchange, dead] = [world.name('work'), world.name('dead')]
  await channel.assertExchange(exchange, 'direct', { autoDelete: true })
  await channel.assertExchange(dead, 'topic', { autoDelete: true })
  const { queue } = await channel.assertQueue('', { exclusive: true, deadLetterExchange: dead })
  const letters = await channel.assertQueue('', { exclusive: true })
  await channel.bindQueue(queue, exchange, 'job.a')
  await channel.bindQueue(letters.queue, dead, '#')
  channel.publish(exchange, 'job.a', Buffer.from('body'), {
    headers: { mine: 1 },
    messageId: 'm-1',
    expiration: '60000',
  })
  const message = await eventually(() => channel.get(queue))
  channel.reject(message, false)
  const found = await letter(channel, letters.queue)
  expect(found.content.toString()).toBe('body')
  expect(found.fields).toMatchObject({ exchange: dead, routingKey: 'job.a', redelivered: false })
  expect(found.properties.messageId).toBe('m-1')
  expect(found.properties.expiration).toBeUndefined()
  expect(found.properties.headers).toMatchObject({
    mine: 1,
    'x-first-death-queue': queue,
    'x-first-death-reason': 'rejected',
    'x-first-death-exchange': exchange,
  })
  expect(deaths(found)).toEqual([
    {
      count: 1,
      exchange,
      queue,
      reason: 'rejected',
      'routing-keys': ['job.a'],
      time: { '!': 'timestamp', value: expect.any(Number) },
      'original-expiration': '60000',
    },
  ])
})

test('nack without requeue dead-letters like reject [RabbitMQ basic.nack]', async () => {
  const channel = await world.channel()
  const letters = await channel.assertQueue('', { exclusive: true })
  const { queue } = await channel.assertQueue('', {
    exclusive: true,
    deadLetterExchange: '',
    deadLetterRoutingKey: letters.queue,
  })
  for (const text of ['1', '2', '3']) channel.sendToQueue(queue, Buffer.from(text))
  let last: GetMessage | undefined
  for (let i = 0; i < 3; i++) last = await eventually(() => channel.get(queue))
  channel.nack(last!, true, false)
  const found = [
    await letter(channel, letters.queue),
    await letter(channel, letters.queue),
    await letter(channel, letters.queue),
  ]
  expect(found.map((message) => message.content.toString())).toEqual(['1', '2', '3'])
  expect(found.map((message) => deaths(message)[0]?.reason)).toEqual(['rejected', 'rejected', 'rejected'])
})

test('an expired message is dead-lettered with the reason expired and its original expiration [RabbitMQ x-death]', async () => {
  const channel = await world.channel()
  const letters = await channel.assertQueue('', { exclusive: true })
  const { queue } = await channel.assertQueue('', {
    exclusive: true,
    deadLetterExchange: '',
    deadLetterRoutingKey: letters.queue,
  })
  channel.sendToQueue(queue, Buffer.from('x'), { expiration: '20' })
  const found = await letter(channel, letters.queue)
  expect(deaths(found)).toMatchObject([{ reason: 'expired', queue, count: 1, 'original-expiration': '20' }])
  expect(found.properties.expiration).toBeUndefined()
})

test('a message dropped for length is dead-lettered with the reason maxlen [RabbitMQ x-death]', async () => {
  const channel = await world.channel()
  const letters = await channel.assertQueue('', { exclusive: true })
  const { queue } = await channel.assertQueue('', {
    exclusive: true,
    maxLength: 1,
    deadLetterExchange: '',
    deadLetterRoutingKey: letters.queue,
  })
  for (const text of ['old', 'new']) channel.sendToQueue(queue, Buffer.from(text))
  const found = await letter(channel, letters.queue)
  expect(found.content.toString()).toBe('old')
  expect(deaths(found)).toMatchObject([{ reason: 'maxlen', queue }])
  expect(await drain(channel, queue)).toEqual(['new'])
})

test('history counts by queue and reason, newest first, and keeps the first death [RabbitMQ x-death]', async () => {
  const channel = await world.channel()
  const [work, wait] = [world.name('work'), world.name('wait')]
  const letter1 = { autoDelete: false, durable: false, deadLetterExchange: '', deadLetterRoutingKey: wait }
  await channel.assertQueue(work, letter1)
  await channel.assertQueue(wait, {
    durable: false,
    messageTtl: 20,
    deadLetterExchange: '',
    deadLetterRoutingKey: work,
  })
  channel.sendToQueue(work, Buffer.from('retry me'))
  for (let round = 1; round <= 3; round++) {
    const message = await eventually(() => channel.get(work))
    const counts = deaths(message).map(({ queue, reason, count }) => [queue, reason, count])
    if (round === 1) expect(counts).toEqual([])
    else {
      expect(counts).toEqual([
        [wait, 'expired', round - 1],
        [work, 'rejected', round - 1],
      ])
      expect(message.properties.headers).toMatchObject({
        'x-first-death-queue': work,
        'x-first-death-reason': 'rejected',
      })
    }
    channel.reject(message, false)
  }
  await channel.deleteQueue(work)
  await channel.deleteQueue(wait)
})

test('a message that would come round to the same queue without a rejection is dropped [RabbitMQ dead-letter cycles]', async () => {
  const channel = await world.channel()
  const [a, b] = [world.name('a'), world.name('b')]
  await channel.assertQueue(a, { durable: false, messageTtl: 20, deadLetterExchange: '', deadLetterRoutingKey: b })
  await channel.assertQueue(b, { durable: false, messageTtl: 20, deadLetterExchange: '', deadLetterRoutingKey: a })
  channel.sendToQueue(a, Buffer.from('round and round'))
  await timePasses(channel, 400)
  expect((await channel.checkQueue(a)).messageCount + (await channel.checkQueue(b)).messageCount).toBe(0)
  await channel.deleteQueue(a)
  await channel.deleteQueue(b)
})

test('a queue that dead-letters to itself by expiry drops the message [RabbitMQ dead-letter cycles]', async () => {
  const channel = await world.channel()
  const queue = world.name('self')
  await channel.assertQueue(queue, {
    durable: false,
    messageTtl: 20,
    deadLetterExchange: '',
    deadLetterRoutingKey: queue,
  })
  channel.sendToQueue(queue, Buffer.from('x'))
  await eventually(async () => (await channel.checkQueue(queue)).messageCount === 0)
  await timePasses(channel, 100)
  expect((await channel.checkQueue(queue)).messageCount).toBe(0)
  await channel.deleteQueue(queue)
})

test('a queue that dead-letters to itself by rejection gets the message again [RabbitMQ dead-letter cycles]', async () => {
  const channel = await world.channel()
  const queue = world.name('self')
  await channel.assertQueue(queue, { durable: false, deadLetterExchange: '', deadLetterRoutingKey: queue })
  channel.sendToQueue(queue, Buffer.from('x'))
  for (let round = 0; round < 3; round++) {
    const message = await eventually(() => channel.get(queue))
    expect(deaths(message)[0]?.count ?? 0).toBe(round)
    channel.reject(message, false)
  }
  await channel.deleteQueue(queue)
})

test('without a dead-letter key the message keeps its own, and its CC keys [RabbitMQ x-dead-letter-routing-key]', async () => {
  const channel = await world.channel()
  const dead = world.name('dead')
  await channel.assertExchange(dead, 'direct', { autoDelete: true })
  const { queue } = await channel.assertQueue('', { exclusive: true, deadLetterExchange: dead })
  const [own, copy] = [
    await channel.assertQueue('', { exclusive: true }),
    await channel.assertQueue('', { exclusive: true }),
  ]
  await channel.bindQueue(queue, 'amq.direct', 'own-key')
  await channel.bindQueue(own.queue, dead, 'own-key')
  await channel.bindQueue(copy.queue, dead, 'copy-key')
  channel.publish('amq.direct', 'own-key', Buffer.from('x'), { CC: ['copy-key'] })
  channel.reject(await eventually(() => channel.get(queue)), false)
  expect((await letter(channel, own.queue)).fields.routingKey).toBe('own-key')
  expect(deaths(await letter(channel, copy.queue))[0]?.['routing-keys']).toEqual(['own-key', 'copy-key'])
})

test('once a dead-letter key has replaced them, the CC keys count no more [RabbitMQ x-dead-letter-routing-key]', async () => {
  const channel = await world.confirmChannel()
  const dead = world.name('dead')
  await channel.assertExchange(dead, 'direct', { autoDelete: true })
  const second = await channel.assertQueue('', { exclusive: true, deadLetterExchange: dead })
  const first = await channel.assertQueue('', {
    exclusive: true,
    deadLetterExchange: '',
    deadLetterRoutingKey: second.queue,
  })
  const [own, copy] = [
    await channel.assertQueue('', { exclusive: true }),
    await channel.assertQueue('', { exclusive: true }),
  ]
  await channel.bindQueue(own.queue, dead, second.queue)
  await channel.bindQueue(copy.queue, dead, 'copy-key')
  channel.sendToQueue(first.queue, Buffer.from('x'), { CC: ['copy-key'] })
  for (const { queue } of [first, second]) channel.reject(await eventually(() => channel.get(queue)), false)
  const found = await letter(channel, own.queue)
  expect(deaths(found).map((death) => death['routing-keys'])).toEqual([[second.queue], [first.queue, 'copy-key']])
  expect(await channel.checkQueue(copy.queue)).toMatchObject({ messageCount: 0 })
})

test('a dead-letter exchange that does not exist drops in silence [RabbitMQ dead-letter exchanges]', async () => {
  const channel = await world.channel()
  const { queue } = await channel.assertQueue('', { exclusive: true, deadLetterExchange: world.name('missing') })
  channel.sendToQueue(queue, Buffer.from('x'))
  channel.reject(await eventually(() => channel.get(queue)), false)
  expect(await channel.checkQueue(queue)).toMatchObject({ messageCount: 0 })
})

test('deleting, purging or expiring a queue dead-letters nothing [RabbitMQ dead-letter exchanges]', async () => {
  const channel = await world.confirmChannel()
  const letters = await channel.assertQueue('', { exclusive: true })
  const options = { durable: false, deadLetterExchange: '', deadLetterRoutingKey: letters.queue }
  const [purged, deleted, expired] = [world.name('purged'), world.name('deleted'), world.name('expired')]
  await channel.assertQueue(purged, options)
  await channel.assertQueue(deleted, options)
  await channel.assertQueue(expired, { ...options, expires: 30 })
  for (const queue of [purged, deleted, expired]) channel.sendToQueue(queue, Buffer.from('x'))
  await channel.waitForConfirms()
  await channel.purgeQueue(purged)
  await channel.deleteQueue(deleted)
  await timePasses(channel, 300)
  expect(await channel.checkQueue(letters.queue)).toMatchObject({ messageCount: 0 })
  await channel.deleteQueue(purged)
})
