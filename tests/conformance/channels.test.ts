import { expect, test } from 'vitest'
import { brokerUnderTest } from '../amqp/broker-under-test.ts'
import { worldOf } from '../amqp/world.ts'

const broker = await brokerUnderTest()
const world = worldOf(broker)

test('a closed channel number can be opened again [AMQP channel.close]', async () => {
  const client = await world.raw()
  await client.call(1, 'channel.close', { replyCode: 200 })
  await client.openChannel(1)
  await client.call(1, 'queue.declare', { exclusive: true })
})

test('what a client sends between the broker’s channel.close and its own close-ok is dropped [AMQP channel.close]', async () => {
  const client = await world.raw()
  const queue = world.name('late')
  client.send(1, 'queue.declare', { queue: 'missing-queue', passive: true })
  client.send(1, 'queue.declare', { queue })
  client.publish(1, { routingKey: queue }, {}, 'dropped')
  const close = await client.expect('channel.close', 1)
  expect(close.arguments['replyCode']).toBe(404)
  client.send(1, 'channel.close-ok')
  await client.openChannel(1)
  expect(await client.refused('queue.declare', { queue, passive: true })).toMatchObject({ code: 404 })
})

test('the error of one channel leaves the others of its connection alone [AMQP channel.close]', async () => {
  const client = await world.raw()
  await client.openChannel(2)
  expect(await client.refused('queue.declare', { queue: world.name('none'), passive: true })).toMatchObject({
    scope: 'channel',
  })
  await client.call(2, 'queue.declare', { exclusive: true })
})

test('channel.flow with active is answered; without, it is 540 NOT_IMPLEMENTED [AMQP channel.flow]', async () => {
  const client = await world.raw()
  expect((await client.call(1, 'channel.flow', { active: true })).arguments).toEqual({ active: true })
  expect(await client.refused('channel.flow', { active: false })).toMatchObject({ scope: 'connection', code: 540 })
})

test('access.request is answered with ticket 1 and means nothing [AMQP 0-8 access.request]', async () => {
  const client = await world.raw()
  expect((await client.call(1, 'access.request', { realm: '/data', active: true })).arguments).toEqual({ ticket: 1 })
})

test('basic.publish with immediate is 540 NOT_IMPLEMENTED [AMQP basic.publish]', async () => {
  const client = await world.raw()
  client.publish(1, { routingKey: 'x', immediate: true }, {}, 'now')
  expect(await client.closure()).toMatchObject({
    scope: 'connection',
    code: 540,
    text: expect.stringMatching(/^NOT_IMPLEMENTED - /),
  })
})

test('a prefetch size is 540 NOT_IMPLEMENTED [AMQP basic.qos]', async () => {
  const client = await world.raw()
  expect(await client.refused('basic.qos', { prefetchSize: 1000 })).toMatchObject({
    scope: 'connection',
    code: 540,
    method: [60, 10],
  })
})

test('basic.recover without requeue is 540 NOT_IMPLEMENTED [AMQP basic.recover]', async () => {
  const client = await world.raw()
  expect(await client.refused('basic.recover', { requeue: false })).toMatchObject({ scope: 'connection', code: 540 })
})

test('a missing queue is 404 NOT_FOUND on the channel [AMQP queue.declare passive]', async () => {
  const client = await world.raw()
  const queue = world.name('missing')
  const text = `NOT_FOUND - no queue '${queue}' in vhost '/'`
  const closure = (method: [number, number]): object => ({ scope: 'channel', code: 404, text, method })
  expect(await client.refused('queue.declare', { queue, passive: true })).toEqual(closure([50, 10]))
  expect(await client.refused('queue.bind', { queue, exchange: 'amq.direct', routingKey: 'k' })).toEqual(
    closure([50, 20]),
  )
  expect(await client.refused('queue.purge', { queue })).toEqual(closure([50, 30]))
  expect(await client.refused('basic.consume', { queue })).toEqual(closure([60, 20]))
  expect(await client.refused('basic.get', { queue })).toEqual(closure([60, 70]))
})

test('a missing exchange is 404 NOT_FOUND on the channel [AMQP exchange.declare passive]', async () => {
  const client = await world.raw()
  const exchange = world.name('missing')
  const { arguments: declared } = await client.call(1, 'queue.declare', { exclusive: true })
  const text = `NOT_FOUND - no exchange '${exchange}' in vhost '/'`
  const closure = (method: [number, number]): object => ({ scope: 'channel', code: 404, text, method })
  expect(await client.refused('exchange.declare', { exchange, passive: true })).toEqual(closure([40, 10]))
  expect(await client.refused('queue.bind', { queue: declared['queue'], exchange })).toEqual(closure([50, 20]))
  const unknown = world.name('unknown')
  expect(await client.refused('queue.bind', { queue: unknown, exchange })).toEqual(closure([50, 20]))
  expect(await client.refused('exchange.bind', { destination: exchange, source: 'amq.direct' })).toEqual(
    closure([40, 30]),
  )
  client.publish(1, { exchange, routingKey: 'x' }, {}, 'lost')
  expect(await client.closure()).toEqual(closure([60, 40]))
})

test('deleting a queue or exchange that does not exist succeeds [RabbitMQ idempotent delete]', async () => {
  const client = await world.raw()
  expect((await client.call(1, 'queue.delete', { queue: world.name('none') })).arguments).toEqual({ messageCount: 0 })
  await client.call(1, 'exchange.delete', { exchange: world.name('none') })
})

test('cancelling a consumer that does not exist succeeds [AMQP basic.cancel]', async () => {
  const client = await world.raw()
  expect((await client.call(1, 'basic.cancel', { consumerTag: 'ghost' })).arguments).toEqual({ consumerTag: 'ghost' })
})

test.each(['ack', 'nack', 'reject'])(
  'basic.%s of an unknown delivery tag is 406 PRECONDITION_FAILED [AMQP basic.ack]',
  async (verb) => {
    const client = await world.raw()
    expect(await client.refused(`basic.${verb}`, { deliveryTag: 7 })).toMatchObject({
      scope: 'channel',
      code: 406,
      text: 'PRECONDITION_FAILED - unknown delivery tag 7',
    })
  },
)

test('acknowledging the same delivery twice is 406 PRECONDITION_FAILED [AMQP basic.ack]', async () => {
  const client = await world.raw()
  const queue = world.name('twice')
  await client.call(1, 'queue.declare', { queue, autoDelete: true })
  client.publish(1, { routingKey: queue }, {}, 'once')
  client.send(1, 'basic.get', { queue })
  await client.content('basic.get-ok')
  client.send(1, 'basic.ack', { deliveryTag: 1 })
  expect(await client.refused('basic.ack', { deliveryTag: 1 })).toMatchObject({ code: 406 })
})

test('a queue exclusive to another connection is 405 RESOURCE_LOCKED [AMQP queue.declare exclusive]', async () => {
  const [owner, other] = [await world.raw(), await world.raw()]
  const queue = world.name('mine')
  await owner.call(1, 'queue.declare', { queue, exclusive: true })
  for (const [name, values] of [
    ['queue.declare', { queue, exclusive: true }],
    ['queue.declare', { queue, passive: true }],
    ['queue.bind', { queue, exchange: 'amq.direct', routingKey: 'k' }],
    ['queue.purge', { queue }],
    ['queue.delete', { queue }],
    ['basic.consume', { queue }],
    ['basic.get', { queue }],
  ] as const) {
    const closure = await other.refused(name, values)
    expect(closure, name).toMatchObject({ scope: 'channel', code: 405 })
    expect(closure.text).toContain(
      `RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '${queue}' in vhost '/'`,
    )
  }
})

test('names that begin with amq. are reserved: 403 ACCESS_REFUSED [AMQP 2.1.2.1]', async () => {
  const client = await world.raw()
  expect(await client.refused('queue.declare', { queue: 'amq.mine' })).toMatchObject({
    scope: 'channel',
    code: 403,
    text: "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'",
  })
  expect(await client.refused('exchange.declare', { exchange: 'amq.mine', type: 'direct' })).toMatchObject({
    scope: 'channel',
    code: 403,
    text: "ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'",
  })
  expect(await client.refused('exchange.delete', { exchange: 'amq.direct' })).toMatchObject({
    scope: 'channel',
    code: 403,
  })
})

test('the default exchange can be neither declared, deleted nor bound: 403 ACCESS_REFUSED [AMQP 3.1.3.1]', async () => {
  const client = await world.raw()
  const { arguments: declared } = await client.call(1, 'queue.declare', { exclusive: true })
  const refused = {
    scope: 'channel',
    code: 403,
    text: 'ACCESS_REFUSED - operation not permitted on the default exchange',
  }
  expect(await client.refused('exchange.declare', { exchange: '', type: 'direct' })).toMatchObject(refused)
  expect(await client.refused('exchange.delete', { exchange: '' })).toMatchObject(refused)
  expect(await client.refused('queue.bind', { queue: declared['queue'], exchange: '', routingKey: 'k' })).toMatchObject(
    refused,
  )
  expect(
    await client.refused('queue.unbind', { queue: declared['queue'], exchange: '', routingKey: 'k' }),
  ).toMatchObject(refused)
  expect(await client.refused('exchange.bind', { destination: 'amq.direct', source: '' })).toMatchObject(refused)
})

test('consuming beside an exclusive consumer is 403 ACCESS_REFUSED [AMQP basic.consume exclusive]', async () => {
  const client = await world.raw()
  const queue = world.name('alone')
  await client.call(1, 'queue.declare', { queue, autoDelete: true })
  await client.openChannel(2)
  await client.call(1, 'basic.consume', { queue, exclusive: true })
  const refused = {
    scope: 'channel',
    code: 403,
    text: `ACCESS_REFUSED - queue '${queue}' in vhost '/' in exclusive use`,
  }
  expect(await client.refused('basic.consume', { queue }, 2)).toMatchObject(refused)
})

test('an exclusive consumer beside another is 403 ACCESS_REFUSED [AMQP basic.consume exclusive]', async () => {
  const client = await world.raw()
  const queue = world.name('shared')
  await client.call(1, 'queue.declare', { queue, autoDelete: true })
  await client.openChannel(2)
  await client.call(1, 'basic.consume', { queue })
  expect(await client.refused('basic.consume', { queue, exclusive: true }, 2)).toMatchObject({
    scope: 'channel',
    code: 403,
  })
})

test('a consumer tag that is in use on the channel is 530 NOT_ALLOWED [AMQP basic.consume]', async () => {
  const client = await world.raw()
  const queue = world.name('tags')
  await client.call(1, 'queue.declare', { queue, exclusive: true })
  await client.call(1, 'basic.consume', { queue, consumerTag: 'me' })
  expect(await client.refused('basic.consume', { queue, consumerTag: 'me' })).toMatchObject({
    scope: 'connection',
    code: 530,
    text: "NOT_ALLOWED - attempt to reuse consumer tag 'me'",
  })
})

test('a type of exchange that nobody knows is 503 COMMAND_INVALID [AMQP exchange.declare]', async () => {
  const client = await world.raw()
  expect(await client.refused('exchange.declare', { exchange: world.name('odd'), type: 'nonsense' })).toMatchObject({
    scope: 'connection',
    code: 503,
    text: expect.stringMatching(/^COMMAND_INVALID - .*exchange type 'nonsense'/),
  })
})

test.each([
  ['tx.select', 'confirm.select', 'PRECONDITION_FAILED - cannot switch from tx to confirm mode'],
  ['confirm.select', 'tx.select', 'PRECONDITION_FAILED - cannot switch from confirm to tx mode'],
])('%s and then %s is 406 PRECONDITION_FAILED [RabbitMQ confirms]', async (first, second, text) => {
  const client = await world.raw()
  await client.call(1, first, {})
  expect(await client.refused(second, {})).toMatchObject({ scope: 'channel', code: 406, text })
})

test.each(['tx.commit', 'tx.rollback'])(
  '%s outside a transaction is 406 PRECONDITION_FAILED [AMQP tx]',
  async (name) => {
    const client = await world.raw()
    const refused = { scope: 'channel', code: 406, text: 'PRECONDITION_FAILED - channel is not transactional' }
    expect(await client.refused(name, {})).toMatchObject(refused)
  },
)

test('queue.delete with if-unused and if-empty is 406 when it is not [AMQP queue.delete]', async () => {
  const client = await world.raw()
  const queue = world.name('busy')
  await client.call(1, 'queue.declare', { queue })
  await client.call(1, 'confirm.select', {})
  client.publish(1, { routingKey: queue }, {}, 'here')
  await client.expect('basic.ack')
  expect(await client.refused('queue.delete', { queue, ifEmpty: true })).toMatchObject({
    scope: 'channel',
    code: 406,
    text: `PRECONDITION_FAILED - queue '${queue}' in vhost '/' not empty`,
  })
  await client.openChannel(2)
  await client.call(2, 'basic.qos', { prefetchCount: 1 })
  await client.call(2, 'basic.consume', { queue })
  expect(await client.refused('queue.delete', { queue, ifUnused: true })).toMatchObject({
    scope: 'channel',
    code: 406,
    text: `PRECONDITION_FAILED - queue '${queue}' in vhost '/' in use`,
  })
})

test('exchange.delete with if-unused is 406 while something is bound [AMQP exchange.delete]', async () => {
  const client = await world.raw()
  const exchange = world.name('bound')
  await client.call(1, 'exchange.declare', { exchange, type: 'direct' })
  const { arguments: declared } = await client.call(1, 'queue.declare', { exclusive: true })
  await client.call(1, 'queue.bind', { queue: declared['queue'], exchange, routingKey: 'k' })
  expect(await client.refused('exchange.delete', { exchange, ifUnused: true })).toMatchObject({
    scope: 'channel',
    code: 406,
    text: `PRECONDITION_FAILED - exchange '${exchange}' in vhost '/' in use`,
  })
  await client.call(1, 'queue.unbind', { queue: declared['queue'], exchange, routingKey: 'k' })
  await client.call(1, 'exchange.delete', { exchange, ifUnused: true })
})

test.each(['soon', '-1', '1.5'])(
  'an expiration of "%s" is 406 PRECONDITION_FAILED [RabbitMQ per-message TTL]',
  async (expiration) => {
    const client = await world.raw()
    client.publish(1, { routingKey: 'x' }, { expiration }, 'x')
    expect(await client.closure()).toMatchObject({
      scope: 'channel',
      code: 406,
      text: expect.stringMatching(/^PRECONDITION_FAILED - invalid expiration '/),
    })
  },
)

test('a user-id that is not the connection’s is 406 PRECONDITION_FAILED [RabbitMQ validated user-id]', async () => {
  const client = await world.raw()
  client.publish(1, { routingKey: 'x' }, { userId: 'guest' }, 'mine')
  client.publish(1, { routingKey: 'x' }, { userId: 'somebody' }, 'forged')
  expect(await client.closure()).toMatchObject({
    scope: 'channel',
    code: 406,
    text: "PRECONDITION_FAILED - user_id property set to 'somebody' but authenticated user was 'guest'",
  })
})

test('an empty queue name is the queue declared last on the channel, and 404 when there is none [AMQP queue.bind]', async () => {
  const client = await world.raw()
  for (const [name, values] of [
    ['queue.bind', { exchange: 'amq.direct', routingKey: 'k' }],
    ['queue.purge', {}],
    ['queue.delete', {}],
    ['basic.consume', {}],
    ['basic.get', {}],
  ] as const) {
    expect(await client.refused(name, values), name).toMatchObject({
      scope: 'channel',
      code: 404,
      text: 'NOT_FOUND - no previously declared queue',
    })
  }
  const queue = world.name('last')
  await client.call(1, 'queue.declare', { queue, exclusive: true })
  await client.call(1, 'queue.bind', { exchange: 'amq.direct' })
  client.publish(1, { exchange: 'amq.direct', routingKey: queue }, {}, 'by name')
  client.send(1, 'basic.get', { noAck: true })
  expect((await client.content('basic.get-ok')).body.toString()).toBe('by name')
  await client.call(1, 'queue.purge', {})
  await client.call(1, 'basic.consume', {})
})

test('carriage returns and line feeds are stripped from names [RabbitMQ names]', async () => {
  const client = await world.raw()
  const queue = world.name('line')
  const declared = await client.call(1, 'queue.declare', { queue: `${queue}\r\n`, exclusive: true })
  expect(declared.arguments['queue']).toBe(queue)
  const exchange = world.name('line')
  await client.call(1, 'exchange.declare', { exchange: `${exchange}\n`, type: 'fanout', autoDelete: true })
  await client.call(1, 'exchange.declare', { exchange, passive: true })
})

test('delivery tags count from 1 on each channel [AMQP 4.6]', async () => {
  const client = await world.raw()
  const queue = world.name('tags')
  await client.call(1, 'queue.declare', { queue, exclusive: true })
  await client.openChannel(2)
  for (let i = 0; i < 4; i++) client.publish(1, { routingKey: queue }, {}, `${i}`)
  await client.call(1, 'channel.flow', { active: true })
  for (const [channel, tag] of [
    [1, 1],
    [2, 1],
    [1, 2],
    [2, 2],
  ] as const) {
    client.send(channel, 'basic.get', { queue })
    expect((await client.content('basic.get-ok', channel)).arguments['deliveryTag']).toBe(tag)
  }
})

test('methods with no-wait are not answered [AMQP nowait]', async () => {
  const client = await world.raw()
  const [queue, exchange] = [world.name('silent'), world.name('silent')]
  client.send(1, 'exchange.declare', { exchange, type: 'direct', autoDelete: true, nowait: true })
  client.send(1, 'queue.declare', { queue, exclusive: true, nowait: true })
  client.send(1, 'queue.bind', { queue, exchange, routingKey: 'k', nowait: true })
  client.send(1, 'confirm.select', { nowait: true })
  client.send(1, 'basic.consume', { queue, consumerTag: 'quiet', noAck: true, nowait: true })
  client.publish(1, { exchange, routingKey: 'k' }, {}, 'heard')
  const seen: string[] = []
  while (!(seen.includes('basic.deliver') && seen.includes('basic.ack'))) {
    const { method } = await client.next()
    if (method !== null) seen.push(method.name)
  }
  expect(seen.toSorted()).toEqual(['basic.ack', 'basic.deliver'])
  client.send(1, 'basic.cancel', { consumerTag: 'quiet', nowait: true })
  client.send(1, 'queue.purge', { queue, nowait: true })
  client.send(1, 'queue.delete', { queue, nowait: true })
  expect(await client.refused('queue.declare', { queue, passive: true })).toMatchObject({ code: 404 })
})
