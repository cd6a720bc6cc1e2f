import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { command } from '../contract/command.ts'
import { event } from '../contract/event.ts'
import { request } from '../contract/request.ts'
import { declareManifest } from '../declare-manifest.ts'
import { manifestOf, parseManifest } from '../schema/manifest.ts'
import { service } from '../service.ts'
import { memoryStore } from '../store/memory/memory-store.ts'
import { amqp } from '../transport/amqp/index.ts'
import { embedded } from '../transport/embedded/index.ts'
import { memoryEngine } from '../transport/memory/memory-engine.ts'
import type { Transport } from '../transport/port.ts'
import { runAppCommand } from './index.ts'

const Placed = event('order.placed', z.object({ id: z.string() })).key(({ id }) => id)
const Invoice = command('invoice.send', z.object({ id: z.string() }))
const Price = request('price', { input: z.object({ item: z.string() }), output: z.object({ cents: z.number() }) })

let directory: string
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'stathmos-declare-'))
})
afterEach(async () => rm(directory, { recursive: true }))

async function run(...argv: string[]) {
  let [out, err] = ['', '']
  const io = { cwd: directory, out: (text: string) => void (out += text), err: (text: string) => void (err += text) }
  const code = await runAppCommand(argv, io)
  return { code, out, err }
}

/** A service, and what resolves when it has handled something. */
function books(transport: Transport, name = 'books') {
  let handled: (id: string) => void = () => {}
  const first = new Promise<string>((resolve) => (handled = resolve))
  const app = service(name, { store: memoryStore(), transport, sends: [Invoice] })
    .on(Placed, { name: 'book', partitions: 2 }, ({ id }) => handled(id))
    .answer(Price, () => ({ cents: 1 }))
  return { app, first }
}

async function save(name: string, value: unknown): Promise<void> {
  await writeFile(join(directory, name), JSON.stringify(value))
}

/** Publishes as a service that has long been running. */
async function publish(transport: Transport): Promise<void> {
  const shop = service('shop', { store: memoryStore(), transport, sends: [Placed] })
  await shop.createMessage(Placed, { id: 'o1' })
  await shop.drain()
  await shop.stop()
}

test('a service that is named is declared and not started, and says what it gets', async () => {
  const engine = memoryEngine()
  const { app } = books(engine.transport())
  Object.assign(globalThis, { declaredByCommand: app })
  await writeFile(join(directory, 'app.mjs'), 'export const app = globalThis.declaredByCommand')
  expect(await run('declare', '--app', 'app.mjs')).toEqual({
    code: 0,
    err: '',
    out: 'books.book: event order.placed, in order, 2 partitions\nbooks.price: request price\nbooks can be started, and gets what is sent from now on\n',
  })
  await publish(engine.transport())
  expect(engine.waiting('books.book')).toBe(1)
  expect(app.runtime.opened).toBe(false)
  expect(await run('declare', '--app', 'app.mjs', '--engine', 'data')).toMatchObject({ code: 2 })
})

test('services are declared by their manifests, without their programs', async () => {
  const dataDir = join(directory, 'data')
  const { app, first } = books(embedded({ dataDir }))
  await save('books.json', app.manifest())
  const others = service('mail', { store: memoryStore(), transport: memoryEngine().transport() })
  await save('mail.json', others.on(Placed, { name: 'mail', ordered: false }, () => {}).manifest())
  const { code, out } = await run(
    ...['declare', '--manifest', 'books.json', '--manifest', 'mail.json', '--engine', 'data', '--json'],
  )
  expect([code, JSON.parse(out)]).toMatchObject([0, [{ service: 'books' }, { service: 'mail' }]])
  await publish(embedded({ dataDir }))
  await app.start()
  expect(await first).toBe('o1')
  await app.stop()
})

test('the address may be in a file', async () => {
  await save('books.json', books(memoryEngine().transport()).app.manifest())
  await writeFile(join(directory, 'engine'), 'data\n')
  const declare = ['declare', '--manifest', 'books.json'] as const
  expect(await run(...declare, '--engine-file', 'engine')).toMatchObject({ code: 0 })
  expect(await run(...declare, '--engine-file', 'gone')).toMatchObject({ code: 2 })
})

describe('what cannot be declared is refused before anything is', () => {
  test('a manifest that tells no queues, and a file that is none', async () => {
    await save('books.json', books(memoryEngine().transport()).app.manifest())
    await save('old.json', manifestOf([Placed], { service: 'old', owns: [] }))
    await save('odd.json', { ...manifestOf([Placed]), consumers: [{ queue: 7 }] })
    const declare = ['declare', '--engine', 'data', '--manifest', 'books.json', '--manifest'] as const
    expect(await run(...declare, 'old.json')).toMatchObject({ code: 1, err: expect.stringContaining('"old" does not') })
    expect(await run(...declare, 'odd.json')).toMatchObject({ code: 1, err: expect.stringContaining('schema print') })
    expect(await run(...declare, 'gone.json')).toMatchObject({ code: 2 })
    expect(() => parseManifest(JSON.stringify({ manifest: 1, contracts: [], consumers: 1 }))).toThrow('schema print')
  })

  test('two services that would take the same messages', async () => {
    const transport = memoryEngine().transport()
    await save('books.json', books(transport).app.manifest())
    await save('desk.json', books(transport, 'desk').app.manifest())
    const declare = ['declare', '--engine', 'data', '--manifest', 'books.json', '--manifest'] as const
    expect(await run(...declare, 'desk.json')).toMatchObject({
      code: 1,
      err: expect.stringContaining('the contract "price" is of books and of desk'),
    })
    expect(await run(...declare, 'books.json')).toMatchObject({ code: 1, err: expect.stringContaining('the queue') })
  })

  test('without an engine, with two, with a module, or with an address that is none', async () => {
    await save('books.json', books(memoryEngine().transport()).app.manifest())
    const declare = ['declare', '--manifest', 'books.json'] as const
    expect(await run(...declare)).toMatchObject({ code: 2, err: expect.stringContaining('--engine amqp://') })
    expect(await run(...declare, '--engine', 'data', '--engine-file', 'engine')).toMatchObject({ code: 2 })
    expect(await run(...declare, '--engine', 'data', '--app', 'app.mjs')).toMatchObject({ code: 2 })
    const secret = await run(...declare, '--engine', 'http://me:secret@broker')
    expect(secret).toMatchObject({ code: 2, err: expect.not.stringContaining('secret') })
    expect(await run('migrate', '--manifest', 'books.json')).toMatchObject({ code: 2 })
  })

  test('queues with other arguments than those that the service will ask for', async () => {
    const url = 'amqp://127.0.0.1:1'
    const { app } = books(amqp({ url, queueArguments: { 'x-queue-type': 'quorum' } }))
    const manifest = parseManifest(JSON.stringify(app.manifest()))
    expect(manifest.queueArguments).toEqual({ 'x-queue-type': 'quorum' })
    await expect(declareManifest(manifest, amqp(url))).rejects.toMatchObject({ code: 'invalid_declaration' })
  })
})

test('a manifest is the same in whatever order handlers were declared', () => {
  const make = (names: readonly string[]) => {
    const app = service('desk', { store: memoryStore(), transport: memoryEngine().transport() })
    for (const name of names) app.on(Placed, { name }, () => {})
    return app.manifest()
  }
  expect(make(['b', 'a'])).toEqual(make(['a', 'b']))
})
