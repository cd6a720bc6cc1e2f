// Makes packages/engine/test-data/v1: a data directory of format version 1, and what is in it. Run it after a
// build, and only when version 1 gains something: what is there must go on opening as it is.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Draft, openEngine, verifyDirectory } from '@stathmos/engine'
import { MemoryFiles, Simulation } from '@stathmos/testkit'

const target = new URL('../packages/engine/test-data/v1/', import.meta.url).pathname
const simulation = new Simulation(1)
const files = new MemoryFiles()
const exchange = (name, type, rest = {}) => ({
  name,
  type,
  durable: true,
  autoDelete: false,
  internal: false,
  delayed: false,
  opaque: '',
  ...rest,
})
const open = () =>
  simulation.finish(
    openEngine({
      dataDir: '/v1',
      files,
      clock: simulation.clock,
      random: simulation.random,
      // Small, so that there are several files, a rewritten one among them, and several index pages.
      limits: { fileBytes: 8192, blockBytes: 512, checkpointBytes: 4096, pageEntries: 16, reserveBytes: 0 },
      standardExchanges: [exchange('', 'direct')],
      onFatal: (error) => {
        throw error
      },
    }),
  )
const queue = (vhost, name, settings = {}, opaque = '') =>
  vhost.declareQueue(
    {
      name,
      durable: true,
      exclusive: false,
      autoDelete: false,
      settings: { overflow: 'drop-head', ...settings },
      opaque,
    },
    null,
  ).queue
const publish = (vhost, exchangeName, key, text, changes = {}) => {
  const draft = new Draft()
  const set = (name, bytes) => {
    draft[name] = bytes
    draft[`${name}View`] = new DataView(bytes.buffer)
    draft[`${name}End`] = bytes.length
  }
  set('body', new TextEncoder().encode(text))
  set('origin', Uint8Array.of(7, 7, 7))
  draft.originKind = 9
  vhost.publish(vhost.route(exchangeName, key), Object.assign(draft, changes))
}
const settle = (engine) => simulation.finish(engine.durably())
const take = async (from) => {
  let found
  from.get(false, (ticket) => {
    found = ticket
  })
  await simulation.until(() => found !== undefined)
  return found
}

let engine = await open()
let vhost = engine.vhost('/')
engine.access.setUser({ name: 'ada', passwordHash: 'scrypt:not-a-hash', tags: ['administrator'] })
engine.access.setPermission('ada', '/', { configure: '^golden', write: '.*', read: '.*' })
engine.createVHost('second')
vhost.declareExchange(exchange('topics', 'topic', { alternate: 'rest', opaque: 'x' }))
vhost.declareExchange(exchange('rest', 'fanout'))
vhost.declareExchange(exchange('deaths', 'fanout'))
vhost.declareExchange(exchange('later', 'direct', { delayed: true }))
const plain = queue(vhost, 'plain', {}, 'told again')
queue(vhost, 'ranked', { priorityMax: 2 })
const mortal = queue(vhost, 'mortal', { deadLetterExchange: 'deaths', deadLetterKey: 'from-mortal' })
queue(vhost, 'dead')
queue(vhost, 'wide')
const long = queue(vhost, 'long')
vhost.bind('topics', { kind: 'queue', name: 'plain' }, 'a.*', new Map([['n', 1n]]))
vhost.bind('topics', { kind: 'queue', name: 'wide' }, '#')
vhost.bind('deaths', { kind: 'queue', name: 'dead' }, '')
vhost.bind('later', { kind: 'queue', name: 'plain' }, 'soon')
await settle(engine)

publish(vhost, 'topics', 'a.b', 'to both')
publish(vhost, 'topics', 'c', 'to wide alone', { ttlMs: 4_000_000_000_000 })
for (const priority of [0, 2, 1]) publish(vhost, '', 'ranked', `rank ${priority}`, { priority })
publish(vhost, '', 'mortal', 'rejected')
publish(vhost, '', 'mortal', 'failed twice')
publish(vhost, '', 'plain', 'transient', { persistent: false })
publish(vhost, 'later', 'soon', 'in a hundred years', { delayMs: 3_155_760_000_000 })
await settle(engine)
mortal.reject(await take(mortal), 'rejected')
for (let i = 0; i < 2; i++) mortal.release(await take(mortal), { failed: true })
plain.release(await take(plain), { delayMs: 3_155_760_000_000 })
// Most of a long queue goes, so that its journal files are rewritten.
for (let i = 0; i < 150; i++) {
  publish(vhost, '', 'long', `long ${i} ${'.'.repeat(150)}`)
  if (i % 5 === 4) await settle(engine)
}
const tickets = []
for (let i = 0; i < 150; i++) tickets.push(await take(long))
for (const ticket of tickets) {
  if (ticket % 25 === 0) long.release(ticket)
  else long.accept(ticket)
}
await settle(engine)
for (let i = 0; i < 60; i++) {
  publish(vhost, '', 'long', `more ${i} ${'.'.repeat(200)}`)
  await settle(engine)
  await simulation.elapse(20)
}
await simulation.finish(engine.close())

// A second life that ends without a word, so that there is something to replay.
engine = await open()
vhost = engine.vhost('/')
const transaction = vhost.begin()
for (const key of ['plain', 'ranked']) {
  const draft = new Draft()
  draft.body = new TextEncoder().encode(`together, ${key}`)
  draft.bodyView = new DataView(draft.body.buffer)
  draft.bodyEnd = draft.body.length
  transaction.publish(vhost.route('', key), draft)
}
void transaction.commit()
const again = vhost.queue('ranked')
again.accept(await take(again))
queue(vhost, 'new')
publish(vhost, '', 'new', 'after the checkpoint')
await settle(engine)

const left = files.kill()
const report = await verifyDirectory(left, '/v1')
if (report.problems.length > 0) throw new Error(JSON.stringify(report))
rmSync(target, { recursive: true, force: true })
const paths = ['/v1/CHECKPOINT']
for (const directory of ['/v1/journal', '/v1/index']) {
  for (const name of await left.list(directory)) paths.push(`${directory}/${name}`)
}
for (const path of paths) {
  const file = join(target, path.slice('/v1/'.length))
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, await left.read(path))
}
process.stdout.write(`${paths.join('\n')}\n${JSON.stringify(report)}\n`)
