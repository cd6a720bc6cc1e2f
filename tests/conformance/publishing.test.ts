import { expect, test } from 'vitest'
import { brokerUnderTest, onlyOnStathmos } from '../amqp/broker-under-test.ts'
import type { Arguments } from '../amqp/codec.ts'
import { drain, worldOf } from '../amqp/world.ts'

const broker = await brokerUnderTest()
const world = worldOf(broker)

test('every publish in confirm mode is answered once, in tags from 1 [RabbitMQ confirms]', async () => {
  const client = await world.raw()
  const queue = world.name('confirmed')
  await client.call(1, 'queue.declare', { queue, durable: true })
  await client.call(1, 'confirm.select', {})
  const count = 500
  for (let i = 0; i < count; i++) client.publish(1, { routingKey: queue }, { deliveryMode: 2 }, `${i}`)
  const confirmed = new Set<number>()
  for (let low = 1; confirmed.size < count;) {
    const { deliveryTag, multiple } = (await client.expect('basic.ack', 1)).arguments as {
      deliveryTag: number
      multiple: boolean
    }
    for (let tag = multiple ? low : deliveryTag; tag <= deliveryTag; tag++) {
      if (multiple && confirmed.has(tag)) continue
      expect(confirmed.has(tag)).toBe(false)
      confirmed.add(tag)
    }
    while (confirmed.has(low)) low++
  }
  expect(Math.max(...confirmed)).toBe(count)
  expect((await client.call(1, 'queue.delete', { queue })).arguments).toEqual({ messageCount: count })
})

test('tags count from the first publish after confirm.select, which may be repeated [RabbitMQ confirms]', async () => {
  const client = await world.raw()
  const queue = world.name('late')
  await client.call(1, 'queue.declare', { queue, exclusive: true })
  client.publish(1, { routingKey: queue }, {}, 'before')
  await client.call(1, 'confirm.select', {})
  await client.call(1, 'confirm.select', {})
  client.publish(1, { routingKey: queue }, {}, 'after')
  expect((await client.expect('basic.ack')).arguments).toMatchObject({ deliveryTag: 1 })
})

test('a message that no queue takes is confirmed [RabbitMQ confirms]', async () => {
  const channel = await world.confirmChannel()
  channel.publish('', world.name('nobody'), Buffer.from('x'))
  await channel.waitForConfirms()
})

test('a mandatory message that no queue takes is returned, and then confirmed [AMQP basic.return; RabbitMQ confirms]', async () => {
  const client = await world.raw()
  await client.call(1, 'confirm.select', {})
  const routingKey = world.name('nobody')
  const properties = { contentType: 'text/plain', headers: { kept: true }, messageId: 'm-1' }
  client.publish(1, { routingKey, mandatory: true }, properties, 'come back')
  const returned = await client.content('basic.return')
  expect(returned.arguments).toEqual({ replyCode: 312, replyText: 'NO_ROUTE', exchange: '', routingKey })
  expect(returned.properties).toEqual(properties)
  expect(returned.body.toString()).toBe('come back')
  expect((await client.expect('basic.ack')).arguments).toMatchObject({ deliveryTag: 1 })
})

test('a mandatory message is returned without confirm mode too, a routed one is not [AMQP basic.return]', async () => {
  const client = await world.raw()
  const queue = world.name('somebody')
  await client.call(1, 'queue.declare', { queue, exclusive: true })
  client.publish(1, { routingKey: queue, mandatory: true }, {}, 'taken')
  client.publish(1, { routingKey: world.name('nobody'), mandatory: true }, {}, 'returned')
  expect((await client.content('basic.return')).body.toString()).toBe('returned')
})

test('a publish to several queues of which one refuses is nacked, and the others have it [RabbitMQ confirms, x-overflow]', async () => {
  const channel = await world.confirmChannel()
  const exchange = world.name('spread')
  await channel.assertExchange(exchange, 'fanout', { autoDelete: true })
  const open = await channel.assertQueue('', { exclusive: true })
  const full = await channel.assertQueue('', {
    exclusive: true,
    maxLength: 1,
    arguments: { 'x-overflow': 'reject-publish' },
  })
  await channel.bindQueue(open.queue, exchange, '')
  await channel.bindQueue(full.queue, exchange, '')
  channel.publish(exchange, '', Buffer.from('1'))
  await channel.waitForConfirms()
  channel.publish(exchange, '', Buffer.from('2'))
  await expect(channel.waitForConfirms()).rejects.toThrow('nack')
  expect(await drain(channel, open.queue)).toEqual(['1', '2'])
  expect(await drain(channel, full.queue)).toEqual(['1'])
})

test('all properties and every type of header come back as they were sent [AMQP 4.2.6.1, 4.2.5.5]', async () => {
  const client = await world.raw()
  const queue = world.name('round-trip')
  await client.call(1, 'queue.declare', { queue, exclusive: true })
  const properties: Arguments = {
    contentType: 'application/json',
    contentEncoding: 'gzip',
    headers: {
      yes: true,
      no: false,
      byte: { type: 'b', value: -7 },
      unsignedByte: { type: 'B', value: 200 },
      short: { type: 's', value: -3000 },
      unsignedShort: { type: 'u', value: 60_000 },
      int: -70_000,
      unsignedInt: { type: 'i', value: 4_000_000_000 },
      long: { type: 'l', value: -9_007_199_254_740_991 },
      float: { type: 'f', value: 0.5 },
      double: 0.1,
      decimal: { type: 'D', value: { places: 2, digits: 314 } },
      text: 'naïve ☃',
      bytes: Buffer.from([0, 1, 254, 255]),
      when: { type: 'T', value: 1_700_000_000 },
      nothing: null,
      list: [1, 'two', [true, null], { deep: 'table' }],
      table: { a: 1, b: { c: { d: 'deep' } } },
      empty: {},
    },
    deliveryMode: 2,
    priority: 7,
    correlationId: 'c-1',
    replyTo: 'somewhere',
    expiration: '60000',
    messageId: 'm-1',
    timestamp: 1_700_000_000,
    type: 'order.created',
    userId: 'guest',
    appId: 'suite',
    clusterId: 'cluster',
  }
  // Small integers come back as the int or long that the raw client reads them as.
  const expected = structuredClone({ ...properties, headers: null }) as Arguments
  expected['headers'] = { ...(properties['headers'] as object), long: -9_007_199_254_740_991 }
  client.publish(1, { routingKey: queue }, properties, 'body')
  client.send(1, 'basic.get', { queue, noAck: true })
  const message = await client.content('basic.get-ok')
  expect(message.properties).toEqual(expected)
  expect(message.body.toString()).toBe('body')
})

test('a message without properties and without a body is a message [AMQP 4.2.6]', async () => {
  const client = await world.raw()
  const queue = world.name('empty')
  await client.call(1, 'queue.declare', { queue, exclusive: true })
  client.publish(1, { routingKey: queue })
  client.send(1, 'basic.get', { queue, noAck: true })
  const message = await client.content('basic.get-ok')
  expect(message.properties).toEqual({})
  expect(message.body).toHaveLength(0)
})

test.each([1, 4096, 131_064, 131_065, 300_000, 3_000_000])(
  'a body of %i bytes comes back whole [AMQP 4.2.6.2]',
  async (size) => {
    const client = await world.raw()
    const queue = world.name('large')
    await client.call(1, 'queue.declare', { queue, exclusive: true })
    const body = Buffer.from(Array.from({ length: size }, (_, i) => (i * 31) & 255))
    client.publish(1, { routingKey: queue }, { deliveryMode: 2 }, body)
    client.send(1, 'basic.get', { queue, noAck: true })
    const message = await client.content('basic.get-ok')
    expect(message.body.equals(body)).toBe(true)
  },
)

test('a body may come in frames of any size [AMQP 4.2.6.2]', async () => {
  const client = await world.raw()
  const queue = world.name('crumbs')
  await client.call(1, 'queue.declare', { queue, exclusive: true })
  client.send(1, 'basic.publish', { routingKey: queue })
  client.sendFrame(2, 1, Buffer.from([0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0]))
  for (const part of ['a', 'bc', '', 'def']) client.sendFrame(3, 1, Buffer.from(part))
  client.send(1, 'basic.get', { queue, noAck: true })
  expect((await client.content('basic.get-ok')).body.toString()).toBe('abcdef')
})

test('contents on different channels may interleave [AMQP 4.2.6]', async () => {
  const client = await world.raw()
  const queue = world.name('interleaved')
  await client.call(1, 'queue.declare', { queue, exclusive: true })
  await client.openChannel(2)
  const header = Buffer.from([0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0])
  client.send(1, 'basic.publish', { routingKey: queue })
  client.send(2, 'basic.publish', { routingKey: queue })
  client.sendFrame(2, 1, header)
  client.sendFrame(2, 2, header)
  client.sendFrame(3, 1, Buffer.from('on'))
  client.sendFrame(3, 2, Buffer.from('two!'))
  client.sendFrame(3, 1, Buffer.from('e!'))
  await client.call(2, 'channel.flow', { active: true })
  const bodies: string[] = []
  await client.call(1, 'channel.flow', { active: true })
  while (bodies.length < 2) {
    client.send(1, 'basic.get', { queue, noAck: true })
    bodies.push((await client.content('basic.get-ok')).body.toString())
  }
  expect(bodies.toSorted()).toEqual(['one!', 'two!'])
})

test(
  'more body than the header announced ends the connection [AMQP 4.2.6.2]',
  onlyOnStathmos(broker, 'RabbitMQ 3.10 takes the excess in silence'),
  async () => {
    const client = await world.raw()
    client.send(1, 'basic.publish', { routingKey: 'x' })
    client.sendFrame(2, 1, Buffer.from([0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0]))
    client.sendFrame(3, 1, Buffer.from('toolong'))
    const ending = await client.closure()
    expect(ending.scope).toBe('connection')
    expect([501, 505, 541]).toContain(ending.code)
  },
)

test(
  'a message above 16 MiB is 406 PRECONDITION_FAILED [RabbitMQ 4 max_message_size]',
  onlyOnStathmos(broker, 'RabbitMQ 3.10 allows 128 MiB'),
  async () => {
    const client = await world.raw()
    client.publish(1, { routingKey: 'x' }, {}, Buffer.alloc(16 * 1024 * 1024 + 1))
    expect(await client.closure()).toMatchObject({ scope: 'channel', code: 406 })
  },
)

test('CC and BCC name further keys; BCC is stripped, CC stays [RabbitMQ sender-selected distribution]', async () => {
  const channel = await world.confirmChannel()
  const queues = await Promise.all([1, 2, 3, 4].map(() => channel.assertQueue('', { exclusive: true })))
  const [to, cc, bcc, other] = queues.map(({ queue }) => queue)
  channel.publish('', to!, Buffer.from('letter'), { CC: [cc!, to!], BCC: bcc! })
  await channel.waitForConfirms()
  for (const queue of [to, cc, bcc]) {
    const message = await channel.get(queue!, { noAck: true })
    if (message === false) throw new Error(`${queue} did not get it`)
    expect(message.fields.routingKey).toBe(to)
    expect(message.properties.headers?.['CC']).toEqual([cc, to])
    expect(message.properties.headers).not.toHaveProperty('BCC')
    expect(await channel.get(queue!)).toBe(false)
  }
  expect(await channel.get(other!)).toBe(false)
})

test('a CC header that is no list of strings is 406 PRECONDITION_FAILED [RabbitMQ sender-selected distribution]', async () => {
  const client = await world.raw()
  client.publish(1, { routingKey: 'x' }, { headers: { CC: 'not a list' } }, 'x')
  expect(await client.closure()).toMatchObject({ scope: 'channel', code: 406 })
})

test('messages of one channel to one queue keep their order [AMQP 4.7]', async () => {
  const channel = await world.confirmChannel()
  const { queue } = await channel.assertQueue('', { exclusive: true })
  const sent = Array.from({ length: 200 }, (_, i) => `${i}`)
  sent.forEach((text, i) => channel.sendToQueue(queue, Buffer.from(text), { persistent: i % 2 === 0 }))
  await channel.waitForConfirms()
  expect(await drain(channel, queue)).toEqual(sent)
})

test.each([0, 1])(
  'what was published without confirms is there when the close is answered [AMQP connection.close, channel.close] %s',
  async (channel) => {
    const queue = world.name('goodbye')
    const reader = await world.channel()
    await reader.assertQueue(queue)
    const method = channel === 0 ? 'connection.close' : 'channel.close'
    for (let i = 0; i < 10; i++) {
      const client = await world.raw()
      client.publish(1, { routingKey: queue }, { deliveryMode: 2 }, 'hello')
      await client.call(channel, method, { replyCode: 200, replyText: '', classId: 0, methodId: 0 })
      expect(await reader.get(queue, { noAck: true })).toMatchObject({ fields: { messageCount: 0 } })
    }
  },
)
