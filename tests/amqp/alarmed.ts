// What a service does while its broker has an alarm: short of memory or disk, it takes no messages.
import { event, request, service, type Service } from '@stathmos/sdk'
import { memoryStore, type MemoryTransaction } from '@stathmos/sdk/stores/memory'
import { amqp } from '@stathmos/sdk/transports/amqp'
import { connect } from 'amqplib'
import { expect } from 'vitest'
import { z } from 'zod'
import { silentLog } from '../../packages/sdk/src/log.ts'
import { systemClock } from '../../packages/sdk/src/time/clock.ts'

/** A broker whose alarm a test can raise. */
export interface Alarmed {
  readonly url: string
  /** Resolves when the broker takes no messages any more. */
  raise(): Promise<void>
  clear(): Promise<void>
}

const Changed = event('alarm.changed', z.object({ n: z.number() })).key(() => 'k')
const Lookup = request('alarm.lookup', { input: z.object({}), output: z.object({}) })

/** Longer than the relay waits for a batch, many times over. */
const ASKED_FOR = '2s'

/** A service that is told of the alarm by its first message during it. */
interface Blocked {
  readonly app: Service<MemoryTransaction>
  readonly handled: number[]
  publish(n: number): Promise<string>
  /** Resolves when the service knows that the broker takes nothing. */
  readonly known: Promise<void>
  /** Resolves when all of these were handled. */
  until(count: number): Promise<void>
}

async function serviceOf({ url }: Alarmed): Promise<Blocked> {
  let know = (): void => {}
  const known = new Promise<void>((resolve) => (know = resolve))
  const warn = (_: object, message: string): void => {
    if (message.includes('takes no messages')) know()
  }
  const app = service('alarm', {
    store: memoryStore({ clock: systemClock }),
    transport: amqp(url),
    relay: { lease: '600ms', timeout: '150ms', retry: { attempts: 2 } },
    log: { ...silentLog, warn },
  })
  const handled: number[] = []
  let told = (): void => {}
  app.on(Changed, { name: 'hear' }, ({ n }) => {
    handled.push(n)
    told()
  })
  app.answer(Lookup, () => ({}))
  await app.start()
  const publish = (n: number): Promise<string> => app.transaction((_, scope) => scope.publish(Changed, { n }))
  const until = async (count: number): Promise<void> => {
    while (handled.length < count) await new Promise<void>((resolve) => (told = resolve))
  }
  await publish(0)
  await until(1)
  return { app, handled, publish, known, until }
}

/**
 * Messages wait in the outbox, without an attempt counted; requests have an outcome; when the alarm is over all goes on by
 * itself, and the engine gets each message once, but for what was on its way when the alarm came.
 */
export async function outlivesAnAlarm(alarmed: Alarmed): Promise<void> {
  const { app, handled, publish, known, until } = await serviceOf(alarmed)
  const operator = await connect(alarmed.url)
  const channel = await operator.createChannel()
  const { queue } = await channel.assertQueue('', { exclusive: true })
  await channel.bindQueue(queue, Changed.name, '#')
  const ids: string[] = []
  await channel.consume(queue, (message) => void ids.push(String(message?.properties.messageId)), { noAck: true })

  await alarmed.raise()
  const first = await publish(1)
  await known
  for (let n = 2; n <= 10; n++) await publish(n)
  expect(await app.ask(Lookup, {}, { timeout: ASKED_FOR })).toMatchObject({ ok: false, error: 'unreachable' })
  const waiting = await app.register.list({ direction: 'out' })
  expect(waiting.entries.map(({ state, attempts, errors }) => [state, attempts, errors.length])).toEqual(
    Array.from({ length: 10 }, () => ['pending', 0, 0]),
  )

  await alarmed.clear()
  await until(11)
  expect(handled).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
  expect(await app.ask(Lookup, {})).toMatchObject({ ok: true })
  expect(await app.register.count({ direction: 'out' })).toBe(0)
  expect(new Set(ids.filter((id, index) => ids.indexOf(id) < index))).toEqual(new Set(ids.length > 10 ? [first] : []))
  expect(ids.length).toBeLessThanOrEqual(11)
  await app.stop()
  await operator.close()
}

/** A service can be stopped during the alarm, though the broker reads nothing of it any more. */
export async function stopsDuringAnAlarm(alarmed: Alarmed): Promise<void> {
  const { app, publish, known } = await serviceOf(alarmed)
  await alarmed.raise()
  await publish(1)
  await known
  await app.stop()
  expect(await app.register.count({ direction: 'out' })).toBe(1)
  await alarmed.clear()
}
