import { MemoryFiles, Simulation } from '@stathmos/testkit'
import { readdir, readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { type Engine, openEngine, verifyDirectory } from './index.ts'

/** Made by `tools/golden.mjs`. Every later version opens it, and finds what is listed here. */
const GOLDEN = new URL('../test-data/v1/', import.meta.url)

async function copyOfGolden(): Promise<MemoryFiles> {
  const files = new MemoryFiles()
  const names = await readdir(GOLDEN, { recursive: true, withFileTypes: true })
  for (const entry of names.filter((one) => one.isFile())) {
    const source = `${entry.parentPath}/${entry.name}`
    const path = `/v1/${source.slice(source.indexOf('/v1/') + '/v1/'.length)}`.replace('//', '/')
    await files.makeDirectory(path.slice(0, path.lastIndexOf('/')))
    const file = await files.open(path, 'create')
    await file.write([await readFile(source)], 0)
    await file.close()
  }
  return files
}

async function open(files: MemoryFiles): Promise<{ engine: Engine; simulation: Simulation }> {
  const simulation = new Simulation(2)
  const { clock, random } = simulation
  const opaque = {
    type: 'direct',
    durable: true,
    autoDelete: false,
    internal: false,
    delayed: false,
    opaque: '',
  } as const
  const options = { dataDir: '/v1', files, clock, random, standardExchanges: [{ name: '', ...opaque }] }
  return { engine: await simulation.finish(openEngine(options)), simulation }
}

/** `body priority attempts`, with `!` when it may be a repeat. */
async function contents(engine: Engine, name: string): Promise<string[]> {
  const messages = await engine.vhost('/')!.queue(name)!.browse({ limit: 1000 })
  return messages.map(({ body, redelivered, attempts }) => {
    return `${Buffer.from(body).toString().replace(/ \.+$/, '')}${redelivered ? '!' : ''}${attempts > 0 ? attempts : ''}`
  })
}

test('a directory of format version 1 is sound', async () => {
  const report = await verifyDirectory(await copyOfGolden(), '/v1')
  expect(report).toMatchObject({ problems: [], torn: null, files: 13, pages: 18, entries: 77 })
})

test('a directory of format version 1 opens with everything in it', async () => {
  const files = await copyOfGolden()
  const { engine } = await open(files)
  expect(engine.recovery).toMatchObject({ fresh: false, clean: false })
  expect([...engine.vhosts()].map(({ name }) => name)).toEqual(['/', 'second'])
  expect(engine.access.user('ada')).toMatchObject({ passwordHash: 'scrypt:not-a-hash', tags: ['administrator'] })
  expect(engine.access.permits('ada', '/', 'configure', 'golden-queue')).toBe(true)
  expect(engine.access.permits('ada', '/', 'configure', 'other')).toBe(false)

  const vhost = engine.vhost('/')!
  const exchanges = [...vhost.exchanges()].map(({ name, definition }) => `${name} ${definition.type}`)
  expect(exchanges.sort()).toEqual([' direct', 'deaths fanout', 'later direct', 'rest fanout', 'topics topic'])
  expect(vhost.exchange('topics')!.definition).toMatchObject({ alternate: 'rest', opaque: 'x' })
  expect(vhost.exchange('later')!.definition.delayed).toBe(true)
  const bindings = [...vhost.bindings()].map(({ source, key, destination, args }) => [
    source,
    key,
    destination.name,
    args,
  ])
  expect(bindings.filter(([source]) => source !== '')).toEqual(
    expect.arrayContaining([
      ['topics', 'a.*', 'plain', new Map([['n', 1n]])],
      ['topics', '#', 'wide', new Map()],
      ['deaths', '', 'dead', new Map()],
      ['later', 'soon', 'plain', new Map()],
    ]),
  )
  expect(vhost.queue('plain')!.definition.opaque).toBe('told again')

  expect(await contents(engine, 'plain')).toEqual(['together, plain!'])
  expect(await contents(engine, 'ranked')).toEqual(['rank 1!', 'rank 0!', 'together, ranked!'])
  expect(await contents(engine, 'mortal')).toEqual(['failed twice!2'])
  expect(await contents(engine, 'dead')).toEqual(['rejected!'])
  expect(await contents(engine, 'wide')).toEqual(['to both!', 'to wide alone!'])
  expect(await contents(engine, 'new')).toEqual(['after the checkpoint!'])
  const long = [0, 25, 50, 75, 100, 125].map((i) => `long ${i}!`)
  expect(await contents(engine, 'long')).toEqual([...long, ...Array.from({ length: 60 }, (_, i) => `more ${i}!`)])

  const [dead] = await vhost.queue('dead')!.browse({ limit: 1 })
  expect(dead).toMatchObject({ key: 'from-mortal', exchange: 'deaths', originKind: 9, persistent: true })
  expect(dead!.origin).toEqual(Uint8Array.of(7, 7, 7))
  expect(dead!.history.deaths).toMatchObject([
    { queue: 'mortal', reason: 'rejected', count: 1, routingKeys: ['mortal'] },
  ])
  const [, alone] = await vhost.queue('wide')!.browse({ limit: 2 })
  expect(alone!.expiresAtMs - alone!.timestampMs).toBe(4_000_000_000_000)
  expect(vhost.schedule.size).toBe(2)
})

test('a directory of format version 1 can be worked on, and opens again', async () => {
  const files = await copyOfGolden()
  const first = await open(files)
  const long = first.engine.vhost('/')!.queue('long')!
  expect(long.purge()).toBe(66)
  await first.simulation.finish(first.engine.close())
  const second = await open(files.kill())
  expect(second.engine.recovery.clean).toBe(true)
  expect(second.engine.vhost('/')!.queue('long')!.ready).toBe(0)
  expect((await verifyDirectory(files, '/v1')).problems).toEqual([])
})
