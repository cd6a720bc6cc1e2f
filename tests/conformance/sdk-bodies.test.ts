// Bodies of the SDK that are encrypted, and bodies that lie elsewhere, between services over a real broker.
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { claimCheck, directoryBlobs, encrypted, event, json, keyRing, request, service } from '@stathmos/sdk'
import { memoryStore } from '@stathmos/sdk/stores/memory'
import { amqp } from '@stathmos/sdk/transports/amqp'
import { connect } from 'amqplib'
import { startTestBroker } from 'stathmos/test'
import { afterAll, expect, test } from 'vitest'
import { z } from 'zod'

const broker = await startTestBroker({ settings: { maxMessageBytes: 100_000 } })
const directory = await mkdtemp(join(tmpdir(), 'stathmos-bodies-'))
afterAll(async () => {
  await broker.stop()
  await rm(directory, { recursive: true })
})

const blobs = directoryBlobs(directory)
const keys = keyRing({ k1: new Uint8Array(32).fill(1), k2: new Uint8Array(32).fill(2) }, 'k2')
const locked = claimCheck(encrypted(json, keys), { above: 50_000, blobs })
const Report = z.object({ id: z.string(), text: z.string() })
const Filed = event('report.filed', Report)
  .key(({ id }) => id)
  .body(locked)
const Find = request('report.find', {
  input: z.object({ id: z.string() }),
  output: Report,
  bodies: { output: locked },
}).body(locked)

function make(name: string) {
  return service(name, { store: memoryStore(), transport: amqp({ url: broker.urls.amqp }) })
}

test('what services say to each other is for them alone, however large it is', async () => {
  const texts = ['secret, small', `secret, large ${'x'.repeat(500_000)}`, 'secret, last']
  const handled: string[] = []
  let done = (): void => {}
  const all = new Promise<void>((resolve) => (done = resolve))
  const archive = make('archive')
    .on(Filed, { name: 'file' }, ({ text }) => {
      handled.push(text)
      if (handled.length === texts.length) done()
    })
    .answer(Find, ({ id }) => ({ id, text: texts[1]! }))
  await archive.start()

  // What an operator of the broker can see: a queue of his own, bound to the same exchange.
  const operator = await connect(broker.urls.amqp)
  const channel = await operator.createChannel()
  const seen: { readonly contentType: unknown; readonly content: Buffer }[] = []
  const { queue } = await channel.assertQueue('', { exclusive: true })
  await channel.bindQueue(queue, Filed.name, '#')
  let looked = (): void => {}
  const copies = new Promise<void>((resolve) => (looked = resolve))
  await channel.consume(queue, (message) => {
    if (message === null) return
    seen.push({ contentType: message.properties.contentType, content: message.content })
    channel.ack(message)
    if (seen.length === texts.length) looked()
  })

  const desk = make('desk')
  await desk.start()
  for (const text of texts) await desk.createMessage(Filed, { id: '1', text })
  await Promise.all([all, copies])
  expect(handled).toEqual(texts)
  expect(await desk.ask(Find, { id: '1' })).toEqual({ ok: true, value: { id: '1', text: texts[1] } })

  expect(seen.map(({ contentType }) => String(contentType).split(';')[0])).toEqual([
    'application/vnd.stathmos.encrypted',
    'application/vnd.stathmos.claim-check',
    'application/vnd.stathmos.encrypted',
  ])
  for (const { content } of seen) expect(content.includes('secret')).toBe(false)
  const files = (await readdir(directory, { recursive: true, withFileTypes: true })).filter((each) => each.isFile())
  // One of the event, one of the answer: what is encrypted twice is not the same twice.
  expect(files.length).toBe(2)
  for (const file of files) expect((await readFile(join(file.parentPath, file.name))).includes('secret')).toBe(false)

  await desk.stop()
  await archive.stop()
  await operator.close()
})
