// The SDK's AMQP transport against a real broker, over connections that can be cut.
import { connect } from 'amqplib'
import { transportContract } from '@stathmos/sdk/contracts/transport'
import { amqp } from '@stathmos/sdk/transports/amqp'
import { afterAll, describe, expect, test, vi } from 'vitest'
import { startTestBroker } from 'stathmos/test'
import { silentLog } from '../../packages/sdk/src/log.ts'
import { systemRandom } from '../../packages/sdk/src/random.ts'
import { manualClock } from '../../packages/sdk/src/testing/manual-clock.ts'
import {
  consumerOf,
  contractOf,
  Inbox,
  messageOf,
  plainForm,
} from '../../packages/sdk/src/transport/contract/parties.ts'
import { type Alarmed, outlivesAnAlarm, stopsDuringAnAlarm } from '../amqp/alarmed.ts'
import { declaredBeforeTheFirstStart } from '../amqp/declared.ts'
import { amqpSubject } from '../amqp/sdk-subject.ts'

const broker = await startTestBroker({ settings: { maxMessageBytes: 1_000_000 } })
afterAll(() => broker.stop())

test.each(transportContract({ open: () => amqpSubject(broker.urls.amqp) }))('$name', ({ run }) => run())

async function opened(options: { readonly bodyBytesMax?: number } = {}) {
  const transport = amqp({ url: broker.urls.amqp, ...options })
  const surroundings = { form: plainForm, clock: manualClock(), random: systemRandom, log: silentLog }
  await transport.open({ ...surroundings, service: 'shop' })
  return transport
}

test('of a batch, only the message that the broker itself finds too large is refused', async () => {
  const transport = await opened({ bodyBytesMax: 2_000_000 })
  const contract = contractOf('event')
  const consumer = consumerOf(contract, 'reader')
  await transport.declare({ sends: [contract], consumers: [consumer] })
  const large = { body: new Uint8Array(1_500_000) }
  const batch = ['1', '2', 'large', '4'].map((text) => messageOf(contract, text, text === 'large' ? large : {}))
  const results = await transport.send(batch)
  expect(results.map((result) => (result === 'sent' ? result : result.code))).toEqual([
    'sent',
    'sent',
    'too_large',
    'sent',
  ])
  expect(await transport.send([messageOf(contract, '5')])).toEqual(['sent'])
  const inbox = await Inbox.open(transport, consumer)
  while (inbox.texts.at(-1) !== '5') await inbox.accept(1)
  expect([...new Set(inbox.texts)]).toEqual(['1', '2', '4', '5'])
  await transport.close()
})

test('services that were declared by their manifests get what was sent before their first start', () =>
  declaredBeforeTheFirstStart('declared', { url: broker.urls.amqp }))

test('the broker is known by its name and the virtual host, also when it is away', async () => {
  const transport = await opened()
  expect(transport.engine).toBe('amqp stathmos /')
  await transport.close()
  expect(transport.engine).toBe('amqp stathmos /')
})

test('a property that does not fit its field refuses its message and no other', async () => {
  const transport = await opened()
  const contract = contractOf('event')
  const [first, second] = await transport.send([
    messageOf(contract, 'a', { id: 'é'.repeat(200) }),
    messageOf(contract, 'b'),
  ])
  expect(first).toMatchObject({ code: 'refused', retryable: false })
  expect(second).toBe('sent')
  await transport.close()
})

test('an exchange that was deleted while the service runs is made again', async () => {
  const transport = await opened()
  const contract = contractOf('event')
  await transport.declare({ sends: [contract], consumers: [] })
  const operator = await connect(broker.urls.amqp)
  await (await operator.createChannel()).deleteExchange(contract.type)
  await operator.close()
  await expect(transport.send([messageOf(contract, '1')])).rejects.toMatchObject({ code: 'transport_down' })
  expect(await transport.send([messageOf(contract, '1')])).toEqual(['sent'])
  await transport.close()
})

test('a queue that is there with other arguments is told at the declaration', async () => {
  const transport = await opened()
  const contract = contractOf('event')
  const consumer = consumerOf(contract, 'reader', { ordered: true })
  const operator = await connect(broker.urls.amqp)
  await (await operator.createChannel()).assertQueue(`${consumer.queue}.0`, { durable: true })
  await operator.close()
  const declaring = transport.declare({ sends: [], consumers: [consumer] })
  await expect(declaring).rejects.toMatchObject({ code: 'invalid_declaration', retryable: false })
  // The connection is as it was.
  expect(await transport.send([messageOf(contract, '1')])).toEqual(['sent'])
  await transport.close()
})

test('a queue that was deleted while it is read is made again, and read', async () => {
  const clock = manualClock()
  const transport = amqp({ url: broker.urls.amqp })
  await transport.open({ form: plainForm, clock, random: systemRandom, log: silentLog, service: 'shop' })
  const contract = contractOf('event')
  const consumer = consumerOf(contract, 'reader')
  await transport.declare({ sends: [contract], consumers: [consumer] })
  const inbox = await Inbox.open(transport, consumer)
  const operator = await connect(broker.urls.amqp)
  await (await operator.createChannel()).deleteQueue(consumer.queue)
  await operator.close()
  // Nobody hears of it but the transport: what is sent meanwhile reaches nobody.
  while (inbox.unread === 0) {
    await clock.advance(1_000)
    await transport.send([messageOf(contract, 'again')])
  }
  expect((await inbox.accept(1))[0]).toBe('again')
  await transport.close()
})

describe('a broker that is short of memory and takes no messages', () => {
  const resident = vi.spyOn(process.memoryUsage, 'rss')
  afterAll(() => resident.mockRestore())

  async function alarmed(): Promise<Alarmed & AsyncDisposable> {
    const own = await startTestBroker()
    // The broker looks at its memory by itself, and says so at its door.
    const ready = async (status: number): Promise<void> => {
      while ((await fetch(`${own.urls.http}/readyz`)).status !== status);
    }
    return {
      url: own.urls.amqp,
      async raise() {
        resident.mockReturnValue(Number.MAX_SAFE_INTEGER)
        await ready(503)
      },
      async clear() {
        resident.mockReset()
        await ready(200)
      },
      [Symbol.asyncDispose]: () => own.stop(),
    }
  }

  test('has its messages waited for in the outbox, at the cost of no attempt and of no duplicates', async () => {
    await using broken = await alarmed()
    await outlivesAnAlarm(broken)
  })

  test('does not keep a service from stopping', async () => {
    await using broken = await alarmed()
    await stopsDuringAnAlarm(broken)
  })
})
