// Clients beside amqplib, each in the way that its own documentation shows.
import { AMQPClient, AMQPSession, type AMQPMessage } from '@cloudamqp/amqp-client'
import { Connection, ConsumerStatus } from 'rabbitmq-client'
import { expect, test } from 'vitest'
import { brokerUnderTest } from '../amqp/broker-under-test.ts'
import { worldOf } from '../amqp/world.ts'

const broker = await brokerUnderTest()
const world = worldOf(broker)

function rabbit(): Connection {
  const connection = new Connection(broker.url)
  connection.on('error', () => {})
  world.defer(() => connection.close())
  return connection
}

async function cloudamqp(): Promise<AMQPClient> {
  const client = new AMQPClient(broker.url)
  await client.connect()
  world.defer(() => client.close().catch(() => {}))
  return client
}

test('a publisher with confirms and a consumer with topic bindings [client rabbitmq-client]', async () => {
  const connection = rabbit()
  const [queue, exchange] = [world.name('user-events'), world.name('my-events')]
  const bodies: unknown[] = []
  const consumer = connection.createConsumer(
    {
      queue,
      queueOptions: { durable: true, autoDelete: true },
      qos: { prefetchCount: 2 },
      exchanges: [{ exchange, type: 'topic', autoDelete: true }],
      queueBindings: [{ exchange, routingKey: 'users.*' }],
    },
    async (message) => void bodies.push(message.body),
  )
  await new Promise<void>((resolve) => consumer.once('ready', resolve))
  const publisher = connection.createPublisher({ confirm: true, maxAttempts: 2 })
  for (let i = 0; i < 20; i++) await publisher.send({ exchange, routingKey: 'users.visit' }, { id: i })
  await expect.poll(() => bodies.length).toBe(20)
  expect(bodies[19]).toEqual({ id: 19 })
  await publisher.close()
  await consumer.close()
})

test('a handler decides: requeue once, then drop to the dead letters [client rabbitmq-client]', async () => {
  const connection = rabbit()
  const [queue, dead] = [world.name('jobs'), world.name('dead')]
  const { REQUEUE, DROP } = ConsumerStatus
  const letters: unknown[] = []
  const seen: boolean[] = []
  const graves = connection.createConsumer({ queue: dead, queueOptions: { autoDelete: true } }, async (message) => {
    letters.push(message.headers)
  })
  const jobs = connection.createConsumer(
    {
      queue,
      queueOptions: {
        autoDelete: true,
        arguments: { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': dead },
      },
    },
    async (message) => {
      seen.push(message.redelivered)
      return message.redelivered ? DROP : REQUEUE
    },
  )
  await Promise.all([jobs, graves].map((consumer) => new Promise<void>((resolve) => consumer.once('ready', resolve))))
  const publisher = connection.createPublisher({ confirm: true })
  await publisher.send(queue, 'do it')
  await expect.poll(() => letters.length).toBe(1)
  expect(seen).toEqual([false, true])
  expect(letters[0]).toMatchObject({ 'x-first-death-queue': queue, 'x-first-death-reason': 'rejected' })
  await publisher.close()
  await jobs.close()
  await graves.close()
})

test('remote procedure calls over direct reply-to [client rabbitmq-client]', async () => {
  const connection = rabbit()
  const queue = world.name('rpc')
  const server = connection.createConsumer({ queue, queueOptions: { autoDelete: true } }, async (message, reply) => {
    await reply(`hello ${String(message.body)}`)
  })
  await new Promise<void>((resolve) => server.once('ready', resolve))
  const client = connection.createRPCClient({ confirm: true })
  const replies = await Promise.all(['a', 'b', 'c'].map((name) => client.send(queue, name)))
  expect(replies.map(({ body }) => String(body))).toEqual(['hello a', 'hello b', 'hello c'])
  await client.close()
  await server.close()
})

test('an error of the broker reaches the caller with its code [client rabbitmq-client]', async () => {
  await expect(rabbit().queueDeclare({ queue: world.name('missing'), passive: true })).rejects.toMatchObject({
    code: 'NOT_FOUND',
  })
})

test('publish, subscribe and acknowledge with confirms [client @cloudamqp/amqp-client]', async () => {
  const channel = await (await cloudamqp()).channel()
  const queue = world.name('q')
  await channel.queueDeclare(queue, { durable: true, autoDelete: true })
  await channel.confirmSelect()
  const bodies: string[] = []
  const consumer = await channel.basicConsume(queue, { noAck: false }, async (message: AMQPMessage) => {
    bodies.push(message.bodyString() ?? '')
    await message.ack()
  })
  const numbers = Array.from({ length: 100 }, (_, i) => `${i}`)
  await Promise.all(numbers.map((text) => channel.basicPublish('', queue, text, { deliveryMode: 2 })))
  await expect.poll(() => bodies.length).toBe(100)
  expect(bodies).toEqual(numbers)
  await consumer.cancel()
})

test('get, nack, purge, unbind and delete [client @cloudamqp/amqp-client]', async () => {
  const channel = await (await cloudamqp()).channel()
  const [queue, exchange] = [world.name('q'), world.name('x')]
  await channel.exchangeDeclare(exchange, 'topic', { autoDelete: true })
  await channel.queueDeclare(queue, { durable: false, autoDelete: false })
  await channel.queueBind(queue, exchange, 'a.#')
  await channel.confirmSelect()
  await channel.basicPublish(exchange, 'a.b', 'body', { headers: { n: 1 }, timestamp: new Date(1_700_000_000_000) })
  const message = await channel.basicGet(queue, { noAck: false })
  expect(message?.bodyString()).toBe('body')
  expect(message?.properties.headers).toEqual({ n: 1 })
  expect(message?.properties.timestamp).toEqual(new Date(1_700_000_000_000))
  await message?.nack(true)
  expect((await channel.basicGet(queue, { noAck: true }))?.redelivered).toBe(true)
  await channel.basicPublish(exchange, 'a.c', 'purged')
  expect(await channel.queuePurge(queue)).toMatchObject({ messageCount: 1 })
  await channel.queueUnbind(queue, exchange, 'a.#')
  expect(await channel.queueDelete(queue)).toMatchObject({ messageCount: 0 })
})

test('transactions [client @cloudamqp/amqp-client]', async () => {
  const channel = await (await cloudamqp()).channel()
  const queue = world.name('tx')
  await channel.queueDeclare(queue, { durable: false, autoDelete: false })
  await channel.txSelect()
  await channel.basicPublish('', queue, 'rolled back')
  await channel.txRollback()
  await channel.basicPublish('', queue, 'committed')
  await channel.txCommit()
  expect((await channel.basicGet(queue, { noAck: true }))?.bodyString()).toBe('committed')
  expect(await channel.basicGet(queue, { noAck: true })).toBe(null)
  await channel.queueDelete(queue)
})

test('a session with queue handles and an iterator [client @cloudamqp/amqp-client]', async () => {
  const session = await AMQPSession.connect(broker.url)
  world.defer(() => session.stop())
  const queue = await session.queue(world.name('session'), { autoDelete: true })
  await queue.publish('Hello World', { deliveryMode: 2 })
  const subscription = await queue.subscribe()
  for await (const message of subscription) {
    expect(message.bodyString()).toBe('Hello World')
    break
  }
})

test('an error of the broker rejects with its text [client @cloudamqp/amqp-client]', async () => {
  const channel = await (await cloudamqp()).channel()
  await expect(channel.queueDeclare(world.name('missing'), { passive: true })).rejects.toThrow('NOT_FOUND')
})
