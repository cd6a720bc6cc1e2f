// The six programs of RabbitMQ's tutorials, as flows: what their readers run first, a broker must do.
import { expect, test } from 'vitest'
import { brokerUnderTest } from '../amqp/broker-under-test.ts'
import { eventually, Inbox, worldOf } from '../amqp/world.ts'

const broker = await brokerUnderTest()
const world = worldOf(broker)

test('1: "Hello World!", one sender and one receiver on a named queue [RabbitMQ tutorial 1]', async () => {
  const queue = world.name('hello')
  const sender = await world.channel()
  await sender.assertQueue(queue, { durable: false })
  sender.sendToQueue(queue, Buffer.from('Hello World!'))
  const receiver = await world.channel()
  await receiver.assertQueue(queue, { durable: false })
  expect(await (await Inbox.of(receiver, queue, { noAck: true })).text()).toBe('Hello World!')
  await receiver.deleteQueue(queue)
})

test('2: work queues, tasks shared by workers, none lost when a worker dies [RabbitMQ tutorial 2]', async () => {
  const queue = world.name('task_queue')
  const boss = await world.confirmChannel()
  await boss.assertQueue(queue, { durable: true })
  const dying = await world.connection()
  const first = await dying.createChannel()
  await first.prefetch(1)
  const taken = await Inbox.of(first, queue)
  for (let i = 1; i <= 6; i++) boss.sendToQueue(queue, Buffer.from(`task ${i}`), { persistent: true })
  await boss.waitForConfirms()
  expect(await taken.text()).toBe('task 1')
  const second = await world.channel()
  await second.prefetch(1)
  const done: string[] = []
  await dying.close()
  await second.consume(queue, (message) => {
    done.push(message!.content.toString())
    second.ack(message!)
  })
  await eventually(async () => done.length === 6)
  expect(done.toSorted()).toEqual([1, 2, 3, 4, 5, 6].map((i) => `task ${i}`))
  await second.deleteQueue(queue)
})

test('3: publish/subscribe, a fanout to queues of the broker’s naming [RabbitMQ tutorial 3]', async () => {
  const exchange = world.name('logs')
  const channel = await world.channel()
  await channel.assertExchange(exchange, 'fanout', { durable: false, autoDelete: true })
  const inboxes = await Promise.all(
    [1, 2].map(async () => {
      const subscriber = await world.channel()
      const { queue } = await subscriber.assertQueue('', { exclusive: true })
      await subscriber.bindQueue(queue, exchange, '')
      return Inbox.of(subscriber, queue, { noAck: true })
    }),
  )
  channel.publish(exchange, '', Buffer.from('info: Hello World!'))
  for (const inbox of inboxes) expect(await inbox.text()).toBe('info: Hello World!')
})

test('4: routing, subscribers choose severities [RabbitMQ tutorial 4]', async () => {
  const exchange = world.name('direct_logs')
  const channel = await world.channel()
  await channel.assertExchange(exchange, 'direct', { durable: false, autoDelete: true })
  const [errors, all] = await Promise.all(
    [['error'], ['info', 'warning', 'error']].map(async (severities) => {
      const { queue } = await channel.assertQueue('', { exclusive: true })
      for (const severity of severities) await channel.bindQueue(queue, exchange, severity)
      return Inbox.of(channel, queue, { noAck: true })
    }),
  )
  for (const severity of ['info', 'debug', 'error', 'warning'])
    channel.publish(exchange, severity, Buffer.from(severity))
  expect(await all!.texts(3)).toEqual(['info', 'error', 'warning'])
  expect(await errors!.texts(1)).toEqual(['error'])
  expect(errors!.size).toBe(0)
})

test('5: topics, subscribers choose by patterns [RabbitMQ tutorial 5]', async () => {
  const exchange = world.name('topic_logs')
  const channel = await world.channel()
  await channel.assertExchange(exchange, 'topic', { durable: false, autoDelete: true })
  const [kernel, critical, everything] = await Promise.all(
    [['kern.*'], ['*.critical'], ['#']].map(async (patterns) => {
      const { queue } = await channel.assertQueue('', { exclusive: true })
      for (const pattern of patterns) await channel.bindQueue(queue, exchange, pattern)
      return Inbox.of(channel, queue, { noAck: true })
    }),
  )
  const keys = ['kern.critical', 'kern.info', 'cron.critical', 'anonymous.info']
  for (const key of keys) channel.publish(exchange, key, Buffer.from(key))
  expect(await everything!.texts(4)).toEqual(keys)
  expect(await kernel!.texts(2)).toEqual(['kern.critical', 'kern.info'])
  expect(await critical!.texts(2)).toEqual(['kern.critical', 'cron.critical'])
})

test('6: remote procedure calls over a callback queue with correlation ids [RabbitMQ tutorial 6]', async () => {
  const queue = world.name('rpc_queue')
  const server = await world.channel()
  await server.assertQueue(queue, { durable: false, autoDelete: true })
  await server.prefetch(1)
  const fibonacci = (n: number): number => (n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2))
  await server.consume(queue, (message) => {
    const { replyTo, correlationId } = message!.properties as { replyTo: string; correlationId: string }
    server.sendToQueue(replyTo, Buffer.from(`${fibonacci(Number(message!.content.toString()))}`), { correlationId })
    server.ack(message!)
  })
  const client = await world.channel()
  const callback = await client.assertQueue('', { exclusive: true })
  const replies = await Inbox.of(client, callback.queue, { noAck: true })
  for (const n of [10, 15, 20]) {
    client.sendToQueue(queue, Buffer.from(`${n}`), { correlationId: `fib-${n}`, replyTo: callback.queue })
  }
  const results = new Map<string, string>()
  while (results.size < 3) {
    const reply = await replies.next()
    results.set(reply.properties.correlationId as string, reply.content.toString())
  }
  expect(Object.fromEntries(results)).toEqual({ 'fib-10': '55', 'fib-15': '610', 'fib-20': '6765' })
})

test('7: publisher confirms, one by one, in batches and asynchronously [RabbitMQ tutorial 7]', async () => {
  const channel = await world.confirmChannel()
  const { queue } = await channel.assertQueue('', { exclusive: true })
  channel.sendToQueue(queue, Buffer.from('one'))
  await channel.waitForConfirms()
  for (let i = 0; i < 100; i++) channel.sendToQueue(queue, Buffer.from(`batch ${i}`))
  await channel.waitForConfirms()
  const answers = await Promise.all(
    Array.from(
      { length: 100 },
      (_, i) =>
        new Promise((resolve) => channel.sendToQueue(queue, Buffer.from(`async ${i}`), {}, (error) => resolve(error))),
    ),
  )
  expect(answers.every((error) => error === null || error === undefined)).toBe(true)
  expect(await channel.checkQueue(queue)).toMatchObject({ messageCount: 201 })
})
