import { expect, test } from 'vitest'
import { brokerUnderTest, onlyOnStathmos } from '../amqp/broker-under-test.ts'
import { Inbox, timePasses, worldOf } from '../amqp/world.ts'

const broker = await brokerUnderTest()
const world = worldOf(broker)
const withPlugin = onlyOnStathmos(broker, 'Debian’s RabbitMQ comes without the delayed-message plugin')

test('x-delay holds a message back for that many milliseconds [RabbitMQ x-delayed-message]', withPlugin, async () => {
  const channel = await world.channel()
  const exchange = world.name('delayed')
  await channel.assertExchange(exchange, 'x-delayed-message', {
    autoDelete: true,
    arguments: { 'x-delayed-type': 'direct' },
  })
  const { queue } = await channel.assertQueue('', { exclusive: true })
  await channel.bindQueue(queue, exchange, 'k')
  const inbox = await Inbox.of(channel, queue, { noAck: true })
  const began = performance.now()
  channel.publish(exchange, 'k', Buffer.from('later'), { headers: { 'x-delay': 300 } })
  channel.publish(exchange, 'k', Buffer.from('sooner'), { headers: { 'x-delay': 100 } })
  channel.publish(exchange, 'k', Buffer.from('now'))
  channel.publish(exchange, 'other', Buffer.from('unrouted'), { headers: { 'x-delay': 50 } })
  expect(await inbox.texts(3)).toEqual(['now', 'sooner', 'later'])
  expect(performance.now() - began).toBeGreaterThanOrEqual(299)
})

test(
  'a delayed message is routed by the exchange’s own type when its time comes [RabbitMQ x-delayed-type]',
  withPlugin,
  async () => {
    const channel = await world.channel()
    const exchange = world.name('delayed')
    await channel.assertExchange(exchange, 'x-delayed-message', {
      autoDelete: true,
      arguments: { 'x-delayed-type': 'topic' },
    })
    const [a, b] = [
      await channel.assertQueue('', { exclusive: true }),
      await channel.assertQueue('', { exclusive: true }),
    ]
    await channel.bindQueue(a.queue, exchange, 'orders.#')
    const inboxes = [
      await Inbox.of(channel, a.queue, { noAck: true }),
      await Inbox.of(channel, b.queue, { noAck: true }),
    ]
    channel.publish(exchange, 'orders.new', Buffer.from('x'), { headers: { 'x-delay': 150 } })
    await channel.bindQueue(b.queue, exchange, 'orders.new')
    expect(await Promise.all(inboxes.map((inbox) => inbox.text()))).toEqual(['x', 'x'])
  },
)

test(
  'a delay is negated in the header of what is delivered, as the plugin did [RabbitMQ x-delayed-message]',
  withPlugin,
  async () => {
    const channel = await world.channel()
    const exchange = world.name('delayed')
    await channel.assertExchange(exchange, 'x-delayed-message', {
      autoDelete: true,
      arguments: { 'x-delayed-type': 'fanout' },
    })
    const { queue } = await channel.assertQueue('', { exclusive: true })
    await channel.bindQueue(queue, exchange, '')
    const inbox = await Inbox.of(channel, queue, { noAck: true })
    channel.publish(exchange, '', Buffer.from('x'), { headers: { 'x-delay': 20, mine: 'kept' } })
    const message = await inbox.next()
    expect(message.properties.headers).toMatchObject({ mine: 'kept' })
    expect(message.properties.headers?.['x-delay']).toBe(-20)
    // Published once more as it came, it is not delayed again.
    channel.publish(exchange, '', Buffer.from('again'), { headers: { ...message.properties.headers, mine: 'again' } })
    expect((await inbox.next()).properties.headers).toMatchObject({ 'x-delay': -20, mine: 'again' })
  },
)

test(
  'a delayed message is confirmed at once, on disk and not yet in the queue [RabbitMQ x-delayed-message, confirms]',
  withPlugin,
  async () => {
    const channel = await world.confirmChannel()
    const exchange = world.name('delayed')
    await channel.assertExchange(exchange, 'x-delayed-message', {
      autoDelete: true,
      arguments: { 'x-delayed-type': 'fanout' },
    })
    const { queue } = await channel.assertQueue('', { exclusive: true })
    await channel.bindQueue(queue, exchange, '')
    channel.publish(exchange, '', Buffer.from('x'), { headers: { 'x-delay': 60_000 }, persistent: true })
    await channel.waitForConfirms()
    await timePasses(channel, 50)
    expect(await channel.checkQueue(queue)).toMatchObject({ messageCount: 0 })
  },
)

test(
  'a delayed exchange without x-delayed-type is 406 PRECONDITION_FAILED [RabbitMQ x-delayed-type]',
  withPlugin,
  async () => {
    const client = await world.raw()
    for (const declared of [{}, { 'x-delayed-type': 'nonsense' }]) {
      const declare = { exchange: world.name('bad'), type: 'x-delayed-message', arguments: declared }
      expect(await client.refused('exchange.declare', declare)).toMatchObject({ scope: 'channel', code: 406 })
    }
  },
)
