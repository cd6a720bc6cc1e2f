import { expect, test } from 'vitest'
import { brokerUnderTest, onlyOnStathmos } from '../amqp/broker-under-test.ts'
import { drain, eventually, take, timePasses, worldOf } from '../amqp/world.ts'

const broker = await brokerUnderTest()
const world = worldOf(broker)

test('a queue without a name gets one of the broker’s, amq.gen-…, each time another [AMQP queue.declare]', async () => {
  const channel = await world.channel()
  const first = await channel.assertQueue('', { exclusive: true })
  const second = await channel.assertQueue('', { exclusive: true })
  expect(first.queue).toMatch(/^amq\.gen-/)
  expect(second.queue).toMatch(/^amq\.gen-/)
  expect(second.queue).not.toBe(first.queue)
  await channel.checkQueue(first.queue)
})

test('queue.declare-ok counts ready messages and consumers [AMQP queue.declare-ok]', async () => {
  const channel = await world.confirmChannel()
  const queue = world.name('counted')
  expect(await channel.assertQueue(queue, { autoDelete: true })).toEqual({ queue, messageCount: 0, consumerCount: 0 })
  for (let i = 0; i < 3; i++) channel.sendToQueue(queue, Buffer.from('x'))
  await channel.waitForConfirms()
  expect(await channel.checkQueue(queue)).toEqual({ queue, messageCount: 3, consumerCount: 0 })
  await channel.get(queue)
  expect(await channel.checkQueue(queue)).toMatchObject({ messageCount: 2 })
  await channel.consume(queue, () => {})
  expect(await channel.assertQueue(queue, { autoDelete: true })).toEqual({ queue, messageCount: 0, consumerCount: 1 })
})

test('purging drops what is ready, counts it, and leaves what is in somebody’s hands [AMQP queue.purge]', async () => {
  const channel = await world.confirmChannel()
  const queue = world.name('purged')
  await channel.assertQueue(queue)
  for (let i = 0; i < 5; i++) channel.sendToQueue(queue, Buffer.from(`${i}`))
  await channel.waitForConfirms()
  const held = await channel.get(queue)
  expect(await channel.purgeQueue(queue)).toEqual({ messageCount: 4 })
  if (held !== false) channel.nack(held)
  expect(await drain(channel, queue)).toEqual(['0'])
  await channel.deleteQueue(queue)
})

test('deleting counts the ready messages that went with it [AMQP queue.delete-ok]', async () => {
  const channel = await world.confirmChannel()
  const queue = world.name('deleted')
  await channel.assertQueue(queue)
  for (let i = 0; i < 3; i++) channel.sendToQueue(queue, Buffer.from('x'))
  await channel.waitForConfirms()
  expect(await channel.deleteQueue(queue)).toEqual({ messageCount: 3 })
})

test('an exclusive queue goes with its connection, whatever channel declared it [AMQP queue.declare exclusive]', async () => {
  const connection = await world.connection()
  const queue = world.name('mine')
  const declaring = await connection.createChannel()
  await declaring.assertQueue(queue, { exclusive: true, durable: true })
  await declaring.close()
  const other = await connection.createChannel()
  await other.checkQueue(queue)
  await connection.close()
  const probe = await world.raw()
  expect(
    await eventually(async () => {
      const closure = await probe.refused('queue.declare', { queue, passive: true })
      return closure.code === 404 && closure.code
    }),
  ).toBe(404)
})

test('an auto-delete queue goes with its last consumer, not before it had one [AMQP queue.declare auto-delete]', async () => {
  const channel = await world.channel()
  const queue = world.name('temporary')
  await channel.assertQueue(queue, { autoDelete: true })
  await channel.checkQueue(queue)
  const one = await channel.consume(queue, () => {})
  const two = await channel.consume(queue, () => {})
  await channel.cancel(one.consumerTag)
  await channel.checkQueue(queue)
  await channel.cancel(two.consumerTag)
  const probe = await world.raw()
  expect(await probe.refused('queue.declare', { queue, passive: true })).toMatchObject({ code: 404 })
})

test('an auto-delete queue goes when the channel of its last consumer closes [AMQP queue.declare auto-delete]', async () => {
  const channel = await world.channel()
  const queue = world.name('temporary')
  await channel.assertQueue(queue, { autoDelete: true })
  await channel.consume(queue, () => {})
  await channel.close()
  const probe = await world.raw()
  expect(
    await eventually(async () => (await probe.refused('queue.declare', { queue, passive: true })).code === 404),
  ).toBe(true)
})

const inequivalences: [string, object, object, string][] = [
  [
    'durable',
    {},
    { durable: true },
    "inequivalent arg 'durable' for queue '@' in vhost '/': received 'true' but current is 'false'",
  ],
  [
    'auto_delete',
    {},
    { autoDelete: true },
    "inequivalent arg 'auto_delete' for queue '@' in vhost '/': received 'true' but current is 'false'",
  ],
  [
    'x-message-ttl (was 1, now none)',
    { arguments: { 'x-message-ttl': 1 } },
    {},
    "inequivalent arg 'x-message-ttl' for queue '@' in vhost '/': received none but current is the value '1' of type 'signedint'",
  ],
  [
    'x-message-ttl (was none, now 1)',
    {},
    { arguments: { 'x-message-ttl': 1 } },
    "inequivalent arg 'x-message-ttl' for queue '@' in vhost '/': received the value '1' of type 'signedint' but current is none",
  ],
  [
    'x-message-ttl (was 1, now 2)',
    { arguments: { 'x-message-ttl': 1 } },
    { arguments: { 'x-message-ttl': 2 } },
    "inequivalent arg 'x-message-ttl' for queue '@' in vhost '/': received '2' but current is '1'",
  ],
  [
    'x-max-length',
    { arguments: { 'x-max-length': 10 } },
    { arguments: { 'x-max-length': 11 } },
    "inequivalent arg 'x-max-length' for queue '@' in vhost '/': received '11' but current is '10'",
  ],
  [
    'x-overflow',
    { arguments: { 'x-overflow': 'drop-head' } },
    { arguments: { 'x-overflow': 'reject-publish' } },
    "inequivalent arg 'x-overflow' for queue '@' in vhost '/': received 'reject-publish' but current is 'drop-head'",
  ],
  [
    'x-dead-letter-exchange',
    {},
    { arguments: { 'x-dead-letter-exchange': 'dead' } },
    "inequivalent arg 'x-dead-letter-exchange' for queue '@' in vhost '/': received the value 'dead' of type 'longstr' but current is none",
  ],
  [
    'x-max-priority',
    { arguments: { 'x-max-priority': 3 } },
    {},
    "inequivalent arg 'x-max-priority' for queue '@' in vhost '/': received none but current is the value '3' of type 'signedint'",
  ],
  [
    'x-single-active-consumer',
    { arguments: { 'x-single-active-consumer': true } },
    {},
    "inequivalent arg 'x-single-active-consumer' for queue '@' in vhost '/': received none but current is the value 'true' of type 'bool'",
  ],
]

test.each(inequivalences)(
  'declaring a queue again with another %s is 406 PRECONDITION_FAILED [RabbitMQ equivalence]',
  async (_field, first, second, text) => {
    const client = await world.raw()
    const queue = world.name('same')
    await client.call(1, 'queue.declare', { queue, ...first })
    await client.call(1, 'queue.declare', { queue, ...first })
    const closure = await client.refused('queue.declare', { queue, ...second })
    await client.call(1, 'queue.delete', { queue })
    expect(closure).toEqual({
      scope: 'channel',
      code: 406,
      text: `PRECONDITION_FAILED - ${text.replace('@', queue)}`,
      method: [50, 10],
    })
  },
)

test('declaring an exclusive queue again as shared, on its own connection, is refused [RabbitMQ equivalence]', async () => {
  const client = await world.raw()
  const queue = world.name('same')
  await client.call(1, 'queue.declare', { queue, exclusive: true })
  const closure = await client.refused('queue.declare', { queue })
  expect(closure.scope).toBe('channel')
  expect([405, 406]).toContain(closure.code)
})

test('numbers of any AMQP type are equal by value [RabbitMQ equivalence]', async () => {
  const client = await world.raw()
  const queue = world.name('numbers')
  for (const type of ['I', 'l', 's', 'u', 'i', 'b', 'B']) {
    await client.call(1, 'queue.declare', {
      queue,
      exclusive: true,
      arguments: { 'x-message-ttl': { type, value: 100 } },
    })
  }
})

test('arguments that nobody knows are accepted and not compared [RabbitMQ equivalence]', async () => {
  const client = await world.raw()
  const queue = world.name('unknown')
  await client.call(1, 'queue.declare', { queue, exclusive: true, arguments: { 'x-unheard-of': 1 } })
  await client.call(1, 'queue.declare', { queue, exclusive: true, arguments: { 'x-unheard-of': 2 } })
  await client.call(1, 'queue.declare', { queue, exclusive: true })
})

test.each([
  ['x-message-ttl', -1],
  ['x-message-ttl', 'soon'],
  ['x-expires', 0],
  ['x-expires', 'never'],
  ['x-max-length', -1],
  ['x-max-length', 'long'],
  ['x-max-length-bytes', -5],
  ['x-max-priority', 256],
  ['x-max-priority', -1],
  ['x-overflow', 'spill'],
  ['x-dead-letter-exchange', 7],
  ['x-dead-letter-routing-key', 7],
  ['x-single-active-consumer', 'yes'],
  ['x-queue-type', 'spiral'],
])('the argument %s = %j is 406 PRECONDITION_FAILED [RabbitMQ queue arguments]', async (name, value) => {
  const client = await world.raw()
  const closure = await client.refused('queue.declare', { queue: world.name('bad'), arguments: { [name]: value } })
  expect(closure).toMatchObject({ scope: 'channel', code: 406 })
  expect(closure.text).toMatch(/^PRECONDITION_FAILED - /)
  expect(closure.text).toContain(name === 'x-queue-type' ? 'spiral' : name)
})

test('an invalid argument is named with its queue and its value [RabbitMQ queue arguments]', async () => {
  const client = await world.raw()
  const queue = world.name('bad')
  expect((await client.refused('queue.declare', { queue, arguments: { 'x-message-ttl': -1 } })).text).toMatch(
    `PRECONDITION_FAILED - invalid arg 'x-message-ttl' for queue '${queue}' in vhost '/': `,
  )
})

test('a dead-letter key without a dead-letter exchange is 406 PRECONDITION_FAILED [RabbitMQ queue arguments]', async () => {
  const client = await world.raw()
  const declare = { queue: world.name('bad'), arguments: { 'x-dead-letter-routing-key': 'k' } }
  expect(await client.refused('queue.declare', declare)).toMatchObject({ scope: 'channel', code: 406 })
})

test('the queue types classic and quorum are accepted with the arguments that place replicas [RabbitMQ x-queue-type]', async () => {
  const client = await world.raw()
  const classic = { queue: world.name('classic'), exclusive: true, arguments: { 'x-queue-type': 'classic' } }
  await client.call(1, 'queue.declare', classic)
  const queue = world.name('quorum')
  await client.call(1, 'queue.declare', {
    queue,
    durable: true,
    arguments: { 'x-queue-type': 'quorum', 'x-quorum-initial-group-size': 3, 'x-queue-leader-locator': 'client-local' },
  })
  await client.call(1, 'queue.delete', { queue })
})

test('an exclusive or transient quorum queue is 406 PRECONDITION_FAILED [RabbitMQ quorum queues]', async () => {
  const client = await world.raw()
  const quorum = { arguments: { 'x-queue-type': 'quorum' } }
  expect(await client.refused('queue.declare', { queue: world.name('q'), ...quorum })).toMatchObject({ code: 406 })
  expect(
    await client.refused('queue.declare', { queue: world.name('q'), durable: true, exclusive: true, ...quorum }),
  ).toMatchObject({ code: 406 })
})

test('an argument of another queue type is 406 PRECONDITION_FAILED [RabbitMQ queue arguments]', async () => {
  const client = await world.raw()
  const queue = world.name('mixed')
  const closure = await client.refused('queue.declare', {
    queue,
    durable: true,
    arguments: { 'x-queue-type': 'quorum', 'x-max-priority': 3 },
  })
  expect(closure).toMatchObject({ scope: 'channel', code: 406 })
  expect(closure.text).toMatch(
    `PRECONDITION_FAILED - invalid arg 'x-max-priority' for queue '${queue}' in vhost '/' of queue type`,
  )
})

test('a message outlives its queue’s x-message-ttl nowhere: it is never delivered [RabbitMQ x-message-ttl]', async () => {
  const channel = await world.channel()
  const { queue } = await channel.assertQueue('', { exclusive: true, messageTtl: 40 })
  channel.sendToQueue(queue, Buffer.from('short-lived'))
  await eventually(async () => (await channel.checkQueue(queue)).messageCount === 0)
  expect(await take(channel, queue)).toBe(false)
})

test('the lower of the queue’s and the message’s time to live counts [RabbitMQ per-message TTL]', async () => {
  const channel = await world.channel()
  const { queue } = await channel.assertQueue('', { exclusive: true, messageTtl: 60_000 })
  channel.sendToQueue(queue, Buffer.from('message'), { expiration: '30' })
  await eventually(async () => (await channel.checkQueue(queue)).messageCount === 0)
  const short = await channel.assertQueue('', { exclusive: true, messageTtl: 30 })
  channel.sendToQueue(short.queue, Buffer.from('queue'), { expiration: '60000' })
  await eventually(async () => (await channel.checkQueue(short.queue)).messageCount === 0)
})

test('a time to live of 0 is delivered to a consumer that is ready, or expires [RabbitMQ x-message-ttl]', async () => {
  const channel = await world.confirmChannel()
  const { queue } = await channel.assertQueue('', { exclusive: true, messageTtl: 0 })
  channel.sendToQueue(queue, Buffer.from('nobody is there'))
  await channel.waitForConfirms()
  expect(await take(channel, queue)).toBe(false)
  const received = new Promise((resolve) => void channel.consume(queue, resolve, { noAck: true }))
  await channel.checkQueue(queue)
  channel.sendToQueue(queue, Buffer.from('somebody is'))
  expect(await received).toMatchObject({ content: Buffer.from('somebody is') })
})

test(
  'a message behind one that lives longer expires in its own time [Stathmos: expiry anywhere]',
  onlyOnStathmos(broker, 'RabbitMQ expires at the head of a queue only'),
  async () => {
    const channel = await world.channel()
    const { queue } = await channel.assertQueue('', { exclusive: true })
    channel.sendToQueue(queue, Buffer.from('long'), { expiration: '60000' })
    channel.sendToQueue(queue, Buffer.from('short'), { expiration: '30' })
    await eventually(async () => (await channel.checkQueue(queue)).messageCount === 1)
    expect(await drain(channel, queue)).toEqual(['long'])
  },
)

test('what is in a consumer’s hands does not expire; once requeued it does, by its first deadline [RabbitMQ TTL]', async () => {
  const channel = await world.channel()
  const { queue } = await channel.assertQueue('', { exclusive: true })
  channel.sendToQueue(queue, Buffer.from('held'), { expiration: '150' })
  channel.sendToQueue(queue, Buffer.from('clock'), { expiration: '150' })
  const held = await channel.get(queue)
  if (held === false) throw new Error('the message is not there')
  await eventually(async () => (await channel.checkQueue(queue)).messageCount === 0)
  channel.nack(held, false, true)
  expect(await take(channel, queue)).toBe(false)
})

test('x-expires deletes a queue that nobody has used for that long [RabbitMQ x-expires]', async () => {
  const channel = await world.channel()
  const probe = await world.raw()
  const [queue, used] = [world.name('fleeting'), world.name('used')]
  await channel.assertQueue(queue, { expires: 60 })
  await channel.assertQueue(used, { expires: 60 })
  await channel.consume(used, () => {})
  await timePasses(channel, 500)
  expect(await probe.refused('queue.declare', { queue, passive: true })).toMatchObject({ code: 404 })
  await channel.checkQueue(used)
})

test('looking at a queue is a use of it: its x-expires begins anew [RabbitMQ x-expires]', async () => {
  const channel = await world.channel()
  const queue = world.name('watched')
  const began = performance.now()
  await channel.assertQueue(queue, { expires: 1500 })
  while (performance.now() - began < 2500) {
    await channel.checkQueue(queue)
    await timePasses(channel, 100)
  }
  await channel.checkQueue(queue)
  await channel.deleteQueue(queue)
})

test('x-max-length drops from the head [RabbitMQ x-max-length]', async () => {
  const channel = await world.confirmChannel()
  const { queue } = await channel.assertQueue('', { exclusive: true, maxLength: 3 })
  for (let i = 1; i <= 5; i++) channel.sendToQueue(queue, Buffer.from(`${i}`))
  await channel.waitForConfirms()
  expect(await drain(channel, queue)).toEqual(['3', '4', '5'])
})

test('x-max-length counts ready messages only [RabbitMQ x-max-length]', async () => {
  const channel = await world.confirmChannel()
  const { queue } = await channel.assertQueue('', { exclusive: true, maxLength: 2 })
  channel.sendToQueue(queue, Buffer.from('held'))
  const held = await channel.get(queue)
  for (const text of ['1', '2']) channel.sendToQueue(queue, Buffer.from(text))
  await channel.waitForConfirms()
  expect((await channel.checkQueue(queue)).messageCount).toBe(2)
  if (held !== false) channel.ack(held)
  expect(await drain(channel, queue)).toEqual(['1', '2'])
})

test('x-max-length-bytes counts bodies [RabbitMQ x-max-length-bytes]', async () => {
  const channel = await world.confirmChannel()
  const { queue } = await channel.assertQueue('', { exclusive: true, arguments: { 'x-max-length-bytes': 100 } })
  const headers = { large: 'x'.repeat(200) }
  for (const text of ['a', 'b', 'c']) channel.sendToQueue(queue, Buffer.from(text.repeat(40)), { headers })
  await channel.waitForConfirms()
  expect((await drain(channel, queue)).map((text) => text[0])).toEqual(['b', 'c'])
})

test('x-overflow reject-publish refuses what comes when the queue is full: nack [RabbitMQ x-overflow]', async () => {
  const client = await world.raw()
  const queue = world.name('full')
  const limits = { 'x-max-length': 2, 'x-overflow': 'reject-publish' }
  await client.call(1, 'queue.declare', { queue, exclusive: true, arguments: limits })
  await client.call(1, 'confirm.select', {})
  const outcomes: string[] = []
  for (let i = 1; i <= 4; i++) {
    client.publish(1, { routingKey: queue }, {}, `${i}`)
    outcomes.push((await client.next()).method!.name)
  }
  expect(outcomes).toEqual(['basic.ack', 'basic.ack', 'basic.nack', 'basic.nack'])
  client.send(1, 'basic.get', { queue, noAck: true })
  expect((await client.content('basic.get-ok')).body.toString()).toBe('1')
})

test('x-overflow reject-publish-dlx refuses and dead-letters as well [RabbitMQ x-overflow]', async () => {
  const channel = await world.confirmChannel()
  const dead = await channel.assertQueue('', { exclusive: true })
  const { queue } = await channel.assertQueue('', {
    exclusive: true,
    maxLength: 1,
    deadLetterExchange: '',
    deadLetterRoutingKey: dead.queue,
    arguments: { 'x-overflow': 'reject-publish-dlx' },
  })
  channel.sendToQueue(queue, Buffer.from('first'))
  await channel.waitForConfirms()
  channel.sendToQueue(queue, Buffer.from('second'))
  await expect(channel.waitForConfirms()).rejects.toThrow('nack')
  expect(await drain(channel, queue)).toEqual(['first'])
  const letter = await eventually(() => channel.get(dead.queue, { noAck: true }))
  expect(letter.content.toString()).toBe('second')
  expect(letter.properties.headers?.['x-death']).toMatchObject([{ reason: 'maxlen', queue }])
})

test('a queue with x-max-priority delivers the higher priority first, equals in order [RabbitMQ x-max-priority]', async () => {
  const channel = await world.confirmChannel()
  const { queue } = await channel.assertQueue('', { exclusive: true, maxPriority: 5 })
  const sent: [string, number | undefined][] = [
    ['none', undefined],
    ['low-1', 1],
    ['high-1', 5],
    ['above', 200],
    ['low-2', 1],
    ['mid', 3],
    ['zero', 0],
  ]
  for (const [text, priority] of sent)
    channel.sendToQueue(queue, Buffer.from(text), priority === undefined ? {} : { priority })
  await channel.waitForConfirms()
  expect(await drain(channel, queue)).toEqual(['high-1', 'above', 'mid', 'low-1', 'low-2', 'none', 'zero'])
})

test('a priority means nothing to a queue without x-max-priority, and is kept [AMQP basic priority]', async () => {
  const channel = await world.confirmChannel()
  const { queue } = await channel.assertQueue('', { exclusive: true })
  channel.sendToQueue(queue, Buffer.from('first'), { priority: 1 })
  channel.sendToQueue(queue, Buffer.from('second'), { priority: 9 })
  await channel.waitForConfirms()
  const first = await channel.get(queue, { noAck: true })
  expect(first).toMatchObject({ content: Buffer.from('first'), properties: { priority: 1 } })
})

test('names may have 255 bytes and any characters [AMQP shortstr]', async () => {
  const client = await world.raw()
  for (const queue of ['é'.repeat(120) + world.name('').slice(0, 15), `with space/slash ${world.name('"quote"')}`]) {
    const declared = await client.call(1, 'queue.declare', { queue, exclusive: true })
    expect(declared.arguments['queue']).toBe(queue)
  }
})
