import { expect, test } from 'vitest'
import { brokerUnderTest, onlyOnStathmos } from '../amqp/broker-under-test.ts'
import { Inbox, worldOf } from '../amqp/world.ts'

const broker = await brokerUnderTest()
const world = worldOf(broker)
const REPLY_TO = 'amq.rabbitmq.reply-to'

test('a request finds its way back without a reply queue [RabbitMQ direct reply-to]', async () => {
  const [client, server] = [await world.channel(), await world.channel()]
  const requests = await server.assertQueue('', { exclusive: false, autoDelete: true })
  const inbox = await Inbox.of(server, requests.queue, { noAck: true })
  const replies = await Inbox.of(client, REPLY_TO, { noAck: true })
  client.sendToQueue(requests.queue, Buffer.from('ping'), { replyTo: REPLY_TO, correlationId: '7' })
  const request = await inbox.next()
  const replyTo = request.properties.replyTo as string
  expect(replyTo).toMatch(/^amq\.rabbitmq\.reply-to\..+/)
  server.sendToQueue(replyTo, Buffer.from('pong'), { correlationId: request.properties.correlationId as string })
  const reply = await replies.next()
  expect(reply.content.toString()).toBe('pong')
  expect(reply.properties.correlationId).toBe('7')
  expect(reply.fields).toMatchObject({ exchange: '', routingKey: replyTo, redelivered: false })
})

test('many requests get their own replies [RabbitMQ direct reply-to]', async () => {
  const [client, server] = [await world.channel(), await world.channel()]
  const requests = await server.assertQueue('', { exclusive: false, autoDelete: true })
  await server.consume(
    requests.queue,
    (message) => {
      const { replyTo, correlationId } = message!.properties as { replyTo: string; correlationId: string }
      server.sendToQueue(replyTo, Buffer.from(`re: ${message!.content.toString()}`), { correlationId })
    },
    { noAck: true },
  )
  const replies = await Inbox.of(client, REPLY_TO, { noAck: true })
  for (let i = 0; i < 50; i++)
    client.sendToQueue(requests.queue, Buffer.from(`${i}`), { replyTo: REPLY_TO, correlationId: `${i}` })
  for (let i = 0; i < 50; i++) {
    const reply = await replies.next()
    expect(reply.content.toString()).toBe(`re: ${reply.properties.correlationId as string}`)
  }
})

test('consuming the pseudo-queue with acknowledgements is 406 PRECONDITION_FAILED [RabbitMQ direct reply-to]', async () => {
  const client = await world.raw()
  expect(await client.refused('basic.consume', { queue: REPLY_TO })).toMatchObject({
    scope: 'channel',
    code: 406,
    text: 'PRECONDITION_FAILED - reply consumer cannot acknowledge',
  })
})

test('a second reply consumer on a channel is 406 PRECONDITION_FAILED [RabbitMQ direct reply-to]', async () => {
  const client = await world.raw()
  await client.call(1, 'basic.consume', { queue: REPLY_TO, noAck: true })
  expect(await client.refused('basic.consume', { queue: REPLY_TO, noAck: true })).toMatchObject({
    scope: 'channel',
    code: 406,
    text: 'PRECONDITION_FAILED - reply consumer already set',
  })
})

test('a request before the reply consumer is 406 PRECONDITION_FAILED [RabbitMQ direct reply-to]', async () => {
  const client = await world.raw()
  client.publish(1, { routingKey: 'x' }, { replyTo: REPLY_TO }, 'too early')
  expect(await client.closure()).toMatchObject({
    scope: 'channel',
    code: 406,
    text: 'PRECONDITION_FAILED - fast reply consumer does not exist',
  })
})

test('a passive declare says whether the requester is still there [RabbitMQ direct reply-to]', async () => {
  const [client, server] = [await world.channel(), await world.raw()]
  const requests = await client.assertQueue('', { exclusive: false, autoDelete: true })
  const inbox = await Inbox.of(client, requests.queue, { noAck: true })
  const replies = await Inbox.of(client, REPLY_TO, { noAck: true })
  client.sendToQueue(requests.queue, Buffer.from('ping'), { replyTo: REPLY_TO })
  const queue = (await inbox.next()).properties.replyTo as string
  await server.call(1, 'queue.declare', { queue, passive: true })
  await client.cancel(replies.tag)
  await client.close()
  expect(await server.refused('queue.declare', { queue, passive: true })).toMatchObject({ code: 404 })
})

test('a reply to a requester that has gone is dropped; a mandatory one is returned [RabbitMQ direct reply-to]', async () => {
  const [client, server] = [await world.channel(), await world.raw()]
  const requests = await client.assertQueue('', { exclusive: false, autoDelete: true })
  const inbox = await Inbox.of(client, requests.queue, { noAck: true })
  await Inbox.of(client, REPLY_TO, { noAck: true })
  client.sendToQueue(requests.queue, Buffer.from('ping'), { replyTo: REPLY_TO })
  const routingKey = (await inbox.next()).properties.replyTo as string
  await client.close()
  server.publish(1, { routingKey }, {}, 'dropped')
  server.publish(1, { routingKey, mandatory: true }, {}, 'returned')
  expect((await server.content('basic.return')).body.toString()).toBe('returned')
})

test(
  'a mandatory reply to a requester that is there counts as routed [RabbitMQ 4.2 direct reply-to]',
  onlyOnStathmos(broker, 'RabbitMQ 3.10 is older than this'),
  async () => {
    const [client, server] = [await world.channel(), await world.confirmChannel()]
    const requests = await client.assertQueue('', { exclusive: false, autoDelete: true })
    const inbox = await Inbox.of(client, requests.queue, { noAck: true })
    const replies = await Inbox.of(client, REPLY_TO, { noAck: true })
    client.sendToQueue(requests.queue, Buffer.from('ping'), { replyTo: REPLY_TO })
    const routingKey = (await inbox.next()).properties.replyTo as string
    const returned: unknown[] = []
    server.on('return', (message) => returned.push(message))
    server.publish('', routingKey, Buffer.from('pong'), { mandatory: true })
    await server.waitForConfirms()
    expect(await replies.text()).toBe('pong')
    expect(returned).toEqual([])
  },
)
