import { openEngine, type Engine } from '@stathmos/engine'
import { type Clock, seededRandom, type Timer } from '@stathmos/std'
import { MemoryFiles } from '@stathmos/testkit'
import {
  FRAME_BODY,
  FRAME_HEADER,
  FRAME_METHOD,
  type Field,
  HEARTBEAT,
  METHOD_ID,
  type Method,
  type MethodName,
  OutputBuffer,
  PROTOCOL_HEADER,
  type Properties,
  decodeMethod,
  decodeProperties,
  encodeMethod,
  encodeProperties,
} from '@stathmos/wire/amqp'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'

import { ByteChannel } from '../../session/byte-channel.ts'
import { type Protocol, SESSION_LIMITS, type World } from '../../session/protocol.ts'
import { SessionRegistry } from '../../session/registry.ts'
import { ORIGIN_AMQP, STANDARD_EXCHANGES, amqpOptions, amqpOriginHeaders, openAmqp } from './index.ts'

/** Time that moves when the test says so. */
class TestClock implements Clock {
  #nowMs = 1_700_000_000_000
  #timers: { dueMs: number; fire: () => void }[] = []
  readonly #soon: (() => void)[] = []

  now(): number {
    return this.#nowMs
  }

  monotonic(): number {
    return this.#nowMs
  }

  after(delayMs: number, fire: () => void): Timer {
    const timer = { dueMs: this.#nowMs + delayMs, fire }
    this.#timers.push(timer)
    return { cancel: () => void (this.#timers = this.#timers.filter((other) => other !== timer)) }
  }

  soon(run: () => void): void {
    this.#soon.push(run)
  }

  runSoon(): boolean {
    const runs = this.#soon.splice(0)
    for (const run of runs) run()
    return runs.length > 0
  }

  async pass(ms: number): Promise<void> {
    const end = this.#nowMs + ms
    for (;;) {
      const next = this.#timers.filter((timer) => timer.dueMs <= end).toSorted((a, b) => a.dueMs - b.dueMs)[0]
      if (next === undefined) break
      this.#nowMs = Math.max(this.#nowMs, next.dueMs)
      this.#timers = this.#timers.filter((other) => other !== next)
      next.fire()
      await this.settle()
    }
    this.#nowMs = end
    await this.settle()
  }

  /** Runs everything that is ready, until nothing more is. */
  async settle(): Promise<void> {
    for (let idle = 0; idle < 3;) {
      await new Promise((resolve) => setImmediate(resolve))
      idle = this.runSoon() ? 0 : idle + 1
    }
  }
}

interface Received {
  readonly channel: number
  readonly method?: Method
  readonly type: number
  readonly payload: Uint8Array
}

class Client {
  readonly wire: ByteChannel
  readonly clock: TestClock
  #rest: Uint8Array = new Uint8Array(0)

  constructor(protocol: Protocol, clock: TestClock) {
    this.wire = new ByteChannel(protocol)
    this.clock = clock
  }

  send(channel: number, method: Method): this {
    const out = new OutputBuffer(256)
    encodeMethod(out, channel, method)
    this.wire.receive(out.written())
    return this
  }

  publish(
    channel: number,
    address: { exchange?: string; routingKey: string; mandatory?: boolean },
    body: string | Uint8Array,
    properties: Properties = { deliveryMode: 2 },
  ): this {
    this.wire.receive(contentOf(channel, address, body, properties))
    return this
  }

  async frames(): Promise<Received[]> {
    await this.clock.settle()
    const taken = this.wire.take()
    const bytes = new Uint8Array(this.#rest.length + taken.length)
    bytes.set(this.#rest)
    bytes.set(taken, this.#rest.length)
    const view = new DataView(bytes.buffer)
    const frames: Received[] = []
    let at = 0
    while (bytes.length - at >= 8) {
      const end = at + 7 + view.getUint32(at + 3)
      if (end >= bytes.length) break
      const type = bytes[at]!
      const payload = bytes.slice(at + 7, end)
      const method = type === FRAME_METHOD ? { method: decodeMethod(view, bytes, at + 7, end) } : {}
      frames.push({ channel: view.getUint16(at + 1), type, payload, ...method })
      at = end + 1
    }
    this.#rest = bytes.slice(at)
    return frames
  }

  async methods(): Promise<Method[]> {
    return (await this.frames()).flatMap(({ method }) => (method === undefined ? [] : [method]))
  }

  async next<N extends MethodName>(name: N): Promise<Extract<Method, { name: N }>> {
    const methods = await this.methods()
    const found = methods.find((method) => method.name === name)
    if (found === undefined) throw new Error(`no ${name} among ${methods.map((method) => method.name).join(', ')}`)
    return found as Extract<Method, { name: N }>
  }

  startOk(capabilities: string[] = []): this {
    const enabled = new Map(capabilities.map((name): [string, Field] => [name, { type: 't', value: true }]))
    return this.send(0, {
      name: 'connection.start-ok',
      clientProperties: new Map<string, Field>([['capabilities', { type: 'F', value: enabled }]]),
      mechanism: 'PLAIN',
      response: new TextEncoder().encode('\0guest\0guest'),
      locale: 'en_US',
    })
  }

  async open({ heartbeat = 0, frameMax = 131_072, capabilities = [] as string[] } = {}): Promise<this> {
    this.wire.receive(PROTOCOL_HEADER as Uint8Array)
    this.startOk(capabilities)
    await this.clock.settle()
    this.send(0, { name: 'connection.tune-ok', channelMax: 0, frameMax, heartbeat })
    this.send(0, { name: 'connection.open', virtualHost: '/' })
    this.send(1, { name: 'channel.open' })
    await this.next('channel.open-ok')
    return this
  }

  async declare(queue: string, options: Partial<Extract<Method, { name: 'queue.declare' }>> = {}): Promise<this> {
    this.send(1, { ...DECLARE, queue, ...options })
    await this.next('queue.declare-ok')
    return this
  }
}

const DECLARE = {
  name: 'queue.declare',
  queue: '',
  passive: false,
  durable: true,
  exclusive: false,
  autoDelete: false,
  noWait: false,
  arguments: new Map(),
} as const

const CONSUME = {
  name: 'basic.consume',
  queue: 'q',
  consumerTag: 'c',
  noLocal: false,
  noAck: false,
  exclusive: false,
  noWait: false,
  arguments: new Map(),
} as const

function contentOf(
  channel: number,
  { exchange = '', routingKey, mandatory = false }: { exchange?: string; routingKey: string; mandatory?: boolean },
  body: string | Uint8Array,
  properties: Properties,
  bodyFrameSize = Infinity,
): Uint8Array {
  const bytes = typeof body === 'string' ? new TextEncoder().encode(body) : body
  const out = new OutputBuffer(256)
  encodeMethod(out, channel, { name: 'basic.publish', exchange, routingKey, mandatory, immediate: false })
  const header = new OutputBuffer(64)
  header.putShort(60)
  header.putShort(0)
  header.putLongLong(bytes.length)
  encodeProperties(header, properties)
  putFrame(out, FRAME_HEADER, channel, header.written())
  for (let at = 0; at < bytes.length; at += bodyFrameSize) {
    putFrame(out, FRAME_BODY, channel, bytes.subarray(at, Math.min(at + bodyFrameSize, bytes.length)))
  }
  return out.written()
}

function putFrame(out: OutputBuffer, type: number, channel: number, payload: Uint8Array): void {
  out.putOctet(type)
  out.putShort(channel)
  out.putLong(payload.length)
  out.putBytes(payload)
  out.putOctet(0xce)
}

function frame(type: number, channel: number, payload: Uint8Array): Uint8Array {
  const out = new OutputBuffer(64)
  putFrame(out, type, channel, payload)
  return out.written()
}

interface Setting {
  readonly world: World
  readonly engine: Engine
  readonly clock: TestClock
  readonly protocol: Protocol
  client(): Client
}

async function setting({ mayLogIn = true, known = false, watchMs = 1000, limits = {} } = {}): Promise<Setting> {
  const clock = new TestClock()
  const random = seededRandom(7)
  const opening = openEngine({
    dataDir: '/data',
    files: new MemoryFiles(),
    clock,
    random,
    standardExchanges: STANDARD_EXCHANGES,
    originHeaders: new Map([[ORIGIN_AMQP, amqpOriginHeaders]]),
    limits: { diskFreeMin: 0, watchMs, ...limits },
  })
  let engine: Engine | null = null
  void opening.then((opened) => (engine = opened))
  while (engine === null) await clock.settle()
  const opened: Engine = engine
  opened.access.setUser({ name: 'guest', passwordHash: '', tags: [] })
  opened.access.setPermission('guest', '/', { configure: '.*', write: '.*', read: '.*' })
  const world: World = {
    engine: opened,
    clock,
    random,
    authenticator: {
      verify(user, password) {
        const right = mayLogIn && user === 'guest' && password === 'guest'
        return known ? right : Promise.resolve(right)
      },
    },
    registry: new SessionRegistry(),
    limits: SESSION_LIMITS,
  }
  const protocol = openAmqp(world, amqpOptions())
  return { world, engine: opened, clock, protocol, client: () => new Client(protocol, clock) }
}

// ---- negotiation

test('another protocol header is answered with ours, and the end [AMQP §4.2.2]', async () => {
  const { wire } = (await setting()).client()
  wire.receive(new TextEncoder().encode('GET / HTTP/1.1\r\n'))
  expect(wire.take()).toEqual(PROTOCOL_HEADER)
  expect(wire.ended).toBe(true)
})

test('a peer that does not authenticate in time is dropped, however slowly it talks', async () => {
  const { client, clock } = await setting()
  const { wire } = client()
  for (const octet of PROTOCOL_HEADER as Uint8Array) {
    await clock.pass(1000)
    wire.receive(Uint8Array.of(octet))
  }
  expect(wire.destroyed).toBe(false)
  await clock.pass(2001)
  expect(wire.destroyed).toBe(true)
})

test('before authentication a frame has at most 4096 octets [RabbitMQ initial frame max]', async () => {
  const client = (await setting()).client()
  client.wire.receive(PROTOCOL_HEADER as Uint8Array)
  await client.next('connection.start')
  client.wire.receive(Uint8Array.of(1, 0, 0, 0, 1, 0, 0))
  expect(await client.next('connection.close')).toMatchObject({ replyCode: 501 })
  expect(client.wire.ended).toBe(true)
})

test('a login that came before and is right goes on', async () => {
  const { client } = await setting({ known: true })
  const { wire } = await client().open()
  expect(wire.open).toBe(true)
})

test.each([
  ['when it was checked', false],
  ['when it is known', true],
])(
  'a wrong password is told to clients that understand it, and is silence to others, %s [authentication_failure_close]',
  async (_, known) => {
    const { client } = await setting({ mayLogIn: false, known })
    const modern = client()
    modern.wire.receive(PROTOCOL_HEADER as Uint8Array)
    modern.startOk(['authentication_failure_close'])
    expect(await modern.next('connection.close')).toMatchObject({
      replyCode: 403,
      replyText:
        'ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.',
    })
    const old = client()
    old.wire.receive(PROTOCOL_HEADER as Uint8Array)
    await old.next('connection.start')
    old.startOk()
    expect(await old.methods()).toEqual([])
    expect(old.wire.ended).toBe(true)
  },
)

test('heartbeats go out when nothing else does, and two silent intervals end the connection [AMQP §4.2.7]', async () => {
  const { client, clock } = await setting()
  const { wire } = await client().open({ heartbeat: 10 })
  await clock.pass(10_000)
  expect(wire.take()).toEqual(Uint8Array.of(...(HEARTBEAT as Uint8Array)))
  wire.receive(HEARTBEAT as Uint8Array)
  await clock.pass(20_000)
  expect(wire.destroyed).toBe(false)
  await clock.pass(10_000)
  expect(wire.destroyed).toBe(true)
})

test('draining says 320 CONNECTION_FORCED and ends when the client has answered', async () => {
  const client = await (await setting()).client().open()
  client.wire.session.drain('shutdown')
  expect(await client.next('connection.close')).toMatchObject({
    replyCode: 320,
    replyText: "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'",
  })
  expect(client.wire.open).toBe(true)
  client.send(0, { name: 'connection.close-ok' })
  expect(client.wire.ended).toBe(true)
})

test('a client that does not answer connection.close is dropped', async () => {
  const { client, clock } = await setting()
  const { wire } = await client().open()
  wire.session.drain('shutdown')
  await clock.pass(5001)
  expect(wire.destroyed).toBe(true)
})

// ---- frames

const MALFORMED: readonly (readonly [string, Uint8Array, number])[] = [
  ['an unknown frame type', frame(9, 1, new Uint8Array(0)), 501],
  ['a frame without its end', Uint8Array.of(1, 0, 1, 0, 0, 0, 1, 0, 0), 501],
  ['a frame beyond the negotiated size', Uint8Array.of(3, 0, 1, 0, 2, 0, 0), 501],
  ['a heartbeat on a channel', frame(8, 1, new Uint8Array(0)), 505],
  ['a heartbeat on a channel that is not open', frame(8, 2, new Uint8Array(0)), 505],
  ['a header without a method', frame(2, 1, new Uint8Array(14)), 505],
  ['a body without a method', frame(3, 1, new Uint8Array(1)), 505],
  ['content on channel 0', frame(2, 0, new Uint8Array(14)), 505],
  ['a heartbeat with a payload', frame(8, 0, new Uint8Array(3)), 501],
  ['a method on a channel that is not open', frame(1, 2, Uint8Array.of(0, 60, 0, 10)), 504],
  ['a method that nobody knows', frame(1, 1, Uint8Array.of(0, 99, 0, 99)), 503],
  ['an empty method', frame(1, 1, new Uint8Array(0)), 502],
  ['a method of the other side', frame(1, 1, Uint8Array.of(0, 20, 0, 11, 0, 0, 0, 0)), 503],
]

test.each(MALFORMED)('%s closes the connection with its code [AMQP §4.2.3]', async (_name, bytes, code) => {
  const client = await (await setting()).client().open()
  client.wire.receive(bytes)
  expect(await client.next('connection.close')).toMatchObject({ replyCode: code })
})

test('a method in the middle of content is 505 UNEXPECTED_FRAME [AMQP §4.2.6]', async () => {
  const client = await (await setting()).client().open()
  client.send(1, { name: 'basic.publish', exchange: '', routingKey: 'q', mandatory: false, immediate: false })
  client.send(1, { name: 'channel.flow', active: true })
  expect(await client.next('connection.close')).toMatchObject({ replyCode: 505 })
})

test('an error tells the method that it is about, on a channel that is not open too [AMQP connection.close]', async () => {
  const client = await (await setting()).client().open()
  client.send(5, { name: 'basic.qos', prefetchSize: 0, prefetchCount: 0, global: false })
  expect(await client.next('connection.close')).toMatchObject({ replyCode: 504, classId: 60, methodId: 10 })
})

test('a close-ok for a channel that is gone already is no error [RabbitMQ channel.close-ok]', async () => {
  const client = await (await setting()).client().open()
  client.send(5, { name: 'channel.close-ok' })
  await client.declare('q')
})

test('every truncation of every method closes the connection and nothing else', async () => {
  const { client, engine } = await setting()
  for (const id of Object.values(METHOD_ID)) {
    for (let size = 0; size < 6; size++) {
      const payload = new Uint8Array(4 + size)
      new DataView(payload.buffer).setUint32(0, id)
      const { wire } = await client().open()
      wire.receive(frame(FRAME_METHOD, 1, payload))
      wire.receive(frame(FRAME_METHOD, 0, payload))
      wire.disconnect()
    }
  }
  expect(engine.failed).toBeNull()
}, 60_000)

test('random bytes never get out of the session', async () => {
  const { client, engine } = await setting()
  await fc.assert(
    fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 64 }), { maxLength: 8 }), async (chunks) => {
      const { wire } = await client().open()
      for (const chunk of chunks) wire.receive(chunk)
      wire.disconnect()
    }),
    { numRuns: 150 },
  )
  expect(engine.failed).toBeNull()
}, 60_000)

test('a conversation has the same outcome however its bytes are cut', async () => {
  const { client, protocol, clock, engine } = await setting()
  await (await client().open()).declare('q')
  const out = new OutputBuffer(1024)
  for (let i = 0; i < 5; i++) {
    const body = new Uint8Array(300).fill(i)
    out.putBytes(
      contentOf(
        1,
        { routingKey: 'q' },
        body,
        { deliveryMode: 2, headers: new Map([['i', { type: 'I', value: i }]]) },
        100,
      ),
    )
  }
  const bytes = out.written()
  const queue = engine.vhost('/')!.queue('q')!
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 40 }), async (cuts) => {
      const publisher = await new Client(protocol, clock).open()
      let at = 0
      for (let i = 0; at < bytes.length; i++) {
        const size = cuts[i % cuts.length]!
        publisher.wire.receive(bytes.subarray(at, at + size))
        at += size
      }
      await clock.settle()
      const bodies: number[][] = []
      for (let i = 0; i < 5; i++) queue.get(true, (_ticket, message) => bodies.push([...new Set(message!.body())]))
      expect(bodies).toEqual([[0], [1], [2], [3], [4]])
      publisher.wire.disconnect()
    }),
    { numRuns: 60 },
  )
}, 60_000)

// ---- publishing

test('a confirm is sent only after the message is on disk, one for all of a turn [AMQP confirm.select]', async () => {
  const { client, engine } = await setting()
  const publisher = await (await client().open()).declare('q')
  publisher.send(1, { name: 'confirm.select', noWait: true })
  for (let i = 0; i < 3; i++) publisher.publish(1, { routingKey: 'q' }, `m${i}`)
  const before = engine.durablePosition
  expect(publisher.wire.take()).toHaveLength(0)
  const acks = (await publisher.methods()).filter((method) => method.name === 'basic.ack')
  expect(engine.durablePosition).toBeGreaterThan(before)
  expect(acks).toEqual([{ name: 'basic.ack', deliveryTag: 3, multiple: true }])
})

test('a transient message is confirmed in the turn it came: nothing of it will be on disk [AMQP confirm.select]', async () => {
  const { client } = await setting()
  const publisher = await (await client().open()).declare('q')
  publisher.send(1, { name: 'confirm.select', noWait: true })
  publisher.publish(1, { routingKey: 'q' }, 'm', { deliveryMode: 1 })
  publisher.clock.runSoon()
  expect(publisher.wire.take()).not.toHaveLength(0)
})

test('a mandatory message that reaches no queue comes back before its confirm [AMQP basic.return]', async () => {
  const client = await (await setting()).client().open()
  client.send(1, { name: 'confirm.select', noWait: true })
  client.publish(1, { routingKey: 'nowhere', mandatory: true }, 'lost')
  const frames = await client.frames()
  expect(frames.map(({ method, type }) => method?.name ?? type)).toEqual(['basic.return', 2, 3, 'basic.ack'])
  expect(frames[0]!.method).toMatchObject({ replyCode: 312, replyText: 'NO_ROUTE', routingKey: 'nowhere' })
})

test('a message that the queue refuses is nacked [AMQP basic.nack]', async () => {
  const client = await (await setting()).client().open()
  const limited = new Map<string, Field>([
    ['x-max-length', { type: 'I', value: 1 }],
    ['x-overflow', { type: 'S', value: 'reject-publish' }],
  ])
  await client.declare('q', { arguments: limited })
  client.send(1, { name: 'confirm.select', noWait: true })
  client.publish(1, { routingKey: 'q' }, 'first').publish(1, { routingKey: 'q' }, 'second')
  expect(await client.methods()).toEqual([
    { name: 'basic.nack', deliveryTag: 2, multiple: false, requeue: false },
    { name: 'basic.ack', deliveryTag: 1, multiple: false },
  ])
})

const REFUSED: readonly (readonly [string, Properties, string])[] = [
  ['an expiration that is no number', { expiration: 'soon' }, "invalid expiration 'soon': no_integer"],
  ['a negative expiration', { expiration: '-1' }, "invalid expiration '-1': {value_negative,-1}"],
  ['another user’s id', { userId: 'root' }, "user_id property set to 'root' but authenticated user was 'guest'"],
  ['a direct reply nobody consumes', { replyTo: 'amq.rabbitmq.reply-to' }, 'fast reply consumer does not exist'],
]

test.each(REFUSED)('%s is 406 on the channel', async (_name, properties, text) => {
  const client = await (await setting()).client().open()
  client.publish(1, { routingKey: 'q' }, 'x', properties)
  expect(await client.next('channel.close')).toMatchObject({
    replyCode: 406,
    replyText: `PRECONDITION_FAILED - ${text}`,
  })
})

test('after channel.close everything is dropped until close-ok, and the number is free again [AMQP channel.close]', async () => {
  const client = await (await setting()).client().open()
  client.publish(1, { exchange: 'missing', routingKey: 'q' }, 'x')
  client.publish(1, { exchange: 'missing', routingKey: 'q' }, 'x')
  client.send(1, { ...DECLARE, queue: 'q' })
  expect((await client.methods()).map(({ name }) => name)).toEqual(['channel.close'])
  client.send(1, { name: 'channel.close-ok' }).send(1, { name: 'channel.open' })
  await client.next('channel.open-ok')
})

test('publishers stop being read during an alarm, and are told once [connection.blocked]', async () => {
  const { client, clock, engine } = await setting()
  const publisher = await (await client().open({ capabilities: ['connection.blocked'] })).declare('q')
  engine.flow.diskFull(true)
  publisher.publish(1, { routingKey: 'q' }, 'waits')
  expect(await publisher.next('connection.blocked')).toMatchObject({ reason: 'low on disk' })
  expect(publisher.wire.paused).toBe(true)
  expect(engine.vhost('/')!.queue('q')!.ready).toBe(0)
  // The engine looks again, and there is room.
  await clock.pass(5000)
  await publisher.next('connection.unblocked')
  expect(publisher.wire.paused).toBe(false)
  expect(engine.vhost('/')!.queue('q')!.ready).toBe(1)
})

test('a connection that waits during an alarm is not taken for dead, and goes quietly', async () => {
  const { client, clock, engine } = await setting({ watchMs: 60_000 })
  const publisher = await (await client().open({ heartbeat: 1 })).declare('q')
  engine.flow.diskFull(true)
  publisher.publish(1, { routingKey: 'q' }, 'waits')
  await clock.pass(10_000)
  expect(publisher.wire.destroyed).toBe(false)
  publisher.wire.disconnect()
  await clock.pass(60_000)
  expect(engine.vhost('/')!.queue('q')!.ready).toBe(0)
})

// ---- receiving

test('acknowledging what came from a queue that is gone does no harm, in whatever way', async () => {
  const { client, engine } = await setting()
  const both = await (await client().open({ capabilities: ['consumer_cancel_notify'] })).declare('q')
  both.send(1, CONSUME)
  for (let i = 0; i < 4; i++) both.publish(1, { routingKey: 'q' }, `m${i}`)
  await both.methods()
  both.send(1, { name: 'queue.delete', queue: 'q', ifUnused: false, ifEmpty: false, noWait: false })
  expect((await both.methods()).map(({ name }) => name)).toEqual(['queue.delete-ok', 'basic.cancel'])
  both.send(1, { name: 'basic.ack', deliveryTag: 1, multiple: false })
  both.send(1, { name: 'basic.nack', deliveryTag: 2, multiple: false, requeue: true })
  both.send(1, { name: 'basic.reject', deliveryTag: 3, requeue: false })
  both.send(1, { name: 'channel.close', replyCode: 200, replyText: '', classId: 0, methodId: 0 })
  expect((await both.methods()).map(({ name }) => name)).toEqual(['channel.close-ok'])
  expect(engine.failed).toBeNull()
})

test('a dead letter says where it has been [RabbitMQ x-death]', async () => {
  const { client } = await setting()
  const both = await (await client().open()).declare('dead')
  const args = new Map<string, Field>([
    ['x-dead-letter-exchange', { type: 'S', value: '' }],
    ['x-dead-letter-routing-key', { type: 'S', value: 'dead' }],
  ])
  await both.declare('q', { arguments: args })
  both.send(1, CONSUME).send(1, { ...CONSUME, queue: 'dead', consumerTag: 'd' })
  both.publish(1, { routingKey: 'q' }, 'x', { deliveryMode: 2, expiration: '60000' })
  await both.next('basic.deliver')
  both.send(1, { name: 'basic.reject', deliveryTag: 1, requeue: false })
  const [deliver, header] = await both.frames()
  expect(deliver!.method).toMatchObject({ consumerTag: 'd', routingKey: 'dead' })
  const { payload } = header!
  const properties = decodeProperties(payload, new DataView(payload.buffer), 12, payload.length)
  expect(properties.expiration).toBeUndefined()
  expect(properties.headers!.get('x-first-death-reason')).toEqual({ type: 'S', value: 'rejected' })
  const deaths = properties.headers!.get('x-death') as Extract<Field, { type: 'A' }>
  const death = deaths.value[0] as Extract<Field, { type: 'F' }>
  expect(Object.fromEntries(death.value)).toMatchObject({
    count: { type: 'l', value: 1n },
    queue: { type: 'S', value: 'q' },
    reason: { type: 'S', value: 'rejected' },
    'original-expiration': { type: 'S', value: '60000' },
  })
})

test('a quorum queue tells how often a message has failed [RabbitMQ x-delivery-count]', async () => {
  const { client } = await setting()
  const quorum = new Map<string, Field>([['x-queue-type', { type: 'S', value: 'quorum' }]])
  const both = await (await client().open()).declare('q', { arguments: quorum })
  both.send(1, CONSUME).publish(1, { routingKey: 'q' }, 'x')
  await both.next('basic.deliver')
  both.send(1, { name: 'basic.reject', deliveryTag: 1, requeue: true })
  const [, header] = await both.frames()
  const { payload } = header!
  const { headers } = decodeProperties(payload, new DataView(payload.buffer), 12, payload.length)
  expect(headers!.get('x-delivery-count')).toEqual({ type: 'l', value: 1n })
})

test('a transaction takes effect at commit, and not at all after a rollback [AMQP tx]', async () => {
  const { client, engine } = await setting()
  const both = await (await client().open()).declare('q')
  const queue = engine.vhost('/')!.queue('q')!
  both.send(1, { name: 'tx.select' }).publish(1, { routingKey: 'q' }, 'undone').send(1, { name: 'tx.rollback' })
  both.publish(1, { routingKey: 'q' }, 'done')
  await both.methods()
  expect(queue.ready).toBe(0)
  both.send(1, { name: 'tx.commit' })
  expect(both.wire.take()).toHaveLength(0)
  await both.next('tx.commit-ok')
  expect(queue.ready).toBe(1)
  both.send(1, CONSUME)
  await both.next('basic.deliver')
  both.send(1, { name: 'basic.ack', deliveryTag: 1, multiple: false }).send(1, { name: 'tx.rollback' })
  both.send(1, { name: 'basic.ack', deliveryTag: 1, multiple: false }).send(1, { name: 'tx.commit' })
  await both.next('tx.commit-ok')
  expect(queue.inFlight).toBe(0)
})

test('a commit that must read from disk what it rejects holds up what comes behind it, and ends with its connection [AMQP tx]', async () => {
  const { client, engine } = await setting({ limits: { ringBytes: 1024, coldBytes: 512, blockBytes: 512 } })
  const both = await (await client().open()).declare('dead')
  const dies = new Map<string, Field>([
    ['x-dead-letter-exchange', { type: 'S', value: '' }],
    ['x-dead-letter-routing-key', { type: 'S', value: 'dead' }],
  ])
  await both.declare('q', { arguments: dies })
  for (let i = 0; i < 30; i++) await both.publish(1, { routingKey: 'q' }, 'x'.repeat(200)).methods()
  await both.send(1, CONSUME).methods()
  const [queue, dead] = ['q', 'dead'].map((name) => engine.vhost('/')!.queue(name)!)
  both.send(1, { name: 'tx.select' })
  both.send(1, { name: 'basic.nack', deliveryTag: 1, multiple: false, requeue: false })
  both.send(1, { name: 'tx.commit' }).send(1, { ...DECLARE, queue: 'dead', passive: true })
  expect([queue!.inFlight, dead!.ready]).toEqual([30, 0])
  const [, committed, found] = await both.methods()
  expect(committed).toEqual({ name: 'tx.commit-ok' })
  expect(found).toMatchObject({ name: 'queue.declare-ok', messageCount: 1 })
  // Lost while it reads: nothing of it has happened, and the deliveries are the queue's again.
  both.send(1, { name: 'basic.nack', deliveryTag: 15, multiple: false, requeue: false }).send(1, { name: 'tx.commit' })
  both.wire.disconnect()
  await both.methods()
  expect([queue!.inFlight, queue!.ready, dead!.ready]).toEqual([0, 29, 1])
})

test('direct replies find their requester without a queue [RabbitMQ direct reply-to]', async () => {
  const { client } = await setting()
  const requester = await (await client().open()).declare('rpc')
  requester.send(1, { ...CONSUME, queue: 'amq.rabbitmq.reply-to', consumerTag: 'replies', noAck: true })
  const server = await client().open()
  server.send(1, { ...CONSUME, queue: 'rpc', noAck: true })
  requester.publish(1, { routingKey: 'rpc' }, 'ping', { replyTo: 'amq.rabbitmq.reply-to', correlationId: '1' })
  const [, header] = (await server.frames()).slice(-3)
  const { payload } = header!
  const { replyTo } = decodeProperties(payload, new DataView(payload.buffer), 12, payload.length)
  await requester.methods()
  server.publish(1, { routingKey: replyTo! }, 'pong', { correlationId: '1' })
  expect(await requester.next('basic.deliver')).toMatchObject({ consumerTag: 'replies', routingKey: replyTo })
})

test('rights are asked for at every door [RabbitMQ access control]', async () => {
  const { client, engine } = await setting()
  await (await client().open()).declare('q')
  engine.access.setPermission('guest', '/', { configure: '^mine', write: '^mine', read: '^mine' })
  const refused = async (act: (one: Client) => void): Promise<string> => {
    const one = await client().open()
    act(one)
    return (await one.next('channel.close')).replyText
  }
  const says = (what: string): string => `ACCESS_REFUSED - ${what} in vhost '/' refused for user 'guest'`
  expect(await refused((one) => one.send(1, CONSUME))).toBe(says("read access to queue 'q'"))
  expect(await refused((one) => one.send(1, { ...DECLARE, queue: 'x' }))).toBe(says("configure access to queue 'x'"))
  expect(await refused((one) => one.send(1, { ...DECLARE, queue: 'q', passive: true }))).toBe(
    says("configure access to queue 'q'"),
  )
  expect(await refused((one) => one.publish(1, { routingKey: 'q' }, 'x'))).toBe(
    says("write access to exchange 'amq.default'"),
  )
  expect(await refused((one) => one.send(1, { name: 'queue.purge', queue: 'q', noWait: false }))).toBe(
    says("read access to queue 'q'"),
  )
})

test('deliveries carry the sender’s properties untouched, and an ack settles them [AMQP basic.deliver]', async () => {
  const { client, engine } = await setting()
  const both = await (await client().open()).declare('q')
  both.send(1, CONSUME)
  await both.next('basic.consume-ok')
  const headers = new Map<string, Field>([['odd', { type: 'u', value: 7 }]])
  both.publish(1, { routingKey: 'q' }, 'hello', { headers, deliveryMode: 2, messageId: 'm' })
  const [deliver, header, body] = await both.frames()
  expect(deliver!.method).toMatchObject({ name: 'basic.deliver', consumerTag: 'c', deliveryTag: 1, routingKey: 'q' })
  const sent = new OutputBuffer(64)
  encodeProperties(sent, { headers, deliveryMode: 2, messageId: 'm' })
  expect(header!.payload.slice(12)).toEqual(new Uint8Array(sent.written()))
  expect(new TextDecoder().decode(body!.payload)).toBe('hello')
  const queue = engine.vhost('/')!.queue('q')!
  expect(queue.inFlight).toBe(1)
  both.send(1, { name: 'basic.ack', deliveryTag: 1, multiple: false })
  expect(queue.inFlight).toBe(0)
})

test('an unknown delivery tag is 406 [AMQP basic.ack]', async () => {
  const client = await (await setting()).client().open()
  client.send(1, { name: 'basic.ack', deliveryTag: 9, multiple: false })
  expect(await client.next('channel.close')).toMatchObject({
    replyCode: 406,
    replyText: 'PRECONDITION_FAILED - unknown delivery tag 9',
  })
})

test('prefetch bounds what is unacknowledged [AMQP basic.qos]', async () => {
  const both = await (await (await setting()).client().open()).declare('q')
  both.send(1, { name: 'basic.qos', prefetchSize: 0, prefetchCount: 2, global: false }).send(1, CONSUME)
  for (let i = 0; i < 5; i++) both.publish(1, { routingKey: 'q' }, `m${i}`)
  const tags = async (): Promise<number[]> =>
    (await both.methods()).flatMap((method) => (method.name === 'basic.deliver' ? [method.deliveryTag] : []))
  expect(await tags()).toEqual([1, 2])
  both.send(1, { name: 'basic.ack', deliveryTag: 2, multiple: true })
  expect(await tags()).toEqual([3, 4])
})

test('a consumer whose socket is stuck pauses, and goes on when it drains', async () => {
  const { client, clock, engine } = await setting()
  const publisher = await (await client().open()).declare('q')
  const consumer = await client().open()
  consumer.send(1, CONSUME)
  await consumer.next('basic.consume-ok')
  consumer.wire.stick()
  for (let i = 0; i < 20; i++) publisher.publish(1, { routingKey: 'q' }, new Uint8Array(128 * 1024 - 8))
  await clock.settle()
  const queue = engine.vhost('/')!.queue('q')!
  expect(queue.ready).toBeGreaterThan(5)
  consumer.wire.unstick()
  await clock.settle()
  expect(queue.ready).toBe(0)
})

test('a client that asks and does not read the answers is not heard until it has read them', async () => {
  const { client, engine } = await setting()
  const asker = await (await client().open()).declare('q')
  asker.publish(1, { routingKey: 'q' }, new Uint8Array(100_000))
  await asker.methods()
  asker.wire.stick()
  for (let i = 0; i < 300; i++) {
    asker.send(1, { name: 'basic.get', queue: 'q', noAck: false })
    asker.send(1, { name: 'basic.nack', deliveryTag: 0, multiple: true, requeue: true })
  }
  await asker.clock.settle()
  const { backlogBytesHigh, messageBytesMax } = SESSION_LIMITS
  expect(asker.wire.backlog).toBeLessThan(backlogBytesHigh + messageBytesMax + 1024 * 1024)
  expect(asker.wire.paused).toBe(true)
  const answers = async (): Promise<number> =>
    (await asker.methods()).filter((method) => method.name === 'basic.get-ok').length
  let answered = 0
  for (let i = 0; i < 5; i++) {
    asker.wire.unstick()
    answered += await answers()
    asker.wire.stick()
  }
  expect(answered).toBe(300)
  expect(engine.vhost('/')!.queue('q')!.ready).toBe(1)
})

test('returns that a publisher does not read stop it from publishing', async () => {
  const { client } = await setting()
  const publisher = await client().open()
  publisher.wire.stick()
  for (let i = 0; i < 300; i++) {
    publisher.publish(1, { routingKey: 'nowhere', mandatory: true }, new Uint8Array(100_000))
  }
  await publisher.clock.settle()
  const { backlogBytesHigh, messageBytesMax } = SESSION_LIMITS
  expect(publisher.wire.backlog).toBeLessThan(backlogBytesHigh + messageBytesMax + 1024 * 1024)
  expect(publisher.wire.paused).toBe(true)
})

test('direct replies that a requester does not read are returned, not kept [RabbitMQ direct reply-to]', async () => {
  const { client } = await setting()
  const requester = await (await client().open()).declare('requests')
  requester.send(1, { ...CONSUME, queue: 'amq.rabbitmq.reply-to', noAck: true })
  requester.publish(1, { routingKey: 'requests' }, 'ask', { replyTo: 'amq.rabbitmq.reply-to' })
  await requester.methods()
  const server = await client().open()
  server.send(1, { name: 'basic.get', queue: 'requests', noAck: true })
  const [, header] = (await server.frames()).slice(-3)
  const { payload } = header!
  const { replyTo } = decodeProperties(payload, new DataView(payload.buffer), 12, payload.length)
  requester.wire.stick()
  for (let i = 0; i < 300; i++) server.publish(1, { routingKey: replyTo!, mandatory: true }, new Uint8Array(100_000))
  const returned = (await server.methods()).filter((method) => method.name === 'basic.return')
  const { backlogBytesHigh, messageBytesMax } = SESSION_LIMITS
  expect(requester.wire.backlog).toBeLessThan(backlogBytesHigh + messageBytesMax + 1024 * 1024)
  expect(returned.length).toBeGreaterThan(100)
})

test('a delivery that nobody settles goes back to its queue, and the late ack does no harm [consumer timeout]', async () => {
  const { client, clock, engine } = await setting()
  const args = new Map<string, Field>([['x-consumer-timeout', { type: 'I', value: 1000 }]])
  const slow = await (await client().open()).declare('q', { arguments: args })
  slow.send(1, { name: 'basic.qos', prefetchSize: 0, prefetchCount: 1, global: false }).send(1, CONSUME)
  slow.publish(1, { routingKey: 'q' }, 'x')
  await slow.next('basic.deliver')
  await clock.pass(1001)
  const queue = engine.vhost('/')!.queue('q')!
  expect(queue.ready).toBe(1)
  slow.send(1, { name: 'basic.ack', deliveryTag: 1, multiple: false })
  expect(await slow.next('basic.deliver')).toMatchObject({ deliveryTag: 2, redelivered: true })
})

test('what a lost connection held is delivered again, marked as a repeat [AMQP redelivered]', async () => {
  const { client } = await setting()
  const first = await (await client().open()).declare('q')
  first.send(1, CONSUME)
  first.publish(1, { routingKey: 'q' }, 'x')
  await first.next('basic.deliver')
  first.wire.disconnect()
  const second = await client().open()
  second.send(1, CONSUME)
  expect(await second.next('basic.deliver')).toMatchObject({ redelivered: true })
})

test('exclusive queues go with their connection and are locked to others [AMQP queue.declare]', async () => {
  const { client, engine } = await setting()
  const owner = await (await client().open()).declare('mine', { exclusive: true })
  const other = await client().open()
  other.send(1, { ...DECLARE, queue: 'mine', passive: true })
  expect(await other.next('channel.close')).toMatchObject({ replyCode: 405 })
  owner.wire.disconnect()
  expect(engine.vhost('/')!.queue('mine')).toBeUndefined()
})

test('a declare is answered only when it is on disk, and what follows waits in order [AMQP queue.declare]', async () => {
  const client = await (await setting()).client().open()
  client.send(1, { ...DECLARE, queue: 'q' }).send(1, { ...DECLARE, queue: 'q', passive: true })
  expect(client.wire.take()).toHaveLength(0)
  expect(client.wire.paused).toBe(true)
  expect((await client.methods()).map(({ name }) => name)).toEqual(['queue.declare-ok', 'queue.declare-ok'])
  expect(client.wire.paused).toBe(false)
})

test('a turn’s answers leave in one write', async () => {
  const client = await (await (await setting()).client().open()).declare('q')
  const before = client.wire.writes
  client.send(1, CONSUME).send(1, { name: 'basic.cancel', consumerTag: 'c', noWait: false })
  await client.methods()
  expect(client.wire.writes - before).toBe(1)
})
