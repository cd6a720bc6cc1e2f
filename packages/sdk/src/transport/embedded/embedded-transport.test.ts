import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Engine, lockDirectory, openEngine } from '@stathmos/engine'
import { MemoryFiles } from '@stathmos/testkit'
import { describe, expect, test } from 'vitest'
import { silentLog } from '../../log.ts'
import { seededRandom, systemRandom } from '../../random.ts'
import { manualClock } from '../../testing/manual-clock.ts'
import { systemClock } from '../../time/clock.ts'
import type { WireForm } from '../../wire/wire-form.ts'
import { transportContract, type TransportSubject } from '../contract.ts'
import { consumerOf, contractOf, Inbox, messageOf, plainForm, textOf } from '../contract/parties.ts'
import { embedded, type EmbeddedTransport } from './index.ts'

const BODY_BYTES_MAX = 100_000
const limits = { reserveBytes: 0, diskFreeMin: 0 }

function surroundings(service: string, form: WireForm) {
  return { service, form, clock: manualClock(), random: systemRandom, log: silentLog }
}

/** Transports on one engine that somebody else opens and closes. */
async function onEngine(): Promise<TransportSubject> {
  const files = new MemoryFiles()
  const open = (): Promise<Engine> => openEngine({ dataDir: '/data', files, limits })
  let engine = await open()
  return {
    ...processes(() => embedded({ engine, bodyBytesMax: BODY_BYTES_MAX })),
    async restart() {
      await engine.close()
      engine = await open()
    },
  }
}

/** Transports on one directory, which open its engine themselves. */
async function onDirectory(): Promise<TransportSubject> {
  const dataDir = await mkdtemp(join(tmpdir(), 'embedded-'))
  const party = processes(() => embedded({ dataDir, bodyBytesMax: BODY_BYTES_MAX }))
  return {
    ...party,
    // Closing the last transport has stopped it.
    async restart() {},
    async close() {
      await party.close()
      await rm(dataDir, { recursive: true })
    },
  }
}

function processes(make: () => EmbeddedTransport): TransportSubject {
  const clock = manualClock()
  const transports: EmbeddedTransport[] = []
  return {
    oneProcess: true,
    async open(service, form) {
      const transport = make()
      transports.push(transport)
      await transport.open({ ...surroundings(service, form), clock })
      return transport
    },
    elapse: (ms) => clock.advance(ms),
    async openNowhere() {
      await embedded({ dataDir: '/dev/null/nowhere' }).open(surroundings('shop', plainForm))
    },
    async close() {
      for (const transport of transports) await transport.close()
    },
  }
}

describe('on an engine in memory', () => {
  test.each(transportContract({ open: onEngine }))('$name', ({ run }) => run())
})

describe('on a directory', () => {
  test.each(transportContract({ open: onDirectory }))('$name', ({ run }) => run())
})

async function opened(engine: Engine): Promise<EmbeddedTransport> {
  const transport = embedded({ engine })
  await transport.open({ ...surroundings('shop', plainForm), random: seededRandom(1) })
  return transport
}

test('what was sent survives the death of the process, and so does what was in its hands', async () => {
  let files = new MemoryFiles()
  const open = () => openEngine({ dataDir: '/data', files, limits, onFatal: () => {} })
  const contract = contractOf('event')
  const consumer = consumerOf(contract, 'reader')
  const transport = await opened(await open())
  const inbox = await Inbox.open(transport, consumer)
  await transport.send([messageOf(contract, 'held'), messageOf(contract, 'waiting')])
  await inbox.next()
  files = files.kill()
  const next = await opened(await open())
  const again = await Inbox.open(next, consumer)
  expect(await again.accept(2)).toEqual(['held', 'waiting'])
  expect(again.all[0]!.redelivered).toBe(true)
  await next.close()
})

test('a directory that another process has is refused, and taken when it is free', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'embedded-'))
  const lock = await lockDirectory(dataDir, systemClock)
  const transport = embedded({ dataDir })
  const refused = {
    code: 'transport_down',
    retryable: true,
    message: expect.stringContaining(`process ${process.pid}`),
  }
  await expect(transport.open(surroundings('shop', plainForm))).rejects.toMatchObject(refused)
  await lock.release()
  await transport.open(surroundings('shop', plainForm))
  await expect(lockDirectory(dataDir, systemClock)).rejects.toThrow('is in use')
  await transport.close()
  await (await lockDirectory(dataDir, systemClock)).release()
  await rm(dataDir, { recursive: true })
})

test('a directory that is damaged is refused for good, with what finds the damage and mends it', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'embedded-'))
  const transport = embedded({ dataDir })
  await transport.open(surroundings('shop', plainForm))
  const contract = contractOf('event')
  await transport.declare({ sends: [contract], consumers: [consumerOf(contract, 'reader')] })
  await transport.send([messageOf(contract, 'kept')])
  await transport.close()
  await writeFile(join(dataDir, 'CHECKPOINT'), 'no checkpoint at all')
  const error: unknown = await embedded({ dataDir })
    .open(surroundings('shop', plainForm))
    .catch((reason: unknown) => reason)
  expect(error).toMatchObject({ code: 'directory_unreadable', retryable: false })
  expect((error as Error).message).toContain('stathmos repair')
  expect((error as Error).message).toContain(`stathmos verify ${dataDir}`)
  // The lock is free for those who mend it.
  await (await lockDirectory(dataDir, systemClock)).release()
  await rm(dataDir, { recursive: true })
})

test('a directory that the system keeps from us may be tried again', async () => {
  const opening = embedded({ dataDir: '/dev/null/nowhere' }).open(surroundings('shop', plainForm))
  await expect(opening).rejects.toMatchObject({ code: 'transport_down', retryable: true })
})

test('a handed-in engine stays open when the transport is closed', async () => {
  const engine = await openEngine({ dataDir: '/data', files: new MemoryFiles(), limits })
  await (await opened(engine)).close()
  const transport = await opened(engine)
  const contract = contractOf('event')
  const inbox = await Inbox.open(transport, consumerOf(contract, 'reader'))
  await transport.send([messageOf(contract, '1')])
  expect(await inbox.accept(1)).toEqual(['1'])
  await transport.close()
  await engine.close()
})

test('a receiver that throws gets the message again, and harms no other', async () => {
  const engine = await openEngine({ dataDir: '/data', files: new MemoryFiles(), limits })
  const transport = await opened(engine)
  const contract = contractOf('event')
  let thrown = false
  const inbox = await Inbox.open(transport, consumerOf(contract, 'reader'), 1, () => {
    if (thrown) return
    thrown = true
    throw new Error('not now')
  })
  await transport.send([messageOf(contract, '1'), messageOf(contract, '2')])
  await inbox.next()
  const again = await inbox.next()
  expect([textOf(again.raw.body), again.redelivered]).toEqual(['1', true])
  again.accept()
  expect(await inbox.accept(1)).toEqual(['2'])
  await transport.close()
  await engine.close()
})
