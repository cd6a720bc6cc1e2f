import { expect, test } from 'vitest'
import { brokerUnderTest } from '../amqp/broker-under-test.ts'
import { drain, take, worldOf } from '../amqp/world.ts'

const broker = await brokerUnderTest()
const world = worldOf(broker)

test.each([
  ['amq.direct', 'direct'],
  ['amq.fanout', 'fanout'],
  ['amq.topic', 'topic'],
  ['amq.headers', 'headers'],
  ['amq.match', 'headers'],
])('the exchange %s of type %s is there from the start [AMQP 3.1.3]', async (exchange, type) => {
  const client = await world.raw()
  await client.call(1, 'exchange.declare', { exchange, type, passive: true })
  await client.call(1, 'exchange.declare', { exchange, type, durable: true })
})

test('amq.rabbitmq.trace is internal: publishing to it is 403 [RabbitMQ firehose]', async () => {
  const client = await world.raw()
  await client.call(1, 'exchange.declare', { exchange: 'amq.rabbitmq.trace', type: 'topic', passive: true })
  client.publish(1, { exchange: 'amq.rabbitmq.trace', routingKey: 'x' }, {}, 'x')
  expect(await client.closure()).toMatchObject({ scope: 'channel', code: 403 })
})

test('the default exchange routes to the queue that the key names [AMQP 3.1.3.1]', async () => {
  const channel = await world.channel()
  const { queue } = await channel.assertQueue('', { exclusive: true })
  channel.publish('', queue, Buffer.from('straight'))
  expect(await take(channel, queue)).toBe('straight')
})

test('a direct exchange routes by the exact key, to every queue bound with it [AMQP 3.1.3.1]', async () => {
  const channel = await world.channel()
  const exchange = world.name('direct')
  await channel.assertExchange(exchange, 'direct', { autoDelete: true })
  const [a, b] = [
    await channel.assertQueue('', { exclusive: true }),
    await channel.assertQueue('', { exclusive: true }),
  ]
  await channel.bindQueue(a.queue, exchange, 'red')
  await channel.bindQueue(b.queue, exchange, 'red')
  await channel.bindQueue(b.queue, exchange, 'blue')
  for (const key of ['red', 'blue', 'Red', '']) channel.publish(exchange, key, Buffer.from(key))
  expect(await drain(channel, a.queue)).toEqual(['red'])
  expect(await drain(channel, b.queue)).toEqual(['red', 'blue'])
})

test('a queue bound twice by matching keys gets one copy [AMQP 3.1.3]', async () => {
  const channel = await world.channel()
  const exchange = world.name('topic')
  await channel.assertExchange(exchange, 'topic', { autoDelete: true })
  const { queue } = await channel.assertQueue('', { exclusive: true })
  for (const pattern of ['#', 'a.*', '*.b', 'a.b']) await channel.bindQueue(queue, exchange, pattern)
  channel.publish(exchange, 'a.b', Buffer.from('once'))
  expect(await drain(channel, queue)).toEqual(['once'])
})

test('a fanout exchange ignores the key [AMQP 3.1.3.2]', async () => {
  const channel = await world.channel()
  const exchange = world.name('fanout')
  await channel.assertExchange(exchange, 'fanout', { autoDelete: true })
  const queues = await Promise.all([1, 2, 3].map(() => channel.assertQueue('', { exclusive: true })))
  for (const { queue } of queues) await channel.bindQueue(queue, exchange, 'ignored')
  channel.publish(exchange, 'anything', Buffer.from('all'))
  for (const { queue } of queues) expect(await drain(channel, queue)).toEqual(['all'])
})

test.each([
  ['a.b.c', 'a.b.c', true],
  ['a.b.c', 'a.b', false],
  ['a.*.c', 'a.b.c', true],
  ['a.*.c', 'a.c', false],
  ['a.*.c', 'a.b.b.c', false],
  ['*', 'a', true],
  ['*', '', false],
  ['*', 'a.b', false],
  ['#', '', true],
  ['#', 'a.b.c', true],
  ['a.#', 'a', true],
  ['a.#', 'a.b.c', true],
  ['a.#', 'b.a', false],
  ['#.c', 'c', true],
  ['#.c', 'a.b.c', true],
  ['#.c', 'a.c.b', false],
  ['a.#.c', 'a.c', true],
  ['a.#.c', 'a.x.y.c', true],
  ['#.#', 'a', true],
  ['#.*', '', false],
  ['#.*', 'a', true],
  ['#.*.#', 'a.b', true],
  ['*.#', 'a', true],
  ['a..b', 'a..b', true],
  ['a.*.b', 'a..b', true],
  ['*.*', '.', true],
  ['a#', 'ab', false],
  ['a*', 'ab', false],
  ['A.b', 'a.b', false],
])('a topic binding "%s" and the key "%s": %s [AMQP 3.1.3.3]', async (pattern, key, matches) => {
  const channel = await world.channel()
  const exchange = world.name('topic')
  await channel.assertExchange(exchange, 'topic', { autoDelete: true })
  const { queue } = await channel.assertQueue('', { exclusive: true })
  await channel.bindQueue(queue, exchange, pattern)
  channel.publish(exchange, key, Buffer.from('hit'))
  expect(await take(channel, queue)).toBe(matches ? 'hit' : false)
})

test('an unbound topic pattern matches no more, its neighbours still do [AMQP queue.unbind]', async () => {
  const channel = await world.channel()
  const exchange = world.name('topic')
  await channel.assertExchange(exchange, 'topic')
  const { queue } = await channel.assertQueue('', { exclusive: true })
  for (const pattern of ['a.*', 'a.#', 'b.*']) await channel.bindQueue(queue, exchange, pattern)
  await channel.unbindQueue(queue, exchange, 'a.#')
  await channel.unbindQueue(queue, exchange, 'a.*')
  channel.publish(exchange, 'a.x', Buffer.from('gone'))
  channel.publish(exchange, 'b.x', Buffer.from('kept'))
  expect(await drain(channel, queue)).toEqual(['kept'])
  await channel.deleteExchange(exchange)
})

test.each([
  [{ 'x-match': 'all', color: 'red', size: 7 }, { color: 'red', size: 7, more: true }, true],
  [{ 'x-match': 'all', color: 'red', size: 7 }, { color: 'red' }, false],
  [{ 'x-match': 'all', color: 'red' }, { color: 'blue' }, false],
  [{ 'x-match': 'any', color: 'red', size: 7 }, { size: 7 }, true],
  [{ 'x-match': 'any', color: 'red', size: 7 }, { color: 'blue' }, false],
  [{ color: 'red' }, { color: 'red' }, true],
  [{ color: 'red', size: 7 }, { color: 'red' }, false],
  [{ 'x-match': 'all', 'x-color': 'red' }, { other: 1 }, true],
  [{ 'x-match': 'all-with-x', 'x-color': 'red' }, { other: 1 }, false],
  [{ 'x-match': 'all-with-x', 'x-color': 'red' }, { 'x-color': 'red' }, true],
  [{ 'x-match': 'any', 'x-color': 'red' }, { 'x-color': 'red' }, false],
  [{ 'x-match': 'any-with-x', 'x-color': 'red', size: 7 }, { 'x-color': 'red' }, true],
  [{ 'x-match': 'all' }, {}, true],
  [{ 'x-match': 'any' }, { a: 1 }, false],
])(
  'a headers binding %j and the headers %j: %s [AMQP 3.1.3.4; RabbitMQ all-with-x]',
  async (binding, headers, matches) => {
    const channel = await world.channel()
    const exchange = world.name('headers')
    await channel.assertExchange(exchange, 'headers', { autoDelete: true })
    const { queue } = await channel.assertQueue('', { exclusive: true })
    await channel.bindQueue(queue, exchange, '', binding)
    channel.publish(exchange, 'ignored', Buffer.from('hit'), { headers })
    expect(await take(channel, queue)).toBe(matches ? 'hit' : false)
  },
)

test('a headers binding on an empty value matches any value of that header [AMQP 3.1.3.4]', async () => {
  const client = await world.raw()
  const exchange = world.name('headers')
  await client.call(1, 'exchange.declare', { exchange, type: 'headers', autoDelete: true })
  const declared = await client.call(1, 'queue.declare', { exclusive: true })
  const queue = declared.arguments['queue']
  await client.call(1, 'queue.bind', { queue, exchange, arguments: { 'x-match': 'all', color: null } })
  client.publish(1, { exchange }, { headers: { size: 1 } }, 'without')
  client.publish(1, { exchange }, { headers: { color: 'any' } }, 'with')
  client.send(1, 'basic.get', { queue, noAck: true })
  expect((await client.content('basic.get-ok')).body.toString()).toBe('with')
})

test('an x-match that nobody knows is 406 PRECONDITION_FAILED [RabbitMQ headers exchange]', async () => {
  const client = await world.raw()
  const { arguments: declared } = await client.call(1, 'queue.declare', { exclusive: true })
  const bind = { queue: declared['queue'], exchange: 'amq.headers' }
  expect(await client.refused('queue.bind', { ...bind, arguments: { 'x-match': 'some' } })).toMatchObject({
    scope: 'channel',
    text: 'PRECONDITION_FAILED - Invalid x-match field value <<"some">>; expected all, any, all-with-x, or any-with-x',
  })
  expect(await client.refused('queue.bind', { ...bind, arguments: { 'x-match': 5 } })).toMatchObject({
    text: 'PRECONDITION_FAILED - Invalid x-match field type signedint (value 5); expected longstr',
  })
})

test('the same binding twice is one binding [AMQP queue.bind]', async () => {
  const channel = await world.channel()
  const exchange = world.name('direct')
  await channel.assertExchange(exchange, 'direct')
  const { queue } = await channel.assertQueue('', { exclusive: true })
  await channel.bindQueue(queue, exchange, 'k')
  await channel.bindQueue(queue, exchange, 'k')
  await channel.unbindQueue(queue, exchange, 'k')
  channel.publish(exchange, 'k', Buffer.from('nobody'))
  expect(await take(channel, queue)).toBe(false)
  await channel.deleteExchange(exchange)
})

test('unbinding what was never bound succeeds [RabbitMQ idempotent unbind]', async () => {
  const channel = await world.channel()
  const { queue } = await channel.assertQueue('', { exclusive: true })
  await channel.unbindQueue(queue, 'amq.direct', 'never')
})

test('exchanges bound to exchanges route on, round a cycle once [RabbitMQ exchange-to-exchange bindings]', async () => {
  const channel = await world.channel()
  const [first, second] = [world.name('first'), world.name('second')]
  await channel.assertExchange(first, 'direct')
  await channel.assertExchange(second, 'topic')
  await channel.bindExchange(second, first, 'a.b')
  await channel.bindExchange(first, second, '#')
  const { queue } = await channel.assertQueue('', { exclusive: true })
  await channel.bindQueue(queue, second, 'a.*')
  channel.publish(first, 'a.b', Buffer.from('through'))
  channel.publish(first, 'b.a', Buffer.from('stopped'))
  expect(await drain(channel, queue)).toEqual(['through'])
  await channel.unbindExchange(second, first, 'a.b')
  channel.publish(first, 'a.b', Buffer.from('cut'))
  expect(await drain(channel, queue)).toEqual([])
  await channel.deleteExchange(first)
  await channel.deleteExchange(second)
})

test('what an exchange cannot route goes to its alternate exchange, and on [RabbitMQ alternate-exchange]', async () => {
  const channel = await world.channel()
  const [main, middle, last] = [world.name('main'), world.name('middle'), world.name('last')]
  await channel.assertExchange(last, 'fanout')
  await channel.assertExchange(middle, 'direct', { alternateExchange: last })
  await channel.assertExchange(main, 'direct', { alternateExchange: middle })
  const [a, b, c] = await Promise.all([1, 2, 3].map(() => channel.assertQueue('', { exclusive: true })))
  await channel.bindQueue(a!.queue, main, 'main')
  await channel.bindQueue(b!.queue, middle, 'middle')
  await channel.bindQueue(c!.queue, last, '')
  for (const key of ['main', 'middle', 'neither']) channel.publish(main, key, Buffer.from(key))
  expect(await drain(channel, a!.queue)).toEqual(['main'])
  expect(await drain(channel, b!.queue)).toEqual(['middle'])
  expect(await drain(channel, c!.queue)).toEqual(['neither'])
  for (const exchange of [main, middle, last]) await channel.deleteExchange(exchange)
})

test('an alternate exchange that does not exist drops what it gets [RabbitMQ alternate-exchange]', async () => {
  const channel = await world.confirmChannel()
  const main = world.name('main')
  await channel.assertExchange(main, 'direct', { alternateExchange: world.name('missing') })
  channel.publish(main, 'x', Buffer.from('x'))
  await channel.waitForConfirms()
  await channel.deleteExchange(main)
})

test('a message that the alternate exchange took is not returned [RabbitMQ alternate-exchange, mandatory]', async () => {
  const channel = await world.confirmChannel()
  const [main, alternate] = [world.name('main'), world.name('alternate')]
  await channel.assertExchange(alternate, 'fanout')
  await channel.assertExchange(main, 'direct', { alternateExchange: alternate })
  const { queue } = await channel.assertQueue('', { exclusive: true })
  await channel.bindQueue(queue, alternate, '')
  const returned: string[] = []
  channel.on('return', (message: { content: Buffer }) => returned.push(message.content.toString()))
  channel.publish(main, 'x', Buffer.from('caught'), { mandatory: true })
  channel.publish('', world.name('nobody'), Buffer.from('returned'), { mandatory: true })
  await channel.waitForConfirms()
  expect(returned).toEqual(['returned'])
  await channel.deleteExchange(main)
  await channel.deleteExchange(alternate)
})

test('an internal exchange takes messages from exchanges only: publishing is 403 [RabbitMQ internal]', async () => {
  const client = await world.raw()
  const [inner, outer] = [world.name('inner'), world.name('outer')]
  await client.call(1, 'exchange.declare', { exchange: inner, type: 'fanout', internal: true })
  await client.call(1, 'exchange.declare', { exchange: outer, type: 'fanout' })
  await client.call(1, 'exchange.bind', { destination: inner, source: outer })
  const queue = world.name('behind')
  await client.call(1, 'queue.declare', { queue, exclusive: true })
  await client.call(1, 'queue.bind', { queue, exchange: inner })
  client.publish(1, { exchange: outer, routingKey: 'k' }, {}, 'through')
  client.send(1, 'basic.get', { queue, noAck: true })
  expect((await client.content('basic.get-ok')).body.toString()).toBe('through')
  client.publish(1, { exchange: inner, routingKey: 'k' }, {}, 'refused')
  expect(await client.closure()).toMatchObject({
    scope: 'channel',
    code: 403,
    text: `ACCESS_REFUSED - cannot publish to internal exchange '${inner}' in vhost '/'`,
  })
  await client.openChannel(1)
  for (const exchange of [inner, outer]) await client.call(1, 'exchange.delete', { exchange })
})

test('an auto-delete exchange goes with its last binding, not before it has one [AMQP exchange.declare auto-delete]', async () => {
  const client = await world.raw()
  const exchange = world.name('temporary')
  await client.call(1, 'exchange.declare', { exchange, type: 'direct', autoDelete: true })
  await client.call(1, 'exchange.declare', { exchange, passive: true })
  const { arguments: declared } = await client.call(1, 'queue.declare', { exclusive: true })
  const queue = declared['queue']
  await client.call(1, 'queue.bind', { queue, exchange, routingKey: 'a' })
  await client.call(1, 'queue.bind', { queue, exchange, routingKey: 'b' })
  await client.call(1, 'queue.unbind', { queue, exchange, routingKey: 'a' })
  await client.call(1, 'exchange.declare', { exchange, passive: true })
  await client.call(1, 'queue.delete', { queue })
  expect(await client.refused('exchange.declare', { exchange, passive: true })).toMatchObject({ code: 404 })
})

test('an auto-delete exchange that fed another goes when that one is deleted [RabbitMQ exchange-to-exchange bindings]', async () => {
  const client = await world.raw()
  const [source, destination] = [world.name('source'), world.name('destination')]
  await client.call(1, 'exchange.declare', { exchange: source, type: 'direct', autoDelete: true })
  await client.call(1, 'exchange.declare', { exchange: destination, type: 'direct' })
  await client.call(1, 'exchange.bind', { source, destination, routingKey: 'k' })
  await client.call(1, 'exchange.delete', { exchange: destination })
  expect(await client.refused('exchange.declare', { exchange: source, passive: true })).toMatchObject({ code: 404 })
})

test.each([
  [
    'type',
    { type: 'fanout' },
    "inequivalent arg 'type' for exchange '@' in vhost '/': received 'fanout' but current is 'direct'",
  ],
  [
    'durable',
    { durable: true },
    "inequivalent arg 'durable' for exchange '@' in vhost '/': received 'true' but current is 'false'",
  ],
  [
    'auto_delete',
    { autoDelete: true },
    "inequivalent arg 'auto_delete' for exchange '@' in vhost '/': received 'true' but current is 'false'",
  ],
  [
    'internal',
    { internal: true },
    "inequivalent arg 'internal' for exchange '@' in vhost '/': received 'true' but current is 'false'",
  ],
  [
    'alternate-exchange',
    { arguments: { 'alternate-exchange': 'other' } },
    "inequivalent arg 'alternate-exchange' for exchange '@' in vhost '/': received the value 'other' of type 'longstr' but current is none",
  ],
])(
  'declaring an exchange again with another %s is 406 PRECONDITION_FAILED [AMQP exchange.declare]',
  async (_field, change, text) => {
    const client = await world.raw()
    const exchange = world.name('same')
    await client.call(1, 'exchange.declare', { exchange, type: 'direct' })
    await client.call(1, 'exchange.declare', { exchange, type: 'direct' })
    expect(await client.refused('exchange.declare', { exchange, type: 'direct', ...change })).toEqual({
      scope: 'channel',
      code: 406,
      text: `PRECONDITION_FAILED - ${text.replace('@', exchange)}`,
      method: [40, 10],
    })
    await client.call(1, 'exchange.delete', { exchange })
  },
)

test('deleting an exchange removes its bindings [AMQP exchange.delete]', async () => {
  const client = await world.raw()
  const exchange = world.name('reborn')
  const { arguments: declared } = await client.call(1, 'queue.declare', { exclusive: true })
  const queue = declared['queue']
  await client.call(1, 'exchange.declare', { exchange, type: 'fanout' })
  await client.call(1, 'queue.bind', { queue, exchange })
  await client.call(1, 'exchange.delete', { exchange })
  await client.call(1, 'exchange.declare', { exchange, type: 'fanout' })
  client.publish(1, { exchange }, {}, 'nobody')
  client.send(1, 'basic.get', { queue })
  await client.expect('basic.get-empty')
  await client.call(1, 'exchange.delete', { exchange })
})
