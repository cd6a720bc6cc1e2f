import amqp from 'amqplib'
import { expect, test } from 'vitest'
import { brokerUnderTest, onlyOnStathmos } from '../amqp/broker-under-test.ts'
import { encodeMethod, encodeTable, frame } from '../amqp/codec.ts'
import { PROTOCOL_HEADER, RawClient } from '../amqp/raw-client.ts'
import { worldOf } from '../amqp/world.ts'

const broker = await brokerUnderTest()
const world = worldOf(broker)

async function greet(options = {}): Promise<RawClient> {
  const client = await RawClient.greet(broker.url, options)
  world.defer(() => client.destroy())
  return client
}

async function dial(): Promise<RawClient> {
  const client = await RawClient.dial(broker.url)
  world.defer(() => client.destroy())
  return client
}

test.each([
  ['another protocol', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
  ['AMQP 1.0', Buffer.from('AMQP\x00\x01\x00\x00', 'latin1')],
  ['AMQP 9-1-7', Buffer.from('AMQP\x00\x09\x01\x07', 'latin1')],
])('a client of %s is answered with our protocol header and hung up on [AMQP 4.2.2]', async (_name, header) => {
  const client = await dial()
  client.write(header)
  expect(await client.unframed()).toEqual(PROTOCOL_HEADER)
})

test('the broker offers version 0-9, PLAIN and AMQPLAIN, and en_US [AMQP connection.start]', async () => {
  const client = await dial()
  client.write(PROTOCOL_HEADER)
  const start = await client.expect('connection.start', 0)
  expect(start.arguments).toMatchObject({ major: 0, minor: 9 })
  expect(String(start.arguments['mechanisms']).split(' ')).toEqual(expect.arrayContaining(['PLAIN', 'AMQPLAIN']))
  expect(String(start.arguments['locales']).split(' ')).toContain('en_US')
})

test('the server properties name the product and exactly the capabilities of RabbitMQ [RabbitMQ capabilities]', async () => {
  const { serverProperties } = await greet()
  expect(serverProperties['capabilities']).toEqual({
    publisher_confirms: true,
    exchange_exchange_bindings: true,
    'basic.nack': true,
    consumer_cancel_notify: true,
    'connection.blocked': true,
    consumer_priorities: true,
    authentication_failure_close: true,
    per_consumer_qos: true,
    direct_reply_to: true,
  })
  for (const property of ['product', 'version', 'cluster_name', 'platform', 'copyright', 'information']) {
    expect(serverProperties[property], property).toEqual(expect.any(String))
  }
  expect(serverProperties['version']).toMatch(/^\d+\.\d+\.\d+/)
})

test('the broker proposes 2,047 channels, frames of 128 KiB and a heartbeat of 60 s [AMQP connection.tune]', async () => {
  expect((await greet()).tune).toEqual({ channelMax: 2047, frameMax: 131_072, heartbeat: 60 })
})

test('AMQPLAIN logs in with a table of LOGIN and PASSWORD [RabbitMQ AMQPLAIN]', async () => {
  const response = encodeTable({ LOGIN: 'guest', PASSWORD: 'guest' }).subarray(4)
  await expect(greet({ mechanism: 'AMQPLAIN', response })).resolves.toBeDefined()
})

test.each([
  ['PLAIN', '\0guest\0wrong'],
  ['PLAIN', '\0nobody\0guest'],
  ['AMQPLAIN', encodeTable({ LOGIN: 'guest', PASSWORD: 'wrong' }).subarray(4)],
])(
  'a wrong login by %s closes the connection with 403 [RabbitMQ authentication_failure_close]',
  async (mechanism, response) => {
    const client = await dial()
    client.write(PROTOCOL_HEADER)
    await client.answerStart({ mechanism, response })
    const closure = await client.closure()
    expect(closure).toMatchObject({ scope: 'connection', code: 403 })
    expect(closure.text).toBe(
      `ACCESS_REFUSED - Login was refused using authentication mechanism ${mechanism}. For details see the broker logfile.`,
    )
  },
)

test('a wrong login without the capability is hung up on without a word [AMQP connection.start-ok]', async () => {
  const client = await dial()
  client.write(PROTOCOL_HEADER)
  await client.answerStart({ response: '\0guest\0wrong', capabilities: {} })
  expect(await client.unframed()).toHaveLength(0)
  await expect(client.next()).rejects.toThrow('closed the connection')
})

test('an unknown mechanism closes the connection [AMQP connection.start-ok]', async () => {
  const client = await dial()
  client.write(PROTOCOL_HEADER)
  await client.answerStart({ mechanism: 'PIGEON' })
  expect(await client.hungUp()).toBe(true)
})

test('a virtual host that does not exist is 530 NOT_ALLOWED [AMQP connection.open]', async () => {
  const client = await greet()
  client.send(0, 'connection.tune-ok', { ...client.tune, heartbeat: 0 })
  client.send(0, 'connection.open', { virtualHost: 'nowhere' })
  const closure = await client.closure()
  expect(closure).toEqual({
    scope: 'connection',
    code: 530,
    text: expect.stringMatching(/^NOT_ALLOWED - .*vhost '?nowhere'?/),
    method: [10, 40],
  })
})

test('a client may lower the frame size, and the broker keeps to it [AMQP connection.tune-ok]', async () => {
  const client = await world.raw({ frameMax: 4096 })
  const queue = world.name('small-frames')
  await client.call(1, 'queue.declare', { queue, exclusive: true })
  const body = Buffer.alloc(20_000, 'x')
  client.publish(1, { routingKey: queue }, {}, body)
  client.send(1, 'basic.get', { queue, noAck: true })
  await client.expect('basic.get-ok')
  const header = await client.next()
  expect(header.type).toBe(2)
  for (let size = 0; size < body.length;) {
    const part = await client.next()
    expect(part.payload.length).toBeLessThanOrEqual(4096 - 8)
    size += part.payload.length
  }
})

const hangsUpAtOnce = onlyOnStathmos(broker, 'RabbitMQ 3.10 hangs up without a word when tuning fails')

test('a frame size below 4,096 is refused with 530 [AMQP connection.tune-ok]', hangsUpAtOnce, async () => {
  const client = await greet()
  client.send(0, 'connection.tune-ok', { ...client.tune, frameMax: 1024 })
  client.send(0, 'connection.open', { virtualHost: '/' })
  const closure = await client.closure()
  expect(closure).toMatchObject({ scope: 'connection', code: 530 })
  expect(closure.text).toBe('NOT_ALLOWED - negotiated frame_max = 1024 is lower than the minimum allowed value (4096)')
})

test.each([
  ['channelMax', 5000, 'channel_max = 5000 is higher than the maximum allowed value (2047)'],
  ['frameMax', 1_000_000, 'frame_max = 1000000 is higher than the maximum allowed value (131072)'],
])(
  'a client that raises %s above the offer is refused with 530 [AMQP connection.tune-ok]',
  hangsUpAtOnce,
  async (field, value, text) => {
    const client = await greet()
    client.send(0, 'connection.tune-ok', { ...client.tune, [field]: value })
    client.send(0, 'connection.open', { virtualHost: '/' })
    expect(await client.closure()).toMatchObject({
      scope: 'connection',
      code: 530,
      text: `NOT_ALLOWED - negotiated ${text}`,
    })
  },
)

test('more channels than were negotiated are 530 NOT_ALLOWED [AMQP connection.tune-ok]', async () => {
  const client = await world.raw({ channelMax: 3 })
  await client.openChannel(2)
  await client.openChannel(3)
  client.send(4, 'channel.open')
  expect(await client.closure()).toMatchObject({
    scope: 'connection',
    code: 530,
    text: expect.stringMatching(/^NOT_ALLOWED - .*channel_max \(3\)/),
  })
})

test('the broker sends a heartbeat when it has nothing else to say [AMQP 4.2.7]', async () => {
  const client = await world.raw({ heartbeat: 1 })
  const heartbeat = await client.nextOfAnyType()
  expect(heartbeat).toMatchObject({ type: 8, channel: 0 })
  expect(heartbeat.payload).toHaveLength(0)
})

test('a client that is silent for two heartbeat intervals is hung up on [AMQP 4.2.7]', async () => {
  const client = await world.raw({ heartbeat: 1 })
  const began = performance.now()
  expect(await client.hungUp()).toBe(true)
  expect(performance.now() - began).toBeGreaterThan(1000)
})

test('any octets count as a heartbeat [AMQP 4.2.7]', async () => {
  const client = await world.raw({ heartbeat: 1 })
  const method = encodeMethod('channel.flow', { active: true })
  const bytes = frame(1, 1, method)
  let answers = 0
  // One octet at a time, for three intervals: frames that are not whole yet keep the connection alive too.
  for (let sent = 0; sent < 3 * bytes.length; sent++) {
    client.write(bytes.subarray(sent % bytes.length, (sent % bytes.length) + 1))
    await new Promise((resolve) => setTimeout(resolve, 4000 / (3 * bytes.length)))
  }
  while (answers < 3) if ((await client.next()).method?.name === 'channel.flow-ok') answers++
  expect(answers).toBe(3)
})

test(
  'a heartbeat on a channel is 505 UNEXPECTED_FRAME [AMQP 4.2.7]',
  onlyOnStathmos(broker, 'RabbitMQ 3.10 takes it for an unexpected frame only on channel 0'),
  async () => {
    const client = await world.raw()
    client.sendFrame(8, 1, Buffer.alloc(0))
    expect(await client.closure()).toMatchObject({ scope: 'connection', code: 505 })
  },
)

test('a frame that does not end with 0xCE is 501 FRAME_ERROR [AMQP 4.2.3]', async () => {
  const client = await world.raw()
  const bytes = frame(1, 1, encodeMethod('queue.declare', { queue: 'x' }))
  bytes[bytes.length - 1] = 0
  client.write(bytes)
  expect(await client.closure()).toMatchObject({ scope: 'connection', code: 501 })
})

test('a frame above the negotiated size is 501 FRAME_ERROR [AMQP 4.2.3]', async () => {
  const client = await world.raw({ frameMax: 4096 })
  client.sendFrame(3, 1, Buffer.alloc(5000))
  expect(await client.closure()).toMatchObject({ scope: 'connection', code: 501 })
})

test('a truncated method is 502 SYNTAX_ERROR or 501 FRAME_ERROR, never silence [AMQP 4.2.4]', async () => {
  const client = await world.raw()
  client.sendFrame(1, 1, encodeMethod('queue.declare', { queue: 'a-long-enough-name' }).subarray(0, 12))
  const closure = await client.closure()
  expect(closure.scope).toBe('connection')
  expect([501, 502, 541]).toContain(closure.code)
})

test('a method that does not exist ends the connection [AMQP 4.2.4]', async () => {
  const client = await world.raw()
  client.sendFrame(1, 1, Buffer.from([0, 60, 0, 99]))
  // RabbitMQ hangs up; saying why is better.
  const ending = broker.kind === 'rabbitmq' ? await client.hungUp() : await client.closure()
  expect(ending).toEqual(
    broker.kind === 'rabbitmq'
      ? true
      : expect.objectContaining({ scope: 'connection', code: expect.toBeOneOf([503, 540]) }),
  )
})

test('a method on a channel that is not open is 504 CHANNEL_ERROR [AMQP channel.open]', async () => {
  const client = await world.raw()
  client.send(9, 'basic.qos', { prefetchCount: 1 })
  expect(await client.closure()).toMatchObject({
    scope: 'connection',
    code: 504,
    text: "CHANNEL_ERROR - expected 'channel.open'",
  })
})

test('opening a channel twice is 504 CHANNEL_ERROR [AMQP channel.open]', async () => {
  const client = await world.raw()
  client.send(1, 'channel.open')
  expect(await client.closure()).toMatchObject({
    scope: 'connection',
    code: 504,
    text: "CHANNEL_ERROR - second 'channel.open' seen",
  })
})

test('a content header where a method is due is 505 UNEXPECTED_FRAME [AMQP 4.2.6]', async () => {
  const client = await world.raw()
  client.sendFrame(2, 1, Buffer.concat([Buffer.from([0, 60, 0, 0]), Buffer.alloc(10)]))
  expect(await client.closure()).toMatchObject({ scope: 'connection', code: 505 })
})

test('a method where a content header is due is 505 UNEXPECTED_FRAME [AMQP 4.2.6]', async () => {
  const client = await world.raw()
  client.send(1, 'basic.publish', { routingKey: 'x' })
  client.send(1, 'basic.qos', { prefetchCount: 1 })
  expect(await client.closure()).toMatchObject({ scope: 'connection', code: 505 })
})

test('the broken connection of one client touches no other [AMQP 1.5.2]', async () => {
  const [broken, sound] = [await world.raw(), await world.raw()]
  broken.write(Buffer.alloc(4096, 0xff))
  expect(await broken.hungUp().catch(() => false)).toBe(true)
  const queue = world.name('sound')
  await sound.call(1, 'queue.declare', { queue, exclusive: true })
})

test('connection.close is answered with close-ok [AMQP connection.close]', async () => {
  const client = await world.raw()
  await client.call(0, 'connection.close', { replyCode: 200, replyText: 'done' })
})

test('a renewed secret is taken, and the connection goes on [RabbitMQ connection.update-secret]', async () => {
  const connection = await amqp.connect(broker.url)
  world.defer(() => void connection.close())
  await connection.updateSecret(Buffer.from('another'), 'the token expires')
  const channel = await connection.createChannel()
  await channel.close()
})
