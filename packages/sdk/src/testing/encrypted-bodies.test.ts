import { expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import type { BodyFormat } from '../contract/body-format.ts'
import { keyRing, type BodyKeys } from '../contract/body-keys.ts'
import { command } from '../contract/command.ts'
import { encrypted } from '../contract/encrypted-body.ts'
import { event } from '../contract/event.ts'
import { json } from '../contract/json-body.ts'
import { request } from '../contract/request.ts'
import type { Log } from '../log.ts'
import { service } from '../service.ts'
import { memoryStore } from '../store/memory/memory-store.ts'
import { systemClock } from '../time/clock.ts'
import { memoryEngine } from '../transport/memory/index.ts'
import { testbed } from './testbed.ts'

const [k1, k2] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)]
const NAME = 'Ann-Kathrin'

/** Keys that can be changed and taken away while services run. */
class Vault implements BodyKeys {
  ring = keyRing({ k1 }, 'k1')
  failures = 0

  current() {
    return this.ring.current()
  }

  find(id: string) {
    if (this.failures === 0) return this.ring.find(id)
    this.failures--
    throw new Error('no route to the key service')
  }
}

const Person = z.object({ id: z.string(), name: z.string() })

function contracts(format: BodyFormat) {
  return {
    Joined: event('person.joined', Person)
      .key(({ id }) => id)
      .body(format),
    Welcome: command('person.welcome', Person).body(format),
    Find: request('person.find', {
      input: z.object({ id: z.string() }),
      output: Person,
      errors: { unknown: Person },
      bodies: { output: format, errors: { unknown: format } },
    }).body(format),
  }
}

/** A sender and a receiver with keys of their own, all that was logged, and all that was handled. */
async function world() {
  const [sender, receiver] = [new Vault(), new Vault()]
  const lines: string[] = []
  const note = (...parts: unknown[]): void =>
    void lines.push(JSON.stringify(parts, (_, value: unknown) => (value instanceof Error ? `${value.stack}` : value)))
  const log: Log = { debug: note, info: note, warn: note, error: note }
  const make = (name: string) =>
    service(name, { store: memoryStore({ clock: systemClock }), transport: memoryEngine().transport(), log })
  const handled: string[] = []
  let failures = 0
  const here = contracts(encrypted(json, receiver))
  const there = contracts(encrypted(json, sender))
  const club = make('club')
    .on(here.Joined, { name: 'enrol', retry: { attempts: 3 } }, async ({ name }, { send }) => {
      if (failures > 0) {
        failures--
        throw new Error('not now')
      }
      handled.push(name)
      await send(here.Welcome, { id: 'w', name }, { delay: '1h' })
    })
    .effect(here.Welcome, { name: 'welcome', retry: { attempts: 3 } }, ({ name }) => void handled.push(`hello ${name}`))
    .answer(here.Find, ({ id }, { fail }) =>
      id === '1' ? { id, name: NAME } : fail('unknown', { id, name: `no ${NAME}` }),
    )
  const desk = make('desk').every('0 0 1 1 *', { name: 'yearly' }, there.Joined, () => ({ id: 'y', name: NAME }))
  const t = await testbed([desk, club])
  onTestFinished(() => t.close())
  return { t, at: t.as(club), sender, receiver, handled, lines, ...there, fail: (times: number) => (failures = times) }
}

test('handlers get the data, and neither stores nor engines nor logs do', async () => {
  const { t, at, handled, lines, Joined } = await world()
  await t.publish(Joined, { id: '1', name: NAME })
  await t.settled()
  await t.clock.advance('1h')
  await t.settled()
  expect(handled).toEqual([NAME, `hello ${NAME}`])
  const { entries } = await at.register.list({})
  expect(entries.length).toBeGreaterThan(1)
  for (const { message } of entries) expect(Buffer.from(message?.body ?? []).toString('latin1')).not.toContain('Ann')
  expect(lines.join('\n')).not.toContain('Ann')
})

test('a message that is tried again is the same to the byte', async () => {
  const { t, at, handled, fail, Joined } = await world()
  fail(2)
  const id = await t.publish(Joined, { id: '1', name: NAME })
  const bodies = new Set<string>()
  const look = async (): Promise<void> => {
    const { entries } = await at.register.list({ id, direction: 'in' })
    for (const { message } of entries) if (message !== null) bodies.add(Buffer.from(message.body).toString('base64'))
  }
  await t.settled()
  await look()
  await t.rested()
  await look()
  expect(handled).toEqual([NAME])
  expect(bodies.size).toBe(1)
})

test('what is encrypted with a key that is not here is parked with what to do, and handled when it is', async () => {
  const { t, at, sender, receiver, handled, Joined } = await world()
  sender.ring = keyRing({ k1, k2 }, 'k2')
  const id = await t.publish(Joined, { id: '1', name: NAME })
  await t.settled()
  const [parked] = await at.register.inspect(id)
  expect(parked).toMatchObject({ state: 'parked', reason: 'unknown-key' })
  expect(parked?.errors.at(-1)?.message).toContain('give it that key, then retry the message')
  expect(parked?.unreadable).toContain('"k2"')
  receiver.ring = keyRing({ k1, k2 }, 'k1')
  await at.register.retry([id])
  await t.settled()
  expect(handled).toEqual([NAME])
})

test('while keys cannot be fetched, messages are tried again and their keys wait', async () => {
  const { t, at, receiver, handled, Joined } = await world()
  receiver.failures = 2
  await t.publish(Joined, { id: '1', name: 'first' })
  await t.publish(Joined, { id: '1', name: 'second' })
  await t.settled()
  await t.rested()
  expect(handled.filter((name) => !name.startsWith('hello'))).toEqual(['first', 'second'])
  receiver.failures = 100
  const id = await t.publish(Joined, { id: '2', name: 'third' })
  await t.settled()
  await t.rested()
  receiver.failures = 0
  const [parked] = await at.register.inspect(id)
  expect(parked).toMatchObject({ state: 'parked', attempts: 3 })
  expect(parked?.errors.at(-1)?.message).toContain('could not be fetched')
})

test('an effect whose message cannot be read for a while happens once it can', async () => {
  const { t, receiver, handled, Welcome } = await world()
  receiver.failures = 2
  await t.send(Welcome, { id: '1', name: NAME })
  await t.settled()
  await t.rested()
  expect(handled).toEqual([`hello ${NAME}`])
})

test('an edited message is encrypted anew, for its new id', async () => {
  const { t, at, handled, fail, Joined } = await world()
  fail(3)
  const id = await t.publish(Joined, { id: '1', name: 'Anne' })
  await t.settled()
  await t.rested()
  const [parked] = await at.register.inspect(id)
  expect(parked).toMatchObject({ state: 'parked', data: { name: 'Anne' } })
  const edited = await at.register.edit(id, { id: '1', name: NAME })
  await t.settled()
  expect(handled).toEqual([NAME])
  expect(edited).not.toBe(id)
})

test('what is submitted again is known again, also after a change of keys, and other data is refused', async () => {
  const sender = new Vault()
  const { Joined } = contracts(encrypted(json, sender))
  const app = service('desk', {
    store: memoryStore({ clock: systemClock }),
    transport: memoryEngine().transport(),
    sends: [Joined],
  })
  const first = await app.submit(Joined, { id: '1', name: NAME }, { externalId: 'crm-1' })
  expect(first.repeated).toBe(false)
  sender.ring = keyRing({ k1, k2 }, 'k2')
  expect(await app.submit(Joined, { id: '1', name: NAME }, { externalId: 'crm-1' })).toEqual({
    id: first.id,
    repeated: true,
  })
  await expect(app.submit(Joined, { id: '1', name: 'Bob' }, { externalId: 'crm-1' })).rejects.toMatchObject({
    code: 'refused',
  })
  expect(await app.register.count({ direction: 'out' })).toBe(1)
})

test('requests, their answers and their errors are encrypted, each for itself', async () => {
  const { t, Find } = await world()
  expect(await t.ask(Find, { id: '1' })).toEqual({ ok: true, value: { id: '1', name: NAME } })
  expect(await t.ask(Find, { id: '2' })).toMatchObject({ ok: false, error: 'unknown', value: { name: `no ${NAME}` } })
})

test('what a schedule sends is encrypted as everything else', async () => {
  const { t, handled } = await world()
  await t.clock.advance('366d')
  await t.settled()
  expect(handled[0]).toBe(NAME)
})

test('a stranger who can write to the queue and has no key is not heard', async () => {
  const { t, at, handled } = await world()
  const plain = contracts(json)
  const id = await t.publish(plain.Joined, { id: '1', name: 'Mallory' })
  await t.settled()
  expect(handled).toEqual([])
  expect(await at.register.list({ id, direction: 'in' })).toMatchObject({
    entries: [{ state: 'parked', reason: 'malformed' }],
  })
})
