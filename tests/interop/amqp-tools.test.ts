// The command line tools of rabbitmq-c: apt-get install amqp-tools
import { describe, expect, test } from 'vitest'
import { brokerUnderTest } from '../amqp/broker-under-test.ts'
import { worldOf } from '../amqp/world.ts'
import { installed, run, succeed } from './program.ts'

const broker = await brokerUnderTest()
const world = worldOf(broker)
const missing = !installed('amqp-publish')
const url = ['--url', broker.url]

describe.skipIf(missing)(`amqp-tools${missing ? ' (skipped: apt-get install amqp-tools)' : ''}`, () => {
  test('a queue is declared, published to, read and deleted [client rabbitmq-c]', async () => {
    const queue = world.name('tools')
    expect(await succeed('amqp-declare-queue', [...url, '-d', '-q', queue])).toContain(queue)
    await succeed('amqp-publish', [...url, '-r', queue, '-p', '-C', 'text/plain', '-b', 'from the shell'])
    expect(await succeed('amqp-get', [...url, '-q', queue])).toBe('from the shell')
    // An empty queue is the exit code 2 of amqp-get.
    expect((await run('amqp-get', [...url, '-q', queue])).code).toBe(2)
    await succeed('amqp-publish', [...url, '-r', queue, '-b', 'left'])
    expect((await succeed('amqp-delete-queue', [...url, '-q', queue])).trim()).toBe('1')
  })

  test('lines are published one by one, with headers, and consumed in their order [client rabbitmq-c]', async () => {
    const queue = world.name('tools')
    const channel = await world.channel()
    await channel.assertQueue(queue, { durable: false })
    await succeed('amqp-publish', [...url, '-r', queue, '-l', '-H', 'source: shell'], 'one\ntwo\nthree\n')
    const first = await channel.get(queue)
    if (first === false) throw new Error('nothing was published')
    expect(first.properties.headers).toMatchObject({ source: expect.stringContaining('shell') })
    channel.nack(first)
    expect(await succeed('amqp-consume', [...url, '-q', queue, '-c', '3', '-p', '1', 'cat'])).toBe('one\ntwo\nthree\n')
    await channel.deleteQueue(queue)
  })

  test('a consumer binds a queue of its own to an exchange [client rabbitmq-c]', async () => {
    const channel = await world.confirmChannel()
    const exchange = world.name('tools')
    await channel.assertExchange(exchange, 'topic', { durable: false })
    const consuming = succeed('amqp-consume', [...url, '-e', exchange, '-r', 'a.*', '-x', '-c', '1', 'cat'])
    let ended = false
    void consuming.finally(() => (ended = true))
    // Until the queue of the consumer is bound, every publish is returned.
    while (!ended) {
      let returned = false
      channel.once('return', () => (returned = true))
      channel.publish(exchange, 'a.b', Buffer.from('bound'), { mandatory: true })
      await channel.waitForConfirms()
      if (!returned) break
    }
    expect(await consuming).toBe('bound')
    await channel.deleteExchange(exchange)
  })

  test('a wrong password is refused in words [client rabbitmq-c]', async () => {
    const outcome = await run('amqp-get', ['--url', broker.url.replace('guest:guest', 'guest:wrong'), '-q', 'any'])
    expect(outcome.code).not.toBe(0)
    expect(outcome.stderr).toMatch(/ACCESS_REFUSED|403/)
  })
})
